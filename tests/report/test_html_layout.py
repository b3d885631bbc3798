"""All layouts as data for their page."""

from __future__ import annotations

from mapcount.report.html.layout_page import layout_page_data
from mapcount.tracking.flavour import FLAVOURS, PAGE_MAPCOUNT
from mapcount.tracking.layout import layout_of


def test_every_layout_of_both_widths_is_there() -> None:
    """Each flavour's fields and the places of their parts; what changes between any two."""
    data = layout_page_data([layout_of(PAGE_MAPCOUNT.on(32))])
    assert (["page-mapcount"], "32") == (data["shown"], data["bits"])
    for bits, width in data["widths"].items():
        assert list(FLAVOURS) == list(width["layouts"])
        assert 6 == len(width["changes"])
        for name, told in width["layouts"].items():
            layout = layout_of(FLAVOURS[name].on(int(bits)))
            assert {field.name: list(field.places()) for field in layout.fields} == {
                field["name"]: field["places"] for field in told["fields"]
            }


def test_what_changed_is_told_for_the_two_that_are_compared() -> None:
    """From 6.14 to 6.15 the entire mapcount moves and the slots are new."""
    changes = layout_page_data([layout_of(PAGE_MAPCOUNT)])["widths"]["64"]["changes"]["v6.14 page-mapcount"]
    kinds = {change["after"]: change["kind"] for change in changes}
    assert ("moved", "new", "same") == (kinds["_entire_mapcount"], kinds["_mm_id"], kinds["_large_mapcount"])
