"""Each page's own mapcount, for the flavours that keep them: four bytes a page.

A pass over a block's events before the other rules are applied, since all that those need of it is one bit:
is the folio's first page mapped more than once (what kernels before 6.15 looked at)?
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.folios import SHAPE_SHIFT, Folios
from mapcount.replay.grouping import (
    DOES_SHIFT,
    ENTRY,
    FIRST_TWICE,
    GROUP,
    IS_NEW,
    NR_SHIFT,
    PAGE_MASK,
    PAGE_SHIFT,
    SUBTRACTS,
)
from mapcount.replay.illegal import Reason
from mapcount.replay.jit import jit
from mapcount.replay.trace import HUGETLB, ORDER_MASK
from mapcount.tracking.flavour import PMD_ORDER, PUD_ORDER

PAGE = int(Reason.PAGE)


class PageMapcounts:
    """The `_mapcount` of every page of every folio but hugetlb ones, natural."""

    __slots__ = ("counts", "offsets")

    def __init__(self, folios: Folios) -> None:
        sizes = np.uint64(1) << folios.order(0, len(folios)).astype(np.uint64)
        sizes[folios.shapes(0, len(folios)) & HUGETLB != 0] = 0
        self.offsets: NDArray[np.uint64] = np.zeros(len(folios) + 1, np.uint64)
        np.cumsum(sizes, out=self.offsets[1:])
        self.counts: NDArray[np.uint32] = np.zeros(int(self.offsets[-1]), np.uint32)

    def mapped(self, low: int, high: int) -> NDArray[np.uint32]:
        """How many pages of each of the folios [low, high) are mapped by PTEs."""
        start, stop = int(self.offsets[low]), int(self.offsets[high])
        before = np.concatenate([[0], np.cumsum(self.counts[start:stop] != 0)])
        ends = (self.offsets[low : high + 1] - self.offsets[low]).astype(np.int64)
        mapped: NDArray[np.uint32] = np.diff(before[ends]).astype(np.uint32)
        return mapped

    def first_twice(self, low: int, high: int) -> NDArray[np.bool_]:
        """Is the first page of the folio mapped by more than one PTE? For folios [low, high)."""
        starts, stops = self.offsets[low:high], self.offsets[low + 1 : high + 1]
        there = starts < stops
        found = np.zeros(high - low, np.bool_)
        found[there] = self.counts[starts[there]] > 1
        return found


@jit
def count_pages(
    words: Any, events: Any, place: Any, f: int, folios: int, offsets: Any, counts: Any, owner0: Any, bad: Any
) -> None:
    """Apply the events of folios [f, f + folios) to their pages' counts, and mark FIRST_TWICE in each.

    A folio is left at its first event that unmaps an unmapped page, which goes to `bad` as `note` says.
    """
    for k in range(folios):
        shape = owner0[f + k] >> np.uint32(SHAPE_SHIFT)
        hugetlb = shape & np.uint32(HUGETLB) != 0
        order = shape & np.uint32(ORDER_MASK)
        nr_pages = np.int64(1) << order
        base = np.int64(offsets[f + k])
        for t in range(events[k]):
            j = np.int64(place[k]) + t * GROUP
            does = np.int64(words[j] >> np.uint64(DOES_SHIFT) & np.uint64(7))
            page = np.int64(words[j] >> np.uint64(PAGE_SHIFT) & np.uint64(PAGE_MASK))
            nr = np.int64(words[j] >> np.uint64(NR_SHIFT))
            entry = does & ENTRY or (does & IS_NEW and order in (PMD_ORDER, PUD_ORDER))
            if hugetlb or page + nr > nr_pages:
                continue
            if not entry and not does & SUBTRACTS:
                for i in range(base + page, base + page + nr):
                    counts[i] += np.uint32(1)
            elif not entry:
                fewest = np.uint32(1)
                for i in range(base + page, base + page + nr):
                    fewest = min(fewest, counts[i])
                if fewest == 0:
                    n = bad[0, 0] + 1
                    bad[0, 0] = n
                    bad[n, 0], bad[n, 1], bad[n, 2], bad[n, 3] = f + k, t, PAGE, 0
                    break
                for i in range(base + page, base + page + nr):
                    counts[i] -= np.uint32(1)
            if counts[base] > 1:
                words[j] |= FIRST_TWICE
