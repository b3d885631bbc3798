"""What counts as a deviation, and what is made of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.conform.pretend import HOST, PretendKernel, shared_pages_counted_once

from mapcount.conform.check import TIMES
from mapcount.conform.findings import examine, menu_of, random_scenario
from mapcount.conform.playing import Refused
from mapcount.scenario.parse import parse
from mapcount.scenario.printing import show
from mapcount.tracking.flavour import PMD_ORDER

STORY = parse(
    "P mmap other 64K\nP write other\nP mmap heap 64K thp=64K\nP write heap\nP mlock other\n"
    "P fork A\nA read other\nA exit\nP write heap\n",
    "story.scn",
)


def test_what_agrees_is_acted_out_once() -> None:
    """A scenario in which every field agrees needs no second run."""
    kernel = PretendKernel()
    found = kernel.conform(STORY)

    assert ([], [], 1) == ([*found.deviations], [*found.fleeting], len(kernel.played))
    assert found.comparison is not None
    assert 9 == len(found.comparison.steps)


def test_a_deviation_is_there_every_time() -> None:
    """A field that differs in every run deviates, in each step in which it does."""
    kernel = PretendKernel(shared_pages_counted_once)
    found = kernel.conform(STORY)

    assert TIMES == len(kernel.played)
    assert {"P.heap.kpagecount", "P.other.kpagecount", "A.heap.kpagecount", "A.other.kpagecount"} == {
        difference.field for _, difference in found.deviations
    }
    assert ([], {6, 7}) == ([*found.fleeting], {step.step.line for step, _ in found.deviations})


def test_what_comes_and_goes_is_no_deviation() -> None:
    """A field that differs in the first run only is named, and does not count."""

    def held_for_a_moment(answer: dict[str, Any], run: int) -> None:
        if run == 0 and answer["step"] == 3:
            answer["processes"][0]["regions"][1]["folios"][0]["refcount"] += 1

    found = PretendKernel(held_for_a_moment).conform(STORY)

    assert [(4, "P.heap.folios[0].refcount")] == [(s.step.line, d.field) for s, d in found.fleeting]
    assert () == found.deviations


def test_an_odd_moment_does_not_hide_a_deviation() -> None:
    """What differs every time is found although something else differed once."""

    def both(answer: dict[str, Any], run: int) -> None:
        shared_pages_counted_once(answer, run)
        if run == 1:
            answer["processes"][0]["regions"][0]["vmas"] += 1

    found = PretendKernel(both).conform(STORY)

    assert 8 == len(found.deviations)
    assert () == found.fleeting


def test_the_shortest_story_is_found() -> None:
    """Of nine steps four are needed to have a page mapped twice; the deviation is shown in that story."""
    result = examine(PretendKernel(shared_pages_counted_once), STORY)

    assert result.shortest is not None
    text = show(result.shortest.scenario)
    assert ["P mmap", "P write", "P fork"] == [" ".join(line.split()[:2]) for line in text.splitlines()]
    assert {"kpagecount"} == {d.field.rpartition(".")[2] for _, d in result.shortest.deviations}


def test_a_deviation_that_shrinking_loses_is_shown_as_it_was() -> None:
    """When the shortest story does not deviate every time, the whole one is kept."""
    long = len(STORY.steps)

    def only_in_the_long_story(answer: dict[str, Any], run: int) -> None:
        if kernel.played[-1].steps[-1].line >= long or run == 0:
            shared_pages_counted_once(answer, run)

    kernel = PretendKernel(only_in_the_long_story)
    result = examine(kernel, STORY)

    assert result.shortest is result.found


def test_a_skipped_story_is_not_acted_out() -> None:
    """What the machine cannot do is skipped with the reason, and no process is started for it."""
    kernel = PretendKernel()
    result = examine(kernel, parse("P mmap heap 64K\nP write heap\nkernel swapout P.heap\n"))

    assert "no process can ask the kernel for this step: kernel swapout" == result.found.skipped
    assert ([], None) == (kernel.played, result.shortest)


def test_a_machine_that_gives_too_little_has_not_deviated() -> None:
    """A call refused for want of room is a reason to skip, and no finding that shrinking could reduce."""

    def refuse(answer: dict[str, Any], run: int) -> None:
        if answer["text"].startswith("P mlock"):
            raise Refused("line 5: P mmap: ENOMEM")

    result = examine(PretendKernel(refuse), STORY)

    assert ("line 5: P mmap: ENOMEM", (), None) == (
        result.found.skipped, result.found.deviations, result.shortest,
    )  # fmt: skip


def test_want_of_room_while_shrinking() -> None:
    """A shorter story that the machine has no room for is not taken for one that deviates."""

    def falsify(answer: dict[str, Any], run: int) -> None:
        shared_pages_counted_once(answer, run)
        if len(kernel.played[-1].steps) == 4:
            raise Refused("no room")

    kernel = PretendKernel(falsify)
    result = examine(kernel, STORY)

    assert result.shortest is not None
    assert result.shortest.deviations


@pytest.mark.parametrize(
    ("story", "reason", "helps"),
    [
        ("P mmap h 64K thp=16K", "it needs anon folios of 16K; settings here give", True),
        ("P mmap h 64K thp=32K", "this kernel has no anon folios of 32K", False),
        ("P mmap h 64K thp=16K\nkernel swapout P.h", "no process can ask the kernel for this step", False),
    ],
)
def test_settings_that_would_help(story: str, reason: str, helps: bool) -> None:
    """The reason given is one that changed settings would not take away, if there is any such."""
    kernel = PretendKernel()
    kernel.host = replace(HOST, set_thp=False)
    found = kernel.conform(parse(story))

    assert found.skipped is not None
    assert found.skipped.startswith(reason)
    assert helps == found.set_thp_helps


@pytest.mark.parametrize("number", range(8))
def test_random_stories_fit_the_machine(number: int) -> None:
    """Random scenarios ask for nothing that this machine lacks."""
    kernel = PretendKernel()

    assert kernel.conform(random_scenario(kernel, 5, number)).skipped is None


def test_the_menu_has_what_settings_allow() -> None:
    """Where settings may be changed every size is drawn; else exactly what advised memory gets."""
    assert {(), (2,), (4,), (PMD_ORDER,), (2, PMD_ORDER), (4, PMD_ORDER)} == set(menu_of(HOST).anon)
    fixed = replace(HOST, set_thp=False)
    assert {(), (4, PMD_ORDER)} == set(menu_of(fixed).anon)
