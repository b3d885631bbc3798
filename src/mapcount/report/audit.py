"""An audit for people: what changes, for whom, where the kernel is mistaken, and what is not known.

The summary comes first. What is inexact is marked with `~` or "at least", and a line says why. Colour only
repeats what stands there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from mapcount.audit.overview import Overview, Row
from mapcount.report.audit_reservations import draw_reservations
from mapcount.report.audit_summary import draw_head, draw_reasons, draw_summary
from mapcount.report.audit_tables import (
    Room,
    cgroup_table,
    columns,
    folio_table,
    machine_table,
    process_table,
    room_in,
)
from mapcount.report.capture import draw_unreadable
from mapcount.report.words import about, plural
from mapcount.scenario.syntax import visible


def draw_audit(
    overview: Overview, rows: Sequence[Row], *, limit: int = 20, width: int = 100
) -> Iterator[RenderableType]:
    """Everything worth reading. `rows`: the processes to list, of which at most `limit` are (0: all)."""
    most, room = limit or sys.maxsize, room_in(width)
    yield from draw_head(overview)
    if overview.predicted:
        yield Text()
        yield from draw_summary(overview, gap=room.gap)
        yield from draw_reasons(overview)
    yield from draw_reservations(overview)
    if len(overview.audits) > 1:
        yield from _section("Machines", machine_table(overview, most, room))
    if rows:
        yield from _section(_of("Processes", len(rows), most), process_table(rows[:most], room))
    elif overview.rows:
        yield Text("\nNo process changes by so much.")
    if overview.folios:
        yield from _section("Large folios by size; each once", folio_table(overview.folios, room))
        yield from _mistakes(overview)
    yield from _cgroups(overview, most, room)
    yield from _unreadable(overview)


def _section(title: str, table: RenderableType) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, "bold")
    yield table


def _of(title: str, number: int, most: int) -> str:
    return f"{title} (the first {most} of {number}; --limit 0 shows all)" if number > most else title


# -- details --------------------------------------------------------------------------------------------


def _mistakes(overview: Overview) -> Iterator[RenderableType]:
    """What follows from folios mistaken for shared: a line for each part of the kernel that asks."""
    mistakes = overview.mistakes
    lines: dict[str, str] = {}
    if most := sum(row.process.mistakes.copied_at_most * row.page_kib for row in overview.rows):
        copied = sum(row.copied_kib for row in overview.rows)
        least, most_words = about(copied), about(most)
        bounds = least if least == most_words else f"at least {least}, at most {most_words}"
        lines["copy-on-write"] = f"{bounds} copied if every page is written, instead of reused"
    if mistakes.collapses:
        limits = sorted({audit.machine.max_ptes_shared for audit in overview.audits})
        lines["khugepaged"] = (
            f"{plural(mistakes.collapses, 'range')} of PMD size left alone: more than "
            f"{' or '.join(map(str, limits))} pages look shared"
        )
    advised = {"": mistakes.advice_always, " when a part of it is meant": mistakes.advice_partly}
    if skipped := [f"{plural(nr, 'folio')} skipped{when}" for when, nr in advised.items() if nr]:
        lines["MADV_COLD, _PAGEOUT, _FREE"] = ", ".join(skipped)
    if mistakes.folios:
        lines["mbind, migrate_pages"] = (
            f"{plural(mistakes.folios, 'folio')} not moved (without MPOL_MF_MOVE_ALL)"
        )
        table = columns("", "")
        for who, what in lines.items():
            table.add_row(who, what)
        yield from _section("What the mistakes lead to", table)


def _cgroups(overview: Overview, most: int, room: Room) -> Iterator[RenderableType]:
    """Control groups whose memory.stat changes."""
    name = overview.then.name
    changing = [(machine, group) for machine, group in overview.cgroups if group.change(name)]
    if changing:
        changing.sort(key=lambda pair: -pair[1].change(name))
        title = _of("Control groups whose memory.stat changes", len(changing), most)
        yield from _section(title, cgroup_table(overview, changing[:most], room))
    elif overview.cgroups and overview.predicted:
        yield Text()
        yield Text("No control group's memory.stat changes.")


def _unreadable(overview: Overview) -> Iterator[RenderableType]:
    for audit, machine in zip(overview.audits, overview.names, strict=True):
        lines = list(draw_unreadable(audit.unreadable))
        if lines:
            yield Text()
            yield from (Text(f"{visible(machine)}: {line}" if machine else line) for line in lines)
