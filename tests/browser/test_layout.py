"""`mapcount layout --html` in a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.browser.visits import DESK, PHONE, WIDE, command, visit

CELLS = """(flavour) => [...document.querySelectorAll(`[data-flavour="${flavour}"] .cell[data-field]`)].map(
    (cell) => [cell.dataset.field, Number(/bytes (\\d+)/.exec(cell.title)[1])])"""
"""Each field's cells in one layout's picture: the field's name and the first byte."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all layouts."""
    path = tmp_path_factory.mktemp("pages") / "layout.html"
    command("layout", "--html", path)
    return path


@pytest.mark.parametrize("bits", ["64", "32"])
def test_every_field_is_drawn_where_the_json_says(browser: Browser, page: Path, bits: str) -> None:
    """Each field of each layout has a cell at its offset, but for those drawn as the second of two."""
    told = json.loads(command("layout", "--bits", bits, "--json"))
    with visit(browser, page) as seen:
        seen.page.check(f"input[value='{bits}']")
        for layout in told["layouts"]:
            drawn = [tuple(pair) for pair in seen.page.evaluate(CELLS, layout["flavour"])]
            for kind in ("PMD size", "hugetlb"):
                seen.page.check(f"input[value='{kind}']")
                drawn += [tuple(pair) for pair in seen.page.evaluate(CELLS, layout["flavour"])]
            assert {(field["name"], field["offset"]) for field in layout["fields"]} <= set(drawn)
        assert [] == seen.complaints


def test_an_order_1_folio_lacks_what_lies_beyond_its_pages(browser: Browser, page: Path) -> None:
    """Asked for order 1, pages 2 and 3 are not there, and what only larger folios have is pale."""
    with visit(browser, page) as seen:
        seen.page.check("input[value='order 1']")
        assert "page 2: not there" in seen.text("[data-flavour=page-mapcount]")
        pale = "[data-flavour=page-mapcount] .cell.absent[data-field=_deferred_list]"
        assert 2 == seen.page.locator(pale).count()
        assert 0 == seen.page.locator("[data-flavour=page-mapcount] .cell.absent[data-field=_mm_id]").count()


def test_what_moved_is_marked_and_told(browser: Browser, page: Path) -> None:
    """A moved field has its mark, and pointing at it says where it is in every layout."""
    with visit(browser, page) as seen:
        moved = seen.page.locator("[data-flavour=page-mapcount] .cell.moved[data-field=_entire_mapcount]")
        assert moved.inner_text().startswith(">")
        moved.hover()
        told = "v6.14 bytes 84 to 87; page-mapcount bytes 88 to 91; total-mapped-pages has none."
        assert f"_entire_mapcount: {told}" == seen.text("#field")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("screen", [PHONE, DESK, WIDE])
def test_it_fits_the_screen(browser: Browser, page: Path, screen: tuple[int, int], dark: bool) -> None:
    """No screen scrolls sideways, with the table open too."""
    with visit(browser, page, screen, dark=dark) as seen:
        seen.page.click("#numbers summary")
        assert not seen.scrolls_sideways()
        assert [] == seen.complaints
