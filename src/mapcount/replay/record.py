"""Writing the trace of a simulated run: every mapping event, of every folio.

Look-alike folios, which the simulator treats as one, get a row each. A folio is numbered when it is first
mapped; page frames are never used again for another folio of the same size, so they name it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

import numpy as np

from mapcount.replay.trace import KINDS, Meta, Op, one_entry
from mapcount.replay.writer import TraceWriter
from mapcount.scenario.syntax import Step
from mapcount.sim.memory import FolioRun, Kind
from mapcount.sim.system import System
from mapcount.tracking.flavour import Flavour

ROWS_AT_ONCE = 1 << 18

OPS = {
    ("map", False): Op.MAP_PTES, ("map", True): Op.MAP_PMD, ("dup", False): Op.DUP_PTES,
    ("dup", True): Op.DUP_PMD, ("unmap", False): Op.UNMAP_PTES, ("unmap", True): Op.UNMAP_PMD,
    ("new", False): Op.MAP_PTES, ("new", True): Op.MAP_PMD,
}  # fmt: skip


class Recorder:
    """A `Watcher` of a run that writes what it hears to a trace. To be finished."""

    def __init__(self, writer: TraceWriter) -> None:
        self._writer = writer
        self._places: dict[int, list[tuple[int, int, int]]] = {}
        """By order: (first page frame, one past the last, number of the first folio), ascending."""
        self._rows: list[tuple[int, int, int, int, int, int, int]] = []
        """First folio, how many, then the other columns."""
        self._waiting = 0
        self._names: dict[int, str] = {}
        self._phases: list[str] = []
        self._verb = ""

    def begin(self, step: Step, system: System) -> None:
        """The step's first verb is the phase of its events."""
        self._name(system)
        self._system = system
        self._verb = step.actions[0].verb

    def event(self, run: FolioRun, what: str, mm_id: int, page: int, nr: int, level: int) -> None:
        """Look-alike folios were mapped or unmapped."""
        if self._verb not in self._phases:
            self._phases.append(self._verb)
        order, hugetlb = run.folio.order, run.kind is Kind.HUGETLB
        whole = what == "new" and (page, nr) == (0, run.folio.nr_pages)
        op = Op.NEW if whole and one_entry(Op.NEW, order, hugetlb) == (level > 0) else OPS[what, level > 0]
        self._rows.append((self._number(run), run.count, mm_id, op, page, nr, self._phases.index(self._verb)))
        self._waiting += run.count
        if self._waiting >= ROWS_AT_ONCE:
            self._flush()

    def answers(self, run: FolioRun) -> Mapping[str, bool]:
        """None: it only writes."""
        return {}

    def finish(self, flavour: Flavour, origin: str) -> None:
        """Nothing more happens."""
        self._name(self._system)
        self._flush()
        self._writer.meta = Meta(flavour, self._names, tuple(self._phases), f"simulated: {origin}")

    def _name(self, system: System) -> None:
        for process in system.machine.processes.values():
            name = self._names.get(process.mm.mm_id)
            if name is None:
                self._names[process.mm.mm_id] = process.name
            elif process.name not in name.split(", later "):
                self._names[process.mm.mm_id] = f"{name}, later {process.name}"

    def _number(self, run: FolioRun) -> int:
        """The number of the first of these folios."""
        order = run.folio.order
        places = self._places.setdefault(order, [])
        at = bisect_right(places, run.start, key=lambda place: place[0]) - 1
        if at < 0 or places[at][1] <= run.start:
            orders = np.full(run.count, order, np.uint8)
            kinds = np.full(run.count, KINDS.index(str(run.kind)), np.uint8)
            at += 1
            places.insert(at, (run.start, run.start + run.n, self._writer.add_folios(orders, kinds)))
        first, _, number = places[at]
        return number + ((run.start - first) >> order)

    def _flush(self) -> None:
        rows = np.array(self._rows, np.int64).reshape(-1, 7)
        first, counts = rows[:, 0], rows[:, 1]
        ends = np.cumsum(counts)
        offsets = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        folio = (np.repeat(first, counts) + offsets).astype(np.uint32)
        mm, op, page, nr, phase = (np.repeat(rows[:, k], counts) for k in range(2, 7))
        self._writer.add_events(
            folio, mm.astype(np.uint32), op.astype(np.uint8), page.astype(np.uint32), nr.astype(np.uint32),
            phase.astype(np.uint8),
        )  # fmt: skip
        self._rows, self._waiting = [], 0
