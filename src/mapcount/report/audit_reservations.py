"""What of an audit is inexact or missing: one line for each reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from mapcount.audit.machine import Audit
from mapcount.audit.overview import Overview
from mapcount.report.words import about, plural
from mapcount.scenario.syntax import visible


def draw_reservations(overview: Overview) -> Iterator[Text]:
    """One line for each reason why something is inexact or missing."""
    moving = [row.process for row in overview.rows if row.process.off_kib]
    if moving:
        worst = about(max(process.off_kib for process in moving))
        yield Text(
            f"~ {plural(len(moving), 'process', 'processes')} moved while being read: pages and smaps differ "
            f"by up to {worst}. What is said of them is smaps, and the difference that these pages make.",
            "yellow",
        )
    miscounted = sum(row.process.miscounted for row in overview.rows)
    if miscounted:
        yield Text(
            "~ Page tables of everybody do not add up to what the kernel counts for "
            f"{plural(miscounted, 'folio')}: what is said of their pages is an estimate.",
            "yellow",
        )
    guessed = sum(row.process.guessed_kib for row in overview.rows)
    if guessed:
        yield Text(
            f"~ Uss under {overview.then} is at best; it may be lower by up to {about(guessed)}, because "
            "it could not be read which large folios the kernel believes to be shared.",
            "yellow",
        )
    if overview.predicted and not overview.complete:
        yield Text(f"at least: {_why_at_least(overview.audits)}", "yellow")
    for audit, name in zip(overview.audits, overview.names, strict=True):
        where = f"{visible(name)}: " if name else ""
        if audit.itself is not None:
            yield Text(f"{where}left out: mapcount itself, which did the reading (process {audit.itself})")
        for limit in audit.machine.limits:
            yield Text(f"{where}{visible(limit)}", "yellow")


def _why_at_least(audits: Sequence[Audit]) -> str:
    unseen = sum(len(audit.unseen) for audit in audits)
    reasons = {
        "folios of other processes are not in it": not all(audit.whole for audit in audits),
        "nor those of processes that could not be read": any(audit.unreadable for audit in audits),
        f"page tables of {plural(unseen, 'process', 'processes')} could not be read": unseen > 0,
        "of some folios it is not known how much is mapped": any(audit.partly_unknown for audit in audits),
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds)
