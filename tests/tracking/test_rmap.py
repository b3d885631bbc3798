"""Sections 5 and 9 of the mechanism: each event's row, in each flavour, at each order.

An event's outcome is written (stat, PMD stat, partially mapped?): by how many pages AnonPages or Mapped and
AnonHugePages or the like change, and the verdict. P, C and D are three mms.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mapcount.tracking.flavour import (
    FLAVOURS,
    NO_PAGE_MAPCOUNT,
    PAGE_MAPCOUNT,
    PMD_ORDER,
    PUD_ORDER,
    TOTAL_MAPPED_PAGES,
    V6_14,
    Flavour,
)
from mapcount.tracking.folio import ENTIRELY_MAPPED, Folio
from mapcount.tracking.rmap import (
    Cost,
    Delta,
    folio_add_new_anon_rmap,
    folio_add_rmap,
    folio_mapcount,
    folio_remove_rmap,
)

P, C, D = 1, 2, 3
NR_PMD, NR_PUD = 512, 262144


def _in(*flavours: Flavour) -> pytest.MarkDecorator:
    both = [flavour.on(bits) for flavour in flavours for bits in (64, 32)]
    return pytest.mark.parametrize("flavour", both, ids=str)


EVERY_FLAVOUR = _in(*FLAVOURS.values())
WITH_PAGES = _in(V6_14, PAGE_MAPCOUNT)
WITHOUT_PAGES = _in(NO_PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES)
WITH_SLOTS = _in(PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES)
WITH_ENTIRE = _in(V6_14, PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT)
ONLY_NO_PAGES = _in(NO_PAGE_MAPCOUNT)
ONLY_TOTAL = _in(TOTAL_MAPPED_PAGES)
LARGE = pytest.mark.parametrize("order", [1, 4, 9])
EVERY_ORDER = pytest.mark.parametrize("order", [0, 1, 4, 9])


def outcome(delta: Delta) -> tuple[int, int, bool]:
    """(stat, PMD stat, partially mapped?)."""
    return delta.stat, delta.pmd_stat, delta.partially_mapped


def add(folio: Folio, mm: int, page: int, nr: int, level: int = 0) -> tuple[int, int, bool]:
    """`mm` maps these pages: the outcome."""
    return outcome(folio_add_rmap(folio, page, nr, mm, level))


def remove(folio: Folio, mm: int, page: int, nr: int, level: int = 0) -> tuple[int, int, bool]:
    """`mm` unmaps these pages: the outcome."""
    return outcome(folio_remove_rmap(folio, page, nr, mm, level))


def add_pmd(folio: Folio, mm: int, page: int = 0) -> tuple[int, int, bool]:
    """`mm` maps 512 pages by a PMD: the outcome."""
    return add(folio, mm, page, NR_PMD, PMD_ORDER)


def remove_pmd(folio: Folio, mm: int, page: int = 0) -> tuple[int, int, bool]:
    """`mm` unmaps a PMD: the outcome."""
    return remove(folio, mm, page, NR_PMD, PMD_ORDER)


def pages(folio: Folio) -> str:
    """The pages' own counts, run by run."""
    assert folio.page_mapcount is not None
    return folio.page_mapcount.rle()


# -- a new folio -----------------------------------------------------------------------------------------

ENTIRE = {"entire_mapcount": 0}
SLOTS = {"mm_id": [0, 0], "mm_id_mapcount": [0, 0], "mm_ids_shared": False}
LARGE_COUNTERS = {
    "v6.14": ENTIRE | {"nr_pages_mapped": 0, "page_mapcount": "16*0"},
    "page-mapcount": ENTIRE | {"nr_pages_mapped": 0, "page_mapcount": "16*0"} | SLOTS,
    "no-page-mapcount": ENTIRE | SLOTS,
    "total-mapped-pages": {"total_mapped_pages": 0} | SLOTS,
}
"""What each flavour keeps of a large folio, besides its total, references and pins."""


@EVERY_FLAVOUR
def test_new_folio(flavour: Flavour) -> None:
    """A new large folio has the counters of its flavour, all 0, slots free and the flag clear."""
    common = {"order": 4, "refcount": 0, "large_mapcount": 0, "pincount": 0}

    assert common | LARGE_COUNTERS[flavour.name] == Folio(flavour, 4).counters()


@EVERY_FLAVOUR
def test_new_small_folio(flavour: Flavour) -> None:
    """A small folio has its page's count and its references, in every flavour."""
    assert {"order": 0, "refcount": 0, "page_mapcount": "1*0"} == Folio(flavour, 0).counters()


@EVERY_FLAVOUR
def test_new_hugetlb_folio(flavour: Flavour) -> None:
    """A hugetlb folio has neither counts of pages nor owner slots."""
    kept = set(Folio(flavour, 9, hugetlb=True).counters())

    assert not kept & {"page_mapcount", "nr_pages_mapped", "mm_id", "mm_id_mapcount", "mm_ids_shared"}
    assert kept >= {"large_mapcount", "refcount", "pincount"}


@EVERY_FLAVOUR
@pytest.mark.parametrize(
    ("order", "nr", "pmd"), [(0, 1, False), (1, 2, False), (9, 512, True), (10, 1024, False)]
)
def test_sizes(flavour: Flavour, order: int, nr: int, pmd: bool) -> None:
    """A folio of an order has 2^order pages, and only one of exactly 512 counts for AnonHugePages."""
    folio = Folio(flavour, order)

    assert (nr, order > 0, pmd) == (folio.nr_pages, folio.large, folio.pmd_mappable)


