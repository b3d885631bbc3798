"""Schemes in small worlds: explored as plain Python runs them, and found out where they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from mapcount.check.exploration import BACK_TO_ZERO, Exploration, Stopped
from mapcount.check.explore import explore
from mapcount.check.world import World
from mapcount.schemes.registry import find
from mapcount.schemes.scheme import SchemeError, scheme_of
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

from .naive_states import scheme_states

MEMORY = 1 << 27
WORLDS = [
    World(NO_PAGE_MAPCOUNT, 2, 2, 2),
    World(NO_PAGE_MAPCOUNT, 3, 2),
    World(NO_PAGE_MAPCOUNT, 2, 2),
]


NAMES = ("two-slots", "one-slot", "first-page", "per-page", "exact", "two-slots+reset:3")
CASES = [(WORLDS[0], name) for name in NAMES[:-1]] + [(WORLDS[1], "exact"), (WORLDS[2], NAMES[-1])]


@pytest.mark.parametrize(("world", "name"), CASES, ids=str)
def test_as_python_runs_them(world: World, name: str) -> None:
    """The states, their distances and the events tried are those of plain loops over the scheme's Python."""
    found, naive = explore(world, find(name), memory=MEMORY), scheme_states(world, find(name))
    assert naive.layers == found.layers
    assert naive.transitions == found.transitions
    assert found.exhausted


def test_two_slots_are_the_kernels() -> None:
    """The scheme that is called the kernel's goes through as many states as the kernel's rules."""
    world = WORLDS[1]
    theirs, ours = (
        explore(world, memory=MEMORY, reduce=False),
        explore(world, find("two-slots"), memory=MEMORY),
    )
    assert theirs.layers == ours.layers
    assert theirs.wrongly_shared is not None
    assert ours.wrongly_shared is not None
    assert theirs.wrongly_shared.states == ours.wrongly_shared.states
    assert len(theirs.wrongly_shared.path) == len(ours.wrongly_shared.path)


def verdict(found: Exploration, what: str) -> tuple[bool, int]:
    """Does it hold, and how long is the way to where it first does not?"""
    (one,) = [one for one in found.verdicts if one.id == what]
    return one.holds, len(one.path or ())


class Forgetful:
    """Remembers the last mm only."""

    words, state_bytes = 1, 4

    def add(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:  # noqa: N805
        """Somebody maps."""
        state[0] = mm
        return 0

    def remove(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:  # noqa: N805
        """Somebody unmaps."""
        return 0

    def maybe_shared(state: Any, nr_pages: int, total: int) -> bool:  # noqa: N805
        """Never."""
        return state[0] > 99


def test_broken() -> None:
    """A scheme that never says shared is found out by two events; that it keeps an id is told, not blamed."""
    found = explore(WORLDS[1], scheme_of(Forgetful), memory=MEMORY)
    assert (False, 2) == verdict(found, "never-exclusive-when-shared")
    assert (False, 2) == verdict(found, BACK_TO_ZERO)
    assert ["never-exclusive-when-shared"] == [one.id for one in found.faults]
    assert found.wrongly_shared is None


class Counter(Forgetful):
    """Counts events for ever."""

    def add(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:  # noqa: N805
        """Somebody maps."""
        state[0] += 100
        return 0


def test_without_end() -> None:
    """A scheme whose states have no end stops at what it is allowed, and does not pass."""
    some = explore(WORLDS[1], scheme_of(Counter), memory=1 << 17)
    assert (Stopped.MEMORY, False) == (some.stopped, some.exhausted)
    some = explore(WORLDS[1], scheme_of(Counter), memory=MEMORY, most_states=500)
    assert Stopped.MOST_STATES == some.stopped
    assert sum(some.layers) <= some.states


class Beside(Forgetful):
    """Writes beside its state, but only when all of three mms map two pages."""

    def add(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:  # noqa: N805
        """Somebody maps."""
        state[total // 6] = mm
        return 0


def test_writing_beside_the_state() -> None:
    """A scheme that writes beside its integers, which compiled code does not notice, is caught."""
    with pytest.raises(SchemeError, match=r"writes beside|IndexError"):
        explore(WORLDS[1], scheme_of(Beside), memory=MEMORY)


def test_memory() -> None:
    """A scheme's search that does not fit has explored whole layers."""
    full = explore(WORLDS[1], find("two-slots"), memory=MEMORY)
    some = explore(WORLDS[1], find("two-slots"), memory=20_000)
    assert Stopped.MEMORY == some.stopped
    assert full.layers[: len(some.layers)] == some.layers
