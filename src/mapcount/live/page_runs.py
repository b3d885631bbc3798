"""From page-table entries to runs: the pages of a block, asked about and put together.

Everything here happens while the process goes on, so an entry may be out of date when its frame is asked
about. That shows: the frame is not mapped, or is anonymous where the entry says it is not, or its folio
is smaller than what is mapped of it. Then the block is read once more, and what is still odd is of kind
OTHER: so are pages that the kernel keeps no struct page for.

Two things need not be asked. A PMD maps pages of one folio, so only its first page is looked at. And how
often a page is mapped, kpagecount is asked only where pagemap and struct folio do not decide it
(`implied_mapcounts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mapcount.live.folio_counts import LargeFolios, implied_mapcounts
from mapcount.live.frames import Kpf, any_of, each_of
from mapcount.live.pagemap import EXCLUSIVE, FILE, FRAME, PRESENT, Extent, Pagemap
from mapcount.live.pieces import FrameReader
from mapcount.live.snapshot import I64, U64, UNKNOWN, Bool, Kind, Region, Runs


@dataclass(frozen=True, slots=True)
class Seen:
    """Runs, which of them are odd, and the large folios they belong to."""

    runs: Runs
    odd: Bool
    large: LargeFolios

    def cut(self, row: I64, skip: I64, nr: I64) -> Seen:
        """Parts of runs: of each `row` the `nr` pages that come after `skip`."""
        columns = {field.name: getattr(self.runs, field.name)[row] for field in fields(Runs)}
        columns["page"] += skip
        columns["first"] += skip.astype(np.int32)
        columns["nr"] = nr.astype(np.int32)
        return Seen(Runs(**columns), self.odd[row], self.large)


class RunReader:
    """Reads what one address space maps."""

    def __init__(
        self,
        pagemap: Pagemap,
        frames: FrameReader,
        regions: Sequence[Region],
        pmd_pages: int,
        page_mapcounts: bool,
    ) -> None:
        """`pmd_pages`: how many pages one PMD maps. `page_mapcounts`: does the kernel count pages?"""
        self._pagemap, self._frames, self._pmd_pages = pagemap, frames, pmd_pages
        self._page_mapcounts = page_mapcounts
        self._region_start = np.array([region.start for region in regions], np.int64)

    def read(self, block: Sequence[Extent]) -> tuple[Runs, LargeFolios]:
        """The runs of a block, and the large folios they belong to (maybe others too). Raises Gone."""
        extents = np.array(block, np.int64).reshape(-1, len(Extent._fields))
        seen = self._look(extents, every_frame=False)
        if seen.odd.any():
            seen = self._look(extents, every_frame=True)
        return _odd_as_other(seen), seen.large

    def _look(self, extents: I64, every_frame: bool) -> Seen:
        """One look at the block; `every_frame`: take nothing for granted."""
        page, entry = self._present(extents)
        start, stop, pmd = extents[:, 1], extents[:, 2], extents[:, 3] == 1

        # Stretches: pages that follow each other in frames that follow each other, with equal flags.
        breaks = np.ones(len(page), np.bool_)
        breaks[1:] = (page[1:] - page[:-1] != 1) | (entry[1:] - entry[:-1] != 1)
        begin, end = np.searchsorted(page, start), np.searchsorted(page, stop)
        breaks[begin[begin < end]] = True
        for a, b in zip(begin[pmd].tolist(), end[pmd].tolist(), strict=True):
            breaks[a:b] |= page[a:b] % self._pmd_pages == 0
        extent = np.repeat(np.arange(len(extents)), end - begin)
        at = np.flatnonzero(breaks)
        nr, frame = np.diff(at, append=len(page)), (entry[at] & FRAME).astype(np.int64)
        whole = ~pmd[extent[at]] | every_frame
        view = self._frames.view(frame, np.where(whole, nr, 1))

        # Runs: stretches cut where a frame is of another folio than the one before it, or has other flags.
        place = np.repeat(view.stretches.place, nr)
        inside = np.repeat(whole, nr)
        place[inside] = each_of(view.stretches.place[whole], nr[whole])
        breaks[inside] |= view.changes[place[inside]]
        at = np.flatnonzero(breaks)
        nr, page, entry = np.diff(at, append=len(page)), page[at], entry[at]
        piece, flags = view.piece[place[at]], view.flags[place[at]]
        owners = self._frames.owners(view, np.bincount(piece, minlength=len(view.begin)) > 0)
        head, order, kind = owners.head[piece], owners.order[piece], owners.kind[piece]
        kind[any_of(flags, Kpf.NOPAGE, Kpf.HWPOISON, Kpf.OFFLINE)] = Kind.OTHER
        first = (entry & FRAME).astype(np.int64) - head
        fits = (
            (order >= 0) & (first >= 0) & (first + nr <= np.int64(1) << np.maximum(order, 0).astype(np.int64))
        )
        agrees = any_of(flags, Kpf.MMAP) & (any_of(flags, Kpf.ANON) != (entry & FILE > 0))
        extent = extent[at]
        region = extents[extent, 0]
        runs = Runs(
            region=region.astype(np.int32),
            page=page - self._region_start[region],
            nr=nr.astype(np.int32),
            folio=head.astype(np.uint64),
            first=first.astype(np.int32),
            order=order,
            kind=kind,
            pmd=extents[extent, 3].astype(np.int8),
            exclusive=entry & EXCLUSIVE > 0,
            mapcount=np.full(len(at), UNKNOWN, np.int32),
        )
        odd = ~fits | ~(agrees | (kind == Kind.ZERO) | (kind == Kind.OTHER))
        return self._counted(Seen(runs, odd, owners.large), every_frame)

    def _counted(self, seen: Seen, every_frame: bool) -> Seen:
        """The same with mapcounts: implied ones, unless `every_frame`, else those of kpagecount."""
        runs = seen.runs
        mapcount = runs.mapcount
        if not every_frame:
            mapcount = implied_mapcounts(runs, seen.large, self._page_mapcounts)
        ask = (mapcount == UNKNOWN) & ~seen.odd
        nr = runs.nr[ask].astype(np.int64)
        counts = self._frames.mapcounts(runs.folio[ask].astype(np.int64) + runs.first[ask], nr)
        begin = np.cumsum(nr) - nr
        breaks = np.zeros(len(counts), np.bool_)
        breaks[1:] = counts[1:] != counts[:-1]
        breaks[begin] = True
        at = np.flatnonzero(breaks)
        if len(at) == len(nr):
            mapcount[ask] = counts[at]
        else:  # some runs are cut where counts differ; all others stay as they are, in one part
            parts = np.ones(len(runs), np.int64)
            parts[ask] = np.add.reduceat(breaks, begin, dtype=np.int64)
            row = np.repeat(np.arange(len(runs)), parts)
            asked = ask[row]
            skip, length, mapcount = np.zeros_like(row), runs.nr[row].astype(np.int64), mapcount[row]
            skip[asked] = at - np.repeat(begin, parts[ask])
            length[asked] = np.diff(at, append=len(counts))
            mapcount[asked] = counts[at]
            seen = seen.cut(row, skip, length)
        kind = seen.runs.kind
        odd = seen.odd | ((mapcount == 0) & (kind != Kind.ZERO) & (kind != Kind.OTHER))
        return Seen(replace(seen.runs, mapcount=mapcount), odd, seen.large)

    def _present(self, extents: I64) -> tuple[I64, U64]:
        """The present pages of the extents and their entries: frame, bits 56 and 61. Raises Gone."""
        start, nr = extents[:, 1], extents[:, 2] - extents[:, 1]
        offset = np.cumsum(nr) - nr
        entry = np.empty(int(nr.sum()), np.uint64)
        for first, length, at in zip(start.tolist(), nr.tolist(), offset.tolist(), strict=True):
            self._pagemap.read(first, entry[at : at + length])
        page = each_of(start, nr)
        present = entry >= PRESENT  # the highest bit
        if not present.all():
            page, entry = page[present], entry[present]
        return page, entry & (FRAME | EXCLUSIVE | FILE)


def _odd_as_other(seen: Seen) -> Runs:
    """Odd runs as single pages of kind OTHER, of which nothing more is known."""
    runs, odd = seen.runs, seen.odd
    if not odd.any():
        return runs
    parts = np.where(odd, runs.nr, 1).astype(np.int64)
    row = np.repeat(np.arange(len(runs)), parts)
    skip = each_of(np.zeros_like(parts), parts)
    seen = seen.cut(row, skip, np.where(odd, 1, runs.nr)[row].astype(np.int64))
    runs, odd = seen.runs, seen.odd
    runs.folio[odd] += runs.first[odd].astype(np.uint64)
    runs.first[odd], runs.order[odd] = 0, 0
    runs.kind[odd], runs.mapcount[odd] = Kind.OTHER, UNKNOWN
    return runs
