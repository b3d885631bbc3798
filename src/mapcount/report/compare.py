"""Schemes side by side, drawn as a table or as data for machines and charts."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from mapcount.replay.compare import Comparison, Counts, Judged
from mapcount.replay.schemes import Measure, Time
from mapcount.report.words import share, size
from mapcount.scenario.syntax import visible


def draw_comparison(comparison: Comparison, *, every: bool) -> Iterator[str]:
    """The comparison as lines of text, at most 79 columns wide. `every`: also by folio size and by phase."""
    size_words = f"{comparison.events:,} events of {comparison.folios:,} folios, {comparison.large:,} large"
    yield f"{comparison.trace}: {size_words}"
    yield ""
    yield from HEAD
    for judged in comparison.judged:
        time = (judged.time_share(Time.FALSELY_SHARED), judged.time_share(Time.FALSELY_EXCLUSIVE))
        yield _row(judged.scheme.name, f"{judged.bytes_per_folio:.0f}", judged.all, time)
    yield ""
    for cost, word in (("bytes", "bytes"), ("updates", "updates")):
        names = ", ".join(j.scheme.name for j in comparison.front(cost))
        yield from _wrapped(f"least wrong for its {word}: {names}")
    if every:
        for judged in comparison.judged:
            yield ""
            yield from _wrapped(visible(f"{judged.scheme.name}: {judged.scheme.story}"))
            yield from HEAD
            for order, counts in judged.by_order.items():
                times = judged.time_by_order[order]
                whole = max(times[Time.MAPPED], 1)
                wrong = (times[Time.FALSELY_SHARED] / whole, times[Time.FALSELY_EXCLUSIVE] / whole)
                yield _row(f"  {size(4 << order)}", "", counts, wrong)
            for phase, counts in judged.by_phase.items():
                yield _row(f"  {phase}", "", counts, None)


HEAD = (
    "                    bytes updates locked  falsely shared   falsely excl. copies",
    "scheme             /folio  /event /event  events    time  events    time  /1000",
)
WIDTHS = (7, 8, 7, 8, 8, 8, 8, 7)
"""Of the columns after a scheme's name: with it, 79 in all."""
NAME = 18


def _wrapped(text: str) -> list[str]:
    return wrap(text, NAME + sum(WIDTHS), subsequent_indent="  ", break_long_words=False)


def _line(name: str, *cells: str) -> str:
    columns = (f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))
    return f"{visible(name)[:NAME]:<{NAME}}{''.join(columns)}".rstrip()


def _row(name: str, state_bytes: str, counts: Counts, time: tuple[float, float] | None) -> str:
    shared, exclusive = (share(counts.share(m)) for m in (Measure.FALSELY_SHARED, Measure.FALSELY_EXCLUSIVE))
    of_time = [share(t) for t in time] if time else ["", ""]
    copies = 1000 * counts.per_event(Measure.COPIES)
    updates, locked = counts.per_event(Measure.UPDATES), counts.per_event(Measure.LOCKED)
    cells = (shared, of_time[0], exclusive, of_time[1])
    return _line(
        name,
        state_bytes,
        f"{updates:.2f}",
        f"{locked:.2f}",
        *cells,
        f"{copies:,.0f}" if copies >= 100 else f"{copies:.1f}",
    )


def comparison_as_data(comparison: Comparison) -> dict[str, Any]:
    """All of it as plain data. `pareto` is for a chart: error against bytes, and against updates."""
    return {
        "trace": comparison.trace,
        "events": comparison.events,
        "folios": comparison.folios,
        "large_folios": comparison.large,
        "schemes": [_judged(judged) for judged in comparison.judged],
        "pareto": {cost: _front(comparison, cost) for cost in ("bytes", "updates")},
    }


def _front(comparison: Comparison, cost: str) -> list[dict[str, Any]]:
    front = {j.scheme.name for j in comparison.front(cost)}
    return [
        {
            "scheme": j.scheme.name,
            cost: j.bytes_per_folio if cost == "bytes" else j.all.per_event(Measure.UPDATES),
            "wrong_share_of_time": j.wrong_time,
            "on_front": j.scheme.name in front,
        }
        for j in comparison.judged
    ]


def _judged(judged: Judged) -> dict[str, Any]:
    return {
        "scheme": judged.scheme.name,
        "story": judged.scheme.story,
        "bytes_per_folio": judged.bytes_per_folio,
        "all": _counts(judged.all),
        "by_order": {str(order): _counts(counts) for order, counts in judged.by_order.items()},
        "by_phase": {phase: _counts(counts) for phase, counts in judged.by_phase.items()},
        "folio_time": {which.name.lower(): n for which, n in judged.time.items()},
    }


def _counts(counts: Counts) -> dict[str, int]:
    return {measure.name.lower(): n for measure, n in counts.by.items()}
