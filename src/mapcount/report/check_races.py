"""What `mapcount check --races` found, for people: verdicts, and interleavings, a column for each thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mapcount.check.races.folio import WARNED
from mapcount.report.check_data import BROKEN, HOLDS, NOT_EXHAUSTED
from mapcount.report.check_races_data import MODEL_WORDS
from mapcount.report.lines import hanging, whole
from mapcount.report.words import plural

FEW = 40
"""A group of more races than that is summed up in a line; broken ones are shown all the same."""
MOST_SHOWN = 12
"""Broken races of one group that are listed; JSON has all."""
CHANGES, LEAST_CHANGES = 23, 12
"""Columns for what a step changed; in a narrow terminal a quarter of it, but no fewer than the second."""
NUMBER = 3
PROPERTY_WORDS = {True: ("holds", ""), False: ("BROKEN", "bold red"), None: ("so far", "yellow")}
INDENT = 2


def draw_races(data: Mapping[str, Any], *, width: int = 100) -> Iterator[RenderableType]:
    """All of it, from `races_as_data`."""
    races = data["races"]
    what = f"{plural(len(races), 'race')} under {MODEL_WORDS[data['memory_model']]}, on {data['flavour']}"
    yield from hanging(what, width, INDENT, "bold")
    if data["mutation"]:
        words = f"mutation {data['mutation']['name']}: {data['mutation']['sentence']}"
        yield from hanging(words, width, INDENT, "yellow")
    yield Text()
    for one in data["properties"]:
        word, style = PROPERTY_WORDS[one["holds"]]
        yield from hanging(f"{word:<7} {one['name']}: {one['sentence']}", width, 8, style)
    yield Text()
    yield _table(races)
    shown = first_shown(data)
    if shown is not None:
        yield Text()
        yield from draw_interleaving(shown, width=width)
    elif len(races) == 1:
        yield Text()
        yield from _about(races[0], width)
    yield Text()
    yield from _result(data, width)


def _table(races: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("race", overflow="fold")
    table.add_column("threads", overflow="fold")
    for name in ("states", "interleavings"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for group, members in groupby(races, key=lambda race: race["group"]):
        of_group = list(members)
        broken = [race for race in of_group if race["result"] == BROKEN]
        if len(of_group) > FEW:
            states = sum(race["states"] for race in of_group)
            all_ways = sum(race["interleavings"] for race in of_group)
            word = f"{len(broken)} BROKEN" if broken else verdict(of_group)
            table.add_row(group, f"all {len(of_group)}", f"{states:,}", large(all_ways), word)
        for race in of_group if len(of_group) <= FEW else broken[:MOST_SHOWN]:
            threads = " | ".join(f"{thread['name']} {thread['does']}" for thread in race["threads"])
            name = race["name"] if race["story"] else ""
            ways = large(race["interleavings"]) if race["result"] != NOT_EXHAUSTED else "-"
            style = "red" if race["result"] == BROKEN else ""
            table.add_row(name, threads, f"{race['states']:,}", ways, verdict([race]), style=style)
    return table


def verdict(races: Sequence[Mapping[str, Any]]) -> str:
    """Of some races: what is broken in any, or that all hold, or that a search ended early."""
    broken = dict.fromkeys(b["property"] for race in races for b in race["broken"])
    if broken:
        return "BROKEN: " + ", ".join(broken)
    return "holds" if all(race["result"] == HOLDS for race in races) else "not exhausted"


def large(number: int) -> str:
    """`1,234` up to a million, then `1.2e9`."""
    if number < 1_000_000:
        return f"{number:,}"
    digits, _, power = f"{number:.1e}".partition("e+")
    return f"{digits}e{int(power)}"


def first_shown(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The race whose interleaving is shown: the one that the mutation names, else the shortest."""
    broken = [race for race in data["races"] if race["interleaving"]]
    about = [race for race in broken if data["mutation"] and race["name"] == data["mutation"]["race"]]
    by_length = sorted(broken, key=lambda race: len(race["interleaving"]))
    return next(iter((*about, *by_length)), None)


