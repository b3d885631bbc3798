"""Page faults: what a read or a write of memory makes the kernel map (mechanism, section 6)."""

from __future__ import annotations

from mapcount.sim.cow import new_anon, write_protect_fault
from mapcount.sim.errors import ActionError
from mapcount.sim.machine import Machine
from mapcount.sim.memory import Kind
from mapcount.sim.mm import Mm
from mapcount.sim.page_cache import fault_file
from mapcount.sim.page_table import ZERO_PFN, Entry, hole_around, largest_fit, level_of
from mapcount.sim.swapin import swap_in
from mapcount.sim.vma import Vma
from mapcount.tracking.flavour import PMD_ORDER, PTE_ORDER


def touch(m: Machine, mm: Mm, start: int, stop: int, *, write: bool) -> None:
    """Read or write one byte of every page in [start, stop), in order.

    Raises ActionError, before anything is touched, where the process would be killed by a signal.
    """
    check_access(mm, start, stop, write=write)
    for vma in mm.vmas.over(start, stop):
        _touch_vma(m, mm, vma, max(vma.start, start), min(vma.end, stop), write=write, gup=False)
    for entry in mm.table.over(start, stop) if write else ():
        first, last = max(entry.start, start), min(entry.end, stop)
        m.memory.store(entry.target_of(first), last - first)


def fault_in(m: Machine, mm: Mm, start: int, stop: int, *, write: bool) -> None:
    """Take the faults that reading or writing every page would take, as GUP does.

    Nothing is written, and what is there already is not even looked at. Raises ActionError like `touch`.
    """
    check_access(mm, start, stop, write=write)
    for vma in mm.vmas.over(start, stop):
        _touch_vma(m, mm, vma, max(vma.start, start), min(vma.end, stop), write=write, gup=True)


def check_access(mm: Mm, start: int, stop: int, *, write: bool) -> None:
    """Raises ActionError where memory may not be read or written, or where there is none."""
    vmas = mm.vmas.over(start, stop)
    for vma in vmas:
        if "r" not in vma.prot and not (write and vma.writable):
            raise ActionError(f"the memory may not be accessed (its protection is {vma.prot})")
        if write and not vma.writable:
            raise ActionError(f"the memory may not be written (its protection is {vma.prot})")
    if sum(min(v.end, stop) - max(v.start, start) for v in vmas) < stop - start:
        raise ActionError("nothing is mapped there")


def _touch_vma(m: Machine, mm: Mm, vma: Vma, at: int, stop: int, *, write: bool, gup: bool) -> None:
    """`gup`: the hardware is not at work, which would mark entries young and dirty."""
    first = at
    while at < stop:
        entry = mm.table.at(at)
        if entry is None:
            if vma.file is not None:
                at = fault_file(m, mm, vma, at, stop, write=write)
            elif vma.kind is Kind.HUGETLB:
                at = _fault_hugetlb(m, mm, vma, at, stop)
            else:
                at = _fault_anon(m, mm, vma, at, stop, write=write)
        elif entry.swapped:
            at = swap_in(m, mm, vma, at, stop, write=write)
        elif not write:
            at = entry.end if gup else mark(mm, entry, at, min(entry.end, stop), dirty=False)
        elif entry.zero:
            at = _write_zero(m, mm, vma, entry, at, min(entry.end, stop))
        elif vma.shared or entry.writable:
            at = entry.end if gup else mark(mm, entry, at, min(entry.end, stop), dirty=True)
        else:
            at = write_protect_fault(m, mm, vma, at, min(entry.end, stop))
    mm.table.heal(first, stop)


def mark(mm: Mm, entry: Entry, at: int, stop: int, *, dirty: bool) -> int:
    """The hardware marks entries young, and dirty when written through. Huge ones are marked whole."""
    if entry.young and (not dirty or (entry.dirty and entry.writable)):
        return stop
    span = 1 << entry.level
    start = entry.start + (at - entry.start) // span * span
    stop = entry.start + -(-(stop - entry.start) // span) * span
    for part in mm.table.isolate(start, stop):
        part.young = True
        part.dirty |= dirty
        part.writable |= dirty
    return stop


def _fault_anon(m: Machine, mm: Mm, vma: Vma, at: int, stop: int, *, write: bool) -> int:
    """Nothing is there yet: map new folios, as large as fit, or for a read the zero page, small or huge."""
    low, high = hole_around(mm.table, vma.start, vma.end, at)
    orders = tuple(order for order in vma.orders if write or order >= PMD_ORDER)
    order, start, count = largest_fit((*orders, 0), low, high, at, stop, mm.table)
    n = count << order
    if not write:
        if order:
            mm.anon_of(vma)  # prepared for a folio, although the huge zero page will do
        mm.table.insert(Entry(start, n, ZERO_PFN, level=PMD_ORDER if order else PTE_ORDER))
        return start + n
    run = new_anon(m, mm, vma, order, count, start)
    entry = Entry(start, n, run.start, level=level_of(m.flavour, order), writable=True, dirty=True)
    m.map_pages(mm, entry, new=True, exclusive=True)
    return start + n


def _fault_hugetlb(m: Machine, mm: Mm, vma: Vma, at: int, stop: int) -> int:
    """Private hugetlb memory: one entry maps each whole folio."""
    mm.anon_of(vma)
    (order,) = vma.orders
    size = 1 << order
    start, end = (
        at // size * size,
        min(-(-stop // size) * size, hole_around(mm.table, vma.start, vma.end, at)[1]),
    )
    run = m.memory.alloc(Kind.HUGETLB, order, (end - start) // size, m.memcg)
    entry = Entry(start, run.n, run.start, level=order, writable=vma.writable, dirty=True)
    m.map_pages(mm, entry, exclusive=True)
    return end


def _write_zero(m: Machine, mm: Mm, vma: Vma, entry: Entry, at: int, stop: int) -> int:
    """A write to zero pages: each is replaced by a folio of its own, the huge one by a PMD-size folio."""
    span = 1 << entry.level
    start, end = at // span * span, -(-stop // span) * span
    mm.table.remove(start, end)
    run = new_anon(m, mm, vma, entry.level, (end - start) // span, start)
    new = Entry(start, run.n, run.start, level=entry.level, writable=True, dirty=True)
    m.map_pages(mm, new, new=True, exclusive=True)
    return end
