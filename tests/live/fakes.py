"""A machine made of plain rows: a `Source` for tests, on any platform."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from mapcount.live.snapshot import (
    UNKNOWN,
    Block,
    Folios,
    Identity,
    Kind,
    Machine,
    MemoryStat,
    Process,
    Region,
    Runs,
    Unreadable,
)
from mapcount.tracking.flavour import PAGE_MAPCOUNT


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `Runs`. Unless said: one small anonymous page, mapped by this PTE alone."""

    page: int
    nr: int = 1
    folio: int = 1
    first: int = 0
    order: int = 0
    kind: int = Kind.ANON
    pmd: int = 0
    exclusive: bool = True
    mapcount: int = 1
    region: int = 0


@dataclass(frozen=True, slots=True)
class LargeFolio:
    """One row of `Folios`. Unless said: a 64K anonymous folio, struct folio not readable."""

    folio: int
    order: int = 4
    kind: int = Kind.ANON
    mapped_pages: int = UNKNOWN
    sum_mapcount: int = UNKNOWN
    cgroup: int = 0
    refcount: int = UNKNOWN
    large_mapcount: int = UNKNOWN
    entire_mapcount: int = UNKNOWN
    pincount: int = UNKNOWN
    shared: int = UNKNOWN
    mm_id: tuple[int, int] = (UNKNOWN, UNKNOWN)
    mm_id_mapcount: tuple[int, int] = (UNKNOWN, UNKNOWN)
    anon_exclusive: int = UNKNOWN


RUN_TYPES = {"folio": np.uint64, "page": np.int64, "exclusive": np.bool_} | dict.fromkeys(
    ("order", "kind", "pmd"), np.int8
)
FOLIO_TYPES = {
    "folio": np.uint64,
    "cgroup": np.uint64,
    "sum_mapcount": np.int64,
    "mm_id_mapcount": np.int64,
} | dict.fromkeys(("order", "kind", "shared"), np.int8)
"""Columns that are not I32."""


def runs_of(rows: Sequence[Run]) -> Runs:
    """Rows as columns."""
    return Runs(
        **{
            f.name: np.array([getattr(row, f.name) for row in rows], RUN_TYPES.get(f.name, np.int32))
            for f in fields(Runs)
        }
    )


def folios_of(rows: Sequence[LargeFolio]) -> Folios:
    """Rows as columns."""
    shape = {"mm_id": (len(rows), 2), "mm_id_mapcount": (len(rows), 2)}
    return Folios(
        **{
            f.name: np.array(
                [getattr(row, f.name) for row in rows], FOLIO_TYPES.get(f.name, np.int32)
            ).reshape(shape.get(f.name, len(rows)))
            for f in fields(Folios)
        }
    )


def block_of(runs: Sequence[Run], folios: Sequence[LargeFolio] = ()) -> Block:
    """One block from rows."""
    return Block(runs_of(runs), folios_of(folios))


def machine(**changes: object) -> Machine:
    """A 6.18 kernel with per-page counts of which everything is readable, except for `changes`."""
    known: dict[str, object] = {
        "release": "6.18.0-test",
        "flavour": PAGE_MAPCOUNT,
        "page_size": 4096,
        "pmd_order": 9,
        "meminfo": {"MemTotal": 1 << 20, "AnonPages": 1 << 10, "Mapped": 1 << 9},
        "thp": {"enabled": "madvise", "khugepaged/max_ptes_shared": "256"},
        "frames": True,
        "levels": True,
        "folios": True,
    }
    return Machine(**(known | changes))  # type: ignore[arg-type]


def region(nr_pages: int = 16, **changes: object) -> Region:
    """A private writable region without a name, except for `changes`."""
    known: dict[str, object] = {
        "start": 0x1000,
        "nr_pages": nr_pages,
        "perms": "rw-p",
        "name": "",
        "flags": frozenset({"rd", "wr", "mr"}),
        "smaps": {"Rss": 0, "Pss": 0, "Private_Clean": 0, "Private_Dirty": 0},
    }
    return Region(**(known | changes))  # type: ignore[arg-type]


def process(pid: int = 1, regions: Iterable[Region] = (), **changes: object) -> Process:
    """A process `test` in the root control group, except for `changes`."""
    known: dict[str, object] = {"comm": "test", "cgroup": "/", "sharing": ()}
    return Process(pid, regions=tuple(regions), **(known | changes))  # type: ignore[arg-type]


@dataclass
class MemorySource:
    """A `Source` that gives what it was made of. `refusing`: processes that are unreadable, and why."""

    processes: Sequence[Process] = ()
    mapped: Mapping[int, Sequence[Block]] = field(default_factory=dict)
    machine: Machine = field(default_factory=machine)
    stats: Sequence[MemoryStat] = ()
    refusing: Mapping[int, str] = field(default_factory=dict)
    name: str = "memory"
    own_pid: int | None = None

    def pids(self) -> Sequence[int]:
        """Every process, those that will refuse too."""
        return sorted([p.pid for p in self.processes] + [*self.refusing])

    def absent(self, pid: int) -> str | None:
        """Why this number is of no process."""
        return None if pid in self.pids() else f"no such process: {pid}"

    def identity(self, pid: int) -> Identity:
        """Name and control group."""
        process = self.process(pid)
        return Identity(pid, process.comm, process.cgroup)

    def process(self, pid: int) -> Process:
        """The process as given."""
        if pid in self.refusing:
            raise Unreadable(pid, "refuses", self.refusing[pid])
        for process in self.processes:
            if pid == process.pid:
                return process
        raise Unreadable(pid, "?", "no such process")

    def blocks(self, process: Process) -> Iterator[Block]:
        """Its blocks as given."""
        yield from self.mapped.get(process.pid, ())

    def memory_stats(self) -> Sequence[MemoryStat]:
        """The control groups as given."""
        return self.stats
