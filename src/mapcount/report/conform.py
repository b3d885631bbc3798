"""What `conform` found, for people: a line for each scenario, each deviation in full, and a summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mapcount.report.conform_data import AGREES, DEVIATES, SKIPPED
from mapcount.report.lines import hanging, parted, whole
from mapcount.report.words import plural
from mapcount.scenario.syntax import visible

MOST = 12
"""Differing fields that are shown of one scenario; JSON has all."""
FEW = 3
"""Fields that are named of those that did not differ every time."""
NAME = 28
"""Columns of a scenario's name, at most; a longer one pushes its line to the right."""
SIDE = 17
"""Columns left of a value of one side."""


def draw_conform(
    data: Mapping[str, Any], *, width: int = 100, every: bool = True
) -> Iterator[RenderableType]:
    """All of it, from `conform_as_data`. `every`: a line also for what agrees."""
    kernel = f"real processes on Linux {visible(data['kernel'])} ({visible(data['flavour'])})"
    yield from hanging(f"conform: {kernel}, beside the simulated kernel", width, 2, "bold")
    if data.get("guest"):
        guest = data["guest"]
        yield whole(f"in a guest of {visible(guest['image'])}, {guest['seconds']:.0f} s", "dim")
        for complaint in guest["complaints"]:
            yield whole(f"the guest's kernel complained: {visible(complaint)}", "bold red")
    for limit in data["limits"]:
        yield from hanging(f"note: {visible(limit)}", width, len("note: "), "yellow")
    column = min(NAME, max((len(visible(r["scenario"])) for r in data["results"]), default=0)) + 2
    for result in data["results"]:
        if every or result["status"] != AGREES or result["fleeting"]:
            words, style = _one(result)
            yield from hanging(f"{visible(result['scenario']):<{column}}{words}", width, column, style)
        if result["status"] == DEVIATES:
            yield from _deviation(result, width)
    yield Text()
    yield from hanging(_summary(data["summary"]), width, 2, _colour(data["summary"]))
    if "seed" in data:
        yield whole(f"the random ones again: --seed {data['seed']}", "dim")
    if data["summary"].get("set_thp_helps"):
        yield whole(f"--set-thp would act out {data['summary']['set_thp_helps']:,} more", "yellow")


def _one(result: Mapping[str, Any]) -> tuple[str, str]:
    """What became of one scenario, and in which colour to say it."""
    if result["status"] == SKIPPED:
        return f"skipped: {visible(result['reason'])}", "dim"
    words = f"{result['steps']:>3} step{' ' if result['steps'] == 1 else 's'} {result['fields']:>6,} fields"
    if result["known"]:
        count = len(result["known"])
        words += f", {count} differ{'s' * (count == 1)} as documented ({_ids(result['known'])})"
    if result["fleeting"]:
        fields = list(dict.fromkeys(visible(d["field"]) for d in result["fleeting"]))
        more = f" and {len(fields) - FEW:,} more" if len(fields) > FEW else ""
        words += f", not reproducible: {', '.join(fields[:FEW])}{more}"
    if result["status"] == DEVIATES:
        return f"{words}, {len(result['deviations'])} DEVIATE", "bold red"
    return f"{words}{'' if result['known'] or result['fleeting'] else ' agree'}", ""


def _ids(known: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(sorted({d["known"] for d in known}))


def _deviation(result: Mapping[str, Any], width: int) -> Iterator[Text]:
    shortest = result["shortest"] or result
    if "text" in shortest:
        yield whole("  the shortest scenario that shows it:", "bold")
        for row in shortest["text"].splitlines():
            yield whole(f"    {visible(row)}")
    for difference in shortest["deviations"][:MOST]:
        yield whole(f"    line {difference['line']}: {visible(difference['field'])}")
        real, simulated = (visible(str(difference[side])) for side in ("real", "simulated"))
        real, simulated = parted(real, simulated, width - SIDE)
        yield whole(f"      real       {real}")
        yield whole(f"      simulated  {simulated}")
    more = len(shortest["deviations"]) - MOST
    if more > 0:
        yield whole(f"  ... and {plural(more, 'more field')} (--json has them)", "dim")
    for path in result.get("saved", ()):
        yield whole(f"  saved: {visible(path)}")


def _summary(summary: Mapping[str, int]) -> str:
    acted = summary[AGREES] + summary[DEVIATES]
    text = f"{acted:,} acted out, {summary[SKIPPED]:,} skipped."
    if not acted:
        return text
    fields, steps = plural(summary["fields"], "field"), plural(summary["steps"], "step")
    odd = summary["known"] + summary["deviations"] + summary["fleeting"]
    text += f" {fields} compared in {steps}: " + (
        f"{summary['fields'] - odd:,} agree" if odd else "all agree"
    )
    for name, words in (
        ("known", "differ as documented (docs/kernel-deviations.md)"),
        ("fleeting", "not reproducible"),
        ("deviations", "DEVIATE"),
    ):
        if summary[name]:
            verb = words.replace("differ ", "differs ") if summary[name] == 1 else words
            text += f", {summary[name]:,} {verb}"
    return text


def _colour(summary: Mapping[str, int]) -> str:
    if summary["deviations"]:
        return "bold red"
    return "yellow" if summary["fleeting"] else "green" if summary[AGREES] else ""
