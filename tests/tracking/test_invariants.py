"""The invariants: each must be able to fail, alone, on a specimen corrupted just for it.

A specimen is a folio that fits its truth in every respect but one. If a new invariant has no specimen
here, or a specimen breaks another invariant too, a test fails.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mapcount.tracking.flavour import (
    FLAVOURS,
    NO_PAGE_MAPCOUNT,
    PAGE_MAPCOUNT,
    PMD_ORDER,
    TOTAL_MAPPED_PAGES,
    V6_14,
    Flavour,
)
from mapcount.tracking.folio import Folio
from mapcount.tracking.invariants import INVARIANTS, invariant, violations
from mapcount.tracking.owner_slots import OwnerSlots
from mapcount.tracking.rmap import folio_add_rmap, folio_remove_rmap
from mapcount.tracking.truth import Truth

P, C, D = 1, 2, 3
Case = tuple[Folio, Truth]
EVERY_FLAVOUR = pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)


def case(
    flavour: Flavour, order: int, *mappings: tuple[int, ...], refs: int = 0, hugetlb: bool = False
) -> Case:
    """A healthy folio with these (mm, page, number of pages, level) mappings, and the truth about it."""
    folio, truth = Folio(flavour, order, hugetlb=hugetlb), Truth(1 << order, refs)
    for mm, page, nr, *level in mappings:
        folio_add_rmap(folio, page, nr, mm, *level)
        truth.add(mm, page, nr, *level)
    folio.refcount = truth.total + refs
    return folio, truth


def slots_of(folio: Folio) -> OwnerSlots:
    """Its slots, which it has."""
    assert folio.slots is not None
    return folio.slots


SPECIMENS: dict[str, Callable[[], Case]] = {}


def breaks(id: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:  # noqa: A002 - the registry's word
    """The decorated function makes the specimen that breaks just this invariant."""

    def register(make: Callable[[], Case]) -> Callable[[], Case]:
        assert id not in SPECIMENS
        SPECIMENS[id] = make
        return make

    return register


@breaks("never-exclusive-when-shared")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16), (C, 0, 16))
    slots_of(folio).shared = False
    return folio, truth


@breaks("slot-at-most-true")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16), (C, 0, 3))
    slots_of(folio).set(1, C, 4)
    return folio, truth


@breaks("free-slot-empty")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16))
    slots_of(folio).set(1, 0, 2)
    return folio, truth


@breaks("slots-distinct")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16))
    slots_of(folio).set(0, P, 8)
    slots_of(folio).set(1, P, 8)
    return folio, truth


@breaks("slot-fits")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT.on(32), 9, *[(P, 0, 512)] * 64, (P, 0, 1))
    slots_of(folio).set(0, P, 2**15 + 1)
    return folio, truth


@breaks("lock-released")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16))
    slots_of(folio).mm_ids |= slots_of(folio).lock_mask
    return folio, truth


@breaks("total-true")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 5), refs=16)
    folio.large_mapcount += 1
    return folio, truth


@breaks("pages-true")
def _() -> Case:
    folio, truth = case(PAGE_MAPCOUNT, 4, (P, 0, 5))
    assert folio.page_mapcount is not None
    folio.page_mapcount.set(0, 1, 0)
    folio.page_mapcount.set(7, 1, 1)  # as many pages, but one of them another
    return folio, truth


@breaks("entire-true")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 9, (P, 0, 512, PMD_ORDER))
    folio.entire_mapcount += 1
    return folio, truth


@breaks("nr-pages-mapped-true")
def _() -> Case:
    folio, truth = case(PAGE_MAPCOUNT, 9, (P, 0, 512, PMD_ORDER), (C, 0, 5))
    folio.nr_pages_mapped = 5  # ENTIRELY_MAPPED was forgotten
    return folio, truth


@breaks("mapped-pages-true")
def _() -> Case:
    folio, truth = case(TOTAL_MAPPED_PAGES, 9, (P, 0, 512, PMD_ORDER))
    folio.total_mapped_pages = 1  # the PMD was counted as one page
    return folio, truth


@breaks("unmapped-is-zero")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 4)
    slots_of(folio).shared = True
    return folio, truth


@breaks("mapcount-at-most-refcount")
def _() -> Case:
    # a mapping came before its reference, and somebody counts "other references" as the difference
    return case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16), refs=-1)


@breaks("references-true")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16))
    folio.refcount += 1  # a leak
    return folio, truth


@breaks("pins-hold-references")
def _() -> Case:
    folio, truth = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16))
    folio.pincount = 1
    return folio, truth


def test_every_invariant_has_a_specimen() -> None:
    """Every registered invariant has one specimen, and every specimen an invariant."""
    assert set(INVARIANTS) == set(SPECIMENS)


@pytest.mark.parametrize("id", SPECIMENS)
def test_specimen(id: str) -> None:  # noqa: A002 - the registry's word
    """The specimen corrupted for an invariant breaks that one and no other."""
    assert [INVARIANTS[id]] == violations(*SPECIMENS[id]())


@pytest.mark.parametrize(
    ("id", "flavour", "corrupt"),
    [
        ("unmapped-is-zero", NO_PAGE_MAPCOUNT, lambda folio: slots_of(folio).set(0, P, 1)),
        ("unmapped-is-zero", NO_PAGE_MAPCOUNT, lambda folio: slots_of(folio).set(1, P, 1)),
        ("nr-pages-mapped-true", NO_PAGE_MAPCOUNT, lambda folio: setattr(folio, "nr_pages_mapped", 1)),
        ("mapped-pages-true", PAGE_MAPCOUNT, lambda folio: setattr(folio, "total_mapped_pages", 1)),
        ("pins-hold-references", PAGE_MAPCOUNT, lambda folio: setattr(folio, "pincount", -1)),
        ("references-true", V6_14, lambda folio: setattr(folio, "refcount", 1)),
    ],
)
def test_other_ways_to_break_one(
    id: str,  # noqa: A002 - the registry's word
    flavour: Flavour,
    corrupt: Callable[[Folio], object],
) -> None:
    """An unmapped folio with anything left in it breaks the invariant that this belongs to."""
    folio, truth = case(flavour, 4)
    corrupt(folio)

    assert id in {broken.id for broken in violations(folio, truth)}


@pytest.mark.parametrize("id", ["slot-fits", "free-slot-empty"])
def test_negative_slot_count(id: str) -> None:  # noqa: A002 - the registry's word
    """A slot whose count went below 0 does not fit, and when it is free it is not empty either."""
    folio, truth = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16))
    slots_of(folio).set(1, C if id == "slot-fits" else 0, -1)

    assert id in {broken.id for broken in violations(folio, truth)}


HEALTHY = {
    "new": (4, []),
    "small": (0, [(P, 0, 1), (C, 0, 1), (C, 0, 1)]),
    "one owner": (4, [(P, 0, 16)]),
    "two owners, in part": (1, [(P, 0, 1), (C, 1, 1)]),
    "three owners": (4, [(P, 0, 16), (C, 0, 16), (D, 3, 7)]),
    "two VMAs of one mm": (4, [(P, 0, 16), (P, 0, 8)]),
    "PMDs and PTEs": (9, [(P, 0, 512, PMD_ORDER), (C, 0, 512, PMD_ORDER), (D, 9, 100)]),
    "a PUD": (18, [(P, 0, 1 << 18, 18), (C, 0, 512)]),
}


@EVERY_FLAVOUR
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("refs", [0, 17])
@pytest.mark.parametrize("which", HEALTHY)
def test_healthy(flavour: Flavour, bits: int, refs: int, which: str) -> None:
    """A folio that rmap alone has changed breaks no invariant."""
    order, mappings = HEALTHY[which]

    assert [] == violations(*case(flavour.on(bits), order, *mappings, refs=refs))


@EVERY_FLAVOUR
@pytest.mark.parametrize("order", [9, 18])
def test_healthy_hugetlb(flavour: Flavour, order: int) -> None:
    """A hugetlb folio breaks no invariant: what it does not keep is not claimed of it."""
    whole = (0, 1 << order, order)

    assert [] == violations(*case(flavour, order, (P, *whole), (C, *whole), refs=1, hugetlb=True))


@EVERY_FLAVOUR
def test_healthy_pins(flavour: Flavour) -> None:
    """Pins that hold references break no invariant."""
    folio, truth = case(flavour, 4, (P, 0, 16), refs=3)
    folio.pincount = 3

    assert [] == violations(folio, truth)


def test_wrongly_shared_breaks_nothing() -> None:
    """Calling a sole owner's folio shared is an allowed mistake."""
    folio, _ = case(NO_PAGE_MAPCOUNT, 4, (P, 0, 16), (C, 0, 16), (D, 0, 16))
    for mm in (P, C):
        folio_remove_rmap(folio, 0, 16, mm)
    folio.refcount = 16
    truth = Truth(16)
    truth.add(D, 0, 16)
    assert slots_of(folio).shared

    assert [] == violations(folio, truth)


