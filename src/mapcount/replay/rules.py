"""The rules of mapping and unmapping, for sixteen folios side by side.

Events come sorted by folio (`grouping.py`). Sixteen consecutive folios form a group: their state and the
next events of each lie in *lanes*, and one pass over the lanes (`_step`) applies all sixteen events without
a branch, which compiles to vector instructions. A folio with no event left gets an empty one: no mapping,
of mm 0. Rules are those of docs/mechanism.md, sections 4 and 5; nothing is shared with `tracking/`, which
says the same one folio at a time and is what the tests hold this against.

A line `x if condition else y` is a choice between two computed values here, not a branch.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from mapcount.replay import grouping
from mapcount.replay.folios import ID_MASK, MOST_SUM, SHAPE_SHIFT, SHARED_SHIFT, VERDICT_SHIFT
from mapcount.replay.grouping import DOES_SHIFT, NR_SHIFT, PAGE_MASK, ROW_SHIFT
from mapcount.replay.illegal import Reason
from mapcount.replay.jit import jit
from mapcount.replay.trace import HUGETLB, MOST_MAPPINGS, ORDER_MASK
from mapcount.tracking.flavour import PUD_ORDER, Flavour

L: Final = 16
"""Lanes: folios side by side."""
AHEAD: Final = 8
"""Events of each that are fetched at a time: what was just written in pieces is slowly read as a vector."""

# Columns of an event's lanes, each L long.
MM, DOES, PAGE, NR, ROW = (k * L for k in range(5))
LANES_EVENT: Final = 5 * L
# Columns of the 32-bit lanes: the folio's shape, its state, and what was wrong.
NR_PAGES, WHOLE_NR, BY_PTES, SLOTTED = (k * L for k in range(4))
TOTAL, ENTIRE, PAGES, OWNER0, OWNER1, COUNT0, COUNT1, SHARED, VERDICT = (k * L for k in range(4, 13))
DELTA, WRONG = 13 * L, 14 * L
LANES_32: Final = 15 * L
# Columns of the float64 lanes: the truth.
SUM1, SUM2 = 0 * L, 1 * L
LANES_F64: Final = 2 * L

# What an event does: flags of its packed word.
SUBTRACTS, ENTRY, IS_NEW = (np.int32(flag) for flag in (grouping.SUBTRACTS, grouping.ENTRY, grouping.IS_NEW))

MOST: Final = np.int32(MOST_MAPPINGS)
PUD_PAGES = np.int32(1 << PUD_ORDER)

FEW, OTHERS, RANGE = (np.int32(r) for r in (Reason.FEW, Reason.OTHERS, Reason.RANGE))
SHAPE, USED, MANY = (np.int32(r) for r in (Reason.SHAPE, Reason.USED, Reason.MANY))
STRANGER, SLOT = np.int32(Reason.STRANGER), np.int32(Reason.SLOT)

i32 = np.int32
ZERO: Final = np.int32(0)
ONE: Final = np.int32(1)


class Rules(NamedTuple):
    """What of a `Flavour` the engine needs to know."""

    owner_slots: bool
    any_level: bool
    """Are mapped pages counted in place of entire mappings, and may PMDs map parts of a folio?"""
    most_in_slot: int
    """The largest count a slot can hold."""
    pmd_order: int
    """A PMD maps so many pages, as a power of two."""


def rules_of(flavour: Flavour) -> Rules:
    """The rules of a flavour."""
    most = min(flavour.max_slot_mapcount, 2**31 - 1)
    return Rules(flavour.owner_slots, flavour.total_mapped_pages, most, flavour.pmd_order)


@jit
def load(state: Any, which: Any, rules: Any, lanes: Any, wide: Any) -> None:
    """Put the state of these folios into the lanes; the others are empty."""
    large_mapcount, entire, owner0, owner1, count0, count1, sum1, sum2 = state
    lanes[:] = 0
    wide[:] = 0
    for k in range(len(which)):
        f = which[k]
        shape = owner0[f] >> np.uint32(SHAPE_SHIFT)
        order = shape & np.uint32(ORDER_MASK)
        hugetlb = shape & np.uint32(HUGETLB) != 0
        lanes[NR_PAGES + k] = 1 << order
        lanes[WHOLE_NR + k] = 1 << order if order in (rules.pmd_order, PUD_ORDER) or hugetlb else 0
        lanes[BY_PTES + k] = not hugetlb
        lanes[SLOTTED + k] = -1 if rules.owner_slots and order > 0 and not hugetlb else 0
        lanes[TOTAL + k] = large_mapcount[f]
        lanes[PAGES + k if rules.any_level else ENTIRE + k] = entire[f]
        lanes[OWNER0 + k] = owner0[f] & np.uint32(ID_MASK)
        lanes[OWNER1 + k] = owner1[f] & np.uint32(ID_MASK)
        lanes[SHARED + k] = owner1[f] >> np.uint32(SHARED_SHIFT)
        lanes[VERDICT + k] = (owner1[f] >> np.uint32(VERDICT_SHIFT)) & np.uint32(7)
        lanes[COUNT0 + k] = count0[f]
        lanes[COUNT1 + k] = count1[f]
        wide[SUM1 + k] = sum1[f]
        wide[SUM2 + k] = sum2[f]


@jit
def store(state: Any, which: Any, rules: Any, lanes: Any, wide: Any) -> None:
    """Take the state of these folios out of the lanes again."""
    large_mapcount, entire, owner0, owner1, count0, count1, sum1, sum2 = state
    for k in range(len(which)):
        f = which[k]
        large_mapcount[f] = lanes[TOTAL + k]
        entire[f] = lanes[PAGES + k if rules.any_level else ENTIRE + k]
        shape = owner0[f] & ~np.uint32(ID_MASK)
        owner0[f] = shape | np.uint32(lanes[OWNER0 + k])
        flags = np.uint32(lanes[SHARED + k]) << np.uint32(SHARED_SHIFT)
        flags |= np.uint32(lanes[VERDICT + k]) << np.uint32(VERDICT_SHIFT)
        owner1[f] = np.uint32(lanes[OWNER1 + k]) | flags
        count0[f] = lanes[COUNT0 + k]
        count1[f] = lanes[COUNT1 + k]
        sum1[f] = wide[SUM1 + k]
        sum2[f] = wide[SUM2 + k]


@jit
def fetch(events: Any, at: Any, ends: Any, t: int, event: Any) -> None:
    """Put each lane's event number `t` into it: the one at `at + t`, or an empty one from `ends` on."""
    for k in range(L):
        j = at[k] + np.uint64(t)
        if j < ends[k]:
            unpack(events[j, 0], events[j, 1], k, event)
        else:
            unpack(np.uint64(0), np.uint64(0), k, event)


