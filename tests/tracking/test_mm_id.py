"""Section 3 of the mechanism: which id an mm gets, and where two ids and two flags find room in one word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, Flavour
from mapcount.tracking.mm_id import MM_ID_DUMMY, MmIdAllocator, NoMmIdLeft
from mapcount.tracking.owner_slots import OwnerSlots

from .naive import lowest_free

BOTH_WIDTHS = pytest.mark.parametrize("flavour", [NO_PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT.on(32)], ids=str)


@BOTH_WIDTHS
def test_first_ids(flavour: Flavour) -> None:
    """Ids start at 1, because 0 means that a slot is unused."""
    allocator = MmIdAllocator(flavour)

    assert 0 == MM_ID_DUMMY
    assert [1, 2, 3] == [allocator.alloc() for _ in range(3)]


@BOTH_WIDTHS
def test_lowest_free_first(flavour: Flavour) -> None:
    """A new mm gets the lowest id that is free, whichever was freed last."""
    allocator = MmIdAllocator(flavour)
    for _ in range(5):
        allocator.alloc()
    for mm_id in (2, 4, 1):
        allocator.free(mm_id)

    assert [1, 2, 4, 6] == [allocator.alloc() for _ in range(4)]


@BOTH_WIDTHS
def test_reuse(flavour: Flavour) -> None:
    """An mm that follows another one's exit has its id again, every time."""
    allocator = MmIdAllocator(flavour)
    allocator.alloc()
    ids = []
    for _ in range(100):
        ids.append(allocator.alloc())
        allocator.free(ids[-1])

    assert [2] * 100 == ids


def test_largest_ids() -> None:
    """A 64-bit kernel has ids up to 2^31-1, a 32-bit one up to 2^15-1, in every flavour."""
    assert {2**31 - 1} == {MmIdAllocator(f).max for f in FLAVOURS.values()}
    assert {2**15 - 1} == {MmIdAllocator(f.on(32)).max for f in FLAVOURS.values()}


def test_exhaustion_32() -> None:
    """A 32-bit kernel can hand out all of 32767 ids, then fails, and goes on with one that is freed."""
    allocator = MmIdAllocator(NO_PAGE_MAPCOUNT.on(32))

    assert list(range(1, 32768)) == [allocator.alloc() for _ in range(32767)]
    with pytest.raises(NoMmIdLeft, match="all 32767 MM ids are taken"):
        allocator.alloc()
    allocator.free(77)
    assert 77 == allocator.alloc()


def test_exhaustion_64() -> None:
    """A 64-bit kernel fails after id 2147483647, the largest that leaves the top bit of 32 free."""
    allocator = MmIdAllocator(NO_PAGE_MAPCOUNT)
    allocator._never_used = allocator.max  # as if all the others were taken: nobody waits for 2^31 turns

    assert 2147483647 == allocator.alloc()
    with pytest.raises(NoMmIdLeft, match="all 2147483647 MM ids are taken"):
        allocator.alloc()


def test_failed_alloc_takes_nothing() -> None:
    """An allocation that failed has changed nothing: the first id freed afterwards is the next one given."""
    allocator = MmIdAllocator(NO_PAGE_MAPCOUNT)
    only = allocator._never_used = allocator.max
    allocator.alloc()
    for _ in range(3):
        with pytest.raises(NoMmIdLeft):
            allocator.alloc()
    allocator.free(only)

    assert only == allocator.alloc()


@pytest.mark.parametrize("mm_id", [MM_ID_DUMMY, 2, -1])
def test_free_of_an_id_not_in_use(mm_id: int) -> None:
    """Only an id that is in use can be given back, and the attempt changes nothing."""
    allocator = MmIdAllocator(NO_PAGE_MAPCOUNT)
    allocator.alloc()
    with pytest.raises(ValueError, match=f"MM id {mm_id} is not in use"):
        allocator.free(mm_id)

    assert 2 == allocator.alloc()


def test_free_twice() -> None:
    """An id cannot be given back twice, so two mms never share one."""
    allocator = MmIdAllocator(NO_PAGE_MAPCOUNT)
    allocator.free(allocator.alloc())
    with pytest.raises(ValueError, match="MM id 1 is not in use"):
        allocator.free(1)

    assert [1, 2] == [allocator.alloc(), allocator.alloc()]


@given(st.lists(st.none() | st.integers(0, 9), max_size=60))
def test_like_a_search_from_one(story: list[int | None]) -> None:
    """The allocator gives what a search for the lowest free number from 1 on finds."""
    allocator = MmIdAllocator(NO_PAGE_MAPCOUNT)
    taken: set[int] = set()
    for which in story:
        if which is not None and taken:
            leaver = sorted(taken)[which % len(taken)]
            taken.remove(leaver)
            allocator.free(leaver)
        else:
            expected = lowest_free(taken)
            taken.add(expected)
            assert expected == allocator.alloc()


@pytest.mark.parametrize(
    ("flavour", "lock_bit", "shared_bit"),
    [(NO_PAGE_MAPCOUNT, 31, 63), (NO_PAGE_MAPCOUNT.on(32), 15, 31)],
    ids=str,
)
def test_flag_bits(flavour: Flavour, lock_bit: int, shared_bit: int) -> None:
    """The lock bit is the top bit of the first id, the shared flag the top bit of the second."""
    slots = OwnerSlots(flavour)
    with slots.lock():
        assert 1 << lock_bit == slots.mm_ids
    slots.shared = True

    assert 1 << shared_bit == slots.mm_ids


@BOTH_WIDTHS
def test_largest_ids_in_one_word(flavour: Flavour) -> None:
    """Two largest ids and both flags fit in one machine word and leave each other alone."""
    slots = OwnerSlots(flavour)
    slots.set(0, flavour.max_mm_id, 3)
    slots.set(1, flavour.max_mm_id - 1, 4)
    slots.shared = True
    with slots.lock():
        assert (1 << flavour.bits) - 1 - (1 << flavour.bits // 2) == slots.mm_ids
        assert (flavour.max_mm_id, flavour.max_mm_id - 1) == (slots.mm_id(0), slots.mm_id(1))
    slots.shared = False
    slots.set(0, MM_ID_DUMMY, 0)

    assert (MM_ID_DUMMY, flavour.max_mm_id - 1) == (slots.mm_id(0), slots.mm_id(1))
    assert not slots.locked


@pytest.mark.parametrize("bits", [0, 16, 128])
def test_other_widths(bits: int) -> None:
    """A kernel is 64 or 32 bits wide, nothing else."""
    with pytest.raises(ValueError, match=f"64 or 32 bits wide, not {bits}"):
        NO_PAGE_MAPCOUNT.on(bits)
