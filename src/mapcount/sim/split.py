"""Splitting folios into small ones, migrating them, and collapsing small ones into a large one."""

from __future__ import annotations

from itertools import pairwise

from mapcount.sim.cow import new_anon
from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun, Kind
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import ZERO_PFN, Entry
from mapcount.sim.rmap_walk import Mapped, extra_references, rmap_walk
from mapcount.sim.vma import File, Vma
from mapcount.tracking.flavour import PMD_ORDER, PTE_ORDER
from mapcount.tracking.folio import Folio
from mapcount.tracking.per_page import PerPage


def _take_mappings(m: Machine, run: FolioRun) -> list[Mapped]:
    """Replace every mapping by a migration entry, in rmap order, and hold the folios meanwhile.

    PTEs go one by one, so a folio that PTEs map is for a moment partially mapped, and counted as such.
    A dirty entry leaves its mark on the folio.
    """
    run.folio.refcount += 1
    mapped = rmap_walk(run)
    for mm, vma, entry in mapped:
        run.dirty |= entry.dirty
        mm.table.remove(entry.start, entry.end)
        m.unmap_entry(mm, vma, entry, batch=1)
    return mapped


def migrate_folios(m: Machine, run: FolioRun) -> FolioRun | None:
    """Move look-alike folios to new memory; the new run, or None when something else holds them.

    Mappings go and come back mm by mm in rmap order, so who sits in which owner slot can change.
    """
    if run.mapping is None or extra_references(run):
        return None
    exclusive = run.anon_exclusive.copy()
    mapped = _take_mappings(m, run)
    new = m.memory.alloc(run.kind, run.folio.order, run.count, run.memcg)
    moved = run.like(new.start, new.n, new.folio)
    moved.index, moved.swap, moved.anon_exclusive = run.index, run.swap, exclusive
    moved.written = run.written.copy()
    m.memory.folios.remove(new.start, new.start + new.n)
    m.memory.folios.insert(moved)
    m.memory.touched.discard(new)
    m.memory.touched.add(moved)
    cached = run.folio.nr_pages * (run.in_swap_cache + (not run.anon))
    moved.folio.refcount += cached
    run.folio.refcount -= cached + 1
    if run.in_swap_cache:
        m.swap.cache(run.swap, run.n, moved.start)
    if isinstance(run.mapping, File):
        for part in run.mapping.cache.isolate(run.index, run.index + run.n):
            part.pfn += moved.start - run.start
    m.memory.free(run)
    for mm, vma, entry in mapped:
        entry.target += moved.start - run.start
        m.map_pages(mm, entry, batch=1, locked=vma.locked)
    return moved


def split_folios(m: Machine, run: FolioRun) -> bool:
    """Split look-alike large folios into small ones. False, and nothing changed, when they are held.

    Everything is unmapped to migration entries; each small folio is then mapped again, with counters of
    its own, by whoever mapped its page: unless nobody ever wrote to it, for then it is the zero page that is
    mapped instead. Pages of files are simply unmapped and fault in again. Pages that nobody maps are freed.
    """
    if run.mapping is None or extra_references(run) or not run.folio.large or run.kind is Kind.HUGETLB:
        return False
    if run.folio.pmd_mappable:
        m.events["thp_split_page"] += run.count
    mapped = _take_mappings(m, run)
    for _, _, entry in mapped:
        if entry.level:
            m.events["thp_split_pmd"] += entry.n >> PMD_ORDER
            for piece in m.memory.pieces(entry.target, entry.n) if run.anon else ():
                m.mark_exclusive(piece, 0, run.anon_exclusive[piece.page])
            entry.level = PTE_ORDER
    m.memory.free_as_small(run)
    for start, n in _uniform(run, mapped):
        small = run.like(start, n, Folio(m.flavour, 0))
        small.partially_mapped = False
        page = (start - run.start) % run.folio.nr_pages
        small.anon_exclusive = PerPage(1, run.anon_exclusive[page])
        small.written = PerPage(1, run.written[page])
        small.folio.refcount = 1 + small.in_swap_cache + (not small.anon)
        m.memory.folios.insert(small)
        m.memory.touched.add(small)
    if isinstance(run.mapping, File) and run.folio.pmd_mappable:
        m.stat(run.memcg, "shmem_thp" if run.kind is Kind.SHMEM else "file_thp", -run.n)
    for mm, vma, entry in mapped if run.anon else ():
        _map_again(m, mm, vma, entry)
    for small in m.memory.folios.over(run.start, run.start + run.n):
        m.put(small, 1)
    return True


def _map_again(m: Machine, mm: Mm, vma: Vma, entry: Entry) -> None:
    """Map small folios after a split: the zero page instead where all is zeroes, unless it is locked."""
    for piece in list(m.memory.pieces(entry.target, entry.n)):
        at = entry.start + piece.pfn - entry.target
        if piece.run.written[0] or vma.locked or piece.run.mlocked:
            m.map_pages(mm, entry.twin(at, piece.pages, piece.pfn), locked=vma.locked)
        else:
            mm.table.insert(Entry(at, piece.pages, ZERO_PFN))
    mm.table.heal(entry.start, entry.end)


def _uniform(run: FolioRun, mapped: list[Mapped]) -> list[tuple[int, int]]:
    """(page frame, pages) of each stretch of the run whose pages have the same mappings and mark."""
    size = run.folio.nr_pages
    edges = {run.start, run.start + run.n}
    for _, _, entry in mapped:
        edges |= {entry.target, entry.target + entry.n}
    marks = [first for pattern in (run.anon_exclusive, run.written) for first, _, _ in pattern.runs()]
    if len(marks) > 2:
        edges |= {run.start + i * size + first for i in range(run.count) for first in marks}
    ordered = sorted(edges)
    return [(a, b - a) for a, b in pairwise(ordered)]


def collapse(m: Machine, mm: Mm, vma: Vma, start: int) -> bool:
    """Replace what a PMD-size range of private anonymous memory holds by one new PMD-size folio.

    As MADV_COLLAPSE does: swapped pages were read before, holes become zeroes, pages of folios that are
    shared are copied. False when a page is held by more than mappings and caches.
    """
    stop = start + (1 << PMD_ORDER)
    entries = [e for e in m.isolate(mm, start, stop) if not e.zero]
    if any(e.level for e in entries) or not entries:
        return bool(entries)
    pieces = [p for e in entries for p in m.memory.pieces(e.target, e.n)]
    if any(extra_references(p.run) or not p.run.anon for p in pieces):
        return False
    content = [(e.start + at - start, n) for e in entries for at, n in m.memory.content(e.target, e.n)]
    for entry in mm.table.remove(start, stop):
        m.unmap_entry(mm, vma, entry, batch=1)
    mm.table.free_tables(start, stop)
    run = new_anon(m, mm, vma, PMD_ORDER, 1, start)
    huge = Entry(start, run.n, run.start, level=PMD_ORDER, writable=vma.writable, dirty=True)
    m.map_pages(mm, huge, new=True, exclusive=True)
    for at, n in content:
        m.memory.store(run.start + at, n)
    return True