@jit
def fetch_all(events: Any, at: Any, t: int, event: Any) -> None:
    """The same where every lane has such an event."""
    for k in range(L):
        j = at[k] + np.uint64(t)
        unpack(events[j, 0], events[j, 1], k, event)


@jit
def unpack(word0: Any, word1: Any, k: int, event: Any) -> None:
    """Put a packed event (`grouping.py`) into a lane."""
    event[MM + k] = word0 & np.uint64(ID_MASK)
    event[DOES + k] = word0 >> np.uint64(DOES_SHIFT)
    event[NR + k] = word0 >> np.uint64(NR_SHIFT)
    event[PAGE + k] = word1 & np.uint64(PAGE_MASK)
    event[ROW + k] = word1 >> np.uint64(ROW_SHIFT)


@jit
def step(event: Any, lanes: Any, most_in_slot: int) -> Any:
    """Apply the event in each lane. Returns why some could not be: reasons (`Reason`), or'ed."""
    wrong = ZERO
    most_slot = i32(most_in_slot)
    for k in range(L):
        mm, nr, page, nr_pages = event[MM + k], event[NR + k], event[PAGE + k], lanes[NR_PAGES + k]
        happens = nr != ZERO
        new = event[DOES + k] & IS_NEW != ZERO
        sub = event[DOES + k] & SUBTRACTS != ZERO
        entry = (event[DOES + k] & ENTRY != ZERO) | (new & (lanes[WHOLE_NR + k] != ZERO))
        n = ONE if entry else nr
        d = i32(-n) if sub else n
        before, shared, by_ptes = lanes[TOTAL + k], lanes[SHARED + k], lanes[BY_PTES + k]
        total = i32(before + d)
        entire = i32(lanes[ENTIRE + k] + (d if entry else ZERO))
        of_the_kind = entire if entry else i32(total - entire)

        count0, count1, owner0, owner1 = (
            lanes[COUNT0 + k], lanes[COUNT1 + k], lanes[OWNER0 + k], lanes[OWNER1 + k],
        )  # fmt: skip
        in0, in1 = owner0 == mm, owner1 == mm
        others = i32((ZERO if in0 else count0) + (ZERO if in1 else count1))

        # Add: the slot that is mm's, else slot 0 if it is free, else slot 1 if it is free, else none.
        fresh = happens & (not sub) & (not in0) & (not in1)
        take0 = fresh & (owner0 == ZERO)
        take1 = fresh & (owner0 != ZERO) & (owner1 == ZERO)
        count0 = i32(count0 + (d if in0 | take0 else ZERO))
        count1 = i32(count1 + (d if in1 | take1 else ZERO))
        # A slot whose count reaches 0, or no longer fits, is free.
        over = (count0 > most_slot) | (count1 > most_slot)
        keep0, keep1 = (count0 > ZERO) & (count0 <= most_slot), (count1 > ZERO) & (count1 <= most_slot)
        count0, count1 = count0 if keep0 else ZERO, count1 if keep1 else ZERO
        owner0, owner1 = mm if take0 else owner0, mm if take1 else owner1
        # The flag: set when mm is not the only owner for certain; cleared when a slot's count is the total.
        raised = (fresh & (not (take0 & (total == n)))) | over
        still = (in0 & keep0) | (in1 & keep1)
        cleared = sub & ((count0 == total) | (count1 == total)) & (not still)
        shared = ONE if raised else shared
        shared = ZERO if cleared else shared

        # Small and hugetlb folios have no slots: their mask is 0, that of others has all bits.
        slotted = lanes[SLOTTED + k]
        lanes[OWNER0 + k] = owner0 & i32(-i32(keep0)) & slotted
        lanes[OWNER1 + k] = owner1 & i32(-i32(keep1)) & slotted
        lanes[COUNT0 + k] = count0 & slotted
        lanes[COUNT1 + k] = count1 & slotted
        lanes[SHARED + k] = shared & slotted
        lanes[TOTAL + k] = total
        lanes[ENTIRE + k] = entire
        lanes[DELTA + k] = d

        # Entries above the PTE level map all of a folio that they can map, and PTEs no hugetlb folio.
        whole = (nr == nr_pages) & (page == ZERO)
        fits = (whole & (nr == lanes[WHOLE_NR + k])) if entry else (whole | (not new)) & (by_ptes != ZERO)
        why = ZERO if of_the_kind >= ZERO else FEW
        why = i32(why | (ZERO if total >= others else OTHERS))
        why = i32(why | (ZERO if i32(page + nr) <= nr_pages else RANGE))
        why = i32(why | (ZERO if fits else SHAPE))
        why = i32(why | (USED if new & (before != ZERO) else ZERO))
        why = i32(why | (ZERO if total <= MOST else MANY))
        why = i32(why | (SLOT if (slotted != ZERO) & (n > most_slot) else ZERO))
        why = why if happens else ZERO
        lanes[WRONG + k] = why
        wrong = i32(wrong | why)
    return wrong


