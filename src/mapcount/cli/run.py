"""`mapcount run`: the main job."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from mapcount.cli import FINDING, USAGE
from mapcount.cli.html_file import check_html, write_html
from mapcount.cli.terminal import console
from mapcount.tracking.flavour import FLAVOURS, Flavour

if TYPE_CHECKING:
    from mapcount.scenario.run import Watcher
    from mapcount.scenario.syntax import Scenario
    from mapcount.schemes.scheme import Scheme


def _flavours(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[Flavour]:
    names = [name for word in value for name in word.split(",")]
    found: list[Flavour] = []
    for name in names:
        if name == "all":
            found += FLAVOURS.values()
        elif name in FLAVOURS:
            found.append(FLAVOURS[name])
        else:
            raise click.BadParameter(f"{name!r} is none of {', '.join(FLAVOURS)}, all")
    return list(dict.fromkeys(found))


@click.command(epilog="Example: mapcount run scenarios/prefork.scn --flavour all --step")
@click.argument("scenarios", metavar="SCENARIO...", nargs=-1, required=True)
@click.option(
    "--flavour",
    "flavours",
    multiple=True,
    default=("page-mapcount", "no-page-mapcount"),
    metavar="NAME",
    callback=_flavours,
    help=f"A kernel to run on: {', '.join(FLAVOURS)} or all; several with commas, or by giving the option "
    "again. Unless said: page-mapcount and no-page-mapcount.",
)
@click.option(
    "--bits",
    type=click.Choice(["64", "32"]),
    help="Width of the machine. Unless said, what the scenario says (a line `# bits: 32` on top), else 64.",
)
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    metavar="NAME",
    help="Show this scheme's answer about each large folio beside the kernel's: two-slots, one-slot, "
    "n-slots:K, first-page, per-page, exact, two-slots+reset:R, or yours, FILE.py:CLASS. Again for more.",
)
@click.option("--step", "every", is_flag=True, help="Show every step, with everything in it.")
@click.option("--json", "as_json", is_flag=True, help="All of it for machines, as JSON.")
@click.option(
    "--on",
    "on",
    metavar="recording:FILE",
    help="Put a real kernel's recorded answers beside the simulated ones; exit 1 on a deviation that is "
    "not documented.",
)
@click.option(
    "--trace",
    "trace",
    metavar="NAME.trace",
    help="Also write every mapping event of one scenario on one --flavour, for `replay` and `compare`.",
)
@click.option(
    "--html",
    "html",
    metavar="FILE",
    help="Write one scenario's playback as a page to look at, complete in one file, instead of printing it.",
)
@click.option("--force", is_flag=True, help="Replace what is at NAME.trace or FILE.")
def run(
    scenarios: tuple[str, ...],
    flavours: list[Flavour],
    bits: str | None,
    schemes: tuple[str, ...],
    every: bool,
    as_json: bool,
    on: str | None,
    trace: str | None,
    html: str | None,
    force: bool,
) -> None:
    """Run scenarios on kernels side by side.

    Shows, step by step, who really maps each folio and what each kernel believes (mistakes are marked), what
    each tells user space (Rss, Pss, Uss, AnonPages), and what keeping the counters cost. Exit 1: an
    expectation failed, an invariant broke, or a recorded kernel deviates.
    """
    from mapcount.scenario.parse import load
    from mapcount.scenario.recording import RecordingError
    from mapcount.scenario.syntax import ScenarioError
    from mapcount.schemes.registry import find
    from mapcount.schemes.scheme import SchemeError

    source = click.get_current_context().get_parameter_source
    if on is not None and any(source(name) is not ParameterSource.DEFAULT for name in ("flavours", "bits")):
        raise click.UsageError(
            "--on takes the flavour and the width from the recording: leave --flavour and --bits out"
        )
    if on is not None and schemes:
        raise click.UsageError("--on has a recorded kernel's answers only: leave --scheme out")
    if trace is not None and (on is not None or len(flavours) > 1 or len(scenarios) > 1):
        raise click.UsageError(
            "--trace writes one scenario's events on one kernel: say --flavour NAME, no --on"
        )
    if html is not None and (on is not None or every or len(scenarios) > 1):
        raise click.UsageError("--html plays back one scenario, every step of it: leave --on and --step out")
    check_html(html, force=force)
    try:
        stories = [load(path) for path in scenarios]
        if trace is not None:
            _write_trace(stories[0], flavours[0], bits, trace, force=force)
        if on is not None:
            _beside(stories, on, every=every, as_json=as_json)
        elif html is not None:
            asked = [find(word) for word in dict.fromkeys(schemes)]
            _play_back(stories[0], flavours, bits, asked, html, as_json=as_json, force=force)
        else:
            asked = [find(word) for word in dict.fromkeys(schemes)]
            _side_by_side(stories, flavours, bits, asked, every=every, as_json=as_json)
    except (ScenarioError, RecordingError, SchemeError) as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)


def _side_by_side(
    stories: Sequence[Scenario],
    flavours: list[Flavour],
    bits: str | None,
    schemes: Sequence[Scheme],
    *,
    every: bool,
    as_json: bool,
) -> None:
    from mapcount.scenario.run import run as run_on

    results = [
        [run_on(s, f.on(int(bits or s.bits)), regions=as_json, watcher=_watcher(schemes)) for f in flavours]
        for s in stories
    ]
    if as_json:
        from mapcount.report.data import runs_as_data

        click.echo(json.dumps([runs_as_data(runs) for runs in results], indent=1))
    else:
        from mapcount.report.run import draw_runs

        out = console()
        for runs in results:
            out.print(*draw_runs(runs, every=every, width=out.width), sep="\n")
    if any(r.failures or r.broken for runs in results for r in runs):
        sys.exit(FINDING)


def _play_back(
    story: Scenario,
    flavours: list[Flavour],
    bits: str | None,
    schemes: Sequence[Scheme],
    html: str,
    *,
    as_json: bool,
    force: bool,
) -> None:
    from mapcount.report.html.playback import play, playback_page

    played = [play(story, f.on(int(bits or story.bits)), _watcher(schemes)) for f in flavours]
    runs = [one.run for one in played]
    if as_json:
        from mapcount.report.data import runs_as_data

        click.echo(json.dumps([runs_as_data(runs)], indent=1))
    write_html(html, playback_page(played), force=force)
    if any(r.failures or r.broken for r in runs):
        sys.exit(FINDING)


def _watcher(schemes: Sequence[Scheme]) -> Watcher | None:
    if not schemes:
        return None
    from mapcount.replay.beside import SchemesBeside

    return SchemesBeside(schemes)


def _write_trace(story: Scenario, flavour: Flavour, bits: str | None, path: str, *, force: bool) -> None:
    from mapcount.replay.record import Recorder
    from mapcount.replay.trace import TraceError
    from mapcount.replay.writer import TraceWriter
    from mapcount.scenario.run import run as run_on

    try:
        with TraceWriter(path, force=force) as writer:
            recorder = Recorder(writer)
            run_on(story, flavour.on(int(bits or story.bits)), watcher=recorder)
            recorder.finish(flavour.on(int(bits or story.bits)), story.name)
    except TraceError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    click.echo(f"wrote {path}: {writer.events:,} events of {writer.folios:,} folios", err=True)


def _beside(stories: Sequence[Scenario], on: str, *, every: bool, as_json: bool) -> None:
    from mapcount.scenario.compare import compare
    from mapcount.scenario.recording import load_recording

    kind, colon, path = on.partition(":")
    if kind != "recording" or not colon or not path:
        raise click.BadParameter(f"{on!r} is not recording:FILE", param_hint="--on")
    recording = load_recording(path)
    results = [compare(s, recording) for s in stories]
    if as_json:
        from mapcount.report.data import comparison_as_data

        click.echo(json.dumps([comparison_as_data(c) for c in results], indent=1))
    else:
        from mapcount.report.comparison import draw_comparison

        out = console()
        for result in results:
            out.print(*draw_comparison(result, every=every, width=out.width), sep="\n")
    if any(result.unknown for result in results):
        sys.exit(FINDING)