def test_guess_before_6_15_is_not_judged() -> None:
    """Before 6.15 a shared folio could be called exclusive, and no invariant claims otherwise."""
    assert [] == violations(*case(V6_14, 4, (P, 0, 8), (C, 8, 8)))


def test_several_at_once() -> None:
    """All broken invariants are reported, in the order of the registry."""
    folio, truth = case(PAGE_MAPCOUNT, 4, (P, 0, 16), (C, 0, 16))
    slots_of(folio).shared = False
    folio.refcount = 0
    slots_of(folio).mm_ids |= slots_of(folio).lock_mask
    expected = [
        "never-exclusive-when-shared",
        "lock-released",
        "mapcount-at-most-refcount",
        "references-true",
    ]

    assert expected == [broken.id for broken in violations(folio, truth)]


def test_ids_are_unique() -> None:
    """Two invariants cannot have one id."""
    with pytest.raises(ValueError, match="there is an invariant 'total-true' already"):
        invariant("total-true", "Whatever.")(lambda folio, truth: True)

    assert "Whatever." != INVARIANTS["total-true"].sentence


def test_sentences() -> None:
    """Every invariant is one sentence, said once, under an id in plain words."""
    sentences = [i.sentence for i in INVARIANTS.values()]

    assert len(set(sentences)) == len(sentences)
    assert [] == [s for s in sentences if not s.endswith(".") or s[:-1].count(".")]
    assert [] == [i for i in INVARIANTS if not i.replace("-", "").isalpha() or not i.islower()]
    assert list(INVARIANTS) == [i.id for i in INVARIANTS.values()]


