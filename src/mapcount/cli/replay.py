"""`mapcount replay`: a trace of mapping events, replayed by the rules of one kernel."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mapcount.cli import FINDING
from mapcount.cli.traces import compared, show, told_errors, worker_options, workers
from mapcount.tracking.flavour import FLAVOURS

if TYPE_CHECKING:
    from mapcount.replay.result import Shard


@click.command(epilog="Example: mapcount replay --synthetic prefork --events 1000000 -o prefork.trace; "
               "mapcount replay prefork.trace --every-event")  # fmt: skip
@click.argument("trace", metavar="NAME.trace", required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write every folio's row there, as Parquet (or the synthetic trace).",
)
@click.option("--force", is_flag=True, help="Replace what is at FILE.")
@click.option("--flavour", type=click.Choice(list(FLAVOURS)), help="The kernel; unless said, the trace's.")
@click.option(
    "--bits", type=click.Choice(["64", "32"]), help="Width of the machine; unless said, the trace's."
)
@click.option(
    "--every-event",
    is_flag=True,
    help="Judge the kernel after every event: how often, and how long, is it wrong?",
)
@click.option(
    "--scheme",
    metavar="NAME",
    help="Judge this scheme, as `mapcount compare` does, not the kernel: two-slots, …, FILE.py:CLASS.",
)
@worker_options
@click.option(
    "--synthetic",
    metavar="KIND",
    help="Write a synthetic trace instead: fork-exec-storm, prefork, zygote, snapshot, "
    "shared-libraries or random.",
)
@click.option(
    "--events",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    help="Events of the synthetic trace.",
)
@click.option(
    "--folios",
    type=click.IntRange(16, 1 << 28),
    help="Folios of the synthetic trace; unless said, as KIND has them.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the synthetic trace."
)
@click.option("--json", "as_json", is_flag=True, help="The summary for machines, as JSON.")
def replay(
    trace: str | None,
    output: str | None,
    force: bool,
    flavour: str | None,
    bits: str | None,
    every_event: bool,
    scheme: str | None,
    threads: int | None,
    dask: str | None,
    scratch: str | None,
    synthetic: str | None,
    events: int,
    folios: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Replay a trace of mapping events: who maps each folio in the end, and does the kernel know it?

    Exit 1: the kernel called a folio exclusive that is shared, which its owner slots never should. Exit 2: a
    trace is damaged, or tells of an event that cannot be; the message names the row.
    """
    if (trace is None) == (synthetic is None):
        raise click.UsageError("give a trace to replay, or --synthetic KIND and -o NAME.trace to make one")
    if scheme is not None and (output or flavour or bits):
        raise click.UsageError("--scheme judges a scheme: it takes no -o, no --flavour and no --bits")
    with told_errors():
        if synthetic is not None:
            _synthesise(synthetic, output, events, folios, seed, force=force)
            return
        assert trace is not None
        if scheme is not None:
            show(compared(trace, [scheme], threads, dask, scratch), every=True, as_json=as_json)
            return
        if output is not None:
            from mapcount.replay.result import check_output

            check_output(Path(output), force=force)
        with _replayed(trace, flavour, bits, every_event, threads, dask, scratch) as shards:
            wrong = _report(shards, output, every=every_event, as_json=as_json)
    if wrong:
        sys.exit(FINDING)


def _synthesise(
    kind: str, output: str | None, events: int, folios: int | None, seed: int, *, force: bool
) -> None:
    from mapcount.replay.synthetic import WORKLOADS, write_synthetic
    from mapcount.replay.writer import TraceWriter

    if kind not in WORKLOADS:
        raise click.BadParameter(f"{kind!r} is none of {', '.join(WORKLOADS)}", param_hint="--synthetic")
    if output is None:
        raise click.UsageError("--synthetic writes a trace: say where, with -o NAME.trace")
    with TraceWriter(output, force=force) as writer:
        write_synthetic(writer, kind, events, seed, folios)
    click.echo(f"wrote {output}: {writer.events:,} events of {writer.folios:,} folios")


@contextmanager
def _replayed(
    name: str,
    flavour: str | None,
    bits: str | None,
    every: bool,
    threads: int | None,
    dask: str | None,
    scratch: str | None,
) -> Iterator[Sequence[Shard]]:
    """The trace's folios after its last event."""
    from mapcount.replay.reader import Trace

    trace = Trace(name)
    kernel = (FLAVOURS[flavour] if flavour else trace.meta.flavour).on(int(bits or trace.meta.flavour.bits))
    if dask is not None:
        from mapcount.replay.distributed import replay_on

        with replay_on(workers(dask, scratch), trace, kernel, every=every) as shards:
            yield shards
    else:
        from mapcount.replay.run import replay_trace

        yield replay_trace(trace, kernel, every=every, threads=threads)


def _report(shards: Sequence[Shard], output: str | None, *, every: bool, as_json: bool) -> bool:
    """Write and print what a replay came to; is there a finding?"""
    from mapcount.replay.result import write_result
    from mapcount.replay.summary import summary_of
    from mapcount.report.replay import draw_summary, summary_as_data

    summary = summary_of(shards, every=every)
    if output is not None:
        write_result(shards, output)
    if as_json:
        click.echo(json.dumps(summary_as_data(summary), indent=1))
    else:
        click.echo("\n".join(draw_summary(summary)))
        if output is not None:
            click.echo(f"wrote {output}")
    return summary.unsafe
