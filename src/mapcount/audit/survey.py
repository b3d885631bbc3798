"""Who maps what, from everybody's page tables: for kernels that do not count it themselves.

A kernel without per-page counts cannot say how often one page is mapped, and without struct folio not even
how often a folio is. Page tables can, if all of them are read. So they are, once, before the audit of a
machine that needs it. What stays in memory is about 40 bytes for each large folio that somebody maps
whole, and so for each further place where mappings of a folio begin or end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mapcount.live.snapshot import I32, I64, U64, Bool, Folios, Runs, Source, Unreadable

MOST = 1 << 20
"""Steps that may gather before they are added up."""
STRIDE = 1 << 32
"""Places are numbered folio by folio: a folio has fewer pages than this."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Columns: from this page of this folio on, so many more mappings, or fewer. By folio and page."""

    folio: U64
    page: I64
    more: I64

    def __len__(self) -> int:
        return len(self.folio)


class Survey:
    """How often each page of each large folio is mapped, as far as page tables were read."""

    def __init__(self, steps: Steps, unreadable: Sequence[Unreadable] = ()) -> None:
        self.unreadable = tuple(unreadable)
        """Whose page tables are missing: what they map is not counted."""
        self._folios, index = np.unique(steps.folio, return_inverse=True)
        # All that begin in a folio end there, so one sum over everything is the sum in each folio.
        count = np.cumsum(steps.more)
        length = np.diff(steps.page, append=0) * (count > 0)
        self._mapped = np.bincount(index, length, len(self._folios)).astype(np.int64)
        self._total = np.bincount(index, length * count, len(self._folios)).astype(np.int64)
        # By place, from which on a page is mapped so often. Before the first step of all nothing is.
        self._place = np.r_[-1, index * STRIDE + steps.page]
        self._count = np.r_[0, count]

    def with_counts(self, folios: Folios) -> Folios:
        """The folios with what the kernel does not say: how many pages are mapped, and how often in all."""
        at, found = self._look_up(folios.folio)
        mapped, total = folios.mapped_pages.copy(), folios.sum_mapcount.copy()
        unknown = np.flatnonzero(found & (total < 0))
        mapped[unknown], total[unknown] = self._mapped[at[unknown]], self._total[at[unknown]]
        return replace(folios, mapped_pages=mapped, sum_mapcount=total)

    def by_page(self, runs: Runs) -> tuple[Runs, I32]:
        """The runs, cut where a page's count changes, and how often each page is mapped.

        Small folios, whose counts every kernel keeps, and large ones that were not seen stay as they are.
        """
        at, found = self._look_up(runs.folio)
        found &= runs.order > 0
        if not found.any():
            return runs, runs.mapcount
        begin = at * STRIDE + runs.first
        end = begin + runs.nr
        step = np.searchsorted(self._place, begin, "right") - 1
        pieces = np.where(found, np.searchsorted(self._place, end, "left") - step, 1)
        run = np.repeat(np.arange(len(runs)), pieces)
        step = np.arange(len(run)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + step[run]
        first = np.where(found[run], np.maximum(begin[run], self._place[step]), begin[run])
        nr = np.where(np.diff(run, append=-1) != 0, end[run], np.r_[first[1:], 0]) - first
        cut = {f.name: getattr(runs, f.name)[run] for f in fields(Runs)}
        cut["page"] = cut["page"] + (first - begin[run])
        cut["first"] = (cut["first"] + (first - begin[run])).astype(np.int32)
        cut["nr"] = nr.astype(np.int32)
        count = np.where(found[run], self._count[step], cut["mapcount"]).astype(np.int32)
        return Runs(**cut), count

    def _look_up(self, folio: U64) -> tuple[I64, Bool]:
        """Where each folio stands in the survey, and whether it does."""
        if not len(self._folios):
            return np.zeros(len(folio), np.int64), np.zeros(len(folio), np.bool_)
        at = np.searchsorted(self._folios, folio)
        at[at == len(self._folios)] = 0
        return at.astype(np.int64), self._folios[at] == folio


def survey(source: Source, on_progress: Callable[[int, int], None] | None = None) -> Survey:
    """Read everybody's page tables. `on_progress` is told how many processes of how many are done."""
    pids = source.pids()
    everybody = _Gathered()
    unreadable: list[Unreadable] = []
    for done, pid in enumerate(pids):
        if on_progress:
            on_progress(done, len(pids))
        one = _Gathered()
        try:
            for block in source.blocks(source.process(pid)):
                one.add(_steps_of(block.runs))
        except Unreadable as reason:
            unreadable.append(reason)
        else:
            everybody.add(one.added_up())
    if on_progress:
        on_progress(len(pids), len(pids))
    return Survey(everybody.added_up(), unreadable)


def _steps_of(runs: Runs) -> Steps:
    """Where mappings of large folios begin, and where they end."""
    large = np.flatnonzero(runs.order > 0)
    first = runs.first[large].astype(np.int64)
    begins = np.ones(len(large), np.int64)
    return Steps(np.tile(runs.folio[large], 2), np.r_[first, first + runs.nr[large]], np.r_[begins, -begins])


class _Gathered:
    """Steps of many blocks, added up now and then so that they stay few."""

    def __init__(self) -> None:
        self._parts: list[Steps] = []
        self._rows = 0
        self._most = MOST

    def add(self, steps: Steps) -> None:
        self._parts.append(steps)
        self._rows += len(steps)
        if self._rows > 2 * self._most:
            self._parts = [self.added_up()]
            self._rows = len(self._parts[0])
            self._most = max(self._most, self._rows)

    def added_up(self) -> Steps:
        """One step for each place, and none where nothing changes."""
        none = Steps(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        parts = (none, *self._parts)
        folio, page, more = (np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Steps))
        order = np.lexsort((page, folio))
        folio, page, more = folio[order], page[order], more[order]
        new = np.ones(len(folio), np.bool_)
        new[1:] = (folio[1:] != folio[:-1]) | (page[1:] != page[:-1])
        starts = np.flatnonzero(new)
        more = np.add.reduceat(more, starts)
        kept = more != 0
        return Steps(folio[starts][kept], page[starts][kept], more[kept])
