"""Results as one HTML file that a person can mail: no network, every picture with its numbers.

`page` makes the file. What is shown of a story comes from `playback`, which acts it out and looks at the
machine (`scene`), at what each mapping event did to a folio (`happenings`) and at what writes became
(`write_faults`). Templates, style and scripts are files of their own beside these modules.
"""
