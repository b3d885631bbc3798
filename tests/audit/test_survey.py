"""What everybody's page tables say of each page, against plain loops."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live.fakes import (
    LargeFolio,
    MemorySource,
    Run,
    block_of,
    folios_of,
    machine,
    process,
    region,
    runs_of,
)

from mapcount.audit import survey as module
from mapcount.audit.survey import survey
from mapcount.live.snapshot import UNKNOWN
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

ORDER, NR = 4, 16


@st.composite
def stretches(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Folio, order, first page, pages: of one of a few folios, of which one is small."""
    folio = draw(st.integers(1, 4)) * 100
    if folio == 400:
        return folio, 0, 0, 1
    first = draw(st.integers(0, NR - 1))
    return folio, ORDER, first, draw(st.integers(1, NR - first))


def run_of(page: int, stretch: tuple[int, int, int, int]) -> Run:
    """A stretch as a run."""
    folio, order, first, nr = stretch
    return Run(page=page, nr=nr, folio=folio, first=first, order=order, mapcount=7)


def source_of(mapped: list[list[tuple[int, int, int, int]]]) -> MemorySource:
    """Processes that map these stretches, each in a block of its own."""
    return MemorySource(
        [process(pid, [region(1 << 20)]) for pid in range(1, len(mapped) + 1)],
        {
            pid: [block_of([run_of(32 * i, stretch)]) for i, stretch in enumerate(one)]
            for pid, one in enumerate(mapped, 1)
        },
        machine(flavour=NO_PAGE_MAPCOUNT),
    )


@settings(max_examples=200)
@given(
    st.lists(st.lists(stretches(), max_size=8), max_size=4), st.lists(stretches(), max_size=8), st.booleans()
)
def test_every_page_is_counted(
    mapped: list[list[tuple[int, int, int, int]]], asked: list[tuple[int, int, int, int]], often: bool
) -> None:
    """Each page of a large folio has as many mappings as were seen; runs are cut where that changes."""
    pages: Counter[tuple[int, int]] = Counter()
    for folio, order, first, nr in (stretch for one in mapped for stretch in one):
        pages.update((folio, page) for page in range(first, first + nr) if order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST", 1 if often else 1 << 20)
        known = survey(source_of(mapped))
    runs, counts = known.by_page(runs_of([run_of(100 * i, stretch) for i, stretch in enumerate(asked)]))
    seen = {folio for folio, _ in pages}
    expected = [
        (100 * i + page - first, folio, page, pages[folio, page] if folio in seen else 7)
        for i, (folio, _, first, nr) in enumerate(asked)
        for page in range(first, first + nr)
    ]
    columns = zip(runs.page, runs.folio, runs.first, runs.nr, counts, strict=True)
    actual = [(p + k, folio, first + k, count) for p, folio, first, nr, count in columns for k in range(nr)]
    assert expected == actual
    rows = known.with_counts(folios_of([LargeFolio(folio) for folio in (100, 200, 300)]))
    totals = {f: sum(n for (other, _), n in pages.items() if other == f) for f in (100, 200, 300)}
    assert [totals[f] or UNKNOWN for f in totals] == list(rows.sum_mapcount)
    distinct = {f: sum(other == f for other, _ in pages) for f in totals}
    assert [distinct[f] or UNKNOWN for f in totals] == list(rows.mapped_pages)


def test_what_the_kernel_says_stands() -> None:
    """Counts that the kernel keeps are not replaced by what was seen."""
    known = survey(source_of([[(100, ORDER, 0, NR)]]))
    rows = known.with_counts(folios_of([LargeFolio(100, sum_mapcount=48, mapped_pages=16)]))
    assert ([48], [16]) == (list(rows.sum_mapcount), list(rows.mapped_pages))


def test_a_process_counts_whole_or_not_at_all() -> None:
    """A process that cannot be read is named, and the others are counted; progress is told to the end."""
    source = source_of([[(100, ORDER, 0, NR)], [(100, ORDER, 0, NR)]])
    source.refusing = {9: "permission denied"}
    told: list[tuple[int, int]] = []
    known = survey(source, lambda done, of: told.append((done, of)))
    assert ["permission denied"] == [reason.reason for reason in known.unreadable]
    assert [2 * NR] == list(known.with_counts(folios_of([LargeFolio(100)])).sum_mapcount)
    assert [(0, 3), (1, 3), (2, 3), (3, 3)] == told