def _about(race: Mapping[str, Any], width: int) -> Iterator[Text]:
    head = f"{race['name']}: {race['story']}" if race["story"] else race["name"]
    yield from hanging(head, width, INDENT, "bold")
    yield from hanging(f"at the start  {'; '.join(race['start'])}", width, 14)
    for thread in race["threads"]:
        yield from hanging(f"{thread['name']:<14}{thread['words']}", width, 14)


def draw_interleaving(race: Mapping[str, Any], *, width: int = 100) -> Iterator[RenderableType]:
    """The steps to a broken state: a column for each thread, and what each step changed in memory."""
    yield from _about(race, width)
    (message,) = (b["message"] for b in race["broken"] if b["property"] == race["shown"])
    yield Text()
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("", width=NUMBER, justify="right")
    names = [thread["name"] for thread in race["threads"]]
    changes_room = min(CHANGES, max(LEAST_CHANGES, width // 4))
    room = (width - NUMBER - 1 - changes_room - 1) // len(names) - 1
    for name in names:
        table.add_column(name, width=max(room, 10), overflow="fold")
    table.add_column("changes", width=changes_room, overflow="fold")
    for number, step in enumerate(race["interleaving"], 1):
        label = step["step"] if step["read"] is None else f"{step['step']} {step['read']}"
        columns = [label if name == step["thread"] else "" for name in names]
        changes = "\n".join(map(change, step["changes"]))
        table.add_row(str(number), *columns, changes, style="dim" if step["buffered"] else "")
    yield table
    yield from hanging(f"{race['shown']} is broken: {message}", width, INDENT, "bold red")


def change(changed: Mapping[str, str]) -> str:
    """`refcount: 4 → 5`; of what is no number only what it became, `mm_ids → A/B shared`."""
    if changed["cell"] == WARNED:
        return "the kernel warns"
    before = f": {changed['before']}" if changed["before"].isdigit() else ""
    return f"{changed['cell']}{before} → {changed['after']}"


def cost(data: Mapping[str, Any]) -> str:
    """How many states were explored, in what time."""
    seconds = data["seconds"]
    return f"{plural(data['states'], 'state')} in {f'{seconds:.1f} s' if seconds >= 1 else 'under a second'}"


def _result(data: Mapping[str, Any], width: int) -> Iterator[Text]:
    races = data["races"]
    broken = [race["name"] for race in races if race["result"] == BROKEN]
    if broken:
        words = f"BROKEN in {len(broken)} of {plural(len(races), 'race')}; {cost(data)}"
        yield from hanging(words, width, INDENT, "bold red")
    elif data["result"] == HOLDS:
        every = "in every interleaving every property holds"
        yield from hanging(f"holds: {every}; {cost(data)}", width, INDENT, "bold green")
        if "triples" not in {race["group"] for race in races} and len(races) > FEW:
            yield from hanging(
                "--races all adds a write fault beside every two programs", width, INDENT, "dim"
            )
    unfinished = [race["name"] for race in races if race["result"] not in (BROKEN, HOLDS)]
    if unfinished:
        words = f"not exhausted: too many states in {', '.join(unfinished)}; --most-states allows more"
        yield from hanging(words, width, INDENT, "bold yellow")
    if data["interrupted_of"] is not None:
        yield whole(f"interrupted: {len(races)} of {plural(data['interrupted_of'], 'race')}", "bold yellow")


def draw_list(data: Mapping[str, Any], *, width: int = 100) -> Iterator[RenderableType]:
    """What can be asked for, from `list_as_data`."""
    for title, key in (
        ("Races with a story", "races"),
        ("Programs, for races like A:write-fault,B:unmap,K:page-out", "programs"),
        ("Mutations", "mutations"),
        ("Properties", "properties"),
    ):
        yield whole(title, "bold")
        for one in data[key]:
            yield from hanging(f"  {one['name']:<22}{one['words']}", width, 24)
        yield Text()
    groups = [f"{one['name']} ({one['words']})" for one in data["groups"]]
    yield from hanging(f"Groups: {', '.join(groups)}", width, 8)
