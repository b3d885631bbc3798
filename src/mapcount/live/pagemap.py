"""/proc/PID/pagemap: which frame each page of an address space is in, and where there is anything to ask.

Two ways to find the populated parts of a region. PAGEMAP_SCAN (Linux 6.7) walks the page tables, steps
over what is empty, and tells memory mapped by a PMD from memory mapped by PTEs. Without it every entry
has to be read, and smaps decides the level where all of a region or nothing of it is mapped by PMDs.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mapcount.live.snapshot import U64, UNKNOWN, Region

PRESENT = np.uint64(1 << 63)
FILE = np.uint64(1 << 61)
"""A page of a file, or shared memory: not anonymous. Clear as well where there is no struct page."""
EXCLUSIVE = np.uint64(1 << 56)
FRAME = np.uint64((1 << 55) - 1)

PMD_FIELDS = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")
"""What smaps says is mapped by PMDs."""


class Extent(NamedTuple):
    """Virtual pages [start, stop) of one region that may be present, all mapped on one level."""

    region: int
    """Index into `Process.regions`."""
    start: int
    stop: int
    pmd: int
    """1: mapped by PMDs (or PUDs); 0: by PTEs; UNKNOWN."""


class Gone(Exception):
    """The address space is no more: its process exited, or started another program."""


class _ScanArgument(ctypes.Structure):
    """`struct pm_scan_arg`."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            *("size", "flags", "start", "end", "walk_end", "vec", "vec_len", "max_pages"),
            *("category_inverted", "category_mask", "category_anyof_mask", "return_mask"),
        )
    ]


_PAGEMAP_SCAN = 3 << 30 | ctypes.sizeof(_ScanArgument) << 16 | ord("f") << 8 | 16
_PAGE_IS_PRESENT, _PAGE_IS_HUGE = 1 << 3, 1 << 6
_SCANNED_AT_ONCE = 4096
_SMALL_HOLE = 64
"""Pages: to read the entries of so many costs less than another call."""


class Pagemap:
    """One address space's pagemap, open at `fd`: which belongs to the caller."""

    def __init__(self, fd: int, page_size: int) -> None:
        self._fd = fd
        self._page_size = page_size
        self._found = np.empty((_SCANNED_AT_ONCE, 3), np.uint64)

    def read(self, start: int, entries: U64) -> None:
        """Fill `entries` with those of the virtual pages from `start`. Raises Gone."""
        room = entries.data.cast("B")
        done = 0
        while done < len(room):
            nr = os.preadv(self._fd, [room[done:]], start * 8 + done)
            if nr == 0:
                raise Gone
            done += nr

    @property
    def alive(self) -> bool:
        """Is there still an address space to read?"""
        return os.pread(self._fd, 8, 0) != b""

    def scans(self) -> bool:
        """Does this kernel have PAGEMAP_SCAN?"""
        try:
            fcntl.ioctl(self._fd, _PAGEMAP_SCAN, self._argument(0, 0))
        except OSError as error:
            return error.errno not in (errno.ENOTTY, errno.EINVAL)
        return True

    def scan(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Where pages among [start, stop) are present: first, end, level. Needs PAGEMAP_SCAN.

        Small holes are passed over in silence. Raises Gone, where the kernel says so; to some an address
        space that is gone looks empty (see `alive`).
        """
        while start < stop:
            argument = self._argument(start, stop)
            try:
                nr = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, argument)
            except ProcessLookupError:
                raise Gone from None
            found = self._found[:nr].astype(np.int64)
            first, end = found[:, 0] // self._page_size, found[:, 1] // self._page_size
            huge = found[:, 2] & _PAGE_IS_HUGE
            apart = np.flatnonzero((first[1:] - end[:-1] > _SMALL_HOLE) | (huge[1:] != huge[:-1]))
            if nr:
                begin, last = np.append(0, apart + 1), np.append(apart, nr - 1)
                yield from zip(
                    first[begin].tolist(), end[last].tolist(), (huge[begin] > 0).tolist(), strict=True
                )
            start = max(argument.walk_end // self._page_size, start + 1)

    def _argument(self, start: int, stop: int) -> _ScanArgument:
        return _ScanArgument(
            size=ctypes.sizeof(_ScanArgument),
            start=start * self._page_size,
            end=stop * self._page_size,
            vec=self._found.ctypes.data,
            vec_len=len(self._found),
            category_mask=_PAGE_IS_PRESENT,
            return_mask=_PAGE_IS_PRESENT | _PAGE_IS_HUGE,
        )


def level(region: Region) -> int:
    """Do PMDs map what is present of a region, as far as smaps decides it? 1, 0 or UNKNOWN."""
    by_pmd = sum(region.smaps.get(name, 0) for name in PMD_FIELDS)
    if by_pmd == 0:
        return int(hugetlb_kib(region) > 0)
    return 1 if by_pmd == region.smaps.get("Rss") else UNKNOWN


def hugetlb_kib(region: Region) -> int:
    """The hugetlb pages of a region, which are not in its Rss."""
    return region.smaps.get("Shared_Hugetlb", 0) + region.smaps.get("Private_Hugetlb", 0)


def extents(pagemap: Pagemap, regions: Sequence[Region], scans: bool) -> Iterator[Extent]:
    """Where anything is present that smaps counts, by address.

    Regions without it are not looked into: some reserve terabytes. Nor are those that the kernel itself
    never looks into (VmFlags `pf`: frames without struct page). A scan is needed where there may be large
    holes, or entries of both levels.
    """
    for at, region in enumerate(regions):
        if "pf" in region.flags or not (region.smaps.get("Rss", 0) or hugetlb_kib(region)):
            continue
        start, stop, pmd = region.start, region.start + region.nr_pages, level(region)
        dense = region.nr_pages <= _SMALL_HOLE or region.smaps.get("Rss") == region.smaps.get("Size")
        if scans and not (dense and pmd != UNKNOWN):
            yield from (Extent(at, *found) for found in pagemap.scan(start, stop))
        else:
            yield Extent(at, start, stop, pmd)


def blocks(found: Iterator[Extent], nr_pages: int, pmd_pages: int) -> Iterator[list[Extent]]:
    """The same extents in lists of at most `nr_pages`; cut, where that must be, between two PMDs.

    A PMD maps `pmd_pages`; of these `nr_pages` is a multiple.
    """
    block: list[Extent] = []
    room = nr_pages
    for extent in found:
        while extent.start < extent.stop:
            stop = extent.stop
            if stop - extent.start > room:
                stop = (extent.start + room) // pmd_pages * pmd_pages
            if stop > extent.start:
                block.append(extent._replace(stop=stop))
                room -= stop - extent.start
                extent = extent._replace(start=stop)
            if extent.start < extent.stop:
                yield block
                block, room = [], nr_pages
    if block:
        yield block
