"""Stories as data to be played back: pictures against counts, rules against states, reasons for copies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.report.data import runs_as_data
from mapcount.report.html.playback import Played, play, playback_data, playback_page
from mapcount.report.html.slot_rules import fired
from mapcount.scenario.generate import Menu, generate
from mapcount.scenario.parse import load, parse
from mapcount.tracking.flavour import FLAVOURS, PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES, V6_14
from mapcount.tracking.folio import Folio
from mapcount.tracking.rmap import folio_add_rmap, folio_remove_rmap

SCENARIOS = Path(__file__).parents[2] / "scenarios"
STORIES = sorted(SCENARIOS.glob("*.scn"))
NAMES = {1: "P", 2: "A", 3: "B"}


@pytest.fixture(scope="module", params=STORIES, ids=lambda path: path.stem)
def played(request: pytest.FixtureRequest) -> list[Played]:
    """A story of the library on two kernels that keep different things."""
    story = load(request.param)
    return [play(story, flavour.on(story.bits)) for flavour in (PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES)]


MENU = Menu(anon=((), (2,), (4,), (9,), (4, 9)), shmem=((), (4,), (9,)), swap=True)


def test_lanes_are_the_mappings_that_the_truth_counts(played: list[Played]) -> None:
    """In every step the entries drawn for a process are as many as the truth says, on pages of the folio."""
    _lanes_are_true(played)


@pytest.mark.parametrize("seed", range(8))
def test_any_story_can_be_played_back(seed: int) -> None:
    """Random stories on each kernel: the lanes are true, and the page can be made."""
    flavour = list(FLAVOURS.values())[seed % len(FLAVOURS)]
    played = [play(generate(seed, flavour, MENU), flavour)]
    _lanes_are_true(played)
    assert playback_page(played).startswith(b"<!doctype html>")


def _lanes_are_true(played: list[Played]) -> None:
    for one in played:
        for scene, step in zip(one.scenes, one.run.steps, strict=True):
            for picture, folio in zip(scene.folios, step.seen.folios, strict=True):
                drawn = {name: sum(n >> level for _, n, level, _ in lane) for name, lane in picture.lanes}
                if folio.kind != "hugetlb":
                    assert dict(folio.owners) == drawn
                pages = [(page, page + n) for _, lane in picture.lanes for page, n, _, _ in lane]
                assert all(0 <= first < last <= 1 << folio.order for first, last in pages)


def test_a_page_has_what_the_json_has(played: list[Played]) -> None:
    """Every step's folios and processes are those of `run --json`, look-alikes together; none is large."""
    data = playback_data(played)
    story = runs_as_data([one.run for one in played])
    store = data["store"]
    for kernel in data["kernels"]:
        for ours, theirs in zip(kernel["steps"], story["flavours"][kernel["name"]]["steps"], strict=True):
            assert theirs["rollup"] == {name: store[place] for name, place in ours["rollup"].items()}
            assert theirs["system"] == store[ours["system"]]
            found = [(store[record], store[where]["count"]) for record, where in ours["folios"]]
            assert sum(folio["count"] for folio in theirs["folios"]) == sum(count for _, count in found)
            told = {json.dumps([f["counters"], f["truth"], f["maybe_shared"]]) for f in theirs["folios"]}
            assert told == {json.dumps([f["counters"], f["truth"], f["maybe_shared"]]) for f, _ in found}
    assert len(playback_page(played)) < 1_000_000


def _told(text: str, step: int, flavour: str = "page-mapcount") -> dict[str, Any]:
    data = playback_data([play(parse(text), FLAVOURS[flavour])])
    told = data["kernels"][0]["steps"][step]["told"]
    assert isinstance(told, dict)
    return told


FORKED = "P mmap heap 64K thp=64K ; P write heap\nP fork A\n"


def test_the_rows_that_fire_when_a_parent_leaves_first() -> None:
    """Both workers' rows, and why the flag stays when only the untracked one is left."""
    text = FORKED + "P fork B\nP exit\nA exit\nB exit\n"
    cases = [[(e["case"], e["effect"]) for e in _told(text, i)["events"]] for i in range(6)]
    assert [("new folio", "total = 16 and slot 0 = P:16, no lock: nobody else sees it yet")] == cases[0]
    assert [("slot 1 is free", "slot 1 = A:16, and the shared flag is set; total 32")] == cases[1]
    assert [("no slot is free", "B:16 stays untracked; total 48, the flag is set already")] == cases[2]
    stays = "16 - 16 = 0, the slot is free; no slot's count is the total, {}: the shared flag stays set"
    assert [("slot 0 is P's", stays.format(32))] == cases[3]
    assert [("slot 1 is A's", stays.format(16))] == cases[4]
    assert [("B has no slot", "nothing maps the folio: the flag is clear")] == cases[5]


