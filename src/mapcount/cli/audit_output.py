"""Where `mapcount audit` puts what it found: text, JSON, a table in a file, a screen that is refreshed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mapcount.cli.html_file import check_html, write_html
from mapcount.cli.terminal import console

if TYPE_CHECKING:
    from mapcount.audit.overview import Overview
    from mapcount.report.audit_brief import Brief


@dataclass(frozen=True, slots=True)
class Output:
    """Where audits go, and in which form."""

    sort: str
    limit: int
    min_change: int
    as_json: bool
    watched: bool
    target: Path | None
    table: str
    html: str | None
    force: bool

    def check(self) -> None:
        """Raises ValueError or FileExistsError if the table could not be written, UsageError for the page."""
        check_html(self.html, force=self.force)
        if self.target:
            from mapcount.report.table_file import check_target

            check_target(self.target, force=self.force)

    def show(self, overview: Overview) -> None:
        """Print an audit, or write its page, and write the table."""
        rows = overview.chosen(self.sort, self.min_change)
        if self.as_json:
            from mapcount.report.audit_data import audit_as_data

            click.echo(json.dumps(audit_as_data(overview, rows), indent=None if self.watched else 1))
        elif self.html is None:
            from mapcount.report.audit import draw_audit

            out = console()
            if self.watched:
                out.print(_now())
            out.print(*draw_audit(overview, rows, limit=self.limit, width=out.width), sep="\n")
            if self.watched:
                out.print()
        if self.html is not None:
            from mapcount.report.html.audit_page import audit_page

            write_html(self.html, audit_page(overview, rows), force=self.force)
        if message := self.write(overview):
            click.echo(message, err=True)

    def write(self, overview: Overview) -> str:
        """Write the table, if one was asked for; what to say of it."""
        if self.target is None:
            return ""
        from mapcount.report.audit_files import TABLES as WRITERS
        from mapcount.report.table_file import write_table
        from mapcount.report.words import plural

        table = WRITERS[self.table](overview, overview.chosen(self.sort, self.min_change))
        write_table(self.target, table, force=self.force)
        return f"wrote {self.target}: {plural(len(table.rows), 'row')}"

    def brief(self, overview: Overview) -> Brief:
        """An audit for one screen."""
        from mapcount.report.audit_brief import Brief

        return Brief(overview, overview.chosen(self.sort, self.min_change), when=_now(), limit=self.limit)


def watch_on(
    output: Output, overview: Overview, again: Callable[[], Overview | None], seconds: float
) -> None:
    """Show an audit, and every so many seconds the next one, until there is none.

    A terminal shows one screen, refreshed in place; what it showed last stays when it ends.
    """
    out = console()
    if output.as_json or not out.is_terminal or out.is_dumb_terminal:
        _in_a_row(output, overview, again, seconds)
        return
    from rich.live import Live

    shown = output.brief(overview)
    try:
        with Live(shown, console=out, screen=True, auto_refresh=False) as screen:
            found: Overview | None = overview
            while found:
                shown = output.brief(found)
                screen.update(shown, refresh=True)
                output.write(found)
                output = replace(output, force=True)
                time.sleep(seconds)
                found = again()
    finally:
        with suppress(OSError):  # the terminal may be gone, and that is why we are here
            out.print(shown)


def _in_a_row(
    output: Output, overview: Overview, again: Callable[[], Overview | None], seconds: float
) -> None:
    found: Overview | None = overview
    while found:
        output.show(found)
        output = replace(output, force=True)
        time.sleep(seconds)
        found = again()


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
