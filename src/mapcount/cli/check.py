"""`mapcount check`: every state that a small world can reach."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mapcount.cli import CANNOT, FINDING, INTERRUPTED, USAGE
from mapcount.cli.check_races import races_options
from mapcount.cli.ending import OUT_OF_MEMORY, end
from mapcount.cli.html_file import check_html, write_html
from mapcount.cli.terminal import console
from mapcount.tracking.flavour import FLAVOURS, PAGE_MAPCOUNT, Flavour

if TYPE_CHECKING:
    from mapcount.check.exploration import Exploration
    from mapcount.check.world import World
    from mapcount.schemes.scheme import Scheme

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LEAST_MEMORY = 16 << 20


def _bytes(ctx: click.Context, param: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})([KMGT])", value.upper())
    if match is None or int(match[1]) * UNITS[match[2]] < LEAST_MEMORY:
        raise click.BadParameter(f"{value!r} is no amount of memory: write 500M or 4G, at least 16M")
    return int(match[1]) * UNITS[match[2]]


@click.command(
    epilog="\b\nExamples:\n"
    "  mapcount check --flavour no-page-mapcount\n"
    "  mapcount check --scheme examples/last_mapper.py:LastMapper\n"
    "  mapcount check --mms 4 --memory 4G --resume frontier\n"
    "  mapcount check --races\n"
    "  mapcount check --mutate no-recheck"
)
@click.option(
    "--flavour",
    "name",
    type=click.Choice(list(FLAVOURS)),
    default=PAGE_MAPCOUNT.name,
    show_default=True,
    metavar="NAME",
    help=f"The kernel whose rules are checked: {', '.join(FLAVOURS)}.",
)
@click.option(
    "--scheme",
    "word",
    metavar="NAME",
    help="Check a scheme in place of a kernel's rules: two-slots, one-slot, n-slots:K, first-page, per-page, "
    "exact, or yours, FILE.py:CLASS.",
)
@click.option("--mms", type=int, default=3, show_default=True, metavar="M", help="Address spaces.")
@click.option("--pages", type=int, default=4, show_default=True, metavar="P", help="Pages of the folio.")
@click.option(
    "--max-maps",
    type=int,
    default=1,
    show_default=True,
    metavar="K",
    help="How often each mm may map a page: once, or in so many VMAs.",
)
@click.option(
    "--pmd/--no-pmd", default=True, help="Are there PMD mappings of all of the folio?  [default: pmd]"
)
@click.option(
    "--bits", type=click.Choice(["64", "32"]), default="64", show_default=True, help="Width of the machine."
)
@click.option(
    "--slot-holds",
    type=click.IntRange(1),
    metavar="N",
    help="With --bits 32: mappings that one owner slot can count, in place of 32,768, so that slots overflow "
    "in a small world. Unless said, half of the folio's pages.",
)
@click.option("--threads", type=click.IntRange(1, 64), metavar="N", help="Cores to use; unless said, all.")
@click.option(
    "--memory",
    default="2G",
    show_default=True,
    metavar="SIZE",
    callback=_bytes,
    help="Stop at so much memory.",
)
@click.option("--most-states", type=click.IntRange(1), metavar="N", help="Stop at so many states.")
@click.option(
    "--resume",
    metavar="DIR",
    help="Save in DIR where the search stopped, and go on from there if something is saved.",
)
@click.option(
    "--agree", is_flag=True, help="Step the reference beside the compiled code in every transition."
)
@click.option("-o", "target", metavar="FILE.scn", help="Write the scenario that shows what was found.")
@click.option("--json", "as_json", is_flag=True, help="All of it for machines, as JSON.")
@click.option(
    "--html",
    "html",
    metavar="FILE",
    help="Write a page to look at instead, with what was found played back.",
)
@click.option("--force", is_flag=True, help="Let -o and --html replace a file.")
@races_options
def check(
    name: str,
    word: str | None,
    mms: int,
    pages: int,
    max_maps: int,
    pmd: bool,
    bits: str,
    slot_holds: int | None,
    threads: int | None,
    memory: int,
    most_states: int | None,
    resume: str | None,
    agree: bool,
    target: str | None,
    as_json: bool,
    html: str | None,
    force: bool,
) -> None:
    """Explore every state that one folio can reach in a small world, and check every invariant in each.

    A world is a folio of a few pages, a few address spaces, and every mapping event that the page tables
    allow, in every order. What is explored is the code that runs everything else. A broken invariant is shown
    by the shortest way there, as a scenario. How a folio comes to be wrongly called shared, which is allowed,
    is shown too (docs/check.md).

    With --races, explore every interleaving of small thread programs over one folio instead, access by access
    (docs/races.md).

    Exit 1: an invariant is broken. Exit 3: not all of the world was explored.
    """
    from mapcount.check.exploration import CannotExplore
    from mapcount.check.saved import SavedError
    from mapcount.check.world import World
    from mapcount.schemes.registry import find
    from mapcount.schemes.scheme import SchemeError

    _check_options(target, html, force=force, agree=agree)
    try:
        world = World(_flavour(FLAVOURS[name], int(bits), pages, slot_holds), mms, pages, max_maps, pmd)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    limits: dict[str, Any] = {"threads": threads, "memory": memory, "most_states": most_states}
    limits |= {"resume": Path(resume) if resume else None}
    try:
        scheme = find(word) if word else None
        if agree:
            _agree(world, scheme, most_states, as_json=as_json)
        else:
            _explore(world, scheme, word, limits, target, html, force=force, as_json=as_json)
    except (SchemeError, CannotExplore, SavedError) as error:
        end(str(error), USAGE)
    except MemoryError:
        end(f"{OUT_OF_MEMORY}: --memory says how much the search may take", CANNOT)


def _given(*names: str) -> list[str]:
    """Which of these parameters were said."""
    source = click.get_current_context().get_parameter_source
    return [name for name in names if source(name) is not ParameterSource.DEFAULT]


def _check_options(target: str | None, html: str | None, *, force: bool, agree: bool) -> None:
    """Before the work, not after it."""
    if _given("word") and _given("name", "bits", "slot_holds"):
        raise click.UsageError(
            "--scheme takes the place of a kernel: leave --flavour, --bits and --slot-holds out"
        )
    if _given("word") and _given("threads", "resume"):
        raise click.UsageError(
            "a scheme's search has one thread and is not saved: leave --threads and --resume out"
        )
    if agree and _given("threads", "memory", "resume", "target", "html"):
        raise click.UsageError(
            "--agree steps one state at a time: leave --threads, --memory, --resume, -o and --html out"
        )
    if force and target is None and html is None:
        raise click.UsageError("--force replaces what -o or --html names: say -o FILE.scn or --html FILE")
    check_html(html, force=force)
    if target is not None:
        path = Path(target)
        if not path.parent.is_dir() or path.is_dir():
            raise click.UsageError(f"{path} cannot be a file: name a place for it, such as found.scn")
        if path.exists() and not force:
            raise click.UsageError(f"{path} exists: --force replaces it")


def _flavour(flavour: Flavour, bits: int, pages: int, slot_holds: int | None) -> Flavour:
    """The flavour to explore, its slots scaled down where they can overflow at all."""
    if slot_holds is not None and (bits == 64 or not flavour.owner_slots):
        raise click.UsageError(
            "--slot-holds is for slots that can overflow: --bits 32, and a kernel with owner slots"
        )
    if bits == 64 or not flavour.owner_slots:
        return flavour.on(bits)
    return flavour.on(bits).scaled(max_slot_mapcount=slot_holds or max(1, pages // 2))


def _agree(world: World, scheme: Scheme | None, most_states: int | None, *, as_json: bool) -> None:
    from mapcount.check.agreement import agree
    from mapcount.report.check import draw_agreement
    from mapcount.report.check_data import BROKEN, HOLDS, agreement_as_data

    found = agree(world, scheme, most_states=most_states, progress=_progress)
    data = agreement_as_data(found)
    _print(data, draw_agreement, as_json=as_json)
    if found.interrupted:
        sys.exit(INTERRUPTED)
    sys.exit({HOLDS: 0, BROKEN: FINDING}.get(data["result"], CANNOT))


def _explore(
    world: World,
    scheme: Scheme | None,
    word: str | None,
    limits: dict[str, Any],
    target: str | None,
    html: str | None,
    *,
    force: bool,
    as_json: bool,
) -> None:
    from mapcount.check.exploration import Stopped
    from mapcount.check.findings import explored, stories
    from mapcount.report.check import draw_check
    from mapcount.report.check_data import BROKEN, check_as_data

    found: Exploration = explored(world, scheme, progress=_progress, **limits)
    told = stories(found, scheme, word)
    data = check_as_data(found, told)
    if html is not None:
        from mapcount.report.html.check_page import check_page

        _end_progress()
        write_html(html, check_page(found, told, scheme), force=force)
    if as_json or html is None:
        _print(data, draw_check, as_json=as_json)
    if target is not None:
        _write(Path(target), data, force=force)
    if found.stopped is Stopped.INTERRUPTED:
        sys.exit(INTERRUPTED)
    if data["result"] == BROKEN:
        sys.exit(FINDING)
    if not found.exhausted:
        sys.exit(CANNOT)


def _print(data: dict[str, Any], draw: Any, *, as_json: bool) -> None:
    _end_progress()
    if as_json:
        click.echo(json.dumps(data, indent=1))
    else:
        out = console()
        out.print(*draw(data, width=out.width), sep="\n", soft_wrap=True)


def _progress(depth: int, layer: int, states: int) -> None:
    """One line on a terminal, which the report replaces: `layer` states in the last of `depth` layers."""
    if sys.stderr.isatty():
        click.echo(
            f"\r\x1b[K{states:,} states, {depth} events deep, {layer:,} more there", err=True, nl=False
        )


def _end_progress() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)


def _write(path: Path, data: dict[str, Any], *, force: bool) -> None:
    """The scenario of what is broken, or else of what is wrongly called shared."""
    from mapcount.report.whole_file import write_whole

    texts = [one["scenario"] for one in data["invariants"] if not one["holds"] and not one["informs"]]
    texts += [data["wrongly_shared"]["scenario"]] if data["wrongly_shared"] else []
    text = next(filter(None, texts), None)
    if text is None:
        click.echo(f"{path} is not written: nothing was found that a scenario would show", err=True)
        return
    write_whole(path, text.encode(), force=force)
    click.echo(f"wrote {path}", err=True)
