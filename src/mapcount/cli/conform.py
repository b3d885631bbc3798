"""`mapcount conform`: is the running kernel as simulated?"""

from __future__ import annotations

import itertools
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mapcount.cli import CANNOT, FINDING, INTERRUPTED, USAGE
from mapcount.cli.ending import OUT_OF_MEMORY, end, progress_bar
from mapcount.cli.terminal import console

if TYPE_CHECKING:
    from mapcount.scenario.syntax import Scenario

BOOT_PATIENCE, STORY_PATIENCE = 600, 300
"""Seconds that a guest may take to come up, and for a story: emulated, on a busy machine."""
DEVIATIONS = "deviations"
"""Where deviations are saved, unless -o says otherwise."""


@click.command(epilog="Example: mapcount conform scenarios/*.scn --random 100 --set-thp")
@click.argument("scenarios", metavar="[SCENARIO...]", nargs=-1)
@click.option("--random", "number", type=click.IntRange(1, 100_000), help="Act out so many random scenarios.")
@click.option("--seed", type=click.IntRange(0), help="With --random: draw the same ones as last time.")
@click.option(
    "--set-thp",
    is_flag=True,
    help="Write /sys/kernel/mm/transparent_hugepage/hugepages-*/enabled and shmem_enabled, so that faults "
    "use the sizes a scenario is about; what was there is put back, even if all of this is killed.",
)
@click.option(
    "-o",
    "target",
    metavar="DIR",
    default=DEVIATIONS,
    show_default=True,
    help="Where to save deviations, each as a scenario and a recording. Made only if there are any.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace FILE, and a deviation that DIR has under the same name; without, that gets a number.",
)
@click.option("--record", metavar="FILE", help="Write what the kernel answered, for mapcount run --on.")
@click.option("--json", "as_json", is_flag=True, help="All of it for machines, as JSON.")
@click.option("--vng", "bzimage", metavar="BZIMAGE", help="Do it in that kernel, booted by virtme-ng.")
def conform(
    scenarios: tuple[str, ...],
    number: int | None,
    seed: int | None,
    set_thp: bool,
    target: str,
    force: bool,
    record: str | None,
    as_json: bool,
    bzimage: str | None,
) -> None:
    """Act scenarios out with real processes; is the kernel as simulated?

    After every step each field of smaps, numa_maps, pagemap, kpagecount, kpageflags and the kernel's own
    struct folio is compared with the simulated kernel of the same flavour. Only processes started here are
    touched, and only memory that they mapped. What deviates is tried again, reduced to the shortest scenario
    that shows it, printed and saved. What this machine cannot act out is skipped, and the reason said.

    Exit 1: the kernel deviates, and not as documented, or a guest's kernel complains on its console. Exit 3:
    nothing could be acted out.
    """
    from mapcount.conform.director import AgentLost
    from mapcount.conform.vng import NoKernel
    from mapcount.live.ending import signals_raise
    from mapcount.live.snapshot import CannotHere
    from mapcount.report.conform_data import DEVIATES, SKIPPED
    from mapcount.scenario.syntax import ScenarioError, visible

    if not scenarios and number is None:
        raise click.UsageError("name scenarios, or ask for random ones: --random 100")
    if seed is not None and number is None:
        raise click.UsageError("--seed is for random scenarios; --random N says how many of them")
    _check_places(Path(target), Path(record) if record else None, force=force)
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    try:
        with signals_raise():
            if bzimage is not None:
                data, recording = _in_guest(Path(bzimage), scenarios, number or 0, seed, record=bool(record))
            else:
                data, recording = _here(scenarios, number or 0, seed, set_thp=set_thp)
    except (ScenarioError, NoKernel) as error:
        end(str(error), USAGE)
    except (CannotHere, AgentLost, OSError, MemoryError) as error:
        lines = map(visible, (str(error) or OUT_OF_MEMORY).splitlines())  # a guest's console has many
        end("mapcount conform: " + "\n".join(lines), CANNOT)
    except KeyboardInterrupt:
        end("interrupted", INTERRUPTED)
    if number:
        data["seed"] = seed
    unwritten = _write(data, Path(target), record, recording, force=force)
    _print(data, as_json=as_json)
    if unwritten:
        end(f"mapcount conform: {visible(unwritten)}", CANNOT)
    if data["summary"][DEVIATES] or (bzimage is not None and data["guest"]["complaints"]):
        sys.exit(FINDING)
    if data["summary"][SKIPPED] == len(data["results"]):
        sys.exit(CANNOT)


