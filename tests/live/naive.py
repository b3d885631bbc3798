"""What a process maps, page by page and by plain loops over the kernel's files: what fast code must equal."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mapcount.live.snapshot import Block, Kind, Region

HEAD, TAIL = 1 << 15, 1 << 16
NO_MEMORY = 1 << 19 | 1 << 20 | 1 << 23
"""hwpoison, no struct page, offline."""


@dataclass(frozen=True)
class Page:
    """One present page, with all that a run says of its pages but the level."""

    region: int
    page: int
    folio: int
    first: int
    order: int
    kind: int
    exclusive: bool
    mapcount: int


def words(path: Path, at: int, n: int = 1) -> list[int]:
    """`n` 64-bit words of a file from the `at`-th; what lies beyond its end is 0."""
    with path.open("rb", buffering=0) as file:
        file.seek(8 * at)
        data = file.read(8 * n)
    return list(struct.unpack(f"={len(data) // 8}Q", data)) + [0] * (n - len(data) // 8)


class Remembered(dict[int, int]):
    """The words of a file, each read once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __missing__(self, at: int) -> int:
        self[at] = words(self._path, at)[0]
        return self[at]


def pages_of(proc: Path, pid: int, regions: Sequence[Region]) -> list[Page]:
    """Every present page of the regions that smaps counts something of."""
    flags, counts = Remembered(proc / "kpageflags"), Remembered(proc / "kpagecount")
    found = []
    for index, region in enumerate(regions):
        if not sum(region.smaps.get(name, 0) for name in ("Rss", "Shared_Hugetlb", "Private_Hugetlb")):
            continue
        for at, entry in enumerate(words(proc / str(pid) / "pagemap", region.start, region.nr_pages)):
            if entry >> 63:
                frame = entry & ((1 << 55) - 1)
                head, order = folio_of(flags, frame)
                exclusive = bool(entry >> 56 & 1)
                kind = Kind.OTHER if flags[frame] & NO_MEMORY else kind_of(flags[head])
                found.append(Page(index, at, head, frame - head, order, kind, exclusive, counts[frame]))
    return found


def folio_of(flags: Mapping[int, int], frame: int) -> tuple[int, int]:
    """The first frame and the order of the folio that a frame belongs to, found by going back and forth."""
    head = frame
    while flags[head] & TAIL:
        head -= 1
    nr = 1
    while flags[head + nr] & TAIL:
        nr += 1
    return head, nr.bit_length() - 1


def folio_sums(proc: Path, head: int, order: int) -> tuple[int, int, int]:
    """How many pages of a folio anybody maps, how often all are mapped, and whose it is if not all are."""
    counts = words(proc / "kpagecount", head, 1 << order)
    mapped = sum(count > 0 for count in counts)
    return mapped, sum(counts), words(proc / "kpagecgroup", head)[0] if mapped < len(counts) else 0


def kind_of(flags: int) -> int:
    """What a page is, by the flags of its folio's first page."""
    for bit, kind in ((24, Kind.ZERO), (17, Kind.HUGETLB), (21, Kind.KSM), (12, Kind.ANON), (14, Kind.SHMEM)):
        if flags >> bit & 1:
            return kind
    return Kind.FILE


def pages_in(blocks: Sequence[Block]) -> Iterator[Page]:
    """The pages of all runs, in their order."""
    for block in blocks:
        runs = block.runs
        for row in range(len(runs)):
            for i in range(int(runs.nr[row])):
                yield Page(
                    region=int(runs.region[row]),
                    page=int(runs.page[row]) + i,
                    folio=int(runs.folio[row]),
                    first=int(runs.first[row]) + i,
                    order=int(runs.order[row]),
                    kind=int(runs.kind[row]),
                    exclusive=bool(runs.exclusive[row]),
                    mapcount=int(runs.mapcount[row]),
                )
