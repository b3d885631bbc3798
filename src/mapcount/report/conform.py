"""What `conform` found, for people: a line for each scenario, each deviation in full, and a summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mapcount.report.conform_data import AGREES, DEVIATES, SKIPPED
from mapcount.report.words import plural
from mapcount.scenario.syntax import visible

MOST = 12
"""Differing fields that are shown of one scenario; JSON has all."""
VALUE = 85
"""Characters of one value."""


def draw_conform(data: Mapping[str, Any], *, every: bool = True) -> Iterator[RenderableType]:
    """All of it, from `conform_as_data`. `every`: a line also for what agrees."""
    yield Text.assemble(
        ("conform", "bold"),
        f": real processes on Linux {visible(data['kernel'])} ({visible(data['flavour'])}), "
        "beside the simulated kernel",
    )
    if data.get("guest"):
        yield _line(
            f"in a guest of {visible(data['guest']['image'])}, {data['guest']['seconds']:.0f} s", "dim"
        )
        for complaint in data["guest"]["complaints"]:
            yield _line(f"the guest's kernel complained: {visible(complaint)}", "bold red")
    for limit in data["limits"]:
        yield _line(f"note: {visible(limit)}", "yellow")
    for result in data["results"]:
        if every or result["status"] != AGREES or result["fleeting"]:
            yield _line(*_one(result))
        if result["status"] == DEVIATES:
            yield from _deviation(result)
    yield Text()
    yield from _summary(data["summary"])
    if "seed" in data:
        yield _line(f"the random ones again: --seed {data['seed']}", "dim")


def _line(text: str, style: str = "") -> Text:
    """A line that is never wrapped, so that it can be searched for."""
    return Text(text, style, no_wrap=True, overflow="ignore")


def _one(result: Mapping[str, Any]) -> tuple[str, str]:
    name = f"{visible(result['scenario']):<28} "
    if result["status"] == SKIPPED:
        return f"{name}skipped: {visible(result['reason'])}", "dim"
    words = f"{result['steps']:>3} steps {result['fields']:>6,} fields"
    if result["known"]:
        count = len(result["known"])
        words += f", {count} differ{'s' * (count == 1)} as documented ({_ids(result['known'])})"
    if result["fleeting"]:
        fields = ", ".join(dict.fromkeys(visible(d["field"]) for d in result["fleeting"]))
        words += f", not reproducible: {fields}"
    if result["status"] == DEVIATES:
        return f"{name}{words}, {len(result['deviations'])} DEVIATE", "bold red"
    return f"{name}{words}{'' if result['known'] or result['fleeting'] else ' agree'}", ""


def _ids(known: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(sorted({d["known"] for d in known}))


def _deviation(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    shortest = result["shortest"] or result
    if "text" in shortest:
        yield _line("  the shortest scenario that shows it:", "bold")
        for row in shortest["text"].splitlines():
            yield _line(f"    {visible(row)}")
    for difference in shortest["deviations"][:MOST]:
        yield _line(f"    line {difference['line']}: {visible(difference['field'])}")
        for side in ("real", "simulated"):
            yield _line(f"      {side:<10} {_clipped(difference[side])}")
    more = len(shortest["deviations"]) - MOST
    if more > 0:
        yield _line(f"  ... and {more} more fields (--json has them)", "dim")
    for path in result.get("saved", ()):
        yield _line(f"  saved: {visible(path)}")


def _clipped(value: object) -> str:
    text = visible(str(value))
    return text if len(text) <= VALUE else text[: VALUE - 3] + "..."


def _summary(summary: Mapping[str, int]) -> Iterator[Text]:
    acted = summary[AGREES] + summary[DEVIATES]
    text = Text(f"{acted} acted out, {summary[SKIPPED]} skipped. ")
    if not acted:
        yield text
        return
    fields, steps = plural(summary["fields"], "field"), plural(summary["steps"], "step")
    text.append(f"{fields} compared in {steps}: ")
    odd = summary["known"] + summary["deviations"] + summary["fleeting"]
    text.append(f"{summary['fields'] - odd:,} agree" if odd else "all agree", "green")
    for name, words, style in (
        ("known", "differ as documented (docs/kernel-deviations.md)", "yellow"),
        ("fleeting", "not reproducible", "yellow"),
        ("deviations", "DEVIATE", "bold red"),
    ):
        if summary[name]:
            verb = words.replace("differ ", "differs ") if summary[name] == 1 else words
            text.append(f", {summary[name]:,} {verb}", style)
    yield text
