"""The story library: every story in `scenarios/` holds on every kernel, and could fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from mapcount.scenario.parse import load, parse
from mapcount.scenario.printing import show
from mapcount.scenario.run import Run, run
from mapcount.scenario.syntax import Action, Comparison, Scenario
from mapcount.scenario.verbs import CHOICES, VERBS, Kind
from mapcount.tracking.flavour import FLAVOURS, Flavour

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / "scenarios").glob("*.scn"))
NAMES = [path.stem for path in PATHS]

REQUIRED = {
    "alternating-pages", "collapse", "double-fork", "double-mapping", "fork-exec", "giant-folio", "ksm",
    "late-slot", "madvise-free", "madvise-pageout", "migration", "mlock-after-fork", "mm-id-reuse",
    "mprotect-half", "mremap-half", "partial-unmap", "partial-unmap-unseen", "pinned-fork", "prefork",
    "shared-library", "slot-overflow-32", "small-and-hugetlb", "snapshot-database", "swap-out",
    "third-process", "third-process-pmd", "third-process-recovers", "tmpfs-huge", "wrongly-exclusive",
    "zygote",
}  # fmt: skip
"""Stories that other parts of the project count on."""

ONLY_BITS = {"slot-overflow-32": (32,)}
"""Stories whose expectations hold at one width of machine words only."""

OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


@cache
def story(name: str) -> Scenario:
    """A story by its name."""
    return load(ROOT / "scenarios" / f"{name}.scn")


@cache
def ran(name: str, flavour: Flavour) -> Run:
    """A story on a kernel; several tests look at it."""
    return run(story(name), flavour)


def kernels(name: str) -> list[Flavour]:
    """The kernels on which a story must hold: every flavour, at every width that it is meant for."""
    return [flavour.on(bits) for bits in ONLY_BITS.get(name, (64, 32)) for flavour in FLAVOURS.values()]


def expectations(scenario: Scenario) -> Iterator[Action]:
    """Every `expect` of a story."""
    for step in scenario.steps:
        for action in step.actions:
            if action.verb == "expect":
                yield action


def asked(scenario: Scenario, flavour: Flavour) -> list[tuple[int, str]]:
    """(line, field) of every comparison that a flavour must meet."""
    return [
        (action.loc.line, comparison.field)
        for action in expectations(scenario)
        if not action.flavours or flavour.name in action.flavours
        for comparison in action.expects
    ]


def changed(
    scenario: Scenario, *, on: tuple[str, ...] | None = None, compare: dict[str, str] | None = None
) -> Scenario:
    """The story with every expectation on other flavours, or with other operators."""

    def of(action: Action) -> Action:
        if action.verb != "expect":
            return action
        expects = tuple(replace(c, op=(compare or {}).get(c.op, c.op)) for c in action.expects)
        flavours = action.flavours if on is None else tuple(set(on) - set(action.flavours))
        return replace(action, expects=expects, flavours=flavours)

    return replace(
        scenario, steps=tuple(replace(s, actions=tuple(map(of, s.actions))) for s in scenario.steps)
    )


KERNELS = [(name, flavour) for name in NAMES for flavour in kernels(name)]


@pytest.mark.parametrize(("name", "flavour"), KERNELS, ids=lambda value: str(value))
def test_holds(name: str, flavour: Flavour) -> None:
    """Every expectation of every story is met on every kernel, and no invariant breaks on the way."""
    done = ran(name, flavour)
    assert [str(failure) for failure in done.failures] == []
    assert [(step.step.line, invariant.id) for step, _, invariant in done.broken] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_expectation_can_fail(name: str) -> None:
    """Turned into its opposite, each single comparison fails, and nothing else does."""
    for flavour in kernels(name)[: len(FLAVOURS)]:
        failures = run(changed(story(name), compare=OPPOSITE), flavour).failures
        found = [(failure.line, re.split("[=!<>]", failure.demand)[0]) for failure in failures]
        assert found == asked(story(name), flavour)


@pytest.mark.parametrize("name", NAMES)
def test_says_on_only_where_kernels_differ(name: str) -> None:
    """A line for some flavours only fails on each of the others: `on=` hides no agreement."""
    limited = [action for action in expectations(story(name)) if action.flavours]
    for flavour in kernels(name)[: len(FLAVOURS)]:
        elsewhere = {a.loc.line for a in limited if flavour.name not in a.flavours}
        scenario = changed(story(name), on=tuple(FLAVOURS))
        failed = {failure.line for failure in run(scenario, flavour).failures}
        assert elsewhere - failed == set(), f"holds on {flavour} too"


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_shows(name: str) -> None:
    """Every story begins with two to five lines in words, the first of which can stand as a headline."""
    lines = [line for line in story(name).title.splitlines() if line != "bits: 32"]
    assert 2 <= len(lines) <= 5
    assert lines[0][0].isupper() or lines[0][0].isdigit()
    assert lines[-1].rstrip(")").endswith(".")
    assert max(map(len, story(name).source)) <= 120


@pytest.mark.parametrize("name", NAMES)
def test_asks_enough(name: str) -> None:
    """Every story demands at least three things of every flavour, of the folio or of a process's memory."""
    for flavour in FLAVOURS.values():
        fields = [field for _, field in asked(story(name), flavour)]
        assert len(fields) >= 3
        assert {"truth", "pss", "uss", "rss", "total"} & set(fields)


