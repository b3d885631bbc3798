"""What a benchmark says, in sentences: what costs what, and what was not measured as wanted."""

from __future__ import annotations

import math
import os.path
from collections.abc import Iterator, Sequence

from mapcount.bench import published
from mapcount.bench.measured import TOLERANCE, Measured, Row
from mapcount.bench.story import PAGE_KIB, PMD_KIB, Form
from mapcount.report.words import size
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT


def form_name(form: Form) -> str:
    """`64K`; of the PMD size also what maps it: `2M by PTEs`."""
    if form.kib != PMD_KIB:
        return size(form.kib)
    return f"{size(form.kib)} by {'a PMD' if form.by_pmd else 'PTEs'}"


def figure(value: float) -> str:
    """Three digits that matter; what is too small to be seen beside the call itself is 0."""
    if value < 0.0005:
        return "0"
    return f"{value:.{min(3, max(0, 2 - math.floor(math.log10(value))))}f}"


def what_it_says(measured: Measured) -> Iterator[str]:
    """The results in a few sentences."""
    yield from (_reuse if measured.benchmark == "cow" else _updates)(measured)


def _updates(measured: Measured) -> Iterator[str]:
    """What large folios and PMDs save, and what would be left to do without per-page counts."""
    for story in measured.stories:
        rows = {row.form: row for row in measured.of(story) if row.ns_per_page}
        by_ptes = [row for form, row in rows.items() if form.large and not form.by_pmd]
        if not by_ptes:
            continue
        row = by_ptes[-1]
        name = form_name(row.form)
        sentence = f"{story.name}: a page costs {figure(row.ns_per_page)} ns in folios of {name}"
        for form, where in ((Form(PAGE_KIB), "in small ones"), (Form(PMD_KIB, by_pmd=True), "by a PMD")):
            if form in rows:
                sentence += f", {figure(rows[form].ns_per_page)} {where}"
        before, after = (row.by_flavour[str(f)].updates.total for f in (PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT))
        sentence += f". NO_PAGE_MAPCOUNT leaves out {1 - after / before:.1%} of the counter updates at {name}"
        change = published.change(story.name, row.form)
        if change is not None:
            sentence += f" (published: {change:+d} % run time)"
        yield f"{sentence}."


def _reuse(measured: Measured) -> Iterator[str]:
    """What reuse costs beside a copy, and where the kernel copies for nobody's sake."""
    gone, third, shared = (
        {row.form: row for row in measured.of(story) if row.ns_per_page} for story in measured.stories
    )
    low, high = (100 + percent for percent in published.REUSE_AGAINST_COPY)
    by_ptes = [form for form in gone if form in shared and not form.by_pmd]
    if by_ptes:
        ratios = [gone[form].ns_per_page / shared[form].ns_per_page for form in by_ptes]
        percent = _range([100 * ratio for ratio in ratios], ".0f")
        yield (
            f"Reusing a page takes {percent} % of the time of a copy "
            f"(published: {low} to {high} %, {published.SOURCE})."
        )
    copied = [form for form, row in third.items() if (row.copied or 0) > TOLERANCE and form in gone]
    if copied:
        times = [third[form].ns_per_page / gone[form].ns_per_page for form in copied]
        yield (
            "The third process maps its memory alone, but the kernel takes it for shared and copies: "
            f"{_names(copied)}, at {_range(times, '.1f')} times the cost of reuse."
        )
    exact = [form for form, row in third.items() if row.copied is not None and form not in copied]
    if exact:
        yield f"Where the kernel is not mistaken, the third process's pages are reused: {_names(exact)}."


def _range(values: Sequence[float], digits: str) -> str:
    low, high = (format(value, digits) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _names(forms: Sequence[Form]) -> str:
    return ", ".join(form_name(form) for form in forms)


def reservations(measured: Measured) -> Iterator[str]:
    """What deviates, what was not measured, not got or not seen, and what was written."""
    for row in measured.deviations:
        yield (
            f"DEVIATES  {row.story.name}, {form_name(row.form)}: {row.copied:.0%} of the pages were copied, "
            f"the simulated kernel copies {row.here.copied:.0%}"
        )
    if measured.left_out:
        first = measured.left_out[0]
        path, value = next(iter(first.writes.items()))
        yield (
            f"Not enabled here and so not measured: {', '.join(size(out.kib) for out in measured.left_out)}. "
            f"--set-thp enables each for its turn (for {size(first.kib)}: '{value}' in {path})."
        )
    shares: dict[Form, list[Row]] = {}
    for row in measured.rows:
        shares.setdefault(row.form, []).append(row)
    unseen = [form for form, rows in shares.items() if all(row.share is None for row in rows)]
    if unseen:
        yield f"It was not seen whether the memory had the form wanted: {_names(unseen)}."
    for form, rows in shares.items():
        least = min((row.share for row in rows if row.share is not None), default=1.0)
        if least < 1 - TOLERANCE:
            yield f"{form_name(form)}: only {least:.0%} of the memory had this form."
    if measured.written:
        top = os.path.commonpath([os.path.dirname(path) for path in measured.written])
        names = ", ".join(os.path.relpath(path, top) for path in measured.written)
        yield f"Written meanwhile and put back, in {top}: {names}"
    yield from measured.notes
