"""An audit for machines: plain data, ready for JSON. Names end in their units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mapcount.audit.machine import Audit
from mapcount.audit.mistakes import Mistakes
from mapcount.audit.overview import Overview, Row
from mapcount.audit.statistics import PREDICTED


def audit_as_data(overview: Overview, rows: Sequence[Row]) -> dict[str, Any]:
    """Everything that is known. `rows`: the processes to list, in their order."""
    return {
        "compared_with": overview.then.name,
        "machines": [
            _machine(audit, [row for row in rows if row.machine == name])
            for name, audit in zip(overview.names, overview.audits, strict=True)
        ],
        "total": {
            "processes": len(overview.rows),
            "now": asdict(overview.now),
            "under": {f.name: asdict(overview.under(f)) for f in PREDICTED} if overview.predicted else {},
            "meminfo": {name: asdict(statistic) for name, statistic in overview.meminfo.items()},
            "complete": overview.complete,
            "folios": [asdict(row) for row in overview.folios],
            "mistaken_kib": overview.mistaken_kib,
        },
    }


def _machine(audit: Audit, rows: Sequence[Row]) -> dict[str, Any]:
    machine = audit.machine
    return {
        "name": audit.name,
        "release": machine.release,
        "flavour": machine.flavour.name,
        "page_size_bytes": machine.page_size,
        "readable": {"frames": machine.frames, "levels": machine.levels, "folios": machine.folios},
        "limits": list(machine.limits),
        "whole": audit.whole,
        "complete": audit.complete,
        "left_out_pid": audit.itself,
        "processes": [_process(row) for row in rows],
        "folios": [asdict(row) for row in audit.folios],
        "partly_mapped_of_unknown_size": audit.partly_unknown,
        "meminfo": {name: asdict(statistic) for name, statistic in audit.meminfo.items()},
        "cgroups": [asdict(group) for group in audit.cgroups],
        "unreadable": [{"pid": u.pid, "comm": u.comm, "reason": u.reason} for u in audit.unreadable],
        "unseen": [{"pid": u.pid, "comm": u.comm, "reason": u.reason} for u in audit.unseen],
    }


def _process(row: Row) -> dict[str, Any]:
    process = row.process
    return {
        "pid": process.pid,
        "comm": process.comm,
        "cgroup": process.cgroup,
        "sharing": list(process.sharing),
        "now": asdict(process.now),
        "under": {name: asdict(memory) for name, memory in process.under.items()},
        "mistakes": mistakes_as_data(process.mistakes, row.page_kib),
        "uss_guessed_kib": process.guessed_kib,
        "miscounted_folios": process.miscounted,
        "moved_kib": process.off_kib,
    }


def mistakes_as_data(mistakes: Mistakes, page_kib: int) -> dict[str, int]:
    """What a process's mistaken folios lead to; pages as KiB."""
    return {
        "folios": mistakes.folios,
        "mapped_kib": mistakes.pages * page_kib,
        "copied_kib": mistakes.copied * page_kib,
        "copied_at_most_kib": mistakes.copied_at_most * page_kib,
        "advice_always_skips_folios": mistakes.advice_always,
        "advice_to_a_part_skips_folios": mistakes.advice_partly,
        "khugepaged_skips_ranges": mistakes.collapses,
    }
