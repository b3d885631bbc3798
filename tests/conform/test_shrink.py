"""The shortest scenario that still shows something."""

from __future__ import annotations

import pytest

from mapcount.conform.shrink import kind_of_field, shrink
from mapcount.scenario.generate import Menu, generate
from mapcount.scenario.parse import parse
from mapcount.scenario.run import run
from mapcount.scenario.syntax import Scenario
from mapcount.tracking.flavour import PAGE_MAPCOUNT

MENU = Menu(anon=((), (9,), (4,)), shmem=((), (4,)))


def is_mistaken(scenario: Scenario) -> bool:
    """Is the kernel mistaken about a folio after some step?"""
    return any(step.seen.wrong_folios for step in run(scenario, PAGE_MAPCOUNT).steps)


def actions_of(scenario: Scenario) -> list[str]:
    """Each action's actor and verb."""
    return [f"{action.actor} {action.verb}" for step in scenario.steps for action in step.actions]


def test_what_it_does_not_need_is_left_out() -> None:
    """Only what makes the kernel mistaken is left: three processes, of which two have gone."""
    story = parse(
        "P mmap heap 2M thp=64K\nP mmap other 64K\nP write other\nP write heap\nP read heap[0:64K]\n"
        "P fork A ; A mmap own 64K\nP mlock other\nP fork B\nP mprotect heap[3p] r\nP exit\n"
        "A read other\nA exit\nB expect heap maybe_shared=yes\nB munmap other\n"
    )
    shortest = shrink(story, PAGE_MAPCOUNT, is_mistaken)

    assert ["P mmap", "P write", "P fork", "P fork", "P exit", "A exit"] == actions_of(shortest)
    assert 16 == next(action.size for step in shortest.steps for action in step.actions if action.size)


def test_actions_that_became_impossible_go_too() -> None:
    """Leaving a fork out takes everything the child did with it."""
    story = parse("P mmap h 64K\nP fork A\nA write h\nA fork B\nB write h\nP write h[3p]\n")
    shortest = shrink(story, PAGE_MAPCOUNT, lambda s: "P write" in actions_of(s))

    assert ["P mmap", "P write"] == actions_of(shortest)


def test_ranges_become_simpler() -> None:
    """A target that need not be a part of the region becomes all of it."""
    story = parse("P mmap h 64K\nP write h[1p:9p:2p]\n")

    assert "P write h" == shrink(story, PAGE_MAPCOUNT, lambda s: "P write" in actions_of(s)).steps[
        1
    ].text.replace("  ", " ")


def test_the_number_of_tries_is_bounded() -> None:
    """However hard it is, the question is not asked more often than allowed."""
    asked: list[Scenario] = []

    def deviates(candidate: Scenario) -> bool:
        asked.append(candidate)
        return False

    story = generate(3, PAGE_MAPCOUNT, MENU, steps=20)
    assert shrink(story, PAGE_MAPCOUNT, deviates, tries=30) == story
    assert 30 == len(asked)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_still_deviates(seed: int) -> None:
    """The result is a legal story, no longer than before, for which the question is answered with yes."""

    def forks_twice(candidate: Scenario) -> bool:
        return sum(action.endswith("fork") for action in actions_of(candidate)) > 1

    story = generate(seed, PAGE_MAPCOUNT, MENU, steps=25)
    if not forks_twice(story):
        pytest.skip("this story forks once at most")
    shortest = shrink(story, PAGE_MAPCOUNT, forks_twice)

    assert forks_twice(shortest)
    assert 2 <= len(run(shortest, PAGE_MAPCOUNT).steps) <= 3  # an exit may make room for the second name


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("P.heap.folios[13].refcount", "folios.refcount"),
        ("A.b.smaps.Pss", "smaps.Pss"),
        ("P.heap.pages", "pages"),
        ("P.regions", "P.regions"),
        ("errors", "errors"),
    ],
)
def test_kinds_of_fields(field: str, kind: str) -> None:
    """A field deviates alike whoever's it is."""
    assert kind == kind_of_field(field)