@EVERY_FLAVOUR
@EVERY_ORDER
def test_all_back_to_zero(flavour: Flavour, order: int) -> None:
    """Whatever was added and removed, an unmapped folio has the counters of a new one."""
    folio, nr = Folio(flavour, order), 1 << order
    for mm in (P, C, D):
        add(folio, mm, 0, nr)
    add(folio, C, nr - 1, 1)
    remove(folio, C, nr - 1, 1)
    for mm in (P, C, D):
        for page in range(nr):
            remove(folio, mm, page, 1)

    assert Folio(flavour, order).counters() == folio.counters()


@EVERY_FLAVOUR
def test_copy(flavour: Flavour) -> None:
    """A copy has the same counters, and what happens to it does not happen to the original."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 16)
    before = folio.counters()
    twin = folio.copy()
    assert before == twin.counters()
    add(twin, C, 3, 5)

    assert before == folio.counters()
    assert before != twin.counters()


# -- row 1: add n PTEs -----------------------------------------------------------------------------------


@EVERY_FLAVOUR
def test_add_to_a_small_folio(flavour: Flavour) -> None:
    """A small folio counts in the statistics from its page's first mapping on, in every flavour."""
    folio = Folio(flavour, 0)

    assert [(1, 0, False), (0, 0, False), (0, 0, False)] == [add(folio, mm, 0, 1) for mm in (P, C, P)]
    assert "1*3" == pages(folio)
    assert 3 == folio_mapcount(folio)


@WITH_PAGES
@LARGE
def test_add_ptes_with_pages(flavour: Flavour, order: int) -> None:
    """With per-page counts the statistics grow by the pages that went 0 -> 1, whoever maps them."""
    folio, nr, half = Folio(flavour, order), 1 << order, (1 << order) // 2

    assert (half, 0, False) == add(folio, P, half, half)
    assert (half, f"{half}*0 {half}*1") == (folio.nr_pages_mapped, pages(folio))
    assert (half, 0, False) == add(folio, C, 0, nr)
    assert (nr, f"{half}*1 {half}*2") == (folio.nr_pages_mapped, pages(folio))
    assert (0, 0, False) == add(folio, P, 0, half)
    assert (nr, f"{nr}*2") == (folio.nr_pages_mapped, pages(folio))
    assert 2 * nr == folio.large_mapcount


@WITH_PAGES
def test_add_overlapping_ptes_with_pages(flavour: Flavour) -> None:
    """Of a run that overlaps mapped pages only the others count: pages 4 to 9 after 0 to 5 make 4 more."""
    folio = Folio(flavour, 4)

    assert (6, 0, False) == add(folio, P, 0, 6)
    assert (4, 0, False) == add(folio, C, 4, 6)
    assert (10, "4*1 2*2 4*1 6*0") == (folio.nr_pages_mapped, pages(folio))


@WITH_PAGES
def test_add_ptes_beside_a_pmd_with_pages(flavour: Flavour) -> None:
    """With per-page counts PTEs of an entirely mapped folio count its pages, but not in the statistics."""
    folio = Folio(flavour, 9)
    add_pmd(folio, P)

    assert (0, 0, False) == add(folio, C, 7, 100)
    assert ENTIRELY_MAPPED + 100 == folio.nr_pages_mapped
    assert (1, 101) == (folio.entire_mapcount, folio.large_mapcount)


@WITHOUT_PAGES
@LARGE
@pytest.mark.parametrize("n", [1, 2])
def test_add_ptes_without_pages(flavour: Flavour, order: int, n: int) -> None:
    """Without per-page counts the first PTEs, however few, count the whole folio, and later ones nothing."""
    folio, nr = Folio(flavour, order), 1 << order

    assert (nr, 0, False) == add(folio, P, nr - n, n)
    assert n == folio.large_mapcount
    assert (0, 0, False) == add(folio, C, 0, nr)
    assert (0, 0, False) == add(folio, P, 0, 1)
    assert nr + n + 1 == folio.large_mapcount


@WITHOUT_PAGES
def test_add_ptes_beside_a_pmd_without_pages(flavour: Flavour) -> None:
    """Without per-page counts PTEs of a folio that a PMD maps change no statistics."""
    folio = Folio(flavour, 9)
    add_pmd(folio, P)

    assert (0, 0, False) == add(folio, C, 7, 100)
    assert 101 == folio.large_mapcount


