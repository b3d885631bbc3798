"""What each thread of the engine works with, and on: its arrays, and its share of a window."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.grouping import GROUP, Words
from mapcount.replay.rules import LANES_32, LANES_F64
from mapcount.replay.trace import MOST_ORDER
from mapcount.replay.verdicts import KINDS, LANES_COUNTED

RANKS = 1 << 12
"""Folios with so many events in a window, or more, are taken to have as many as each other."""
Layout = tuple[NDArray[Any], ...]
"""Events, place, at, ranked, tops and counts, as `grouping.lay_out` says."""
Tally = NDArray[np.int64]
"""[order, events or time, verdict]; see `verdicts.py`."""


class Desk:
    """What one thread works with.

    `block`: how many folios it lays events out of, at most `events` at a time, in so many `parts`.
    """

    def __init__(self, block: int, events: int, *, indexed: bool, parts: int = 1) -> None:
        self.layout: Layout = (
            np.zeros(block, np.uint32),
            np.zeros(block, np.uint32),
            np.zeros(block, np.uint32),
            np.zeros(block, np.int64),
            np.zeros(block // GROUP + 2 * parts, np.uint64),
            np.zeros(RANKS, np.int64),
        )
        """What `grouping.lay_out` fills."""
        self.touched = np.zeros(parts, np.int64)
        """How many folios of each part have events."""
        # Room for the worst that can be, all events being one folio's. What is not used takes no memory.
        self.words: Words = np.empty(events * GROUP, np.uint64)
        self.index = np.empty(len(self.words) if indexed else 0, np.uint32)
        self.tally: Tally = np.zeros((MOST_ORDER + 1, 2, KINDS), np.int64)
        self.bad = np.zeros((2 * block + 1, 4), np.int64)
        """Illegal events (`groups.note`): of a folio the first by its pages, and by other rules."""
        self.lanes = (
            np.zeros(LANES_32, np.int32),
            np.zeros(LANES_F64, np.float64),
            np.zeros(LANES_COUNTED, np.int32),
            self.tally,
            self.bad,
        )
        """What compiled functions work with."""

    def find(self) -> NDArray[np.int64]:
        """Take what is in `bad` out of it."""
        some = self.bad[1 : 1 + self.bad[0, 0]].copy()
        self.bad[0, 0] = 0
        return some


def edges_of(low: int, high: int, parts: int) -> list[int]:
    """Where so many equal parts of [low, high) begin, and where the last one ends."""
    return [low + (high - low) * part // parts for part in range(parts + 1)]


def shares_of(ends: NDArray[Any], threads: int) -> list[range]:
    """Consecutive blocks for each thread, with about as many events each."""
    wanted = edges_of(0, int(ends[-1]), threads)
    edges = [0, *(int(e) for e in np.searchsorted(ends, wanted[1:-1], side="left") + 1), len(ends)]
    return [range(low, max(low, high)) for low, high in pairwise(edges)]


def pieces_of(share: range, ends: NDArray[np.uint32], most: int) -> NDArray[np.int64]:
    """(block, start, stop) of the share's blocks, with `most` events at most: what is laid out at a time."""
    pieces = [
        (block, start, min(start + most, int(ends[block])))
        for block in share
        for start in range(int(ends[block - 1]) if block else 0, int(ends[block]), most)
    ]
    return np.array(pieces, np.int64).reshape(-1, 3)