# -- the truth -------------------------------------------------------------------------------------------


def test_truth_counts_entries_and_pages() -> None:
    """A truth told of two PMDs and a PTE knows three mappings of 1025 pages, and whose they are."""
    truth = Truth(512)
    truth.add(P, 0, 512, PMD_ORDER)
    truth.add(C, 0, 512, PMD_ORDER)
    truth.add(C, 9, 1)

    assert ({P: 1, C: 2}, 3, 1025, 2) == (truth.entries, truth.total, truth.mapped_pages, truth.entire)
    assert ("9*0 1*1 502*0", "9*2 1*3 502*2") == (truth.ptes.rle(), truth.pages.rle())


def test_truth_of_a_part_by_a_pmd() -> None:
    """A PMD of a larger folio is a mapping of 512 pages, not of the entire folio."""
    truth = Truth(1024)
    truth.add(P, 512, 512, PMD_ORDER)

    assert (1, 512, 0) == (truth.total, truth.mapped_pages, truth.entire)
    assert ("1024*0", "512*0 512*1") == (truth.ptes.rle(), truth.pages.rle())


def test_truth_of_two_pmds_told_at_once() -> None:
    """Two PMDs that together map a larger folio are two mappings, none of them of the entire folio."""
    truth = Truth(1024)
    truth.add(P, 0, 1024, PMD_ORDER)

    assert (2, 1024, 0) == (truth.total, truth.mapped_pages, truth.entire)


@pytest.mark.parametrize(
    ("mappings", "word"),
    [
        ([], "unmapped"),
        ([P], "exclusive"),
        ([P, P], "exclusive"),
        ([P, C], "shared"),
        ([P, C, D, P], "shared"),
    ],
)
def test_truth_in_a_word(mappings: list[int], word: str) -> None:
    """A folio is unmapped, exclusive to one mm however often that maps it, or shared."""
    truth = Truth(16)
    for mm in mappings:
        truth.add(mm, 3, 1)

    assert word == truth.word
    assert (word == "shared") == truth.shared
