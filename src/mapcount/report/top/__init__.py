"""`mapcount top`: the audit of a machine as a full-screen view that keeps itself up to date.

Three parts that know little of each other:

- *reading* (`pace`, `reader`) asks a `Source` in a thread of its own, as often as its share of a core allows;
- *the model* (`watch`, `listing`, `processes`, `opened`, `head`) is plain values: what is known, how old it
  is, and what is shown of it, sorted and filtered;
- *the view* (`grid`, `screens`, `app`) is Textual, and decides nothing.
"""
