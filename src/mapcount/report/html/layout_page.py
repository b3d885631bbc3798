"""`struct folio` over its `struct page`s, for a page to look at: every flavour, 64 and 32 bits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from mapcount.report.html.page import render
from mapcount.report.layout import KNOWN_BY, layouts_as_data
from mapcount.tracking.flavour import FLAVOURS
from mapcount.tracking.layout import Layout, changes, layout_of


def layout_page(shown: Sequence[Layout]) -> bytes:
    """The page, which opens with these layouts."""
    return render(
        "layout.html",
        data=layout_page_data(shown),
        styles=["layout.css"],
        scripts=["layout.js"],
        title="struct folio over its struct pages",
    )


def layout_page_data(shown: Sequence[Layout]) -> dict[str, Any]:
    """All layouts by width and flavour, what changes from each to each later one, and what is shown first."""
    return {
        "shown": [layout.flavour.name for layout in shown],
        "bits": str(shown[0].flavour.bits),
        "known_by": {str(source): words for source, words in KNOWN_BY.items()},
        "widths": {
            str(bits): _width([layout_of(f.on(bits)) for f in FLAVOURS.values()]) for bits in (64, 32)
        },
    }


def _width(layouts: Sequence[Layout]) -> dict[str, Any]:
    told = {layout.flavour.name: layouts_as_data([layout])["layouts"][0] for layout in layouts}
    for layout in layouts:
        for field, data in zip(layout.fields, told[layout.flavour.name]["fields"], strict=True):
            data["places"] = list(field.places())
            data["label"] = field.label
    return {
        "layouts": told,
        "changes": {
            f"{before.flavour.name} {after.flavour.name}": [
                {
                    "kind": str(change.kind),
                    "before": change.before.name if change.before else None,
                    "after": change.after.name if change.after else None,
                }
                for change in changes(before, after)
            ]
            for before, after in combinations(layouts, 2)
        },
    }
