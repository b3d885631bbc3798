"""A machine at one moment: processes, their regions, what each maps, and what the kernel counts about it.

Plain values, the same whether they were read from a running kernel or from a capture. A `Source` gives
them; who asks does not know which kind it is. What maps a page comes in *runs*: consecutive pages of
one region that map consecutive pages of one folio and that the kernel describes alike.

Counts are natural (0 is unmapped), sizes are in pages unless a name says KiB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mapcount.tracking.flavour import Flavour

UNKNOWN = -1
"""What a count holds that could not be read."""

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
I8 = NDArray[np.int8]
Bool = NDArray[np.bool_]


class Kind(IntEnum):
    """What a page is, as far as who maps it matters."""

    ANON = 0
    FILE = 1
    SHMEM = 2
    HUGETLB = 3
    KSM = 4
    ZERO = 5
    """The shared zero page, or the huge one: smaps does not count it."""
    OTHER = 6
    """No struct page, device memory, hwpoison, offline: nothing the kernel counts mappings for."""


COUNTED = np.isin(np.arange(len(Kind)), (Kind.ANON, Kind.FILE, Kind.SHMEM, Kind.KSM))
"""By `Kind`: is such a page in Rss, Pss and Uss? hugetlb has fields of its own, zero pages have none."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The kernel that answered, and what of it could be read."""

    release: str
    """As `uname -r` says."""
    flavour: Flavour
    """What this kernel keeps: found from its types and configuration, not from its version."""
    page_size: int
    """In bytes."""
    pmd_order: int
    meminfo: Mapping[str, int]
    """/proc/meminfo by field, in KiB."""
    thp: Mapping[str, str]
    """Settings under /sys/kernel/mm/transparent_hugepage, by path below it."""
    frames: bool
    """Are page frame numbers and /proc/kpage* readable? Without them nothing can be predicted."""
    levels: bool
    """Is it known whether a PMD or PTEs map a page (PAGEMAP_SCAN, Linux 6.7)?"""
    folios: bool
    """Is the kernel's own struct folio readable?"""
    limits: tuple[str, ...] = ()
    """Why not, one sentence each, with what would make it possible."""

    @property
    def max_ptes_shared(self) -> int:
        """How many shared pages khugepaged tolerates in one PMD range."""
        return int(self.thp.get("khugepaged/max_ptes_shared", 1 << (self.pmd_order - 1)))


@dataclass(frozen=True, slots=True)
class Region:
    """One VMA, and what smaps says of it."""

    start: int
    """First virtual page number (a running number in a capture)."""
    nr_pages: int
    perms: str
    """As in /proc/PID/maps: `rw-p`."""
    name: str
    """File, `[heap]`, `[anon:...]` or nothing. Comes from outside: escape it."""
    flags: frozenset[str]
    """VmFlags, two letters each: `pf` marks a range that smaps does not look into, `ht` hugetlb."""
    smaps: Mapping[str, int]
    """The kernel's own words, in KiB: `Rss`, `Pss`, `Private_Clean`..."""


@dataclass(frozen=True, slots=True)
class Process:
    """One address space, named after a process that has it."""

    pid: int
    comm: str
    """Comes from outside: escape it."""
    cgroup: str
    """Path in the memory hierarchy, `/` where there is none."""
    regions: tuple[Region, ...]
    sharing: tuple[int, ...] = ()
    """Other processes with the same address space (CLONE_VM without CLONE_THREAD)."""

    def total(self, name: str) -> int:
        """A field of smaps over all regions, in KiB. Each region was rounded down by the kernel."""
        return sum(region.smaps.get(name, 0) for region in self.regions)


@dataclass(frozen=True, slots=True)
class Identity:
    """By what processes are selected: all of it is read without looking at their memory."""

    pid: int
    comm: str
    cgroup: str


