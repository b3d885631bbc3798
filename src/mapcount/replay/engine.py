"""Replaying a trace: windows of events, brought into folio order, applied by all cores.

Folios are independent of each other. Each window's events are scattered to blocks of folios, and every
block is sorted by folio and replayed by one thread, in cache (`grouping.py`, `groups.py`, `rules.py`). Few
folios are a block each; then a window is taken in slices whose sorted events stay in cache. What this keeps
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

from mapcount.replay.folios import VERDICT_SHIFT, Folios
from mapcount.replay.grouping import (
    FEW_FOLIOS,
    Words,
    block_bits,
    count_blocks,
    first_unsound,
    scatter,
    sort_block,
)
from mapcount.replay.groups import first_bad, replay_folios
from mapcount.replay.illegal import impossible, unsound
from mapcount.replay.lanes import AHEAD
from mapcount.replay.pages import PageMapcounts, count_pages
from mapcount.replay.reader import Window, merged
from mapcount.replay.rules import LANES_32, LANES_F64, L, rules_of
from mapcount.replay.trace import MOST_MM, MOST_ORDER
from mapcount.replay.verdicts import KINDS, LANES_COUNTED
from mapcount.tracking.flavour import Flavour

if TYPE_CHECKING:
    from mapcount.replay.schemes import SchemeReplay

EVENTS_PER_FOLIO, MOST_EVENTS = 4, 1 << 23
"""A window has so many events for each folio, on average, unless that is more than this in all."""
RANKS = 1 << 12
"""Folios with so many events in a window, or more, are taken to have as many as each other."""
NO_ROWS = np.zeros(0, np.uint32)
NEVER = (1 << 32) - 1
SLICE = 1 << 16
"""Events that are sorted at a time by each thread when there are few folios: they fit in its cache."""
SLICE_PER_FOLIO = 16
"""So many for each folio at least: a folio comes and goes once for them all."""
When = tuple[NDArray[np.uint32], int, NDArray[np.uint8]]
"""Of a window: each event's row (nothing where that is its index), the number of its row 0, and phases."""
Tally = NDArray[np.int64]
"""[order, events or time, verdict]; see `verdicts.py`."""


