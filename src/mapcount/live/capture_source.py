"""Reading a capture: a `Source` like the running kernel, on any platform. Nothing is believed unseen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import polars as pl

from mapcount.live.capture_check import (
    check_cgroups,
    check_folios,
    check_process,
    check_regions,
    check_runs,
)
from mapcount.live.capture_format import TABLES, CaptureError, cgroups_of, folios_of, regions_of, runs_of
from mapcount.live.capture_meta import read_meta
from mapcount.live.capture_tables import TableReader
from mapcount.live.snapshot import I64, Block, Identity, Machine, MemoryStat, Process, Unreadable

MOST_PROCESSES = 1 << 19
MOST_REGIONS = 1 << 18
"""Of one process: four times what the kernel allows unless told otherwise (vm.max_map_count)."""
MOST_BLOCKS = 1 << 22
MOST_CGROUPS = 1 << 20
MOST_BLOCK_ROWS = 1 << 20
"""Runs of one block, which is in memory as a whole: 4 GiB in pages of 4 KiB."""

ONLY_SOME = (
    "the capture holds only the processes that were asked for: mappings of others show in the kernel's "
    "counts alone (capture --all has them)"
)


class CaptureSource:
    """One capture. Whatever reads it raises CaptureError where it does not hang together."""

    def __init__(self, path: Path) -> None:
        meta = read_meta(path)
        self.name = str(path)
        self.when = meta.when
        """Date and time, ISO 8601."""
        self.everything = meta.everything
        """Was every process of the machine asked for?"""
        limits = meta.machine.limits if meta.everything else (*meta.machine.limits, ONLY_SOME)
        self.machine: Machine = replace(meta.machine, limits=limits)
        self.own_pid = meta.own_pid
        """The process that made the capture."""
        self._unreadable = {who.pid: who for who in meta.unreadable}
        self._tables = {
            name: TableReader(path, table, meta.parts[name], meta.part_rows) for name, table in TABLES.items()
        }
        self._entries = _entries(self._tables)
        self._aliases = {pid: entry for entry in self._entries.values() for pid in entry.process.sharing}
        self._first_run, self._first_folio = _blocks(self._tables, self._entries)

    def pids(self) -> Sequence[int]:
        """Every process in it, and those that could not be read when it was made."""
        return sorted({*self._entries, *self._unreadable})

    def absent(self, pid: int) -> str | None:
        """Why this number is of no process here; None if it is of one, or one that could not be read."""
        known = self._entries.keys() | self._aliases.keys() | self._unreadable.keys()
        return None if pid in known else f"{self.name}: no such process in the capture: {pid}"

    def identity(self, pid: int) -> Identity:
        """A process's name and control group. Raises Unreadable."""
        process = self._entry(pid).process
        return Identity(process.pid, process.comm, process.cgroup)

    def process(self, pid: int) -> Process:
        """A process and its regions. Raises Unreadable, CaptureError."""
        entry = self._entry(pid)
        table = self._tables["regions"]
        if entry.nr_regions > MOST_REGIONS:
            raise CaptureError(
                f"{table.place(entry.first_region)}: process {entry.process.pid} has {entry.nr_regions} "
                f"regions, at most {MOST_REGIONS} are read"
            )
        rows = table.read(entry.first_region, entry.first_region + entry.nr_regions)
        _check_owner(table, entry.first_region, rows, entry.process.pid)
        regions = regions_of(rows)
        check_regions(lambda row: table.place(entry.first_region + row), regions)
        return replace(entry.process, regions=regions)

    def blocks(self, process: Process) -> Iterator[Block]:
        """What it maps. Raises Unreadable, CaptureError."""
        entry = self._entry(process.pid)
        for block in range(entry.first_block, entry.first_block + entry.nr_blocks):
            yield self._block(block, process)

    def memory_stats(self) -> Sequence[MemoryStat]:
        """Every control group. Raises CaptureError."""
        table = self._tables["cgroups"]
        _check_size(table, MOST_CGROUPS)
        stats = cgroups_of(table.read(0, table.rows))
        check_cgroups(table.place, stats)
        return stats

    def _entry(self, pid: int) -> _Entry:
        if pid in self._unreadable:
            raise self._unreadable[pid]
        entry = self._entries.get(pid) or self._aliases.get(pid)
        if entry is None:
            raise Unreadable(pid, "?", f"no such process in {self.name}")
        return entry

    def _block(self, block: int, process: Process) -> Block:
        runs, folios = self._tables["runs"], self._tables["folios"]
        first_run, first_folio = int(self._first_run[block]), int(self._first_folio[block])
        run_rows = runs.read(first_run, int(self._first_run[block + 1]))
        folio_rows = folios.read(first_folio, int(self._first_folio[block + 1]))
        _check_owner(runs, first_run, run_rows, process.pid)
        _check_owner(folios, first_folio, folio_rows, process.pid)
        found = Block(runs_of(run_rows), folios_of(folio_rows))
        check_folios(lambda row: folios.place(first_folio + row), found.folios)
        check_runs(lambda row: runs.place(first_run + row), found.runs, process.regions, found.folios)
        return found


