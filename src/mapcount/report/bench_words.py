"""What a benchmark says, in sentences: what costs what, and what was not measured as wanted."""

from __future__ import annotations

import math
import os.path
from collections.abc import Iterator, Mapping, Sequence

from mapcount.bench import published
from mapcount.bench.measured import TOLERANCE, Measured, Row
from mapcount.bench.story import PAGE_KIB, PMD_KIB, Form, Story
from mapcount.report.words import size
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT

NOISE = "<noise"
"""In place of a time that cannot be told from nothing."""
NS_PER_MS = 1e6


def form_name(form: Form) -> str:
    """`64K`; of the PMD size also what maps it: `2M by PTEs`."""
    if form.kib != PMD_KIB:
        return size(form.kib)
    return f"{size(form.kib)} by {'a PMD' if form.by_pmd else 'PTEs'}"


def figure(value: float) -> str:
    """Three digits that matter, of what is not below zero."""
    if value < 0.0005:
        return "0" if value == 0 else "<0.001"
    return f"{value:.{min(3, max(0, 2 - math.floor(math.log10(value))))}f}"


def per_page(row: Row) -> str:
    """What a page costs in nanoseconds; below the noise, less than what a page's part of that is."""
    if row.ns_per_page is not None:
        return figure(row.ns_per_page)
    return f"<{figure(row.noise_ns / row.nr_pages).lstrip('<')}" if row.noise_ns else NOISE


def subtracted(measured: Measured, story: Story) -> str:
    """What is not counted, and how much it differs from one run to the next, which is the noise."""
    rows = measured.of(story)
    what = "writing the same pages once more" if story.writes else "the same call over untouched memory"
    base, noise = max(row.base_ns for row in rows), max(row.noise_ns for row in rows)
    sentence = f"Subtracted: {what}, {figure(base / NS_PER_MS)} ms"
    if measured.runs == 1:
        return f"{sentence}. One run shows no noise."
    apart = f"{'up to ' * story.writes}{figure(noise / NS_PER_MS)} ms apart{', form by form' * story.writes}"
    return f"{sentence}; its runs lie {apart}: less than that is noise."


def what_it_says(measured: Measured) -> Iterator[str]:
    """The results in a few sentences."""
    yield from (_reuse if measured.benchmark == "cow" else _updates)(measured)


def _updates(measured: Measured) -> Iterator[str]:
    """What large folios and PMDs save, and what would be left to do without per-page counts."""
    for story in measured.stories:
        rows = {row.form: row for row in measured.of(story)}
        by_ptes = [row for form, row in rows.items() if form.large and not form.by_pmd]
        if not by_ptes:
            continue
        row = by_ptes[-1]
        name = form_name(row.form)
        sentence = f"{story.name}: a page costs {per_page(row)} ns in folios of {name}"
        for form, where in ((Form(PAGE_KIB), "in small ones"), (Form(PMD_KIB, by_pmd=True), "by a PMD")):
            if form in rows:
                sentence += f", {per_page(rows[form])} {where}"
        before, after = (row.by_flavour[str(f)].updates.total for f in (PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT))
        sentence += f". NO_PAGE_MAPCOUNT leaves out {1 - after / before:.1%} of the counter updates at {name}"
        change = published.change(story.name, row.form)
        if change is not None:
            sentence += f" (published: {change:+d} % run time)"
        yield f"{sentence}."
        yield from _saved(story, by_ptes)


def _saved(story: Story, rows: Sequence[Row]) -> Iterator[str]:
    """What the published changes would come to here: a page's own count costs the same in any folio."""
    changes = [(row.ns_per_page, published.change(story.name, row.form)) for row in rows]
    saved = [-ns * percent / 100 for ns, percent in changes if ns is not None and percent is not None]
    if len(saved) > 1:
        yield (
            f"The published changes, of the times here, are {_range(saved, '.1f')} ns a page over "
            f"{len(saved)} sizes; where that is level, it is what a page's own count costs."
        )


def _reuse(measured: Measured) -> Iterator[str]:
    """What reuse costs beside a copy, and where the kernel copies for nobody's sake."""
    gone, third, shared = ({row.form: row for row in measured.of(story)} for story in measured.stories)
    low, high = (100 + percent for percent in published.REUSE_AGAINST_COPY)
    ratios = _ratios(gone, shared, [form for form in gone if not form.by_pmd])
    if ratios:
        percent = _range([100 * ratio for ratio in ratios], ".0f")
        yield (
            f"Reusing a page takes {percent} % of the time of a copy "
            f"(published: {low} to {high} %, {published.SOURCE})."
        )
    copied = [form for form, row in third.items() if (row.copied or 0) > TOLERANCE and form in gone]
    if copied:
        times = _ratios(third, gone, copied)
        cost = f", at {_range(times, '.1f')} times the cost of reuse" if times else ""
        yield (
            "The third process maps its memory alone, but the kernel takes it for shared and copies: "
            f"{_names(copied)}{cost}."
        )
    exact = [form for form, row in third.items() if row.copied is not None and form not in copied]
    if exact:
        yield f"Where the kernel is not mistaken, the third process's pages are reused: {_names(exact)}."


def _ratios(above: Mapping[Form, Row], below: Mapping[Form, Row], forms: Sequence[Form]) -> list[float]:
    """Cost by cost, of the forms in which both are above the noise."""
    costs = [(above[form].ns_per_page, below[form].ns_per_page) for form in forms if form in below]
    return [a / b for a, b in costs if a is not None and b is not None]


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
