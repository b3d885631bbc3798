"""The rules of mapping and unmapping, for `L` folios side by side.

The state of `L` folios and the next event of each lie in *lanes*. One pass over the lanes (`change`)
applies all these events without a branch, which compiles to vector instructions. A folio with no event
left gets an empty one: no mapping, of mm 0. Rules are those of docs/mechanism.md, sections 4 and 5; nothing
is shared with `tracking/`, which says the same one folio at a time and is what the tests hold this against.

Hardly any event is impossible. So `change` and `add_up` only notice that some event was, by signs that are
or'ed together; `blame` and `blame_sums` then say which it was, and why. `step` does both.

A line `x if condition else y` is a choice between two computed values here, not a branch. For the same
reason, everything is read from the lanes before the first choice.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from mapcount.replay import grouping
from mapcount.replay.folios import MOST_SUM
from mapcount.replay.illegal import Reason
from mapcount.replay.jit import jit
from mapcount.replay.trace import MOST_MAPPINGS
from mapcount.tracking.flavour import PUD_ORDER, Flavour

L: Final = grouping.GROUP
"""Lanes: folios side by side."""

# Columns of an event's lanes, each L long.
MM, DOES, PAGE, NR = (k * L for k in range(4))
LANES_EVENT: Final = 4 * L
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
def change(event: Any, lanes: Any, most_in_slot: int) -> Any:
    """Apply the event in each lane. Negative when some event could not be: `blame` says which, and why."""
    signs = ZERO
    most_slot = i32(most_in_slot)
    for k in range(L):
        mm, nr, page, does = event[MM + k], event[NR + k], event[PAGE + k], event[DOES + k]
        nr_pages, whole_nr, before = lanes[NR_PAGES + k], lanes[WHOLE_NR + k], lanes[TOTAL + k]
        slotted, shared, by_ptes = lanes[SLOTTED + k], lanes[SHARED + k], lanes[BY_PTES + k]
        happens = nr != ZERO
        new = does & IS_NEW != ZERO
        sub = does & SUBTRACTS != ZERO
        entry = (does & ENTRY != ZERO) | (new & (whole_nr != ZERO))
        n = ONE if entry else nr
        d = i32(-n) if sub else n
        total = i32(before + d)
        entire = i32(lanes[ENTIRE + k] + (d if entry else ZERO))

        # Small and hugetlb folios have no slots: in them, nobody is ever `fresh`.
        count0, count1, owner0, owner1 = (
            lanes[COUNT0 + k], lanes[COUNT1 + k], lanes[OWNER0 + k], lanes[OWNER1 + k],
        )  # fmt: skip
        in0, in1 = owner0 == mm, owner1 == mm
        others = i32((ZERO if in0 else count0) + (ZERO if in1 else count1))

        # Add: the slot that is mm's, else slot 0 if it is free, else slot 1 if it is free, else none.
        fresh = happens & (slotted != ZERO) & (not (sub | in0 | in1))
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

        lanes[OWNER0 + k] = owner0 if keep0 else ZERO
        lanes[OWNER1 + k] = owner1 if keep1 else ZERO
        lanes[COUNT0 + k] = count0
        lanes[COUNT1 + k] = count1
        lanes[SHARED + k] = ZERO if cleared else shared
        lanes[TOTAL + k] = total
        lanes[ENTIRE + k] = entire
        lanes[DELTA + k] = d

        # What `blame` tells apart, each negative where it is so.
        unlike = i32(page | i32(nr ^ (whole_nr if entry else nr_pages)))
        unlike = i32(-unlike) if entry | new else ZERO
        sign = i32(i32(entire | i32(total - entire)) | i32(total - others))
        sign = i32(sign | i32(i32(i32(nr_pages - page) - nr) | i32(MOST - total)))
        sign = i32(sign | i32(i32(most_slot - n) & slotted))
        sign = i32(sign | (i32(-before) if new else ZERO))
        sign = i32(sign | (unlike if entry | (by_ptes != ZERO) else i32(-nr)))
        signs = i32(signs | sign)
    return signs


@jit
def blame(event: Any, lanes: Any, most_in_slot: int) -> Any:
    """Say in `WRONG` why the events that `change` applied could not be. Returns all reasons, or'ed."""
    wrong = ZERO
    for k in range(L):
        mm, nr, page, does = event[MM + k], event[NR + k], event[PAGE + k], event[DOES + k]
        nr_pages, whole_nr, total = lanes[NR_PAGES + k], lanes[WHOLE_NR + k], lanes[TOTAL + k]
        d, entire = lanes[DELTA + k], lanes[ENTIRE + k]
        new = does & IS_NEW != ZERO
        entry = (does & ENTRY != ZERO) | (new & (whole_nr != ZERO))
        of_the_kind = entire if entry else i32(total - entire)
        # Other mms' slots are after the event what they were before it.
        count0 = lanes[COUNT0 + k] if lanes[OWNER0 + k] != mm else ZERO
        count1 = lanes[COUNT1 + k] if lanes[OWNER1 + k] != mm else ZERO
        # Entries above the PTE level map all of a folio that they can map, and PTEs no hugetlb folio.
        whole = (nr == nr_pages) & (page == ZERO)
        by_ptes = lanes[BY_PTES + k] != ZERO
        fits = (whole & (nr == whole_nr)) if entry else (whole | (not new)) & by_ptes
        why = ZERO if of_the_kind >= ZERO else FEW
        why = i32(why | (ZERO if total >= i32(count0 + count1) else OTHERS))
        why = i32(why | (ZERO if i32(page + nr) <= nr_pages else RANGE))
        why = i32(why | (ZERO if fits else SHAPE))
        why = i32(why | (USED if new & (total != d) else ZERO))
        why = i32(why | (ZERO if total <= MOST else MANY))
        why = i32(why | (SLOT if (lanes[SLOTTED + k] != ZERO) & (d > i32(most_in_slot)) else ZERO))
        why = why if nr != ZERO else ZERO
        lanes[WRONG + k] = why
        wrong = i32(wrong | why)
    return wrong


