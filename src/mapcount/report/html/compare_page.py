"""Schemes side by side as a page: how often each is wrong against what it costs."""

from __future__ import annotations

from typing import Any

from mapcount.replay.compare import Comparison, Counts
from mapcount.replay.schemes import Measure, Time
from mapcount.report.compare import comparison_as_data
from mapcount.report.html.page import render
from mapcount.report.words import size
from mapcount.scenario.syntax import visible


def compare_page(comparison: Comparison) -> bytes:
    """The page."""
    return render(
        "compare.html",
        data=compare_page_data(comparison),
        styles=["table.css", "chart.css"],
        scripts=["table.js", "chart.js", "compare.js"],
        title=f"Schemes compared on {visible(comparison.trace)}",
        events=comparison.events,
        folios=comparison.folios,
        large=comparison.large,
    )


def compare_page_data(comparison: Comparison) -> dict[str, Any]:
    """As `compare --json`, and its shares worked out: of all, by folio size, by phase of the workload."""
    data = comparison_as_data(comparison)
    rows = []
    for judged in comparison.judged:
        name, story = visible(judged.scheme.name), visible(judged.scheme.story)
        times = {which: judged.time_share(which) for which in (Time.FALSELY_SHARED, Time.FALSELY_EXCLUSIVE)}
        common = {"scheme": name, "story": story, "bytes": judged.bytes_per_folio}
        rows.append(common | {"part": "all"} | _shares(judged.all) | _times(times))
        for order, counts in judged.by_order.items():
            of = judged.time_by_order[order]
            mapped = max(of[Time.MAPPED], 1)
            wrong = {which: of[which] / mapped for which in (Time.FALSELY_SHARED, Time.FALSELY_EXCLUSIVE)}
            rows.append(common | {"part": f"{size(4 << order)} folios"} | _shares(counts) | _times(wrong))
        for phase, counts in judged.by_phase.items():
            rows.append(common | {"part": f"phase {visible(phase)}"} | _shares(counts) | _times({}))
    return {"pareto": data["pareto"], "rows": rows}


def _shares(counts: Counts) -> dict[str, float | int]:
    return {
        "events": counts.by[Measure.EVENTS],
        "updates": counts.per_event(Measure.UPDATES),
        "locked": counts.per_event(Measure.LOCKED),
        "falsely_shared_events": counts.share(Measure.FALSELY_SHARED),
        "falsely_exclusive_events": counts.share(Measure.FALSELY_EXCLUSIVE),
        "copies": 1000 * counts.per_event(Measure.COPIES),
    }


def _times(share: dict[Time, float]) -> dict[str, float | None]:
    """Shares of the folio-time; None where only events were counted."""
    return {
        "falsely_shared_time": share.get(Time.FALSELY_SHARED),
        "falsely_exclusive_time": share.get(Time.FALSELY_EXCLUSIVE),
    }
