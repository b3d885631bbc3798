"""What `mapcount check` found, for people: the world, a line for each invariant, stories, the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mapcount.report import check_words as words
from mapcount.report.check_data import BROKEN, HOLDS
from mapcount.report.lines import hanging, whole
from mapcount.report.words import plural
from mapcount.scenario.syntax import visible

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
    guess = words.guess(data)
    if guess:
        yield from hanging(guess, width, len("note: "), "yellow")
    for one in words.faults(data):
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
    yield from hanging(words.head(data), width, INDENT, "bold")
    scaled = words.scaled(data)
    if scaled:
        yield from hanging(scaled, width, INDENT, "yellow")


def _counts(data: Mapping[str, Any], width: int) -> Iterator[Text]:
    yield Text()
    for label, said in words.counts(data):
        yield from hanging(f"  {label:<{LABEL - 2}}{said}", width, LABEL)


def _invariant(one: Mapping[str, Any], width: int) -> Iterator[Text]:
    word = words.verdict(one)
    style = "bold red" if word == "BROKEN" else ""
    yield from hanging(f"{word:<7} {one['id']}: {one['sentence']}", width, 8, style)


def _broken(one: Mapping[str, Any], width: int) -> Iterator[Text]:
    yield Text()
    yield from hanging(words.broken(one), width, INDENT, "bold red")
    yield from _path(one["path"] or [])
    yield from _scenario(one["scenario"], width)


def _path(path: Sequence[str]) -> Iterator[Text]:
    for number, event in enumerate(path[:MOST_EVENTS], 1):
        yield whole(f"  {number:>3}  {event}")
    if len(path) > MOST_EVENTS:
        yield whole(f"       ... and {plural(len(path) - MOST_EVENTS, 'event')} more")


def _scenario(text: str | None, width: int) -> Iterator[Text]:
    if text is None:
        yield from hanging(words.UNTOLD, width, 2, "dim")
        return
    yield whole("as a scenario:")
    for line in text.splitlines():
        yield whole(f"    {visible(line)}")


def _wrongly_shared(data: Mapping[str, Any], width: int) -> Iterator[Text]:
    found = data["wrongly_shared"]
    yield Text()
    yield from hanging(words.wrongly_shared(data), width, INDENT, "yellow")
    yield whole(f"the shortest way there, {plural(len(found['path']), 'event')}:")
    yield from _path(found["path"])
    how_long, around = words.how_long(data)
    yield from hanging(how_long, width, 2)
    yield from _path(around)
    endings = words.endings(data)
    if endings:
        yield from hanging(endings, width, INDENT)
    yield from _scenario(found["scenario"], width)


def _result(data: Mapping[str, Any], width: int) -> Iterator[Text]:
    result = words.result(data)
    if result:
        yield from hanging(result, width, INDENT, "bold red" if data["result"] == BROKEN else "bold green")
    for line in words.unfinished(data):
        yield from hanging(line, width, INDENT, "bold yellow")
