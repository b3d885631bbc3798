"""A comparison of schemes made of plain numbers."""

from __future__ import annotations

from dataclasses import replace

from mapcount.replay.compare import Comparison, Counts, Judged
from mapcount.replay.schemes import Measure, Time
from mapcount.schemes.registry import find


def compared(trace: str = "a.trace") -> Comparison:
    """`exact` is right and dear, `two-slots` cheap and wrong at times, `per-page` dear and wrong."""
    rows = (("exact", 64, 4, 0), ("two-slots", 16, 2, 25), ("per-page", 600, 40, 5))
    return Comparison(trace, 100, 10, 10, tuple(_judged(*row) for row in rows))


def _judged(name: str, size: int, updates: int, wrong: int) -> Judged:
    counts = dict.fromkeys(Measure, 0) | {
        Measure.EVENTS: 100,
        Measure.MAPPED: 100,
        Measure.UPDATES: 100 * updates,
        Measure.FALSELY_SHARED: wrong,
        Measure.COPIES: 3 * (wrong > 0),
    }
    time = dict.fromkeys(Time, 0) | {Time.MAPPED: 1000, Time.FALSELY_SHARED: 4 * wrong}
    all_of = Counts(counts)
    scheme = replace(find(name))
    return Judged(scheme, size, all_of, {4: all_of}, {"fork": all_of}, time, {4: time})
