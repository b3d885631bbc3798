"""Replaying a trace: windows of events, brought into folio order, applied by all cores.

Folios are independent of each other. Each window's events are scattered to blocks of folios, and every
block is sorted by folio and replayed by one thread, in cache (`grouping.py`, `rules.py`). What this keeps
in memory is the folios' state, one window, and its sorted copies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.folios import SHAPE_SHIFT, VERDICT_SHIFT, Folios
from mapcount.replay.grouping import (
    BLOCKS,
    Packed,
    block_bits,
    count_blocks,
    first_unsound,
    rank,
    scatter,
    sort_block,
)
from mapcount.replay.illegal import impossible, unsound
from mapcount.replay.jit import jit
from mapcount.replay.pages import PageMapcounts, count_pages
from mapcount.replay.reader import Window, merged
from mapcount.replay.rules import (
    AHEAD,
    LANES_32,
    LANES_EVENT,
    LANES_F64,
    ROW,
    TOTAL,
    WRONG,
    L,
    arbitrary,
    fetch,
    fetch_all,
    load,
    rules_of,
    step,
    store,
    truth,
)
from mapcount.replay.trace import MOST_MM, MOST_ORDER, ORDER_MASK
from mapcount.replay.verdicts import KINDS, LANES_64, gather, judge
from mapcount.tracking.flavour import Flavour

if TYPE_CHECKING:
    from mapcount.replay.schemes import SchemeReplay

EVENTS_PER_FOLIO, MOST_EVENTS = 4, 1 << 23
"""A window has so many events for each folio, on average, unless that is more than this in all."""
RANKS = 1 << 12
"""Folios with so many events in a window, or more, are taken to have as many as each other."""
NO_ROW = (1 << 32) - 1
NO_ROWS = np.zeros(0, np.uint32)
Tally = NDArray[np.int64]
"""[order, events or time, verdict]; see `verdicts.py`."""


@jit
def replay_folios(
    events: Any, starts: Any, state: Any, f: int, folios: int, rules: Any, every: bool, guesses: bool,
    first: int, lanes: Any, wide: Any, counted: Any, tally: Any, bad: Any, counts: Any, ranked: Any,
) -> None:  # fmt: skip
    """Apply the sorted events of folios [f, f + folios); the first illegal one goes to `bad`.

    After an illegal event its folio's state means nothing. The others go on, so that the first is found.
    """
    orders, queue = np.zeros(L, np.int64), np.zeros((AHEAD, LANES_EVENT), np.int32)
    at, ends = np.zeros(L, np.uint64), np.zeros(L, np.uint64)
    touched = rank(starts, folios, counts, ranked)
    for g in range(0, touched, L):
        n = min(L, touched - g)
        at[:] = 0
        ends[:] = 0
        for k in range(n):
            at[k], ends[k] = starts[ranked[g + k]], starts[ranked[g + k] + 1]
            ranked[g + k] += f
        which = ranked[g : g + n]
        longest, shortest = (ends - at).max(), (ends - at).min()
        load(state, which, rules, lanes, wide)
        for begin in range(0, longest, AHEAD):
            soon = min(AHEAD, longest - begin)
            for t in range(soon):
                if begin + t < shortest:
                    fetch_all(events, at, begin + t, queue[t])
                else:
                    fetch(events, at, ends, begin + t, queue[t])
            for t in range(soon):
                event = queue[t]
                wrong = step(event, lanes, rules.most_in_slot)
                if rules.any_level:
                    wrong = arbitrary(event, lanes, rules.pmd_order)
                if wrong | truth(event, lanes, wide):
                    note(event, lanes, which, bad)
                if every:
                    judge(event, lanes, wide, counted, first, guesses)
        store(state, which, rules, lanes, wide)
        if every:
            for k in range(n):
                orders[k] = (state[2][which[k]] >> np.uint32(SHAPE_SHIFT)) & np.uint32(ORDER_MASK)
            gather(orders, n, counted, tally)
            counted[:] = 0


@jit
def note(event: Any, lanes: Any, which: Any, bad: Any) -> None:
    """Keep the first illegal event: (row, reasons, mappings after it, folio)."""
    for k in range(len(which)):
        row = np.int64(event[ROW + k])
        if lanes[WRONG + k] and row < bad[0]:
            bad[0], bad[1], bad[2], bad[3] = row, lanes[WRONG + k], lanes[TOTAL + k], which[k]


class _Desk:
    """What one thread works with."""

    def __init__(self, block: int) -> None:
        self.starts = np.zeros(block + 1, np.uint32)
        self.at = np.zeros(block, np.uint32)
        self.ranked = np.zeros(max(block, 2 * BLOCKS), np.int64)
        self.counts = np.zeros(RANKS, np.int64)
        self.sorted: Packed = np.zeros((0, 2), np.uint64)
        self.lanes = np.zeros(LANES_32, np.int32)
        self.wide = np.zeros(LANES_F64, np.float64)
        self.counted = np.zeros(LANES_64, np.int64)
        self.tally: Tally = np.zeros((MOST_ORDER + 1, 2, KINDS), np.int64)
        self.bad = np.array([NO_ROW, 0, 0, 0], np.int64)

    def room(self, events: int) -> Packed:
        """Space for so many sorted events."""
        if len(self.sorted) < events:
            self.sorted = np.empty((events + events // 4, 2), np.uint64)
        return self.sorted


class Engine:
    """Replays windows of events on folios, by the rules of one flavour.

    `every`: judge the kernel's answer after every event (`tally`). `schemes`: replay these as well. To be
    closed, or used by `with`.
    """

    def __init__(
        self,
        folios: Folios,
        flavour: Flavour,
        *,
        every: bool = False,
        threads: int | None = None,
        schemes: Sequence[SchemeReplay] = (),
    ) -> None:
        self.schemes = schemes
        self.folios = folios
        self.flavour = flavour
        self.every = every
        self.threads = threads or len(os.sched_getaffinity(0))
        self.pages = PageMapcounts(folios) if flavour.page_mapcounts else None
        self.events = 0
        """How many events were replayed."""
        self._rules = rules_of(flavour)
        self._bits = block_bits(len(folios))
        self._blocks = (len(folios) >> self._bits) + 1
        self._desks = [_Desk(1 << self._bits) for _ in range(self.threads)]
        self._packed: Packed = np.zeros((0, 2), np.uint64)
        self._pool = ThreadPoolExecutor(self.threads)
        self._map: Callable[..., Iterable[Any]] = self._pool.map if self.threads > 1 else map

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()

    def replay(self, window: Window) -> None:
        """Apply a window's events. Raises TraceError at the first that cannot be, with row and reason."""
        most_mm = min(MOST_MM, self.flavour.max_mm_id)
        columns = tuple(_frozen(column) for column in window.columns)
        sound = first_unsound(*columns[:5], len(self.folios), most_mm, 1 << MOST_ORDER)
        self._apply(window, columns if sound == len(window) else tuple(c[:sound] for c in columns))
        if sound < len(window):
            raise unsound(window, sound, len(self.folios), most_mm)
        self.events += len(window)

    def _apply(self, window: Window, columns: tuple[NDArray[Any], ...]) -> None:
        ends = self._scatter(columns, window.rows)
        shares = _shares(ends, self.threads)
        list(
            self._map(
                self._replay_blocks, self._desks, shares, [ends] * len(shares), [window.first] * len(shares)
            )
        )
        first = min((desk.bad for desk in self._desks), key=lambda bad: int(bad[0]))
        if first[0] < NO_ROW:
            row, why, after, f = map(int, first)
            shape = int(self.folios.shapes(f, f + 1)[0])
            raise impossible(window, row, why, after, shape, self.folios.first)

    def _scatter(
        self, columns: tuple[NDArray[Any], ...], rows: NDArray[np.uint32] | None
    ) -> NDArray[np.uint32]:
        """Pack the events by block into `_packed`; where each block's end."""
        n, parts = len(columns[0]), self.threads
        given = _frozen(NO_ROWS if rows is None else rows)
        if len(self._packed) < n:
            self._packed = np.empty((n, 2), np.uint64)
        edges = [n * part // parts for part in range(parts + 1)]
        counts = np.zeros((parts, self._blocks), np.uint32)
        list(self._map(
            lambda part: count_blocks(columns[0], edges[part], edges[part + 1], self._bits, counts[part]),
            range(parts),
        ))  # fmt: skip
        # Block by block, and inside a block part by part: time order stays.
        ends = counts.T.cumsum(dtype=np.uint32).reshape(self._blocks, parts)
        at = np.ascontiguousarray(ends.T) - counts
        out = self._packed
        list(self._map(
            lambda part: scatter(*columns, given, edges[part], edges[part + 1], self._bits, at[part], out),
            range(parts),
        ))  # fmt: skip
        return np.ascontiguousarray(ends[:, -1])

    def _replay_blocks(self, desk: _Desk, share: range, ends: NDArray[np.uint32], first: int) -> None:
        """Replay a thread's share of blocks."""
        size = 1 << self._bits
        if not self._bits:
            self._replay(
                desk,
                self._packed,
                np.concatenate([[np.uint32(0)], ends])[share.start :],
                share.start,
                len(share),
                first,
            )
            return
        for block in share:
            start, stop = int(ends[block - 1]) if block else 0, int(ends[block])
            folios = min(size, len(self.folios) - block * size)
            if start < stop:
                events = desk.room(stop - start)
                sort_block(self._packed, start, stop, folios, desk.starts, desk.at, events)
                self._replay(desk, events, desk.starts, block * size, folios, first)

    def _replay(
        self,
        desk: _Desk,
        events: Packed,
        starts: NDArray[np.uint32],
        f: int,
        folios: int,
        first: int,
    ) -> None:
        folios = min(folios, len(self.folios) - f)
        if self.pages is not None:
            offsets, counts = self.pages.offsets, self.pages.counts
            count_pages(events, starts, self.folios.owner0, f, folios, offsets, counts, desk.bad)
        replay_folios(
            events, starts, self.folios.state, f, folios, self._rules, self.every, self.pages is not None,
            first, desk.lanes, desk.wide, desk.counted, desk.tally, desk.bad,
            desk.counts, desk.ranked,
        )  # fmt: skip
        if desk.bad[0] == NO_ROW:
            for scheme in self.schemes:
                scheme.replay(events, starts, self.folios, f, folios, first)

    def tally(self, events: int | None = None) -> Tally:
        """Verdicts after every event so far, and the time that each lasted, to the end of `events` events.

        Unless said, those replayed: others may have happened to other folios.
        """
        tally: Tally = sum(desk.tally for desk in self._desks) + 0 * self._desks[0].tally
        size = 1 << 16
        for low in range(0, len(self.folios), size):
            high = min(low + size, len(self.folios))
            verdicts = self.folios.owner1[low:high] >> np.uint32(VERDICT_SHIFT) & np.uint32(7)
            where: Any = (self.folios.order(low, high), 1, verdicts)
            np.add.at(tally, where, self.events if events is None else events)
        return tally


def _frozen(column: NDArray[Any]) -> NDArray[Any]:
    """The column, contiguous and read-only: so that each loop is compiled for one kind of arrays only.

    (Processes that compile one function for different kinds at a time confuse Numba's files on disk.)
    """
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


def _shares(ends: NDArray[np.uint32], threads: int) -> list[range]:
    """Consecutive blocks for each thread, with about as many events each."""
    wanted = [int(ends[-1]) * part // threads for part in range(threads + 1)]
    edges = [0, *(int(e) for e in np.searchsorted(ends, wanted[1:-1], side="left") + 1), len(ends)]
    return [range(low, max(low, high)) for low, high in pairwise(edges)]


def replay(engine: Engine, windows: Iterator[Window]) -> None:
    """Replay windows one after the other, reading the next one while the cores are busy.

    With many folios, some windows are taken together, so that a folio that is brought into cache has more
    than one event to apply there.
    """
    wanted = min(EVENTS_PER_FOLIO * len(engine.folios), MOST_EVENTS)
    larger = merged(windows, wanted)
    with ThreadPoolExecutor(1) as reading:
        coming = reading.submit(next, larger, None)
        while (window := coming.result()) is not None:
            coming = reading.submit(next, larger, None)
            engine.replay(window)
