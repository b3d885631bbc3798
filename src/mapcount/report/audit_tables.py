"""The tables of an audit: machines, processes, large folios, control groups."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mapcount.audit.census import FolioSize
from mapcount.audit.overview import Overview, Row
from mapcount.audit.statistics import AuditedCgroup, Statistic
from mapcount.report.words import about, count, signed_about, size
from mapcount.scenario.syntax import visible

MOST_NAME = 18
"""Columns that a process's name may fill: it has 15 bytes, but some need four columns to be shown."""
MOST_MACHINE = {True: 18, False: 8}
MOST_PATH = {True: 34, False: 24}
"""Columns of a machine's name, and of a control group's path, whose end tells most: wide and narrow."""


def columns(*headings: str, left: int = 1, gap: int = 2) -> Table:
    """A table without lines. The first `left` columns are words, so is one without a heading; it may wrap."""
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=any(headings))
    for i, heading in enumerate(headings):
        words = i < left or heading == ""
        table.add_column(heading, justify="left" if words else "right", no_wrap=not words or i == 0)
    return table


def machine_table(overview: Overview, most: int, *, wide: bool) -> Table:
    """Several machines: what changes on each."""
    then = overview.then.name
    headings = ("processes", "Pss", "change", "Uss", "change", "AnonPages", "mistaken")
    table = columns("machine", *["kernel"] * wide, *headings, left=1 + wide)
    for name, audit in list(zip(overview.names, overview.audits, strict=True))[:most]:
        rows = [row for row in overview.rows if row.machine == name]
        anon = audit.meminfo.get("AnonPages")
        table.add_row(
            _tail(visible(name), MOST_MACHINE[wide]),
            *[_clipped(visible(audit.machine.release), MOST_NAME)] * wide,
            count(len(rows)),
            about(sum(row.process.now.pss_kib for row in rows)),
            signed_about(sum(row.pss_change for row in rows)),
            about(sum(row.process.now.uss_kib for row in rows)),
            signed_about(sum(row.uss_change for row in rows)),
            _seen(anon, then, complete=audit.complete) if anon else "?",
            about(sum(row.mistaken_kib for row in rows)),
        )
    return table


def process_table(overview: Overview, rows: Sequence[Row], *, wide: bool) -> Table:
    """Processes: memory now and then."""
    then = ["then"] * wide
    table = columns("pid", "name", "Rss", "Pss", *then, "change", "Uss", *then, "change", "mistaken", left=2)
    for row in rows:
        process, now = row.process, row.process.now
        machine = f"{_tail(visible(row.machine), MOST_MACHINE[wide])}:" if row.machine else ""
        moving = "~" * process.estimated
        at_best = moving or "~" * (process.guessed_kib > 0)
        pss_then, uss_then = (row.then.pss_kib, row.then.uss_kib) if row.then else (None, None)
        pss = _now_and_then(now.pss_kib, pss_then, moving, wide=wide)
        uss = _now_and_then(now.uss_kib, uss_then, at_best, wide=wide)
        mistaken = Text(about(row.mistaken_kib) if row.then else "?", "bold red" if row.mistaken_kib else "")
        name = _clipped(visible(process.comm), MOST_NAME)
        table.add_row(f"{machine}{process.pid}", name, about(now.rss_kib), *pss, *uss, mistaken)
    return table


def _now_and_then(now: int, then: int | None, mark: str, *, wide: bool) -> list[str]:
    """Cells: now, what would be, by how much that differs."""
    if then is None:
        return [about(now), *["?"] * wide, "?"]
    return [about(now), *[about(then)] * wide, f"{mark}{signed_about(then - now)}"]


def folio_table(sizes: Sequence[FolioSize]) -> Table:
    """Large folios by kind and size; each once, however many processes map it."""
    headings = ("folios", "memory", "PMD", "PTE", "both", "partly", "exclusive", "shared", "mistaken")
    table = columns("size", "kind", *headings, left=2, gap=1)
    for row in sizes:
        unknown = "?" * (row.not_judged > 0)
        mistaken = unknown if row.not_judged == row.folios else count(row.mistaken_for_shared) + unknown
        table.add_row(
            size(row.kib),
            row.kind,
            count(row.folios),
            about(row.folios * row.kib),
            count(row.by_pmd),
            count(row.by_pte),
            count(row.by_both),
            count(row.partly_mapped),
            count(row.exclusive),
            count(row.shared),
            Text(mistaken, "bold red" if row.mistaken_for_shared else ""),
        )
    return table


def cgroup_table(overview: Overview, groups: Sequence[tuple[str, AuditedCgroup]], *, wide: bool) -> Table:
    """Control groups: memory.stat now and then, and what stays: usage and limit."""
    then = overview.then.name
    headings = [
        "control group",
        "anon",
        "change",
        "file_mapped",
        "change",
        *["shmem"] * wide,
        "usage",
        "limit",
    ]
    table = columns(*headings)
    most = MOST_PATH[wide]
    for machine, group in groups:
        path = visible(f"{machine}:{group.path}" if machine else group.path)
        table.add_row(
            _tail(path, most),
            *_statistic(group.anon, then),
            *_statistic(group.file_mapped, then),
            *[_known(group.shmem_kib)] * wide,
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


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
