"""What the running kernel costs, for people: tables beside what was predicted and published, and a chart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mapcount.bench import published
from mapcount.bench.measured import Measured, Row
from mapcount.bench.story import Story
from mapcount.report.bench_words import (
    NOISE,
    NS_PER_MS,
    figure,
    form_name,
    per_page,
    reservations,
    subtracted,
    what_it_says,
)
from mapcount.report.lines import hanging
from mapcount.report.words import size
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT

LABEL = 27
"""Columns left of a bar: the form and the story."""
WIDE = 78
"""Columns that a table takes with a column for the spread of the times; narrower, it has none."""
LONGEST = 60
"""Columns of the longest bar."""
LEGEND = (
    "updates: counter updates a page that the simulated kernel needs with per-page counts; without: with "
    f"NO_PAGE_MAPCOUNT; published: what that changed in run time elsewhere ({published.SOURCE})"
)


def draw_bench(measured: Measured, *, width: int = 100) -> Iterator[RenderableType]:
    """One benchmark: a table for each story, one chart, what it says, and what was not as wanted."""
    yield Text.assemble(
        (measured.benchmark, "bold"),
        f": {size(measured.size_kib)} of memory on Linux {measured.release} ({measured.flavour}), "
        f"{measured.runs} run{'s' * (measured.runs != 1)}; time on the CPU",
    )
    for story in measured.stories:
        yield Text()
        yield Text.assemble((story.name, "bold"), f": {story.doc}")
        yield (_copies if story.writes else _updates)(measured.of(story), spread=width >= WIDE)
        yield from hanging(subtracted(measured, story), width)
        yield from hanging(_fit(measured, story), width)
    if not all(story.writes for story in measured.stories):
        yield Text()
        yield from hanging(LEGEND, width, style="dim")
    yield Text()
    yield from _chart(measured, width)
    yield Text()
    for sentence in what_it_says(measured):
        yield from hanging(sentence, width)
    for sentence in reservations(measured):
        yield from hanging(sentence, width, style="yellow")


def _updates(rows: Sequence[Row], *, spread: bool) -> Table:
    """Times beside the counter updates that the simulator predicts, and published figures."""
    table = _table(spread, "updates", "without", "published")
    for row in rows:
        change = published.change(row.story.name, row.form)
        table.add_row(
            *_times(row, spread),
            *(f"{row.by_flavour[str(f)].updates.total:.3f}" for f in (PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT)),
            "-" if change is None else f"{change:+d} %",
        )
    return table


def _copies(rows: Sequence[Row], *, spread: bool) -> Table:
    """Times beside the part of the pages that was copied, as observed and as simulated."""
    table = _table(spread, "copied", "simulated")
    for row in rows:
        table.add_row(
            *_times(row, spread),
            "unknown" if row.copied is None else f"{row.copied:.0%}",
            f"{row.here.copied:.0%}",
            style="bold red" if row.deviates else "",
        )
    return table


def _table(spread: bool, *more: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("folio", no_wrap=True)
    for name in ("median ms", *["min .. max"] * spread, "ns/page", *more):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _times(row: Row, spread: bool) -> tuple[str, ...]:
    low, mid, high = (
        figure(ns / NS_PER_MS) if ns > row.noise_ns else NOISE for ns in (row.ns.low, row.ns.mid, row.ns.high)
    )
    return form_name(row.form), mid, *[f"{low} .. {high}"] * spread, per_page(row)


def _fit(measured: Measured, story: Story) -> str:
    if story.writes:
        return ""
    line = measured.fit(story)
    if line is None:
        return "Per page and per batch: unknown, it takes several sizes of large folios."
    if line.meaningless:
        return f"Per page and per batch: meaningless, {line.meaningless}."
    return (
        f"{figure(line.per_page)} ns per page + {figure(line.per_batch)} ns per batch "
        f"(least squares over {line.sizes} sizes mapped by PTEs, off by {line.residual:.0%})."
    )


def _chart(measured: Measured, width: int) -> Iterator[Text]:
    """Nanoseconds per page as bars, form by form."""
    values = [row.ns_per_page for row in measured.rows if row.ns_per_page is not None]
    if not values:
        return
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    per_decade = max(10, min(LONGEST, width - LABEL - 8)) / max(high - low, 1)
    yield Text.assemble(("ns per page", "bold"), ", on a log scale")
    marks = {round((decade - low) * per_decade): f"{10.0**decade:g}" for decade in range(low, high + 1)}
    yield Text(" " * LABEL + _ruler(marks), "dim")
    for form in dict.fromkeys(row.form for row in measured.rows):
        name = form_name(form)
        for row in measured.rows:
            if row.form == form:
                label = f"{name:<12}{row.story.name:<{LABEL - 12}}"
                yield Text.assemble(label, *_bar(row, low, per_decade))
                name = ""


def _bar(row: Row, low: int, per_decade: float) -> Iterator[tuple[str, str]]:
    """A bar that ends where the ruler has its value, and the value."""
    if row.ns_per_page is not None:
        yield "█" * max(round((math.log10(row.ns_per_page) - low) * per_decade), 1), "cyan"
        yield " ", ""
    yield per_page(row), ""


def _ruler(marks: Mapping[int, str]) -> str:
    text = ""
    for at, mark in marks.items():
        text = f"{text:<{at}}{mark}"
    return text
