"""Bringing a window's events into an order that caches like: by blocks of folios, then by folio.

Time order within a folio is kept; between folios it does not matter. An event is packed into two words of
64 bits:

    word 0   MM id in 22 bits, what the event does in 3, phase in 5; bit 31 is for `pages.py`; from 32 on: nr
    word 1   first page in 18 bits, the folio's number in its block in 14; from 32 on: the row in the window
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.jit import jit
from mapcount.replay.trace import Op

DOES_SHIFT = 22
SUBTRACTS, ENTRY, IS_NEW = 1, 2, 4
"""What an event does: it unmaps; by one entry above the PTE level; it is a new folio's first."""
DOES = {
    Op.NEW: IS_NEW, Op.MAP_PTES: 0, Op.UNMAP_PTES: SUBTRACTS, Op.MAP_PMD: ENTRY,
    Op.UNMAP_PMD: SUBTRACTS | ENTRY, Op.DUP_PTES: 0, Op.DUP_PMD: ENTRY,
}  # fmt: skip
DOES_BY_OP = np.uint32(sum(does << 3 * op for op, does in DOES.items()))
"""The same as one number: three bits for each op."""
PHASE_SHIFT = 25
TWICE_SHIFT = 31
FIRST_TWICE = np.uint64(1 << TWICE_SHIFT)
"""After this event, the folio's first page is mapped more than once."""
NR_SHIFT = ROW_SHIFT = 32
PAGE_BITS = 18
PAGE_MASK = (1 << PAGE_BITS) - 1
MOST_BLOCK_BITS = 14
INSIDE_MASK = (1 << MOST_BLOCK_BITS) - 1
"""2^14 folios of 40 bytes: a block's state fits in a core's second-level cache."""
BLOCKS = 1 << 10
"""How many streams a window is scattered to, as long as blocks do not get too large."""

Packed = NDArray[np.uint64]


def block_bits(folios: int) -> int:
    """The logarithm of how many folios a block has. 0: every folio is a block of its own."""
    bits = max(0, (max(folios, 1) - 1).bit_length() - BLOCKS.bit_length() + 1)
    return min(bits, MOST_BLOCK_BITS)


@jit
def first_unsound(
    folio: Any, mm: Any, op: Any, page: Any, nr: Any, folios: int, most_mm: int, most_pages: int
) -> int:
    """The first row whose numbers are out of any folio's range; the number of rows if there is none."""
    for start in range(0, len(folio), 1024):
        stop = min(start + 1024, len(folio))
        bad = False
        for i in range(start, stop):
            bad |= (folio[i] >= folios) | (mm[i] == 0) | (mm[i] > most_mm) | (op[i] == 0) | (op[i] > 7)
            bad |= (page[i] >= most_pages) | (nr[i] == 0) | (nr[i] > most_pages)
        if bad:
            for i in range(start, stop):
                if (folio[i] >= folios) | (mm[i] == 0) | (mm[i] > most_mm) | (op[i] == 0) | (op[i] > 7):
                    return i
                if (page[i] >= most_pages) | (nr[i] == 0) | (nr[i] > most_pages):
                    return i
    return len(folio)


@jit
def count_blocks(folio: Any, start: int, stop: int, shift: int, counts: Any) -> None:
    """How many of the events [start, stop) each block has."""
    counts[:] = 0
    for i in range(np.uint64(start), np.uint64(stop)):
        counts[np.uint64(folio[i] >> shift)] += np.uint32(1)


@jit
def scatter(
    folio: Any, mm: Any, op: Any, page: Any, nr: Any, phase: Any,
    rows: Any, start: int, stop: int, shift: int, at: Any, out: Any,
) -> None:  # fmt: skip
    """Pack the events [start, stop) and put each where `at` says that its block's next one belongs.

    `rows`: the row of each event; empty where that is its number.
    """
    numbered = len(rows) > 0
    inside = np.uint32((1 << shift) - 1)
    for i in range(np.uint64(start), np.uint64(stop)):
        block = np.uint64(folio[i] >> shift)
        j = np.uint64(at[block])
        at[block] += np.uint32(1)
        does = DOES_BY_OP >> np.uint32(np.uint32(3) * op[i]) & np.uint32(7)
        flags = mm[i] | does << np.uint32(DOES_SHIFT) | np.uint32(phase[i]) << np.uint32(PHASE_SHIFT)
        place = page[i] | (folio[i] & inside) << np.uint32(PAGE_BITS)
        out[j, 0] = np.uint64(flags) | np.uint64(nr[i]) << np.uint64(NR_SHIFT)
        out[j, 1] = np.uint64(place) | (np.uint64(rows[i]) if numbered else i) << np.uint64(ROW_SHIFT)


@jit
def sort_block(events: Any, start: int, stop: int, folios: int, starts: Any, at: Any, out: Any) -> None:
    """A block's events [start, stop) by folio, into `out`; folio f's are then [starts[f], starts[f + 1])."""
    starts[: folios + 1] = 0
    for i in range(np.uint64(start), np.uint64(stop)):
        starts[(events[i, 1] >> np.uint64(PAGE_BITS) & np.uint64(INSIDE_MASK)) + np.uint64(1)] += np.uint32(1)
    for f in range(folios):
        starts[f + 1] += starts[f]
    at[:folios] = starts[:folios]
    for i in range(np.uint64(start), np.uint64(stop)):
        k = events[i, 1] >> np.uint64(PAGE_BITS) & np.uint64(INSIDE_MASK)
        j = np.uint64(at[k])
        at[k] += np.uint32(1)
        out[j, 0] = events[i, 0]
        out[j, 1] = events[i, 1]


@jit
def rank(starts: Any, folios: int, counts: Any, ranked: Any) -> Any:
    """Put the folios that have events into `ranked`, those with most first. Returns how many there are.

    Folios of one rank have about as many events, and fill the lanes of `rules.py` evenly.
    """
    most = len(counts) - 1
    counts[:] = 0
    for f in range(folios):
        events: Any = np.int64(starts[f + 1]) - np.int64(starts[f])
        counts[most - min(events, most)] += 1
    at = 0
    for c in range(most + 1):
        at, counts[c] = at + counts[c], at
    touched = counts[most]
    for f in range(folios):
        events = np.int64(starts[f + 1]) - np.int64(starts[f])
        c = most - min(events, most)
        if c < most:
            ranked[counts[c]] = f
            counts[c] += 1
    return touched