class _Desk:
    """What one thread works with."""

    def __init__(self, block: int) -> None:
        self.starts = np.zeros(block + 1, np.uint32)
        self.at = np.zeros(block, np.uint32)
        self.ranked = np.zeros(block, np.int64)
        self.counts = np.zeros(RANKS, np.int64)
        self.words: Words = np.zeros(0, np.uint64)
        self.index = np.zeros(0, np.uint32)
        self.packed = np.zeros((AHEAD, 2 * L), np.uint32)
        self.lanes = np.zeros(LANES_32, np.int32)
        self.wide = np.zeros(LANES_F64, np.float64)
        self.counted = np.zeros(LANES_COUNTED, np.int32)
        self.tally: Tally = np.zeros((MOST_ORDER + 1, 2, KINDS), np.int64)
        self.bad = np.zeros((2 * block + 1, 4), np.int64)
        """A block's illegal events (`groups.note`): of a folio the first by its pages, and by other rules."""
        self.found: list[NDArray[np.int64]] = []
        """Those of all blocks so far."""

    def room(self, events: int, *, indexed: bool) -> None:
        """Have space for so many sorted events."""
        if len(self.words) < events:
            self.words = np.empty(events + events // 4, np.uint64)
            self.index = np.empty(len(self.words) if indexed else 0, np.uint32)


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
        self._indexed = every or bool(schemes)
        self._bits = block_bits(len(folios))
        self._blocks = (len(folios) >> self._bits) + 1
        # Several threads wait for each other after each slice: then it has more for each.
        least = SLICE if self.threads == 1 else 4 * SLICE * self.threads
        self._at_once = max(least, SLICE_PER_FOLIO * len(folios))
        self._desks = [_Desk(1 << self._bits if self._bits else FEW_FOLIOS) for _ in range(self.threads)]
        self._words: Words = np.zeros(0, np.uint64)
        self._inside = np.zeros(0, np.uint16)
        self._index = np.zeros(0, np.uint32)
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
        for low in range(0, sound, self._at_once):
            self._apply(window, columns, low, min(low + self._at_once, sound))
        if sound < len(window):
            raise unsound(window, sound, len(self.folios), most_mm)
        self.events += len(window)

    def _apply(self, window: Window, columns: tuple[NDArray[Any], ...], low: int, high: int) -> None:
        """Apply the events [low, high) of a window."""
        ends = self._scatter(columns, low, high)
        shares = _shares(ends, self.threads)
        rows = _frozen(NO_ROWS if window.rows is None else window.rows)
        when = (rows, window.first, columns[5])
        list(self._map(lambda desk, share: self._replay_blocks(desk, share, ends, when), self._desks, shares))
        found = [some for desk in self._desks for some in desk.found]
        if found:
            bad = np.concatenate(found)
            nth = np.full(len(self.folios), NEVER, np.uint32)
            np.minimum.at(nth, bad[:, 0], bad[:, 1].astype(np.uint32))
            i = first_bad(columns[0], low, high, nth, np.zeros(len(nth), np.uint32))
            f = int(columns[0][i])
            (_, _, why, after), *_ = bad[(bad[:, 0] == f) & (bad[:, 1] == nth[f])].tolist()
            shape = int(self.folios.shapes(f, f + 1)[0])
            raise impossible(window, window.row(i), why, after, shape, self.folios.first)

    def _scatter(self, columns: tuple[NDArray[Any], ...], low: int, high: int) -> NDArray[np.uint32]:
        """Pack the events [low, high) by block into `_words`; where each block's end."""
        n, parts = high - low, self.threads
        if len(self._words) < n:
            self._words = np.empty(n, np.uint64)
            self._inside = np.empty(n if self._bits else 0, np.uint16)
            self._index = np.empty(n if self._indexed else 0, np.uint32)
        edges = [low + n * part // parts for part in range(parts + 1)]
        counts = np.zeros((parts, self._blocks), np.uint32)
        list(self._map(
            lambda part: count_blocks(columns[0], edges[part], edges[part + 1], self._bits, counts[part]),
            range(parts),
        ))  # fmt: skip
        # Block by block, and inside a block part by part: time order stays.
        ends = counts.T.cumsum(dtype=np.uint32).reshape(self._blocks, parts)
        at = np.ascontiguousarray(ends.T) - counts
        out = (self._words, self._inside, self._index)
        list(self._map(
            lambda part: scatter(
                *columns[:5], edges[part], edges[part + 1], self._bits, self._indexed, at[part], *out
            ),
            range(parts),
        ))  # fmt: skip
        return np.ascontiguousarray(ends[:, -1])

    def _replay_blocks(self, desk: _Desk, share: range, ends: NDArray[np.uint32], when: When) -> None:
        """Replay a thread's share of blocks."""
        if not self._bits:
            starts = np.concatenate([[np.uint32(0)], ends])[share.start :]
            self._replay(desk, self._words, self._index, starts, share.start, len(share), when)
            return
        size = 1 << self._bits
        for block in share:
            start, stop = int(ends[block - 1]) if block else 0, int(ends[block])
            folios = min(size, len(self.folios) - block * size)
            if start < stop:
                desk.room(stop - start, indexed=self._indexed)
                sort_block(
                    self._words, self._inside, self._index, start, stop, folios, self._indexed,
                    desk.starts, desk.at, desk.words, desk.index,
                )  # fmt: skip
                self._replay(desk, desk.words, desk.index, desk.starts, block * size, folios, when)

    def _replay(
        self, desk: _Desk, words: Words, index: NDArray[np.uint32], starts: NDArray[np.uint32], f: int,
        folios: int, when: When,
    ) -> None:  # fmt: skip
        folios = min(folios, len(self.folios) - f)
        if self.pages is not None:
            offsets, counts = self.pages.offsets, self.pages.counts
            count_pages(words, starts, self.folios.owner0, f, folios, offsets, counts, desk.bad)
        rows, first, _ = when
        replay_folios(
            words, index, rows, starts, self.folios.state, f, folios, self._rules, self.every,
            self.pages is not None, first, desk.packed, desk.lanes, desk.wide, desk.counted, desk.tally,
            desk.bad, desk.counts, desk.ranked,
        )  # fmt: skip
        if desk.bad[0, 0]:
            desk.found.append(desk.bad[1 : 1 + desk.bad[0, 0]].copy())
            desk.bad[0, 0] = 0
        if not desk.found:
            for scheme in self.schemes:
                scheme.replay(words, index, starts, self.folios, f, folios, when)

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


def at_once(folios: int) -> int:
    """How many events a window is to have, at least, for so many folios."""
    return min(EVENTS_PER_FOLIO * folios, MOST_EVENTS)


def replay(engine: Engine, windows: Iterator[Window]) -> None:
    """Replay windows one after the other, reading the next one while the cores are busy.

    With many folios, some windows are taken together, so that a folio that is brought into cache has more
    than one event to apply there.
    """
    larger = merged(windows, at_once(len(engine.folios)))
    with ThreadPoolExecutor(1) as reading:
        coming = reading.submit(next, larger, None)
        while (window := coming.result()) is not None:
            coming = reading.submit(next, larger, None)
            engine.replay(window)
