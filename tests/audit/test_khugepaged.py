"""PMD ranges that are left alone for mistakes alone."""

from __future__ import annotations

import numpy as np
import pytest
from tests.live.fakes import Run, machine, region, runs_of

from mapcount.audit.khugepaged import khugepaged_policy, refused_collapses
from mapcount.live.snapshot import Kind, Machine, Region

PMD = 512


def refused(
    rows: list[tuple[int, int, bool]],
    where: Region | None = None,
    on: Machine | None = None,
    kind: Kind = Kind.ANON,
    pmd: int = 0,
) -> int:
    """Ranges refused in a region where these are believed to be shared: first page, pages, mistaken."""
    where = where or region(4 * PMD, start=8 * PMD, flags=frozenset({"hg"}))
    runs = runs_of([Run(page, nr, folio=page, order=4, kind=kind, pmd=pmd) for page, nr, _ in rows])
    mistaken = np.array([wrong for _, _, wrong in rows], np.bool_)
    return refused_collapses(on or machine(), [where], runs, np.ones(len(rows), np.bool_), mistaken)


def pages(nr: int, mistaken: bool, first: int = 0) -> list[tuple[int, int, bool]]:
    """`nr` pages in folios of 16."""
    return [(first + at, min(16, nr - at), mistaken) for at in range(0, nr, 16)]


@pytest.mark.parametrize(
    ("truly", "mistaken", "ranges"),
    [(0, 256, 0), (0, 257, 1), (256, 1, 1), (257, 100, 0), (200, 50, 0), (200, 60, 1), (0, 512, 1)],
)
def test_a_range_is_refused_for_mistakes_alone(truly: int, mistaken: int, ranges: int) -> None:
    """More than max_ptes_shared pages look shared, but not so many are."""
    assert ranges == refused(pages(truly, False) + pages(mistaken, True, truly))


def test_each_range_by_itself() -> None:
    """A stretch that lies in two ranges counts in each with its part."""
    across = [(first, 16, True) for first in range(PMD - 8, 2 * PMD - 8, 16)]
    assert 1 == refused(across), "the first range has 8 pages of it, the second 504"


@pytest.mark.parametrize(
    ("where", "ranges"),
    [
        (region(PMD, start=8 * PMD, flags=frozenset({"hg"})), 1),
        (region(PMD - 1, start=8 * PMD, flags=frozenset({"hg"})), 0),
        (region(PMD, start=8 * PMD + 1, flags=frozenset({"hg"})), 0),
        (region(PMD, start=8 * PMD, flags=frozenset({"hg", "nh"})), 0),
        (region(PMD, start=8 * PMD), 0),
        (region(PMD, start=8 * PMD, flags=frozenset({"hg"}), name="/lib/x"), 0),
        (region(PMD, start=8 * PMD, flags=frozenset({"hg"}), perms="rw-s"), 0),
    ],
)
def test_only_where_khugepaged_may_work(where: Region, ranges: int) -> None:
    """A range is whole, private, anonymous, and in memory that asked for huge pages."""
    assert ranges == refused(pages(300, True), where)


@pytest.mark.parametrize(("kind", "pmd"), [(Kind.SHMEM, 0), (Kind.ANON, 1)])
def test_only_anonymous_memory_by_ptes(kind: Kind, pmd: int) -> None:
    """Shared memory is not counted in that way, and what a PMD maps needs no collapse."""
    assert 0 == refused(pages(300, True), kind=kind, pmd=pmd)


@pytest.mark.parametrize(
    ("thp", "policy"),
    [
        ({}, "never"),
        ({"enabled": "madvise"}, "madvise"),
        ({"enabled": "always [madvise] never"}, "madvise"),
        ({"enabled": "always", "hugepages-2048kB/enabled": "inherit"}, "always"),
        ({"enabled": "always", "hugepages-2048kB/enabled": "always inherit madvise [never]"}, "never"),
        ({"enabled": "never", "hugepages-2048kB/enabled": "always"}, "always"),
    ],
)
def test_policy(thp: dict[str, str], policy: str) -> None:
    """The setting of the PMD size counts, and what is on top only where that says so."""
    assert policy == khugepaged_policy(machine(thp=thp))


def test_always_needs_no_request() -> None:
    """With `always`, memory that did not ask is worked on as well."""
    everywhere = machine(thp={"enabled": "always"})
    assert 1 == refused(pages(300, True), region(PMD, start=8 * PMD), everywhere)


def test_the_limit_is_the_machine_s() -> None:
    """max_ptes_shared is a setting."""
    strict = machine(thp={"enabled": "always", "khugepaged/max_ptes_shared": "10"})
    assert 1 == refused(pages(11, True), on=strict)
    assert 0 == refused(pages(10, True), on=strict)
