"""Write down what audit needs to know of a machine, process by process, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from mapcount.live.capture_check import check_folios, check_runs
from mapcount.live.capture_directory import new_directory, remove_stale
from mapcount.live.capture_format import (
    BLOCKS,
    PART_ROWS,
    PROCESSES,
    TABLES,
    CaptureError,
    cgroups_frame,
    folios_frame,
    regions_frame,
    runs_frame,
    storable,
)
from mapcount.live.capture_meta import Meta, is_capture, is_capture_file, write_meta
from mapcount.live.capture_renumber import FolioNumbers, Hidden, renumbered_block, renumbered_regions
from mapcount.live.capture_tables import TableWriter
from mapcount.live.selection import NothingSelected, Selection, check_numbers, select
from mapcount.live.snapshot import Block, CannotHere, Machine, MemoryStat, Process, Source, Unreadable

TRIES = 3
"""How often a process is read until it was at rest."""


@dataclass(frozen=True, slots=True)
class Hiding:
    """What is replaced by running numbers. Unless said: frame numbers and addresses, but no names."""

    places: bool = True
    names: bool = False


class Reading(Protocol):
    """Looks on while a process is read."""

    def add(self, block: Block) -> None:
        """One more block of it."""

    @property
    def off_kib(self) -> int:
        """How far what was read is from smaps: 0 for a process at rest."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a capture holds: rows by table, and who could not be read."""

    path: Path
    rows: dict[str, int]
    bytes: int
    unreadable: tuple[Unreadable, ...]
    machine: Machine
    removed: tuple[Path, ...] = ()
    """What captures to the same place had left behind that were killed."""
    itself: bool = False
    """Is the process that wrote it one of those in it?"""


