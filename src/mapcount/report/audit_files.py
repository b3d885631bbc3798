"""An audit as tables for CSV and Parquet: processes, large folios, control groups. Names end in their units.

Names from outside are written as they are shown: nothing in a file that a terminal might obey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields

from mapcount.audit.census import FolioSize
from mapcount.audit.mistakes import Mistakes
from mapcount.audit.overview import Overview, Row
from mapcount.audit.smaps import Memory
from mapcount.audit.statistics import PREDICTED, Statistic
from mapcount.report.audit_data import mistakes_as_data
from mapcount.report.table_file import Cell, Table
from mapcount.scenario.syntax import visible

TEXTS = ("machine", "comm", "cgroup", "path", "kind")
FLAVOURS = {flavour.name: flavour.name.replace("-", "_") for flavour in PREDICTED}
"""How a kernel is called in a column's name."""


def process_table(overview: Overview, rows: Sequence[Row]) -> Table:
    """One row per process of `rows`: memory now and under each kernel, and mistakes."""
    names = ["machine", "pid", "comm", "cgroup", *(f.name for f in fields(Memory))]
    names += [f"{name}_kib_{flavour}" for flavour in FLAVOURS.values() for name in ("pss", "uss")]
    names += [f"mistaken_{name}" for name in mistakes_as_data(Mistakes(), 1)]
    return Table(
        [*names, "uss_guessed_kib", "miscounted_folios", "moved_kib"],
        TEXTS,
        [list(_process(row)) for row in rows],
    )


def _process(row: Row) -> Iterator[Cell]:
    process = row.process
    yield from (visible(row.machine) or None, process.pid, visible(process.comm), visible(process.cgroup))
    yield from asdict(process.now).values()
    for name in FLAVOURS:
        memory = process.under.get(name)
        yield from (memory.pss_kib, memory.uss_kib) if memory else (None, None)
    yield from mistakes_as_data(process.mistakes, row.page_kib).values()
    yield from (process.guessed_kib, process.miscounted, process.off_kib)


def folio_table(overview: Overview, rows: Sequence[Row]) -> Table:
    """One row per kind and size of large folios on each machine."""
    machines = zip(overview.names, overview.audits, strict=True)
    cells: list[list[Cell]] = [
        [visible(name) or None, *asdict(folios).values()]
        for name, audit in machines
        for folios in audit.folios
    ]
    return Table(["machine", *(f.name for f in fields(FolioSize))], TEXTS, cells)


def cgroup_table(overview: Overview, rows: Sequence[Row]) -> Table:
    """One row per control group: memory.stat now and under each kernel, usage and limit."""
    names = ["machine", "path"]
    for name in ("anon", "file_mapped"):
        names += [f"{name}_kib", *(f"{name}_kib_{flavour}" for flavour in FLAVOURS.values())]
    cells: list[list[Cell]] = [
        [
            visible(machine) or None,
            visible(group.path),
            *_statistic(group.anon),
            *_statistic(group.file_mapped),
            group.shmem_kib,
            group.limit_kib,
            group.current_kib,
        ]
        for machine, group in overview.cgroups
    ]
    return Table([*names, "shmem_kib", "limit_kib", "current_kib"], TEXTS, cells)


def _statistic(statistic: Statistic | None) -> Iterator[Cell]:
    yield statistic.now_kib if statistic else None
    yield from (statistic.under[name] if statistic else None for name in FLAVOURS)


TABLES: Mapping[str, Callable[[Overview, Sequence[Row]], Table]] = {
    "processes": process_table,
    "folios": folio_table,
    "cgroups": cgroup_table,
}
"""What can be written."""
