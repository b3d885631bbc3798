"""`mapcount compare`: schemes side by side on one trace."""

from __future__ import annotations

import json
import sys

import click

from mapcount.cli import CANNOT, USAGE

DEFAULT = ("two-slots", "one-slot", "n-slots:4", "first-page", "per-page", "exact", "two-slots+reset:16")


@click.command(
    epilog="Example: mapcount compare prefork.trace --scheme two-slots --scheme n-slots:4 --scheme exact"
)
@click.argument("trace", metavar="NAME.trace")
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    default=DEFAULT,
    metavar="NAME",
    help="A scheme: two-slots, one-slot, n-slots:K, first-page, per-page, exact, two-slots+reset:R (a walk "
    "over the page tables after every R events of a folio), or yours, FILE.py:CLASS. Again for more; unless "
    "said, all that come with mapcount.",
)
@click.option("--detail", is_flag=True, help="Each scheme by folio size and by phase of the workload.")
@click.option("--threads", type=click.IntRange(1, 1024), help="How many cores to use; unless said, all.")
@click.option(
    "--json", "as_json", is_flag=True, help="All of it for machines, with the data of a Pareto chart."
)
def compare(trace: str, schemes: tuple[str, ...], detail: bool, threads: int | None, as_json: bool) -> None:
    """Compare ways to answer "is this folio shared?" on one trace.

    For each scheme: bytes of state per large folio, counters changed and locked updates per event, for which
    share of the events and of folio-time it was wrong, and how many pages a sole owner would have copied in
    place of reusing them.
    """
    from mapcount.replay.compare import compare as compare_on
    from mapcount.replay.reader import Trace
    from mapcount.replay.trace import TraceError
    from mapcount.report.compare import comparison_as_data, draw_comparison
    from mapcount.schemes.registry import find
    from mapcount.schemes.scheme import SchemeError

    try:
        found = compare_on(Trace(trace), [find(word) for word in dict.fromkeys(schemes)], threads=threads)
    except (TraceError, SchemeError) as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    except MemoryError:
        click.echo("this machine has too little memory for these schemes on this trace", err=True)
        sys.exit(CANNOT)
    if as_json:
        click.echo(json.dumps(comparison_as_data(found), indent=1))
    else:
        click.echo("\n".join(draw_comparison(found, every=detail)))
