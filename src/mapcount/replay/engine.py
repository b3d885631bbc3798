"""Replaying a trace: windows of events, brought into folio order, applied by all cores.

Folios are independent of each other. Each window's events are scattered to blocks of folios, and every
block's are laid out in groups of folios and replayed by one thread, in cache (`grouping.py`, `groups.py`,
`rules.py`). Few folios are a block each; then a window is taken in slices whose events stay in cache, and
they are scattered to the groups at once. What this keeps in memory is the folios' state, one window, and
copies of its events.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.desk import Desk, Layout, Tally, edges_of, pieces_of, shares_of
from mapcount.replay.folios import VERDICT_SHIFT, Folios
from mapcount.replay.grouping import (
    FEW_FOLIOS,
    GROUP,
    Words,
    block_bits,
    count_blocks,
    lay_out,
    scatter,
)
from mapcount.replay.groups import first_bad, replay_groups, replay_pieces
from mapcount.replay.illegal import impossible, unsound
from mapcount.replay.pages import PageMapcounts, count_pages
from mapcount.replay.reader import Window, merged
from mapcount.replay.rules import rules_of
from mapcount.replay.trace import MOST_MM, MOST_ORDER
from mapcount.tracking.flavour import Flavour

if TYPE_CHECKING:
    from mapcount.replay.schemes import SchemeReplay

EVENTS_PER_FOLIO, MOST_EVENTS = 4, 1 << 23
"""A window has so many events for each folio, on average, unless that is more than this in all."""
NO_ROWS = np.zeros(0, np.uint32)
NO_OFFSETS = np.zeros(0, np.uint64)
NEVER = (1 << 32) - 1
SLICE = 1 << 17
"""Events that are laid out at a time by each thread, of few folios or of a block: they fit in its cache."""
SLICE_PER_FOLIO = 16
"""So many for each folio at least: a folio comes and goes once for them all."""
When = tuple[NDArray[np.uint32], int, NDArray[np.uint8]]
"""Of a window: each event's row (nothing where that is its index), the number of its row 0, and phases."""


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
        least = SLICE if self.threads == 1 else 2 * SLICE * self.threads
        self._at_once = max(least, SLICE_PER_FOLIO * len(folios))
        block, room = (1 << self._bits, SLICE) if self._bits else (FEW_FOLIOS, 0)
        self._desks = [Desk(block, room, indexed=self._indexed) for _ in range(self.threads)]
        self._words: Words = np.zeros(0, np.uint64)
        self._inside = np.zeros(0, np.uint16)
        self._index = np.zeros(0, np.uint32)
        self._counts = np.zeros((self.threads, self._blocks), np.uint32)
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
        when = (_frozen(NO_ROWS if window.rows is None else window.rows), window.first, columns[5])
        for low in range(0, len(window), self._at_once):
            high = min(low + self._at_once, len(window))
            sound = self._count(columns, low, high, most_mm)
            if sound < high:
                self._count(columns, low, sound, most_mm)
            if low < sound:
                self._apply(window, columns, low, sound, when)
            if sound < high:
                raise unsound(window, sound, len(self.folios), most_mm)
        self.events += len(window)

    def _count(self, columns: tuple[NDArray[Any], ...], low: int, high: int, most_mm: int) -> int:
        """Count the events [low, high) by block (`_counts`). The first that is unsound, or `high`."""
        edges = edges_of(low, high, self.threads)
        sound = self._map(
            lambda part: count_blocks(
                *columns[:5], edges[part], edges[part + 1], len(self.folios), most_mm, 1 << MOST_ORDER,
                self._bits, self._counts[part],
            ),
            range(self.threads),
        )  # fmt: skip
        return min((row for row, end in zip(sound, edges[1:], strict=True) if row < end), default=high)

    def _apply(
        self, window: Window, columns: tuple[NDArray[Any], ...], low: int, high: int, when: When
    ) -> None:
        """Apply the events [low, high) of a window, which are counted."""
        if self._bits:
            self._by_blocks(columns, low, high, when)
        else:
            self._in_one_go(columns, low, high, when)
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

    def _scatter(
        self, columns: tuple[NDArray[Any], ...], low: int, high: int, at: NDArray[np.uint32], step: int
    ) -> None:
        """Pack the events [low, high), each part to where `at` says, by block."""
        edges = edges_of(low, high, self.threads)
        out = (self._words, self._inside, self._index)
        list(self._map(
            lambda part: scatter(
                *columns[:5], edges[part], edges[part + 1], self._bits, self._indexed, at[part], step, *out
            ),
            range(self.threads),
        ))  # fmt: skip

    def _in_one_go(self, columns: tuple[NDArray[Any], ...], low: int, high: int, when: When) -> None:
        """Apply the events [low, high) of few folios: each goes where it is replayed from at once."""
        folios, layout = len(self.folios), self._desks[0].layout
        events, place, *_, tops, _ = layout
        if len(self._words) < (high - low) * GROUP:
            self._words = np.empty((high - low) * GROUP, np.uint64)
            self._index = np.empty(len(self._words) if self._indexed else 0, np.uint32)
        events[:folios] = self._counts[:, :folios].sum(axis=0)
        touched = lay_out(folios, layout, self._words)
        # Part by part: time order stays.
        at = np.empty_like(self._counts)
        at[0, :folios] = place[:folios]
        for part in range(1, self.threads):
            np.add(at[part - 1], self._counts[part - 1] * np.uint32(GROUP), out=at[part])
        self._scatter(columns, low, high, at, GROUP)
        by_folio = shares_of(events[:folios].cumsum(), self.threads) if self.pages or self.schemes else []
        if self.pages is not None:
            list(self._map(
                lambda desk, some: count_pages(
                    self._words, events[some.start :], place[some.start :], some.start, len(some),
                    *self._pages(), desk.bad,
                ),
                self._desks, by_folio,
            ))  # fmt: skip
        groups = -(-touched // GROUP)
        by_group = shares_of(tops[1 : groups + 1], self.threads)
        list(self._map(
            lambda desk, some: replay_groups(
                self._words, self._index, when[0], layout, (some.start, some.stop, touched), 0,
                *self._how(when), *desk.lanes,
            ),
            self._desks, by_group,
        ))  # fmt: skip
        for desk in self._desks:
            desk.find()
        if not any(desk.found for desk in self._desks):
            list(self._map(
                lambda some: self._replay_schemes(self._words, self._index, layout, 0, some, when), by_folio
            ))  # fmt: skip

    def _by_blocks(self, columns: tuple[NDArray[Any], ...], low: int, high: int, when: When) -> None:
        """Apply the events [low, high) of many folios: brought to blocks, and laid out block by block."""
        if len(self._words) < high - low:
            self._words = np.empty(high - low, np.uint64)
            self._inside = np.empty(high - low, np.uint16)
            self._index = np.empty(high - low if self._indexed else 0, np.uint32)
        # Block by block, and inside a block part by part: time order stays.
        ends = self._counts.T.cumsum(dtype=np.uint32).reshape(self._blocks, self.threads)
        self._scatter(columns, low, high, np.ascontiguousarray(ends.T) - self._counts, 1)
        ends = np.ascontiguousarray(ends[:, -1])
        shares = shares_of(ends, self.threads)
        list(self._map(lambda desk, some: self._replay_blocks(desk, some, ends, when), self._desks, shares))

    def _replay_blocks(self, desk: Desk, share: range, ends: NDArray[np.uint32], when: When) -> None:
        """Replay a thread's share of blocks."""
        pieces = pieces_of(share, ends, SLICE)
        at, size = 0, 1 << self._bits
        while at < len(pieces):
            # With schemes piece by piece, and otherwise up to the first piece that has an illegal event.
            to = at + 1 if self.schemes else len(pieces)
            at += replay_pieces(
                self._words, self._inside, self._index, pieces[at:to], size, len(self.folios), self._indexed,
                desk.words, desk.index, when[0], desk.layout, *self._pages(), *self._how(when), *desk.lanes,
            )  # fmt: skip
            block, start, _ = pieces[at - 1].tolist()
            bad = desk.find()
            if len(bad):
                first = int(ends[block - 1]) if block else 0
                earlier = np.bincount(self._inside[first:start], minlength=size)
                desk.found[-1][:, 1] += earlier[bad[:, 0] - block * size]
            if not desk.found:
                folios = range(block * size, min((block + 1) * size, len(self.folios)))
                self._replay_schemes(desk.words, desk.index, desk.layout, folios.start, folios, when)

    def _how(self, when: When) -> tuple[Any, ...]:
        """By which rules, as compiled functions take them."""
        return (self.folios.state, self._rules, self.every, self.pages is not None, when[1])

    def _pages(self) -> tuple[NDArray[Any], ...]:
        """The pages' own counts, as compiled functions take them."""
        pages = self.pages
        return (NO_OFFSETS, NO_ROWS, NO_ROWS) if pages is None else (
            pages.offsets, pages.counts, self.folios.owner0
        )  # fmt: skip

    def _replay_schemes(
        self, words: Words, index: NDArray[np.uint32], layout: Layout, f: int, some: range, when: When
    ) -> None:
        """Replay folios `some`, of the block that begins with folio f, on the schemes."""
        events, place = (column[some.start - f : some.stop - f] for column in layout[:2])
        for scheme in self.schemes:
            scheme.replay(words, index, events, place, self.folios, some.start, len(some), when)

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
