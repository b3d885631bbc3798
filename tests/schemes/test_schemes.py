"""Schemes: those that come with mapcount, and how one from a file is taken or refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.replay import waves
from mapcount.replay.compare import Comparison, compare
from mapcount.replay.job import Job
from mapcount.replay.reader import Trace
from mapcount.replay.run import replay_trace
from mapcount.replay.schemes import Measure, Time
from mapcount.replay.summary import summary_of
from mapcount.replay.synthetic import WORKLOADS, write_synthetic
from mapcount.replay.verdicts import Verdict
from mapcount.replay.writer import TraceWriter
from mapcount.schemes.registry import SCHEMES, find
from mapcount.schemes.scheme import SchemeError
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT
from mapcount.tracking.folio import Folio
from mapcount.tracking.owner_slots import OwnerSlots
from mapcount.tracking.rmap import folio_add_rmap, folio_remove_rmap

LAST_MAPPER = Path(__file__).parents[2] / "examples" / "last_mapper.py"
NAMES = [*SCHEMES, "n-slots:3", "two-slots+reset:4", f"{LAST_MAPPER}:LastMapper"]


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    """A small trace of each workload."""
    place = tmp_path_factory.mktemp("traces")
    for kind in WORKLOADS:
        with TraceWriter(place / f"{kind}.trace") as writer:
            write_synthetic(writer, kind, 8_000, 1, 64)
    return {kind: Trace(place / f"{kind}.trace") for kind in WORKLOADS}


@pytest.fixture(scope="module")
def compared(traces: dict[str, Trace]) -> dict[str, Comparison]:
    """All schemes on each of them."""
    return {kind: compare(trace, [find(name) for name in NAMES]) for kind, trace in traces.items()}


@pytest.mark.parametrize("kind", WORKLOADS)
def test_two_slots_are_the_kernels(
    traces: dict[str, Trace], compared: dict[str, Comparison], kind: str
) -> None:
    """The scheme `two-slots` is as often, and as long, mistaken as the engine's kernel is on large folios."""
    summary = summary_of(replay_trace(traces[kind], NO_PAGE_MAPCOUNT, every=True), every=True)
    judged = next(j for j in compared[kind].judged if j.scheme.name == "two-slots")
    for accuracy in summary.accuracy[1:]:
        if accuracy.order:
            counts, time = judged.by_order[accuracy.order], judged.time_by_order[accuracy.order]
            wrong = accuracy.events[Verdict.FALSELY_SHARED]
            assert wrong == counts.by[Measure.FALSELY_SHARED]
            assert accuracy.time[Verdict.FALSELY_SHARED] == time[Time.FALSELY_SHARED]


@pytest.mark.parametrize(("events", "threads"), [(1 << 16, 1), (500, 1), (500, 2), (50, 3)])
def test_slices_and_threads_change_nothing(
    traces: dict[str, Trace],
    compared: dict[str, Comparison],
    events: int,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However a trace is cut in slices and shared by threads, schemes are told the same events in order."""
    monkeypatch.setattr(waves, "SLICE", events)
    monkeypatch.setattr(waves, "LEAST_SLICE", min(events, 20))
    schemes = [find(name) for name in NAMES]
    told = compare(traces["random"], schemes, threads=threads)
    assert [(j.all, j.by_order, j.time_by_order) for j in compared["random"].judged] == [
        (j.all, j.by_order, j.time_by_order) for j in told.judged
    ]


def test_a_thread_that_dies_is_not_waited_for(
    traces: dict[str, Trace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When one of several threads runs out of memory, the error is told, and the others end."""
    monkeypatch.setattr(waves, "SLICE", 100)
    monkeypatch.setattr(waves, "LEAST_SLICE", 100)
    calls = itertools.count()

    def dies(*_: object) -> None:
        if next(calls) == 5:
            raise MemoryError("of a thread")

    monkeypatch.setattr(Job, "replay_schemes", dies)
    with pytest.raises(MemoryError, match="of a thread"):
        compare(traces["random"], [find("exact")], threads=3)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_who_may_be_wrong_and_how(compared: dict[str, Comparison], kind: str) -> None:
    """`exact` is never wrong; owner slots are never falsely exclusive; more slots are never wrong longer."""
    wrong = {j.scheme.name: j for j in compared[kind].judged}
    assert 0 == wrong["exact"].wrong_time
    for name in ("one-slot", "two-slots", "n-slots:3", "two-slots+reset:4", "LastMapper"):
        assert 0 == wrong[name].all.by[Measure.FALSELY_EXCLUSIVE]
    times = [wrong[name].wrong_time for name in ("n-slots:3", "two-slots", "one-slot")]
    assert sorted(times) == times
    assert wrong["two-slots+reset:4"].wrong_time <= wrong["two-slots"].wrong_time


def test_per_page_costs_what_tracking_says(traces: dict[str, Trace], compared: dict[str, Comparison]) -> None:
    """The counters that `per-page` changes are those that v6.14 changes, event by event."""
    trace = traces["prefork"]
    ((orders, _),) = trace.shapes()
    folios = [Folio(FLAVOURS["v6.14"], int(order)) for order in orders]
    updates = 0
    for window in trace.windows():
        for f, mm, op, page, nr in zip(*(c.tolist() for c in window.columns[:5]), strict=True):
            level = 9 if op in (4, 5, 7) or (op == 1 and orders[f] == 9) else 0
            change = folio_remove_rmap if op in (3, 5) else folio_add_rmap
            cost = change(folios[f], page, nr, mm, level).cost
            updates += cost.page_updates + cost.atomic_updates
    judged = next(j for j in compared["prefork"].judged if j.scheme.name == "per-page")
    assert updates == judged.all.by[Measure.UPDATES]


SLOT_EVENTS = st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.integers(1, 3)), max_size=40)


