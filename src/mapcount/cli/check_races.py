"""`mapcount check --races`: every interleaving of small thread programs over one folio."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from mapcount.cli import CANNOT, FINDING, INTERRUPTED, USAGE
from mapcount.cli.ending import end, show_progress
from mapcount.cli.html_file import check_html, write_html
from mapcount.cli.terminal import console

DEFAULT = "stories,pairs"
SHARED_OPTIONS = ("name", "most_states", "as_json", "html", "force")
"""Parameters of `mapcount check` that mean the same here: the flavour, a bound, JSON, a page."""


def races_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that turn `mapcount check` to races. Without them the command runs as it is."""

    @click.option(
        "--races",
        is_flag=False,
        flag_value=DEFAULT,
        metavar="[NAME]",
        help="Explore thread programs in every interleaving: stories, pairs, triples or all; one by name; "
        f"or put together, like A:write-fault,B:unmap. Without a name: {DEFAULT}.",
    )
    @click.option("--mutate", metavar="NAME", help="With --races: break one rule, to see what it is for.")
    @click.option(
        "--memory-model",
        type=click.Choice(["sc", "tso"]),
        help="With --races: sequential consistency, or total store order with store buffers, as on x86. "
        "Unless said: sc, or what a mutation needs.",
    )
    @click.option("--list", "listing", is_flag=True, help="List races, programs, mutations and properties.")
    @functools.wraps(command)
    def either(
        *, races: str | None, mutate: str | None, memory_model: str | None, listing: bool, **others: Any
    ) -> None:
        if races is None and mutate is None and memory_model is None and not listing:
            command(**others)
            return
        source = click.get_current_context().get_parameter_source
        wrong = [n for n in others if n not in SHARED_OPTIONS and source(n) is not ParameterSource.DEFAULT]
        if wrong:
            raise click.UsageError(f"--races explores programs, no world: leave {_spelt(wrong[0])} out")
        if listing and others["html"]:
            raise click.UsageError("--list is no exploration: leave --html out")
        if others["force"] and not others["html"]:
            raise click.UsageError("--force replaces what --html names: say --html FILE")
        if listing:
            _list(as_json=others["as_json"])
        else:
            run_races(races, mutate, memory_model, **{name: others[name] for name in SHARED_OPTIONS})

    return either


def _spelt(parameter: str) -> str:
    """The option as it is typed."""
    options = (p for p in click.get_current_context().command.params if p.name == parameter)
    return next(iter(p.opts[0] for p in options), parameter)


def _list(*, as_json: bool) -> None:
    from mapcount.report.check_races import draw_list
    from mapcount.report.check_races_data import list_as_data

    _print(list_as_data(), draw_list, as_json=as_json)


def run_races(
    races: str | None,
    mutate: str | None,
    memory_model: str | None,
    *,
    name: str,
    most_states: int | None,
    as_json: bool,
    html: str | None,
    force: bool,
) -> None:
    """Explore, print or write a page, and exit with the verdict. `name` is the flavour's."""
    from mapcount.check.races.choose import FLAVOURS, choose, explore_races
    from mapcount.check.races.compose import RaceError
    from mapcount.check.races.mutations import MUTATIONS
    from mapcount.check.races.search import MOST_STATES
    from mapcount.report.check_data import BROKEN, HOLDS
    from mapcount.report.check_races import draw_races
    from mapcount.report.check_races_data import races_as_data

    flavours = {flavour.name: flavour for flavour in FLAVOURS}
    check_html(html, force=force)
    if name not in flavours:
        raise click.UsageError(f"--races has no programs for {name}: {' or '.join(flavours)}")
    if mutate is not None and mutate not in MUTATIONS:
        raise click.UsageError(f"there is no mutation {mutate!r}: {', '.join(MUTATIONS)}")
    mutation = MUTATIONS[mutate] if mutate else None
    model = memory_model or (mutation.memory_model if mutation else "sc")
    try:
        chosen = choose(races or (mutation.race if mutation else DEFAULT))
    except RaceError as error:
        end(str(error), USAGE)
    flavour, results, interrupted = flavours[name], [], None
    try:
        bound = most_states or MOST_STATES
        for result in explore_races(chosen, flavour, model, mutation, most_states=bound, told=show_progress):
            results.append(result)
    except KeyboardInterrupt:
        interrupted = len(chosen)
        show_progress(1, 1, "")
    data = races_as_data(results, flavour, model, mutation, interrupted)
    if html is not None:
        from mapcount.report.html.races_page import races_page

        write_html(html, races_page(data), force=force)
    if as_json or html is None:
        _print(data, draw_races, as_json=as_json)
    if interrupted is not None:
        sys.exit(INTERRUPTED)
    sys.exit({HOLDS: 0, BROKEN: FINDING}.get(data["result"], CANNOT))


def _print(data: dict[str, Any], draw: Any, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(data, indent=1))
    else:
        out = console()
        out.print(*draw(data, width=out.width), sep="\n")
