"""The columns' questions are the core's: whatever one folio answers, a column of folios answers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.audit.questions import (
    folio_average_page_mapcount,
    folio_certainly_partially_mapped,
    folio_likely_mapped_shared,
    folio_total_mapped_pages,
    page_pss,
)
from mapcount.live.snapshot import UNKNOWN
from mapcount.tracking import questions as core
from mapcount.tracking.flavour import (
    FLAVOURS,
    NO_PAGE_MAPCOUNT,
    PMD_ORDER,
    TOTAL_MAPPED_PAGES,
    V6_14,
    Flavour,
)
from mapcount.tracking.folio import Folio
from mapcount.tracking.rmap import folio_add_rmap

Mapping = tuple[int, int, int, int]
"""mm, first page, number of pages, level."""


def folio_of(flavour: Flavour, order: int, mappings: tuple[Mapping, ...]) -> Folio:
    """A folio of the core that is mapped so."""
    folio = Folio(flavour, order)
    for mm, page, nr, level in mappings:
        folio_add_rmap(folio, page, nr, mm, level)
    return folio


def pages_mapped(mappings: tuple[Mapping, ...]) -> int:
    """Base pages, once for every time they are mapped."""
    return sum(nr for _, _, nr, _ in mappings)


def small_worlds() -> list[tuple[int, tuple[Mapping, ...]]]:
    """Every way in which up to three mms map up to one stretch each of a folio of 2 or 4 pages."""
    worlds = []
    for order in (1, 2):
        stretches = [(page, nr) for page in range(1 << order) for nr in range(1, (1 << order) - page + 1)]
        for chosen in product([None, *stretches], repeat=3):
            worlds.append((order, tuple((mm, *s, 0) for mm, s in enumerate(chosen, 1) if s)))
    return worlds


LARGE = st.tuples(
    st.integers(1, 4),
    st.one_of(
        st.just((0, 512, PMD_ORDER)),
        st.integers(0, 511).flatmap(
            lambda page: st.tuples(st.just(page), st.integers(1, 512 - page), st.just(0))
        ),
    ),
).map(lambda pair: (pair[0], *pair[1]))


def column(*values: int) -> np.ndarray:
    """Counts as a column."""
    return np.array(values, np.int64)


def answers(flavour: Flavour, order: int, mappings: tuple[Mapping, ...]) -> tuple[int, int, bool, int]:
    """Total mapped pages, average, partly mapped and guess, of a column of one folio."""
    folio = folio_of(flavour, order, mappings)
    orders = np.array([order], np.int8)
    total = folio_total_mapped_pages(column(folio.large_mapcount), column(folio.entire_mapcount), orders)
    if flavour.total_mapped_pages:
        total = column(folio.total_mapped_pages)
    mapped = column(UNKNOWN)
    first = UNKNOWN
    if folio.page_mapcount is not None:
        counts = [folio.page_mapcount[i] + folio.entire_mapcount for i in range(folio.nr_pages)]
        mapped, first = column(sum(count > 0 for count in counts)), counts[0]
    return (
        int(total[0]),
        int(folio_average_page_mapcount(total, orders)[0]),
        bool(folio_certainly_partially_mapped(total, mapped, orders)[0]),
        int(folio_likely_mapped_shared(total, column(first), orders)[0]),
    )


def check(flavour: Flavour, order: int, mappings: tuple[Mapping, ...]) -> None:
    """The column's answers are the core's for one folio."""
    folio = folio_of(flavour, order, mappings)
    total, average, partly, guess = answers(flavour, order, mappings)
    assert pages_mapped(mappings) == total
    if not flavour.page_mapcounts:
        assert core.folio_average_page_mapcount(folio) == average
    assert core.folio_certainly_partially_mapped(folio) == partly
    if not flavour.owner_slots:
        assert core.folio_maybe_mapped_shared(folio) == guess


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)
def test_small_worlds(flavour: Flavour) -> None:
    """On every small folio, however it is mapped, the column answers what the core does."""
    for order, mappings in small_worlds():
        check(flavour, order, mappings)


@settings(max_examples=150)
@given(st.sampled_from(list(FLAVOURS.values())), st.lists(LARGE, max_size=6))
def test_huge_folios(flavour: Flavour, mappings: list[Mapping]) -> None:
    """So it does on 2 MiB folios that are mapped by any mixture of PMDs and PTEs."""
    check(flavour, PMD_ORDER, tuple(mappings))


@settings(max_examples=150)
@given(st.lists(LARGE, max_size=6))
def test_the_two_averages_are_one(mappings: list[Mapping]) -> None:
    """No-page-mapcount and total-mapped-pages give the same average, by different counters."""
    one, other = (folio_of(f, PMD_ORDER, tuple(mappings)) for f in (NO_PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES))
    assert core.folio_average_page_mapcount(one) == core.folio_average_page_mapcount(other)


def test_guess_without_the_first_page() -> None:
    """Before 6.15, a first page that was not seen leaves the guess open only where it is asked for."""
    total, orders = column(0, 1, 16, 17, UNKNOWN), np.full(5, 4, np.int8)
    assert [0, 0, UNKNOWN, 1, UNKNOWN] == list(
        folio_likely_mapped_shared(total, np.full(5, UNKNOWN, np.int32), orders)
    )


def test_what_is_unknown_stays_unknown() -> None:
    """Counters that could not be read lead to UNKNOWN, not to a number."""
    orders = np.array([4, 4], np.int8)
    total = folio_total_mapped_pages(column(UNKNOWN, 3), column(0, UNKNOWN), orders)
    assert [UNKNOWN, UNKNOWN] == list(total)
    assert [UNKNOWN, UNKNOWN] == list(folio_average_page_mapcount(total, orders))
    assert not folio_certainly_partially_mapped(total, column(UNKNOWN, UNKNOWN), orders).any()


def test_pss_of_a_page() -> None:
    """A page's size is divided among its mappings in fixed point, rounding down; unknown counts as one."""
    counts = np.array([UNKNOWN, 0, 1, 2, 3, 1000], np.int32)
    whole = 4096 << 12
    assert [whole, whole, whole, whole // 2, whole // 3, whole // 1000] == list(page_pss(counts, 4096))


def test_v6_14_is_the_only_guess() -> None:
    """Every flavour but the oldest has owner slots, so the guess is needed for that one alone."""
    assert [V6_14] == [flavour for flavour in FLAVOURS.values() if not flavour.owner_slots]
