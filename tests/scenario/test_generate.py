"""Random stories: legal, the same for the same seed, and of what the menu allows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.scenario.generate import MOST_ALIVE, Menu, generate
from mapcount.scenario.parse import parse
from mapcount.scenario.printing import show
from mapcount.scenario.run import run
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT

RICH = Menu(anon=((), (9,), (4,), (4, 9)), shmem=((), (9,), (4,)), swap=True)
POOR = Menu(anon=((),), shmem=(), pins=False)


@settings(max_examples=25)
@given(st.integers(0, 1 << 40), st.integers(2, 20))
def test_every_story_can_be_acted_out(seed: int, steps: int) -> None:
    """A random story has as many steps as asked for, all of them legal, and breaks no invariant."""
    story = generate(seed, PAGE_MAPCOUNT, RICH, steps=steps)
    done = run(story, PAGE_MAPCOUNT)

    assert steps == len(done.steps)
    assert [] == done.broken


def test_the_same_seed_tells_the_same_story() -> None:
    """Seed and menu decide everything."""
    assert show(generate("7-3", PAGE_MAPCOUNT, RICH)) == show(generate("7-3", PAGE_MAPCOUNT, RICH))
    assert show(generate("7-3", PAGE_MAPCOUNT, RICH)) != show(generate("7-4", PAGE_MAPCOUNT, RICH))


@given(st.integers(0, 1 << 40))
@settings(max_examples=10)
def test_a_story_is_text(seed: int) -> None:
    """What is printed is read again as the same story."""
    story = generate(seed, NO_PAGE_MAPCOUNT, RICH)

    assert story == parse(show(story))


@pytest.mark.parametrize("seed", range(20))
def test_only_what_the_menu_has(seed: int) -> None:
    """On a machine with small folios only, without swap or pins, no story asks for them."""
    actions = [a for step in generate(seed, PAGE_MAPCOUNT, POOR).steps for a in step.actions]

    assert not {"pin", "unpin"} & {action.verb for action in actions}
    assert "pageout" not in {action.word for action in actions}
    assert not {"thp", "shared", "shmem", "memfd"} & {option for a in actions for option in a.options}


def test_stories_go_where_kernels_could_be_wrong() -> None:
    """Sixty stories use every verb that a process has, and have as many processes as allowed."""
    verbs: set[str] = set()
    most = 0
    for seed in range(60):
        alive = 1
        for step in generate(seed, PAGE_MAPCOUNT, RICH).steps:
            (action,) = step.actions
            verbs.add(action.verb)
            alive += (action.verb == "fork") - (action.verb == "exit")
            most = max(most, alive)

    processes = "mmap munmap read write fork exec exit mprotect mremap madvise mlock munlock pin unpin"
    assert set(processes.split()) == verbs
    assert MOST_ALIVE == most
