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


def mappings(m: Machine, run: FolioRun) -> Iterator[tuple[Mm, Entry]]:
    """The entries that map any of these folios: by walking from the folio to its VMAs, where it has any."""
    if run.mapping is not None:
        return ((mm, entry) for mm, _, entry in rmap_walk(run))
    return (pair for pair in _all_entries(m) if _overlaps(pair[1], run))


def _all_entries(m: Machine) -> Iterator[tuple[Mm, Entry]]:
    return ((p.mm, e) for p in m.processes.values() for e in p.mm.table if not (e.swapped or e.zero))


def _overlaps(entry: Entry, run: FolioRun) -> bool:
    return entry.target < run.start + run.n and run.start < entry.target + entry.n


def truth_of(m: Machine, run: FolioRun, nth: int = 0) -> Truth:
    """Who maps folio number `nth` of these look-alikes."""
    return _truth(m, run, nth, mappings(m, run))


def truth_by_sweep(m: Machine, run: FolioRun, nth: int = 0) -> Truth:
    """The same, found by looking at every entry of every page table."""
    return _truth(m, run, nth, _all_entries(m))


def _truth(m: Machine, run: FolioRun, nth: int, entries: Iterable[tuple[Mm, Entry]]) -> Truth:
    size = run.folio.nr_pages
    first = run.start + nth * size
    truth = Truth(size, run.in_swap_cache * size + _cached(run) + sum(_pins(m, run, first)))
    for mm, entry in entries:
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
