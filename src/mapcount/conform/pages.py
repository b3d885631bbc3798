"""What pagemap shows of one region of a process: which pages are there, and of which folios."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mapcount.conform.frames import KPF_COMPOUND, Frames, words_at
from mapcount.live.snapshot import Region
from mapcount.scenario.regions import LARGE, NONE, SMALL, SWAPPED, ZERO, Stretch

PM_PRESENT, PM_SWAP, PM_FILE, PM_EXCLUSIVE, PM_FRAME = 1 << 63, 1 << 62, 1 << 61, 1 << 56, (1 << 55) - 1
KPF_ZERO_PAGE = 1 << 24
BLOCK = 1 << 19
"""Pages of which pagemap is read at once: 4 MiB of it."""

Runs = list[tuple[int, object]]
"""(pages, value) of a region's pages, in order."""


@dataclass(slots=True)
class Place:
    """A region of an agent: pages [start, start + n) of its address space."""

    name: str
    start: int
    n: int


@dataclass(slots=True)
class Seen:
    """What pagemap says of one region, and which folios it shows."""

    states: Runs = field(default_factory=list)
    exclusive: Runs = field(default_factory=list)
    file: Runs = field(default_factory=list)
    mapcounts: Runs = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)

    def add(self, n: int, state: str, entry: int = 0, mapcount: int = 0) -> None:
        """`n` more pages of one kind."""
        self.states.append((n, state))
        self.exclusive.append((n, int(bool(entry & PM_EXCLUSIVE))))
        self.file.append((n, int(bool(entry & PM_FILE))))
        self.mapcounts.append((n, mapcount))

    def map_page(self, at: int, head: int, page: int) -> None:
        """Page `at` of the region is this page of the folio that begins at frame `head`."""
        last = self.stretches[-1] if self.stretches else None
        if last and (last.at + last.n, last.folio, last.first + last.n) == (at, head, page):
            self.stretches[-1] = Stretch(last.at, last.n + 1, head, last.first)
        else:
            self.stretches.append(Stretch(at, 1, head, page))


def look_at(pid: int, place: Place, vmas: Sequence[Region], frames: Frames) -> Seen:
    """What a region shows, page by page where there is one; where nothing is, it costs nothing to look."""
    seen, at = Seen(), 0
    for page, entry in _entries(pid, place, vmas):
        if page > at:
            seen.add(page - at, NONE)
        at = page + 1
        state, mapcount, frame = _page(entry, frames)
        seen.add(1, state, entry, mapcount)
        if state in (SMALL, LARGE):
            head = frames.head(frame) if state == LARGE else frame
            seen.map_page(page, head, frame - head)
    if place.n > at:
        seen.add(place.n - at, NONE)
    return seen


def _entries(pid: int, place: Place, vmas: Sequence[Region]) -> Iterator[tuple[int, int]]:
    """(page of the region, its word in pagemap) of all that are in memory or in swap."""
    fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for vma in vmas:
            stop = min(vma.start + vma.nr_pages, place.start + place.n)
            for start in range(max(vma.start, place.start), stop, BLOCK):
                words = words_at(fd, min(BLOCK, stop - start), start * 8)
                there = np.flatnonzero(np.array(words, np.uint64) & np.uint64(PM_PRESENT | PM_SWAP))
                yield from ((start - place.start + i, words[i]) for i in there.tolist())
    finally:
        os.close(fd)


def _page(entry: int, frames: Frames) -> tuple[str, int, int]:
    """(state, kpagecount, frame) of a page that is in memory or in swap, of its word in pagemap."""
    if not entry & PM_PRESENT:
        return SWAPPED, 0, 0
    frame = entry & PM_FRAME
    flags = frames.flags(frame)
    if flags & KPF_ZERO_PAGE:
        return ZERO, 0, frame
    return LARGE if flags & KPF_COMPOUND else SMALL, frames.mapcount(frame), frame
