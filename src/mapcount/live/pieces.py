"""Page frames by folio: which of the frames that were read belong together, and to what.

A *piece* is consecutive frames of one folio. kpageflags marks the first page of a large folio and its
others, so pieces show where they begin; whose they are, when the folio begins before the frames that were
read, and how large the folio is, is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapcount.live.folio_bounds import heads_by_flags, orders_by_flags
from mapcount.live.folio_counts import LargeFolios, unknown_counters
from mapcount.live.frames import FrameFiles, Kpf, Stretches, any_of, each_of
from mapcount.live.snapshot import I8, I32, I64, U64, UNKNOWN, Bool, Kind
from mapcount.live.struct_folio import FolioReader

OF_A_PAGE = (Kpf.MMAP, Kpf.ANON, Kpf.HWPOISON, Kpf.NOPAGE, Kpf.OFFLINE)
"""Flags in which two pages of a folio may differ, and that matter here."""


@dataclass(frozen=True, slots=True)
class FrameView:
    """Frames side by side, and the pieces they form."""

    stretches: Stretches
    flags: U64
    piece: I32
    """Which piece a frame belongs to."""
    begin: I64
    """Where each piece begins."""
    changes: Bool
    """Is a frame of another piece than the one before it, or described otherwise?"""


@dataclass(frozen=True, slots=True)
class Owners:
    """The folio of each piece: columns with a row for each; and the large ones among the folios."""

    head: I64
    order: I8
    kind: I8
    large: LargeFolios


class FrameReader:
    """Asks about frames: /proc/kpage* about all of them, struct folio (if readable) about large folios."""

    def __init__(self, files: FrameFiles, folios: FolioReader | None) -> None:
        self._flags, self._counts, self._folios = files.flags, files.counts, folios

    def view(self, start: I64, nr: I64) -> FrameView:
        """The flags of some stretches of frames, in any order, and maybe of more."""
        # One frame more shows whether a folio ends with the stretch.
        stretches = Stretches.covering(start, nr + (self._folios is None))
        flags = self._flags.read(stretches)
        begins = ~any_of(flags, Kpf.COMPOUND_TAIL)
        begins[stretches.offset] = True
        changes = begins.copy()
        changes[1:] |= any_of(flags[1:] ^ flags[:-1], *OF_A_PAGE)
        piece = np.cumsum(begins, dtype=np.int32) - np.int32(1)
        return FrameView(stretches, flags, piece, np.flatnonzero(begins), changes)

    def mapcounts(self, start: I64, nr: I64) -> I32:
        """How often each frame of some stretches is mapped, stretch after stretch as they are given."""
        stretches = Stretches.covering(start, nr)
        return self._counts.read(stretches)[each_of(stretches.place, nr)].astype(np.int32)

    def owners(self, view: FrameView, used: Bool) -> Owners:
        """Whose the pieces are. Those not `used` are not asked about, and their rows mean nothing."""
        head, said = view.stretches.frames[view.begin], view.flags[view.begin]
        tails = np.flatnonzero(used & any_of(said, Kpf.COMPOUND_TAIL))
        if len(tails):
            inside = head[tails].astype(np.uint64)
            found = self._folios.heads(inside) if self._folios else heads_by_flags(self._flags, inside)
            head[tails], said[tails] = found, self._flags.of(found)
        kind, order = kinds(said), np.zeros(len(head), np.int8)
        pieces = np.flatnonzero(used & any_of(said, Kpf.COMPOUND_HEAD))
        heads, first, which = np.unique(head[pieces], return_index=True, return_inverse=True)
        large = self._large(view, heads.astype(np.uint64), pieces[first], kind[pieces[first]])
        order[pieces] = large.order[which]
        return Owners(head, order, kind, large)

    def _large(self, view: FrameView, heads: U64, pieces: I64, kind: I8) -> LargeFolios:
        """The folios that begin at `heads`; each one's first piece is known."""
        counters = self._folios.counters(heads) if self._folios else unknown_counters(len(heads))
        order = counters.order.copy()
        missing = np.flatnonzero(order <= 0)
        if len(missing):
            order[missing] = orders_in_view(view, pieces[missing])
            missing = missing[order[missing] == UNKNOWN]
            order[missing] = orders_by_flags(self._flags, heads[missing])
        return LargeFolios(heads, order, kind, counters)


def orders_in_view(view: FrameView, pieces: I64) -> I8:
    """The orders of the folios of some pieces, where they are whole: from the first page to another's."""
    edges = np.append(view.begin, len(view.flags))
    nr, end = edges[pieces + 1] - edges[pieces], edges[pieces + 1]
    whole = any_of(view.flags[view.begin[pieces]], Kpf.COMPOUND_HEAD)
    whole &= ~np.isin(end, np.append(view.stretches.offset, len(view.flags)))
    whole &= (nr > 1) & (nr & (nr - 1) == 0)
    return np.where(whole, np.log2(nr), UNKNOWN).astype(np.int8)


def kinds(flags: U64) -> I8:
    """The `Kind` of pages, from the flags of their folio's first page: kernels before 6.9 mark only that."""
    kind = np.full(len(flags), Kind.FILE, np.int8)
    for wanted, meaning in (
        (Kpf.SWAPBACKED, Kind.SHMEM),
        (Kpf.ANON, Kind.ANON),
        (Kpf.KSM, Kind.KSM),
        (Kpf.HUGE, Kind.HUGETLB),
        (Kpf.ZERO_PAGE, Kind.ZERO),
    ):
        kind[any_of(flags, wanted)] = meaning
    return kind
