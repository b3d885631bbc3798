"""What is exact: the computed table against what is known, and its witnesses acted out."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from mapcount.check.exactness import SETTINGS, Cell, table
from mapcount.check.questions import QUESTIONS, Side
from mapcount.check.witness import witnesses
from mapcount.scenario.parse import parse
from mapcount.scenario.run import run
from mapcount.tracking.flavour import FLAVOURS

DOCUMENT = Path(__file__).parents[2] / "docs" / "what-is-exact.md"
SMALL = tuple(setting for setting in SETTINGS if setting.mms < 3)
"""Three processes are explored where the document is made."""
KEEPS_PAGES = ("v6.14", "page-mapcount")


@cache
def cells() -> dict[tuple[str, str, str], Cell]:
    """The table, by question, flavour and setting."""
    return {(c.question.id, c.flavour.name, c.setting.id): c for c in table(SMALL).cells}


def sides(question: str, flavour: str, setting: str) -> set[Side]:
    """In which directions an answer is mistaken."""
    return set(cells()[question, flavour, setting].mistakes)


def test_the_table_is_whole() -> None:
    """There is a cell for each question, flavour and setting."""
    assert len(QUESTIONS) * len(FLAVOURS) * len(SMALL) == len(cells())


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_one_process_is_known(flavour: str) -> None:
    """Where one process maps everything once, only the statistics may be mistaken, and only upwards."""
    mistaken = {question: found for question in QUESTIONS if (found := sides(question, flavour, "one"))}
    assert mistaken == ({} if flavour in KEEPS_PAGES else {"statistics": {Side.HIGH}})


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_per_page_counts_make_proc_exact(flavour: str) -> None:
    """With per-page counts page mapcounts, Pss and statistics are exact; without, two processes suffice."""
    for question in ("mapcount", "pss", "pss-sum", "statistics"):
        assert (sides(question, flavour, "two") == set()) == (flavour in KEEPS_PAGES), question


@pytest.mark.parametrize("setting", [setting.id for setting in SMALL])
def test_owner_slots_are_safe(setting: str) -> None:
    """With owner slots no shared folio is called exclusive, and no page is reused that others map."""
    for flavour in FLAVOURS:
        if flavour != "v6.14":
            assert sides("shared", flavour, setting) <= {Side.HIGH}
            assert sides("reuse", flavour, setting) <= {Side.LOW}
    assert {Side.LOW} == sides("shared", "v6.14", "two")


def test_memory_mapped_twice() -> None:
    """Uss of memory that one process maps twice: nothing with per-page counts, twice as much without."""
    assert [{Side.LOW}, {Side.LOW}, {Side.HIGH}, {Side.HIGH}] == [
        sides("uss", flavour, "two-vmas") for flavour in FLAVOURS
    ]


def test_a_larger_folio_shows_no_other_mistake() -> None:
    """With four pages in place of two, each cell is mistaken in the same directions."""
    settings = [setting for setting in SMALL if setting.slot_holds is None]
    for cell in table(settings, pages=4).cells:
        assert sides(cell.question.id, cell.flavour.name, cell.setting.id) == set(cell.mistakes)


def test_every_mistake_has_its_story() -> None:
    """Each mistake has a witness that was acted out, and the answer in it is not the truth."""
    found = witnesses(cells().values())
    assert [] == [one.question.id for one in found if one.story is None]
    mistakes = [(cell, side) for cell in cells().values() for side in cell.mistakes]
    told = [(cell, one.side) for one in found for cell in one.cells]
    assert len(mistakes) == len(told)
    assert all(mistake in told for mistake in mistakes)
    for one in found:
        said, true = one.mistake.answer[:2]
        assert one.side is (Side.HIGH if said > true else Side.LOW)


def _stories() -> list[object]:
    """The stories of the document."""
    blocks = re.findall(
        r"^```scn\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return [pytest.param(text, id=str(number)) for number, text in enumerate(blocks, 1)]


def test_the_document_has_stories() -> None:
    """There is at least one story for each question that anybody answers wrongly."""
    wrong = {question for (question, _, _), cell in cells().items() if cell.mistakes}
    assert len(_stories()) >= len(wrong)


@pytest.mark.parametrize("text", _stories())
def test_what_the_document_tells_happens(text: str) -> None:
    """Each story of docs/what-is-exact.md, as it stands there, shows what it says on each kernel it names."""
    story = parse(text)
    named = {name for names in re.findall(r" on=(\S+)", text) for name in names.split(",")}
    assert named
    for name in named:
        result = run(story, FLAVOURS[name].on(story.bits))
        assert [] == result.failures
        assert [] == result.broken
        assert result.checked
