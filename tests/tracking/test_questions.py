"""Sections 6, 7, 9 and 11 of the mechanism: what the kernel asks of a folio, and how far off it can be."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import pytest

import mapcount
from mapcount import tracking
from mapcount.tracking import layouts
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
from mapcount.tracking.folio import Folio
from mapcount.tracking.questions import (
    folio_average_page_mapcount,
    folio_can_reuse_anon,
    folio_certainly_partially_mapped,
    folio_maybe_dma_pinned,
    folio_maybe_mapped_shared,
    folio_precise_page_mapcount,
)
from mapcount.tracking.rmap import folio_add_new_anon_rmap, folio_add_rmap, folio_remove_rmap

P, C, D = 1, 2, 3


def _in(*flavours: Flavour) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("flavour", flavours, ids=str)


EVERY_FLAVOUR = _in(*FLAVOURS.values(), *(flavour.on(32) for flavour in FLAVOURS.values()))
WITH_SLOTS = _in(PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES)
WITH_PAGES = _in(V6_14, PAGE_MAPCOUNT)
WITHOUT_PAGES = _in(NO_PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES)


def mapped(flavour: Flavour, order: int, *mappings: tuple[int, ...], hugetlb: bool = False) -> Folio:
    """A folio with these (mm, page, number of pages, level) mappings, and the references they hold."""
    folio = Folio(flavour, order, hugetlb=hugetlb)
    for mm, page, nr, *level in mappings:
        folio_add_rmap(folio, page, nr, mm, *level)
        folio.refcount += nr >> sum(level)
    return folio


def unmap(folio: Folio, mm: int, page: int, nr: int, level: int = 0) -> None:
    """`mm` unmaps these pages and drops their references."""
    folio_remove_rmap(folio, page, nr, mm, level)
    folio.refcount -= nr >> level


PMD = (0, 512, PMD_ORDER)


# -- folio_maybe_mapped_shared ---------------------------------------------------------------------------


@EVERY_FLAVOUR
@pytest.mark.parametrize("order", [0, 1, 4, 9])
def test_unmapped_is_not_shared(flavour: Flavour, order: int) -> None:
    """A folio that nobody maps is not called shared, in any flavour."""
    assert not folio_maybe_mapped_shared(mapped(flavour, order))


@EVERY_FLAVOUR
def test_small_folio_is_exact(flavour: Flavour) -> None:
    """A small folio is called shared iff it has two mappings, of two mms unless it is a KSM page."""
    assert not folio_maybe_mapped_shared(mapped(flavour, 0, (P, 0, 1)))
    assert folio_maybe_mapped_shared(mapped(flavour, 0, (P, 0, 1), (C, 0, 1)))
    assert folio_maybe_mapped_shared(mapped(flavour, 0, (P, 0, 1), (P, 0, 1)))


@EVERY_FLAVOUR
def test_hugetlb_is_exact(flavour: Flavour) -> None:
    """A hugetlb folio is called shared iff it has two mappings."""
    assert not folio_maybe_mapped_shared(mapped(flavour, 9, (P, *PMD), hugetlb=True))
    assert folio_maybe_mapped_shared(mapped(flavour, 9, (P, *PMD), (C, *PMD), hugetlb=True))


@EVERY_FLAVOUR
@pytest.mark.parametrize("order", [1, 4, 9])
def test_one_mapping_is_not_shared(flavour: Flavour, order: int) -> None:
    """A large folio with a single mapping is not called shared, by a PTE or by a PMD."""
    assert not folio_maybe_mapped_shared(mapped(flavour, order, (P, 0, 1)))
    if order == PMD_ORDER:
        assert not folio_maybe_mapped_shared(mapped(flavour, order, (P, *PMD)))


@WITH_SLOTS
def test_one_mapping_is_not_shared_whatever_the_flag_says(flavour: Flavour) -> None:
    """With a total of one the flag is not asked, even where it is still set."""
    folio = mapped(flavour, 4, (P, 0, 1), (C, 0, 1), (D, 0, 1))
    unmap(folio, P, 0, 1)
    unmap(folio, C, 0, 1)

    assert folio.slots is not None
    assert folio.slots.shared
    assert not folio_maybe_mapped_shared(folio)


@WITH_SLOTS
@pytest.mark.parametrize("order", [1, 4, 9])
def test_large_folio_by_its_slots(flavour: Flavour, order: int) -> None:
    """A large folio is exclusive while one mm maps it, shared with the second, exclusive when that leaves."""
    nr = 1 << order
    folio = mapped(flavour, order, (P, 0, nr))
    said = [folio_maybe_mapped_shared(folio)]
    folio_add_rmap(folio, 0, 1, C)
    said.append(folio_maybe_mapped_shared(folio))
    folio_remove_rmap(folio, 0, 1, C)
    said.append(folio_maybe_mapped_shared(folio))

    assert [False, True, False] == said


@WITH_SLOTS
def test_different_parts_are_shared(flavour: Flavour) -> None:
    """Two mms that map different pages of a folio share the folio."""
    assert folio_maybe_mapped_shared(mapped(flavour, 4, (P, 0, 8), (C, 8, 8)))


# -- the guess before 6.15 (section 11) ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "mappings", "guess", "shared"),
    [
        (4, [(P, 0, 16)], False, False),
        (4, [(P, 0, 16), (C, 0, 16)], True, True),
        (9, [(P, *PMD), (C, *PMD)], True, True),
        (4, [(P, 0, 8), (C, 0, 8)], True, True),
        # wrong: exclusive, because the first page is mapped once and there are no more mappings than pages
        (4, [(P, 0, 8), (C, 8, 8)], False, True),
        (4, [(P, 1, 8), (C, 1, 8)], False, True),
        (4, [(P, 0, 2), (C, 1, 2)], False, True),
        # wrong: shared, because one mm maps the first page, or all of it, twice
        (4, [(P, 0, 1), (P, 0, 1)], True, False),
        (4, [(P, 0, 16), (P, 5, 1)], True, False),
        # wrong: shared, because one mm maps it by a PMD and by PTEs
        (9, [(P, *PMD), (P, 0, 1)], True, False),
    ],
)
def test_guess_before_6_15(order: int, mappings: list[tuple[int, ...]], guess: bool, shared: bool) -> None:
    """Before 6.15 "shared" was guessed from totals and the first page, and wrong in both directions."""
    assert shared == (len({mm for mm, *_ in mappings}) > 1)
    assert guess == folio_maybe_mapped_shared(mapped(V6_14, order, *mappings))
    assert shared == folio_maybe_mapped_shared(mapped(PAGE_MAPCOUNT, order, *mappings))


def test_guess_looks_at_the_first_page_only() -> None:
    """Before 6.15 the answer changed with the page in which two mms meet."""
    said = [folio_maybe_mapped_shared(mapped(V6_14, 4, (P, 0, 8), (C, page, 1))) for page in range(8)]

    assert [True] + [False] * 7 == said


def test_guess_when_each_page_is_mapped_once_on_average() -> None:
    """Before 6.15 more mappings than pages meant shared; exactly as many left it to the first page."""
    assert not folio_maybe_mapped_shared(mapped(V6_14, 4, (P, 0, 15), (C, 15, 1)))
    assert folio_maybe_mapped_shared(mapped(V6_14, 4, (P, 0, 16), (C, 15, 1)))


# -- how often a page is mapped --------------------------------------------------------------------------


@EVERY_FLAVOUR
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_average_of_a_small_folio(flavour: Flavour, n: int) -> None:
    """A small folio's average is its count."""
    assert n == folio_average_page_mapcount(mapped(flavour, 0, *[(P, 0, 1)] * n))


