"""The large folios that one address space maps: who else does, and what the kernel believes.

The truth comes from page tables: if one mm's mappings are all that the kernel has counted for a folio,
nobody else maps it. So nobody else's page tables are needed. The belief is the kernel's flag, or the
guess of the kernels before 6.15. Neither is ever made from the other.

Most folios have all their mappings in one block, and are settled there. The rest wait in a table, about
50 bytes a folio, until the address space has been read to its end.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mapcount.audit.questions import (
    folio_certainly_partially_mapped,
    folio_likely_mapped_shared,
    folio_nr_pages,
    folio_total_mapped_pages,
)
from mapcount.live.snapshot import I8, I32, I64, U64, UNKNOWN, Bool, Folios, Kind, Machine, Runs

BY_PTE, BY_PMD = 1, 2
"""Bits of `LargeFolios.levels`."""
EXCLUSIVE, SHARED = 0, 1
"""What is true, where it is not UNKNOWN."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class LargeFolios:
    """Columns, one row per folio, by `folio` (several rows until they are merged)."""

    folio: U64
    order: I8
    kind: I8
    total: I64
    """Pages, once for every time that anybody maps them; UNKNOWN."""
    mine: I64
    """Pages, once for every time that this mm maps them."""
    mapped: I32
    """Pages that anybody maps; UNKNOWN."""
    believed: I8
    """Does the kernel say "maybe mapped shared"? 0, 1, UNKNOWN."""
    levels: I8
    """Bits BY_PTE and BY_PMD; 0 is unknown."""
    whole: Bool
    """Does one stretch of this mm map all of it, in order?"""
    marked: I32
    """Pages marked anon exclusive; UNKNOWN."""
    only_mapped: Bool
    """No reference is known besides the mappings, so nothing but sharing could forbid reuse."""
    cgroup: U64

    def __len__(self) -> int:
        return len(self.folio)

    def at(self, rows: Rows | Bool) -> LargeFolios:
        """Some of the rows."""
        return LargeFolios(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def nr_pages(self) -> I64:
        """Pages of each folio."""
        return folio_nr_pages(self.order)

    @property
    def truth(self) -> I8:
        """EXCLUSIVE, SHARED or UNKNOWN: the counts were not read, or they changed meanwhile."""
        truth = np.where(self.mine == self.total, EXCLUSIVE, SHARED)
        return np.where(self.mine > self.total, UNKNOWN, truth).astype(np.int8)

    @property
    def partly(self) -> Bool:
        """Is something of it mapped by somebody, and surely not all?"""
        return folio_certainly_partially_mapped(self.total, self.mapped, self.order)


def folio_rows(runs: Runs, folios: Folios) -> I64:
    """For each run, which row of `folios` is its folio; -1 for small folios and those not listed."""
    rows = np.full(len(runs), -1, np.int64)
    large = np.flatnonzero(runs.order > 0)
    if len(large) and len(folios):
        names = runs.folio[large]
        in_order = np.argsort(names)
        at = np.empty(len(large), np.int64)
        # at[:] = np.searchsorted(folios.folio, names), which is several times slower.
        at[in_order] = np.searchsorted(folios.folio, names[in_order])
        at[at == len(folios)] = 0
        found = folios.folio[at] == names
        rows[large[found]] = at[found]
    return rows


def total_mapped_pages(folios: Folios) -> I64:
    """What the kernel has counted: from struct folio, else from kpagecount; UNKNOWN without either."""
    total = folio_total_mapped_pages(folios.large_mapcount, folios.entire_mapcount, folios.order)
    return np.where(total < 0, folios.sum_mapcount, total)


def maybe_mapped_shared(machine: Machine, runs: Runs, rows: I64, folios: Folios, total: I64) -> I8:
    """The kernel's own answer for each folio: 0, 1 or UNKNOWN.

    hugetlb: mapped more than once. Else the flag of struct folio, of which the kernel takes no notice
    while the folio has one mapping. Where that is not readable: bit 56 of pagemap, if it is about
    folios; with per-page counts it is about pages, and the flag remains unknown. Before 6.15 it is a
    guess, which asks for the first page's count.
    """
    believed = np.where((folios.shared >= 0) & (folios.large_mapcount <= 1), 0, folios.shared)
    known = np.flatnonzero(rows >= 0)
    if not machine.flavour.owner_slots:
        first = np.full(len(folios), UNKNOWN, np.int32)
        heads = known[runs.first[known] == 0]
        first[rows[heads]] = runs.mapcount[heads]
        believed = folio_likely_mapped_shared(total, first, folios.order)
    elif not machine.flavour.page_mapcounts:
        bit56 = np.full(len(folios), UNKNOWN, np.int8)
        bit56[rows[known]] = ~runs.exclusive[known]
        believed = np.where(believed < 0, bit56, believed)
    hugetlb = np.where(total < 0, UNKNOWN, total > folio_nr_pages(folios.order))
    return np.where(folios.kind == Kind.HUGETLB, hugetlb, believed).astype(np.int8)


def mapped_by_runs(runs: Runs, rows: I64, folios: Folios, total: I64, believed: I8) -> LargeFolios:
    """What the runs of a block map of its large folios."""
    of = np.flatnonzero(rows >= 0)
    at, nr, n = rows[of], runs.nr[of], len(folios)
    nr_pages = folio_nr_pages(folios.order)
    mine = np.bincount(at, nr, n).astype(np.int64)
    whole = np.zeros(n, np.bool_)
    whole[at] = (nr == nr_pages[at]) & (runs.first[of] == 0)
    whole &= np.bincount(at, minlength=n) == 1
    table = LargeFolios(
        folio=folios.folio,
        order=folios.order,
        kind=folios.kind,
        total=total,
        mine=mine,
        mapped=folios.mapped_pages,
        believed=believed,
        levels=_levels(runs.pmd[of], at, folios),
        whole=whole,
        marked=_marked(folios, nr_pages),
        only_mapped=(folios.refcount < 0) | (folios.refcount == folios.large_mapcount),
        cgroup=folios.cgroup,
    )
    return table if mine.all() else table.at(mine > 0)


def _levels(pmd: I8, at: I64, folios: Folios) -> I8:
    """How each folio is mapped: by anybody where the kernel's counts say so, else by these runs."""
    n = len(folios)
    by_pte, by_pmd = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    by_pte[at[pmd == 0]] = True
    by_pmd[at[pmd == 1]] = True
    counted = (folios.large_mapcount >= 0) & (folios.entire_mapcount >= 0)
    by_pte = np.where(counted, folios.large_mapcount > folios.entire_mapcount, by_pte)
    by_pmd = np.where(counted, folios.entire_mapcount > 0, by_pmd)
    return (by_pte * BY_PTE + by_pmd * BY_PMD).astype(np.int8)


def _marked(folios: Folios, nr_pages: I64) -> I32:
    """Pages marked anon exclusive. While a PMD maps a folio, the first page's mark is about all of them."""
    head = (folios.entire_mapcount > 0) & (folios.anon_exclusive > 0)
    return np.where(head, nr_pages, folios.anon_exclusive).astype(np.int32)


class Waiting:
    """Folios of one address space that are not settled yet: their mappings may go on in another block."""

    def __init__(self, most: int = 1 << 20) -> None:
        self._parts: list[LargeFolios] = []
        self._rows = 0
        self._most = most
        """Rows that may gather before they are merged."""

    def add(self, table: LargeFolios) -> None:
        """Rows of one more block."""
        if len(table):
            self._parts.append(table)
            self._rows += len(table)
        if self._rows > 2 * self._most:
            self._parts = [merged(self._parts)]
            self._rows = len(self._parts[0])
            self._most = max(self._most, self._rows)

    def settle(self) -> LargeFolios | None:
        """One row per folio, with all of this mm's mappings; None if nothing waited."""
        return merged(self._parts) if self._parts else None


def merged(parts: list[LargeFolios]) -> LargeFolios:
    """One row per folio. What the kernel counted was read last by the last part, and stands.

    The guess before 6.15 asks for the first page, so only that part may know it which maps that.
    """
    if len(parts) == 1:
        return parts[0]
    table = LargeFolios(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(LargeFolios)))
    by_folio = np.argsort(table.folio, kind="stable")
    folio = table.folio[by_folio]
    starts = np.flatnonzero(np.r_[True, folio[1:] != folio[:-1]])
    last = by_folio[np.r_[starts[1:], len(folio)] - 1]
    one = table.at(last)
    alone = np.diff(np.r_[starts, len(folio)]) == 1
    sums = {
        "mine": np.add.reduceat(table.mine[by_folio], starts),
        "believed": np.maximum.reduceat(table.believed[by_folio], starts),
        "levels": np.bitwise_or.reduceat(table.levels[by_folio], starts),
        "whole": one.whole & alone,
    }
    return LargeFolios(**{f.name: sums.get(f.name, getattr(one, f.name)) for f in fields(LargeFolios)})
