"""An audit on one screen, to be looked at again and again: the summary, and as many processes as fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from mapcount.audit.overview import Overview, Row
from mapcount.report.audit_summary import draw_folios, draw_head, draw_summary
from mapcount.report.audit_tables import process_table, room_in
from mapcount.report.words import count
from mapcount.scenario.syntax import visible

LINES_BESIDES = 3
"""A blank one, the table's heading, and how many processes more there are."""


class Brief:
    """Renders to no more lines than a terminal has."""

    def __init__(self, overview: Overview, rows: Sequence[Row], *, when: str, limit: int = 0) -> None:
        """`rows`: the processes to list, of which at most `limit` are (0: as many as fit)."""
        self._overview, self._rows, self._when, self._limit = overview, rows, when, limit

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The summary first: it stays where a terminal has too few lines for all of it."""
        room = room_in(options.max_width)
        summary = list(self._summary(room.gap))
        yield from summary
        flowing = options.update(height=None)
        used = sum(len(console.render_lines(part, flowing, pad=False)) for part in summary)
        shown = max(0, console.height - used - LINES_BESIDES)
        shown = min(shown, self._limit or shown, len(self._rows))
        if shown:
            yield Text()
            yield process_table(self._rows[:shown], room)
        if shown < len(self._rows):
            yield Text(f"{count(len(self._rows) - shown)} more")

    def _summary(self, gap: int) -> Iterator[RenderableType]:
        overview = self._overview
        machine, read = draw_head(overview)
        yield Text.assemble(self._when, "  ", machine)
        if reasons := {visible(who.reason) for audit in overview.audits for who in audit.unreadable}:
            read.append(f" ({'; '.join(sorted(reasons))})")
        yield read
        if overview.predicted:
            yield from draw_summary(overview, gap)
        else:
            yield from draw_folios(overview)
