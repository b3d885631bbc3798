"""The end of a replayed trace, drawn as text or as data for machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mapcount.replay.summary import Accuracy, Summary
from mapcount.replay.verdicts import Verdict
from mapcount.report.words import share, size

MAPPED = [v for v in Verdict if v is not Verdict.UNMAPPED]


def draw_summary(summary: Summary) -> Iterator[str]:
    """The summary as lines of text, at most 100 columns wide."""
    yield f"{summary.flavour}: {summary.events:,} events of {summary.folios:,} folios"
    yield ""
    yield "in the end:"
    yield f"  mapped                {summary.mapped:>16,} folios"
    yield f"  truly shared          {summary.shared:>16,}"
    yield f"  falsely called shared {summary.falsely_shared:>16,}{_mark(summary.falsely_shared)}"
    yield f"  falsely exclusive     {summary.falsely_exclusive:>16,}{_mark(summary.falsely_exclusive)}"
    if summary.accuracy:
        yield ""
        yield "after every event, while mapped:     right   falsely shared   falsely exclusive"
        for accuracy in summary.accuracy:
            name = "all folios" if accuracy.order is None else f"  {size(4 << accuracy.order)}"
            yield f"  {name:<18}  of events {_row(accuracy.events)}"
            yield f"  {'':<18}    of time {_row(accuracy.time)}"


def _mark(wrong: int) -> str:
    """What stands behind a number that should be 0."""
    return "  <- WRONG" if wrong else ""


def _row(counts: dict[Verdict, int]) -> str:
    whole = sum(counts[v] for v in MAPPED)
    right = counts[Verdict.RIGHTLY_EXCLUSIVE] + counts[Verdict.RIGHTLY_SHARED]
    cells = (right, counts[Verdict.FALSELY_SHARED], counts[Verdict.FALSELY_EXCLUSIVE])
    a, b, c = (share(cell / max(whole, 1)) for cell in cells)
    return f"{a:>10}   {b:>14}   {c:>17}"


def summary_as_data(summary: Summary) -> dict[str, Any]:
    """The same as plain data. Folio-time is in events of the trace, summed over folios."""
    return {
        "flavour": summary.flavour.name,
        "bits": summary.flavour.bits,
        "events": summary.events,
        "folios": summary.folios,
        "mapped": summary.mapped,
        "truly_shared": summary.shared,
        "falsely_shared": summary.falsely_shared,
        "falsely_exclusive": summary.falsely_exclusive,
        "accuracy": [_accuracy(accuracy) for accuracy in summary.accuracy],
    }


def _accuracy(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "order": accuracy.order,
        "events": {v.name.lower(): n for v, n in accuracy.events.items()},
        "folio_time": {v.name.lower(): n for v, n in accuracy.time.items()},
    }
