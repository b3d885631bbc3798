"""The shortest scenario that still shows a deviation: steps left out, then those that stay made simpler."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from mapcount.scenario.parse import parse
from mapcount.scenario.printing import show
from mapcount.scenario.simulated import act
from mapcount.scenario.syntax import KERNEL, Action, Scenario, ScenarioError, Step
from mapcount.sim.system import System
from mapcount.tracking.flavour import Flavour

Deviates = Callable[[Scenario], bool]


def kind_of_field(field: str) -> str:
    """A field without whose and which: `P.heap.folios[3].refcount` is `folios.refcount`."""
    return re.sub(r"\[\d+\]", "", field.split(".", 2)[-1]) if field.count(".") > 1 else field


def shrink(scenario: Scenario, flavour: Flavour, deviates: Deviates, *, tries: int = 150) -> Scenario:
    """A scenario of fewer and simpler actions for which `deviates` is true, as it is for `scenario`.

    Asks `deviates` at most `tries` times. Actions that became impossible because of others that were left
    out are left out as well.
    """
    best = [action for step in scenario.steps for action in step.actions if action.verb != "expect"]
    asked = 0
    again = True
    while again:
        again = False
        for candidate in _simpler(best):
            actions = _legal(candidate, flavour)
            if not actions or not _less(actions, best):
                continue
            if asked == tries:
                return _scenario(scenario, best)
            asked += 1
            if deviates(_scenario(scenario, actions)):
                best, again = actions, True
                break
    return _scenario(scenario, best)


def _less(actions: list[Action], best: list[Action]) -> bool:
    return _weight(actions) < _weight(best)


def _weight(actions: Iterable[Action]) -> tuple[int, int, int]:
    """(actions, pages mapped, words) of a scenario: what is to become less."""
    actions = list(actions)
    text = show(Scenario("", "", "", tuple(Step((action,)) for action in actions)))
    return len(actions), sum(action.size or 0 for action in actions), len(text)


def _simpler(actions: list[Action]) -> Iterator[list[Action]]:
    """Candidates, the boldest first: without a process, without some actions, with one made simpler."""
    for name in {action.actor: None for action in actions}:
        yield [action for action in actions if action.actor != name and action.word != name]
    length = len(actions) // 2
    while length:
        for start in range(0, len(actions), length):
            yield actions[:start] + actions[start + length :]
        length //= 2
    for i, action in enumerate(actions):
        for simpler in _simpler_action(action):
            yield [*actions[:i], simpler, *actions[i + 1 :]]


def _simpler_action(action: Action) -> Iterator[Action]:
    if action.size is not None and action.size > 1:
        for size in (16, action.size // 2):
            if size < action.size:
                yield replace(action, size=size)
    for option in ("thp", "prot"):
        if option in action.options:
            yield replace(action, options={k: v for k, v in action.options.items() if k != option})
    sizes = action.options.get("thp", ())
    if isinstance(sizes, tuple) and len(sizes) > 1:
        for folio in sizes:
            yield replace(action, options={**action.options, "thp": (int(folio),)})
    target = action.target
    if target is not None and not target.whole:
        yield replace(action, target=replace(target, start=0, stop=None, step=None))
        if target.step is not None:
            yield replace(action, target=replace(target, step=None))
            yield replace(action, target=replace(target, stop=target.start + 1, step=None))


def _legal(actions: list[Action], flavour: Flavour) -> list[Action]:
    """The actions without those that are impossible where they stand."""
    first = next((action.actor for action in actions if action.actor != KERNEL), None)
    if first is None:
        return []
    system, draft = System(flavour), Scenario("draft", "<draft>", "", ())
    system.spawn(first)
    legal = []
    for action in actions:
        try:
            act(system, draft, action)
        except ScenarioError:
            continue
        legal.append(action)
    return legal


def _scenario(scenario: Scenario, actions: list[Action]) -> Scenario:
    """The actions as a scenario of the same name, one a line."""
    steps = tuple(Step((action,)) for action in actions)
    text = show(Scenario(scenario.name, scenario.path, scenario.title, steps))
    return parse(text, f"{scenario.name}.scn")
