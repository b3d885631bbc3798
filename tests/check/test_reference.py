"""The plain explorer, and the compiled code beside it."""

from __future__ import annotations

import pytest

from mapcount.check.agreement import agree
from mapcount.check.explore import explore
from mapcount.check.reference import (
    KernelFolio,
    SchemeState,
    Search,
    anonymous,
    every_event,
    state_after,
)
from mapcount.check.world import World
from mapcount.schemes.registry import find
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, Flavour
from mapcount.tracking.owner_slots import OwnerSlots

SMALL = World(NO_PAGE_MAPCOUNT, 3, 2)


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Each of the four flavours."""
    return FLAVOURS[request.param]


def test_paths_lead_where_they_say() -> None:
    """The events of a path lead to its state, and the shortest path is as long as the state is deep."""
    search = Search(SMALL, KernelFolio(SMALL))
    for number, state in enumerate(search):
        if number % 97 == 0:
            path = search.path_to(state.key)
            assert state.depth == len(path)
            assert state.key == state_after(SMALL, search.subject, path).key


def test_what_is_left_out_counts_alike(flavour: Flavour) -> None:
    """Where a first mapping or a fork's can happen, another event that is explored has the same effect."""
    world = World(flavour, 2, 2)
    subject = KernelFolio(world)
    tried = 0
    for state in Search(world, subject):
        explored = {
            (move[0].mm, subject.key(subject.step(state.counters, move[0], 0)))
            for move in every_event(world, state.tables)
        }
        for event in world.events:
            if event.op.name[:3] in ("NEW", "DUP") and world.legal(state.tables, event):
                tried += 1
                assert (event.mm, subject.key(subject.step(state.counters, event, 0))) in explored
    assert tried


def test_anonymous_memory_is_part_of_it(flavour: Flavour) -> None:
    """Faults, forks, unmapping and exits reach no state that single events do not reach."""
    world = World(flavour, 2, 2)
    everything = {state.key for state in Search(world, KernelFolio(world))}
    anonymous_only = {state.key for state in Search(world, KernelFolio(world), anonymous)}
    assert anonymous_only <= everything
    assert len(anonymous_only) > 1


@pytest.mark.parametrize("bits", [64, 32])
def test_compiled_code_agrees(flavour: Flavour, bits: int) -> None:
    """The engine does what the reference does in every transition, and as many states are found."""
    scaled = flavour.on(bits).scaled(max_slot_mapcount=1 if bits == 32 else None)
    world = World(scaled, 2, 2, pmd=bits == 64)
    found = agree(world)
    assert () == found.differences
    assert found.exhausted
    assert found.states == explore(world, threads=1, memory=64 << 20, reduce=False).states


def test_schemes_agree() -> None:
    """A scheme's functions, compiled, do what they do by Python."""
    found = agree(World(NO_PAGE_MAPCOUNT, 2, 2), find("per-page"))
    assert () == found.differences
    assert found.exhausted


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the reference has another rule than the engine, the first event at which they part is named."""
    rule = OwnerSlots.remove

    def changed(self: OwnerSlots, total: int, mm_id: int, n: int) -> None:
        rule(self, total, mm_id, n)
        self.shared = self.shared and total != 1

    monkeypatch.setattr(OwnerSlots, "remove", changed)
    found = agree(SMALL)
    first = found.differences[0]
    assert 5 == len(first.path)
    assert "UNMAP" in first.path[-1].op.name
    assert first.reference.endswith("flag 0")
    assert first.engine.endswith("flag 1")


def test_agreement_can_be_bounded() -> None:
    """A bound on states is kept to, and then nothing was exhausted."""
    found = agree(World(PAGE_MAPCOUNT, 3, 4), most_states=500)
    assert not found.exhausted
    assert 500 < found.states < 600


def test_agreement_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C it is known how far it came, and nothing was exhausted."""
    monkeypatch.setattr("mapcount.check.agreement.TOLD_EVERY", 50)

    def interrupt(depth: int, waiting: int, states: int) -> None:
        raise KeyboardInterrupt

    found = agree(SMALL, progress=interrupt)
    assert (True, False) == (found.interrupted, found.exhausted)
    assert found.states > 50


def test_a_broken_scheme_breaks_in_the_reference() -> None:
    """A scheme is asked for one thing: never to call a shared folio exclusive."""
    scheme = find("first-page")
    world = World(NO_PAGE_MAPCOUNT, 2, 2, pmd=False)
    search = Search(world, SchemeState(scheme, world))
    broken = [state for state in search if search.subject.broken(state.counters, state.truth)]
    assert 2 == broken[0].depth
    assert all(state.truth.shared for state in broken)
