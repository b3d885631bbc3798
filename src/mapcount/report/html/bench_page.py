"""A benchmark as a page: what a page costs by folio size, what is counted for it, what was published."""

from __future__ import annotations

from typing import Any

from mapcount.bench import published
from mapcount.bench.measured import Measured
from mapcount.report.bench_data import bench_as_data
from mapcount.report.bench_words import reservations, what_it_says
from mapcount.report.html.page import render
from mapcount.report.words import size


def bench_page(measured: Measured) -> bytes:
    """The page."""
    return render(
        "bench.html",
        data=bench_page_data(measured),
        styles=["table.css", "chart.css"],
        scripts=["table.js", "chart.js", "bench.js"],
        title=f"{measured.benchmark} on Linux {measured.release}",
        said=list(what_it_says(measured)),
        reservations=list(reservations(measured)),
        runs=measured.runs,
        memory=size(measured.size_kib),
        flavour=str(measured.flavour),
        source=published.SOURCE,
    )


def bench_page_data(measured: Measured) -> dict[str, Any]:
    """As `bench --json`, and for each folio size what was published of it."""
    stories = [
        {
            "name": name,
            "points": [
                {
                    "folio_kib": kib,
                    "owner-tracking": published.TRACKING_ALONE[name][kib],
                    "no-page-mapcount": percent,
                }
                for kib, percent in figures.items()
            ],
        }
        for name, figures in published.NO_PAGE_MAPCOUNT.items()
    ]
    return bench_as_data(measured) | {"published": stories}