@WITHOUT_PAGES
def test_add_ptes_again_after_the_last_went(flavour: Flavour) -> None:
    """Without per-page counts a folio that was completely unmapped counts as a whole again."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 16)
    remove(folio, P, 0, 16)

    assert (16, 0, False) == add(folio, C, 3, 1)


@ONLY_TOTAL
@LARGE
def test_add_ptes_counts_mapped_pages(flavour: Flavour, order: int) -> None:
    """`_total_mapped_pages` counts a page as often as it is mapped, and every PTE maps one."""
    folio, nr = Folio(flavour, order), 1 << order
    add(folio, P, 0, nr)
    add(folio, C, 0, nr)
    add(folio, C, 0, 1)

    assert 2 * nr + 1 == folio.total_mapped_pages == folio.large_mapcount


# -- row 2: add a PMD ------------------------------------------------------------------------------------


@EVERY_FLAVOUR
def test_add_pmd(flavour: Flavour) -> None:
    """The first PMD counts all 512 pages in both statistics, the next one nothing, in every flavour."""
    folio = Folio(flavour, 9)

    assert (512, 512, False) == add_pmd(folio, P)
    assert (0, 0, False) == add_pmd(folio, C)
    assert 2 == folio.large_mapcount


@WITH_PAGES
@pytest.mark.parametrize(("ptes", "stat"), [(1, 511), (100, 412), (512, 0)])
def test_add_pmd_beside_ptes_with_pages(flavour: Flavour, ptes: int, stat: int) -> None:
    """With per-page counts a first PMD counts the pages that no PTE maps yet."""
    folio = Folio(flavour, 9)
    add(folio, P, 0, ptes)

    assert (stat, 512, False) == add_pmd(folio, C)
    assert ENTIRELY_MAPPED + ptes == folio.nr_pages_mapped


@WITHOUT_PAGES
@pytest.mark.parametrize("ptes", [1, 100, 512])
def test_add_pmd_beside_ptes_without_pages(flavour: Flavour, ptes: int) -> None:
    """Without per-page counts the folio is counted already: a first PMD changes only the PMD statistic."""
    folio = Folio(flavour, 9)
    add(folio, P, 0, ptes)

    assert (0, 512, False) == add_pmd(folio, C)


@WITH_PAGES
def test_entirely_mapped_once(flavour: Flavour) -> None:
    """ENTIRELY_MAPPED is in `_nr_pages_mapped` once, however many PMDs there are."""
    folio = Folio(flavour, 9)
    for mm in (P, C, D):
        add_pmd(folio, mm)

    assert (3, 0x800000) == (folio.entire_mapcount, folio.nr_pages_mapped)


@WITH_PAGES
def test_pmd_is_not_in_the_pages_own_counts(flavour: Flavour) -> None:
    """A page's own `_mapcount` does not include PMD mappings."""
    folio = Folio(flavour, 9)
    add_pmd(folio, P)

    assert "512*0" == pages(folio)


@ONLY_TOTAL
def test_add_pmd_counts_mapped_pages(flavour: Flavour) -> None:
    """A PMD adds 1 to the total and the slot, and 512 to `_total_mapped_pages`."""
    folio = Folio(flavour, 9)
    add_pmd(folio, P)

    assert (1, 512, "1:1 -") == (folio.large_mapcount, folio.total_mapped_pages, str(folio.slots))
    assert 0 == folio.entire_mapcount


@WITH_ENTIRE
def test_add_pud(flavour: Flavour) -> None:
    """A PUD maps a folio of 2^18 pages entirely, and counts in no PMD statistic."""
    folio = Folio(flavour, 18)

    assert (NR_PUD, 0, False) == add(folio, P, 0, NR_PUD, PUD_ORDER)
    assert (0, 0, False) == add(folio, C, 0, NR_PUD, PUD_ORDER)
    assert (0, 0, False) == remove(folio, C, 0, NR_PUD, PUD_ORDER)
    assert (-NR_PUD, 0, False) == remove(folio, P, 0, NR_PUD, PUD_ORDER)


# -- row 3: remove n PTEs --------------------------------------------------------------------------------


@EVERY_FLAVOUR
def test_remove_from_a_small_folio(flavour: Flavour) -> None:
    """A small folio leaves the statistics with its last mapping, and is never partially mapped."""
    folio = Folio(flavour, 0)
    add(folio, P, 0, 1)
    add(folio, C, 0, 1)

    assert [(0, 0, False), (-1, 0, False)] == [remove(folio, mm, 0, 1) for mm in (P, C)]


@WITH_PAGES
@LARGE
def test_remove_ptes_with_pages(flavour: Flavour, order: int) -> None:
    """With per-page counts statistics shrink by the pages that went 1 -> 0; some left: partially mapped."""
    folio, nr, half = Folio(flavour, order), 1 << order, (1 << order) // 2
    add(folio, P, 0, nr)
    add(folio, C, 0, half)

    assert (0, 0, False) == remove(folio, C, 0, half)
    assert (nr, f"{nr}*1") == (folio.nr_pages_mapped, pages(folio))
    assert (-half, 0, True) == remove(folio, P, 0, half)
    assert (half, f"{half}*0 {half}*1") == (folio.nr_pages_mapped, pages(folio))
    assert (-half, 0, False) == remove(folio, P, half, half)
    assert (0, 0) == (folio.nr_pages_mapped, folio.large_mapcount)


@WITH_PAGES
def test_remove_ptes_beside_a_pmd_with_pages(flavour: Flavour) -> None:
    """With per-page counts PTEs that leave an entirely mapped folio change no statistics and no verdict."""
    folio = Folio(flavour, 9)
    add(folio, P, 0, 512)
    add_pmd(folio, C)

    assert (0, 0, False) == remove(folio, P, 0, 100)
    assert ENTIRELY_MAPPED + 412 == folio.nr_pages_mapped


