"""Scenarios back into text, in one canonical form: `parse(show(s)) == s`.

Actors and verbs stand in columns, options in the order of their verb's row, sizes in the largest exact unit.
Comments on lines of their own further down are not part of a scenario, and so are not printed.
"""

from __future__ import annotations

from mapcount.scenario.syntax import MAX_LINE, Action, Scenario, Step, Target, Value
from mapcount.scenario.verbs import VERBS, Kind, Option
from mapcount.tracking.flavour import PAGE_SIZE

UNITS: dict[str, int] = {"T": 1 << 40, "G": 1 << 30, "M": 1 << 20, "K": 1 << 10}
"""The suffixes of sizes and their bytes, largest first."""

_ROUND = 16
"""Places within a region that are a multiple of this many pages (64 KiB) read better in bytes."""


def show(scenario: Scenario) -> str:
    """The scenario as canonical text, with a line end after each line."""
    title = [_fit(f"# {line}".rstrip(), f"#{line}") for line in scenario.title.split("\n") if scenario.title]
    first = [step.actions[0] for step in scenario.steps]
    actor = max((len(action.actor) for action in first), default=0)
    verb = max((len(action.verb) for action in first), default=0)
    return "".join(f"{line}\n" for line in [*title, *(show_step(s, actor, verb) for s in scenario.steps)])


def show_step(step: Step, actor: int = 0, verb: int = 0) -> str:
    """One line: the step's actions and its comment, the first actor and verb in columns of these widths."""
    first, *others = step.actions
    text = " ; ".join([show_action(first, actor, verb), *map(show_action, others)])
    if not step.comment:
        return _fit(text, step.text)
    return _fit(f"{text}  # {step.comment}", f"{step.text} #{step.comment}" if step.text else "")


def _fit(canonical: str, written: str) -> str:
    """The canonical line, or the line as it was written if only that one is short enough to be read again."""
    return canonical if len(canonical) <= MAX_LINE or not written else written


def show_action(action: Action, actor: int = 0, verb: int = 0) -> str:
    """One action, its actor and verb padded to these widths."""
    words = [action.actor.ljust(actor), action.verb.ljust(verb)]
    if action.target:
        words.append(show_target(action.target))
    if action.size is not None:
        words.append(show_size(action.size))
    if action.word is not None:
        words.append(action.word)
    words += [f"{e.field}{e.op}{e.value}" for e in action.expects]
    given: dict[str, Value] = {**action.options, **({"on": action.flavours} if action.flavours else {})}
    words += [_show_option(o, given[o.keyword]) for o in VERBS[action.verb].options if o.keyword in given]
    return " ".join(words).rstrip()


def _show_option(option: Option, value: Value) -> str:
    if option.kind is Kind.FLAG:
        return option.keyword
    if isinstance(value, Target):
        text = show_target(value)
    elif isinstance(value, tuple):
        text = ",".join(part if isinstance(part, str) else show_size(part) for part in value)
    else:
        text = show_size(value) if isinstance(value, int) else value
    return f"{option.keyword}={text}"


def show_target(target: Target) -> str:
    """A target: `heap`, `W1.heap[0:1M]`, `heap[3p]`, `heap[1M::64K]`."""
    region = f"{target.process}.{target.region}" if target.process else target.region
    if target.whole:
        return region
    start = show_place(target.start) if target.start else ""
    stop = "" if target.stop is None else show_place(target.stop)
    if target.step is not None:
        return f"{region}[{start or 0}:{stop}:{show_place(target.step)}]"
    if target.stop == target.start + 1:
        return f"{region}[{target.start}p]"
    return f"{region}[{start or 0}:{stop}]"


def show_place(pages: int) -> str:
    """An offset within a region: in bytes when that is a round number, else in pages (`1M`, `3p`)."""
    return f"{pages}p" if pages % _ROUND else show_size(pages)


def show_size(pages: int) -> str:
    """A size in its largest exact unit: `12K`, `2M`; nothing is `0`."""
    size = pages * PAGE_SIZE
    units = (f"{size // nr}{unit}" for unit, nr in UNITS.items() if size and size % nr == 0)
    return next(units, "0")
