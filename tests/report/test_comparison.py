"""A real kernel's answers beside the simulated ones, in terminals of any width."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tests.scenario.recorder import recorded

from mapcount.report.comparison import draw_comparison
from mapcount.scenario.compare import Comparison, compare
from mapcount.scenario.parse import load, parse
from mapcount.scenario.recording import load_recording
from mapcount.tracking.flavour import PAGE_MAPCOUNT

ROOT = Path(__file__).parents[2]
HALF = parse("P mmap heap 2M thp=2M\nP write heap\nP fork A\nA munmap heap[1M:]\nP exit\n", "half.scn")
WIDTHS = pytest.mark.parametrize("width", [60, 80, 100])


def drawn(comparison: Comparison, width: int) -> list[str]:
    """The lines that a terminal of that width gets."""
    console = Console(file=StringIO(), width=width, highlight=False)
    console.print(*draw_comparison(comparison, width=width), sep="\n")
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


@WIDTHS
def test_slots_are_whole(width: int) -> None:
    """Mappings, slots and the shared flag of each folio are there, and what both kernels say only once."""
    lines = drawn(compare(HALF, recorded(HALF, PAGE_MAPCOUNT)), width)

    text = " ".join(" ".join(lines).split())
    assert "P.heap.folios[0] 1 of order 9 total 257 slots [1,256] shared A.heap" in text
    assert "A.heap.folios[0] 1 of order 9 total 256 slots [0,256] " in text
    assert ["simulated" in line for line in lines].count(True) == 1, "in the title"
    assert max(map(len, lines)) <= width


@WIDTHS
def test_what_differs_is_there_twice(width: int) -> None:
    """Both values of a field stand one below the other, whole, and what is known of the difference."""
    story = load(str(ROOT / "scenarios/recorded/b3_child_second_half.anon2m_pmd.scn"))
    recording = load_recording(str(ROOT / "recordings/page-mapcount.jsonl"))
    lines = drawn(compare(story, recording), width)

    words = [line.split() for line in lines]
    at = words.index(["P.pm.rle", "real", "512*o"])
    assert [["simulated", "256*o", "256*oe"], ["known:", "pagemap-pmd-exclusive"]] == words[at + 1 : at + 3]
    assert lines[at].index("real") == lines[at + 1].index("simulated") == lines[at + 2].index("known")
    assert max(map(len, lines)) <= width


@WIDTHS
def test_a_long_value_shows_where_it_differs(width: int) -> None:
    """One page in five hundred is another: it is in sight, and the kernel deviates."""
    story = parse("P mmap heap 2M small\nP write heap[0p::2p]\n", "odd.scn")
    recording = recorded(story, PAGE_MAPCOUNT)
    answers = recording.of("odd")
    region = answers[-1]["processes"][0]["regions"][0]
    region["pages"] = region["pages"].removesuffix("1*none") + "1*zero"
    lines = drawn(compare(story, recording), width)

    assert any("1*zero" in line for line in lines)
    assert "DEVIATES" in " ".join(lines)
    assert "1 DEVIATE" in lines[-1] + lines[-2]
    assert max(map(len, lines)) <= width
    assert len(lines) < 40


def test_more_kinds_of_folios_than_are_shown() -> None:
    """It is said how many kinds of folios are left out."""
    steps = "".join(f"P munmap heap[{16 * i}p:{17 * i + 1}p]\n" for i in range(8))
    story = parse(
        f"P mmap heap 1M thp=64K\nP write heap\nP fork A\nA munmap heap[0p::16p]\n{steps}", "many.scn"
    )
    recording = recorded(story, PAGE_MAPCOUNT)

    assert any("more kind" in line for line in drawn(compare(story, recording), 80))