@WITH_PAGES
def test_remove_ptes_that_free_no_page(flavour: Flavour) -> None:
    """With per-page counts a removal that leaves every page of it mapped finds nothing: k = 0."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 4)
    add(folio, C, 0, 4)

    assert (0, 0, False) == remove(folio, C, 0, 4)


@WITHOUT_PAGES
@LARGE
def test_remove_ptes_without_pages(flavour: Flavour, order: int) -> None:
    """Without per-page counts the folio leaves the statistics with its last mapping, partial before it."""
    folio, nr = Folio(flavour, order), 1 << order
    add(folio, P, 0, nr)
    add(folio, C, 0, nr)

    assert (0, 0, False) == remove(folio, C, 0, nr)
    assert (0, 0, True) == remove(folio, P, 0, 1)
    if nr > 2:
        assert (0, 0, True) == remove(folio, P, 1, nr - 2)
    assert (-nr, 0, False) == remove(folio, P, nr - 1, 1)


@WITHOUT_PAGES
def test_remove_ptes_beside_a_pmd_without_pages(flavour: Flavour) -> None:
    """Without per-page counts a folio that a PMD maps is not partially mapped, however few PTEs are left."""
    folio = Folio(flavour, 9)
    add(folio, P, 0, 512)
    add_pmd(folio, C)

    assert (0, 0, False) == remove(folio, P, 0, 500)
    assert (0, 0, False) == remove(folio, P, 500, 12)
    assert 1 == folio.large_mapcount


@EVERY_FLAVOUR
def test_all_of_a_folio_at_once(flavour: Flavour) -> None:
    """A sole owner that unmaps the whole folio in one batch never leaves it partially mapped."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 16)

    assert (-16, 0, False) == remove(folio, P, 0, 16)


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)
def test_detection_with_two_processes(flavour: Flavour) -> None:
    """Without per-page counts partial mapping is noticed only while one process maps the folio."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 16)
    add(folio, C, 0, 16)
    verdicts = [remove(folio, mm, 0, 8)[2] for mm in (P, C)]

    assert [False, flavour.page_mapcounts] == verdicts  # 16 mappings of 8 pages could be of 16 pages


# -- row 4: remove a PMD ---------------------------------------------------------------------------------


@EVERY_FLAVOUR
def test_remove_pmd(flavour: Flavour) -> None:
    """PMDs but the last leave the statistics alone, the last one takes 512 pages from both."""
    folio = Folio(flavour, 9)
    add_pmd(folio, P)
    add_pmd(folio, C)

    assert [(0, 0, False), (-512, -512, False)] == [remove_pmd(folio, mm) for mm in (P, C)]
    assert (0, 0, 0) == (folio.large_mapcount, folio.entire_mapcount, folio.nr_pages_mapped)


@WITH_PAGES
@pytest.mark.parametrize(("ptes", "stat", "partial"), [(1, -511, True), (100, -412, True), (512, 0, False)])
def test_remove_pmd_beside_ptes_with_pages(flavour: Flavour, ptes: int, stat: int, partial: bool) -> None:
    """With per-page counts the last PMD takes the pages no PTE maps; some, not all: partially mapped."""
    folio = Folio(flavour, 9)
    add_pmd(folio, P)
    add(folio, C, 0, ptes)

    assert (stat, -512, partial) == remove_pmd(folio, P)
    assert (0, ptes) == (folio.entire_mapcount, folio.nr_pages_mapped)


@WITHOUT_PAGES
@pytest.mark.parametrize(("ptes", "partial"), [(1, True), (100, True), (511, True), (512, False)])
def test_remove_pmd_beside_ptes_without_pages(flavour: Flavour, ptes: int, partial: bool) -> None:
    """Without per-page counts the last PMD leaves the folio counted; below 512 PTEs: partially mapped."""
    folio = Folio(flavour, 9)
    add_pmd(folio, P)
    add(folio, C, 0, ptes)

    assert (0, -512, partial) == remove_pmd(folio, P)


@EVERY_FLAVOUR
def test_remove_pmd_of_two_beside_ptes(flavour: Flavour) -> None:
    """While another PMD maps the folio it is not partially mapped, in any flavour."""
    folio = Folio(flavour, 9)
    add_pmd(folio, P)
    add_pmd(folio, C)
    add(folio, D, 0, 100)

    assert (0, 0, False) == remove_pmd(folio, P)


@pytest.mark.parametrize(
    ("flavour", "expected"),
    [
        (V6_14, (-212, -512, True)),
        (PAGE_MAPCOUNT, (-212, -512, True)),
        (NO_PAGE_MAPCOUNT, (0, -512, False)),
        (TOTAL_MAPPED_PAGES, (0, -512, False)),
    ],
    ids=str,
)
def test_remove_pmd_beside_pages_mapped_twice(flavour: Flavour, expected: tuple[int, int, bool]) -> None:
    """600 PTEs of 300 pages look like a fully mapped folio to those who do not count pages."""
    folio = Folio(flavour, 9)
    add_pmd(folio, P)
    add(folio, C, 0, 300)
    add(folio, C, 0, 300)

    assert expected == remove_pmd(folio, P)


# -- rows 5 and 6: first mapping of a new anonymous folio ------------------------------------------------


@EVERY_FLAVOUR
@EVERY_ORDER
def test_new_anon_by_ptes(flavour: Flavour, order: int) -> None:
    """A new anonymous folio mapped by PTEs counts whole, has total = slot 0 = nr, and each page once."""
    folio, nr = Folio(flavour, order), 1 << order

    assert (nr, 0, False) == outcome(folio_add_new_anon_rmap(folio, P))
    assert nr == folio_mapcount(folio)
    if folio.page_mapcount is not None:
        assert f"{nr}*1" == pages(folio)
    if folio.slots is not None:
        assert f"1:{nr} -" == str(folio.slots)
    assert (nr if flavour.page_mapcounts and order else 0) == folio.nr_pages_mapped
    assert (nr if flavour.total_mapped_pages and order else 0) == folio.total_mapped_pages


@EVERY_FLAVOUR
def test_new_anon_by_pmd(flavour: Flavour) -> None:
    """A new anonymous folio mapped by a PMD counts whole in both statistics and has total = slot 0 = 1."""
    folio = Folio(flavour, 9)

    assert (512, 512, False) == outcome(folio_add_new_anon_rmap(folio, P, PMD_ORDER))
    assert 1 == folio.large_mapcount
    assert (1 if flavour.entire_mapcount else 0) == folio.entire_mapcount
    assert (ENTIRELY_MAPPED if flavour.page_mapcounts else 0) == folio.nr_pages_mapped
    assert (512 if flavour.total_mapped_pages else 0) == folio.total_mapped_pages
    if folio.slots is not None:
        assert "1:1 -" == str(folio.slots)


@ONLY_TOTAL
@pytest.mark.parametrize(
    ("order", "level", "entries"),
    [(10, PMD_ORDER, 2), (18, PMD_ORDER, 512), (18, PUD_ORDER, 1), (10, 0, 1024)],
)
def test_new_anon_above_pmd_size(flavour: Flavour, order: int, level: int, entries: int) -> None:
    """With total-mapped-pages a new folio of any size is mapped by entries of any level."""
    folio, nr = Folio(flavour, order), 1 << order

    assert (nr, 0, False) == outcome(folio_add_new_anon_rmap(folio, P, level))
    assert (entries, nr) == (folio.large_mapcount, folio.total_mapped_pages)
    assert f"1:{entries} -" == str(folio.slots)


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)
@pytest.mark.parametrize("level", [0, PMD_ORDER])
def test_new_anon_takes_no_lock(flavour: Flavour, level: int) -> None:
    """Nobody else sees a new folio: its first mapping takes no lock and no atomic update."""
    cost = folio_add_new_anon_rmap(Folio(flavour, 9), P, level).cost

    assert Cost(page_updates=512 if flavour.page_mapcounts and level == 0 else 0) == cost


# -- row 7: fork -----------------------------------------------------------------------------------------


@EVERY_FLAVOUR
@EVERY_ORDER
def test_fork_duplicates_ptes(flavour: Flavour, order: int) -> None:
    """Fork counts the PTEs for the child and changes no statistics: all was mapped already."""
    folio, nr = Folio(flavour, order), 1 << order
    folio_add_new_anon_rmap(folio, P)

    assert (0, 0, False) == add(folio, C, 0, nr)
    assert 2 * nr == folio_mapcount(folio)
    if folio.page_mapcount is not None:
        assert f"{nr}*2" == pages(folio)
    if folio.slots is not None:
        assert f"1:{nr} 2:{nr} shared" == str(folio.slots)


@EVERY_FLAVOUR
def test_fork_duplicates_some_ptes(flavour: Flavour) -> None:
    """Fork of a partially mapped folio counts what there is to copy."""
    folio = Folio(flavour, 4)
    folio_add_new_anon_rmap(folio, P)
    remove(folio, P, 0, 6)

    assert (0, 0, False) == add(folio, C, 6, 10)
    assert 20 == folio.large_mapcount


@EVERY_FLAVOUR
def test_fork_duplicates_a_pmd(flavour: Flavour) -> None:
    """Fork copies a PMD as a PMD: one mapping more, in the child's slot, and no statistics."""
    folio = Folio(flavour, 9)
    folio_add_new_anon_rmap(folio, P, PMD_ORDER)

    assert (0, 0, False) == add_pmd(folio, C)
    assert 2 == folio.large_mapcount
    assert (2 if flavour.entire_mapcount else 0) == folio.entire_mapcount
    if folio.slots is not None:
        assert "1:1 2:1 shared" == str(folio.slots)


