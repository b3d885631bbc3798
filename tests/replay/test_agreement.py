"""The engine and `tracking` agree: on every reachable state of small worlds, and on random traces."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.replay import blocks, engine, grouping, waves
from mapcount.replay.trace import Op, TraceError
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, Flavour

from .reference import Event, Shape, Told, folios_of, refused, replayed, rows_of, told, window_of

KERNELS = [flavour.on(bits) for flavour in FLAVOURS.values() for bits in (64, 32)]
HUGE = 512


@pytest.fixture(params=KERNELS, ids=str)
def kernel(request: pytest.FixtureRequest) -> Flavour:
    """Each flavour, in both widths."""
    return request.param  # type: ignore[no-any-return]


def small_world(order: int, mms: int) -> list[Event]:
    """Every event of one small folio: any range of pages, by any mm, mapped or unmapped."""
    ranges = [(page, nr) for page in range(1 << order) for nr in range(1, (1 << order) - page + 1)]
    who = range(1, mms + 1)
    return [(0, mm, op, page, nr) for mm in who for op in (2, 3) for page, nr in ranges] + [
        (0, mm, 1, 0, 1 << order) for mm in who
    ]


def entry_world(nr: int, mms: int, parts: tuple[tuple[int, int], ...] = ()) -> list[Event]:
    """Every event of a folio that one entry maps: whole by it, or by PTEs, whole or in parts."""
    ptes = ((0, nr), *parts)
    who = range(1, mms + 1)
    return [(0, mm, op, 0, nr) for mm in who for op in (1, 4, 5)] + [
        (0, mm, op, page, n) for mm in who for op in (2, 3) for page, n in ptes
    ]


WORLDS: dict[str, tuple[Shape, list[Event], int]] = {
    "order 0": ((0, False), small_world(0, 3), 4),
    "order 1": ((1, False), small_world(1, 3), 4),
    "order 2": ((2, False), [e for e in small_world(2, 2) if e[4] != 3], 4),
    "order 1, four mms": ((1, False), [e for e in small_world(1, 4) if e[4] == 2], 8),
    "PMD": ((9, False), entry_world(HUGE, 2, ((0, 256), (256, 256))), 2 * HUGE),
    "PMD, three mms": ((9, False), [e for e in entry_world(HUGE, 3) if e[2] in (4, 5)], 6),
    "hugetlb": ((9, True), entry_world(HUGE, 3), 4),
    "order 10, parts": (
        (10, False),
        [(0, mm, op, page, HUGE) for mm in (1, 2, 3) for op in (2, 3, 4, 5) for page in (0, HUGE)],
        2 * HUGE,
    ),
}
"""A folio, every event that may befall it, and the most mappings it gets."""
DEPTH = 5
"""And the most events on the way to a state."""
ONE_IN = 29
"""Of the illegal events, each of which needs a replay of its own."""


def after(flavour: Flavour, shape: Shape, path: tuple[Event, ...]) -> Told:
    """One folio after these events, as `tracking` has it."""
    (one,) = told(flavour, [shape])
    for _, *event in path:
        one.tell(*event)
    return one


def twin(one: Told) -> Told:
    """An independent copy."""
    return Told(one.folio.copy(), dict(one.owners))


def reachable(
    flavour: Flavour, shape: Shape, events: list[Event], most: int
) -> Iterator[tuple[tuple[Event, ...], Event, Told | None]]:
    """(path, event, folio after it or None if `tracking` refuses) for each reachable state and each event.

    Events that the truth does not allow, though the counters might, are passed over.
    """
    (first,) = told(flavour, [shape])
    seen: set[object] = set()
    states = deque([((), first)])
    while states:
        path, before = states.popleft()
        for event in events:
            one = twin(before)
            try:
                one.tell(*event[1:])
            except ValueError:
                yield path, event, None
                continue
            if any(n < 0 for n in one.owners.values()) or sum(one.owners.values()) > most:
                continue
            yield path, event, one
            key = (str(one.folio.counters()), tuple(sorted(one.owners.items())))
            if key not in seen and len(path) < DEPTH:
                seen.add(key)
                states.append(((*path, event), one))


@pytest.mark.parametrize("world", WORLDS)
def test_every_event_in_every_state_of_a_small_world(kernel: Flavour, world: str) -> None:
    """In each reachable state, each event has the same outcome: the same counters, or it is refused."""
    shape, events, most = WORLDS[world]
    trace: list[Event] = []
    expected: list[dict[str, int | bool]] = []
    illegal = 0
    for path, event, one in reachable(kernel, shape, events, most):
        if one is None:
            illegal += 1
            if illegal % ONE_IN == 1:
                assert refused(kernel, [shape], [*path, event])
        else:
            trace += [(len(expected), *e[1:]) for e in (*path, event)]
            expected.append(one.row(len(expected)))
    assert len(expected) > 10
    assert expected == rows_of(replayed(kernel, [shape] * len(expected), trace))


SHAPES = st.sampled_from([(0, False), (1, False), (2, False), (4, False), (9, False), (9, True), (10, False)])


@st.composite
def legal_traces(draw: st.DrawFn, kernel: Flavour) -> tuple[list[Shape], list[Event]]:
    """Folios, and any legal events in any order."""
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=20))
    mapped: list[tuple[int, int, bool, int, int]] = []
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 60))):
        if mapped and draw(st.booleans()):
            folio, mm, entry, page, nr = mapped.pop(draw(st.integers(0, len(mapped) - 1)))
            events.append((folio, mm, Op.UNMAP_PMD if entry else Op.UNMAP_PTES, page, nr))
            continue
        folio, mm = draw(st.integers(0, len(shapes) - 1)), draw(st.integers(1, 5))
        order, hugetlb = shapes[folio]
        fresh = all(one[0] != folio for one in mapped)
        op, page, nr = Op.MAP_PTES, 0, 1 << order
        if fresh and draw(st.booleans()):
            op = Op.NEW
        elif hugetlb or (order == 9 and draw(st.booleans())):
            op = draw(st.sampled_from([Op.MAP_PMD, Op.DUP_PMD]))
        elif order == 10 and kernel.any_level and draw(st.booleans()):
            op, page, nr = Op.MAP_PMD, draw(st.sampled_from([0, HUGE])), HUGE
        else:
            page = draw(st.integers(0, nr - 1))
            op, nr = draw(st.sampled_from([Op.MAP_PTES, Op.DUP_PTES])), draw(st.integers(1, nr - page))
        entry = hugetlb or (order == 9 and op == Op.NEW) or op in (Op.MAP_PMD, Op.DUP_PMD)
        events.append((folio, mm, op, page, nr))
        mapped.append((folio, mm, entry, page, nr))
    return shapes, events


@settings(max_examples=60)
@given(data=st.data(), which=st.sampled_from(KERNELS), windows=st.integers(1, 3), threads=st.integers(1, 2))
def test_random_traces(data: st.DataObject, which: Flavour, windows: int, threads: int) -> None:
    """Any legal trace ends the same, however it is cut into windows and shared among threads."""
    shapes, events = data.draw(legal_traces(which))
    folios = told(which, shapes)
    for folio, *event in events:
        folios[folio].tell(*event)
    expected = [one.row(number) for number, one in enumerate(folios)]
    assert expected == rows_of(replayed(which, shapes, events, windows=windows, threads=threads))


@settings(max_examples=40)
@given(data=st.data(), which=st.sampled_from(KERNELS), windows=st.integers(1, 3))
def test_verdicts_after_every_event(data: st.DataObject, which: Flavour, windows: int) -> None:
    """`--every-event` counts verdicts, and how long they last, as a recount after each event does."""
    shapes, events = data.draw(legal_traces(which))
    folios = told(which, shapes)
    tally = np.zeros((19, 2, 5), np.int64)
    verdicts, since = [0] * len(shapes), [0] * len(shapes)
    for row, (number, *event) in enumerate(events):
        one = folios[number]
        one.tell(*event)
        maybe, order = bool(one.row(0)["maybe_shared"]), shapes[number][0]
        right = one.shared == maybe
        now = ((2 if right else 4) if one.shared else (1 if right else 3)) if one.owners else 0
        tally[order, 0, now] += 1
        if now != verdicts[number]:
            tally[order, 1, verdicts[number]] += row - since[number]
            verdicts[number], since[number] = now, row
    for number, (order, _) in enumerate(shapes):
        tally[order, 1, verdicts[number]] += len(events) - since[number]
    found = replayed(which, shapes, events, windows=windows, every=True).tally
    assert tally.tolist() == found.tolist()


def test_a_slot_that_overflows_on_32_bits() -> None:
    """On 32 bits, a slot whose count no longer fits is freed and the flag set, as `tracking` does it."""
    kernel = FLAVOURS["no-page-mapcount"].on(32)
    for extra in (-1, 0, 1):
        events: list[Event] = [(0, 1, 2, 0, HUGE)] * 63 + [
            (0, 2, 2, 0, 4),
            (0, 1, 2, 0, HUGE + min(extra, 0)),
        ]
        events += [(0, 1, 2, 0, 1)] * (extra > 0) + [(0, 2, 3, 0, 4)]
        one = after(kernel, (9, False), tuple(events))
        assert [one.row(0)] == rows_of(replayed(kernel, [(9, False)], events))
        assert bool(one.row(0)["shared_flag"]) == (extra > 0)


def test_the_largest_folio() -> None:
    """A folio of a gibibyte is mapped by PUDs, and on total-mapped-pages by PMDs of its parts."""
    order, nr = 18, 1 << 18
    for kernel in KERNELS:
        events: list[Event] = [(0, 1, 1, 0, nr), (0, 2, 7, 0, nr), (0, 1, 5, 0, nr)]
        if kernel.any_level:
            events += [(0, 3, 4, HUGE * 5, HUGE), (0, 2, 2, 0, 1)]
        one = after(kernel, (order, False), tuple(events))
        assert [one.row(0)] == rows_of(replayed(kernel, [(order, False)], events))


def test_uncompiled_code_says_the_same() -> None:
    """The same loops, run by Python and not compiled, agree with `tracking` too."""
    code = """
