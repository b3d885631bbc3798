"""Section 4 of the mechanism: each row of adding and removing, its edges, and what follows from the rows.

Slots are written as `OwnerSlots` prints them: `1:3 2:4 shared` is mm 1 with 3 mappings, mm 2 with 4, and the
shared flag; `-` is a free slot. The mms of these stories are 1 to 4, and `Kernel` adds up the total.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import permutations

import pytest

from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES, Flavour
from mapcount.tracking.folio import Folio
from mapcount.tracking.owner_slots import OwnerSlots
from mapcount.tracking.questions import folio_maybe_mapped_shared, folio_precise_page_mapcount
from mapcount.tracking.rmap import folio_add_rmap, folio_remove_rmap

from .naive import NaiveSlots

WITH_SLOTS = [PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES]
EVERY_KERNEL = pytest.mark.parametrize(
    "flavour", [flavour.on(bits) for flavour in WITH_SLOTS for bits in (64, 32)], ids=str
)
LIMIT = 2**15


class Kernel:
    """Two slots, and a caller that keeps the total and the truth for them."""

    def __init__(self, flavour: Flavour) -> None:
        self.slots = OwnerSlots(flavour)
        self.true: dict[int, int] = {}

    def add(self, mm: int, n: int = 1) -> Kernel:
        """`mm` maps the folio `n` times more."""
        self.true[mm] = self.true.get(mm, 0) + n
        self.slots.add(self.total, mm, n)
        return self

    def remove(self, mm: int, n: int = 1) -> Kernel:
        """`mm` maps the folio `n` times less."""
        self.true[mm] -= n
        self.slots.remove(self.total, mm, n)
        return self

    def exit(self, mm: int) -> Kernel:
        """`mm` removes all that it has, in one batch."""
        return self.remove(mm, self.true[mm])

    @property
    def total(self) -> int:
        """How many mappings there are."""
        return sum(self.true.values())

    @property
    def maybe_shared(self) -> bool:
        """What `folio_maybe_mapped_shared` says of a large folio."""
        return self.total > 1 and self.slots.shared

    @property
    def shared(self) -> bool:
        """The truth."""
        return len([n for n in self.true.values() if n]) > 1

    def __str__(self) -> str:
        return str(self.slots)


# -- adding, row by row --------------------------------------------------------------------------------


@EVERY_KERNEL
def test_new_folio(flavour: Flavour) -> None:
    """A new folio has free slots and a clear flag; its first mapping makes total = n and slot 0 = (m, n)."""
    kernel = Kernel(flavour)
    assert "- -" == str(kernel)
    kernel.add(1, 16)

    assert "1:16 -" == str(kernel)
    assert not kernel.maybe_shared


@EVERY_KERNEL
def test_add_slot_0_is_its_own(flavour: Flavour) -> None:
    """More mappings of the mm in slot 0 are added to its count; the flag stays as it is."""
    assert "1:5 -" == str(Kernel(flavour).add(1, 3).add(1, 2))
    assert "1:5 2:1 shared" == str(Kernel(flavour).add(1, 3).add(2).add(1, 2))


@EVERY_KERNEL
def test_add_slot_1_is_its_own(flavour: Flavour) -> None:
    """More mappings of the mm in slot 1 are added to its count; the flag stays as it is."""
    assert "1:3 2:5 shared" == str(Kernel(flavour).add(1, 3).add(2).add(2, 4))
    assert "- 2:5" == str(Kernel(flavour).add(1, 3).add(2).exit(1).add(2, 4))


@EVERY_KERNEL
def test_add_own_slot_1_before_free_slot_0(flavour: Flavour) -> None:
    """An mm in slot 1 stays there when slot 0 became free: rows are tried in order."""
    assert "- 2:2" == str(Kernel(flavour).add(1).add(2).exit(1).add(2))


@EVERY_KERNEL
def test_add_slot_0_free_and_alone(flavour: Flavour) -> None:
    """The only mm takes slot 0 and the flag stays clear when the total is its own n."""
    kernel = Kernel(flavour).add(1, 4).exit(1).add(2, 3)

    assert "2:3 -" == str(kernel)


@EVERY_KERNEL
def test_add_slot_0_free_but_slot_1_taken(flavour: Flavour) -> None:
    """Taking slot 0 sets the flag when slot 1's mm maps the folio: total != n."""
    kernel = Kernel(flavour).add(1, 4).add(2, 4).exit(1)
    assert "- 2:4" == str(kernel)
    kernel.add(3, 4)

    assert "3:4 2:4 shared" == str(kernel)


