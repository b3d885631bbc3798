"""The list of processes: its columns, and what it can be sorted by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mapcount.report.top.listing import Cell, Column, Listing
from mapcount.report.top.watch import Line
from mapcount.report.words import about, signed_about
from mapcount.scenario.syntax import visible

ORDERS: Mapping[str, Callable[[Line], Any]] = {
    "change": lambda line: (-line.change, -line.now.rss_kib, line.pid),
    "mistaken": lambda line: (-line.mistaken_kib, -line.change, line.pid),
    "rss": lambda line: (-line.now.rss_kib, line.pid),
    "pss": lambda line: (-line.now.pss_kib, line.pid),
    "uss": lambda line: (-line.now.uss_kib, line.pid),
    "pss-change": lambda line: (-abs(line.row.pss_change) if line.row else 0, line.pid),
    "uss-change": lambda line: (-abs(line.row.uss_change) if line.row else 0, line.pid),
    "name": lambda line: (line.comm, line.pid),
    "pid": lambda line: line.pid,
}
"""What processes can be sorted by: sizes largest first, the rest from small to large."""


def process_listing(clock: Callable[[], float] | None, sort: str = "") -> Listing[Line]:
    """An empty list. `clock` says what time it is, for the age of each prediction; None: of a capture."""
    columns: list[Column[Line]] = [
        Column("pid", 7, lambda line: str(line.pid), "pid"),
        Column("name", 15, lambda line: visible(line.comm), "name", left=True, most=18),
        Column("Rss", 5, lambda line: about(line.now.rss_kib), "rss"),
        Column("Pss", 5, lambda line: about(line.now.pss_kib), "pss"),
        Column("then", 5, lambda line: about(line.then.pss_kib) if line.then else "?", leave_out=2),
        Column("change", 7, _pss_change, "pss-change"),
        Column("Uss", 5, lambda line: about(line.now.uss_kib), "uss"),
        Column("then", 5, lambda line: about(line.then.uss_kib) if line.then else "?", leave_out=2),
        Column("change", 7, _uss_change, "uss-change"),
        Column("mistaken", 8, _mistaken, "mistaken"),
        *([Column("age", 4, lambda line: _age(line, clock()), leave_out=1)] if clock else []),
        Column("cgroup", 12, lambda line: visible(line.cgroup), left=True, tail=True, most=60, leave_out=4),
    ]
    return Listing(columns, ORDERS, lambda line: line.pid, _words, sort)


def age(seconds: float) -> str:
    """How long ago, in at most four characters: `0s`, `59s`, `59m`, `23h`, `99d`."""
    whole = max(0, int(seconds))
    for unit, length, most in (("s", 1, 100), ("m", 60, 100), ("h", 3600, 48)):
        if whole < most * length:
            return f"{whole // length}{unit}"
    return f"{min(whole // 86400, 999)}d"


def _age(line: Line, now: float) -> str:
    return "" if line.read_at is None else age(now - line.read_at)


def _pss_change(line: Line) -> str:
    row = line.predicted
    return f"{'~' * row.process.estimated}{signed_about(row.pss_change)}" if row else "?"


def _uss_change(line: Line) -> str:
    row = line.predicted
    if row is None:
        return "?"
    inexact = row.process.estimated or row.process.guessed_kib > 0
    return f"{'~' * inexact}{signed_about(row.uss_change)}"


def _mistaken(line: Line) -> Cell:
    row = line.predicted
    return Cell(about(row.mistaken_kib), bad=row.mistaken_kib > 0) if row else Cell("?")


def _words(line: Line) -> str:
    return f"{line.pid} {visible(line.comm)} {visible(line.cgroup)}"