# -- two events in a row: the PMD is split (section 6) ---------------------------------------------------


@EVERY_FLAVOUR
def test_splitting_a_pmd(flavour: Flavour) -> None:
    """Splitting a PMD adds 512 PTEs, then removes the PMD: 511 mappings more, no page less, not partial."""
    folio = Folio(flavour, 9)
    folio_add_new_anon_rmap(folio, P, PMD_ORDER)

    assert (0, 0, False) == add(folio, P, 0, 512)
    assert (0, -512, False) == remove_pmd(folio, P)
    assert 512 == folio.large_mapcount
    if folio.slots is not None:
        assert "1:512 -" == str(folio.slots)


# -- what an event costs ---------------------------------------------------------------------------------

FORK_AND_EXIT = {
    "v6.14": (Cost(512, 0, 1), Cost(512, 0, 1)),
    "page-mapcount": (Cost(512, 1, 0), Cost(512, 1, 0)),
    "no-page-mapcount": (Cost(0, 1, 0), Cost(0, 1, 0)),
    "total-mapped-pages": (Cost(0, 1, 0), Cost(0, 1, 0)),
}


@EVERY_FLAVOUR
def test_cost_of_fork_and_exit(flavour: Flavour) -> None:
    """Fork and exit of 512 PTEs cost 512 updates of pages with per-page counts, one locked one without."""
    folio = Folio(flavour, 9)
    folio_add_new_anon_rmap(folio, P)
    fork = folio_add_rmap(folio, 0, 512, C).cost
    leave = folio_remove_rmap(folio, 0, 512, C).cost

    assert FORK_AND_EXIT[flavour.name] == (fork, leave)