@EVERY_KERNEL
def test_add_slot_0_free_but_others_unseen(flavour: Flavour) -> None:
    """Taking slot 0 keeps the flag set when an untracked mm maps the folio: total != n."""
    kernel = Kernel(flavour).add(1).add(2).add(3, 2).exit(1).exit(2)
    assert "- - shared" == str(kernel)
    kernel.add(4, 2)

    assert "4:2 - shared" == str(kernel)
    assert kernel.shared


@EVERY_KERNEL
def test_add_slot_0_free_with_a_clear_flag_sets_it(flavour: Flavour) -> None:
    """The flag is set, not merely kept, when slot 0 is taken beside a folio's exclusive owner in slot 1."""
    kernel = Kernel(flavour).add(1).add(2, 2).exit(1)
    assert not kernel.slots.shared
    kernel.add(3)

    assert kernel.slots.shared


@EVERY_KERNEL
def test_add_slot_1_free(flavour: Flavour) -> None:
    """The second mm takes slot 1 and sets the flag."""
    assert "1:3 2:7 shared" == str(Kernel(flavour).add(1, 3).add(2, 7))


@EVERY_KERNEL
def test_add_slot_1_does_not_look_at_the_total(flavour: Flavour) -> None:
    """Taking slot 1 sets the flag unconditionally, unlike taking slot 0."""
    slots = OwnerSlots(flavour)
    slots.add(3, 1, 3)
    slots.add(7, 2, 7)  # a made-up total, as if slot 0's mm had no mappings

    assert "1:3 2:7 shared" == str(slots)


@EVERY_KERNEL
def test_add_no_slot_free(flavour: Flavour) -> None:
    """A third mm's mappings stay untracked: only the total knows them, and the flag is set already."""
    kernel = Kernel(flavour).add(1, 3).add(2, 7).add(3, 5)

    assert "1:3 2:7 shared" == str(kernel)
    assert 15 == kernel.total


@EVERY_KERNEL
def test_ids_at_the_top(flavour: Flavour) -> None:
    """The largest ids are tracked like any other."""
    top = flavour.max_mm_id
    kernel = Kernel(flavour).add(top, 2).add(top - 1, 3)

    assert f"{top}:2 {top - 1}:3 shared" == str(kernel)
    assert f"{top}:2 -" == str(kernel.exit(top - 1))


# -- the 32-bit slot that overflows --------------------------------------------------------------------


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("flavour", [f.on(32) for f in WITH_SLOTS], ids=str)
def test_overflow_frees_the_slot(flavour: Flavour, slot: int) -> None:
    """On 32-bit a slot holds 2^15 mappings; with one more it is given up and the flag is set."""
    kernel = Kernel(flavour).add(1).add(2)
    mm, other = slot + 1, 2 - slot
    kernel.exit(other).add(mm, LIMIT - 1)
    assert [f"1:{LIMIT} -", f"- 2:{LIMIT}"][slot] == str(kernel)
    assert not kernel.maybe_shared
    kernel.add(mm)

    assert "- - shared" == str(kernel)
    assert kernel.maybe_shared
    assert not kernel.shared


def test_overflow_in_one_batch() -> None:
    """On 32-bit a batch that no longer fits frees the slot too, not only a single mapping."""
    kernel = Kernel(NO_PAGE_MAPCOUNT.on(32)).add(1, LIMIT - 100).add(1, 512)

    assert "- - shared" == str(kernel)


def test_overflow_leaves_the_other_slot() -> None:
    """A slot that overflows leaves the other one's mm tracked."""
    kernel = Kernel(NO_PAGE_MAPCOUNT.on(32)).add(1, LIMIT).add(2, 7).add(1)

    assert "- 2:7 shared" == str(kernel)


def test_overflow_then_a_slot_again() -> None:
    """An mm whose slot overflowed gets a slot again with its next mapping, and undercounts from then on."""
    kernel = Kernel(NO_PAGE_MAPCOUNT.on(32)).add(1, LIMIT).add(1).add(1, 5)

    assert "1:5 - shared" == str(kernel)


