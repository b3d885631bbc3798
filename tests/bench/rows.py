"""Benchmarks made of plain numbers, as if they had been measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mapcount.bench.forms import NotEnabled
from mapcount.bench.measured import Measured, Row, Sample
from mapcount.bench.predict import predict
from mapcount.bench.story import BENCHMARKS, Form, Story
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT

NR_PAGES = 16384
SIZE_KIB = 4 * NR_PAGES
BASE = 1000
"""Nanoseconds of a call that has nothing to do."""

SMALL, MTHP, BY_PTES, BY_PMD = Form(4), Form(64), Form(2048), Form(2048, by_pmd=True)
FORMS = (SMALL, *(Form(4 << order) for order in range(2, 9)), BY_PTES, BY_PMD)


def row(
    story: Story,
    form: Form,
    ns_per_page: float | Sequence[float],
    *,
    copied: float | None = None,
    share: float | None = 1.0,
) -> Row:
    """A row with one sample for each time given."""
    times = [ns_per_page] if isinstance(ns_per_page, int | float) else ns_per_page
    pages = None if copied is None else round(copied * NR_PAGES)
    return Row(
        story,
        form,
        NR_PAGES,
        tuple(Sample(round(ns * NR_PAGES) + BASE, BASE, share, pages) for ns in times),
        predict(story, form, PAGE_MAPCOUNT),
        {str(f): predict(story, form, f) for f in (PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT)},
    )


def measured(benchmark: str, rows: Sequence[Row], **changes: object) -> Measured:
    """A benchmark on a 6.18 kernel, except for `changes`."""
    known: Mapping[str, object] = {"left_out": (), "written": (), "notes": ()} | changes
    return Measured(benchmark, SIZE_KIB, 3, "6.18.0-test", PAGE_MAPCOUNT, tuple(rows), **known)  # type: ignore[arg-type]


def on_a_line(benchmark: str = "munmap", per_page: float = 20, per_batch: float = 500) -> Measured:
    """Large folios that cost exactly so much per page and per batch; small ones and PMDs cost otherwise."""
    (story, *_) = BENCHMARKS[benchmark]
    rows = [
        row(story, form, 400 if form == SMALL else 1 if form.by_pmd else per_page + per_batch / form.nr_pages)
        for form in FORMS
    ]
    return measured(benchmark, rows)


def mistaken() -> Measured:
    """Copy-on-write as it is: reuse costs 1000, a copy 3000, and a third process copies large folios."""
    gone, third, shared = BENCHMARKS["cow"]
    rows = []
    for form in (SMALL, MTHP, BY_PMD):
        wrong = form == MTHP
        rows += [
            row(gone, form, 4 if form.by_pmd else 1000, copied=0),
            row(third, form, 3000 if wrong else 4 if form.by_pmd else 1000, copied=float(wrong)),
            row(shared, form, 3000, copied=1),
        ]
    return measured("cow", rows)


NOT_ENABLED = NotEnabled(16, {Path("/sys/x/hugepages-16kB/enabled"): "madvise"})
