"""What a capture hides: frame numbers, addresses, and on demand names.

Frame numbers help to attack a machine, and addresses tell how its processes were randomised. Both become
running numbers in the order of their first appearance, so that a number says nothing about what it stands
for. What stays: which pages are of one folio and in which order, and where in its PMD range a region lies
that holds a whole one (9 bits of an address on x86-64), because khugepaged's decisions hang on that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from mapcount.live.snapshot import U64, Block, Folios, MemoryStat, Process, Region

CHUNK_ORDER = 20
"""Frames in one table of `FolioNumbers`, as a power of two."""


class FolioNumbers:
    """Frame -> running number from 1, in tables of 2^20 frames that come into being when one is met.

    Costs 4 bytes for every frame near one that was met: at most 0.1 % of the machine's memory. Gives at
    most 2^32 - 1 numbers: that is 16 TiB of folios of 4 KiB.
    """

    def __init__(self) -> None:
        self._tables: dict[int, NDArray[np.uint32]] = {}
        self._last = 0

    def of(self, frames: U64) -> U64:
        """The numbers of these frames; those never met before get the next numbers, in this order."""
        numbers = np.zeros(len(frames), np.uint64)
        chunks = frames >> np.uint64(CHUNK_ORDER)
        places = (frames & np.uint64((1 << CHUNK_ORDER) - 1)).astype(np.intp)
        inside = {int(chunk): np.flatnonzero(chunks == chunk) for chunk in np.unique(chunks)}
        for chunk, rows in inside.items():
            numbers[rows] = self._table(chunk)[places[rows]]
        new = np.flatnonzero(numbers == 0)
        _, first, back = np.unique(frames[new], return_index=True, return_inverse=True)
        in_order = np.empty(len(first), np.uint64)
        in_order[np.argsort(first)] = np.arange(1, len(first) + 1, dtype=np.uint64)
        numbers[new] = np.uint64(self._last) + in_order[back]
        self._last += len(first)
        for chunk, rows in inside.items():
            self._table(chunk)[places[rows]] = numbers[rows]
        return numbers

    def _table(self, chunk: int) -> NDArray[np.uint32]:
        if chunk not in self._tables:
            self._tables[chunk] = np.zeros(1 << CHUNK_ORDER, np.uint32)
        return self._tables[chunk]


def renumbered_block(block: Block, numbers: FolioNumbers) -> Block:
    """The block with running numbers for folios, which stay sorted by them."""
    runs, folios = block.runs, block.folios
    new_runs = replace(runs, folio=numbers.of(runs.folio))
    new_folios = replace(folios, folio=numbers.of(folios.folio))
    order = np.argsort(new_folios.folio)
    return Block(new_runs, Folios(**{f.name: getattr(new_folios, f.name)[order] for f in fields(Folios)}))


def renumbered_regions(regions: Sequence[Region], pmd_order: int) -> tuple[Region, ...]:
    """The regions one behind the other from number 0, each that holds a whole PMD range aligned as it was."""
    pmd_pages = 1 << pmd_order
    placed: list[Region] = []
    free = 0
    for region in regions:
        first_whole = -region.start % pmd_pages
        if first_whole + pmd_pages <= region.nr_pages:
            start = free + (region.start - free) % pmd_pages
        elif region.nr_pages < pmd_pages:
            start = free
        else:
            # As long as a PMD range and yet holding none: one page behind a border it cannot hold one either.
            start = free + (1 - free) % pmd_pages
        placed.append(replace(region, start=start))
        free = start + region.nr_pages
    return tuple(placed)


@dataclass(slots=True)
class Hidden:
    """Names from outside, numbered by kind: the same name is the same `file-1` throughout a capture."""

    _numbers: dict[str, dict[str, int]] = field(default_factory=dict)

    def comm(self, name: str) -> str:
        """`process-1` for a process's name."""
        return self._number("process", name)

    def cgroup(self, path: str) -> str:
        """`/cgroup-1/cgroup-2` for a path of two groups: what lies below what stays known."""
        return "/".join(part and self._number("cgroup", part) for part in path.split("/"))

    def region(self, name: str) -> str:
        """`file-1` for a file; the kernel's own words, `[heap]` and the like, stay."""
        if not name or re.fullmatch(r"\[[a-z_]+\]", name):
            return name
        if named := re.fullmatch(r"\[(anon|anon_shmem):.*\]", name, re.DOTALL):
            return f"[{named[1]}:{self._number('name', name)}]"
        return self._number("file", name)

    def process(self, process: Process) -> Process:
        """The process with its names, its control group's and its regions' hidden."""
        regions = tuple(replace(region, name=self.region(region.name)) for region in process.regions)
        return replace(
            process, comm=self.comm(process.comm), cgroup=self.cgroup(process.cgroup), regions=regions
        )

    def memory_stat(self, stat: MemoryStat) -> MemoryStat:
        """The control group with its path hidden."""
        return replace(stat, path=self.cgroup(stat.path))

    def _number(self, kind: str, name: str) -> str:
        numbers = self._numbers.setdefault(kind, {})
        return f"{kind}-{numbers.setdefault(name, len(numbers) + 1)}"