@jit
def step(event: Any, lanes: Any, most_in_slot: int) -> Any:
    """Apply the event in each lane. Returns why some could not be: reasons (`Reason`), or'ed."""
    change(event, lanes, most_in_slot)
    return blame(event, lanes, most_in_slot)


@jit
def add_up(event: Any, lanes: Any, wide: Any) -> bool:
    """Bring the truth up to date: `DELTA` mappings of `MM` more. Can some sums not be?"""
    wrong = False
    for k in range(L):
        mm, n = np.float64(event[MM + k]), np.float64(lanes[DELTA + k])
        total = np.float64(lanes[TOTAL + k])
        sum1 = wide[SUM1 + k] + n * mm
        sum2 = wide[SUM2 + k] + n * mm * mm
        wide[SUM1 + k] = sum1
        wide[SUM2 + k] = sum2
        # Sums of numbers from 1 on and of their squares; of none when there are no mappings.
        wrong |= (sum1 < 0.0) | (sum2 < sum1) | (sum2 > MOST_SUM) | (sum2 > total * MOST_SUM)
    return wrong


@jit
def blame_sums(event: Any, lanes: Any, wide: Any) -> Any:
    """Say in `WRONG` why sums cannot be. Returns all reasons there, or'ed."""
    wrong = ZERO
    for k in range(L):
        sum1, sum2, none = wide[SUM1 + k], wide[SUM2 + k], lanes[TOTAL + k] == ZERO
        why = lanes[WRONG + k]
        why = i32(why | (MANY if sum2 > MOST_SUM else ZERO))
        left = none & ((sum1 != 0.0) | (sum2 != 0.0))
        why = i32(why | (STRANGER if left | (sum1 < 0.0) | (sum2 < sum1) else ZERO))
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