def test_overflow_heals_when_unmapped() -> None:
    """The wrong "shared" after an overflow lasts until the folio is unmapped."""
    kernel = Kernel(NO_PAGE_MAPCOUNT.on(32)).add(1, LIMIT).add(1)

    assert "- - shared" == str(kernel.remove(1, LIMIT - 1))
    assert "- -" == str(kernel.exit(1))


@pytest.mark.parametrize("flavour", WITH_SLOTS, ids=str)
def test_no_overflow_on_64_bit(flavour: Flavour) -> None:
    """A 64-bit kernel's slots hold 2^31 mappings and never came near that."""
    assert f"1:{LIMIT + 1} -" == str(Kernel(flavour).add(1, LIMIT).add(1))
    assert f"1:{2**31} -" == str(Kernel(flavour).add(1, 2**31))


# -- removing, rule by rule ----------------------------------------------------------------------------


@EVERY_KERNEL
@pytest.mark.parametrize("mm", [1, 2])
def test_remove_some(flavour: Flavour, mm: int) -> None:
    """While a tracked mapping is left, the slot counts down and nothing else happens."""
    kernel = Kernel(flavour).add(1, 4).add(2, 4).remove(mm, 3)

    assert ["1:1 2:4 shared", "1:4 2:1 shared"][mm - 1] == str(kernel)


@EVERY_KERNEL
def test_remove_some_of_the_only_one(flavour: Flavour) -> None:
    """A sole owner that unmaps a part stays the sole owner."""
    assert "1:1 -" == str(Kernel(flavour).add(1, 16).remove(1, 15))


@EVERY_KERNEL
def test_remove_some_does_not_look_at_the_flag(flavour: Flavour) -> None:
    """With a tracked mapping left the flag is not looked at, even where a count is the total."""
    kernel = Kernel(flavour)
    kernel.slots.set(0, 1, 3)
    kernel.slots.set(1, 2, 2)
    kernel.slots.shared = True
    kernel.slots.remove(2, 1, 1)  # a made-up total of 2, which slot 0 and slot 1 now both have

    assert "1:2 2:2 shared" == str(kernel)


@EVERY_KERNEL
@pytest.mark.parametrize("leaver", [1, 2])
def test_remove_last_of_two(flavour: Flavour, leaver: int) -> None:
    """When one of two tracked mms leaves, the other's count is the total: exclusive again."""
    kernel = Kernel(flavour).add(1, 3).add(2, 7).exit(leaver)

    assert ["- 2:7", "1:3 -"][leaver - 1] == str(kernel)
    assert not kernel.maybe_shared


@EVERY_KERNEL
def test_remove_last_tracked_while_a_third_stays(flavour: Flavour) -> None:
    """The flag stays when a tracked mm leaves and an untracked one is still there."""
    assert "1:3 - shared" == str(Kernel(flavour).add(1, 3).add(2, 7).add(3, 5).exit(2))


@EVERY_KERNEL
def test_remove_untracked(flavour: Flavour) -> None:
    """An mm without a slot that leaves clears the flag when a slot's count is now the total."""
    kernel = Kernel(flavour).add(1, 3).add(2, 7).add(3, 5).exit(2)

    assert "1:3 - shared" == str(kernel.remove(3, 4))
    assert "1:3 -" == str(kernel.exit(3))


@EVERY_KERNEL
def test_remove_untracked_aligns_with_slot_1(flavour: Flavour) -> None:
    """The flag is cleared when the total aligns with slot 1 just as with slot 0."""
    assert "- 2:7" == str(Kernel(flavour).add(1, 3).add(2, 7).add(3, 5).exit(1).exit(3))


@EVERY_KERNEL
def test_remove_more_than_tracked(flavour: Flavour) -> None:
    """Removing more than the slot saw frees it with count 0, never below: the rest had come unseen."""
    kernel = Kernel(flavour).add(1).add(2).add(3, 4).exit(1).add(3, 2)
    assert "3:2 2:1 shared" == str(kernel)

    assert "- 2:1 shared" == str(kernel.remove(3, 5))
    assert "- 2:1" == str(kernel.exit(3))


@EVERY_KERNEL
def test_remove_frees_before_it_compares(flavour: Flavour) -> None:
    """A slot that was just freed cannot match the total with the count it had before."""
    kernel = Kernel(flavour).add(1).add(2).add(3, 2).exit(1).add(3, 2).exit(2)
    assert "3:2 - shared" == str(kernel)

    # total is 2 after this, as slot 0's count was: comparing first would clear the flag
    assert "- - shared" == str(kernel.remove(3, 2))


