"""Bringing a window's events into an order that caches like: by blocks of folios, then by folio.

Time order within a folio is kept; between folios it does not matter. An event is packed into a word of 64
bits, from the lowest on:

    MM id in 22 bits, what the event does in 3, one for `pages.py`, first page in 18, number of pages in 19

Two numbers are beside it where they are needed: the folio's place in its block, and the event's index in the
window (for whoever asks when it happened, or in which phase).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.jit import jit
from mapcount.replay.trace import Op

DOES_SHIFT, DOES_BITS = 22, 4
"""The fourth bit is the one for `pages.py`."""
SUBTRACTS, ENTRY, IS_NEW = 1, 2, 4
"""What an event does: it unmaps; by one entry above the PTE level; it is a new folio's first."""
DOES = {
    Op.NEW: IS_NEW, Op.MAP_PTES: 0, Op.UNMAP_PTES: SUBTRACTS, Op.MAP_PMD: ENTRY,
    Op.UNMAP_PMD: SUBTRACTS | ENTRY, Op.DUP_PTES: 0, Op.DUP_PMD: ENTRY,
}  # fmt: skip
DOES_BY_OP = np.uint32(sum(does << 3 * op for op, does in DOES.items()))
"""The same as one number: three bits for each op."""
TWICE_SHIFT = 25
FIRST_TWICE = np.uint64(1 << TWICE_SHIFT)
"""After this event, the folio's first page is mapped more than once."""
PAGE_SHIFT, NR_SHIFT = 26, 44
PAGE_MASK = (1 << NR_SHIFT - PAGE_SHIFT) - 1
FEW_FOLIOS = 1 << 12
"""So many folios are sorted in one go; more, in blocks first."""
BLOCKS = 1 << 10
"""How many streams a window is scattered to, as long as blocks are of no more than 2^14 folios."""
LEAST_BLOCK_BITS, MOST_BLOCK_BITS = 10, 14
"""2^14 folios of 40 bytes: a block's state fits in a core's second-level cache."""

Words = NDArray[np.uint64]


def block_bits(folios: int) -> int:
    """The logarithm of how many folios a block has. 0: every folio is a block of its own."""
    if folios <= FEW_FOLIOS:
        return 0
    bits = (folios - 1).bit_length() - BLOCKS.bit_length() + 1
    return min(max(bits, LEAST_BLOCK_BITS), MOST_BLOCK_BITS)


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
    folio: Any, mm: Any, op: Any, page: Any, nr: Any, start: int, stop: int, shift: int, indexed: bool,
    at: Any, words: Any, inside: Any, index: Any,
) -> None:  # fmt: skip
    """Pack the events [start, stop) and put each where `at` says that its block's next one belongs.

    `indexed`: with its index. Its place in the block is left out where a folio is a block.
    """
    mask = np.uint32((1 << shift) - 1)
    for i in range(np.uint64(start), np.uint64(stop)):
        block = np.uint64(folio[i] >> shift)
        j = np.uint64(at[block])
        at[block] += np.uint32(1)
        does = np.uint64(DOES_BY_OP >> np.uint32(np.uint32(3) * op[i]) & np.uint32(7))
        pages = np.uint64(page[i]) << np.uint64(PAGE_SHIFT) | np.uint64(nr[i]) << np.uint64(NR_SHIFT)
        words[j] = np.uint64(mm[i]) | does << np.uint64(DOES_SHIFT) | pages
        if shift:
            inside[j] = folio[i] & mask
        if indexed:
            index[j] = i


@jit
def sort_block(
    words: Any, inside: Any, index: Any, start: int, stop: int, folios: int, indexed: bool,
    starts: Any, at: Any, words_out: Any, index_out: Any,
) -> None:  # fmt: skip
    """A block's events [start, stop) by folio; folio f's are then [starts[f], starts[f + 1])."""
    starts[: folios + 1] = 0
    for i in range(np.uint64(start), np.uint64(stop)):
        starts[np.uint64(inside[i]) + np.uint64(1)] += np.uint32(1)
    for f in range(folios):
        starts[f + 1] += starts[f]
    at[:folios] = starts[:folios]
    for i in range(np.uint64(start), np.uint64(stop)):
        j = np.uint64(at[inside[i]])
        at[inside[i]] += np.uint32(1)
        words_out[j] = words[i]
        if indexed:
            index_out[j] = index[i]


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
