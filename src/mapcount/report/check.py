"""What `mapcount check` found, for people: the world, a line for each invariant, stories, the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mapcount.report.check_data import BROKEN, HOLDS
from mapcount.report.lines import hanging, whole
from mapcount.report.words import plural, share
from mapcount.scenario.syntax import visible
from mapcount.tracking.flavour import FLAVOURS

INDENT = 2
LABEL = 14
MOST_EVENTS = 24
"""Events of a path that are shown; JSON has all."""


def draw_check(data: Mapping[str, Any], *, width: int = 100) -> Iterator[RenderableType]:
    """All of it, from `check_as_data`."""
    yield from _head(data, width)
    yield from _counts(data, width)
    yield Text()
    for one in data["invariants"]:
        yield from _invariant(one, width)
    if _guesses(data):
        yield from hanging(GUESS, width, len("note: "), "yellow")
    for one in data["invariants"]:
        if not one["holds"] and not one["informs"]:
            yield from _broken(one, width)
    if data["wrongly_shared"] and data["result"] != BROKEN:
        yield from _wrongly_shared(data, width)
    yield Text()
    yield from _result(data, width)


def draw_agreement(data: Mapping[str, Any], *, width: int = 100) -> Iterator[RenderableType]:
    """All of it, from `agreement_as_data`."""
    yield from _head(data, width)
    yield from _counts(data, width)
    for one in data["differences"]:
        yield Text()
        yield whole("DIFFERS after", "bold red")
        yield from _path(one["path"])
        yield from hanging(f"  reference  {one['reference']}", width, LABEL)
        yield from hanging(f"  compiled   {one['compiled']}", width, LABEL)
    yield Text()
    if data["differences"]:
        yield whole("BROKEN: compiled code and the reference part", "bold red")
    elif data["result"] == HOLDS:
        yield from hanging(
            "agrees: the compiled code does what the reference does, in every transition", width
        )
    else:
        yield from hanging("not exhausted: no difference so far", width, 0, "yellow")


def _head(data: Mapping[str, Any], width: int) -> Iterator[Text]:
    world, scheme = data["world"], data["scheme"]
    what = f"scheme {visible(scheme)}: {_without_kernel(world['words'])}" if scheme else world["words"]
    yield from hanging(what, width, INDENT, "bold")
    if world["slot_holds"]:
        real = 1 << (15 if world["bits"] == 32 else 31)
        holds = plural(world["slot_holds"], "mapping")
        note = f"a slot holds {holds} here, not {real:,}, so that it overflows soon"
        yield from hanging(f"scaled down: {note}", width, INDENT, "yellow")


def _guesses(data: Mapping[str, Any]) -> bool:
    """Is it a kernel that has no owner slots?"""
    return not data["scheme"] and not FLAVOURS[data["world"]["flavour"]].owner_slots


GUESS = (
    "note: this kernel guesses from the first page whether a folio is shared, and nothing is claimed of the "
    "guess. --scheme first-page shows when it is wrong."
)


def _without_kernel(words: str) -> str:
    """The world without the flavour, which a scheme has nothing to do with."""
    return words.rpartition(", on ")[0]


def _counts(data: Mapping[str, Any], width: int) -> Iterator[Text]:
    yield Text()
    states = f"{data['states']:,}"
    if data.get("reduced") and data["unreduced_states"] != data["states"]:
        states += f" up to symmetry, which stand for {data['unreduced_states']:,}"
    yield from _row("states", states, width)
    yield from _row("transitions", f"{data['transitions']:,}", width)
    yield from _row("depth", f"{plural(data['depth'], 'event')} to the farthest state", width)
    speed = f", {data['states_per_second']:,} states/s" if data.get("states_per_second") else ""
    yield from _row("time", f"{data['seconds']:.2f} s{speed}", width)


def _row(label: str, said: str, width: int) -> Iterator[Text]:
    return hanging(f"  {label:<{LABEL - 2}}{said}", width, LABEL)


def _invariant(one: Mapping[str, Any], width: int) -> Iterator[Text]:
    if one["informs"]:
        word, style = ("so" if one["holds"] else "not so"), ""
    else:
        word, style = ("holds", "") if one["holds"] else ("BROKEN", "bold red")
    yield from hanging(f"{word:<7} {one['id']}: {one['sentence']}", width, 8, style)


def _broken(one: Mapping[str, Any], width: int) -> Iterator[Text]:
    yield Text()
    states = plural(one["broken"], "state")
    yield from hanging(
        f"{one['id']} is broken in {states}; the shortest way there:", width, INDENT, "bold red"
    )
    yield from _path(one["path"] or [])
    yield from _scenario(one["scenario"], width)


def _path(path: Sequence[str]) -> Iterator[Text]:
    for number, event in enumerate(path[:MOST_EVENTS], 1):
        yield whole(f"  {number:>3}  {event}")
    if len(path) > MOST_EVENTS:
        yield whole(f"       ... and {plural(len(path) - MOST_EVENTS, 'event')} more")


def _scenario(text: str | None, width: int) -> Iterator[Text]:
    if text is None:
        yield from hanging(
            "no scenario tells it: its pages and PMDs cannot be scaled up alike", width, 2, "dim"
        )
        return
    yield whole("as a scenario:")
    for line in text.splitlines():
        yield whole(f"    {visible(line)}")


def _wrongly_shared(data: Mapping[str, Any], width: int) -> Iterator[Text]:
    found = data["wrongly_shared"]
    yield Text()
    part = share(found["states"] / data["states"])
    head = (
        f"wrongly shared, which is allowed: in {found['states']:,} of the states ({part}) one mm alone maps "
    )
    yield from hanging(f"{head}the folio, and it is called shared", width, INDENT, "yellow")
    yield whole(f"the shortest way there, {plural(len(found['path']), 'event')}:")
    yield from _path(found["path"])
    if data["stopped"]:
        yield whole("how long it can last is known when all is explored")
    else:
        yield from _how_long(found, width)
    if found["endings"]:
        ends = [f"{word} ({count:,})" for word, count in found["endings"].items() if count]
        yield from hanging(f"events end it after which {'; '.join(ends)}", width, INDENT)
    yield from _scenario(found["scenario"], width)


def _how_long(found: Mapping[str, Any], width: int) -> Iterator[Text]:
    lasts = found["lasts"]
    if lasts is None and found["around"]:
        yield from hanging(
            "it can last for any number of events: these lead back to where they began", width, 2
        )
        yield from _path(found["around"])
    elif lasts is None:
        yield whole("how long it can last was not found out")
    elif lasts:
        yield whole(f"it can outlast {plural(len(lasts), 'event')}, but no more")
    else:
        yield whole("any event ends it")


def _result(data: Mapping[str, Any], width: int) -> Iterator[Text]:
    if data["result"] == BROKEN:
        faults = [one["id"] for one in data["invariants"] if not one["holds"] and not one["informs"]]
        yield from hanging(f"BROKEN: {', '.join(faults)}", width, INDENT, "bold red")
    elif data["result"] == HOLDS:
        yield from hanging(
            "holds: no reachable state of this world breaks an invariant", width, INDENT, "bold green"
        )
    if data["stopped"]:
        within = f"all states within {plural(data['depth'], 'event')} of the start were explored"
        words = (
            "not explored any further" if data["result"] == BROKEN else f"not exhausted: {data['stopped']}"
        )
        yield from hanging(f"{words}; {within}", width, INDENT, "bold yellow")
        if data["saved"]:
            yield from hanging(f"to go on from there: --resume {visible(data['saved'])}", width, INDENT)
