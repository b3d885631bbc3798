"""What the kernel asks of a folio's counters, of many folios at once: the twins of `tracking.questions`.

Columns go in and come out, one entry per folio or page. All of them start from one number that every
kernel's counters lead to, `total_mapped_pages`: base pages, counted once for every time they are mapped
(mechanism, section 9). It needs no per-page counts and no levels, so page tables can be held against it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.live.snapshot import I8, I64, UNKNOWN, Bool

Ints = NDArray[np.signedinteger[Any]]

PSS_SHIFT = 12
"""Extra bits that smaps carries, so that dividing a page among many mappers loses little."""


def folio_nr_pages(order: Ints) -> I64:
    """Pages of folios of these orders."""
    return np.left_shift(np.int64(1), order, dtype=np.int64)


def folio_total_mapped_pages(large_mapcount: Ints, entire_mapcount: Ints, order: Ints) -> I64:
    """Pages counted once for every time they are mapped; UNKNOWN where the counters are.

    Each mapping is one page, but those of the whole folio are all of its pages.
    """
    large, entire = large_mapcount.astype(np.int64), entire_mapcount.astype(np.int64)
    total = large - entire + entire * folio_nr_pages(order)
    return np.where((large < 0) | (entire < 0), UNKNOWN, total)


def folio_average_page_mapcount(total_mapped_pages: I64, order: Ints) -> I64:
    """How often a page of each folio is mapped on average, rounded half up, at least 1 when mapped.

    This is the rule of `total-mapped-pages`. That of `no-page-mapcount` takes the mappings of the whole
    folio out before it divides and adds them afterwards; they divide without rest, so it is the same.
    """
    nr_pages = folio_nr_pages(order)
    average = np.maximum(1, (total_mapped_pages + nr_pages // 2) // nr_pages)
    return np.where(total_mapped_pages <= 0, np.minimum(total_mapped_pages, 0), average)


def folio_certainly_partially_mapped(total_mapped_pages: I64, mapped_pages: Ints, order: Ints) -> Bool:
    """Is something of each folio mapped, and surely not all of it?

    `mapped_pages`, where it is not UNKNOWN, makes this exact: pages that anybody maps.
    """
    known = np.where(mapped_pages >= 0, mapped_pages, total_mapped_pages)
    return (known > 0) & (known < folio_nr_pages(order))


def folio_likely_mapped_shared(total_mapped_pages: I64, first_page_mapcount: Ints, order: Ints) -> I8:
    """The guess before Linux 6.15 about large folios (mechanism, section 11): 0, 1, or UNKNOWN.

    The kernel asks for a mapping of the whole folio, or more mappings than pages. Either shows in
    the mapped pages, except that one mapping of the whole folio alone looks like one of each page,
    and both are exclusive. `first_page_mapcount` may be UNKNOWN.
    """
    nr_pages = folio_nr_pages(order)
    guess = np.where(first_page_mapcount < 0, UNKNOWN, first_page_mapcount > 1)
    guess = np.where(total_mapped_pages > nr_pages, 1, guess)
    guess = np.where(total_mapped_pages <= 1, 0, guess)
    return np.where(total_mapped_pages < 0, UNKNOWN, guess).astype(np.int8)


def page_pss(mapcount: Ints, page_size: int) -> I64:
    """What smaps counts of a page mapped so often: bytes, shifted left by PSS_SHIFT.

    A page whose count is UNKNOWN counts as mapped once.
    """
    whole = page_size << PSS_SHIFT
    pss = np.full(len(mapcount), whole, np.int64)
    shared = np.flatnonzero(mapcount > 1)
    pss[shared] = whole // mapcount[shared].astype(np.int64)
    return pss