from tests.replay.reference import replayed, rows_of, tell_all
from mapcount.tracking.flavour import FLAVOURS
shapes = [(1, False), (9, False), (9, True), (0, False)]
events = [(0, 1, 1, 0, 2), (1, 1, 1, 0, 512), (0, 2, 6, 0, 2), (0, 3, 6, 0, 2), (0, 1, 3, 0, 2),
          (0, 2, 3, 0, 2), (1, 2, 7, 0, 512), (1, 2, 2, 0, 4), (2, 1, 1, 0, 512), (3, 5, 1, 0, 1),
          (3, 6, 6, 0, 1), (1, 1, 5, 0, 512)]
for name in ("v6.14", "page-mapcount", "total-mapped-pages"):
    kernel = FLAVOURS[name]
    assert tell_all(kernel, shapes, events) == rows_of(replayed(kernel, shapes, events, every=True))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=root,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "" == done.stderr


def many_events(count: int, folios: int, seed: int) -> list[Event]:
    """Events of a few mms that map and unmap eighths of folios of 16 pages, all of them possible."""
    rng = np.random.default_rng(seed)
    mapped = np.zeros((folios, 5, 8), np.bool_)
    events: list[Event] = []
    for folio, mm, part in zip(*(rng.integers(n, size=count).tolist() for n in (folios, 5, 8)), strict=True):
        op = Op.UNMAP_PTES if mapped[folio, mm, part] else Op.MAP_PTES
        mapped[folio, mm, part] ^= True
        events.append((folio, mm + 1, op, 2 * part, 2))
    return events


