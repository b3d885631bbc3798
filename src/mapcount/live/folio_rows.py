"""What the kernel counts about the large folios of a block: from struct folio, else page by page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mapcount.live.folio_counts import LargeFolios, mapped_pages, sum_mapcount
from mapcount.live.frames import FrameFiles, Stretches
from mapcount.live.snapshot import I8, I32, I64, U64, UNKNOWN, Bool, Folios, Kind, Runs
from mapcount.live.struct_folio import FolioReader
from mapcount.tracking.flavour import Flavour

FRAMES_AT_ONCE = 1 << 16
"""How many pages of folios are asked about together: bounds the memory that takes."""


class FolioRows:
    """Makes `Folios`. `folios` is None where struct folio is not readable."""

    def __init__(self, flavour: Flavour, files: FrameFiles, folios: FolioReader | None) -> None:
        self._page_mapcounts = flavour.page_mapcounts
        self._counts, self._cgroups, self._folios = files.counts, files.cgroups, folios

    def of(self, runs: Runs, large: LargeFolios) -> Folios:
        """The large folios that `runs` map; `large` may hold more."""
        counted = (runs.order > 0) & (runs.kind != Kind.ZERO) & (runs.kind != Kind.OTHER)
        used = np.zeros(len(large.head), np.bool_)
        used[np.searchsorted(large.head, runs.folio[counted])] = True
        large = large.select(used)
        head, order, c = large.head, large.order, large.counters
        nr = np.int64(1) << order.astype(np.int64)
        total = sum_mapcount(c, nr)
        exclusive = self._exclusive(head, order, (c.shared == 1) & (c.anon == 1) & (total <= nr))
        if self._page_mapcounts:
            mapped = mapped_pages(c, nr)
            missing = (mapped == UNKNOWN) | (total == UNKNOWN)
            if missing.any():
                whole, sums = _mapped_whole(runs, large, nr)
                mapped[missing & whole], total[missing & whole] = nr[missing & whole], sums[missing & whole]
                missing &= ~whole
                mapped[missing], total[missing] = self._by_page(head[missing], nr[missing])
        else:
            mapped = total = np.full(len(head), UNKNOWN, np.int64)
        return Folios(
            folio=head,
            order=order,
            kind=large.kind,
            mapped_pages=mapped.astype(np.int32),
            sum_mapcount=total,
            cgroup=self._cgroup(head, (mapped != UNKNOWN) & (mapped < nr)),
            refcount=c.refcount,
            large_mapcount=c.large_mapcount,
            entire_mapcount=c.entire_mapcount,
            pincount=c.pincount,
            shared=c.shared,
            mm_id=c.mm_id,
            mm_id_mapcount=c.mm_id_mapcount,
            anon_exclusive=exclusive,
        )

    def _exclusive(self, head: U64, order: I8, wanted: Bool) -> I32:
        """How many pages are marked anon exclusive, where that matters: it costs a look at every page.

        It matters where a folio is mistaken for shared. A folio whose pages are mapped more often than
        it has pages is shared indeed, since one address space maps an anonymous page only once.
        """
        found = np.full(len(head), UNKNOWN, np.int32)
        if self._folios and wanted.any():
            found[wanted] = self._folios.anon_exclusive(head[wanted], order[wanted])
        return found

    def _by_page(self, head: U64, nr: I64) -> tuple[I64, I64]:
        """How many pages anybody maps, and how often all of them are mapped, from kpagecount."""
        mapped, total = np.empty(len(head), np.int64), np.empty(len(head), np.int64)
        for some in _portions(nr):
            stretches = Stretches.covering(head[some].astype(np.int64), nr[some])
            begin = stretches.place
            counts = self._counts.read(stretches).astype(np.int64)
            for found, values in ((total, counts), (mapped, counts > 0)):
                before = np.append(0, np.cumsum(values))
                found[some] = before[begin + nr[some]] - before[begin]
        return mapped, total

    def _cgroup(self, head: U64, wanted: Bool) -> U64:
        """The control groups of folios of which a part is mapped: theirs are the statistics that change."""
        inode = np.zeros(len(head), np.uint64)
        if self._cgroups and wanted.any():
            inode[wanted] = self._cgroups.of(head[wanted])
        return inode


def _mapped_whole(runs: Runs, large: LargeFolios, nr: I64) -> tuple[Bool, I64]:
    """Which folios have all their pages in these runs, and how often their pages are mapped in sum.

    Anonymous ones only: an address space may map another's page in two places, and so count it twice.
    """
    anon = np.flatnonzero((runs.order > 0) & (runs.kind == Kind.ANON))
    row, pages = np.searchsorted(large.head, runs.folio[anon]), runs.nr[anon].astype(np.int64)
    mine = np.bincount(row, pages, len(nr)).astype(np.int64)
    sums = np.bincount(row, pages * runs.mapcount[anon], len(nr)).astype(np.int64)
    return (mine == nr) & (large.kind == Kind.ANON), sums


def _portions(nr: I64) -> Iterator[slice]:
    """Consecutive folios whose pages together are about FRAMES_AT_ONCE; at least one."""
    ends, start = np.cumsum(nr), 0
    while start < len(nr):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + FRAMES_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop
