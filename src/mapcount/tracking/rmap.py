"""What mapping and unmapping do to a folio's counters, in each flavour.

The rules are the table of section 5 of the mechanism, and section 9 for `total-mapped-pages`. The
kernel's names for the same events: `folio_add_new_anon_rmap`, `folio_add_{anon,file}_rmap_{ptes,pmd}`,
`folio_try_dup_anon_rmap_{ptes,pmd}`, `folio_remove_rmap_{ptes,pmd}`. Whether a PTE or a PMD is added is
the `level` here: the order of what one page-table entry maps (0, 9 or 18, unless scaled down).

`Delta` says what happened besides: by how much the statistics change (AnonPages or Mapped, and the
PMD statistic of the folio's kind, in pages), whether the folio was found partially mapped, and what
the update cost. An illegal event raises ValueError and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapcount.tracking.flavour import PTE_ORDER, PUD_ORDER, Flavour
from mapcount.tracking.folio import ENTIRELY_MAPPED, Folio
from mapcount.tracking.mm_id import MM_ID_DUMMY
from mapcount.tracking.owner_slots import OwnerSlots


@dataclass(frozen=True, slots=True)
class Cost:
    """Counter updates one event needed, on one folio.

    `page_updates`: `_mapcount` words of single pages. `locked_updates`: changes of (total, slots)
    under the folio's bit spinlock. `atomic_updates`: single counters of the folio changed alone.
    """

    page_updates: int = 0
    locked_updates: int = 0
    atomic_updates: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """What one event changed outside the folio: statistics in pages, a verdict, its cost."""

    stat: int = 0
    pmd_stat: int = 0
    partially_mapped: bool = False
    cost: Cost = Cost()


def folio_add_rmap(folio: Folio, page: int, nr_pages: int, mm_id: int, level: int = PTE_ORDER) -> Delta:
    """Entries of `level` in mm `mm_id` now map `nr_pages` pages of the folio from `page` on."""
    return _apply(folio, page, nr_pages, mm_id, level, +1)


def folio_remove_rmap(folio: Folio, page: int, nr_pages: int, mm_id: int, level: int = PTE_ORDER) -> Delta:
    """Entries of `level` in mm `mm_id` no longer map `nr_pages` pages of the folio from `page` on."""
    return _apply(folio, page, nr_pages, mm_id, level, -1)


def folio_add_new_anon_rmap(folio: Folio, mm_id: int, level: int = PTE_ORDER) -> Delta:
    """A new anonymous folio is mapped whole by its first mm; nobody else sees it, so no lock is taken."""
    if folio_mapcount(folio):
        raise ValueError("a new folio cannot be mapped already")
    delta = _apply(folio, 0, folio.nr_pages, mm_id, level, +1)
    return Delta(delta.stat, delta.pmd_stat, False, Cost(page_updates=delta.cost.page_updates))


def folio_mapcount(folio: Folio) -> int:
    """How many page-table entries map any part of the folio."""
    return folio.large_mapcount if folio.large else _page_mapcount(folio)


def _page_mapcount(folio: Folio) -> int:
    assert folio.page_mapcount is not None
    return folio.page_mapcount[0]


def _check(folio: Folio, page: int, nr_pages: int, mm_id: int, level: int, sign: int) -> int:
    """How many entries of `level` cover these pages. Raises ValueError for an event that cannot be."""
    levels = _levels(folio.flavour)
    if level not in levels and not folio.hugetlb:
        raise ValueError(
            f"no page-table entry maps 2^{level} pages: use level {levels[0]}, {levels[1]} or {levels[2]}"
        )
    span = 1 << level
    if not (0 <= page and nr_pages >= 1 and page + nr_pages <= folio.nr_pages):
        raise ValueError(f"pages {page}..{page + nr_pages - 1} are not of a folio of {folio.nr_pages} pages")
    if page % span or nr_pages % span:
        raise ValueError(f"an entry that maps {span} pages cannot map pages {page}..{page + nr_pages - 1}")
    whole = nr_pages == span == folio.nr_pages
    if folio.hugetlb and not whole:
        raise ValueError("a hugetlb folio is mapped by one entry, as a whole")
    if level and not whole and not folio.flavour.any_level:
        raise ValueError(f"{folio.flavour} can map only a whole folio by one entry above the PTE level")
    entries = nr_pages >> level
    if sign < 0:
        _check_remove(folio, nr_pages, entries, level)
    if folio.slots is not None:
        _check_slots(folio, folio.slots, entries, mm_id, sign)
    return entries


def _levels(flavour: Flavour) -> tuple[int, int, int]:
    """What one page-table entry maps, as orders: a PTE, a PMD, a PUD."""
    return PTE_ORDER, flavour.pmd_order, PUD_ORDER


def _check_remove(folio: Folio, nr_pages: int, entries: int, level: int) -> None:
    """Raises ValueError where the counters prove that there are not that many mappings of the kind."""
    there = folio_mapcount(folio)
    if folio.flavour.entire_mapcount and folio.large:
        there = folio.entire_mapcount if level else there - folio.entire_mapcount
    if there < entries:
        raise ValueError(f"the folio has {there} mappings of that kind, {entries} cannot be removed")
    if folio.flavour.total_mapped_pages and folio.large and not folio.hugetlb:
        total, pages = there - entries, folio.total_mapped_pages - nr_pages
        widest = max(order for order in _levels(folio.flavour) if order <= folio.order)
        if not total <= pages <= total << widest:
            raise ValueError(f"{total} mappings cannot map {pages} pages, which removing these would leave")


def _check_slots(folio: Folio, slots: OwnerSlots, entries: int, mm_id: int, sign: int) -> None:
    """Raises ValueError for an id no mm has, a count no slot holds, and what the other slot disproves."""
    if not MM_ID_DUMMY < mm_id <= folio.flavour.max_mm_id:
        raise ValueError(f"an mm that maps folios has an id from 1 to {folio.flavour.max_mm_id}, not {mm_id}")
    if entries > folio.flavour.max_slot_mapcount:
        raise ValueError(f"{entries} mappings at once do not fit in an owner slot of {folio.flavour}")
    left = folio.large_mapcount + sign * entries
    others = slots.known_of_others(mm_id)
    if left < others:
        raise ValueError(f"mm {mm_id} cannot leave {left} mappings: other mms have {others} for certain")


def _apply(folio: Folio, page: int, nr_pages: int, mm_id: int, level: int, sign: int) -> Delta:
    entries = _check(folio, page, nr_pages, mm_id, level, sign)
    if not folio.large:
        assert folio.page_mapcount is not None
        turned = folio.page_mapcount.add(0, 1, sign)
        return Delta(stat=sign * turned, cost=Cost(page_updates=1))
    if folio.hugetlb:
        folio.entire_mapcount += sign if folio.flavour.entire_mapcount else 0
        _count_total(folio, entries, nr_pages, mm_id, sign)
        return Delta(cost=Cost(atomic_updates=2))
    if folio.flavour.page_mapcounts:
        return _apply_with_pages(folio, page, nr_pages, entries, mm_id, level, sign)
    if folio.flavour.total_mapped_pages:
        return _apply_with_mapped_pages(folio, nr_pages, entries, mm_id, sign)
    return _apply_without_pages(folio, nr_pages, entries, mm_id, level, sign)


def _count_total(folio: Folio, entries: int, nr_pages: int, mm_id: int, sign: int) -> Cost:
    """Update the total and, where they are kept, the slots and the mapped pages, under one lock."""
    folio.large_mapcount += sign * entries
    if folio.flavour.total_mapped_pages:
        folio.total_mapped_pages += sign * nr_pages
    if folio.slots is None:
        return Cost(atomic_updates=1)
    (folio.slots.add if sign > 0 else folio.slots.remove)(folio.large_mapcount, mm_id, entries)
    return Cost(locked_updates=1)


def _apply_with_pages(
    folio: Folio, page: int, nr_pages: int, entries: int, mm_id: int, level: int, sign: int
) -> Delta:
    """PAGE_MAPCOUNT, and every kernel before 6.15."""
    pages = folio.page_mapcount
    assert pages is not None
    if level == PTE_ORDER:
        turned = pages.add(page, nr_pages, sign)
        folio.nr_pages_mapped += sign * turned
        cost = _count_total(folio, entries, nr_pages, mm_id, sign)
        entirely = folio.entire_mapcount > 0
        partially = sign < 0 and turned > 0 and folio.nr_pages_mapped > 0 and not entirely
        return Delta(
            stat=0 if entirely else sign * turned,
            partially_mapped=partially,
            cost=Cost(nr_pages, cost.locked_updates, cost.atomic_updates + (turned > 0)),
        )
    cost = _count_total(folio, entries, nr_pages, mm_id, sign)
    folio.entire_mapcount += sign
    first_or_last = folio.entire_mapcount == (1 if sign > 0 else 0)
    if not first_or_last:
        return Delta(cost=Cost(0, cost.locked_updates, cost.atomic_updates + 1))
    folio.nr_pages_mapped += sign * ENTIRELY_MAPPED
    by_ptes = folio.nr_pages_mapped & (ENTIRELY_MAPPED - 1)
    turned = folio.nr_pages - by_ptes
    return Delta(
        stat=sign * turned,
        pmd_stat=sign * folio.nr_pages if folio.pmd_mappable else 0,
        partially_mapped=sign < 0 and 0 < turned < folio.nr_pages,
        cost=Cost(0, cost.locked_updates, cost.atomic_updates + 2),
    )


def _apply_without_pages(
    folio: Folio, nr_pages: int, entries: int, mm_id: int, level: int, sign: int
) -> Delta:
    """NO_PAGE_MAPCOUNT."""
    cost = _count_total(folio, entries, nr_pages, mm_id, sign)
    pmd_stat = 0
    last_pmd = False
    if level:
        folio.entire_mapcount += sign
        if folio.entire_mapcount == (1 if sign > 0 else 0):
            pmd_stat = sign * folio.nr_pages if folio.pmd_mappable else 0
            last_pmd = sign < 0
        cost = Cost(0, cost.locked_updates, cost.atomic_updates + 1)
    total = folio.large_mapcount
    few = 0 < total < folio.nr_pages
    partially = sign < 0 and few and (last_pmd if level else folio.entire_mapcount == 0)
    return Delta(_whole_stat(folio, entries, sign), pmd_stat, partially, cost)


def _apply_with_mapped_pages(folio: Folio, nr_pages: int, entries: int, mm_id: int, sign: int) -> Delta:
    """The proposal of April 2026: entries in the total and the slots, pages in `_total_mapped_pages`."""
    had_pmd = _surely_pmd_mapped(folio)
    cost = _count_total(folio, entries, nr_pages, mm_id, sign)
    pmd_stat = (_surely_pmd_mapped(folio) - had_pmd) * folio.nr_pages
    partially = sign < 0 and 0 < folio.total_mapped_pages < folio.nr_pages
    return Delta(_whole_stat(folio, entries, sign), pmd_stat, partially, cost)


def _whole_stat(folio: Folio, entries: int, sign: int) -> int:
    """AnonPages and Mapped count the whole folio, from its first mapping to its last."""
    if sign > 0:
        return folio.nr_pages if folio.large_mapcount == entries else 0
    return -folio.nr_pages if folio.large_mapcount == 0 else 0


def _surely_pmd_mapped(folio: Folio) -> bool:
    """A PMD-size folio has a PMD mapping iff mapped pages exceed mappings by nr_pages - 1 or more."""
    return folio.pmd_mappable and folio.total_mapped_pages - folio.large_mapcount >= folio.nr_pages - 1
