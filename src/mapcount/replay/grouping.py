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
BLOCKS = 1 << 8
"""How many streams a window is scattered to, unless blocks had more than 2^14 folios then. With more streams,
a processor does not keep all addresses at hand that they write to."""
GROUP = 32
"""So many folios are replayed side by side (`rules.py`). With fewer, the loops over them would be unrolled,
and have more values at a time than a processor has vector registers; with more, more words would be empty."""
CHUNK = 1 << 10
"""Events that are looked at, or packed, at a time by loops that compile to vector instructions."""
LEAST_BLOCK_BITS, MOST_BLOCK_BITS = 10, 14
"""2^14 folios of 40 bytes: with more, a block's state would not stay near a core."""

Words = NDArray[np.uint64]


def block_bits(folios: int) -> int:
    """The logarithm of how many folios a block has. 0: every folio is a block of its own."""
    if folios <= FEW_FOLIOS:
        return 0
    bits = (folios - 1).bit_length() - BLOCKS.bit_length() + 1
    return min(max(bits, LEAST_BLOCK_BITS), MOST_BLOCK_BITS)


@jit
def count_blocks(
    folio: Any, mm: Any, op: Any, page: Any, nr: Any, start: int, stop: int, folios: int, most_mm: int,
    most_pages: int, shift: int, counts: Any,
) -> Any:  # fmt: skip
    """How many of the events [start, stop) each block has. Returns the first row that is unsound, or `stop`.

    That is one whose numbers are out of any folio's range; counts mean nothing then.
    """
    counts[:] = 0
    # As narrow as the columns: twice as many are compared at a time.
    limits = np.uint32(folios), np.uint32(most_mm), np.uint32(most_pages)
    for low in range(np.uint64(start), np.uint64(stop), np.uint64(CHUNK)):
        high = min(low + np.uint64(CHUNK), np.uint64(stop))
        bad = False
        for i in range(low, high):
            bad |= is_unsound(folio[i], mm[i], op[i], page[i], nr[i], *limits)
        if bad:
            for i in range(low, high):
                if is_unsound(folio[i], mm[i], op[i], page[i], nr[i], *limits):
                    return np.int64(i)
        for i in range(low, high):
            counts[np.uint64(folio[i] >> shift)] += np.uint32(1)
    return stop


@jit
def is_unsound(
    folio: Any, mm: Any, op: Any, page: Any, nr: Any, folios: Any, most_mm: Any, most_pages: Any
) -> Any:
    """Are an event's numbers out of any folio's range?"""
    bad = (folio >= folios) | (mm == 0) | (mm > most_mm) | (op == 0) | (op > 7)
    return bad | (page >= most_pages) | (nr == 0) | (nr > most_pages)


@jit
def pack(mm: Any, op: Any, page: Any, nr: Any, low: Any, packed: Any) -> None:
    """The words of as many events as `packed` holds, from row `low` on."""
    for k in range(len(packed)):
        i = low + np.uint64(k)
        does = DOES_BY_OP >> np.uint32(np.uint32(3) * op[i]) & np.uint32(7)
        lower = np.uint64(mm[i] | does << np.uint32(DOES_SHIFT))
        packed[k] = (
            lower | np.uint64(page[i]) << np.uint64(PAGE_SHIFT) | np.uint64(nr[i]) << np.uint64(NR_SHIFT)
        )


@jit
def scatter(
    folio: Any, mm: Any, op: Any, page: Any, nr: Any, start: int, stop: int, shift: int, indexed: bool,
    at: Any, step: int, words: Any, inside: Any, index: Any,
) -> None:  # fmt: skip
    """Pack the events [start, stop) and put each where `at` says that its block's next one belongs.

    A block's events are `step` apart. `indexed`: each with its index. Its place in the block is left out
    where a folio is a block.
    """
    mask = np.uint32((1 << shift) - 1)
    packed = np.empty(CHUNK, np.uint64)
    for low in range(np.uint64(start), np.uint64(stop), np.uint64(CHUNK)):
        some = packed[: min(np.int64(CHUNK), stop - np.int64(low))]
        pack(mm, op, page, nr, low, some)
        for k in range(len(some)):
            i = low + np.uint64(k)
            block = np.uint64(folio[i] >> shift)
            j = np.uint64(at[block])
            at[block] += np.uint32(step)
            words[j] = some[k]
            if shift:
                inside[j] = folio[i] & mask
            if indexed:
                index[j] = i


@jit
def sort_block(
    words: Any, inside: Any, index: Any, start: int, stop: int, folios: int, indexed: bool,
    layout: Any, words_out: Any, index_out: Any,
) -> Any:  # fmt: skip
    """Lay a block's events [start, stop) out in groups (`lay_out`). Returns how many folios have any."""
    events, place, at, _, _, _ = layout
    events[:folios] = 0
    for i in range(np.uint64(start), np.uint64(stop)):
        events[np.uint64(inside[i])] += np.uint32(1)
    touched = lay_out(folios, layout, np.uint64(0), words_out)
    at[:folios] = place[:folios]
    for i in range(np.uint64(start), np.uint64(stop)):
        j = np.uint64(at[inside[i]])
        at[inside[i]] += np.uint32(GROUP)
        words_out[j] = words[i]
        if indexed:
            index_out[j] = index[i]
    return touched


@jit
def lay_out(folios: int, layout: Any, top: Any, words: Any) -> Any:
    """Give every folio's events a place, in groups of `GROUP` folios that have about as many each.

    Words from `top` on are for them. Of `layout`: `events` says how many each folio has. Then `ranked` are
    the folios that have any, those with most first: each `GROUP` of them are a group, and the return value is
    how many there are. `place` is where each one's first event belongs; its others are `GROUP` apart, so that
    in `words`, the next events of all folios of a group lie side by side, as `rules.py` wants them. `tops` is
    where each group's words begin, and where the last one's end. Words of folios that have fewer events than
    others in the group are empty.
    """
    events, place, _, ranked, tops, counts = layout
    touched = rank(events, folios, counts, ranked)
    for g in range(0, touched, GROUP):
        n = min(GROUP, touched - g)
        longest = np.uint64(0)
        for k in range(n):
            place[ranked[g + k]] = top + np.uint64(k)
            longest = max(longest, np.uint64(events[ranked[g + k]]))
        tops[g // GROUP] = top
        bottom = top + longest * np.uint64(GROUP)
        for k in range(GROUP):
            mine = np.uint64(events[ranked[g + k]]) if k < n else np.uint64(0)
            for j in range(top + mine * np.uint64(GROUP) + np.uint64(k), bottom, np.uint64(GROUP)):
                words[j] = np.uint64(0)
        top = bottom
    tops[(touched + GROUP - 1) // GROUP] = top
    return touched


@jit
def rank(events: Any, folios: int, counts: Any, ranked: Any) -> Any:
    """Put the folios that have events into `ranked`, those with most first. Returns how many there are."""
    most: Any = np.uint32(0)
    for f in range(folios):
        most = max(most, events[f])
    most = min(np.int64(most), len(counts) - 1)
    counts[: most + 1] = 0
    for f in range(folios):
        n: Any = np.int64(events[f])
        counts[most - min(n, most)] += 1
    at = 0
    for c in range(most + 1):
        at, counts[c] = at + counts[c], at
    touched = counts[most]
    for f in range(folios):
        n = np.int64(events[f])
        c = most - min(n, most)
        if c < most:
            ranked[counts[c]] = f
            counts[c] += 1
    return touched