@jit
def truth(event: Any, lanes: Any, wide: Any) -> Any:
    """Bring the truth up to date: `DELTA` mappings of `MM` more. Returns reasons, as `step` does."""
    wrong = ZERO
    for k in range(L):
        mm, n = np.float64(event[MM + k]), np.float64(lanes[DELTA + k])
        sum1 = wide[SUM1 + k] + n * mm
        sum2 = wide[SUM2 + k] + n * mm * mm
        wide[SUM1 + k] = sum1
        wide[SUM2 + k] = sum2
        none = lanes[TOTAL + k] == ZERO
        why = lanes[WRONG + k]
        why = i32(why | (MANY if sum2 > MOST_SUM else ZERO))
        left = none & ((sum1 != 0.0) | (sum2 != 0.0))
        why = i32(why | (STRANGER if left | (sum1 < 0.0) | (sum2 < 0.0) else ZERO))
        why = why if event[NR + k] != ZERO else ZERO
        lanes[WRONG + k] = why
        wrong = i32(wrong | why)
    return wrong


@jit
def arbitrary(event: Any, lanes: Any, pmd_order: int) -> Any:
    """The same events with mapped pages counted and entries of any level anywhere (mechanism, section 9).

    Replaces what `step` said of the entries' shapes and kinds. Returns reasons, as `step` does.
    """
    wrong = ZERO
    pmd, pmd_pages = i32(pmd_order), i32(ONE << i32(pmd_order))
    for k in range(L):
        nr, page, nr_pages, total = event[NR + k], event[PAGE + k], lanes[NR_PAGES + k], lanes[TOTAL + k]
        new = event[DOES + k] & IS_NEW != ZERO
        sub = event[DOES + k] & SUBTRACTS != ZERO
        entry = (event[DOES + k] & ENTRY != ZERO) | (new & (lanes[WHOLE_NR + k] != ZERO))
        counted = nr if nr_pages > ONE else ZERO
        pages = i32(lanes[PAGES + k] + (i32(-counted) if sub else counted))
        lanes[PAGES + k] = pages

        hugetlb = lanes[BY_PTES + k] == ZERO
        whole = (nr == nr_pages) & (page == ZERO)
        aligned = i32(page & i32(nr - ONE)) == ZERO
        huge = (nr == pmd_pages) | (nr == PUD_PAGES)
        fits = (whole if hugetlb | new else huge & aligned) if entry else (whole | (not new)) & (not hugetlb)
        # So many entries can map so many pages: one at least each, and at most what the widest maps.
        widest = i32(PUD_ORDER) if nr_pages == PUD_PAGES else (pmd if nr_pages >= pmd_pages else ZERO)
        least = i32(i32(pages + i32(i32(ONE << widest) - ONE)) >> widest)
        can_be = (total >= ZERO) & (hugetlb | (nr_pages == ONE) | ((total <= pages) & (least <= total)))

        why = i32(lanes[WRONG + k] & ~i32(FEW | SHAPE))
        why = i32(why | (FEW if sub & (not can_be) else ZERO))
        why = i32(why | (ZERO if fits | (nr == ZERO) else SHAPE))
        lanes[WRONG + k] = why
        wrong = i32(wrong | why)
    return wrong