@pytest.mark.parametrize("name", NAMES)
def test_survives_printing(name: str) -> None:
    """Printed in canonical form, a story is still the same."""
    assert parse(show(story(name))) == story(name)


def test_nothing_is_missing() -> None:
    """The library has every story that others count on, and this list every story of the library."""
    assert set(NAMES) == REQUIRED


def test_every_verb_and_advice_is_told_of() -> None:
    """Together the stories use the whole language: every verb, every advice, every kind of memory."""
    actions = [action for name in NAMES for step in story(name).steps for action in step.actions]
    assert {action.verb for action in actions} == set(VERBS)
    assert {action.word for action in actions if action.verb == "madvise"} == set(CHOICES[Kind.ADVICE])
    options = {option for action in actions for option in action.options}
    assert {"thp", "small", "shared", "file", "shmem", "memfd", "hugetlb", "offset", "prot"} <= options


def test_third_process_leaves_in_every_order() -> None:
    """The six families of `third-process` leave in the six orders that there are."""
    left: dict[str, str] = {}
    for step in story("third-process").steps:
        for action in step.actions:
            if action.verb == "exit":
                left[action.actor[1:]] = left.get(action.actor[1:], "") + action.actor[0]
    assert sorted(left.values()) == ["ABP", "APB", "BAP", "BPA", "PAB", "PBA"]


@pytest.mark.parametrize("name", ONLY_BITS)
def test_a_narrow_story_is_narrow(name: str) -> None:
    """A story for one width of machine words fails at the other, or it would be for both."""
    (bits,) = ONLY_BITS[name]
    assert story(name).bits == bits
    other = 96 - bits
    assert any(run(story(name), flavour.on(other)).failures for flavour in FLAVOURS.values())


def test_a_wrong_number_fails() -> None:
    """A number that is off by one is reported with its place, the demand, and what was found instead."""
    scenario = story("fork-exec")
    step = next(s for s in scenario.steps if any(c.field == "total" for a in s.actions for c in a.expects))
    (action,) = step.actions
    at = next(i for i, c in enumerate(action.expects) if c.field == "total")
    wrong = Comparison("total", "=", str(int(action.expects[at].value) + 1))
    mutant = replace(action, expects=(*action.expects[:at], wrong, *action.expects[at + 1 :]))
    steps = tuple(replace(s, actions=(mutant,)) if s is step else s for s in scenario.steps)
    (failure,) = run(replace(scenario, steps=steps), FLAVOURS["no-page-mapcount"]).failures
    assert str(failure).startswith(scenario.path + f":{step.line}: on no-page-mapcount: ")
    assert str(failure).endswith("expected total=17, found 16")
