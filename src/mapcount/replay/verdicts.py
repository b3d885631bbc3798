"""How often "maybe shared" is right: after every event, and for how long.

A folio's *verdict* puts what the kernel says beside the truth. Events are counted by the verdict after
them. Time is counted in events of the whole trace: from one event of a folio to its next, or to the end of
the trace, its verdict stays, and *folio-time* is the sum over folios. The sum is taken by its ends: a verdict
that begins at row r is charged -r, and +r when it ends.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np

from mapcount.replay.grouping import DOES_SHIFT, TWICE_SHIFT
from mapcount.replay.jit import jit
from mapcount.replay.rules import (
    DOES,
    ENTIRE,
    NR,
    NR_PAGES,
    ONE,
    SHARED,
    SLOTTED,
    SUM1,
    SUM2,
    TOTAL,
    VERDICT,
    ZERO,
    L,
    i32,
)


class Verdict(IntEnum):
    """What the kernel says of a folio, beside who really maps it."""

    UNMAPPED = 0
    RIGHTLY_EXCLUSIVE = 1
    RIGHTLY_SHARED = 2
    FALSELY_SHARED = 3
    FALSELY_EXCLUSIVE = 4


KINDS: Final = len(Verdict)
FIRST_TWICE: Final = np.int32(1 << TWICE_SHIFT - DOES_SHIFT)
"""Where `pages.py` put its bit, in the lane."""
# Columns of lanes that count: the verdict before the first event; then events, then time, by verdict.
BEFORE: Final = 0
EVENTS: Final = L
TIME: Final = EVENTS + KINDS * L
LANES_COUNTED: Final = TIME + KINDS * L


@jit
def begin(lanes: Any, counted: Any) -> None:
    """Nothing is counted yet."""
    counted[:] = 0
    for k in range(L):
        counted[BEFORE + k] = lanes[VERDICT + k]


@jit
def judge(event: Any, row: Any, lanes: Any, wide: Any, counted: Any, guesses: bool) -> None:
    """Count the verdict on each lane's folio after its event, and the rows between which it stood.

    `guesses`: a large folio without slots is guessed shared as kernels before 6.15 did (mechanism,
    section 11). Time is exact modulo 2^32, which a window's rows are less than.
    """
    for k in range(L):
        total, nr_pages, slotted = lanes[TOTAL + k], lanes[NR_PAGES + k], lanes[SLOTTED + k]
        entire, shared, before = lanes[ENTIRE + k], lanes[SHARED + k], lanes[VERDICT + k]
        at, does, happens = i32(row[k]), event[DOES + k], event[NR + k] != ZERO
        guess = (entire > ZERO) | (total > nr_pages) | (does & FIRST_TWICE != ZERO)
        unslotted = guess if guesses & (nr_pages > ONE) else True
        maybe = (total > ONE) & (shared != ZERO if slotted != ZERO else unslotted)
        sum1, sum2 = wide[SUM1 + k], wide[SUM2 + k]
        mm = sum1 / np.float64(max(total, ONE))
        one = (mm == np.floor(mm)) & (mm * sum1 == sum2)
        right, wrong = i32(1) if one else i32(2), i32(3) if one else i32(4)
        after = right if maybe != one else wrong
        after = after if total > ZERO else ZERO
        after = after if happens else before
        lanes[VERDICT + k] = after
        for verdict in range(1, KINDS):
            v = i32(verdict)
            is_so = after == v
            since = i32((at if before == v else ZERO) - (at if is_so else ZERO))
            counted[EVENTS + verdict * L + k] += ONE if is_so & happens else ZERO
            counted[TIME + verdict * L + k] += since


@jit
def gather(orders: Any, events: Any, n: int, lanes: Any, counted: Any, first: int, tally: Any) -> None:
    """Add what the first `n` lanes counted to `tally[order, events or time, verdict]`.

    `events`: how many each lane had; `first`: the number, in the whole trace, of the window's row 0. Being
    unmapped is not counted: it is what the other verdicts leave.
    """
    for k in range(n):
        tally[orders[k], 0, 0] += events[k]
        for verdict in range(1, KINDS):
            began = np.int64(counted[BEFORE + k] == verdict) - np.int64(lanes[VERDICT + k] == verdict)
            time = np.int64(counted[TIME + verdict * L + k]) + first * began
            times = np.int64(counted[EVENTS + verdict * L + k])
            tally[orders[k], 0, verdict] += times
            tally[orders[k], 0, 0] -= times
            tally[orders[k], 1, verdict] += time
            tally[orders[k], 1, 0] -= time
