"""Files and shared memory: the page cache, and the faults that map it (mechanism, section 6)."""

from __future__ import annotations

from mapcount.sim.cow import new_anon
from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun, Kind
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import PTRS_PER_TABLE, Entry, hole_around, level_of
from mapcount.sim.vma import CacheRun, File, Vma
from mapcount.tracking.flavour import PTE_ORDER

FAULT_AROUND = 16
"""A read fault maps what the page cache has of the aligned 64 KiB around it (fault_around_bytes)."""


def fault_file(m: Machine, mm: Mm, vma: Vma, at: int, stop: int, *, write: bool) -> int:
    """A page of a file VMA that nothing maps yet is touched. Returns how far it is mapped now.

    A write to a private VMA copies at once. Otherwise: a folio that one huge entry can map is mapped by
    it; tmpfs faults that had to allocate, or write, map the whole folio as far as the VMA and the page
    table reach; reads of what the cache has are served by fault-around; writes to other files map a page.
    """
    file = vma.file
    assert file is not None
    low, high = hole_around(mm.table, vma.start, vma.end, at)
    stop = min(stop, high)
    missed = _read_in(m, file, vma, vma.index(at), vma.index(stop))
    if write and not vma.shared:
        run = new_anon(m, mm, vma, 0, stop - at, at)
        m.map_pages(mm, Entry(at, run.n, run.start, writable=True, dirty=True), new=True, exclusive=True)
        return stop
    cached = file.cache.at(vma.index(at))
    assert cached is not None
    pfn = cached.pfn + vma.index(at) - cached.start
    run = m.memory.folio_of(pfn)
    size = run.folio.nr_pages
    before = (pfn - run.start) % size
    level = PTE_ORDER if file.kind is Kind.HUGETLB else level_of(m.flavour, run.folio.order)
    if file.kind is Kind.HUGETLB:
        level = run.folio.order
    if level and vma.advice != "nohugepage":
        span = 1 << level
        part = before // span * span
        start = at - before + part
        if low <= start and start + span <= high and not start % span:
            reach = min(high - start, run.start + run.n - (pfn - before + part))
            n = max(span, min(reach // span * span, -(-(stop - start) // span) * span))
            return _map(m, mm, vma, start, n, pfn - before + part, level, write=write)
    if file.kind is Kind.SHMEM and (write or missed):
        start, end = at - before, at - before + size
        if low <= start and end <= high and start // PTRS_PER_TABLE == (end - 1) // PTRS_PER_TABLE:
            count = _alike(m, run, pfn, start, stop, high)
            return _map(m, mm, vma, start, count * size, pfn - before, PTE_ORDER, write=write)
        return _map(m, mm, vma, at, 1, pfn, PTE_ORDER, write=write)
    if write:
        return _map(m, mm, vma, at, stop - at, None, PTE_ORDER, write=True, batch=1)
    start = max(at // FAULT_AROUND * FAULT_AROUND, low)
    end = min(-(-stop // FAULT_AROUND) * FAULT_AROUND, high)
    return _map(m, mm, vma, start, end - start, None, PTE_ORDER, write=False, batch=FAULT_AROUND)


def _alike(m: Machine, run: FolioRun, pfn: int, start: int, stop: int, high: int) -> int:
    """How many folios from this one on can be mapped the same way: aligned, wanted, and within reach."""
    size = run.folio.nr_pages
    if start % min(size, PTRS_PER_TABLE):
        return 1
    left = (run.start + run.n - pfn) // size + ((run.start + run.n - pfn) % size > 0)
    return max(1, min(left, (high - start) // size, -(-(stop - start) // size)))


def _map(
    m: Machine,
    mm: Mm,
    vma: Vma,
    start: int,
    n: int,
    pfn: int | None,
    level: int,
    *,
    write: bool,
    batch: int = PTRS_PER_TABLE,
) -> int:
    """Map pages of the cache at [start, start + n): those at `pfn`, or whatever the cache has there."""
    assert vma.file is not None
    index = vma.index(start)
    spans = [(index, n, pfn)] if pfn is not None else _cached(vma.file, index, index + n)
    for first, length, frame in spans:
        at = start + first - index
        entry = Entry(at, length, frame, level=level, writable=vma.shared and vma.writable, dirty=write)
        m.map_pages(mm, entry, batch=batch, locked=vma.locked)
        for piece in m.memory.pieces(frame, length) if write else ():
            piece.run.dirty = True
    return start + n


def _cached(file: File, start: int, stop: int) -> list[tuple[int, int, int]]:
    """(page index, pages, page frame) of what the cache has in [start, stop)."""
    found = []
    for run in file.cache.over(start, stop):
        first, end = max(run.start, start), min(run.start + run.n, stop)
        found.append((first, end - first, run.pfn + first - run.start))
    return found


def _read_in(m: Machine, file: File, vma: Vma, start: int, stop: int) -> bool:
    """Make sure that the cache has pages [start, stop), in folios as large as fit. Was the first missing?"""
    missed = file.cache.at(start) is None
    for low, high in list(file.cache.gaps(start, stop)):
        at = low
        while at < high:
            at = _read_folios(m, file, vma, at, high)
    file.cache.heal(start, stop)
    return missed


def _read_folios(m: Machine, file: File, vma: Vma, at: int, stop: int) -> int:
    """Shared memory gets folios that the VMA at hand can map whole; other files what they are read in."""
    before, after = file.cache.neighbours(at)
    low = before.start + before.n if before else 0
    high = min(file.size, after.start if after else file.size)
    if file.kind is Kind.SHMEM:
        low, high = max(low, vma.pgoff), min(high, vma.pgoff + vma.n)
    orders = () if file.kind is Kind.SHMEM and vma.advice == "nohugepage" else file.orders
    for order in (*orders, 0):
        size = 1 << order
        start = at // size * size
        if file.kind is Kind.SHMEM and (vma.start - vma.pgoff) % size:
            continue
        if low <= start and start + size <= high:
            count = min((high - start) // size, -(-(stop - start) // size))
            if not order and orders:
                smallest = 1 << orders[-1]
                count = min(count, (at // smallest + 1) * smallest - at)
            add_to_cache(m, file, order, count, start)
            return start + count * size
    raise AssertionError("a small folio always fits")


def add_to_cache(m: Machine, file: File, order: int, count: int, index: int) -> FolioRun:
    """Allocate folios for a file's pages from `index` on and put them into its cache."""
    run = m.memory.alloc(file.kind, order, count, m.memcg)
    run.mapping, run.index = file, index
    run.folio.refcount += run.folio.nr_pages
    file.cache.insert(CacheRun(index, run.n, run.start))
    if file.kind is not Kind.HUGETLB:
        m.stat(run.memcg, "file", run.n)
    if file.kind is Kind.SHMEM:
        m.stat(run.memcg, "shmem", run.n)
        for slots in file.swapped.remove(index, index + run.n):
            m.swap.hold(slots.pfn, slots.n, -1)
            m.events["pswpin"] += slots.n
    if run.folio.pmd_mappable:
        m.stat(run.memcg, "shmem_thp" if file.kind is Kind.SHMEM else "file_thp", run.n)
    return run
