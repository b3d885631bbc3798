"""What folio counters imply about pages, against the core's folios."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.live.folio_counts import (
    LargeFolios,
    implied_mapcounts,
    mapped_pages,
    sum_mapcount,
    unknown_counters,
)
from mapcount.live.snapshot import UNKNOWN, Kind
from mapcount.tracking.flavour import PAGE_MAPCOUNT, PMD_ORDER, PTE_ORDER
from mapcount.tracking.folio import ENTIRELY_MAPPED, Folio
from mapcount.tracking.questions import folio_precise_page_mapcount
from mapcount.tracking.rmap import folio_add_rmap

from .fakes import Run, runs_of

NR = 1 << PMD_ORDER


@st.composite
def folios(draw: st.DrawFn) -> Folio:
    """A huge page that several address spaces map, by PMDs and by PTEs."""
    folio = Folio(PAGE_MAPCOUNT, PMD_ORDER)
    for mm_id in range(1, draw(st.integers(0, 2)) + 1):
        folio_add_rmap(folio, 0, NR, mm_id, PMD_ORDER)
    for mm_id in range(11, draw(st.integers(0, 3)) + 11):
        start = draw(st.integers(0, NR - 1))
        folio_add_rmap(folio, start, draw(st.integers(1, NR - start)), mm_id, PTE_ORDER)
    return folio


def large(folio: Folio) -> LargeFolios:
    """The same as it is read from the kernel."""
    counters = replace(
        unknown_counters(1),
        large_mapcount=np.array([folio.large_mapcount], np.int32),
        entire_mapcount=np.array([folio.entire_mapcount], np.int32),
        nr_pages_mapped=np.array([folio.nr_pages_mapped & ~ENTIRELY_MAPPED], np.int32),
    )
    order, kind = np.array([PMD_ORDER], np.int8), np.array([Kind.ANON], np.int8)
    return LargeFolios(np.array([512], np.uint64), order, kind, counters)


@given(folios())
def test_what_is_implied_is_true(folio: Folio) -> None:
    """A count that the folio's counters imply is every such page's, and sums are the pages' own."""
    seen = large(folio)
    counts = [folio_precise_page_mapcount(folio, page) for page in range(NR)]
    nr = np.array([NR])
    assert [sum(counts)] == list(sum_mapcount(seen.counters, nr))
    assert [sum(count > 0 for count in counts)] == list(mapped_pages(seen.counters, nr))
    by_pmd, by_pte = implied_mapcounts(
        runs_of([Run(page=0, nr=NR, folio=512, order=9, pmd=level, exclusive=False) for level in (1, 0)]),
        seen,
        True,
    )
    if by_pmd != UNKNOWN and folio.entire_mapcount:
        assert {by_pmd} == set(counts)
    if by_pte != UNKNOWN:
        assert {by_pte} == {count for count in counts if count > folio.entire_mapcount}


def test_common_folios_need_no_look_at_their_pages() -> None:
    """A folio mapped once, by a PMD or by PTEs of which some are gone, says all about its pages."""
    by_pmd, by_pte = Folio(PAGE_MAPCOUNT, PMD_ORDER), Folio(PAGE_MAPCOUNT, PMD_ORDER)
    folio_add_rmap(by_pmd, 0, NR, 1, PMD_ORDER)
    folio_add_rmap(by_pte, 0, NR - 100, 1, PTE_ORDER)
    for level, folio in ((1, by_pmd), (0, by_pte)):
        run = runs_of([Run(page=0, nr=8, folio=512, order=9, pmd=level, exclusive=False)])
        assert [1] == list(implied_mapcounts(run, large(folio), True))


def test_an_unknown_level_or_folio_implies_nothing() -> None:
    """Without struct folio, or where the level is unknown, pages have to be asked."""
    folio = Folio(PAGE_MAPCOUNT, PMD_ORDER)
    folio_add_rmap(folio, 0, NR, 1, PMD_ORDER)
    unknown = replace(large(folio), counters=unknown_counters(1))
    under_pmd = runs_of([Run(page=0, folio=512, order=9, pmd=1)])
    assert [UNKNOWN] == list(implied_mapcounts(under_pmd, unknown, True))
    somehow = runs_of([Run(page=0, folio=512, order=9, pmd=UNKNOWN)])
    assert [UNKNOWN] == list(implied_mapcounts(somehow, large(folio), True))


@pytest.mark.parametrize("page_mapcounts", [True, False])
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("order", [0, 9])
@pytest.mark.parametrize("pmd", [0, 1, UNKNOWN])
@pytest.mark.parametrize("exclusive", [True, False])
def test_bit_56_says_that_a_page_is_mapped_once(
    page_mapcounts: bool, kind: Kind, order: int, pmd: int, exclusive: bool
) -> None:
    """Where it is set it does so of small pages, and on kernels that count pages of those that a PTE maps."""
    unknown = replace(large(Folio(PAGE_MAPCOUNT, PMD_ORDER)), counters=unknown_counters(1))
    run = runs_of([Run(page=0, folio=512, order=order, pmd=pmd, kind=kind, exclusive=exclusive)])
    counted = kind in (Kind.ANON, Kind.FILE, Kind.SHMEM, Kind.KSM)
    of_the_page = order == 0 or (pmd == 0 and page_mapcounts)
    expected = 1 if exclusive and counted and of_the_page else UNKNOWN
    assert [expected] == list(implied_mapcounts(run, unknown, page_mapcounts))
