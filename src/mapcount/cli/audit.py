"""`mapcount audit`: what user space would see on other kernels, and where this one is mistaken."""

from __future__ import annotations

import math
import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mapcount.cli import CANNOT, INTERRUPTED, USAGE
from mapcount.cli.audit_output import Output, watch_on
from mapcount.cli.ending import end, show_progress
from mapcount.cli.selecting import selection_of, selection_options

if TYPE_CHECKING:
    from mapcount.live.snapshot import Source

SORT = ("change", "pss-change", "uss-change", "rss", "pss", "uss", "mistaken", "copied", "name", "pid")
TABLES = ("processes", "folios", "cgroups")


@click.command(
    epilog="\b\nExamples:\n"
    "  mapcount audit --all\n"
    "  mapcount audit --comm postgres --sort mistaken\n"
    "  mapcount audit --from captures/demo.capture\n"
    "  mapcount audit --from web1.capture --from web2.capture -o fleet.parquet"
)
@selection_options
@click.option(
    "--from",
    "captures",
    multiple=True,
    metavar="CAPTURE",
    help="Ask a capture instead of this machine; all of it, unless processes are chosen. May be repeated.",
)
@click.option(
    "--sort", type=click.Choice(SORT), default="change", show_default=True, help="The processes' order."
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Rows of each table in the report; 0 is all. JSON and files have all.",
)
@click.option(
    "--min-change",
    type=click.IntRange(min=0),
    default=0,
    metavar="KIB",
    help="List only processes whose Pss or Uss changes by so many KiB.",
)
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1, max=86400),
    metavar="SECONDS",
    help="Again and again, until Ctrl-C or until every process asked for has exited. A terminal shows the "
    "summary and as many processes as fit; a pipe gets all of it each time.",
)
@click.option("--json", "as_json", is_flag=True, help="All of it for machines, as JSON; one line if watched.")
@click.option("-o", "target", metavar="FILE", help="Write a table as well: FILE.csv or FILE.parquet.")
@click.option("--table", type=click.Choice(TABLES), help="What -o writes: processes, unless said.")
@click.option("--html", "html", metavar="FILE", help="Write a page to look at instead of printing.")
@click.option("--force", is_flag=True, help="Let -o and --html replace a file.")
def audit(
    pids: tuple[int, ...],
    cgroups: tuple[str, ...],
    comms: tuple[str, ...],
    everything: bool,
    captures: tuple[str, ...],
    sort: str,
    limit: int,
    min_change: int,
    watch: float | None,
    as_json: bool,
    target: str | None,
    table: str | None,
    html: str | None,
    force: bool,
) -> None:
    """Ask a machine what changes on kernels without per-page mapcounts.

    For each process: Rss, Pss and Uss now and under the other kernels. For the machine and its control
    groups: AnonPages, Mapped, memory.stat. For large folios: who maps them, which of them the kernel
    mistakes for shared, and what that leads to. Only reads, and acts on no process. Root sees everything.

    An audit is a report, not a check: it exits with 0 whatever it finds. Exit 3: nothing could be
    predicted; what would make it possible is said.
    """
    from mapcount.audit.asking import ask, ask_again
    from mapcount.live.capture_format import CaptureError
    from mapcount.live.ending import signals_raise
    from mapcount.live.selection import Selection, check_numbers
    from mapcount.live.snapshot import CannotHere
    from mapcount.scenario.syntax import visible

    if captures and watch:
        raise click.UsageError("a capture does not change: leave --watch or --from out")
    if watch is not None and math.isnan(watch):
        raise click.UsageError("--watch takes a number of seconds")
    if (table and not target) or (force and not target and not html):
        raise click.UsageError("--table and --force are about a file: say -o FILE, or leave them out")
    if html and watch:
        raise click.UsageError("a page shows one moment: leave --watch or --html out")
    chosen = pids or cgroups or comms or everything or not captures
    selection = selection_of(pids, cgroups, comms, everything=everything) if chosen else Selection()
    path = Path(target) if target else None
    output = Output(sort, limit, min_change, as_json, bool(watch), path, table or "processes", html, force)
    try:
        output.check()
        with signals_raise(), ExitStack() as opened:
            sources = [_capture(path) for path in captures] or [opened.enter_context(_this_machine())]
            check_numbers(sources, selection)
            overview = ask(sources, selection, lambda what, done, of: show_progress(done, of, what))
            if watch:
                watch_on(output, overview, lambda: ask_again(sources, selection), watch)
                end("every process that was watched has exited", 0)
            output.show(overview)
    except (CaptureError, ValueError) as error:
        end(visible(str(error)), USAGE)
    except CannotHere as error:
        end(visible(str(error)), CANNOT)
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"{visible(str(error.filename or 'standard output'))}: {error.strerror}"
        end(message, USAGE if isinstance(error, FileExistsError) else CANNOT)
    except KeyboardInterrupt:
        sys.exit(0 if watch else INTERRUPTED)
    if not overview.predicted:
        end("nothing could be predicted" if overview.rows else "no process could be read", CANNOT)


def _this_machine() -> AbstractContextManager[Source]:
    from mapcount.live.live_source import open_live_source

    return open_live_source()


def _capture(path: str) -> Source:
    from mapcount.live.capture_source import CaptureSource

    return CaptureSource(Path(path))
