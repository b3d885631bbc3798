"""Files and shared memory: the page cache, and the faults that map it (mechanism, section 6)."""

from __future__ import annotations

from mapcount.sim.cow import new_anon
from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun, Kind
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import PTRS_PER_TABLE, Entry, hole_around, largest_fit, level_of
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
    _, high = hole_around(mm.table, vma.start, vma.end, at)
    stop = min(stop, high)
    missed = file.cache.at(vma.index(at)) is None
    if missed and not write:
        _fault_around(m, mm, vma, at, at + 1)
    stop = _read_in(m, file, vma, at, stop)
    if write and not vma.shared:
        run = new_anon(m, mm, vma, 0, stop - at, at)
        m.map_pages(mm, Entry(at, run.n, run.start, writable=True, dirty=True), new=True, exclusive=True)
        return stop
    done = _map_huge(m, mm, vma, at, stop, write=write)
    if done > at:
        return done
    if file.kind is Kind.SHMEM and (write or missed):
        return _map_folio(m, mm, vma, at, stop, write=write)
    if write:
        return _map(m, mm, vma, at, stop - at, None, PTE_ORDER, write=True, batch=1)
    _fault_around(m, mm, vma, at, stop)
    mapped = mm.table.at(at)
    assert mapped is not None
    return min(mapped.end, stop)


def _map_huge(m: Machine, mm: Mm, vma: Vma, at: int, stop: int, *, write: bool) -> int:
    """Map the folio at `at`, and look-alikes, by huge entries; returns how far. `at` if that cannot be."""
    file, run, pfn = _at(m, vma, at)
    before = (pfn - run.start) % run.folio.nr_pages
    hugetlb = file.kind is Kind.HUGETLB
    level = run.folio.order if hugetlb else level_of(m.flavour, run.folio.order)
    if not level or vma.advice == "nohugepage":
        return at
    low, high = hole_around(mm.table, vma.start, vma.end, at)
    bare = mm.table.without_tables(at)
    low, high = (low, high) if hugetlb else (max(low, bare[0]), min(high, bare[1]))
    span = 1 << level
    part = before // span * span
    start = at - before + part
    if not (low <= start and start + span <= high) or start % span:
        return at
    reach = min(high - start, run.start + run.n - (pfn - before + part))
    n = max(span, min(reach // span * span, -(-(stop - start) // span) * span))
    return _map(m, mm, vma, start, n, pfn - before + part, level, write=write)


def _map_folio(m: Machine, mm: Mm, vma: Vma, at: int, stop: int, *, write: bool) -> int:
    """Map the whole folio at `at` by PTEs, and look-alikes; only the page if not all of it is in reach."""
    _, run, pfn = _at(m, vma, at)
    low, high = hole_around(mm.table, vma.start, vma.end, at)
    size = run.folio.nr_pages
    before = (pfn - run.start) % size
    start, end = at - before, at - before + size
    if low <= start and end <= high and _one_table(start, end):
        count = _alike(m, run, pfn, start, stop, high)
        return _map(m, mm, vma, start, count * size, pfn - before, PTE_ORDER, write=write)
    return _map(m, mm, vma, at, 1, pfn, PTE_ORDER, write=write)


def _fault_around(m: Machine, mm: Mm, vma: Vma, at: int, stop: int) -> None:
    """Map what the cache has of the windows around [at, stop) and is not mapped yet.

    A large folio that reaches into a window is mapped whole if VMA and page table hold all of it, and if
    the file goes on behind it or is in memory only (Linux 6.18).
    """
    file = vma.file
    assert file is not None
    if vma.start % FAULT_AROUND:  # windows begin with the VMA, and later ones at the next multiple
        stop = at + 1
    start = max(at // FAULT_AROUND * FAULT_AROUND, vma.start)
    end = -(-stop // FAULT_AROUND) * FAULT_AROUND if start % FAULT_AROUND == 0 else start + FAULT_AROUND
    end = min(end, vma.end, (stop - 1) // PTRS_PER_TABLE * PTRS_PER_TABLE + PTRS_PER_TABLE)
    shift = vma.start - vma.pgoff
    places: list[tuple[int, int]] = []
    for index, n, pfn in _cached(file, vma.index(start), vma.index(end)):
        for piece in m.memory.pieces(pfn, n):
            low = index + piece.pfn - pfn + shift
            high, size = low + piece.pages, piece.run.folio.nr_pages
            if piece.nr < size:
                whole = low - piece.page, low - piece.page + size
                inside = vma.start <= whole[0] and whole[1] <= vma.end and _one_table(*whole)
                if inside and (file.kind is Kind.SHMEM or whole[1] - shift < file.size):
                    low, high = whole
            places.append((low, high))
    for low, high in places:
        for first, last in list(mm.table.gaps(low, high)):
            _map(m, mm, vma, first, last - first, None, PTE_ORDER, write=False)


def _one_table(start: int, end: int) -> bool:
    """Does one page table hold all of [start, end)?"""
    return start // PTRS_PER_TABLE == (end - 1) // PTRS_PER_TABLE


def _at(m: Machine, vma: Vma, at: int) -> tuple[File, FolioRun, int]:
    """The file, and the folios and the frame that its cache has for a page."""
    assert vma.file is not None
    cached = vma.file.cache.at(vma.index(at))
    assert cached is not None
    pfn = cached.pfn + vma.index(at) - cached.start
    return vma.file, m.memory.folio_of(pfn), pfn


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


def _read_in(m: Machine, file: File, vma: Vma, at: int, stop: int) -> int:
    """Make sure that the cache has the pages from `at` on, in folios as large as fit; returns how far.

    Pages that are there and pages that have to be read are handled apart.
    """
    start, end = vma.index(at), vma.index(stop)
    cached = file.cache.at(start)
    if cached is not None:
        return min(stop, at + cached.start + cached.n - start)
    _, after = file.cache.neighbours(start)
    end = min(end, after.start if after else end)
    index = start
    while index < end:
        index = _read_folios(m, file, vma, index, end)
    file.cache.heal(start, end)
    return at + end - start


def _read_folios(m: Machine, file: File, vma: Vma, at: int, stop: int) -> int:
    """Shared memory gets folios that the VMA at hand can map whole; other files what they are read in."""
    before, after = file.cache.neighbours(at)
    low = before.start + before.n if before else 0
    high = min(file.size, after.start if after else file.size)
    orders = file.orders
    if file.kind is Kind.SHMEM:
        low, high = max(low, vma.pgoff), min(high, vma.pgoff + vma.n)
        orders = tuple(o for o in orders if not (vma.start - vma.pgoff) % (1 << o))
        orders = () if vma.advice == "nohugepage" else orders
    order, start, count = largest_fit((*orders, 0), low, high, at, stop)
    add_to_cache(m, file, order, count, start)
    return start + (count << order)


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