@EVERY_KERNEL
@pytest.mark.parametrize("total", [1, 2, 100])
def test_free_slots_match_no_total_but_0(flavour: Flavour, total: int) -> None:
    """Free slots never clear the flag while anything is mapped."""
    slots = OwnerSlots(flavour)
    slots.shared = True
    slots.remove(total, 3, 1)

    assert "- - shared" == str(slots)


@EVERY_KERNEL
def test_free_slots_match_total_0(flavour: Flavour) -> None:
    """The last unmapping leaves free slots and "exclusive", even of a folio whose mm was never tracked."""
    kernel = Kernel(flavour).add(1).add(2).add(3, 2).exit(1).exit(2)
    assert "- - shared" == str(kernel)

    assert "- -" == str(kernel.exit(3))


@EVERY_KERNEL
def test_lock(flavour: Flavour) -> None:
    """Both operations run under the bit spinlock, and whoever finds it held waits forever here: an error."""
    slots = OwnerSlots(flavour)
    with slots.lock():
        for operation in (slots.add, slots.remove):
            with pytest.raises(RuntimeError, match="held already"):
                operation(1, 1, 1)
    assert not slots.locked
    slots.add(1, 1, 1)

    assert not slots.locked
    assert "1:1 -" == str(slots)


def test_lock_is_released_by_a_failure() -> None:
    """The lock bit is clear again after an exception."""
    slots = OwnerSlots(NO_PAGE_MAPCOUNT)
    with pytest.raises(KeyError), slots.lock():
        raise KeyError

    assert not slots.locked


def test_copy() -> None:
    """A copy of the slots and its original go separate ways."""
    slots = Kernel(NO_PAGE_MAPCOUNT).add(1, 3).slots
    twin = slots.copy()
    twin.add(4, 2, 1)

    assert ("1:3 -", "1:3 2:1 shared") == (str(slots), str(twin))


@EVERY_KERNEL
def test_known_of_others(flavour: Flavour) -> None:
    """What the slots know to be of other mms leaves out the mm's own slot and all that is untracked."""
    slots = Kernel(flavour).add(1, 3).add(2, 7).add(3, 5).slots

    assert [7, 3, 10] == [slots.known_of_others(mm) for mm in (1, 2, 3)]


# -- what follows: stories -----------------------------------------------------------------------------


@EVERY_KERNEL
@pytest.mark.parametrize("leaver", ["parent", "child"])
def test_parent_and_short_lived_child(flavour: Flavour, leaver: str) -> None:
    """Whether the parent or the child leaves first, the other is known to be alone, fork after fork."""
    parent, child = 1, 2
    kernel = Kernel(flavour).add(parent, 16)
    for _ in range(4):
        kernel.add(child, 16)
        assert kernel.maybe_shared
        if leaver == "parent":
            parent, child = child, parent  # the orphan forks next, and its child has the free id
        kernel.exit(child)
        assert not kernel.maybe_shared


def test_one_slot_would_not_do() -> None:
    """With a single slot, a child that outlives its parent would be called shared."""
    slots = NaiveSlots(nr_slots=1)
    slots.add(16, 1, 16)
    slots.add(32, 2, 16)
    slots.remove(16, 1, 16)

    assert slots.maybe_shared(16)
    assert not Kernel(NO_PAGE_MAPCOUNT).add(1, 16).add(2, 16).exit(1).maybe_shared


@EVERY_KERNEL
def test_third_mm_left_alone(flavour: Flavour) -> None:
    """A third, untracked mm that is left alone is wrongly called shared until its mappings drop to one."""
    kernel = Kernel(flavour).add(1, 4).add(2, 4).add(3, 4).exit(1).exit(2)
    said = []
    while kernel.total:
        said.append((kernel.total, kernel.maybe_shared, kernel.shared))
        kernel.remove(3)

    assert [(4, True, False), (3, True, False), (2, True, False), (1, False, False)] == said
    assert "- -" == str(kernel)


@EVERY_KERNEL
def test_third_mm_left_alone_and_unmapped_at_once(flavour: Flavour) -> None:
    """The mistake ends when the untracked mm unmaps the folio in one batch."""
    kernel = Kernel(flavour).add(1, 4).add(2, 4).add(3, 4).exit(1).exit(2).exit(3).add(3, 4)

    assert "3:4 -" == str(kernel)


