"""What the running kernel says of the agents' regions, in the words of recordings of format 2.

Reads only: /proc/PID/smaps, numa_maps and pagemap of the agents, /proc/kpagecount, /proc/kpageflags and,
where it can be read, struct folio.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mapcount.live.as_tracking import folio_in
from mapcount.live.smaps import parse_smaps
from mapcount.live.struct_folio import FolioReader
from mapcount.scenario.answer import SMAPS
from mapcount.scenario.regions import (
    LARGE,
    NONE,
    SMALL,
    SWAPPED,
    ZERO,
    Stretch,
    counter_words,
    flag_words,
    folio_words,
    kind_of,
    rle,
)
from mapcount.tracking.flavour import PAGE_SIZE

PM_PRESENT, PM_SWAP, PM_FILE, PM_EXCLUSIVE, PM_FRAME = 1 << 63, 1 << 62, 1 << 61, 1 << 56, (1 << 55) - 1
KPF_COMPOUND, KPF_COMPOUND_TAIL, KPF_ZERO_PAGE = 1 << 15 | 1 << 16, 1 << 16, 1 << 24
BLOCK = 512
"""Frames read at once; a large folio is in one block, or begins where one begins."""
NUMA = Path("/proc/self/numa_maps").exists()
"""Was this kernel built with numa_maps?"""


@dataclass(slots=True)
class Place:
    """A region of an agent: pages [start, start + n) of its address space."""

    name: str
    start: int
    n: int


@dataclass(slots=True)
class _Seen:
    """What pagemap says of one region, and which folios it shows."""

    entries: Sequence[int]
    stretches: list[Stretch] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    mapcounts: list[int] = field(default_factory=list)


class Frames:
    """/proc/kpageflags and /proc/kpagecount, read once, large folios in blocks, else one by one."""

    def __init__(self, flags_fd: int, counts_fd: int) -> None:
        self._flags_fd, self._counts_fd = flags_fd, counts_fd
        self._flags: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        self._heads: dict[int, int] = {}

    @staticmethod
    def _word(fd: int, words: dict[int, int], frame: int, *, block: bool) -> int:
        if frame not in words:
            start, n = (frame // BLOCK * BLOCK, BLOCK) if block else (frame, 1)
            words |= zip(range(start, start + n), _words(fd, n, start * 8), strict=True)
        return words[frame]

    def flags(self, frame: int, *, block: bool = False) -> int:
        """The frame's flags."""
        return self._word(self._flags_fd, self._flags, frame, block=block)

    def mapcount(self, frame: int) -> int:
        """How often /proc says that the frame is mapped."""
        large = bool(self.flags(frame) & KPF_COMPOUND)
        return self._word(self._counts_fd, self._counts, frame, block=large)

    def head(self, frame: int) -> int:
        """The first frame of the folio that the frame is of."""
        head = frame
        while head % BLOCK and self.flags(head, block=True) & KPF_COMPOUND_TAIL:
            head = self._heads.get(head - 1, head - 1)
        self._heads[frame] = head
        return head

    def order(self, head: int) -> int:
        """The order of the folio that begins at frame `head`."""
        end = head + 1
        if self.flags(head) & KPF_COMPOUND:
            while end % BLOCK and self.flags(end, block=True) & KPF_COMPOUND_TAIL:
                end += 1
        return (end - head).bit_length() - 1


