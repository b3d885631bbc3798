"""Copy-on-write: a write to memory mapped read-only in a private VMA reuses the page or copies it.

This is where the kernel's estimate costs most: a folio mistaken for shared is copied page by page by
its only owner (mechanism, section 6).
"""

from __future__ import annotations

from collections.abc import Iterator

from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun, Kind, Piece
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import Entry
from mapcount.sim.vma import Vma
from mapcount.tracking.questions import folio_can_reuse_anon, folio_maybe_mapped_shared

Verdict = tuple[int, int, bool]
"""(first page, number of pages, copy?) of a stretch of one folio."""


def new_anon(m: Machine, mm: Mm, vma: Vma, order: int, count: int, vpn: int) -> FolioRun:
    """Allocate anonymous folios for the pages from `vpn` on."""
    run = m.memory.alloc(Kind.ANON, order, count, m.memcg)
    run.mapping, run.index = mm.anon_of(vma), vma.index(vpn)
    if vma.locked:
        m.mlock(run)
    return run


def write_protect_fault(m: Machine, mm: Mm, vma: Vma, at: int, stop: int) -> int:
    """Write to pages [at, stop), which one run of present, not writable entries maps.

    Returns where to go on: `at` itself when a huge entry was split and its PTEs come next.
    """
    entry = mm.table.at(at)
    assert entry is not None
    if entry.level:
        return _write_huge(m, mm, vma, entry, at, stop)
    (entry,) = mm.table.isolate(at, stop)
    for piece in list(m.memory.pieces(entry.target, entry.n, cut=True)):
        vpn = entry.start + piece.pfn - entry.target
        if piece.run.anon:
            verdicts = list(_write_anon(m, mm, vma, piece, vpn, entry))
        else:
            m.unmap_piece(mm, vma, piece, vpn, entry, batch=1)
            verdicts = [(piece.page, piece.nr, True)]
        _remap(m, mm, vma, piece, vpn, entry, verdicts)
    return stop


def _write_huge(m: Machine, mm: Mm, vma: Vma, entry: Entry, at: int, stop: int) -> int:
    """PMDs (or larger): reuse whole folios if nothing else refers to them, else split and try PTEs."""
    span = 1 << entry.level
    start = entry.start + (at - entry.start) // span * span
    end = entry.start + -(-(stop - entry.start) // span) * span
    (piece, *_) = m.memory.pieces(entry.target_of(start), end - start)
    n = piece.pages if piece.run.folio.nr_pages == span else span
    (entry,) = mm.table.isolate(start, start + n)
    (piece,) = m.memory.pieces(entry.target, n, cut=True)
    run = piece.run
    m.try_to_free_swap(run)
    if run.anon and (run.anon_exclusive[piece.page] or run.folio.refcount == 1):
        m.mark_exclusive(piece, entry.level)
        entry.writable = entry.dirty = entry.young = True
        return entry.end
    if run.kind is not Kind.HUGETLB:
        m.split_entries(mm, start, start + n)
        return at
    copy = m.memory.alloc(Kind.HUGETLB, run.folio.order, piece.count, m.memcg)
    mm.table.remove(entry.start, entry.end)
    m.unmap_entry(mm, vma, entry)
    new = Entry(entry.start, copy.n, copy.start, level=entry.level, writable=True, dirty=True)
    m.map_pages(mm, new, exclusive=True)
    return new.end


def _write_anon(m: Machine, mm: Mm, vma: Vma, piece: Piece, vpn: int, entry: Entry) -> Iterator[Verdict]:
    """Decide page by page, as the faults come: each copy may change what the next page is told.

    Pages to copy are unmapped here. Look-alike folios are treated, and decide, alike.
    """
    run = piece.run
    for first, nr, exclusive in list(run.anon_exclusive.runs(piece.page, piece.page + piece.nr)):
        for page in range(first, first + nr):
            if exclusive or _reusable(m, run):
                run.anon_exclusive.set(page, first + nr - page, 1)
                yield page, first + nr - page, False
                break
            one = Piece(run, 0, run.count, page, 1)
            m.unmap_piece(mm, vma, one, vpn + page - piece.page, entry)
            yield page, 1, True


def _reusable(m: Machine, run: FolioRun) -> bool:
    if run.kind is Kind.KSM:
        return False
    if not (run.folio.large and folio_maybe_mapped_shared(run.folio)):
        m.try_to_free_swap(run)
    return folio_can_reuse_anon(run.folio)


def _remap(
    m: Machine, mm: Mm, vma: Vma, piece: Piece, vpn: int, entry: Entry, verdicts: list[Verdict]
) -> None:
    """Write the verdicts into the page table: new small folios where copied, writable where reused."""
    stretches = _joined(verdicts)
    content = [(o, n) for o, n, written in piece.stretches(piece.run.written) if written]
    mm.table.remove(vpn, vpn + piece.pages)
    folios, pages = (1, piece.pages) if len(stretches) == 1 else (piece.count, 0)
    for i in range(folios):
        for page, nr, copy in stretches:
            nr = pages or nr
            at = vpn + i * piece.nr + page - piece.page
            if copy:
                run = new_anon(m, mm, vma, 0, nr, at)
                m.map_pages(mm, Entry(at, nr, run.start, writable=True, dirty=True), new=True, exclusive=True)
            else:
                reused = entry.twin(at, nr, entry.target_of(at))
                reused.writable = reused.dirty = reused.young = True
                mm.table.insert(reused)
    for offset, n in content:
        for copied in mm.table.over(vpn + offset, vpn + offset + n):
            first, last = max(copied.start, vpn + offset), min(copied.end, vpn + offset + n)
            m.memory.store(copied.target_of(first), last - first)


def _joined(verdicts: list[Verdict]) -> list[Verdict]:
    """Neighbours with the same verdict as one."""
    out: list[Verdict] = []
    for page, nr, copy in verdicts:
        if out and out[-1][2] == copy:
            out[-1] = (out[-1][0], out[-1][1] + nr, copy)
        else:
            out.append((page, nr, copy))
    return out