def _check_places(target: Path, record: Path | None, *, force: bool) -> None:
    """Before hours of work, not after: files can be made there, and replace nothing."""
    for path in (target, record) if record else (target,):
        if not path.parent.is_dir():
            raise click.UsageError(f"{path.parent} is no directory")
    if target.exists() and not target.is_dir():
        raise click.UsageError(f"{target} is no directory")
    if record and record.is_dir():
        raise click.UsageError(f"{record} is a directory; --record takes a file")
    if record and record.exists() and not force:
        raise click.UsageError(f"{record} exists; name another place, or --force")


def _here(paths: Sequence[str], number: int, seed: int, *, set_thp: bool) -> tuple[dict[str, Any], str]:
    """On the kernel that runs us: what was found, and the recording of all that was acted out."""
    from mapcount.conform.check import running_kernel
    from mapcount.conform.findings import examine, random_scenario
    from mapcount.report.conform_data import conform_as_data
    from mapcount.scenario.parse import load

    stories = _differently_named([load(path) for path in paths])
    results = []
    with running_kernel(set_thp=set_thp) as (kernel, limits), progress_bar("acting") as told:
        total = len(stories) + number
        for i in range(total):
            story = stories[i] if i < len(stories) else random_scenario(kernel, seed, i - len(stories))
            told(i, total, story.name)
            results.append(examine(kernel, story))
    comparisons = [result.found.comparison for result in results if result.found.comparison]
    recording = "".join(comparison.recording.lines() for comparison in comparisons)
    return conform_as_data(kernel.release, str(kernel.flavour), limits, results), recording


def _differently_named(stories: Sequence[Scenario]) -> Sequence[Scenario]:
    """Recordings know a scenario by its file's name."""
    seen: dict[str, str] = {}
    for story in stories:
        if story.name in seen:
            raise click.UsageError(f"{story.path} and {seen[story.name]} have the same name: {story.name}")
        seen[story.name] = story.path
    return stories


def _in_guest(
    bzimage: Path, paths: Sequence[str], number: int, seed: int, *, record: bool
) -> tuple[dict[str, Any], str]:
    """The same command in another kernel, which is its own: its settings may be changed."""
    from mapcount.conform.vng import conform_in_guest
    from mapcount.scenario.parse import load

    _differently_named([load(path) for path in paths])  # mistakes are told before the guest boots
    if sys.stderr.isatty():
        click.echo(f"booting {bzimage}; where KVM does not work, a story takes half a minute", err=True)
    drawn = ["--random", str(number), "--seed", str(seed)] if number else []
    timeout = BOOT_PATIENCE + STORY_PATIENCE * (len(paths) + number)
    return conform_in_guest(bzimage, [*paths, *drawn], record=record, timeout=timeout)


def _write(
    data: dict[str, Any], target: Path, record: str | None, recording: str, *, force: bool
) -> str | None:
    """The recording and the deviations; what could not be written and why, as the report is printed yet."""
    from mapcount.report.whole_file import write_whole

    failures = []
    try:
        if record:
            write_whole(Path(record), recording.encode(), force=force)
    except OSError as error:
        failures.append(f"{error.filename}: {error.strerror}")
    try:
        _save(data, target, force=force)
    except OSError as error:
        failures.append(f"{error.filename}: {error.strerror}")
    return "; ".join(failures) or None


def _save(data: dict[str, Any], target: Path, *, force: bool) -> None:
    """Each deviation's shortest scenario and its recording."""
    from mapcount.report.whole_file import write_whole

    for result in data["results"]:
        shortest = result["shortest"]
        if shortest:
            target.mkdir(exist_ok=True)
            lines = "".join(f"{json.dumps(answer)}\n" for answer in shortest["recording"])
            name = result["scenario"] if force else _free_name(target, result["scenario"])
            saved = {target / f"{name}.scn": shortest["text"], target / f"{name}.jsonl": lines}
            for path, content in saved.items():
                write_whole(path, content.encode(), force=force)
            result["saved"] = [str(path) for path in saved]


def _free_name(target: Path, name: str) -> str:
    """The name, or with the first number from 2 on that no earlier deviation has: `name.2`."""
    names = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(2)))
    return next(n for n in names if not any((target / f"{n}{end}").exists() for end in (".scn", ".jsonl")))


def _print(data: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(data, indent=1))
        return
    from mapcount.report.conform import draw_conform

    out = console()
    for part in draw_conform(data, width=out.width):
        out.print(part, soft_wrap=True)
