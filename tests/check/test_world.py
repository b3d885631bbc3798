"""Small worlds: which events there are, and where they can happen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.check.world import Event, Mappings, World
from mapcount.replay.trace import Op
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

WORLD = World(NO_PAGE_MAPCOUNT, 3, 4, 2)


def test_events() -> None:
    """Per mm: a first mapping, any run of pages mapped, unmapped or copied by fork, and the same by a PMD."""
    assert 3 * (1 + 3 * 10 + 3) == len(WORLD.events)
    assert len(set(WORLD.events)) == len(WORLD.events)


def test_a_slot_limits_batches() -> None:
    """No event maps more at once than a slot can count."""
    narrow = World(NO_PAGE_MAPCOUNT.on(32).scaled(max_slot_mapcount=2), 1, 4, pmd=False)
    assert {1, 2} == {event.nr for event in narrow.events}


@given(st.lists(st.integers(0, len(WORLD.events) - 1), max_size=30))
def test_before_undoes_after(numbers: list[int]) -> None:
    """What was mapped before an event is found again from what is mapped after it."""
    tables = WORLD.nothing
    for number in numbers:
        event = WORLD.events[number]
        if WORLD.legal(tables, event):
            after = WORLD.after(tables, event)
            assert tables == WORLD.before(after, event)
            assert all(0 <= n + mine.pmds <= 2 for mine in after for n in mine.ptes)
            tables = after


def test_legality() -> None:
    """Forks need a parent's entries, unmapping entries of the kind, a first mapping an unmapped folio."""
    pmd, ptes = Event(Op.MAP_PMD, 1, 0, 4), Event(Op.MAP_PTES, 2, 1, 2)
    tables = WORLD.after_all([pmd, ptes])
    assert (Mappings((0, 0, 0, 0), 1), Mappings((0, 1, 1, 0), 0), Mappings((0, 0, 0, 0), 0)) == tables
    legal = {
        Event(Op.NEW, 3, 0, 4): False,
        Event(Op.DUP_PMD, 3, 0, 4): True,
        Event(Op.DUP_PMD, 1, 0, 4): False,
        Event(Op.DUP_PTES, 3, 1, 2): True,
        Event(Op.DUP_PTES, 3, 0, 2): False,
        Event(Op.UNMAP_PTES, 1, 0, 1): False,
        Event(Op.UNMAP_PTES, 2, 2, 1): True,
        Event(Op.UNMAP_PMD, 2, 0, 4): False,
        Event(Op.MAP_PTES, 1, 0, 4): True,
    }
    assert legal == {event: WORLD.legal(tables, event) for event in legal}


def test_what_cannot_happen_is_said() -> None:
    """An event that cannot happen is named, with its number."""
    with pytest.raises(ValueError, match=r"event 2, .* cannot happen there"):
        WORLD.after_all([Event(Op.MAP_PTES, 1, 0, 1), Event(Op.UNMAP_PTES, 1, 1, 1)])


@pytest.mark.parametrize("numbers", [(0, 4, 1), (33, 4, 1), (1, 1, 1), (1, 3, 1), (1, 1024, 1), (1, 4, 0)])
def test_worlds_that_cannot_be(numbers: tuple[int, int, int]) -> None:
    """A world without mms, of a folio of one page, or of three pages, is refused."""
    with pytest.raises(ValueError, match="not"):
        World(NO_PAGE_MAPCOUNT, *numbers)
