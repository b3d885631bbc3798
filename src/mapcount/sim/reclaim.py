"""Paging out: every mapping of a folio goes, then its memory (mechanism, section 6)."""

from __future__ import annotations

from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun, Kind
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import Entry
from mapcount.sim.rmap_walk import extra_references, rmap_walk
from mapcount.sim.vma import CacheRun, File


def swap_out(m: Machine, run: FolioRun) -> bool:
    """Page out look-alike folios. False, and nothing changed, when something else holds them.

    Anonymous folios go to swap: one slot a page, held by each entry that mapped the page. Those that
    MADV_FREE gave up and nobody wrote to since are dropped, and so are file pages. Shared memory goes to
    swap as well, but its slots are the file's: its mappings are simply gone and fault in again.
    """
    if run.kind in (Kind.HUGETLB, Kind.KSM) or run.mlocked or extra_references(run):
        return False
    mapped = rmap_walk(run)
    lazyfree = run.anon and not run.swapbacked and not (run.dirty or any(e.dirty for _, _, e in mapped))
    to_swap = run.anon and not lazyfree
    if to_swap:
        _add_to_swap(m, run)
        m.swap.save(run.swap, run.n, m.memory.content(run.start, run.n))
    for mm, _, entry in mapped:
        while any(e.level for e in mm.table.over(entry.start, entry.end)):
            m.split_entries(mm, entry.start, entry.end)
    run.folio.refcount += 1  # reclaim's own, while the mappings go
    unmapped = rmap_walk(run)
    for mm, vma, entry in unmapped:
        mm.table.remove(entry.start, entry.end)
        if to_swap:
            _leave_swap_entries(m, run, mm, entry)
        m.unmap_entry(mm, vma, entry, batch=1)
    for mm, _, entry in unmapped:
        mm.table.heal(entry.start, entry.end)
    if to_swap:
        run.in_swap_cache = False
        m.swap.release(run.swap, run.n)
        m.stat(run.memcg, "swapcached", -run.n)
        run.folio.refcount -= run.folio.nr_pages
    elif not run.anon:
        _drop_from_cache(m, run)
    m.put(run, 1)
    return True


def _add_to_swap(m: Machine, run: FolioRun) -> None:
    if run.in_swap_cache:
        if run.dirty:
            m.events["pswpout"] += run.n
        return
    run.swap = m.swap.alloc(run.n, run.folio.nr_pages, run.memcg, run.start)
    run.in_swap_cache = True
    run.folio.refcount += run.folio.nr_pages
    m.stat(run.memcg, "swapcached", run.n)
    m.events["pswpout"] += run.n


def _leave_swap_entries(m: Machine, run: FolioRun, mm: Mm, entry: Entry) -> None:
    """Where PTEs were, swap entries remember the slot and the page's exclusive mark."""
    for piece in m.memory.pieces(entry.target, entry.n):
        for offset, n, exclusive in piece.stretches(run.anon_exclusive):
            at = entry.start + piece.pfn - entry.target + offset
            slot = run.swap + piece.pfn - run.start + offset
            m.swap.hold(slot, n, 1)
            mm.table.insert(Entry(at, n, slot, swapped=True, exclusive=bool(exclusive), young=False))


def _drop_from_cache(m: Machine, run: FolioRun) -> None:
    """Take folios that nobody maps out of their file's cache; shared memory keeps its data in swap."""
    file = run.mapping
    assert isinstance(file, File)
    _uncache(m, file, run)
    if file.kind is Kind.SHMEM:
        slot = m.swap.alloc(run.n, run.folio.nr_pages, run.memcg, run.start)
        m.swap.hold(slot, run.n, 1)
        m.swap.release(slot, run.n)
        file.swapped.insert(CacheRun(run.index, run.n, slot))
        m.events["pswpout"] += run.n


def _uncache(m: Machine, file: File, run: FolioRun) -> None:
    """The cache no longer holds these folios."""
    file.cache.remove(run.index, run.index + run.n)
    if file.kind is not Kind.HUGETLB:
        m.stat(run.memcg, "file", -run.n)
    if file.kind is Kind.SHMEM:
        m.stat(run.memcg, "shmem", -run.n)
    if run.folio.pmd_mappable:
        m.stat(run.memcg, "shmem_thp" if file.kind is Kind.SHMEM else "file_thp", -run.n)
    run.folio.refcount -= run.folio.nr_pages


def truncate(m: Machine, file: File) -> None:
    """A file that nobody maps or keeps any more gives its memory and swap back."""
    for cached in list(file.cache):
        for piece in list(m.memory.pieces(cached.pfn, cached.n, cut=True)):
            _uncache(m, file, piece.run)
            piece.run.mapping = None
            m.put(piece.run, 0)
    for slots in file.swapped.remove(0, file.swapped.last_end()):
        m.swap.hold(slots.pfn, slots.n, -1)
