"""`mapcount compare`: schemes side by side on one trace."""

from __future__ import annotations

import click

from mapcount.cli.html_file import check_html, write_html
from mapcount.cli.traces import compared, show, told_errors, worker_options

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
@worker_options
@click.option(
    "--json", "as_json", is_flag=True, help="All of it for machines, with the data of a Pareto chart."
)
@click.option("--html", "html", metavar="FILE", help="Write a page to look at, with the charts, instead.")
@click.option("--force", is_flag=True, help="Replace what is at FILE.")
def compare(
    trace: str,
    schemes: tuple[str, ...],
    detail: bool,
    threads: int | None,
    dask: str | None,
    scratch: str | None,
    as_json: bool,
    html: str | None,
    force: bool,
) -> None:
    """Compare ways to answer "is this folio shared?" on one trace.

    For each scheme: bytes of state per large folio, counters changed and locked updates per event, for which
    share of the events and of folio-time it was wrong, and how many pages a sole owner would have copied in
    place of reusing them.
    """
    check_html(html, force=force)
    with told_errors():
        found = compared(trace, list(dict.fromkeys(schemes)), threads, dask, scratch)
    if html is not None:
        from mapcount.report.html.compare_page import compare_page

        write_html(html, compare_page(found), force=force)
    if as_json or html is None:
        show(found, every=detail, as_json=as_json)
