"""GUP pins: memory that a device or io_uring holds by its page, whatever the page tables do."""

from __future__ import annotations

from mapcount.sim.errors import ActionError
from mapcount.sim.fault import fault_in
from mapcount.sim.machine import Machine
from mapcount.sim.mm import PinRun, Process
from mapcount.tracking.folio import GUP_PIN_COUNTING_BIAS


def pin(m: Machine, process: Process, start: int, stop: int) -> None:
    """Pin [start, stop) for writing (FOLL_PIN | FOLL_WRITE), faulting it in and copying what is shared."""
    if process.pins.over(start, stop):
        raise ActionError("part of it is pinned already; unpin it first")
    mm = process.mm
    fault_in(m, mm, start, stop, write=True)
    mm.has_pinned = True
    for entry in mm.table.over(start, stop):
        first, last = max(entry.start, start), min(entry.end, stop)
        process.pins.insert(PinRun(first, last - first, entry.target_of(first)))
        for piece in m.memory.pieces(entry.target_of(first), last - first, cut=True):
            folio = piece.run.folio
            piece.run.referenced = True
            if folio.large:
                folio.pincount += piece.nr
                folio.refcount += piece.nr
            else:
                folio.refcount += GUP_PIN_COUNTING_BIAS
    process.pins.heal(start, stop)


def unpin(m: Machine, process: Process, start: int, stop: int) -> None:
    """Release what was pinned at [start, stop). Raises ActionError when not all of it is pinned."""
    if (
        sum(min(p.start + p.n, stop) - max(p.start, start) for p in process.pins.over(start, stop))
        < stop - start
    ):
        raise ActionError("not all of it is pinned")
    for run in process.pins.remove(start, stop):
        for piece in list(m.memory.pieces(run.pfn, run.n, cut=True)):
            folio = piece.run.folio
            if folio.large:
                folio.pincount -= piece.nr
                m.put(piece.run, piece.nr)
            else:
                m.put(piece.run, GUP_PIN_COUNTING_BIAS)


def release_pins(m: Machine, process: Process) -> None:
    """A process that ends gives its pins back, after its memory is unmapped."""
    for run in list(process.pins):
        unpin(m, process, run.start, run.start + run.n)
