"""Results as one HTML file that a person can mail: no network, every picture with its numbers.

`page` makes the file. What is shown of a story comes from `playback`, which acts it out and looks at the
machine (`scene`), at what each mapping event did to a folio (`happenings`, `slot_rules`) and at what became
of pages that were written to (`fates`). Every other command's page is a module of its own: `audit_page`,
`bench_page`, `compare_page`, `layout_page`. Templates, style and scripts are files beside these modules; a
page has one script, whose parts share one scope in the order that its module gives.
"""