@WITH_SLOTS
def test_cost_per_batch(flavour: Flavour) -> None:
    """The lock is taken once for each batch, however long it is."""
    folio = Folio(flavour, 9)
    whole = folio_add_rmap(folio, 0, 512, P).cost.locked_updates
    pieces = sum(folio_add_rmap(folio, page, 8, P).cost.locked_updates for page in range(0, 512, 8))

    assert (1, 64) == (whole, pieces)


@pytest.mark.parametrize(
    ("flavour", "expected"),
    [
        (V6_14, [Cost(0, 0, 3), Cost(0, 0, 2), Cost(0, 0, 2), Cost(0, 0, 3)]),
        (PAGE_MAPCOUNT, [Cost(0, 1, 2), Cost(0, 1, 1), Cost(0, 1, 1), Cost(0, 1, 2)]),
        (NO_PAGE_MAPCOUNT, [Cost(0, 1, 1)] * 4),
        (TOTAL_MAPPED_PAGES, [Cost(0, 1, 0)] * 4),
    ],
    ids=str,
)
def test_cost_of_pmds(flavour: Flavour, expected: list[Cost]) -> None:
    """A PMD costs no page updates: total, entire mapcount, and `_nr_pages_mapped` for the first and last."""
    folio = Folio(flavour, 9)
    added = [folio_add_rmap(folio, 0, 512, mm, PMD_ORDER).cost for mm in (P, C)]
    removed = [folio_remove_rmap(folio, 0, 512, mm, PMD_ORDER).cost for mm in (P, C)]

    assert expected == added + removed


@WITH_PAGES
def test_cost_of_nr_pages_mapped(flavour: Flavour) -> None:
    """`_nr_pages_mapped` is updated only by batches in which some page goes between 0 and 1."""
    folio = Folio(flavour, 4)
    first, second = (folio_add_rmap(folio, 0, 16, mm).cost.atomic_updates for mm in (P, C))

    assert 1 == first - second


@EVERY_FLAVOUR
def test_cost_of_a_small_folio(flavour: Flavour) -> None:
    """A small folio costs one update of its page's count, in every flavour."""
    folio = Folio(flavour, 0)

    assert Cost(page_updates=1) == folio_add_rmap(folio, 0, 1, P).cost
    assert Cost(page_updates=1) == folio_remove_rmap(folio, 0, 1, P).cost


# -- section 9: entries of any level, any part -----------------------------------------------------------


@ONLY_TOTAL
def test_two_pmds_and_a_pte(flavour: Flavour) -> None:
    """A 512-page folio mapped by two PMDs and one PTE has total 3 and 1025 mapped pages."""
    folio = Folio(flavour, 9)
    outcomes = [add_pmd(folio, P), add_pmd(folio, C), add(folio, D, 9, 1)]

    assert (3, 1025) == (folio.large_mapcount, folio.total_mapped_pages)
    assert [(512, 512, False), (0, 0, False), (0, 0, False)] == outcomes


@ONLY_TOTAL
def test_pmd_statistic_from_the_difference(flavour: Flavour) -> None:
    """A PMD mapping exists iff mapped pages exceed the total by 511 or more, whatever PTEs there are."""
    folio = Folio(flavour, 9)
    for mm in (P, C):
        add(folio, mm, 0, 512)
    story = [add_pmd(folio, D), add_pmd(folio, D), remove_pmd(folio, D), remove(folio, P, 0, 512)]
    story += [remove(folio, C, 0, 500), remove_pmd(folio, D)]

    assert [512, 0, 0, 0, 0, -512] == [pmd_stat for _, pmd_stat, _ in story]
    assert (12, 12) == (folio.large_mapcount, folio.total_mapped_pages)


@ONLY_TOTAL
def test_larger_than_a_pmd(flavour: Flavour) -> None:
    """A folio of two PMDs may be mapped by one of them: partially mapped, counted whole, no PMD statistic."""
    folio = Folio(flavour, 10)

    assert (1024, 0, False) == add_pmd(folio, P, 0)
    assert (0, 0, False) == add_pmd(folio, P, 512)
    assert (2, 1024, "1:2 -") == (folio.large_mapcount, folio.total_mapped_pages, str(folio.slots))
    assert (0, 0, True) == remove_pmd(folio, P, 0)
    assert (-1024, 0, False) == remove_pmd(folio, P, 512)


@ONLY_TOTAL
def test_mix_in_a_pud_size_folio(flavour: Flavour) -> None:
    """A PUD-size folio may be mapped by a PUD, PMDs and PTEs at once; total counts entries, pages pages."""
    folio = Folio(flavour, 18)
    outcomes = [
        add(folio, P, 0, NR_PUD, PUD_ORDER),
        add(folio, C, 512, 3 * 512, PMD_ORDER),
        add(folio, D, 1000, 24),
        remove(folio, P, 0, NR_PUD, PUD_ORDER),
        remove(folio, D, 1000, 24),
        remove(folio, C, 512, 3 * 512, PMD_ORDER),
    ]

    assert [(NR_PUD, 0, False)] + [(0, 0, False)] * 2 == outcomes[:3]
    assert [(0, 0, True), (0, 0, True), (-NR_PUD, 0, False)] == outcomes[3:]
    assert Folio(flavour, 18).counters() == folio.counters()


