"""Many folios: events are brought to blocks of folios, and threads take some blocks each.

All threads scatter a window's events to the blocks. Then every block's are laid out and replayed by one
thread, in its cache, some at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.desk import Desk, edges_of, pieces_of, shares_of
from mapcount.replay.grouping import Words, count_blocks, scatter
from mapcount.replay.groups import replay_pieces
from mapcount.replay.job import Columns, Illegal, Job, When

PIECE = 1 << 17
"""Events of a block that are laid out at a time: they fit in a core's cache."""
PER_FOLIO = 16
"""So many for each folio, at least, are brought to blocks at a time: it comes to cache once for them all."""


class Blocks:
    """Applies windows of events to many folios. `bits`: the logarithm of how many a block has."""

    def __init__(self, job: Job, threads: int, bits: int) -> None:
        self._job = job
        self._bits = bits
        self._blocks = (len(job.folios) >> bits) + 1
        # Several threads wait for each other each time: then there is more for each.
        least = PIECE if threads == 1 else 2 * PIECE * threads
        self._at_once = max(least, PER_FOLIO * len(job.folios))
        self.desks = [Desk(1 << bits, PIECE, indexed=job.indexed) for _ in range(threads)]
        self._counts = np.zeros((threads, self._blocks), np.uint32)
        self._words: Words = np.zeros(0, np.uint64)
        self._inside = np.zeros(0, np.uint16)
        self._index = np.zeros(0, np.uint32)

    def apply(self, columns: Columns, when: When) -> tuple[int, list[Illegal]]:
        """Apply a window's events (`job.Way`)."""
        events = len(columns[0])
        for low in range(0, events, self._at_once):
            high = min(low + self._at_once, events)
            sound = self._count(columns, low, high)
            if sound < high:
                self._count(columns, low, sound)
            found = self._replay(columns, low, sound, when) if low < sound else []
            if found:
                return sound, [self._job.first_illegal(np.concatenate(found), columns[0], low, sound)]
            if sound < high:
                return sound, []
        return events, []

    def _count(self, columns: Columns, low: int, high: int) -> int:
        """Count the events [low, high) by block (`_counts`). The first that is unsound, or `high`."""
        edges = edges_of(low, high, len(self.desks))
        sound = self._job.side_by_side(
            lambda part: count_blocks(
                *columns, edges[part], edges[part + 1], *self._job.limits, self._bits, self._counts[part]
            ),
            range(len(self.desks)),
        )
        return min((row for row, end in zip(sound, edges[1:], strict=True) if row < end), default=high)

    def _replay(self, columns: Columns, low: int, high: int, when: When) -> list[NDArray[np.int64]]:
        """Apply the events [low, high), which are counted. Returns what was illegal (`groups.note`)."""
        if len(self._words) < high - low:
            self._words = np.empty(high - low, np.uint64)
            self._inside = np.empty(high - low, np.uint16)
            self._index = np.empty(high - low if self._job.indexed else 0, np.uint32)
        # Block by block, and inside a block part by part: time order stays.
        ends = self._counts.T.cumsum(dtype=np.uint32).reshape(self._blocks, len(self.desks))
        self._scatter(columns, low, high, np.ascontiguousarray(ends.T) - self._counts)
        ends = np.ascontiguousarray(ends[:, -1])
        found = self._job.side_by_side(
            lambda desk, share: self._replay_blocks(desk, share, ends, when),
            self.desks,
            shares_of(ends, len(self.desks)),
        )
        return [some for by_one in found for some in by_one]

    def _scatter(self, columns: Columns, low: int, high: int, at: NDArray[np.uint32]) -> None:
        """Pack the events [low, high), each part to where `at` says, by block."""
        edges = edges_of(low, high, len(self.desks))
        out = (self._words, self._inside, self._index)
        list(self._job.side_by_side(
            lambda part: scatter(
                *columns, edges[part], edges[part + 1], self._bits, self._job.indexed, at[part], 1, *out
            ),
            range(len(self.desks)),
        ))  # fmt: skip

    def _replay_blocks(
        self, desk: Desk, share: range, ends: NDArray[np.uint32], when: When
    ) -> list[NDArray[np.int64]]:
        """Replay a thread's share of blocks. Returns what was illegal."""
        job, found, size = self._job, [], 1 << self._bits
        pieces, at = pieces_of(share, ends, PIECE), 0
        arrays: tuple[Any, ...] = (desk.words, desk.index, when[0], desk.layout, *job.page_counts())
        while at < len(pieces):
            # With schemes piece by piece, and otherwise up to the first piece that has an illegal event.
            to = at + 1 if job.schemes else len(pieces)
            at += replay_pieces(
                self._words, self._inside, self._index, pieces[at:to], size, len(job.folios), job.indexed,
                *arrays, *job.how(when), *desk.lanes,
            )  # fmt: skip
            block, start, _ = pieces[at - 1].tolist()
            bad = desk.find()
            if len(bad):
                first = int(ends[block - 1]) if block else 0
                earlier = np.bincount(self._inside[first:start], minlength=size)
                bad[:, 1] += earlier[bad[:, 0] - block * size]
                found.append(bad)
            if not found:
                some = range(block * size, min((block + 1) * size, len(job.folios)))
                job.replay_schemes(desk.words, desk.index, desk.layout, some, when)
        return found
