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
    ROW,
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
# Columns of lanes of whole numbers: events, then time, by verdict.
EVENTS: Final = 0 * L
TIME: Final = EVENTS + KINDS * L
LANES_64: Final = TIME + KINDS * L


@jit
def judge(event: Any, lanes: Any, wide: Any, counted: Any, first: int, guesses: bool) -> None:
    """Count the verdict on each lane's folio after its event; `first`: the window's first row.

    `guesses`: a large folio without slots is guessed shared as kernels before 6.15 did (mechanism,
    section 11).
    """
    for k in range(L):
        total, nr_pages = lanes[TOTAL + k], lanes[NR_PAGES + k]
        guess = (lanes[ENTIRE + k] > ZERO) | (total > nr_pages) | (event[DOES + k] & FIRST_TWICE != ZERO)
        large = (
            lanes[SHARED + k] != ZERO
            if lanes[SLOTTED + k] != ZERO
            else (guess if guesses & (nr_pages > 1) else True)
        )
        maybe = (total > 1) & large
        mm = wide[SUM1 + k] / np.float64(max(total, ONE))
        one = (mm == np.floor(mm)) & (mm * wide[SUM1 + k] == wide[SUM2 + k])
        right = i32(1) if one else i32(2)
        wrong = i32(3) if one else i32(4)
        after = (right if maybe != one else wrong) if total > ZERO else ZERO
        happens = event[NR + k] != ZERO
        before = lanes[VERDICT + k]
        after = after if happens else before
        lanes[VERDICT + k] = after
        row = np.int64(event[ROW + k]) + first
        for verdict in range(KINDS):
            counted[EVENTS + verdict * L + k] += (after == verdict) & happens
            counted[TIME + verdict * L + k] += row * (
                np.int64(before == verdict) - np.int64(after == verdict)
            )


@jit
def gather(orders: Any, n: int, counted: Any, tally: Any) -> None:
    """Add what the first `n` lanes counted to `tally[order, events or time, verdict]`."""
    for k in range(n):
        for verdict in range(KINDS):
            tally[orders[k], 0, verdict] += counted[EVENTS + verdict * L + k]
            tally[orders[k], 1, verdict] += counted[TIME + verdict * L + k]
