"""What `conform` found, for machines: plain dictionaries, ready for JSON; the report is drawn from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mapcount.conform.check import Conformance
from mapcount.conform.findings import Result
from mapcount.scenario.compare import ComparedStep, Difference
from mapcount.scenario.printing import show

AGREES, DEVIATES, SKIPPED = "agrees", "deviates", "skipped"


def conform_as_data(
    kernel: str, flavour: str, limits: Sequence[str], results: Sequence[Result]
) -> dict[str, Any]:
    """All scenarios on one kernel. `limits`: what could not be compared, a sentence each."""
    found = [result_as_data(result) for result in results]
    return {
        "kernel": kernel,
        "flavour": flavour,
        "limits": list(limits),
        "results": found,
        "summary": {
            **{status: sum(r["status"] == status for r in found) for status in (AGREES, DEVIATES, SKIPPED)},
            **{name: sum(r[name] for r in found) for name in ("set_thp_helps", "steps", "fields")},
            **{name: sum(len(r[name]) for r in found) for name in ("known", "deviations", "fleeting")},
        },
    }


def result_as_data(result: Result) -> dict[str, Any]:
    """One scenario: how it ended, and every field that differs."""
    found = result.found
    comparison = found.comparison
    return {
        "scenario": found.scenario.name,
        "path": found.scenario.path,
        "status": SKIPPED if comparison is None else DEVIATES if found.deviations else AGREES,
        "reason": found.skipped,
        "set_thp_helps": found.set_thp_helps,
        "steps": len(comparison.steps) if comparison else 0,
        "fields": comparison.fields if comparison else 0,
        "known": _differences(comparison.known if comparison else ()),
        "deviations": _differences(found.deviations),
        "fleeting": _differences(found.fleeting),
        "shortest": _shortest(result.shortest) if result.shortest else None,
    }


def _shortest(found: Conformance) -> dict[str, Any]:
    assert found.comparison is not None
    return {
        "text": show(found.scenario),
        "deviations": _differences(found.deviations),
        "recording": [dict(step.real) for step in found.comparison.steps],
    }


def _differences(found: Iterable[tuple[ComparedStep, Difference]]) -> list[dict[str, Any]]:
    return [
        {
            "line": step.step.line,
            "text": step.step.text,
            "field": difference.field,
            "real": difference.real,
            "simulated": difference.simulated,
            "known": difference.known.id if difference.known else None,
        }
        for step, difference in found
    ]