@given(events=SLOT_EVENTS)
@settings(max_examples=200)
def test_two_slots_uncompiled_are_trackings(events: list[tuple[int, bool, int]]) -> None:
    """Run by Python, the scheme's functions and `tracking` agree on slots and flag after every event."""
    scheme, slots = find("two-slots"), OwnerSlots(NO_PAGE_MAPCOUNT)
    state, owned, total = np.zeros(scheme.words(4), np.int64), dict.fromkeys(range(1, 5), 0), 0
    for mm, removes, n in events:
        n = min(n, owned[mm]) if removes else n
        if not n:
            continue
        owned[mm] += -n if removes else n
        total += -n if removes else n
        (slots.remove if removes else slots.add)(total, mm, n)
        (scheme.remove if removes else scheme.add)(state, mm, 0, n, n, total)
        held = [
            slots.shared,
            slots.mm_id(0),
            slots.mm_id_mapcount[0],
            slots.mm_id(1),
            slots.mm_id_mapcount[1],
        ]
        assert held == state.tolist()


def test_a_front_has_only_who_is_not_beaten(compared: dict[str, Comparison]) -> None:
    """No scheme on the Pareto front costs as much as another that is wrong for less time."""
    for comparison in compared.values():
        front = comparison.front("bytes")
        assert front
        for one in front:
            better = [j for j in comparison.judged if j.wrong_time < one.wrong_time]
            assert all(j.bytes_per_folio > one.bytes_per_folio for j in better)


BROKEN = {
    "no add": ("words = 1; state_bytes = 4", "has no function 'add'"),
    "arguments": ("words = 1; state_bytes = 4\n def add(state): return 0", "add takes 1 arguments, not 6"),
    "words": ("words = -1; state_bytes = 4", "words is -1"),
    "outside": ("words = 1; state_bytes = 4", "IndexError: index 5 is out of bounds"),
    "not compiled": ("words = 1; state_bytes = 4", "cannot be compiled"),
    "too large": ("words = 1; state_bytes = 4\n words = lambda nr_pages: 10**9", "words(1) is 1000000000"),
}
FUNCTIONS = """
 def add(state, mm, page, pages, n, total): return {add}
 def remove(state, mm, page, pages, n, total): return 0
 def maybe_shared(state, nr_pages, total): return False
"""


@pytest.mark.parametrize("case", BROKEN)
def test_a_scheme_that_cannot_be_is_refused(tmp_path: Path, traces: dict[str, Trace], case: str) -> None:
    """A scheme that lacks something, fails, or does not compile is refused, and it says which and why."""
    body, message = BROKEN[case]
    if case in ("outside", "not compiled", "words", "too large"):
        body += FUNCTIONS.format(add={"outside": "state[5]", "not compiled": "state.foo"}.get(case, "0"))
    (tmp_path / "broken.py").write_text(f"class Broken:\n {body}\n")
    with pytest.raises(SchemeError) as caught:
        compare(traces["prefork"], [find(f"{tmp_path}/broken.py:Broken")])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("three-slots", "no scheme 'three-slots'; there are two-slots"),
        ("n-slots:0", "from 1 to 64 slots"),
        ("two-slots+reset:0", "a walk after every 1 to"),
        ("nowhere.py:X", "nowhere.py: no such file"),
        (f"{LAST_MAPPER}:Nobody", "has no class 'Nobody' (it has LastMapper)"),
    ],
)
def test_a_word_that_names_no_scheme(word: str, message: str) -> None:
    """An unknown name is answered with what there is."""
    with pytest.raises(SchemeError) as caught:
        find(word)
    assert message in str(caught.value)


def test_a_file_that_fails(tmp_path: Path) -> None:
    """A scheme's file that raises is reported with what it raised."""
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(SchemeError, match="ZeroDivisionError"):
        find(f"{tmp_path}/bad.py:X")
