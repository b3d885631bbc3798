"""From page-table entries to runs: pages of a block, asked about and put together.

Everything here happens while the process goes on, so an entry may be out of date when its frame is asked
about. That shows: the frame is not mapped, or anonymous where the entry says it is not. Such pages are
read once more; what stays odd is of kind OTHER, which is also what pages are that the kernel keeps no
struct page for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mapcount.live.frames import Kpf, any_of
from mapcount.live.pagemap import EXCLUSIVE, FILE, FRAME, PRESENT, Extent, Pagemap
from mapcount.live.pieces import FrameReader, LargeFolios
from mapcount.live.snapshot import I64, U64, UNKNOWN, Bool, Kind, Region, Runs


@dataclass(frozen=True, slots=True)
class Pages:
    """The present pages of a block, by address."""

    page: I64
    """Virtual page numbers."""
    entry: U64
    """Their words in pagemap."""


def present_pages(pagemap: Pagemap, extents: Sequence[Extent]) -> Pages:
    """Read the extents, which are in order and disjoint. Raises Gone."""
    starts = np.array([extent.start for extent in extents], np.int64)
    nr = np.array([extent.stop - extent.start for extent in extents], np.int64)
    offsets = np.cumsum(nr) - nr
    entry = np.empty(int(nr.sum()), np.uint64)
    for start, length, offset in zip(starts.tolist(), nr.tolist(), offsets.tolist(), strict=True):
        pagemap.read(start, entry[offset : offset + length])
    page = np.arange(len(entry)) + np.repeat(starts - offsets, nr)
    present = entry >= PRESENT  # the highest bit
    return Pages(page, entry) if present.all() else Pages(page[present], entry[present])


def read_runs(
    pagemap: Pagemap, frames: FrameReader, extents: Sequence[Extent], regions: Sequence[Region]
) -> tuple[Runs, LargeFolios]:
    """What a block of extents maps, and the large folios among it. Raises Gone."""
    runs, odd, large = _runs(frames, present_pages(pagemap, extents), extents, regions)
    if odd.any():
        runs, odd, large = _runs(frames, present_pages(pagemap, extents), extents, regions)
    return (_odd_as_other(runs, odd) if odd.any() else runs), large


def _runs(
    frames: FrameReader, pages: Pages, extents: Sequence[Extent], regions: Sequence[Region]
) -> tuple[Runs, Bool, LargeFolios]:
    """The runs of a block's pages, which of them are odd, and the large folios they belong to."""
    page, entry = pages.page, pages.entry & (FRAME | EXCLUSIVE | FILE)
    start = np.array([extent.start for extent in extents], np.int64)
    # Stretches: pages that follow each other in frames that follow each other, with equal flags.
    breaks = np.ones(len(page), np.bool_)
    breaks[1:] = (page[1:] - page[:-1] != 1) | (entry[1:] - entry[:-1] != 1)
    breaks[np.setdiff1d(np.searchsorted(page, start), len(page))] = True
    at = np.flatnonzero(breaks)
    nr = np.diff(at, append=len(page))
    frame = (entry[at] & FRAME).astype(np.int64)
    view = frames.view(frame, nr)
    # Runs: stretches cut where the kernel describes a frame otherwise than the one before it.
    place = np.arange(len(page)) + np.repeat(view.stretches.places(frame) - at, nr)
    at = np.flatnonzero(breaks | view.changes[place])
    nr = np.diff(at, append=len(page))
    page, entry, place = page[at], entry[at], place[at]
    piece, flags, mapcount = view.piece[place], view.flags[place], view.mapcount[place]
    owners = frames.owners(view, np.bincount(piece, minlength=len(view.begin)) > 0)
    head, order, kind = owners.head[piece], owners.order[piece], owners.kind[piece]
    kind[any_of(flags, Kpf.NOPAGE, Kpf.HWPOISON, Kpf.OFFLINE)] = Kind.OTHER
    frame = (entry & FRAME).astype(np.int64)
    first = frame - head

    fits = (order >= 0) & (first >= 0) & (first + nr <= np.int64(1) << np.maximum(order, 0).astype(np.int64))
    agrees = any_of(flags, Kpf.MMAP) & (any_of(flags, Kpf.ANON) != (entry & FILE > 0)) & (mapcount > 0)
    odd = ~fits | ~(agrees | (kind == Kind.ZERO) | (kind == Kind.OTHER))
    extent = np.searchsorted(start, page, side="right") - 1
    region = np.array([extent.region for extent in extents], np.int32)[extent]
    runs = Runs(
        region=region,
        page=page - np.array([region.start for region in regions], np.int64)[region],
        nr=nr.astype(np.int32),
        folio=head.astype(np.uint64),
        first=first.astype(np.int32),
        order=order,
        kind=kind,
        pmd=np.array([extent.pmd for extent in extents], np.int8)[extent],
        exclusive=entry & EXCLUSIVE > 0,
        mapcount=mapcount,
    )
    return runs, odd, owners.large


def _odd_as_other(runs: Runs, odd: Bool) -> Runs:
    """Odd runs as single pages of kind OTHER of which nothing is known."""
    many = np.where(odd, runs.nr, 1)
    at = np.repeat(np.arange(len(runs)), many)
    page = np.arange(len(at)) - np.repeat(np.cumsum(many) - many, many)
    other = odd[at]
    return Runs(
        region=runs.region[at],
        page=runs.page[at] + page,
        nr=np.where(other, 1, runs.nr[at]).astype(np.int32),
        folio=np.where(
            other, runs.folio[at] + runs.first[at].astype(np.uint64) + page.astype(np.uint64), runs.folio[at]
        ),
        first=np.where(other, 0, runs.first[at]).astype(np.int32),
        order=np.where(other, 0, runs.order[at]).astype(np.int8),
        kind=np.where(other, Kind.OTHER, runs.kind[at]).astype(np.int8),
        pmd=runs.pmd[at],
        exclusive=runs.exclusive[at],
        mapcount=np.where(other, UNKNOWN, runs.mapcount[at]).astype(np.int32),
    )
