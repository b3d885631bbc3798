"""Results for machines: plain dictionaries, ready for JSON. Names are those of the kernel and /proc."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mapcount.scenario.compare import Comparison
from mapcount.scenario.observation import Observation
from mapcount.scenario.run import Run


def runs_as_data(runs: Sequence[Run]) -> dict[str, Any]:
    """One scenario on several flavours: every step with everything seen, failures and broken invariants."""
    scenario = runs[0].scenario
    return {
        "scenario": scenario.name,
        "path": scenario.path,
        "title": scenario.title,
        "steps": [{"line": s.line, "text": s.text} for s in scenario.steps],
        "flavours": {str(run.flavour): _run(run) for run in runs},
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "bits": run.flavour.bits,
        "steps": [
            observation_as_data(step.seen)
            | {
                "failures": [asdict(failure) for failure in step.failures],
                "broken": [
                    {"invariant": invariant.id, "sentence": invariant.sentence, "place": folio.place}
                    for folio, invariant in step.broken
                ],
            }
            for step in run.steps
        ],
        "summary": {
            "steps": len(run.acted),
            "steps_wrong": sum(step.seen.wrong_folios > 0 for step in run.acted),
            "expectations_failed": len(run.failures),
            "invariants_broken": len(run.broken),
            "cost": dict(run.steps[-1].seen.cost),
        },
    }


def observation_as_data(seen: Observation) -> dict[str, Any]:
    """One observation; smaps in KiB, everything else in pages, mappings or events."""
    return {
        "folios": [asdict(folio) | {"wrong": folio.wrong} for folio in seen.folios],
        "regions": [asdict(region) for region in seen.regions],
        "rollup": {name: dict(roll) for name, roll in seen.rollup.items()},
        "system": dict(seen.system),
        "cost": dict(seen.cost),
    }


def comparison_as_data(comparison: Comparison) -> dict[str, Any]:
    """A recorded and the simulated kernel: both answers of each step, and the fields that differ."""
    return {
        "scenario": comparison.scenario.name,
        "recording": comparison.recording.path,
        "flavour": str(comparison.recording.flavour),
        "fields_compared": comparison.fields,
        "steps": [
            {
                "line": step.step.line,
                "text": step.step.text,
                "label": step.real.get("label"),
                "real": dict(step.real),
                "simulated": dict(step.simulated),
                "differences": [
                    {
                        "field": d.field,
                        "real": d.real,
                        "simulated": d.simulated,
                        "known": d.known.id if d.known else None,
                    }
                    for d in step.differences
                ],
            }
            for step in comparison.steps
        ],
    }
