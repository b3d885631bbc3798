"""`mapcount bench`: what the running kernel costs."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import TYPE_CHECKING

import click

from mapcount.cli import CANNOT, FINDING, INTERRUPTED
from mapcount.cli.ending import OUT_OF_MEMORY, end, progress_bar
from mapcount.cli.html_file import check_html, write_html
from mapcount.cli.terminal import console

if TYPE_CHECKING:
    from mapcount.bench.measured import Measured

GIB = 1 << 20
"""In KiB."""


def _gib(ctx: click.Context, param: click.Parameter, value: float | None) -> int | None:
    """GiB as KiB."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("is not a number")
    return None if value is None else int(value * GIB)


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """`4K,64K,2M` as KiB."""
    if value is None:
        return None
    sizes = set()
    for word in value.split(","):
        found = re.fullmatch(r"([1-9]\d{0,5})([KM])", word.strip(), re.IGNORECASE)
        kib = int(found[1]) << (10 if found[2] in "mM" else 0) if found else 0
        if not 4 <= kib <= 2048 or kib & (kib - 1) or kib == 8:
            raise click.BadParameter(
                f"{word.strip()!r} is no size of anonymous folios: 4K, 16K, 32K, 64K ... 2M, with commas"
            )
        sizes.add(kib)
    return sorted(sizes)


@click.command(epilog="Example: mapcount bench munmap --size 4K,64K,2M --set-thp")
@click.argument("benchmark", metavar="fork|munmap|cow", type=click.Choice(["fork", "munmap", "cow"]))
@click.option(
    "--gib",
    "size_kib",
    type=click.FloatRange(1 / 64, 16),
    callback=_gib,
    help="Memory to use, in GiB. Unless said: 1, or what there is room for. `cow` needs twice as much.",
)
@click.option("--runs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Times to measure.")
@click.option(
    "--size",
    "sizes",
    metavar="4K,64K,2M",
    callback=_sizes,
    help="Folio sizes to measure, with commas. Unless said: 4K and all others, as far as they are enabled.",
)
@click.option(
    "--set-thp",
    is_flag=True,
    help="Write /sys/kernel/mm/transparent_hugepage/hugepages-*/enabled so that each size is used in its "
    "turn; what was there is put back at the end, even if all of this is killed.",
)
@click.option("--json", "as_json", is_flag=True, help="All of it for machines, with every sample, as JSON.")
@click.option("--html", "html", metavar="FILE", help="Write a page to look at, with charts, instead.")
@click.option("--force", is_flag=True, help="Replace what is at FILE.")
def bench(
    benchmark: str,
    size_kib: int | None,
    runs: int,
    sizes: list[int] | None,
    set_thp: bool,
    as_json: bool,
    html: str | None,
    force: bool,
) -> None:
    """Measure what the running kernel costs per page, by folio size.

    fork: fork() of a process with N GiB of memory.

    munmap: munmap() of all there is, or while a parent keeps the memory; and a child's exit.

    cow: writing after a fork, when the only child has exited (pages are reused), when the kernel mistakes the
    memory of the last of three processes for shared (pages are copied), and when it is shared.

    Beside the times stand the counter updates that the simulated kernel needs, with per-page counts and
    without, and published figures; how to read them: docs/bench.md. Only processes started here are touched,
    and only their own memory.

    Exit 1: other pages were copied on write than the simulated kernel copies.
    """
    from mapcount.conform.director import AgentLost
    from mapcount.live.ending import signals_raise
    from mapcount.live.snapshot import CannotHere, Unreadable
    from mapcount.scenario.syntax import visible

    check_html(html, force=force)
    try:
        with signals_raise():
            measured = _measure(benchmark, size_kib, runs, sizes, set_thp=set_thp)
    except (CannotHere, Unreadable, AgentLost, OSError, MemoryError) as error:
        end(f"mapcount bench: {visible(str(error) or OUT_OF_MEMORY)}", CANNOT)
    except KeyboardInterrupt:
        end("interrupted", INTERRUPTED)
    if html is not None:
        from mapcount.report.html.bench_page import bench_page

        write_html(html, bench_page(measured), force=force)
    if as_json:
        from mapcount.report.bench_data import bench_as_data

        click.echo(json.dumps(bench_as_data(measured), indent=1))
    elif html is None:
        _print(measured)
    if measured.deviations:
        sys.exit(FINDING)


def _measure(
    benchmark: str, size_kib: int | None, runs: int, sizes: list[int] | None, *, set_thp: bool
) -> Measured:
    from mapcount.bench.forms import choose
    from mapcount.bench.measure import Bench, check_machine
    from mapcount.bench.room import room_for
    from mapcount.live.live_source import open_live_source
    from mapcount.live.snapshot import CannotHere
    from mapcount.live.thp import read_thp, thp_settings

    with (
        open_live_source(struct_folio=False) as source,
        thp_settings(
            waiting=lambda: click.echo("waiting for another measurement to end", err=True)
        ) as session,
    ):
        check_machine(source)
        room = room_for(benchmark, size_kib)
        thp = read_thp()
        forms, left_out = choose(sizes, thp, may_write=set_thp)
        if not forms:
            wanted = "; ".join(f"{path} = {value}" for out in left_out for path, value in out.writes.items())
            raise CannotHere(f"none of these sizes is enabled; --set-thp would write {wanted}")
        with progress_bar("measuring") as told:
            return Bench(source, session, thp, room, runs, set_thp, told).run(benchmark, forms, left_out)


def _print(measured: Measured) -> None:
    from mapcount.report.bench import draw_bench

    out = console()
    out.print(*draw_bench(measured, width=out.width), sep="\n")
