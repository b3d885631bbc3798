"""A page of the gallery: what happens in a story, the moments that matter, and why it comes so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import escape

from mapcount.report.html.playback import Played, play, playback_data
from mapcount.report.moments import Moment, moments
from mapcount.report.picture import picture
from mapcount.report.picture_views import elsewhere, in_words, views
from mapcount.report.words import flavours_word, listed, plural, size
from mapcount.scenario.syntax import Scenario
from mapcount.tracking.flavour import FLAVOURS

SECTIONS = {
    4: "[the owner slots](../mechanism.md#4-the-two-owner-slots)",
    5: "[what mapping does](../mechanism.md#5-what-mapping-and-unmapping-do)",
    6: "[what makes mappings come and go](../mechanism.md#6-what-makes-mappings-come-and-go)",
    7: "[what /proc says](../mechanism.md#7-what-proc-says)",
    11: "[kernels before 6.15](../mechanism.md#11-kernels-before-615)",
}
"""Sections of the mechanism that decide."""
MOST_TOLD = 6
"""Events told of one moment on one group of kernels."""


@dataclass(frozen=True, slots=True)
class Story:
    """A scenario on every kernel, and its moments."""

    scenario: Scenario
    played: Sequence[Played]
    told: Sequence[Sequence[Mapping[str, Any]]]
    """Of each kernel, what happened in each step (`playback_data`)."""
    processes: Sequence[str]
    moments: Sequence[Moment]

    @property
    def title(self) -> str:
        """The first line of its leading comment."""
        return self.scenario.title.split("\n")[0].removesuffix(".")


def told(scenario: Scenario) -> Story:
    """Play a scenario on every kernel."""
    played = [play(scenario, flavour.on(scenario.bits)) for flavour in FLAVOURS.values()]
    data = playback_data(played)
    happened = [[step["told"] for step in kernel["steps"]] for kernel in data["kernels"]]
    return Story(scenario, played, happened, data["processes"], moments(played, happened))


def page(story: Story, before: Story | None, after: Story | None) -> str:
    """A story: what happens, its moments, and how to play it."""
    name, scenario = story.scenario.name, story.scenario
    lines = [f"# {story.title}", ""]
    lines += [line for line in scenario.title.split("\n")[1:] if not line.startswith("bits: ")]
    lines += ["", "To play it step by step in a browser, or read all of it in a terminal:", "", "```sh"]
    lines += [f"mapcount run scenarios/{name}.scn --flavour all --html {name}.html"]
    lines += [f"mapcount run scenarios/{name}.scn --flavour all --step"]
    lines += ["```", "", "What happens:", "", "```text", *_acts(story), "```"]
    for number, moment in enumerate(story.moments, 1):
        lines += ["", *_moment(story, moment, number)]
    links = ["[all stories](README.md)"]
    links += [
        f"{word}: [{s.title}]({s.scenario.name}.md)" for word, s in (("before", before), ("next", after)) if s
    ]
    return "\n".join([*lines, "", "---", " · ".join(links), ""])


def _acts(story: Story) -> Iterator[str]:
    """The lines in which something happens, with the number of the moment that is shown."""
    shown = {moment.step: number for number, moment in enumerate(story.moments, 1)}
    for i, step in enumerate(story.played[0].run.steps):
        if not step.only_expects:
            line = story.scenario.source[step.step.line - 1].rstrip()
            yield f"{f'({shown[i]})' if i in shown else '':4}{line}"


def _moment(story: Story, moment: Moment, number: int) -> Iterator[str]:
    yield f"## {number}. `{step_text(story, moment)}`"
    yield ""
    yield from (f"{reason}." for reason in moment.reasons)
    yield ""
    yield from picture_in_page(story, moment)
    yield ""
    yield from _why(story, moment.step)
    yield from _proc(story, moment.step)


def picture_in_page(story: Story, moment: Moment) -> Iterator[str]:
    """The picture of a moment, in a page."""
    alternative = escape(in_words(views(story.played, moment), elsewhere(story.played, moment)))
    yield f"![{alternative}]({story.scenario.name}-{story.moments.index(moment) + 1}.svg)"


def svg(story: Story, moment: Moment) -> str:
    """The picture of a moment."""
    title = f"{story.title}: after {step_text(story, moment)}"
    return picture(views(story.played, moment), elsewhere(story.played, moment), story.processes, title)


def step_text(story: Story, moment: Moment) -> str:
    """The step of a moment, as written but for blanks."""
    return " ".join(story.scenario.steps[moment.step].text.split())


def _why(story: Story, step: int) -> Iterator[str]:
    """The rules that fired; kernels on which the same did, together."""
    alike: dict[tuple[tuple[int, str], ...], list[str]] = {}
    for one, told in zip(story.played, story.told, strict=True):
        alike.setdefault(tuple(_rules(told[step])), []).append(one.run.flavour.name)
    for rules, kernels in alike.items():
        if rules:
            sections = [SECTIONS[number] for number in sorted({number for number, _ in rules})]
            yield f"Why{f', on {listed(kernels)}' if len(alike) > 1 else ''} ({', '.join(sections)}):"
            yield ""
            yield from (f"- {words}" for _, words in rules)
            yield ""


def _rules(told: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """(section, what happened by which rule) of one step on one kernel."""
    fates, events = told.get("fates", ()), told.get("events", ())
    rules = [
        (6, f"{plural(fate['pages'], 'page')} of `{fate['place']}` **{fate['fate']}**: {fate['why']}")
        for fate in fates
    ]
    for event in events:
        times = f", {event['times']} times" if event["times"] > 1 else ""
        last = f"; the last: {event['last']}" if event.get("last") else ""
        section = {"no owner slots": 11, "small folio": 5, "hugetlb folio": 5}.get(event["case"], 4)
        rules.append((section, f"{event['event']}{times}. *{event['case']}*: {event['effect']}{last}"))
    yield from rules[:MOST_TOLD]
    more = len(rules[MOST_TOLD:]) + told.get("more", 0)
    if more:
        yield 5, f"and {more} more of the kind"


def _proc(story: Story, step: int) -> Iterator[str]:
    """What /proc says after a step, kernels that agree in one column."""
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for one in story.played:
        seen = one.run.steps[step].seen
        rows = [
            (name, ", ".join(f"{field.capitalize()} {size(roll[field])}" for field in ("rss", "pss", "uss")))
            for name, roll in seen.rollup.items()
            if roll["rss"]
        ]
        fields = (("AnonPages", "anon_pages"), ("Mapped", "mapped"))
        rows += [(name, size(4 * seen.system[field])) for name, field in fields if seen.system[field]]
        alike.setdefault(tuple(rows), []).append(one.run.flavour.name)
    columns = [dict(rows) for rows in alike]
    names = list(dict.fromkeys(name for rows in columns for name in rows))
    yield f"In numbers ({SECTIONS[7]}):"
    yield ""
    yield "|  | " + " | ".join(flavours_word(kernels, FLAVOURS) for kernels in alike.values()) + " |"
    yield "|---|" + "---|" * len(columns)
    for name in names:
        cells = [rows.get(name, "0") for rows in columns]
        marked = [cells[0], *(cell if cell == cells[0] else f"**{cell}**" for cell in cells[1:])]
        yield f"| {name} | " + " | ".join(marked) + " |"