@EVERY_KERNEL
def test_flag_outlives_the_answer(flavour: Flavour) -> None:
    """At one mapping the answer is right but the flag still set: a second one brings the mistake back."""
    kernel = Kernel(flavour).add(1).add(2).add(3, 2).exit(1).exit(2).remove(3)
    assert (False, True) == (kernel.maybe_shared, kernel.slots.shared)
    kernel.add(3)

    assert (True, False) == (kernel.maybe_shared, kernel.shared)


@EVERY_KERNEL
def test_late_slot_undercounts(flavour: Flavour) -> None:
    """An mm that got its slot late is wrongly called shared when left alone: it is undercounted."""
    kernel = Kernel(flavour).add(1).add(2).add(3, 2).exit(1).add(3, 6).exit(2)

    assert "3:6 - shared" == str(kernel)
    assert (True, False) == (kernel.maybe_shared, kernel.shared)


@EVERY_KERNEL
def test_untracked_one_leaves(flavour: Flavour) -> None:
    """Three mms are no mistake as such: when the untracked one leaves first, all is known again."""
    kernel = Kernel(flavour).add(1, 4).add(2, 4).add(3, 4).exit(3).exit(2)

    assert "1:4 -" == str(kernel)


@pytest.mark.parametrize("flavour", WITH_SLOTS, ids=str)
def test_two_vmas_of_one_mm(flavour: Flavour) -> None:
    """An mm that maps a page twice is one owner: exclusive by the slots, shared by the page's own count."""
    folio = Folio(flavour, 4)
    folio_add_rmap(folio, 0, 1, 1)
    folio_add_rmap(folio, 0, 1, 1)

    assert "1:2 -" == str(folio.slots)
    assert not folio_maybe_mapped_shared(folio)
    if flavour.page_mapcounts:
        assert 2 == folio_precise_page_mapcount(folio, 0)


@pytest.mark.parametrize("flavour", WITH_SLOTS, ids=str)
@pytest.mark.parametrize("order", list(permutations([1, 2, 3])), ids=str)
def test_three_leave_in_every_order(flavour: Flavour, order: tuple[int, int, int]) -> None:
    """Of three mms, the last one is called shared exactly when it is the one that came third."""
    folio = Folio(flavour, 4)
    for mm in (1, 2, 3):
        folio_add_rmap(folio, 0, 16, mm)
    for mm in order[:2]:
        assert folio_maybe_mapped_shared(folio)
        folio_remove_rmap(folio, 0, 16, mm)

    assert (order[2] == 3) == folio_maybe_mapped_shared(folio)


# -- what follows: every reachable state of a small world ----------------------------------------------

State = tuple[tuple[int, ...], NaiveSlots]


@cache
def world(nr_mms: int, most: int, nr_slots: int = 2) -> dict[object, State]:
    """Every state that `nr_mms` mms with up to `most` mappings each can reach, by the naive slots."""
    start: State = ((0,) * nr_mms, NaiveSlots(nr_slots))
    found = {(start[0], start[1].key()): start}
    todo = [start]
    while todo:
        for _, true, slots in moves(todo.pop(), most):
            key = (true, slots.key())
            if key not in found:
                found[key] = (true, slots)
                todo.append((true, slots))
    return found


def moves(state: State, most: int) -> Iterator[tuple[tuple[int, int], tuple[int, ...], NaiveSlots]]:
    """Each event that can happen here, as ((mm, change), and the state that it leads to)."""
    true, slots = state
    for i, have in enumerate(true):
        for n in range(-have, most - have + 1):
            if n:
                then = (*true[:i], have + n, *true[i + 1 :])
                twin = slots.copy()
                (twin.add if n > 0 else twin.remove)(sum(then), i + 1, abs(n))
                yield (i + 1, n), then, twin


WORLDS = [(2, 4), (3, 3), (4, 2)]
EVERY_WORLD = pytest.mark.parametrize(("nr_mms", "most"), WORLDS)


def _loaded(slots: NaiveSlots, flavour: Flavour = NO_PAGE_MAPCOUNT) -> OwnerSlots:
    """The packed slots that hold what these naive ones hold."""
    packed = OwnerSlots(flavour)
    for i, (mm, count) in enumerate(slots.pairs):
        packed.set(i, mm, count)
    packed.shared = slots.shared
    return packed


