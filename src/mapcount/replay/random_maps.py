"""Random partial maps, of any number of folios: eight bytes of memory each, and no process behind them.

A folio is cut into up to four equal pieces, and sixteen mms map or unmap them: one bit each of a word of
64. An event takes a folio and a bit at random. Most folios have few owners at a time: a bit is often
cleared, not set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.jit import jit

AT_ONCE = 1 << 16
PIECES = 4
PMD_ORDER = 9


def random_maps(orders: NDArray[np.uint8], seed: int) -> Iterator[NDArray[np.int64]]:
    """Events, endless, some at a time: folio, mm, op, page, nr."""
    mapped = np.zeros(len(orders), np.uint64)
    state = np.array([seed | 1], np.uint64)
    while True:
        events = np.zeros((AT_ONCE, 5), np.int64)
        play(orders, mapped, state, events)
        yield events


@jit
def play(orders: Any, mapped: Any, state: Any, events: Any) -> None:
    """Fill `events`; `mapped` has a bit for each mm and piece, `state` is that of the random numbers."""
    one = np.uint64(1)
    x = state[0]
    for i in range(len(events)):
        x ^= x << np.uint64(13)
        x ^= x >> np.uint64(7)
        x ^= x << np.uint64(17)
        draw = x * np.uint64(0x2545F4914F6CDD1D)
        folio = np.int64(((draw >> np.uint64(32)) * np.uint64(len(orders))) >> np.uint64(32))
        nr_pages = np.int64(1) << np.int64(orders[folio])
        bit = draw & np.uint64(63)
        if mapped[folio] and draw >> np.uint64(6) & one:
            while not mapped[folio] >> bit & one:
                bit = (bit + one) & np.uint64(63)
        nr: Any = max(nr_pages // PIECES, np.int64(1))
        piece = np.int64(bit) % PIECES
        if piece * nr >= nr_pages:
            bit -= np.uint64(piece)
            piece = np.int64(0)
        unmaps = np.int64(mapped[folio] >> bit & one)
        mapped[folio] ^= one << bit
        pmd = orders[folio] == PMD_ORDER and piece == PIECES - 1
        events[i, 0] = folio
        events[i, 1] = np.int64(bit) // PIECES + 1
        events[i, 2] = (4 if pmd else 2) + unmaps
        events[i, 3] = 0 if pmd else piece * nr
        events[i, 4] = nr_pages if pmd else nr
    state[0] = x
