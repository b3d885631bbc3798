"""The summary of an audit: which machines, what changes by how much, and what does not."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mapcount.audit.overview import Overview
from mapcount.report.words import about, count, plural, shortened, signed_about
from mapcount.scenario.syntax import visible
from mapcount.tracking.flavour import TOTAL_MAPPED_PAGES

MOST_RELEASE = 40
"""Columns of a kernel's release. Where it comes from a capture, it may be anything."""

WHY = {
    False: (
        "a page counts as its folio does on average",
        "a page is private if its folio is",
        "count whole folios",
    ),
    True: (
        "each page has its own count",
        "a page is private if it is mapped once",
        "count mapped pages alone",
    ),
}
"""Why Pss, Uss and statistics differ under kernels without and with per-page counts."""


def draw_head(overview: Overview) -> Iterator[Text]:
    """Which machines, running which kernels, and how much was read of them."""
    audits = overview.audits
    if len(audits) == 1:
        machine = audits[0].machine
        name = Text.assemble((visible(audits[0].name), "bold"))
        name.append(f": Linux {shortened(visible(machine.release), MOST_RELEASE)}, {machine.flavour}")
        yield name
    else:
        yield Text(plural(len(audits), "machine"), "bold")
    unreadable = sum(len(audit.unreadable) for audit in audits)
    more = f", {unreadable} could not be read" if unreadable else ""
    yield Text(f"{plural(len(overview.rows), 'process', 'processes')} read{more}")


def draw_summary(overview: Overview, gap: int = 2) -> Iterator[RenderableType]:
    """What changes: sums over the processes that were chosen, and what the kernel counts of all memory."""
    yield _numbers(overview, gap)
    yield from draw_folios(overview)


def draw_reasons(overview: Overview) -> Iterator[Text]:
    """Why it changes, and what does not change."""
    then, rows = overview.then, overview.rows
    pss, uss, statistics = WHY[then.page_mapcounts]
    for name, changing, reason in (
        ("Pss", sum(row.pss_change != 0 for row in rows), pss),
        ("Uss", sum(row.uss_change != 0 for row in rows), uss),
    ):
        if changing:
            yield Text(f"{name} changes in {plural(changing, 'process', 'processes')}: {reason}.")
    yield Text(f"Rss never asks who else maps a page. AnonPages and Mapped {statistics}.")
    if not then.page_mapcounts:
        yield Text(f"{TOTAL_MAPPED_PAGES}, the step after it, answers the same about these folios.")
    yield Text(
        "Limits and the OOM killer see no difference: control groups are charged whole folios on every "
        "kernel, the OOM killer goes by Rss. Shmem counts page cache, mapped or not."
    )


def draw_folios(overview: Overview) -> Iterator[Text]:
    """Large folios, and how many of them the kernel is mistaken about, in a sentence."""
    folios = sum(row.folios for row in overview.folios)
    if not folios:
        return
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


def _numbers(overview: Overview, gap: int) -> Table:
    """A row for each number, under what it is a number of."""
    then, rows, now = overview.then, overview.rows, overview.now
    under = overview.under(then)
    moving = any(row.process.estimated for row in rows)
    at_best = any(row.process.guessed_kib for row in rows)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    table.add_column("")
    for heading in ("now", f"under\n{then}", "change"):
        table.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
    table.add_row(f"sum of {plural(len(rows), 'process', 'processes')}")
    table.add_row("  Rss", about(now.rss_kib), about(now.rss_kib), "none")
    table.add_row("  Pss", about(now.pss_kib), *_change(now.pss_kib, under.pss_kib, "~" * moving))
    table.add_row(
        "  Uss", about(now.uss_kib), *_change(now.uss_kib, under.uss_kib, "~" * (moving or at_best))
    )
    machines = len(overview.audits)
    table.add_row(f"{f'{machines} whole machines' if machines > 1 else 'whole machine'} (meminfo)")
    for name, statistic in overview.meminfo.items():
        before, after = statistic.now_kib, statistic.under[then.name]
        cells = _change(before, after, *("", "") if overview.complete else ("at least ", " seen"))
        table.add_row(f"  {name}", about(before), *cells)
    return table


def _change(before: int, after: int, mark: str, seen: str = "") -> tuple[str, str]:
    """What would be, and by how much that differs."""
    return about(after), f"{mark}{signed_about(after - before)}" if after != before else f"none{seen}"
