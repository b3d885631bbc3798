"""`mapcount compare --html` and `mapcount bench --html` in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.bench.rows import on_a_line
from tests.browser.visits import DESK, PHONE, WIDE, visit
from tests.report.comparisons import compared

from mapcount.report.html.bench_page import bench_page
from mapcount.report.html.compare_page import compare_page

TABLE = (
    "() => [...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((c) => c.textContent))"
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both pages, by the command that writes them."""
    folder = tmp_path_factory.mktemp("pages")
    written = {"compare": compare_page(compared()), "bench": bench_page(on_a_line())}
    for name, page in written.items():
        (folder / f"{name}.html").write_bytes(page)
    return {name: folder / f"{name}.html" for name in written}


def test_schemes_that_none_beats_are_on_the_line(browser: Browser, pages: dict[str, Path]) -> None:
    """Each scheme is a point with its name; full ones are beaten by none, and the words say so too."""
    with visit(browser, pages["compare"]) as seen:
        assert 6 == seen.page.locator(".point").count()
        assert 4 == seen.page.locator(".point.on").count()
        words = seen.page.get_attribute(".chart [role=img]", "aria-label") or ""
        assert "two-slots: 16 bytes a large folio, wrong 10.00 %, beaten by none" in words
        assert "per-page: 600 bytes a large folio, wrong 2.00 %. " in f"{words}. "
        assert [] == seen.complaints


def test_the_schemes_numbers_are_in_the_table(browser: Browser, pages: dict[str, Path]) -> None:
    """Each row has bytes, updates and shares; other parts of the folios are a choice away."""
    with visit(browser, pages["compare"]) as seen:
        rows = {row[0]: row[1:] for row in seen.page.evaluate(TABLE)}
        assert ["16", "100", "2", "0", "25.00 %", "10.00 %", "0", "0", "30"] == rows["two-slots ●"]
        seen.page.check("input[value='phase fork']")
        rows = {row[0]: row[1:] for row in seen.page.evaluate(TABLE)}
        assert "" == rows["two-slots ●"][5]


def test_what_was_measured_and_what_was_published(browser: Browser, pages: dict[str, Path]) -> None:
    """Three charts: time by folio size, counter updates, published changes; and their numbers."""
    with visit(browser, pages["bench"]) as seen:
        titles = [node.inner_text().split("\n")[0] for node in seen.page.query_selector_all("figcaption")]
        assert [
            "Measured: time for each page",
            "munmap: counter updates for each page",
            "munmap: published change of run time",
        ] == titles
        rows = {(row[1], row[2]): row[3:] for row in seen.page.evaluate(TABLE)}
        assert ["145", "145", "145", "1.5", "0.25", "", "", "-8 %"] == rows["16K", "PTE"]
        assert "2M 21 ns" in (seen.page.get_attribute(".chart [role=img]", "aria-label") or "")
        assert [] == seen.complaints


@pytest.mark.parametrize("name", ["compare", "bench"])
@pytest.mark.parametrize("screen", [PHONE, DESK, WIDE])
def test_charts_fit_the_screen(
    browser: Browser, pages: dict[str, Path], name: str, screen: tuple[int, int]
) -> None:
    """No screen scrolls sideways, also when it is turned, and text of charts is not scaled down."""
    with visit(browser, pages[name], screen, dark=screen == PHONE) as seen:
        assert not seen.scrolls_sideways()
        width = seen.page.evaluate("document.querySelector('.chart svg').getBoundingClientRect().width")
        box = (seen.page.get_attribute(".chart svg", "viewBox") or "").split()
        assert abs(width - float(box[2])) < 2
        seen.page.set_viewport_size({"width": screen[1], "height": screen[0]})
        assert screen[1] == seen.page.evaluate("innerWidth")
        assert not seen.scrolls_sideways()
        assert [] == seen.complaints


def test_a_hostile_trace_is_only_text(browser: Browser, tmp_path: Path) -> None:
    """A trace may be called anything."""
    path = tmp_path / "page.html"
    path.write_bytes(compare_page(compared("</script><img src=x onerror=alert(1)>")))
    with visit(browser, path) as seen:
        assert "</script><img src=x onerror=alert(1)>" in seen.text("h1")
        assert 0 == seen.page.locator("img").count()
        assert [] == seen.complaints
