"""GUP pins: memory that a device or io_uring holds by its page, whatever the page tables do."""

from __future__ import annotations

from mapcount.sim.errors import ActionError
from mapcount.sim.fault import check_access, fault_in
from mapcount.sim.machine import Machine
from mapcount.sim.mm import PinRun, Process
from mapcount.tracking.folio import GUP_PIN_COUNTING_BIAS


def pin(m: Machine, process: Process, start: int, stop: int) -> None:
    """Pin [start, stop) for writing (FOLL_PIN | FOLL_WRITE), faulting it in and copying what is shared.

    Page after page: a pin is a reference, so after the first page of a folio the others may be copied.
    """
    if process.pins.over(start, stop):
        raise ActionError("part of it is pinned already; unpin it first")
    mm = process.mm
    check_access(mm, start, stop, write=True)
    mm.has_pinned = True
    at = start
    while at < stop:
        vma, entry = mm.vmas.at(at), mm.table.at(at)
        assert vma is not None
        there = entry is not None and not (entry.swapped or entry.zero) and (vma.shared or entry.writable)
        if entry is None or not there:
            fault_in(m, mm, at, at + 1, write=True)
            entry = mm.table.at(at)
            assert entry is not None
        end = min(entry.end, vma.end, stop)
        _pin(m, process, at, end, entry.target_of(at))
        at = end
    process.pins.heal(start, stop)


def _pin(m: Machine, process: Process, start: int, stop: int, pfn: int) -> None:
    """Pin what is there, writable, at page frames from `pfn` on."""
    process.pins.insert(PinRun(start, stop - start, pfn))
    for piece in m.memory.pieces(pfn, stop - start, cut=True):
        folio = piece.run.folio
        piece.run.referenced = True
        if folio.large:
            folio.pincount += piece.nr
            folio.refcount += piece.nr
        else:
            folio.refcount += GUP_PIN_COUNTING_BIAS


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
