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
from mapcount.report.audit_tables import cgroup_table, columns, folio_table, machine_table, process_table
from mapcount.report.capture import draw_unreadable
from mapcount.report.words import about, count, plural, signed_about
from mapcount.scenario.syntax import visible
from mapcount.tracking.flavour import TOTAL_MAPPED_PAGES

WIDE = 100
"""From so many columns on, tables have room for what would be, besides by how much it differs."""

WHY = {
    False: (
        "a page counts as its folio does on average",
        "a page is private if its folio is",
        "whole folios",
    ),
    True: ("each page has its own count", "a page is private if it is mapped once", "mapped pages alone"),
}
"""Why Pss, Uss and statistics differ under kernels without and with per-page counts."""


def draw_audit(
    overview: Overview, rows: Sequence[Row], *, limit: int = 20, width: int = WIDE
) -> Iterator[RenderableType]:
    """Everything worth reading. `rows`: the processes to list, of which at most `limit` are (0: all)."""
    most = limit or sys.maxsize
    yield from _head(overview)
    if overview.predicted:
        yield Text()
        yield from _summary(overview)
    yield from draw_reservations(overview)
    if len(overview.audits) > 1:
        yield from _section("Machines", machine_table(overview, most, wide=width >= WIDE))
    if rows:
        table = process_table(overview, rows[:most], wide=width >= WIDE)
        yield from _section(_of("Processes", len(rows), most), table)
    elif overview.rows:
        yield Text("\nNo process changes by so much.")
    if overview.folios:
        yield from _section("Large folios by size; each once", folio_table(overview.folios))
        yield from _mistakes(overview)
    yield from _cgroups(overview, most, wide=width >= WIDE)
    yield from _unreadable(overview)


def _section(title: str, table: RenderableType) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, "bold")
    yield table


def _of(title: str, number: int, most: int) -> str:
    return f"{title} (the first {most} of {number}; --limit 0 shows all)" if number > most else title


def _head(overview: Overview) -> Iterator[Text]:
    """Which machines, running which kernels, and how much was read of them."""
    audits = overview.audits
    if len(audits) == 1:
        machine = audits[0].machine
        name = Text.assemble((visible(audits[0].name), "bold"))
        name.append(f": Linux {visible(machine.release)}, {machine.flavour}")
        yield name
    else:
        yield Text(plural(len(audits), "machine"), "bold")
    unreadable = sum(len(audit.unreadable) for audit in audits)
    more = f", {unreadable} could not be read" if unreadable else ""
    yield Text(f"{plural(len(overview.rows), 'process', 'processes')} read{more}")


# -- summary --------------------------------------------------------------------------------------------


def _summary(overview: Overview) -> Iterator[RenderableType]:
    """What changes for this machine: a row for each number, then what is to be known besides."""
    then, rows, now = overview.then, overview.rows, overview.now
    under = overview.under(then)
    moving = any(row.process.estimated for row in rows)
    at_best = any(row.process.guessed_kib for row in rows)
    table = columns("", "now", f"under {then}", "change", "")
    table.add_row("Rss", about(now.rss_kib), about(now.rss_kib), "none", "never asks who else maps a page")
    pss, uss, counts = WHY[then.page_mapcounts]
    for name, before, after, changed, mark, reason in (
        ("Pss", now.pss_kib, under.pss_kib, sum(row.pss_change != 0 for row in rows), moving, pss),
        ("Uss", now.uss_kib, under.uss_kib, sum(row.uss_change != 0 for row in rows), moving or at_best, uss),
    ):
        words = f"{plural(changed, 'process', 'processes')}: {reason}" if changed else ""
        table.add_row(name, about(before), *_change(before, after, "~" * mark), words)
    for name, statistic in overview.meminfo.items():
        before, after = statistic.now_kib, statistic.under[then.name]
        cells = _change(before, after, *("", "") if overview.complete else ("at least ", " seen"))
        table.add_row(name, about(before), *cells, counts if after != before else "")
    yield table
    yield from _in_words(overview)


def _change(before: int, after: int, mark: str, seen: str = "") -> tuple[str, str]:
    """What would be, and by how much that differs."""
    return about(after), f"{mark}{signed_about(after - before)}" if after != before else f"none{seen}"


def _in_words(overview: Overview) -> Iterator[Text]:
    """Folios and mistakes in a sentence, and what does not change."""
    folios = sum(row.folios for row in overview.folios)
    if folios:
        yield from _folios_in_words(overview, folios)
    if not overview.then.page_mapcounts:
        yield Text(f"{TOTAL_MAPPED_PAGES}, the step after it, answers the same about these folios.")
    yield Text(
        "Limits and the OOM killer see no difference: control groups are charged whole folios on every "
        "kernel, the OOM killer goes by Rss. Shmem counts page cache, mapped or not."
    )


def _folios_in_words(overview: Overview, folios: int) -> Iterator[Text]:
    memory = sum(row.folios * row.kib for row in overview.folios)
    unknown = sum(row.not_judged for row in overview.folios)
    text = Text(f"{plural(folios, 'large folio')} ({about(memory)})")
    if mistaken := overview.mistakes.folios:
        owners = plural(sum(row.mistaken_kib > 0 for row in overview.rows), "process", "processes")
        text.append(f", {mistaken} of one process alone mistaken for shared", "bold red")
        text.append(f": {about(overview.mistaken_kib)} in {owners}", "bold red")
    elif not unknown:
        text.append("; the kernel is not mistaken about any of them")
    if unknown:
        text.append(f"; of {count(unknown)} it is not known whether the kernel is mistaken")
    yield text
    if wrong := sum(row.mistaken_for_exclusive for row in overview.folios):
        yield Text(f"{plural(wrong, 'shared folio')} mistaken for exclusive", "bold red")


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


def _cgroups(overview: Overview, most: int, *, wide: bool) -> Iterator[RenderableType]:
    """Control groups whose memory.stat changes."""
    name = overview.then.name
    changing = [(machine, group) for machine, group in overview.cgroups if group.change(name)]
    if changing:
        changing.sort(key=lambda pair: -pair[1].change(name))
        title = _of("Control groups whose memory.stat changes", len(changing), most)
        yield from _section(title, cgroup_table(overview, changing[:most], wide=wide))
    elif overview.cgroups and overview.predicted:
        yield Text()
        yield Text("No control group's memory.stat changes.")


def _unreadable(overview: Overview) -> Iterator[RenderableType]:
    for audit, machine in zip(overview.audits, overview.names, strict=True):
        lines = list(draw_unreadable(audit.unreadable))
        if lines:
            yield Text()
            yield from (Text(f"{visible(machine)}: {line}" if machine else line) for line in lines)
