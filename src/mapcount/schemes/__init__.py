"""Ways to answer "is this folio shared?", and how to add one of your own (docs/schemes.md)."""
