"""Where a folio begins and ends, from /proc/kpageflags alone: for kernels whose struct folio is not readable.

A folio of order n begins at a multiple of 2^n frames. So its first page is found by trying the multiples of
2, 4, 8... before a page, and its end by trying the pages 2, 4, 8... after the first.
"""

from __future__ import annotations

import numpy as np

from mapcount.live.frames import FrameFile, Kpf, any_of
from mapcount.live.snapshot import I8, U64, UNKNOWN

MAX_ORDER = 22
"""Larger than any folio: 16 GiB in pages of 4 KiB."""


def heads_by_flags(flags: FrameFile, frames: U64) -> U64:
    """The first page of the folio each tail page belongs to; the page itself where none is found."""
    heads = frames.copy()
    looking = np.arange(len(frames))
    for order in range(1, MAX_ORDER + 1):
        if len(looking) == 0:
            break
        tried = frames[looking] >> np.uint64(order) << np.uint64(order)
        said = flags.of(tried)
        found = any_of(said, Kpf.COMPOUND_HEAD)
        heads[looking[found]] = tried[found]
        looking = looking[any_of(said, Kpf.COMPOUND_TAIL)]
    return heads


def orders_by_flags(flags: FrameFile, heads: U64) -> I8:
    """The orders of large folios that begin at `heads`; UNKNOWN where there is no end."""
    orders = np.full(len(heads), UNKNOWN, np.int8)
    looking = np.arange(len(heads))
    for order in range(1, MAX_ORDER + 1):
        if len(looking) == 0:
            break
        goes_on = any_of(flags.of(heads[looking] + np.uint64(1 << order)), Kpf.COMPOUND_TAIL)
        orders[looking[~goes_on]] = order
        looking = looking[goes_on]
    return orders