@ONLY_TOTAL
@pytest.mark.parametrize("order", [9, 10, 18])
def test_whole_statistic_above_pmd_size(flavour: Flavour, order: int) -> None:
    """AnonPages or Mapped grow by the whole folio with its first mappings and shrink with its last."""
    folio, nr = Folio(flavour, order), 1 << order

    assert nr == add(folio, P, nr - 1, 1)[0]
    assert 0 == add(folio, P, 0, 512, PMD_ORDER)[0]
    assert 0 == remove(folio, P, nr - 1, 1)[0]
    assert -nr == remove(folio, P, 0, 512, PMD_ORDER)[0]


# -- hugetlb ---------------------------------------------------------------------------------------------


@EVERY_FLAVOUR
@pytest.mark.parametrize("order", [4, 9, 18])
def test_hugetlb(flavour: Flavour, order: int) -> None:
    """A hugetlb folio counts its mappings in the total (and the entire mapcount) and in no statistic."""
    folio = Folio(flavour, order, hugetlb=True)
    nr = 1 << order

    assert (0, 0, False) == add(folio, P, 0, nr, order)
    assert (0, 0, False) == add(folio, C, 0, nr, order)
    assert (2, 2 * flavour.entire_mapcount) == (folio.large_mapcount, folio.entire_mapcount)
    assert (0, 0, False) == remove(folio, P, 0, nr, order)
    assert (0, 0, False) == remove(folio, C, 0, nr, order)
    assert Folio(flavour, order, hugetlb=True).counters() == folio.counters()


# -- illegal events: ValueError, and nothing has changed -------------------------------------------------

Act = Callable[[Folio], object]


def _illegal(folio: Folio, act: Act, why: str) -> None:
    before = folio.counters()
    with pytest.raises(ValueError, match=why):
        act(folio)

    assert before == folio.counters()


@EVERY_FLAVOUR
@pytest.mark.parametrize("change", [folio_add_rmap, folio_remove_rmap])
@pytest.mark.parametrize(("page", "nr"), [(0, 17), (16, 1), (-1, 2), (9, 8), (0, 0), (5, -1)])
def test_pages_of_another_folio(flavour: Flavour, change: Callable[..., Delta], page: int, nr: int) -> None:
    """Only pages of the folio, one at least, can be mapped or unmapped."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 16)

    _illegal(folio, lambda f: change(f, page, nr, P), "are not of a folio of 16 pages")


@EVERY_FLAVOUR
@pytest.mark.parametrize("order", [0, 4, 9])
@pytest.mark.parametrize("level", [-1, 1, 4, 10])
def test_levels_there_are_not(flavour: Flavour, order: int, level: int) -> None:
    """Page-table entries map 1, 512 or 2^18 pages: a folio in between has no entry of its own."""
    folio = Folio(flavour, order)

    _illegal(folio, lambda f: folio_add_rmap(f, 0, 1 << order, P, level), "use level 0, 9 or 18")


@EVERY_FLAVOUR
@pytest.mark.parametrize(("order", "page", "nr"), [(9, 0, 511), (10, 1, 512), (10, 256, 512), (4, 0, 16)])
def test_pmd_needs_512_aligned_pages(flavour: Flavour, order: int, page: int, nr: int) -> None:
    """A PMD maps 512 pages that start at a multiple of 512."""
    folio = Folio(flavour, order)

    _illegal(
        folio, lambda f: folio_add_rmap(f, page, nr, P, PMD_ORDER), "an entry that maps 512 pages cannot map"
    )


@WITH_ENTIRE
@pytest.mark.parametrize(("order", "nr"), [(10, 512), (10, 1024), (18, 512)])
def test_pmd_of_a_larger_folio(flavour: Flavour, order: int, nr: int) -> None:
    """Before total-mapped-pages an entry above the PTE level maps a whole folio of its size or nothing."""
    folio = Folio(flavour, order)

    _illegal(
        folio, lambda f: folio_add_rmap(f, 0, nr, P, PMD_ORDER), "can map only a whole folio by one entry"
    )


@EVERY_FLAVOUR
@EVERY_ORDER
def test_remove_from_an_unmapped_folio(flavour: Flavour, order: int) -> None:
    """A folio that nobody maps cannot be unmapped."""
    _illegal(Folio(flavour, order), lambda f: folio_remove_rmap(f, 0, 1, P), "0 mappings of that kind")


@EVERY_FLAVOUR
def test_remove_more_than_there_is(flavour: Flavour) -> None:
    """No more mappings can be removed than the folio has."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 5)

    _illegal(folio, lambda f: folio_remove_rmap(f, 0, 6, P), "has 5 mappings of that kind, 6 cannot")