@WITHOUT_PAGES
@pytest.mark.parametrize("order", [1, 4, 9])
def test_average_of_an_unmapped_folio(flavour: Flavour, order: int) -> None:
    """The average is 0 when nothing is mapped."""
    assert 0 == folio_average_page_mapcount(mapped(flavour, order))


@WITHOUT_PAGES
@pytest.mark.parametrize("order", [1, 4, 9])
def test_average_of_fully_mapped_folios(flavour: Flavour, order: int) -> None:
    """While all mms map all of a folio by PTEs, the average is their number."""
    whole = [(mm, 0, 1 << order) for mm in (P, C, D)]

    assert [1, 2, 3] == [folio_average_page_mapcount(mapped(flavour, order, *whole[:n])) for n in (1, 2, 3)]


@WITHOUT_PAGES
def test_average_rounds_half_up(flavour: Flavour) -> None:
    """A folio of four pages with 1 to 12 PTE mappings: the average is rounded half up, at least 1."""
    averages = [
        folio_average_page_mapcount(mapped(flavour, 2, *[(P, n % 4, 1) for n in range(total)]))
        for total in range(1, 13)
    ]

    assert [1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3] == averages


@pytest.mark.parametrize("order", [1, 4, 9])
@WITHOUT_PAGES
def test_average_by_exact_arithmetic(flavour: Flavour, order: int) -> None:
    """The shift is division, rounded half up, of mapped pages by pages, and never below 1."""
    nr = 1 << order
    folio = mapped(flavour, order)
    for n in range(1, 3 * nr + 1, max(1, nr // 16) | 1):
        while folio.large_mapcount < n:
            folio_add_rmap(folio, folio.large_mapcount % nr, 1, P)
        expected = max(1, (Fraction(n, nr) + Fraction(1, 2)).__floor__())
        assert expected == folio_average_page_mapcount(folio)


@pytest.mark.parametrize(
    ("pmds", "ptes", "without_pages", "total_mapped_pages"),
    [
        (1, 0, 1, 1),  # entire, as total <= entire
        (3, 0, 3, 3),
        (1, 1, 1, 1),
        (1, 255, 1, 1),
        (1, 256, 2, 2),  # half of the pages again: rounded up
        (1, 512, 2, 2),
        (2, 1, 2, 2),  # 1025 mapped pages of 512
        (2, 255, 2, 2),
        (2, 256, 3, 3),
        (0, 1, 1, 1),
        (0, 255, 1, 1),
        (0, 512, 1, 1),
    ],
)
def test_average_with_pmds(pmds: int, ptes: int, without_pages: int, total_mapped_pages: int) -> None:
    """A PMD counts for every page in the average, by the entire mapcount or by the mapped pages."""
    mappings = [(mm + 1, *PMD) for mm in range(pmds)] + ([(P, 0, ptes)] if ptes else [])

    assert without_pages == folio_average_page_mapcount(mapped(NO_PAGE_MAPCOUNT, 9, *mappings))
    assert total_mapped_pages == folio_average_page_mapcount(mapped(TOTAL_MAPPED_PAGES, 9, *mappings))


def test_average_of_two_pmds_and_a_pte() -> None:
    """A 512-page folio mapped by two PMDs and one PTE has 1025 mapped pages, on average 2 per page."""
    folio = mapped(TOTAL_MAPPED_PAGES, 9, (P, *PMD), (C, *PMD), (D, 0, 1))

    assert (3, 1025) == (folio.large_mapcount, folio.total_mapped_pages)
    assert 2 == folio_average_page_mapcount(folio)


@pytest.mark.parametrize(
    ("order", "mappings", "average"),
    [
        (10, [(P, *PMD)], 1),  # half of it: rounded half up, and at least 1
        (10, [(P, *PMD), (C, *PMD)], 1),
        (10, [(P, *PMD), (C, *PMD), (D, *PMD)], 2),
        (10, [(P, 0, 1024, PMD_ORDER), (C, 0, 1024)], 2),
        (18, [(P, 0, 1 << 18, PUD_ORDER)], 1),
        (18, [(P, 0, 1 << 18, PUD_ORDER), (C, 0, 1 << 17, PMD_ORDER)], 2),
        (18, [(P, 0, 1 << 18, PUD_ORDER), (C, 0, (1 << 17) - 1)], 1),
        (18, [(C, 77, 1)], 1),
    ],
)
def test_average_above_pmd_size(order: int, mappings: list[tuple[int, ...]], average: int) -> None:
    """With total-mapped-pages the average of any mix of entries is that of its mapped pages."""
    assert average == folio_average_page_mapcount(mapped(TOTAL_MAPPED_PAGES, order, *mappings))


@EVERY_FLAVOUR
def test_average_of_hugetlb(flavour: Flavour) -> None:
    """Every page of a hugetlb folio is mapped as often as the folio."""
    folio = mapped(flavour, 9, (P, *PMD), (C, *PMD), (D, *PMD), hugetlb=True)

    assert 3 == folio_average_page_mapcount(folio) == folio_precise_page_mapcount(folio, 511)


@WITH_PAGES
def test_precise_count_of_a_page(flavour: Flavour) -> None:
    """With per-page counts a page is mapped as often as its own PTEs and the folio's PMDs say."""
    folio = mapped(flavour, 9, (P, *PMD), (C, *PMD), (D, 7, 1))

    assert [2, 3, 2] == [folio_precise_page_mapcount(folio, page) for page in (6, 7, 8)]


@WITHOUT_PAGES
def test_no_precise_count_without_pages(flavour: Flavour) -> None:
    """Without per-page counts nobody knows how often one page of a large folio is mapped."""
    with pytest.raises(ValueError, match=f"{flavour} keeps no per-page counts in a large folio"):
        folio_precise_page_mapcount(mapped(flavour, 4, (P, 0, 16)), 0)


@EVERY_FLAVOUR
def test_precise_count_of_a_small_folio(flavour: Flavour) -> None:
    """A small folio's page has its count in every flavour."""
    assert 2 == folio_precise_page_mapcount(mapped(flavour, 0, (P, 0, 1), (C, 0, 1)), 0)


# -- partially mapped? -----------------------------------------------------------------------------------


@EVERY_FLAVOUR
@pytest.mark.parametrize("order", [1, 4, 9])
def test_partially_mapped(flavour: Flavour, order: int) -> None:
    """One mm's folio is certainly partially mapped when something of it is mapped, but not everything."""
    nr = 1 << order
    folios = [
        mapped(flavour, order),
        mapped(flavour, order, (P, 0, nr - 1)),
        mapped(flavour, order, (P, 0, nr)),
    ]

    assert [False, True, False] == [folio_certainly_partially_mapped(folio) for folio in folios]


@EVERY_FLAVOUR
def test_small_and_hugetlb_are_never_partially_mapped(flavour: Flavour) -> None:
    """Small and hugetlb folios are mapped whole or not at all."""
    assert not folio_certainly_partially_mapped(mapped(flavour, 0, (P, 0, 1)))
    assert not folio_certainly_partially_mapped(mapped(flavour, 9, (P, *PMD), hugetlb=True))


@EVERY_FLAVOUR
def test_pmd_mapped_is_not_partially_mapped(flavour: Flavour) -> None:
    """A folio that a PMD maps is fully mapped, though its total is 1."""
    assert not folio_certainly_partially_mapped(mapped(flavour, 9, (P, *PMD)))
    assert not folio_certainly_partially_mapped(mapped(flavour, 9, (P, *PMD), (C, 0, 5)))


@EVERY_FLAVOUR
def test_partially_mapped_by_two(flavour: Flavour) -> None:
    """Half of a folio mapped by two mms is certainly partial only to those who count pages."""
    folio = mapped(flavour, 4, (P, 0, 8), (C, 0, 8))

    assert flavour.page_mapcounts == folio_certainly_partially_mapped(folio)


def test_partially_mapped_above_pmd_size() -> None:
    """With total-mapped-pages one PMD and 511 PTEs leave a folio of 1024 pages partially mapped."""
    assert folio_certainly_partially_mapped(mapped(TOTAL_MAPPED_PAGES, 10, (P, *PMD), (P, 512, 511)))
    assert not folio_certainly_partially_mapped(mapped(TOTAL_MAPPED_PAGES, 10, (P, *PMD), (P, 512, 512)))
    assert not folio_certainly_partially_mapped(mapped(TOTAL_MAPPED_PAGES, 10, (P, 0, 1024, PMD_ORDER)))


# -- pinned? ---------------------------------------------------------------------------------------------


@EVERY_FLAVOUR
def test_pins_of_a_large_folio(flavour: Flavour) -> None:
    """A large folio counts its pins, and no number of references looks like one."""
    folio = mapped(flavour, 4, (P, 0, 16))
    folio.refcount += 5000
    assert not folio_maybe_dma_pinned(folio)
    folio.pincount += 1

    assert folio_maybe_dma_pinned(folio)


@EVERY_FLAVOUR
def test_pins_of_a_small_folio(flavour: Flavour) -> None:
    """A pin of a small folio is 1024 references, so that as many references look like a pin."""
    folio = mapped(flavour, 0, (P, 0, 1))
    folio.refcount = 1023
    assert not folio_maybe_dma_pinned(folio)
    folio.refcount = 1024

    assert folio_maybe_dma_pinned(folio)


# -- copy-on-write: reuse the page? (sections 6 and 11) --------------------------------------------------


@EVERY_FLAVOUR
def test_reuse_of_a_small_folio(flavour: Flavour) -> None:
    """A small folio's page is reused when its mapping is its only reference, besides the swap cache's."""
    folio = mapped(flavour, 0, (P, 0, 1))
    assert folio_can_reuse_anon(folio)
    folio.refcount += 1

    assert not folio_can_reuse_anon(folio)
    assert folio_can_reuse_anon(folio, swap_cache_refs=1)


def _after_a_childs_exit(flavour: Flavour, order: int) -> Folio:
    """A folio that parent and child shared until the child left."""
    folio, nr = Folio(flavour, order), 1 << order
    folio_add_new_anon_rmap(folio, P)
    folio_add_rmap(folio, 0, nr, C)
    folio_remove_rmap(folio, 0, nr, C)
    folio.refcount = nr
    return folio


@EVERY_FLAVOUR
@pytest.mark.parametrize("order", [1, 4, 9])
def test_reuse_after_a_childs_exit(flavour: Flavour, order: int) -> None:
    """After the child's exit a PTE-mapped large folio is reused since 6.15, and was always copied before."""
    assert flavour.owner_slots == folio_can_reuse_anon(_after_a_childs_exit(flavour, order))


@WITH_SLOTS
def test_no_reuse_while_shared(flavour: Flavour) -> None:
    """A folio that may be mapped shared is copied."""
    assert not folio_can_reuse_anon(mapped(flavour, 4, (P, 0, 16), (C, 0, 1)))


@WITH_SLOTS
def test_no_reuse_with_another_reference(flavour: Flavour) -> None:
    """A folio with a reference besides its mappings (a pin, the swap cache) is copied."""
    folio = _after_a_childs_exit(flavour, 4)
    folio.refcount += 1

    assert not folio_can_reuse_anon(folio)


@WITH_SLOTS
def test_no_reuse_of_the_last_page(flavour: Flavour) -> None:
    """With only one page of a large folio still mapped, it is copied so that the folio can be freed."""
    folio = mapped(flavour, 4, (P, 0, 2))
    assert folio_can_reuse_anon(folio)
    unmap(folio, P, 0, 1)

    assert not folio_can_reuse_anon(folio)


@WITH_SLOTS
def test_no_reuse_where_the_slots_are_mistaken(flavour: Flavour) -> None:
    """A wrong "shared" costs a copy: a third mm left alone does not get its folio back."""
    folio = mapped(flavour, 4, (P, 0, 16), (C, 0, 16), (D, 0, 16))
    for mm in (P, C):
        unmap(folio, mm, 0, 16)

    assert 16 == folio.refcount == folio.large_mapcount
    assert not folio_can_reuse_anon(folio)


def test_reuse_before_6_15() -> None:
    """Before 6.15 a large folio was reused only when one mapping was all that referred to it."""
    assert folio_can_reuse_anon(mapped(V6_14, 4, (P, 3, 1)))
    assert not folio_can_reuse_anon(mapped(V6_14, 4, (P, 3, 2)))


# -- what the package says of itself ---------------------------------------------------------------------


def test_example_of_the_package() -> None:
    """The example in the package's docstring does what it says."""
    results = doctest.testmod(mapcount)

    assert 0 == results.failed
    assert 0 < results.attempted


def test_public_names() -> None:
    """Every public name is there, and the package's are those of `tracking`."""
    assert [] == [name for name in tracking.__all__ if not hasattr(tracking, name)]
    assert [] == [n for n in mapcount.__all__ if getattr(mapcount, n) is not getattr(tracking, n, None)]


def test_theory_names_what_is_there() -> None:
    """Every name of code in the theory of operation is a name in the code."""
    assert tracking.__doc__ is not None
    names = re.findall(r"`((?:mapcount\.|folio_|[A-Z])[\w.]*)(?:\(.*?\))?`", tracking.__doc__)
    missing = []
    for name in names:
        if name.startswith("mapcount."):
            found = find_spec(name) is not None
        else:
            owner, _, attribute = name.partition(".")
            thing = getattr(tracking, owner, getattr(layouts, owner, None))
            found = thing is not None and (not attribute or hasattr(thing, attribute))
        if not found:
            missing.append(name)

    assert [] == missing
    assert 40 < len(names)


def test_theory_names_every_module() -> None:
    """The reading order has every module of `tracking`, once."""
    assert tracking.__doc__ is not None
    order = tracking.__doc__.split("Reading order\n")[1].split("From the article")[0]
    modules = {path.stem for path in map(Path, tracking.__path__) for path in path.glob("[a-z]*.py")}

    assert sorted(modules) == sorted(re.findall(r"^    (\w+)", order, re.MULTILINE))


def test_import_is_cheap() -> None:
    """Importing the package imports nothing but the standard library."""
    code = "import sys; before = set(sys.modules); import mapcount; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in done.stdout.split()}

    assert {"mapcount"} == roots - sys.stdlib_module_names