def write_capture(
    source: Source,
    selection: Selection,
    target: Path,
    *,
    hiding: Hiding = Hiding(),
    force: bool = False,
    part_rows: int = PART_ROWS,
    reading: Callable[[Machine, Process], Reading] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Written:
    """Write the processes of `source` that were asked for to a new directory `target`.

    `force` replaces a capture, and nothing else. `reading` judges whether a process was at rest: one that
    was not is read again, a few times. `progress` hears how many processes are done, of how many.
    Raises FileExistsError if there is something at `target`, NotADirectoryError if it would be in none,
    NothingSelected, CannotHere if nothing could be read, and OSError; then nothing was written, and what was
    there is still there.
    """
    _check_target(target, force=force)
    check_numbers([source], selection)
    selected = select(source, selection, itself=True)
    if not selected.pids and not selected.unreadable:
        raise NothingSelected("no process was selected")
    unreadable = list(selected.unreadable)
    removed = remove_stale(target, is_capture_file)
    with new_directory(target) as folder:
        writer = _Writer(folder, source, hiding, part_rows, reading)
        for done, pid in enumerate(selected.pids):
            progress(done, len(selected.pids))
            try:
                writer.add(pid)
            except Unreadable as reason:
                unreadable.append(reason)
        if unreadable and not writer.has_others(selection):
            raise CannotHere(f"none of the processes could be read; the first: {unreadable[0]}")
        asked = selection == Selection()
        writer.close(every_cgroup=asked)
        progress(len(selected.pids), len(selected.pids))
        everything = asked and getattr(source, "everything", True)
        size = write_meta(folder, writer.meta(unreadable, everything=everything))
    return Written(
        target,
        {name: table.rows for name, table in writer.tables.items()},
        size + sum(part.bytes for table in writer.tables.values() for part in table.parts),
        tuple(unreadable),
        source.machine,
        tuple(removed),
        source.own_pid in writer.written,
    )


class _Writer:
    """The tables of one capture, and what hides in them."""

    def __init__(
        self,
        folder: Path,
        source: Source,
        hiding: Hiding,
        part_rows: int,
        reading: Callable[[Machine, Process], Reading] | None,
    ) -> None:
        self.tables = {name: TableWriter(folder, table, part_rows) for name, table in TABLES.items()}
        self._source, self._hiding, self._part_rows = source, hiding, part_rows
        self._reading = reading if source.machine.frames else None
        self._numbers, self._hidden = FolioNumbers(), Hidden()
        self.written: set[int] = set()
        """Processes that are in it, by number."""
        self._sharing: set[int] = set()
        self._cgroups: set[str] = set()
        self._inodes: set[int] = set()
        """Control groups that processes are in, and that folios are charged to."""

    def add(self, pid: int) -> None:
        """A process with everything that it maps, or nothing of it. Raises Unreadable, OSError.

        One that was not at rest is read again. One that shares its address space with a process that is
        there already adds nothing.
        """
        if pid in self._sharing:
            return
        before = {name: table.rows for name, table in self.tables.items()}
        for tries_left in reversed(range(TRIES)):
            try:
                process = self._source.process(pid)
                at_rest = self._add_blocks(process)
                if at_rest or not tries_left:
                    self._add_process(process, self.tables["blocks"].rows - before["blocks"])
                    return
            except CaptureError:
                if not tries_left:
                    self._take_back(before)
                    raise Unreadable(pid, process.comm, "it changed too much while being read") from None
            except Unreadable:
                self._take_back(before)
                raise
            self._take_back(before)

    def _take_back(self, rows: Mapping[str, int]) -> None:
        for name, table in self.tables.items():
            table.cut(rows[name])

    def _add_process(self, process: Process, nr_blocks: int) -> None:
        shown = self._hidden.process(process) if self._hiding.names else process
        regions = shown.regions
        if self._hiding.places:
            regions = renumbered_regions(regions, self._source.machine.pmd_order)
        row = {
            "pid": [process.pid],
            "comm": [storable(shown.comm)],
            "cgroup": [storable(shown.cgroup)],
            "sharing": [list(process.sharing)],
            "regions": [len(regions)],
            "blocks": [nr_blocks],
        }
        self.written.add(process.pid)
        self._sharing.update(process.sharing)
        self._cgroups.add(process.cgroup)
        self.tables["processes"].append(PROCESSES.frame(row))
        self.tables["regions"].append(regions_frame(process.pid, regions))

    def _add_blocks(self, process: Process) -> bool:
        """What it maps; was it at rest, as far as that is known? CaptureError: it does not hang together."""
        reading = self._reading and self._reading(self._source.machine, process)
        for block in self._source.blocks(process):
            if reading:
                reading.add(block)
            shown = renumbered_block(block, self._numbers) if self._hiding.places else block
            check_folios(str, shown.folios)
            check_runs(str, shown.runs, process.regions, shown.folios)
            row = {"pid": [process.pid], "runs": [len(shown.runs)], "folios": [len(shown.folios)]}
            self.tables["blocks"].append(BLOCKS.frame(row))
            self.tables["runs"].append(runs_frame(process.pid, shown.runs))
            self.tables["folios"].append(folios_frame(process.pid, shown.folios))
            self._inodes.update(np.unique(shown.folios.cgroup).tolist())
        return not (reading and reading.off_kib)

    def close(self, *, every_cgroup: bool) -> None:
        """The control groups, or those that matter to the processes, and the rest. Raises OSError."""
        stats = [stat for stat in self._source.memory_stats() if every_cgroup or self._matters(stat)]
        if self._hiding.names:
            stats = [self._hidden.memory_stat(stat) for stat in stats]
        self.tables["cgroups"].append(cgroups_frame(stats))
        for table in self.tables.values():
            table.close()

    def has_others(self, selection: Selection) -> bool:
        """Is any process in it, besides the one that writes it and was not asked for by its number?"""
        unasked = {self._source.own_pid} - set(selection.pids)
        return bool(self.written - unasked)

    def _matters(self, stat: MemoryStat) -> bool:
        """Is a folio charged to this control group, or a process in it or below it?"""
        below = stat.path.rstrip("/") + "/"
        return stat.inode in self._inodes or any(f"{path}/".startswith(below) for path in self._cgroups)

    def meta(self, unreadable: Sequence[Unreadable], *, everything: bool) -> Meta:
        """What `meta.json` has to say."""
        if self._hiding.names:
            unreadable = [Unreadable(u.pid, self._hidden.comm(u.comm), u.reason) for u in unreadable]
        return Meta(
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            everything=everything,
            raw=not self._hiding.places,
            anonymised=self._hiding.names,
            machine=self._source.machine,
            unreadable=tuple(unreadable),
            own_pid=self._source.own_pid,
            part_rows=self._part_rows,
            parts={name: tuple(table.parts) for name, table in self.tables.items()},
        )


def _check_target(target: Path, *, force: bool) -> None:
    """Raise unless `target` is in a directory, and nothing is there, or a capture that may be replaced."""
    if not target.parent.is_dir():
        raise NotADirectoryError(f"{target.parent}: is no directory")
    if target.is_symlink() or target.exists():
        if not force:
            raise FileExistsError(f"{target}: exists already; --force replaces a capture")
        if not is_capture(target):
            raise FileExistsError(f"{target}: is no capture, and --force replaces nothing else")