@pytest.mark.parametrize("bits", [64, 32])
@EVERY_WORLD
def test_every_step_as_the_naive_slots_do_it(nr_mms: int, most: int, bits: int) -> None:
    """From every reachable state, every event leaves the packed slots as the rows read aloud leave theirs."""
    for state in world(nr_mms, most).values():
        for (mm, n), true, slots in moves(state, most):
            packed = _loaded(state[1], NO_PAGE_MAPCOUNT.on(bits))
            (packed.add if n > 0 else packed.remove)(sum(true), mm, abs(n))
            assert str(_loaded(slots)) == str(packed)
            assert not packed.locked


@EVERY_WORLD
def test_never_exclusive_when_shared(nr_mms: int, most: int) -> None:
    """In no reachable state does a folio of two or more mms count as exclusive."""
    for true, slots in world(nr_mms, most).values():
        if len([n for n in true if n]) > 1:
            assert slots.maybe_shared(sum(true))


@EVERY_WORLD
def test_slot_never_exceeds_the_truth(nr_mms: int, most: int) -> None:
    """In every reachable state a slot's count is at most its mm's true number of mappings."""
    for true, slots in world(nr_mms, most).values():
        for mm, count in slots.pairs:
            assert count <= (true[mm - 1] if mm else 0)


@EVERY_WORLD
def test_slots_stay_well_formed(nr_mms: int, most: int) -> None:
    """In every reachable state a slot is free iff its count is 0, and the slots name different mms."""
    for _, slots in world(nr_mms, most).values():
        assert all((mm == 0) == (count == 0) for mm, count in slots.pairs)
        assert slots.pairs[0][0] != slots.pairs[1][0] or slots.pairs[0][0] == 0


@EVERY_WORLD
def test_unmapped_is_as_new(nr_mms: int, most: int) -> None:
    """However a folio became unmapped, its slots are free and the flag is clear."""
    unmapped = [slots.key() for true, slots in world(nr_mms, most).values() if not any(true)]

    assert [((0, 0), (0, 0), False)] == unmapped


def test_two_mms_are_always_exact() -> None:
    """With two mms the answer is the truth in every reachable state: two slots do for parent and child."""
    for true, slots in world(2, 4).values():
        assert all(true) == slots.maybe_shared(sum(true))


def test_two_mms_with_one_slot_are_not() -> None:
    """With one slot, two mms can reach a state in which a sole owner is called shared."""
    mistaken = [true for true, slots in world(2, 4, 1).values() if slots.maybe_shared(sum(true)) != all(true)]

    assert {(0, 2), (0, 3), (0, 4), (2, 0), (3, 0), (4, 0)} == set(mistaken)


@EVERY_WORLD
def test_sole_owner_is_mistaken_iff_it_is_undercounted(nr_mms: int, most: int) -> None:
    """A sole owner of two or more mappings is called shared exactly where no slot has all of them."""
    for true, slots in world(nr_mms, most).values():
        if len([n for n in true if n]) == 1 and sum(true) > 1:
            assert slots.maybe_shared(sum(true)) == (sum(true) not in [count for _, count in slots.pairs])


@pytest.mark.parametrize(("nr_mms", "most"), WORLDS[1:])
def test_three_mms_can_be_mistaken(nr_mms: int, most: int) -> None:
    """With three mms some sole owner is called shared: without a slot, or with one that it got late."""
    mistaken = [
        (sum(true), sum(count for _, count in slots.pairs))
        for true, slots in world(nr_mms, most).values()
        if len([n for n in true if n]) == 1 and slots.maybe_shared(sum(true))
    ]

    assert {(total, seen) for total in range(2, most + 1) for seen in range(total)} == set(mistaken)


@EVERY_WORLD
def test_mistake_about_a_sole_owner_lasts(nr_mms: int, most: int) -> None:
    """A sole owner called shared stays so, whatever it does alone, while it has two mappings or more."""
    for state in world(nr_mms, most).values():
        true, slots = state
        if len([n for n in true if n]) == 1 and slots.maybe_shared(sum(true)):
            (owner,) = [i + 1 for i, n in enumerate(true) if n]
            for (mm, _), then, after in moves(state, most):
                if mm == owner and sum(then) > 1:
                    assert after.maybe_shared(sum(then))
