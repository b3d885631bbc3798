"""The gallery: complete, small, readable without colour, and made from nothing but the scenarios."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from mapcount.report.html.playback import play, playback_data
from mapcount.report.moments import Moment, moments
from mapcount.report.picture import picture
from mapcount.report.picture_views import View, elsewhere, views
from mapcount.scenario.parse import parse
from mapcount.tracking.flavour import FLAVOURS

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
MOST_BYTES, MOST_OF_ALL = 12_000, 1_500_000


def _tool() -> ModuleType:
    if "gallery" not in sys.modules:
        sys.path.insert(0, str(ROOT / "tools"))
    return importlib.import_module("gallery")


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    """The tool as a module."""
    return _tool()


def chosen(text: str) -> tuple[list[Moment], list[list[View]]]:
    """The moments of a story, and what is drawn of each."""
    played = [play(parse(text), flavour) for flavour in FLAVOURS.values()]
    told = [[step["told"] for step in kernel["steps"]] for kernel in playback_data(played)["kernels"]]
    found = moments(played, told)
    return found, [views(played, moment) for moment in found]


def drawn(text: str) -> list[ElementTree.Element]:
    """The pictures of a story, parsed."""
    _, shown = chosen(text)
    return [ElementTree.fromstring(picture(some, [], ["P", "A", "B"], "a title")) for some in shown]


def words(drawing: ElementTree.Element) -> list[str]:
    """Everything that a picture says in letters, but for its title and description."""
    return [node.text or "" for node in drawing.iter(f"{SVG}text")]


THIRD = "P mmap heap 64K thp=64K\nP write heap\nP fork A\nP fork B\nP exit\nA exit\nB write heap[0p]\n"


def test_what_is_there_is_what_would_be_written(gallery: ModuleType) -> None:
    """docs/gallery holds exactly the files that gallery.py makes."""
    folder = ROOT / "docs" / "gallery"
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert sorted(gallery.files()) == sorted(there)
    stale = [name for name, text in gallery.files().items() if there[name] != text]
    assert [] == stale, "run: python tools/make_docs.py"


def test_every_story_has_its_place(gallery: ModuleType) -> None:
    """Each scenario of the library is in one group of the gallery, and in one only."""
    names = [name for _, _, some in gallery.GROUPS.values() for name in some.split()]
    there = sorted(path.stem for path in (ROOT / "scenarios").glob("*.scn"))
    assert there == sorted(names), "put the new story in a group of tools/gallery.py"


def test_pictures_are_small(gallery: ModuleType) -> None:
    """Each picture has at most 12 KB, all files together 1.5 MB, and a story one to three pictures."""
    files = gallery.files()
    sizes = {name: len(text.encode()) for name, text in files.items()}
    assert [] == [name for name, size in sizes.items() if name.endswith(".svg") and size > MOST_BYTES]
    assert sum(sizes.values()) <= MOST_OF_ALL
    pages = [name.removesuffix(".md") for name in files if name.endswith(".md") and name != "README.md"]
    counts = {page: sum(1 for name in files if re.fullmatch(rf"{page}-\d\.svg", name)) for page in pages}
    assert [] == [page for page, count in counts.items() if not 1 <= count <= 3]


def test_links_and_pictures_lead_somewhere(gallery: ModuleType) -> None:
    """Each link of the gallery is a file of it, or a heading of docs/mechanism.md."""
    files = gallery.files()
    mechanism = (ROOT / "docs" / "mechanism.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", mechanism, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    known = {*files, *(f"../mechanism.md#{anchor}" for anchor in anchors)}
    targets = {
        target
        for name, text in files.items()
        if name.endswith(".md")
        for target in re.findall(r"\]\(([^)\s]+)\)", text)
    }
    assert set() == targets - known


def test_every_picture_can_be_parsed_and_heard(gallery: ModuleType) -> None:
    """Each picture is well-formed XML, loads nothing, and has a title and a description that tells it."""
    for name, text in gallery.files().items():
        if name.endswith(".svg"):
            drawing = ElementTree.fromstring(text)
            assert f"{SVG}svg" == drawing.tag
            description = drawing.findtext(f"{SVG}desc")
            assert description
            assert "Truth:" in description, name
            assert drawing.findtext(f"{SVG}title")
            outside = [v for node in drawing.iter() for key, v in node.attrib.items() if key.endswith("href")]
            assert [] == outside
            assert "prefers-color-scheme:dark" in text


def test_moments_are_those_that_matter() -> None:
    """The process that finds no slot, the mistake, and the needless copy are the moments of a story."""
    found, _ = chosen(THIRD)
    assert [3, 5, 6] == [moment.step for moment in found]
    untracked, wrong, copied = (" ".join(moment.reasons) for moment in found)
    assert "B is not tracked" in untracked
    assert "exclusive, and taken for shared: wrong on all kernels with owner slots" in wrong
    assert "B's Uss is 64K with per-page counts, 0 without" in wrong
    assert "needlessly on all kernels with owner slots" in copied


def test_a_story_stays_with_one_folio() -> None:
    """Where several folios fare alike, the one that the chief moment is about is shown before, too."""
    text = "P mmap heap 64K thp=64K\nP mmap huge 2M thp=2M\nP write heap ; P write huge\nP fork A\nA exec\n"
    found, shown = chosen(text + "P write heap\n")
    assert [3, 4, 5] == [moment.step for moment in found]
    assert 1 == len({(moment.process, moment.page) for moment in found})
    assert [4, 4] == [view.folio.order for some in shown[:2] for view in some]


def test_a_mistake_is_seen_without_colour() -> None:
    """The word WRONG stands in the pictures where an estimate is wrong, and only there."""
    _, shown = chosen(THIRD)
    for some, drawing in zip(shown, drawn(THIRD), strict=True):
        mistakes = sum(folio.wrong for view in some for _, folio in view.beliefs)
        assert mistakes == words(drawing).count("WRONG")
    assert [0, 1, 1] == [words(drawing).count("WRONG") for drawing in drawn(THIRD)]


def test_the_truth_is_drawn_from_page_tables() -> None:
    """A process has a lane with its entries, PMDs above PTEs, and each kernel a row or a part of one."""
    text = "P mmap heap 2M thp=2M\nP write heap\nP fork A\nA munmap heap[1M:]\n"
    drawing = drawn(text)[-1]
    said = words(drawing)
    assert {"P", "A", "truth: shared: P 1, A 256", "PMD, 512 pages, read-only", "256 PTEs, read-only"} <= set(
        said
    )
    assert said.index("P") < said.index("A")
    assert set(FLAVOURS) <= set(said)


def test_what_a_write_left_behind_is_drawn_too() -> None:
    """After copy-on-write the new small folio is drawn, and the folio that the page was part of."""
    _, shown = chosen(THIRD)
    assert [(False, 0), (True, 4)] == [(view.before, view.folio.order) for view in shown[-1]]


def test_a_page_in_swap_is_said_to_be_there() -> None:
    """Where the same request left a page in swap on one kernel only, the picture of the others says so."""
    text = THIRD.replace("B write heap[0p]", "B madvise heap[0:32K] pageout")
    played = [play(parse(text), flavour) for flavour in FLAVOURS.values()]
    last = chosen(text)[0][-1]
    assert ["The page is in swap on v6.14"] == elsewhere(played, last)
    drawing = ElementTree.fromstring(picture(views(played, last), elsewhere(played, last), ["P"], "a title"))
    assert "The page is in swap on v6.14" in words(drawing)
    assert "in swap on v6.14" in str(drawing.findtext(f"{SVG}desc"))


def test_hostile_names_are_text() -> None:
    """Markup in a title or a name is shown, not obeyed."""
    _, shown = chosen(THIRD)
    text = picture(shown[0], [], ["P", "A", "B"], "</title><script>alert(1)</script>\x1b")
    drawing = ElementTree.fromstring(text)
    assert r"</title><script>alert(1)</script>\x1b" == drawing.findtext(f"{SVG}title")
    assert [] == list(drawing.iter(f"{SVG}script"))


def test_a_story_without_memory_has_no_moments() -> None:
    """Where nothing is mapped there is nothing to show."""
    assert ([], []) == chosen("P fork A\nA exit\n")
