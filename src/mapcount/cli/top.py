"""`mapcount top`: the audit as a full-screen view."""

from __future__ import annotations

import math
import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mapcount.cli import CANNOT, USAGE
from mapcount.cli.ending import end
from mapcount.cli.selecting import selection_of, selection_options

if TYPE_CHECKING:
    from mapcount.live.snapshot import Source

SORT = ("change", "mistaken", "rss", "pss", "uss", "pss-change", "uss-change", "name", "pid")


@click.command(
    epilog="\b\nExamples:\n"
    "  mapcount top\n"
    "  mapcount top --comm postgres --sort mistaken\n"
    "  mapcount top --from captures/demo.capture"
)
@selection_options
@click.option("--from", "path", metavar="CAPTURE", help="Look through a capture instead of this machine.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.5, max=86400),
    metavar="SECONDS",
    help="Read no more often than this; 2 unless said. Less often, if reading costs much.",
)
@click.option(
    "--sort", type=click.Choice(SORT), default="change", show_default=True, help="The processes' order."
)
def top(
    pids: tuple[int, ...],
    cgroups: tuple[str, ...],
    comms: tuple[str, ...],
    everything: bool,
    path: str | None,
    interval: float | None,
    sort: str,
) -> None:
    """Watch a machine: what changes on kernels without per-page mapcounts, and where this one is mistaken.

    The audit as a full-screen view that keeps itself up to date: every process unless some are chosen, sorted
    and filtered, each to be opened into its regions and their folios. Reading takes at most about 5 % of one
    core: the more there is to read, the less often. Only reads, and stops no process. Root sees everything.

    Needs a terminal; elsewhere, use `mapcount audit --watch`.
    """
    from mapcount.live.capture_format import CaptureError
    from mapcount.live.selection import NothingSelected, Selection, check_numbers, select
    from mapcount.live.snapshot import CannotHere
    from mapcount.scenario.syntax import visible

    if path and interval is not None:
        raise click.UsageError("a capture does not change: leave --interval or --from out")
    if interval is not None and math.isnan(interval):
        raise click.UsageError("--interval takes a number of seconds")
    some = bool(pids or cgroups or comms)
    selection = selection_of(pids, cgroups, comms, everything=everything) if some else Selection()
    _check_terminal(path)
    error: Exception | None = None
    try:
        with ExitStack() as opened:
            source = _source(path, opened)
            check_numbers([source], selection)
            if not select(source, selection).pids:
                raise NothingSelected("no process fits what was asked for")
            error = _show(source, selection, live=path is None, interval=interval or 2.0, sort=sort)
    except (CaptureError, ValueError, CannotHere, OSError) as refused:
        error = refused
    if isinstance(error, (CaptureError, ValueError)):
        end(visible(str(error)), USAGE)
    if isinstance(error, CannotHere):
        end(visible(str(error)), CANNOT)
    if isinstance(error, OSError):
        end(f"{visible(str(error.filename or 'this machine'))}: {error.strerror}", CANNOT)
    if error:
        raise error


def _check_terminal(path: str | None) -> None:
    """Raises UsageError where there is no screen to draw on."""
    instead = f"mapcount audit --from {path}" if path else "mapcount audit --watch SECONDS"
    streams = {"input": sys.stdin, "output": sys.stdout, "error": sys.stderr}
    for name, stream in streams.items():
        if not (stream and stream.isatty()):
            raise click.UsageError(f"top needs a terminal, and standard {name} is none; there: {instead}")
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise click.UsageError(f"this terminal cannot move its cursor, by what TERM says; there: {instead}")


def _source(path: str | None, opened: ExitStack) -> Source:
    from mapcount.live.capture_source import CaptureSource
    from mapcount.live.live_source import open_live_source

    return CaptureSource(Path(path)) if path else opened.enter_context(open_live_source())


def _show(source: Source, selection: object, *, live: bool, interval: float, sort: str) -> Exception | None:
    from mapcount.live.live_source import PROC
    from mapcount.live.rollup import read_rollup
    from mapcount.live.selection import Selection
    from mapcount.report.top.app import Top

    assert isinstance(selection, Selection)
    rollup = partial(read_rollup, PROC) if live else None
    app = Top(source, selection, rollup=rollup, interval=interval, sort=sort)
    error = app.run()
    app.reader.end()
    if not error and app.return_code:
        sys.exit(app.return_code)
    return error
