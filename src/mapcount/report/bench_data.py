"""A benchmark for machines: every raw sample, the numbers made of them, and what they stand beside."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mapcount.bench import published
from mapcount.bench.measured import Measured, Row
from mapcount.bench.story import Story
from mapcount.tracking.flavour import PAGE_SIZE


def bench_as_data(measured: Measured) -> dict[str, Any]:
    """Plain values, ready for JSON. Times are in nanoseconds, sizes in the unit that their names say."""
    return {
        "benchmark": measured.benchmark,
        "release": measured.release,
        "flavour": str(measured.flavour),
        "size_bytes": measured.size_kib << 10,
        "nr_pages": measured.nr_pages,
        "page_size": PAGE_SIZE,
        "runs": measured.runs,
        "clock": "cpu",
        "stories": [_story(measured, story) for story in measured.stories],
        "not_enabled": [
            {"folio_kib": out.kib, "writes": {str(path): value for path, value in out.writes.items()}}
            for out in measured.left_out
        ],
        "written": list(measured.written),
        "notes": list(measured.notes),
    }


def _story(measured: Measured, story: Story) -> dict[str, Any]:
    fit = measured.fit(story)
    return {
        "name": story.name,
        "doc": story.doc,
        "steps": [*story.before, story.timed],
        "rows": [_row(row) for row in measured.of(story)],
        "fit": None if fit is None or story.writes else asdict(fit) | {"meaningless": fit.meaningless},
    }


def _row(row: Row) -> dict[str, Any]:
    form = row.form
    return {
        "folio_kib": form.kib,
        "mapped_by": "pmd" if form.by_pmd else "pte",
        "samples": [asdict(sample) for sample in row.samples],
        "ns": asdict(row.ns),
        "ns_per_page": row.ns_per_page,
        "below_noise": row.below_noise,
        "base_ns": row.base_ns,
        "noise_ns": row.noise_ns,
        "share": row.share,
        "copied": {"observed": row.copied, "simulated": row.here.copied, "deviates": row.deviates}
        if row.story.writes
        else None,
        "updates_per_page": {name: asdict(p.updates) for name, p in row.by_flavour.items()},
        "published_percent": {
            "owner-tracking": published.change(row.story.name, form, published.TRACKING_ALONE),
            "no-page-mapcount": published.change(row.story.name, form),
        },
    }
