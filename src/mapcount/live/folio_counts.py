"""Large folios and what the counters of struct folio imply about their pages (mechanism, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from mapcount.live.folio_layout import FolioCounters
from mapcount.live.snapshot import COUNTED, I8, I32, I64, U64, UNKNOWN, Bool, Runs


@dataclass(frozen=True, slots=True)
class LargeFolios:
    """Large folios, ascending."""

    head: U64
    order: I8
    """UNKNOWN where the folio was gone when it was looked at."""
    kind: I8
    counters: FolioCounters
    """Rows of UNKNOWN where struct folio is not readable."""

    def select(self, rows: Bool) -> LargeFolios:
        """Some of them."""
        columns = {f.name: getattr(self.counters, f.name)[rows] for f in fields(FolioCounters)}
        return LargeFolios(self.head[rows], self.order[rows], self.kind[rows], FolioCounters(**columns))


def unknown_counters(nr: int) -> FolioCounters:
    """What is known of `nr` folios where struct folio is not readable."""
    small, count, wide = np.full(nr, UNKNOWN, np.int8), np.full(nr, UNKNOWN, np.int32), np.full(nr, UNKNOWN)
    return FolioCounters(
        ok=np.zeros(nr, np.bool_),
        order=small,
        anon=small,
        hugetlb=small,
        refcount=count,
        large_mapcount=count,
        entire_mapcount=count,
        nr_pages_mapped=count,
        entirely_mapped=small,
        total_mapped_pages=wide,
        pincount=count,
        shared=small,
        mm_id=np.full((nr, 2), UNKNOWN, np.int32),
        mm_id_mapcount=np.full((nr, 2), UNKNOWN, np.int64),
        partially_mapped=small,
    )


def sum_mapcount(c: FolioCounters, nr: I64) -> I64:
    """How often all pages of each folio are mapped: a PTE maps one, a PMD all of them."""
    known = (c.large_mapcount != UNKNOWN) & (c.entire_mapcount != UNKNOWN)
    by_pte = c.large_mapcount.astype(np.int64) - c.entire_mapcount
    return np.where(known, by_pte.clip(0) + nr * c.entire_mapcount, UNKNOWN)


def mapped_pages(c: FolioCounters, nr: I64) -> I64:
    """How many pages of each folio anybody maps, on kernels that count pages."""
    known = (c.nr_pages_mapped != UNKNOWN) & (c.large_mapcount != UNKNOWN)
    return np.where(known, np.where(c.entire_mapcount > 0, nr, c.nr_pages_mapped.astype(np.int64)), UNKNOWN)


def implied_mapcounts(runs: Runs, large: LargeFolios, page_mapcounts: bool) -> I32:
    """What kpagecount would say of each run's pages, where something else decides it; else UNKNOWN.

    The folio's counters: a page that a PMD maps, of a folio that no PTE maps, is mapped as often as the
    folio entirely. And when there are as many PTEs as pages that PTEs map, no page has two: one that a PTE
    maps has exactly that one.
    Bit 56 of pagemap: a page that a PTE maps is mapped once where it is set. Without `page_mapcounts` the bit
    of a large folio's page is about its owners, and below a PMD older kernels ask about the first page alone.
    """
    c = large.counters
    by_pte = np.where(c.entire_mapcount != UNKNOWN, c.large_mapcount - c.entire_mapcount, UNKNOWN)
    under_pmd = np.where(by_pte == 0, c.entire_mapcount, UNKNOWN)
    under_pte = np.where((by_pte > 0) & (by_pte == c.nr_pages_mapped), c.entire_mapcount + 1, UNKNOWN)
    implied = np.full(len(runs), UNKNOWN, np.int32)
    own_count = (runs.order == 0) | ((runs.pmd == 0) & page_mapcounts)
    implied[runs.exclusive & own_count & COUNTED[runs.kind]] = 1
    for level, known in ((1, under_pmd), (0, under_pte)):
        at = np.flatnonzero((runs.order > 0) & (runs.pmd == level) & (implied == UNKNOWN))
        implied[at] = known[np.searchsorted(large.head, runs.folio[at])]
    return implied
