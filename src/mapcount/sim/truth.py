"""The truth about folios, read from page tables alone, for the invariants to compare with counters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import Entry
from mapcount.sim.rmap_walk import rmap_walk
from mapcount.tracking.folio import GUP_PIN_COUNTING_BIAS
from mapcount.tracking.invariants import Invariant, violations
from mapcount.tracking.truth import Truth


def truth_of(m: Machine, run: FolioRun, nth: int = 0) -> Truth:
    """Who maps folio number `nth` of these look-alikes, found by walking from the folio to its VMAs."""
    if run.mapping is None:
        return truth_by_sweep(m, run, nth)
    return _truth(m, run, nth, ((mm, entry) for mm, _, entry in rmap_walk(run)))


def truth_by_sweep(m: Machine, run: FolioRun, nth: int = 0) -> Truth:
    """The same, found by looking at every entry of every page table."""
    return _truth(m, run, nth, ((p.mm, e) for p in m.processes.values() for e in p.mm.table))


def _truth(m: Machine, run: FolioRun, nth: int, entries: Iterable[tuple[Mm, Entry]]) -> Truth:
    size = run.folio.nr_pages
    first = run.start + nth * size
    truth = Truth(size, run.in_swap_cache * size + _cached(run) + sum(_pins(m, run, first)))
    for mm, entry in entries:
        if entry.swapped or entry.zero:
            continue
        start, stop = max(entry.target, first), min(entry.target + entry.n, first + size)
        if start < stop:
            truth.add(mm.mm_id, start - first, stop - start, entry.level)
    return truth


def _cached(run: FolioRun) -> int:
    return run.folio.nr_pages if run.mapping is not None and not run.anon else 0


def _pins(m: Machine, run: FolioRun, first: int) -> Iterator[int]:
    """References that pins hold on the folio at page frame `first`."""
    weight = 1 if run.folio.large else GUP_PIN_COUNTING_BIAS
    for process in m.processes.values():
        for pins in process.pins:
            start, stop = max(pins.pfn, first), min(pins.pfn + pins.n, first + run.folio.nr_pages)
            yield max(0, stop - start) * weight


def broken(m: Machine) -> Iterator[tuple[FolioRun, Invariant]]:
    """Every invariant that a folio touched since the last call breaks.

    Of look-alikes, the first and the last are asked.
    """
    touched, m.memory.touched = m.memory.touched, set()
    for run in sorted(touched, key=lambda r: r.start):
        if m.memory.folios.at(run.start) is not run:
            continue
        for nth in {0, run.count - 1}:
            for invariant in violations(run.folio, truth_of(m, run, nth)):
                yield run, invariant
