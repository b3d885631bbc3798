"""Faults on swapped-out memory (mechanism, section 6): every process takes its pages back on its own."""

from __future__ import annotations

from mapcount.sim.cow import new_anon
from mapcount.sim.machine import Machine
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import PTRS_PER_TABLE, Entry
from mapcount.sim.vma import Vma
from mapcount.tracking.flavour import PMD_ORDER


def swap_in(m: Machine, mm: Mm, vma: Vma, at: int, stop: int, *, write: bool) -> int:
    """Bring back pages from `at` on, which are swapped out.

    A folio found in the swap cache is mapped, whole if possible; else a folio of the largest enabled
    order below the PMD's whose slots and addresses line up is read. Its page is exclusive if the swap
    entry was (Linux 7.3; before, also if nothing else referred to the folio). Returns how far the pages are
    back; `at` itself when they are back but must still be copied for the write.
    """
    mm.table.isolate(vma.start, vma.end)  # a folio does not reach over the VMA's ends, nor may the entry
    entry = mm.table.at(at)
    assert entry is not None
    slot = entry.target_of(at)
    (held,) = list(m.swap.over(slot, 1))
    if held.pfn is None:
        _read_in(m, mm, vma, entry, at, min(stop, entry.end))
        (held,) = list(m.swap.over(slot, 1))
    assert held.pfn is not None
    start, n = _mappable(m, entry, held.pfn, at, stop)
    (gone,) = mm.table.remove(start, start + n)
    pfn = held.pfn + start - at
    m.swap.hold(gone.target, n, -1)
    done = start + n
    for piece in list(m.memory.pieces(pfn, n, cut=True)):
        m.try_to_free_swap(piece.run)
        vpn = start + piece.pfn - pfn
        back = Entry(vpn, piece.pages, piece.pfn, writable=gone.exclusive and vma.writable)
        back.dirty = write and back.writable
        m.map_pages(mm, back, exclusive=gone.exclusive, locked=vma.locked)
        if write and not back.writable:
            done = min(done, max(vpn, at))
    return done


def _mappable(m: Machine, entry: Entry, pfn: int, at: int, stop: int) -> tuple[int, int]:
    """(start, pages) of what the folio at `pfn` lets this fault, and its look-alikes, map at once."""
    run = m.memory.folio_of(pfn)
    size = run.folio.nr_pages
    before = (pfn - run.start) % size
    start = at - before
    if start < entry.start or start + size > entry.end:
        return at, 1
    if start // PTRS_PER_TABLE != (start + size - 1) // PTRS_PER_TABLE:
        return at, 1
    count = 1
    if not start % size:
        last = min(-(-(stop - start) // size) * size, entry.end - start, run.start + run.n - pfn + before)
        cached = m.swap.stretch(entry.target_of(start), max(last, size))
        count = max(1, min(last, cached.n) // size)
    return start, count * size


def _read_in(m: Machine, mm: Mm, vma: Vma, entry: Entry, at: int, stop: int) -> None:
    """Read folios for the swapped pages from `at` on into the swap cache."""
    orders = [o for o in vma.orders if o < PMD_ORDER]
    for order in (*orders, 0):
        size = 1 << order
        start = at // size * size
        slot = entry.target + start - entry.start
        if start < entry.start or start + size > entry.end or slot % size:
            continue
        uncached = m.swap.stretch(slot, max(stop - start, size))
        if uncached.pfn is not None or uncached.n < size:
            continue
        count = min(uncached.n // size, -(-(stop - start) // size))
        if not order and orders:
            count = min(count, (at // (1 << orders[-1]) + 1) * (1 << orders[-1]) - at)
        run = new_anon(m, mm, vma, order, max(count, 1), start)
        run.memcg = uncached.memcg
        run.folio.refcount += size
        run.in_swap_cache, run.swap, run.active = True, slot, True
        for saved in m.swap.over(slot, run.n):
            if saved.written:
                m.memory.store(run.start + saved.start - slot, saved.n)
        m.swap.cache(slot, run.n, run.start)
        m.stat(run.memcg, "swapcached", run.n)
        m.events["pswpin"] += run.n
        return
    raise AssertionError("a single page can always be read")