def test_why_a_write_copies_or_reuses() -> None:
    """Each fate of a page written to is told with the reason that the counters give."""
    small = "P mmap heap 4K small ; P write heap\nP fork A\n"
    huge = "P mmap heap 2M thp=2M ; P write heap\nP fork A\n"
    cases: list[tuple[str, str, str, str]] = [
        (FORKED + "P write heap[0p]\n", "page-mapcount", "copied", "maybe mapped shared"),
        (FORKED + "A exit\nP write heap[0p]\n", "page-mapcount", "reused", "refcount == total"),
        (FORKED + "A exit\nP write heap[0p]\n", "v6.14", "copied", "refcount is 16, not 1"),
        (FORKED + "P fork B\nP exit\nA exit\nB write heap\n", "page-mapcount", "copied", "a needless copy"),
        (small + "P write heap\n", "page-mapcount", "copied", "refcount is 2, not 1"),
        (small + "A exit\nP write heap\n", "page-mapcount", "reused", "nothing else refers"),
        (huge + "P write heap[0p]\n", "page-mapcount", "PMD split and copied", "refcount is 2, not 1"),
        (huge + "A exit\nP write heap[0p]\n", "page-mapcount", "reused", "refcount is 1"),
    ]
    for text, flavour, fate, why in cases:
        (write,) = _told(text, len(text.splitlines()) - 1, flavour)["fates"]
        assert fate == write["fate"], text
        assert why in write["why"], text


def test_pages_that_are_not_paged_out_are_told() -> None:
    """What MADV_PAGEOUT silently leaves alone is named, and whether rightly; what it pages out is not."""
    both = FORKED + "P madvise heap pageout\n"
    (skip,) = _told(both, 2)["fates"]
    assert (16, "skipped", "maybe mapped shared") == (skip["pages"], skip["fate"], skip["why"])
    alone = FORKED + "P fork B\nP exit\nA exit\nB madvise heap[0:32K] pageout\n"
    (skip,) = _told(alone, 5)["fates"]
    assert (8, "skipped") == (skip["pages"], skip["fate"])
    assert "only B maps it: a needless skip" in skip["why"]
    assert "fates" not in _told(alone.replace("[0:32K]", ""), 5)


def test_events_of_one_kind_are_counted_and_their_statistics_summed() -> None:
    """Migration unmaps page by page: one line says how often, and what became of AnonPages in all."""
    events = _told("P mmap heap 64K thp=64K ; P write heap\nkernel migrate P.heap\n", 1)["events"]
    assert [(16, {"AnonPages": -64}), (1, {"AnonPages": 4}), (15, {"AnonPages": 60})] == [
        (event["times"], event["stats"]) for event in events
    ]


STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(NAMES)), st.booleans(), st.integers(0, 3), st.integers(1, 4))
)
SET = {"set": True, "clear": False, "cleared": False}


@given(STEPS, st.sampled_from([PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES]))
def test_what_a_row_says_of_flag_and_slots_is_so(
    steps: list[tuple[int, bool, int, int]], flavour: Any
) -> None:
    """Whatever mms map and unmap, the words agree with the folio: the flag, the slots, the counts."""
    folio = Folio(flavour, 2)
    mapped: dict[int, list[int]] = {mm: [0] * 4 for mm in NAMES}
    for mm, add, page, n in steps:
        pages = range(page, min(page + n, 4))
        if not add and not all(mapped[mm][p] for p in pages):
            continue
        before = folio.copy()
        act: Callable[..., object] = folio_add_rmap if add else folio_remove_rmap
        act(folio, page, len(pages), mm)
        for p in pages:
            mapped[mm][p] += 1 if add else -1
        _agrees(before, folio, mm)


def _agrees(before: Folio, after: Folio, mm: int) -> None:
    row = fired(before, after, mm, NAMES, new=False)
    assert after.slots is not None
    slots, words = after.slots, row.effect
    for phrase in ("flag is set", "flag stays set", "flag is clear", "flag is cleared", "flag stays clear"):
        if words.endswith((phrase, f"{phrase} already")) or f"the shared {phrase};" in words:
            assert SET[phrase.split()[-1]] == slots.shared, words
    if "the slot is free" in words or row.case in ("no slot is free", f"{NAMES[mm]} has no slot"):
        assert slots.slot_of(mm) is None
    for i in (0, 1):
        if f"slot {i} = " in words:
            assert f"slot {i} = {NAMES[mm]}:{slots.mm_id_mapcount[i]}" in words
        if f"slot {i}'s count is the total" in words:
            assert after.large_mapcount == slots.mm_id_mapcount[i]
        if row.case == f"slot {i} is {NAMES[mm]}'s":
            assert before.slots is not None
            assert mm == before.slots.mm_id(i)


def test_other_schemes_answers_are_there() -> None:
    """What a scheme that was asked for says of a folio stands beside what the kernel says."""
    from mapcount.replay.beside import SchemesBeside
    from mapcount.schemes.registry import find

    beside = SchemesBeside([find("exact"), find("one-slot")])
    data = playback_data([play(parse(FORKED + "P exit\n"), V6_14, beside)])
    ((record, _),) = data["kernels"][0]["steps"][-1]["folios"]
    assert {"exact": False, "one-slot": True} == data["store"][record]["schemes"]
