"""What the kernel asks of a folio's counters. Estimates all: nothing here knows the truth."""

from __future__ import annotations

from mapcount.tracking.folio import GUP_PIN_COUNTING_BIAS, Folio
from mapcount.tracking.rmap import folio_mapcount


def folio_maybe_mapped_shared(folio: Folio) -> bool:
    """May mappings of this folio belong to more than one mm?

    Linux 6.15 and later: "no" is always right, "yes" may be wrong (mechanism, section 4). Before 6.15
    this is the guess of section 11, which is wrong in both directions.
    """
    total = folio_mapcount(folio)
    if not folio.large or folio.hugetlb or total <= 1:
        return total > 1
    if folio.slots is not None:
        return folio.slots.shared
    assert folio.page_mapcount is not None
    return folio.entire_mapcount > 0 or total > folio.nr_pages or folio.page_mapcount[0] > 1


def folio_average_page_mapcount(folio: Folio) -> int:
    """How often a page of the folio is mapped on average, rounded half up, at least 1 when mapped.

    Mechanism, section 7 (NO_PAGE_MAPCOUNT) and section 9 (total-mapped-pages).
    """
    total = folio_mapcount(folio)
    if not folio.large or not total:
        return total
    half = folio.nr_pages // 2
    if folio.flavour.total_mapped_pages:
        return max(1, (folio.total_mapped_pages + half) >> folio.order)
    if total <= folio.entire_mapcount:
        return folio.entire_mapcount
    return max(1, ((total - folio.entire_mapcount + half) >> folio.order) + folio.entire_mapcount)


def folio_precise_page_mapcount(folio: Folio, page: int) -> int:
    """How often one page is mapped, PMD mappings included. Needs per-page counts (else ValueError)."""
    if folio.hugetlb:
        return folio_mapcount(folio)
    if folio.page_mapcount is None:
        raise ValueError(f"{folio.flavour} keeps no per-page counts in a large folio")
    return folio.page_mapcount[page] + folio.entire_mapcount


def folio_certainly_partially_mapped(folio: Folio) -> bool:
    """Is something of the folio mapped, and surely not all of it?"""
    total = folio_mapcount(folio)
    if not folio.large or not total or folio.hugetlb:
        return False
    if folio.flavour.total_mapped_pages:
        return folio.total_mapped_pages < folio.nr_pages
    if folio.entire_mapcount:
        return False
    return (folio.nr_pages_mapped if folio.flavour.page_mapcounts else total) < folio.nr_pages


def folio_maybe_dma_pinned(folio: Folio) -> bool:
    """May the folio be pinned by GUP? Exact for large folios; small ones count references."""
    if folio.large:
        return folio.pincount > 0
    return folio.refcount >= GUP_PIN_COUNTING_BIAS


def folio_can_reuse_anon(folio: Folio, swap_cache_refs: int = 0) -> bool:
    """May a write fault by PTE reuse this anonymous folio's page instead of copying it?

    Mechanism, section 6: a small folio without any other reference; a large one with more than one
    mapping left, not maybe shared, and no reference besides its mappings. Before 6.15 a large folio
    was reused only when its single reference was this mapping.
    """
    if not folio.large or folio.slots is None:
        return folio.refcount - swap_cache_refs == 1
    total = folio.large_mapcount
    return total > 1 and not folio.slots.shared and folio.refcount == total