class Observer:
    """Looks at agents. A context manager; raises OSError where /proc/kpage* cannot be opened."""

    def __init__(self, reader: FolioReader | None = None) -> None:
        self._reader = reader
        self._stack = ExitStack()
        self.read: list[str] = []
        """Which sources are read, as recordings say it."""

    def __enter__(self) -> Observer:
        self._fds = [self._open(f"/proc/{name}") for name in ("kpageflags", "kpagecount")]
        self.read = ["smaps", "pagemap", "kpagecount", "kpageflags"]
        self.read += ["numa_maps"] if NUMA else []
        self.read += ["folio"] if self._reader else []
        self.read += [] if _damon_runs() else ["referenced"]
        self._smaps = [name for name in SMAPS if name != "Referenced" or "referenced" in self.read]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, path: str) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._stack.callback(os.close, fd)
        return fd

    def look(self, actors: Mapping[str, int], places: Mapping[str, Sequence[Place]]) -> list[dict[str, Any]]:
        """Every process by name and PID, with its regions: the `processes` of a step's object."""
        frames = Frames(*self._fds)
        seen = {
            (name, place.name): self._pages(pid, place, frames)
            for name, pid in actors.items()
            for place in places[name]
        }
        owners: dict[int, dict[str, int]] = {}
        for (name, _), part in seen.items():
            for stretch in part.stretches:
                pages = owners.setdefault(stretch.folio, {})
                pages[name] = pages.get(name, 0) + stretch.n

        described = self._describe(frames, owners)
        processes = []
        for name, pid in actors.items():
            printed = self._printed(pid, places[name])
            regions = [
                {"name": place.name} | printed[place.name] | _region(seen[name, place.name], described)
                for place in places[name]
            ]
            processes.append({"name": name, "regions": regions})
        return processes

    def _describe(self, frames: Frames, owners: Mapping[int, Mapping[str, int]]) -> dict[int, dict[str, Any]]:
        """Every folio, named by its first frame."""
        words: dict[int, dict[str, Any]] = {}
        for head in owners:
            flags = frames.flags(head)
            words[head] = {
                "order": frames.order(head),
                "kind": kind_of(flags),
                "flags": flag_words(flags, self.read),
                "owners": owners[head],
            }
        if self._reader is not None and owners:
            heads = np.array(list(owners), np.uint64)
            columns = self._reader.counters(heads)
            marks = self._reader.anon_exclusive(heads, columns.order).tolist()
            for row, head in enumerate(owners):
                folio = folio_in(self._reader, columns, row, head)
                if folio is not None:
                    partially = bool(columns.partially_mapped[row] == 1)
                    words[head] |= counter_words(folio, anon_exclusive=marks[row], partially_mapped=partially)
        return words

    def _printed(self, pid: int, places: Sequence[Place]) -> dict[str, dict[str, Any]]:
        """By region: how many VMAs it has, their fields of smaps summed, and numa_maps' largest mapmax."""
        printed: dict[str, dict[str, Any]] = {
            place.name: {"vmas": 0, "smaps": dict.fromkeys(self._smaps, 0)} for place in places
        }
        for vma in parse_smaps([Path(f"/proc/{pid}/smaps").read_bytes()], PAGE_SIZE):
            place = _place_of(places, vma.start)
            if place is not None:
                printed[place.name]["vmas"] += 1
                smaps = printed[place.name]["smaps"]
                for name in smaps:
                    smaps[name] += vma.smaps.get(name, 0)
        if NUMA:
            for region in printed.values():
                region["mapmax"] = 0
            for start, mapmax in _mapmax(pid):
                place = _place_of(places, start)
                if place is not None:
                    printed[place.name]["mapmax"] = max(printed[place.name]["mapmax"], mapmax)
        return printed

    @staticmethod
    def _pages(pid: int, place: Place, frames: Frames) -> _Seen:
        fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        try:
            seen = _Seen(_words(fd, place.n, place.start * 8))
        finally:
            os.close(fd)
        for at, entry in enumerate(seen.entries):
            state, mapcount, frame = _page(entry, frames)
            seen.states.append(state)
            seen.mapcounts.append(mapcount)
            if state in (SMALL, LARGE):
                head = frames.head(frame) if state == LARGE else frame
                last = seen.stretches[-1] if seen.stretches else None
                follows = last and (last.at + last.n, last.folio) == (at, head)
                if last and follows and last.first + last.n == frame - head:
                    seen.stretches[-1] = Stretch(last.at, last.n + 1, head, last.first)
                else:
                    seen.stretches.append(Stretch(at, 1, head, frame - head))
        return seen


def _page(entry: int, frames: Frames) -> tuple[str, int, int]:
    """(state, kpagecount, frame) of a page, of its word in pagemap."""
    if not entry & PM_PRESENT:
        return SWAPPED if entry & PM_SWAP else NONE, 0, 0
    frame = entry & PM_FRAME
    flags = frames.flags(frame)
    if flags & KPF_ZERO_PAGE:
        return ZERO, 0, frame
    return LARGE if flags & KPF_COMPOUND else SMALL, frames.mapcount(frame), frame


def _region(seen: _Seen, described: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "pages": rle((1, state) for state in seen.states),
        "exclusive": rle((1, int(bool(entry & PM_EXCLUSIVE))) for entry in seen.entries),
        "file": rle((1, int(bool(entry & PM_FILE))) for entry in seen.entries),
        "kpagecount": rle((1, count) for count in seen.mapcounts),
        "folios": folio_words(seen.stretches, described.__getitem__),
    }


def _place_of(places: Sequence[Place], page: int) -> Place | None:
    return next((place for place in places if place.start <= page < place.start + place.n), None)


def _mapmax(pid: int) -> Iterator[tuple[int, int]]:
    """(first page, mapmax) of each VMA in numa_maps, which prints it only where it is more than 1."""
    for line in Path(f"/proc/{pid}/numa_maps").read_text().splitlines():
        found, mapped = re.search(r" mapmax=(\d+)", line), re.search(r" N\d+=\d+", line)
        yield int(line.split()[0], 16) // PAGE_SIZE, int(found[1]) if found else int(bool(mapped))


def _words(fd: int, n: int, at: int) -> Sequence[int]:
    """`n` 64-bit words of a file from byte `at` on; zeros where the file ends before."""
    words = array("Q", os.pread(fd, n * 8, at))
    words.extend([0] * (n - len(words)))
    return words


def _damon_runs() -> bool:
    """Does DAMON watch memory here? Then accessed marks move from page tables to folios at any moment."""
    return any(path.read_text().startswith("kdamond") for path in Path("/proc").glob("[0-9]*/comm"))
