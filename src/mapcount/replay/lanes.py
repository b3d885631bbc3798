"""Bringing folios and their events into lanes (`rules.py`), and folios back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from mapcount.replay.folios import ID_MASK, SHAPE_SHIFT, SHARED_SHIFT, VERDICT_SHIFT
from mapcount.replay.grouping import DOES_BITS, DOES_SHIFT, NR_SHIFT, PAGE_SHIFT
from mapcount.replay.jit import jit
from mapcount.replay.rules import (
    BY_PTES,
    COUNT0,
    COUNT1,
    DOES,
    ENTIRE,
    MM,
    NR,
    NR_PAGES,
    OWNER0,
    OWNER1,
    PAGE,
    PAGES,
    SHARED,
    SLOTTED,
    SUM1,
    SUM2,
    TOTAL,
    VERDICT,
    WHOLE_NR,
    L,
)
from mapcount.replay.trace import HUGETLB, ORDER_MASK
from mapcount.tracking.flavour import PUD_ORDER

DOES_MASK: Final = (1 << DOES_BITS) - 1
UPPER_PAGE: Final = (1 << NR_SHIFT - 32) - 1
"""The bits of a page's number that are in the upper half of an event's word."""


@jit
def load(state: Any, which: Any, rules: Any, lanes: Any, wide: Any) -> None:
    """Put the state of these folios into the lanes; the others are empty."""
    large_mapcount, entire, owner0, owner1, count0, count1, sum1, sum2 = state
    lanes[:] = 0
    wide[:] = 0
    for k in range(len(which)):
        f = which[k]
        shape = owner0[f] >> np.uint32(SHAPE_SHIFT)
        order = shape & np.uint32(ORDER_MASK)
        hugetlb = shape & np.uint32(HUGETLB) != 0
        lanes[NR_PAGES + k] = 1 << order
        lanes[WHOLE_NR + k] = 1 << order if order in (rules.pmd_order, PUD_ORDER) or hugetlb else 0
        lanes[BY_PTES + k] = not hugetlb
        lanes[SLOTTED + k] = -1 if rules.owner_slots and order > 0 and not hugetlb else 0
        lanes[TOTAL + k] = large_mapcount[f]
        lanes[PAGES + k if rules.any_level else ENTIRE + k] = entire[f]
        lanes[OWNER0 + k] = owner0[f] & np.uint32(ID_MASK)
        lanes[OWNER1 + k] = owner1[f] & np.uint32(ID_MASK)
        lanes[SHARED + k] = owner1[f] >> np.uint32(SHARED_SHIFT)
        lanes[VERDICT + k] = (owner1[f] >> np.uint32(VERDICT_SHIFT)) & np.uint32(7)
        lanes[COUNT0 + k] = count0[f]
        lanes[COUNT1 + k] = count1[f]
        wide[SUM1 + k] = sum1[f]
        wide[SUM2 + k] = sum2[f]


@jit
def store(state: Any, which: Any, rules: Any, lanes: Any, wide: Any) -> None:
    """Take the state of these folios out of the lanes again."""
    large_mapcount, entire, owner0, owner1, count0, count1, sum1, sum2 = state
    for k in range(len(which)):
        f = which[k]
        large_mapcount[f] = lanes[TOTAL + k]
        entire[f] = lanes[PAGES + k if rules.any_level else ENTIRE + k]
        shape = owner0[f] & ~np.uint32(ID_MASK)
        owner0[f] = shape | np.uint32(lanes[OWNER0 + k])
        flags = np.uint32(lanes[SHARED + k]) << np.uint32(SHARED_SHIFT)
        flags |= np.uint32(lanes[VERDICT + k]) << np.uint32(VERDICT_SHIFT)
        owner1[f] = np.uint32(lanes[OWNER1 + k]) | flags
        count0[f] = lanes[COUNT0 + k]
        count1[f] = lanes[COUNT1 + k]
        sum1[f] = wide[SUM1 + k]
        sum2[f] = wide[SUM2 + k]


@jit
def look_up(index: Any, rows: Any, event: Any, when: Any) -> None:
    """Each lane's row in the trace, by the event's index in the window; 0 where there is no event."""
    for k in range(L):
        when[k] = rows[index[k]] if event[NR + k] != 0 else np.uint32(0)


@jit
def unpack(words: Any, event: Any) -> None:
    """The lanes of an event, from each one's word (`grouping.py`)."""
    for k in range(L):
        low, high = np.uint32(words[k]), np.uint32(words[k] >> np.uint64(32))
        event[MM + k] = low & np.uint32(ID_MASK)
        event[DOES + k] = low >> np.uint32(DOES_SHIFT) & np.uint32(DOES_MASK)
        upper = (high & np.uint32(UPPER_PAGE)) << np.uint32(32 - PAGE_SHIFT)
        event[PAGE + k] = low >> np.uint32(PAGE_SHIFT) | upper
        event[NR + k] = high >> np.uint32(NR_SHIFT - 32)
