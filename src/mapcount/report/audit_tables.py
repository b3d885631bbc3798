"""The tables of an audit: machines, processes, large folios, control groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from mapcount.audit.census import FolioSize
from mapcount.audit.overview import Overview, Row
from mapcount.audit.statistics import AuditedCgroup, Statistic
from mapcount.report.words import about, count, shortened, signed_about, size
from mapcount.scenario.syntax import visible

MOST_RELEASE = 18
"""Columns of a kernel's release in a table of machines."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a terminal has room for, in columns."""

    wide: bool
    """Also for what would be, besides by how much it differs?"""
    all: bool
    """Also for what never changes, and what follows from the rest?"""
    gap: int
    machine: int
    """Of a machine's name, and below of a control group's path: the end tells most."""
    name: int
    """Of a process: it has 15 bytes, but some need four columns to be shown."""
    path: int


ROOMS = {
    100: Room(wide=True, all=True, gap=2, machine=18, name=18, path=34),
    78: Room(wide=False, all=True, gap=2, machine=8, name=18, path=24),
    0: Room(wide=False, all=False, gap=1, machine=6, name=10, path=14),
}
"""By the width from which on they fit."""


def room_in(width: int) -> Room:
    """The most that fits."""
    return next(room for least, room in ROOMS.items() if width >= least)


def columns(*headings: str, left: int = 1, gap: int = 2) -> Table:
    """A table without lines. The first `left` columns are words, so is one without a heading; it may wrap."""
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=any(headings))
    for i, heading in enumerate(headings):
        words = i < left or heading == ""
        table.add_column(heading, justify="left" if words else "right", no_wrap=not words or i == 0)
    return table


def machine_table(overview: Overview, most: int, room: Room) -> Table:
    """Several machines: what changes on each."""
    then = overview.then.name
    headings = [*["processes"] * room.all, "Pss", "change", "Uss", "change", "AnonPages", "mistaken"]
    table = columns("machine", *["kernel"] * room.wide, *headings, left=1 + room.wide, gap=room.gap)
    for name, audit in list(zip(overview.names, overview.audits, strict=True))[:most]:
        rows = [row for row in overview.rows if row.machine == name]
        anon = audit.meminfo.get("AnonPages")
        table.add_row(
            _tail(visible(name), room.machine),
            *[shortened(visible(audit.machine.release), MOST_RELEASE)] * room.wide,
            *[count(len(rows))] * room.all,
            about(sum(row.process.now.pss_kib for row in rows)),
            signed_about(sum(row.pss_change for row in rows)),
            about(sum(row.process.now.uss_kib for row in rows)),
            signed_about(sum(row.uss_change for row in rows)),
            _seen(anon, then, complete=audit.complete) if anon else "?",
            about(sum(row.mistaken_kib for row in rows)),
        )
    return table


def process_table(rows: Sequence[Row], room: Room) -> Table:
    """Processes: memory now and then."""
    then = ["then"] * room.wide
    memory = (*["Rss"] * room.all, "Pss", *then, "change", "Uss", *then, "change", "mistaken")
    table = columns("pid", "name", *memory, left=2, gap=room.gap)
    for row in rows:
        process, now = row.process, row.process.now
        machine = f"{_tail(visible(row.machine), room.machine)}:" if row.machine else ""
        moving = "~" * process.estimated
        at_best = moving or "~" * (process.guessed_kib > 0)
        pss_then, uss_then = (row.then.pss_kib, row.then.uss_kib) if row.then else (None, None)
        table.add_row(
            f"{machine}{process.pid}",
            shortened(visible(process.comm), room.name),
            *[about(now.rss_kib)] * room.all,
            *_now_and_then(now.pss_kib, pss_then, moving, wide=room.wide),
            *_now_and_then(now.uss_kib, uss_then, at_best, wide=room.wide),
            Text(about(row.mistaken_kib) if row.then else "?", "bold red" if row.mistaken_kib else ""),
        )
    return table


def _now_and_then(now: int, then: int | None, mark: str, *, wide: bool) -> list[str]:
    """Cells: now, what would be, by how much that differs."""
    if then is None:
        return [about(now), *["?"] * wide, "?"]
    return [about(now), *[about(then)] * wide, f"{mark}{signed_about(then - now)}"]


def folio_table(sizes: Sequence[FolioSize], room: Room) -> Table:
    """Large folios by kind and size; each once, however many processes map it."""
    memory, partly, exclusive = (["memory"], "partly", "exclusive") if room.all else ([], "part", "alone")
    headings = ("folios", *memory, "PMD", "PTE", "both", partly, exclusive, "shared", "mistaken")
    table = columns("size", "kind", *headings, left=2, gap=1)
    for row in sizes:
        unknown = "?" * (row.not_judged > 0)
        mistaken = unknown if row.not_judged == row.folios else count(row.mistaken_for_shared) + unknown
        table.add_row(
            size(row.kib),
            row.kind,
            count(row.folios),
            *[about(row.folios * row.kib)] * room.all,
            count(row.by_pmd),
            count(row.by_pte),
            count(row.by_both),
            count(row.partly_mapped),
            count(row.exclusive),
            count(row.shared),
            Text(mistaken, "bold red" if row.mistaken_for_shared else ""),
        )
    return table


def cgroup_table(overview: Overview, groups: Sequence[tuple[str, AuditedCgroup]], room: Room) -> Table:
    """Control groups: memory.stat now and then, and what stays: usage and limit."""
    then = overview.then.name
    mapped = "file_mapped" if room.all else "mapped"
    headings = ("anon", "change", mapped, "change", *["shmem"] * room.wide, "usage", "limit")
    table = columns("control group", *headings, gap=room.gap)
    for machine, group in groups:
        path = visible(f"{machine}:{group.path}" if machine else group.path)
        table.add_row(
            _tail(path, room.path),
            *_statistic(group.anon, then),
            *_statistic(group.file_mapped, then),
            *[_known(group.shmem_kib)] * room.wide,
            _known(group.current_kib),
            "none" if group.limit_kib is None else about(group.limit_kib),
        )
    return table


def _statistic(statistic: Statistic | None, then: str) -> tuple[str, str]:
    if statistic is None:
        return "?", "?"
    return about(statistic.now_kib), signed_about(statistic.under[then] - statistic.now_kib)


def _known(kib: int | None) -> str:
    return "?" if kib is None else about(kib)


def _seen(statistic: Statistic, then: str, *, complete: bool) -> str:
    """By how much it differs; a lower bound unless everything was seen."""
    change = statistic.under[then] - statistic.now_kib
    if complete:
        return signed_about(change)
    return f"at least {signed_about(change)}" if change else "none seen"


def _tail(text: str, most: int) -> str:
    """The end of a text that is too long: it tells paths, and numbered names, apart."""
    return text if len(text) <= most else f"...{text[3 - most :]}"
