"""What `mapcount replay` and `mapcount compare` have in common: options, errors, and who does the work."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mapcount.cli import CANNOT, USAGE

if TYPE_CHECKING:
    from mapcount.replay.compare import Comparison
    from mapcount.replay.distributed import Workers

MANY_OBJECTS = 1 << 20
Command = TypeVar("Command", bound=Callable[..., Any])


def worker_options(command: Command) -> Command:
    """Options that say who does the work."""
    for option in (
        click.option(
            "--scratch",
            metavar="DIR",
            help="Where Dask's workers exchange files: else beside the trace.",
        ),
        click.option(
            "--dask",
            metavar="ADDRESS",
            help="Let a Dask scheduler's workers do it; `local`: here.",
        ),
        click.option(
            "--threads", type=click.IntRange(1, 1024), help="How many cores to use; unless said, all."
        ),
    ):
        command = option(command)
    return command


@contextmanager
def told_errors() -> Iterator[None]:
    """Ends the program with a message and an exit code where a trace, a scheme or this machine fails."""
    # Loading Numba makes objects that live to the end. To look for garbage among them takes a sixth of the
    # start, and what comes after is arrays, which go without.
    threshold = gc.get_threshold()
    gc.set_threshold(MANY_OBJECTS)
    from mapcount.replay.trace import NoCluster, TraceError
    from mapcount.schemes.scheme import SchemeError

    try:
        yield
    except (TraceError, SchemeError) as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    except NoCluster as error:
        click.echo(str(error), err=True)
        sys.exit(CANNOT)
    except MemoryError:
        click.echo("too little memory here for these folios: with --dask, machines share them", err=True)
        sys.exit(CANNOT)
    finally:
        gc.set_threshold(*threshold)


def workers(address: str, scratch: str | None) -> Workers:
    """Dask's workers at an address, whose progress is shown on a terminal."""
    from mapcount.replay.distributed import Workers

    return Workers(address, _progress, scratch)


def _progress(what: str, done: int, tasks: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{what}: {done} of {tasks} tasks ", err=True, nl=done == tasks)


def compared(
    trace: str, words: Sequence[str], threads: int | None, dask: str | None, scratch: str | None
) -> Comparison:
    """Schemes side by side on a trace, here or on Dask's workers."""
    from mapcount.replay.reader import Trace
    from mapcount.schemes.registry import find

    if dask is not None:
        from mapcount.replay.distributed import compare_on

        return compare_on(workers(dask, scratch), Trace(trace), words)
    from mapcount.replay.compare import compare

    return compare(Trace(trace), [find(word) for word in words], threads=threads)


def show(comparison: Comparison, *, every: bool, as_json: bool) -> None:
    """Print a comparison."""
    from mapcount.report.compare import comparison_as_data, draw_comparison

    if as_json:
        click.echo(json.dumps(comparison_as_data(comparison), indent=1))
    else:
        click.echo("\n".join(draw_comparison(comparison, every=every)))
