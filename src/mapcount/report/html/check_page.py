"""A small world explored, as a page: its verdicts, its states, and what was found played back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mapcount.check.counterexample import Counterexample, real
from mapcount.check.exploration import Exploration
from mapcount.check.findings import WRONGLY_SHARED
from mapcount.replay.beside import SchemesBeside
from mapcount.report import check_words as words
from mapcount.report.check_data import Told, check_as_data
from mapcount.report.html.page import render
from mapcount.report.html.playback import SCRIPTS, play, playback_data, source_lines
from mapcount.report.words import plural
from mapcount.scenario.parse import parse
from mapcount.scenario.syntax import visible
from mapcount.schemes.scheme import Scheme

NAME = "counterexample.scn"
TITLES = {WRONGLY_SHARED: "Wrongly shared, which is allowed"}


def check_page(found: Exploration, told: Told, scheme: Scheme | None = None) -> bytes:
    """The page. `scheme` is what was explored, if it was no kernel."""
    data = check_page_data(found, told, scheme)
    check = data["check"]
    stories = data["stories"]
    playback = SCRIPTS if stories else ()
    return render(
        "check.html",
        data=data,
        styles=["table.css", "chart.css", "playback.css", "check.css"],
        scripts=["table.js", "chart.js", *playback, "check.js"],
        title=words.head(check),
        check=check,
        result=words.result(check),
        notes=[note for note in (words.scaled(check), words.guess(check)) if note],
        unfinished=words.unfinished(check),
        counts=words.counts(check),
        invariants=[(words.verdict(one), one) for one in check["invariants"]],
        findings=list(_findings(check)),
        untold=words.UNTOLD,
        lines=stories[0]["lines"] if stories else [],
    )


def check_page_data(found: Exploration, told: Told, scheme: Scheme | None = None) -> dict[str, Any]:
    """As `check --json`, and each story that shows what was found as data to be played back."""
    check = check_as_data(found, told)
    order = [*(one["id"] for one in words.faults(check)), WRONGLY_SHARED]
    shown = [(what, story) for what in order if (story := told.get(what))]
    stories = [_story(what, story, scheme) for what, story in shown]
    return {"check": check, "stories": stories}


def _story(what: str, story: Counterexample, scheme: Scheme | None) -> dict[str, Any]:
    """A story acted out: by a scheme, beside the kernel that the scheme takes no notice of."""
    scenario = parse(story.text, NAME)
    beside = SchemesBeside([scheme]) if scheme else None
    played = play(scenario, real(story.world.flavour), beside)
    return {"finding": what, "lines": source_lines(scenario), **playback_data([played])}


def _findings(check: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What was found, in words: the sentence, events, more sentences with events of their own."""
    for one in words.faults(check):
        yield _finding(one["id"], words.broken(one), one)
    if check["wrongly_shared"]:
        found = check["wrongly_shared"]
        way = f"The shortest way there, {plural(len(found['path']), 'event')}:"
        ending = words.endings(check)
        more = [words.how_long(check), *([(ending, ())] if ending else [])]
        yield _finding(WRONGLY_SHARED, words.wrongly_shared(check), found, way, more)


def _finding(what: str, sentence: str, found: Any, way: str = "", more: Any = ()) -> dict[str, Any]:
    scenario = found["scenario"]
    return {
        "title": TITLES.get(what, f"Broken: {what}"),
        "sentence": sentence,
        "way": way,
        "path": found["path"],
        "more": more,
        "scenario": "\n".join(map(visible, scenario.splitlines())) if scenario else None,
    }