@dataclass(frozen=True, slots=True)
class Runs:
    """Columns, one row per run, by address. What a run's pages have in common stands here once."""

    region: I32
    """Index into `Process.regions`."""
    page: I64
    """First page, counted from the region's start."""
    nr: I32
    """Pages, all of one folio and one region."""
    folio: U64
    """The folio's name: its first frame (a running number in a capture)."""
    first: I32
    """Which page of the folio the run begins with."""
    order: I8
    kind: I8
    """A `Kind`."""
    pmd: I8
    """1: one PMD (or PUD) maps them; 0: PTEs; UNKNOWN."""
    exclusive: Bool
    """Bit 56 of pagemap."""
    mapcount: I32
    """Of each page, as /proc/kpagecount says; UNKNOWN."""

    def __len__(self) -> int:
        return len(self.nr)


@dataclass(frozen=True, slots=True)
class Folios:
    """Columns, one row per large folio that some run of the same block maps, by `folio`."""

    folio: U64
    order: I8
    kind: I8
    mapped_pages: I32
    """How many of its pages anybody maps; UNKNOWN without per-page counts."""
    sum_mapcount: I64
    """kpagecount summed over all of its pages, those the process does not map too; UNKNOWN."""
    cgroup: U64
    """Inode of the control group it is charged to; 0 for none or unknown, or if all its pages are mapped."""
    # From struct folio; all UNKNOWN where that could not be read.
    refcount: I32
    large_mapcount: I32
    entire_mapcount: I32
    pincount: I32
    shared: I8
    """The kernel's flag "mappings may belong to more than one mm": 0, 1, UNKNOWN (none before 6.15)."""
    mm_id: NDArray[np.int32]
    """Shape (n, 2): who is in the slots; 0 is free."""
    mm_id_mapcount: NDArray[np.int64]
    """Shape (n, 2)."""
    anon_exclusive: I32
    """Pages marked anon exclusive (the first page's mark, if a PMD maps the folio).

    UNKNOWN also where it would not matter: in folios that are not marked shared, or are shared surely.
    """

    def __len__(self) -> int:
        return len(self.folio)


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of one address space: runs by address, and the large folios they map.

    A folio whose mappings lie in several blocks is in each of them.
    """

    runs: Runs
    folios: Folios


class Unreadable(Exception):
    """A process that vanished or refused. Never fatal: counted, and named with its reason."""

    def __init__(self, pid: int, comm: str, reason: str) -> None:
        super().__init__(f"{pid} ({comm}): {reason}")
        self.pid, self.comm, self.reason = pid, comm, reason


class CannotHere(Exception):
    """What was asked is impossible on this machine (exit code 3); says why, and what would change that."""


@dataclass(frozen=True, slots=True)
class MemoryStat:
    """A control group's memory.stat, in bytes, groups below it included. None: not readable."""

    path: str
    inode: int
    anon: int | None
    file_mapped: int | None
    shmem: int | None
    limit: int | None = field(default=None)
    """memory.max in bytes; None without a limit."""
    current: int | None = field(default=None)


class Source(Protocol):
    """Where a machine's moment comes from: the running kernel, or a capture."""

    @property
    def name(self) -> str:
        """For people: `this machine`, or the capture's path."""

    @property
    def machine(self) -> Machine:
        """The kernel."""

    @property
    def own_pid(self) -> int | None:
        """The process that reads the machine, or has read it, if its number is known."""

    def pids(self) -> Sequence[int]:
        """Every process that has an address space: kernel threads and zombies do not."""

    def absent(self, pid: int) -> str | None:
        """Why this number is none of a process with an address space, as a clause; None if it is one.

        Also None if that cannot be told: then reading it will say why.
        """

    def identity(self, pid: int) -> Identity:
        """A process's name and control group alone, which costs little. Raises Unreadable."""

    def process(self, pid: int) -> Process:
        """A process and its regions, read now. Raises Unreadable."""

    def blocks(self, process: Process) -> Iterator[Block]:
        """What it maps, in blocks of bounded size, by address. Raises Unreadable."""

    def memory_stats(self) -> Sequence[MemoryStat]:
        """Every control group with a memory.stat."""
