"""Exhausting small worlds: the same states as plain loops over `tracking` find, however it is done."""

from __future__ import annotations

from dataclasses import replace
from math import factorial

import pytest

from mapcount.check.exploration import Ending, Exploration, Stopped
from mapcount.check.explore import explore, run
from mapcount.check.search import Search
from mapcount.check.world import World
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, Flavour
from mapcount.tracking.questions import folio_maybe_mapped_shared

from .naive_states import folio_after, found_by, state_of, states

MEMORY = 1 << 26
NARROW = {
    f"{name}, slots of {cap}": FLAVOURS[name].on(32).scaled(max_slot_mapcount=cap)
    for name, cap in (("page-mapcount", 3), ("no-page-mapcount", 2), ("total-mapped-pages", 1))
}
KERNELS = FLAVOURS | NARROW
SHAPES = [(1, 4, 1, True), (2, 2, 1, True), (3, 2, 1, False)]
"""mms, pages, mappings of each page, PMDs?"""

EVERY_KERNEL = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=str)
TWO_BY_TWO = World(NO_PAGE_MAPCOUNT, 2, 2)
THREE = World(NO_PAGE_MAPCOUNT, 3, 4)
"""The smallest world of four pages in which a folio can be shared wrongly."""


def timeless(found: Exploration) -> Exploration:
    """The same, however long it took."""
    return replace(found, seconds=0.0)


@EVERY_KERNEL
@EVERY_SHAPE
def test_the_states_that_tracking_reaches(kernel: Flavour, shape: tuple[int, int, int, bool]) -> None:
    """Unreduced, the exploration meets exactly the states that `tracking` reaches, by as few events."""
    world = World(kernel, *shape)
    expected = states(world)
    with Search(world, threads=1, memory=MEMORY, reduced=False) as search:
        assert run(search) is None
        assert set(expected.depth) == found_by(search)
        assert expected.layers == tuple(search.ledger.layers)
        assert expected.transitions == search.ledger.transitions


def test_two_vmas() -> None:
    """The same where an mm maps pages twice, and pages in parts."""
    for shape in ((2, 2, 2, True), (2, 4, 1, True)):
        world = World(NO_PAGE_MAPCOUNT, *shape)
        with Search(world, threads=1, memory=MEMORY, reduced=False) as search:
            run(search)
            assert set(states(world).depth) == found_by(search)


def test_forks_lead_nowhere_else() -> None:
    """Fork's duplicates of entries lead to no state that mapping does not lead to."""
    world = World(NO_PAGE_MAPCOUNT, 3, 2, 1, False)
    assert states(world).depth == states(world, forks=True).depth


@EVERY_KERNEL
@EVERY_SHAPE
def test_orbits_add_up(kernel: Flavour, shape: tuple[int, int, int, bool]) -> None:
    """States up to symmetry stand for exactly those of the search that reduces nothing, layer by layer."""
    world = World(kernel, *shape)
    full = explore(world, threads=1, memory=MEMORY, reduce=False)
    some = explore(world, threads=1, memory=MEMORY)
    assert full.states == some.unreduced_states
    assert full.depth == some.depth
    assert full.states <= some.states * factorial(world.mms) * 2**world.mms
    assert [(v.id, v.holds) for v in full.verdicts] == [(v.id, v.holds) for v in some.verdicts]
    assert (full.wrongly_shared is None) == (some.wrongly_shared is None)


@EVERY_KERNEL
def test_every_invariant_holds(kernel: Flavour) -> None:
    """Every invariant of every flavour holds in every state, also where slots overflow."""
    found = explore(World(kernel, 3, 4, 1), memory=MEMORY)
    assert () == found.faults
    assert found.exhausted


@pytest.mark.parametrize("reduced", [True, False])
def test_wrongly_shared(reduced: bool) -> None:
    """The shortest way to be wrongly shared takes three mms and five events, and may last for ever."""
    found = explore(THREE, memory=MEMORY, reduce=reduced)
    story = found.wrongly_shared
    assert story is not None
    folio = folio_after(THREE, story.path)
    assert story.state == state_of(THREE.after_all(story.path), folio)
    assert folio_maybe_mapped_shared(folio)
    assert 1 == sum(mine.entries > 0 for mine in story.state.tables)
    assert 5 == len(story.path)
    assert story.longest is None
    assert story.state == state_of(
        THREE.after_all([*story.path, *story.around]), folio_after(THREE, [*story.path, *story.around])
    )
    assert 0 == story.endings[Ending.RECOGNISED]
    assert all(n > 0 for ending, n in story.endings.items() if ending != Ending.RECOGNISED)


def test_two_mms_are_never_mistaken() -> None:
    """Two slots are exact for two mms, whatever happens."""
    assert explore(World(NO_PAGE_MAPCOUNT, 2, 4, 2), memory=MEMORY).wrongly_shared is None


@pytest.mark.parametrize("reduced", [True, False])
def test_threads(reduced: bool) -> None:
    """Two threads find what one does."""
    one, two = (explore(THREE, threads=n, memory=MEMORY, reduce=reduced) for n in (1, 2))
    assert timeless(one) == timeless(two)


def test_memory() -> None:
    """A search that does not fit into its memory says so, and has explored whole layers until then."""
    full = explore(THREE, threads=1, memory=MEMORY)
    for memory in (1, 10_000, 30_000):
        some = explore(THREE, threads=1, memory=memory)
        assert Stopped.MEMORY == some.stopped
        assert not some.exhausted
        assert full.layers[: len(some.layers)] == some.layers
        assert len(some.layers) - 1 == some.depth


def test_most_states() -> None:
    """A search that is to stop does so after the layer in which enough states were met."""
    full = explore(THREE, threads=1, memory=MEMORY)
    some = explore(THREE, threads=1, memory=MEMORY, most_states=sum(full.layers[:3]))
    assert (Stopped.MOST_STATES, full.layers[:3]) == (some.stopped, some.layers)


def test_interrupted() -> None:
    """An interrupted search tells what it has found so far."""

    def progress(depth: int, layer: int, states: int) -> None:
        if depth == 2:
            raise KeyboardInterrupt

    some = explore(THREE, threads=1, memory=MEMORY, progress=progress)
    assert (Stopped.INTERRUPTED, 2) == (some.stopped, some.depth)


def test_what_larger_worlds_hold() -> None:
    """A world whose truths do not fit into 63 bits, or into a table, is refused with a reason."""
    for world in (World(NO_PAGE_MAPCOUNT, 16, 4), World(NO_PAGE_MAPCOUNT, 2, 32)):
        with pytest.raises(ValueError, match=r"take fewer"):
            explore(world)