CUTS = [(1 << 16, 1), (700, 1), (64, 1), (1 << 16, 2), (700, 2), (64, 2), (7, 2), (64, 3), (30, 7)]
"""Events of a slice, and threads."""


def cut(monkeypatch: pytest.MonkeyPatch, events: int) -> None:
    """Let slices have so many events, and towards the end of a window a few."""
    monkeypatch.setattr(waves, "SLICE", events)
    monkeypatch.setattr(waves, "LEAST_SLICE", min(events, 5))


@pytest.mark.parametrize("flavour", [NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT])
def test_slices_of_a_window_are_as_good_as_the_whole(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a window is cut in slices and shared by threads, state, verdicts and errors are the same."""
    folios = 300
    events, shapes = many_events(5000, folios, 1), [(4, False)] * folios
    used: Event = (7, 6, Op.NEW, 0, 16)
    outcomes = set()
    for at_once, threads in CUTS:
        cut(monkeypatch, at_once)
        replayed_folios = folios_of(shapes)
        with engine.Engine(replayed_folios, flavour, every=True, threads=threads) as replaying:
            replaying.replay(window_of(events))
            outcome = (*(column.tobytes() for column in replayed_folios.state), replaying.tally().tobytes())
            with pytest.raises(TraceError) as caught:
                replaying.replay(window_of([*events[:1], used, *events[:900]], len(events)))
        outcomes.add((*outcome, caught.value.row, str(caught.value)))
    (only,) = outcomes
    assert len(events) + 1 == only[-2]


@given(st.data())
def test_the_first_event_that_cannot_be_is_told(data: st.DataObject) -> None:
    """Of many illegal events and unsound ones, anywhere, threads that go side by side find the first."""
    folios = 100
    events, shapes = many_events(2000, folios, 3), [(4, False)] * folios
    illegal: list[Event] = [(folio, 9, Op.NEW, 0, 16) for folio in (0, 31, 50, 99)]
    unsound: list[Event] = [(folios, 1, Op.MAP_PTES, 0, 1), (99, 0, Op.MAP_PTES, 0, 1), (0, 1, 9, 0, 1)]
    wrong = data.draw(
        st.lists(
            st.tuples(st.integers(1000, 1999), st.sampled_from(illegal + unsound)), min_size=1, max_size=8
        )
    )
    for row, event in wrong:
        events[row] = event
    at_once, threads = data.draw(st.sampled_from(CUTS))
    with pytest.MonkeyPatch.context() as monkeypatch:
        cut(monkeypatch, at_once)
        with pytest.raises(TraceError) as caught:
            replayed(NO_PAGE_MAPCOUNT, shapes, events, threads=threads)
    assert min(row for row, _ in wrong) == caught.value.row


def test_pieces_of_a_block_are_as_good_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """However a block's events are cut in pieces, state, verdicts and errors are the same."""
    folios = grouping.FEW_FOLIOS + 100
    shapes: list[Shape] = [(4, False)] * folios
    # Three folios of the last block: they are in every piece.
    events = [(folios - 1 - folio, *event) for folio, *event in many_events(3000, 3, 5)]
    wrong: Event = (folios - 1, 6, Op.NEW, 0, 16)
    outcomes = set()
    for at_once in (1 << 16, 1000, 7):
        monkeypatch.setattr(blocks, "PIECE", at_once)
        for flavour in (NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT):
            replayed_folios = folios_of(shapes)
            with engine.Engine(replayed_folios, flavour, every=True, threads=1) as replaying:
                replaying.replay(window_of(events))
                outcome = (
                    *(column.tobytes() for column in replayed_folios.state),
                    replaying.tally().tobytes(),
                )
                with pytest.raises(TraceError) as caught:
                    replaying.replay(window_of([(0, 1, Op.NEW, 0, 16), wrong, wrong, *events], len(events)))
            outcomes.add((flavour.name, *outcome, caught.value.row, str(caught.value)))
    assert 2 == len(outcomes)
    assert {len(events) + 1} == {row for *_, row, _ in outcomes}


@pytest.mark.parametrize("threads", [1, 2])
def test_however_many_folios_are_wrong_the_first_event_is_told(threads: int) -> None:
    """When every folio of many blocks has illegal events, the message is of the trace's first one."""
    folios = 20_000
    shapes: list[Shape] = [(2, False)] * folios
    order = np.random.default_rng(2).permutation(folios).tolist()
    maps: list[Event] = [(folio, 1, Op.MAP_PTES, 0, 1) for folio in order]
    unmaps: list[Event] = [(folio, 2, Op.UNMAP_PTES, 0, 1) for folio in reversed(order)]
    for flavour in (NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT):
        with pytest.raises(TraceError) as caught:
            replayed(flavour, shapes, [*maps, *unmaps, *unmaps], threads=threads)
        assert folios == caught.value.row
        assert f"folio {order[-1]}, mm 2" in str(caught.value)