@WITH_PAGES
def test_remove_pages_that_are_not_mapped(flavour: Flavour) -> None:
    """With per-page counts pages that no PTE maps cannot be unmapped, though others are mapped."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 8)

    _illegal(folio, lambda f: folio_remove_rmap(f, 6, 4, P), "are not all mapped 1 time")


@EVERY_FLAVOUR
@pytest.mark.parametrize("ptes", [1, 511, 512, 513, 1024])
def test_remove_a_pmd_that_is_not_there(flavour: Flavour, ptes: int) -> None:
    """PTEs, however many, cannot be removed as a PMD."""
    folio = Folio(flavour, 9)
    for mm in (P, C, D):
        share = min(512, ptes)
        if share:
            add(folio, mm, 0, share)
        ptes -= share

    _illegal(folio, lambda f: folio_remove_rmap(f, 0, 512, P, PMD_ORDER), "cannot be removed|cannot map")


@EVERY_FLAVOUR
@pytest.mark.parametrize("ptes", [0, 1, 511])
def test_remove_ptes_that_are_not_there(flavour: Flavour, ptes: int) -> None:
    """PMDs cannot be removed as PTEs."""
    folio = Folio(flavour, 9)
    for mm in (P, C):
        add_pmd(folio, mm)
    if ptes:
        add(folio, P, 0, ptes)

    _illegal(folio, lambda f: folio_remove_rmap(f, 0, ptes + 1, P), "cannot be removed|cannot map")


@ONLY_TOTAL
def test_remove_what_would_leave_too_few_pages(flavour: Flavour) -> None:
    """Every mapping maps a page at least and 512 at most: what breaks that was not mapped."""
    folio = Folio(flavour, 10)
    add_pmd(folio, P, 0)
    add(folio, P, 0, 600)

    _illegal(folio, lambda f: folio_remove_rmap(f, 0, 1024, P, PMD_ORDER), "599 mappings cannot map 88 pages")
    _illegal(folio, lambda f: folio_remove_rmap(f, 0, 601, P), "0 mappings cannot map 511 pages")


@WITH_SLOTS
@pytest.mark.parametrize("change", [folio_add_rmap, folio_remove_rmap, folio_add_new_anon_rmap])
@pytest.mark.parametrize("too", [0, -1, "large"], ids=str)
def test_ids_no_mm_has(flavour: Flavour, change: Callable[..., Delta], too: int | str) -> None:
    """The dummy id of free slots, and what does not fit beside a flag bit, never map a folio."""
    folio = Folio(flavour, 4)
    mm_id = flavour.max_mm_id + 1 if too == "large" else too
    if change is folio_remove_rmap:
        add(folio, P, 0, 16)
    act: Act = (
        (lambda f: change(f, mm_id))
        if change is folio_add_new_anon_rmap
        else (lambda f: change(f, 0, 1, mm_id))
    )

    _illegal(folio, act, f"has an id from 1 to {flavour.max_mm_id}, not {mm_id}")


@WITH_SLOTS
def test_remove_by_an_mm_that_maps_nothing(flavour: Flavour) -> None:
    """Where the slots account for every mapping, an mm they do not name has none to remove."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 16)

    _illegal(
        folio, lambda f: folio_remove_rmap(f, 0, 1, C), "mm 2 cannot leave 15 mappings: other mms have 16"
    )


@WITH_SLOTS
def test_remove_what_another_mm_maps(flavour: Flavour) -> None:
    """An mm cannot remove so much that less is left than the other slot knows."""
    folio = Folio(flavour, 4)
    add(folio, P, 0, 16)
    add(folio, C, 0, 8)

    _illegal(
        folio, lambda f: folio_remove_rmap(f, 0, 9, C), "mm 2 cannot leave 15 mappings: other mms have 16"
    )
    remove(folio, C, 0, 8)
    assert "1:16 -" == str(folio.slots)


@WITH_SLOTS
def test_remove_of_an_untracked_mm_is_legal(flavour: Flavour) -> None:
    """An mm without a slot can remove what the slots leave unaccounted for."""
    folio = Folio(flavour, 4)
    for mm in (P, C, D):
        add(folio, mm, 0, 16)

    assert (0, 0, False) == remove(folio, D, 0, 16)
    _illegal(
        folio, lambda f: folio_remove_rmap(f, 0, 1, D), "mm 3 cannot leave 31 mappings: other mms have 32"
    )


def test_one_batch_too_large_for_a_slot() -> None:
    """A 32-bit slot cannot take a batch of more than 2^15: kernels of that width have no such folios."""
    folio = Folio(TOTAL_MAPPED_PAGES.on(32), 16)

    _illegal(folio, lambda f: folio_add_rmap(f, 0, 65536, P), "65536 mappings at once do not fit")
    _illegal(folio, lambda f: folio_add_new_anon_rmap(f, P), "65536 mappings at once do not fit")
    assert (65536, 0, False) == add(folio, P, 0, 32768)


@EVERY_FLAVOUR
@EVERY_ORDER
def test_new_folio_that_is_mapped(flavour: Flavour, order: int) -> None:
    """A folio that is mapped already is not new."""
    folio = Folio(flavour, order)
    add(folio, P, 0, 1)

    _illegal(folio, lambda f: folio_add_new_anon_rmap(f, C), "a new folio cannot be mapped already")


@EVERY_FLAVOUR
@pytest.mark.parametrize(("page", "nr", "level"), [(0, 1, 0), (0, 512, 0), (0, 512, PMD_ORDER)])
def test_part_of_a_hugetlb_folio(flavour: Flavour, page: int, nr: int, level: int) -> None:
    """A hugetlb folio is mapped by one entry of its own size, never in part or by smaller entries."""
    folio = Folio(flavour, 18, hugetlb=True)

    _illegal(folio, lambda f: folio_add_rmap(f, page, nr, P, level), "a hugetlb folio is mapped by one entry")