@dataclass(frozen=True, slots=True)
class _Entry:
    """A process without its regions, and where those and its blocks stand."""

    process: Process
    first_region: int
    nr_regions: int
    first_block: int
    nr_blocks: int


def _entries(tables: Mapping[str, TableReader]) -> dict[int, _Entry]:
    """Every process of the table, by number. Raises CaptureError."""
    table = tables["processes"]
    _check_size(table, MOST_PROCESSES)
    rows = table.read(0, table.rows)
    if (sharing := int(rows["sharing"].list.len().sum())) > MOST_PROCESSES:
        raise CaptureError(
            f"{table.folder}: {sharing} processes share memory, at most {MOST_PROCESSES} are read"
        )
    first_region = _starts(table, rows["regions"], tables["regions"])
    first_block = _starts(table, rows["blocks"], tables["blocks"])
    entries: dict[int, _Entry] = {}
    for number, row in enumerate(rows.iter_rows(named=True)):
        if None in row["sharing"]:
            raise CaptureError(f"{table.place(number)}: sharing has gaps")
        process = Process(row["pid"], row["comm"], row["cgroup"], (), tuple(row["sharing"]))
        check_process(table.place(number), process)
        if process.pid in entries:
            raise CaptureError(f"{table.place(number)}: process {process.pid} is there twice")
        entries[process.pid] = _Entry(
            process, int(first_region[number]), row["regions"], int(first_block[number]), row["blocks"]
        )
    return entries


def _blocks(tables: Mapping[str, TableReader], entries: Mapping[int, _Entry]) -> tuple[I64, I64]:
    """With which run and with which folio each block begins, and where the last ends. Raises CaptureError."""
    table = tables["blocks"]
    _check_size(table, MOST_BLOCKS)
    rows = table.read(0, table.rows)
    for entry in entries.values():
        mine = rows[entry.first_block : entry.first_block + entry.nr_blocks]
        _check_owner(table, entry.first_block, mine, entry.process.pid)
    if table.rows and (most := int(rows["runs"].max())) > MOST_BLOCK_ROWS:  # type: ignore[arg-type]
        raise CaptureError(f"{table.folder}: a block has {most} runs, at most {MOST_BLOCK_ROWS} are read")
    return _starts(table, rows["runs"], tables["runs"]), _starts(table, rows["folios"], tables["folios"])


def _starts(table: TableReader, counts: pl.Series, pointed_at: TableReader) -> I64:
    """Where each row's share of another table begins, and where the last ends. Raises CaptureError."""
    most = pointed_at.rows
    numbers = [0, *accumulate(counts.to_list())]
    if any(not 0 <= count <= most for count in counts) or numbers[-1] != most:
        raise CaptureError(
            f"{table.folder}: going by its {table.table.name} it has {numbers[-1]} {pointed_at.table.name}, "
            f"and there are {most}"
        )
    return np.array(numbers, np.int64)


def _check_size(table: TableReader, most: int) -> None:
    if table.rows > most:
        raise CaptureError(f"{table.folder}: has {table.rows} {table.table.name}, at most {most} are read")


def _check_owner(table: TableReader, first: int, rows: pl.DataFrame, pid: int) -> None:
    """Are these rows of this process? Raises CaptureError."""
    foreign = (rows["pid"] != pid).arg_true()
    if len(foreign):
        row = int(foreign[0])
        raise CaptureError(
            f"{table.place(first + row)}: is of process {rows['pid'][row]}, it should be of {pid}"
        )
