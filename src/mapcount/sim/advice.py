"""madvise: what a process says about its memory, and what the kernel makes of it (mechanism, section 6)."""

from __future__ import annotations

from collections.abc import Callable

from mapcount.sim.address_space import check_hugetlb, parts, zap
from mapcount.sim.errors import ActionError
from mapcount.sim.fault import fault_in
from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun, Kind, Piece
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import PTRS_PER_TABLE, Entry, batch_end
from mapcount.sim.reclaim import swap_out
from mapcount.sim.rmap_walk import alike
from mapcount.sim.split import collapse, split_folios
from mapcount.sim.vma import Vma
from mapcount.tracking.flavour import PMD_ORDER
from mapcount.tracking.questions import folio_maybe_mapped_shared
from mapcount.tracking.rmap import folio_mapcount

Treat = Callable[[Machine, Mm, FolioRun, int, int], None]
"""What to do with look-alike folios that [start, stop) of an mm maps whole, and nobody else."""


def madvise(m: Machine, mm: Mm, start: int, stop: int, advice: str) -> None:
    """Apply `advice` to [start, stop). Raises ActionError where the kernel would say EINVAL."""
    vmas = mm.vmas.over(start, stop)
    for vma in vmas:
        _check(vma, advice)
    if advice == "dontneed":
        check_hugetlb(mm, start, stop)
    if advice in ("hugepage", "nohugepage"):
        for vma in parts(m, mm, start, stop, lambda v: v.kind is not Kind.HUGETLB and v.advice != advice):
            vma.advice = advice
            vma.orders = (PMD_ORDER,) if advice == "hugepage" else ()
        return
    for vma in vmas:
        first, last = max(vma.start, start), min(vma.end, stop)
        if advice == "dontneed":
            zap(m, mm, vma, first, last)
            whole = -(-first // PTRS_PER_TABLE) * PTRS_PER_TABLE, last // PTRS_PER_TABLE * PTRS_PER_TABLE
            if whole[0] < whole[1]:
                mm.table.free_tables(*whole)
        elif advice == "collapse":
            _collapse(m, mm, vma, first, last)
        else:
            _each_folio(m, mm, vma, first, last, {"free": _free, "pageout": _pageout, "cold": _cold}[advice])


def _check(vma: Vma, advice: str) -> None:
    """Raises ActionError for advice that is not for such memory."""
    if vma.locked and advice in ("dontneed", "free", "pageout", "cold"):
        raise ActionError("locked memory cannot be given up")
    if vma.kind is Kind.HUGETLB and advice in ("pageout", "cold", "hugepage"):
        raise ActionError(f"{advice} is not for hugetlb memory")
    if advice == "free" and (vma.kind is not Kind.ANON or vma.shared):
        raise ActionError("MADV_FREE is for private anonymous memory")
    if advice == "collapse" and (vma.kind is not Kind.ANON or vma.shared or vma.file is not None):
        raise ActionError("only private anonymous memory is collapsed here")


def _each_folio(m: Machine, mm: Mm, vma: Vma, at: int, stop: int, treat: Treat) -> None:
    """Treat the folios that [at, stop) maps and that are surely this process's alone.

    A folio of which only a part is meant is split first, unless it may be shared. Skips are silent.
    """
    while at < stop:
        entry = mm.table.at(at)
        if entry is None:
            _, after = mm.table.neighbours(at)
            at = after.start if after else stop
        elif entry.swapped or entry.zero:
            end = min(entry.end, stop)
            if entry.swapped and treat is _free:
                zap(m, mm, vma, at, end)
            at = end
        elif entry.level:
            at = _huge(m, mm, entry, at, stop, treat)
        else:
            end = batch_end(mm.table, at, stop)
            (piece, *_) = m.memory.pieces(entry.target_of(at), end - at, cut=True)
            at = _ptes(m, mm, piece, at, treat)


def _huge(m: Machine, mm: Mm, entry: Entry, at: int, stop: int, treat: Treat) -> int:
    """Huge entries of look-alikes. Returns where to go on: `at` again when the folios were split."""
    span = 1 << entry.level
    start = entry.start + (at - entry.start) // span * span
    whole = at == start and start + span <= stop
    end = entry.start + (min(stop, entry.end) - entry.start) // span * span if whole else start + span
    (piece, *_) = m.memory.pieces(entry.target_of(start), end - start)
    end = start + (piece.pages if piece.run.folio.nr_pages == span else span)
    (piece,) = m.memory.pieces(entry.target_of(start), end - start, cut=True)
    if folio_maybe_mapped_shared(piece.run.folio):
        return end
    if not whole or piece.nr < piece.run.folio.nr_pages:
        return at if split_folios(m, piece.run) else end
    treat(m, mm, piece.run, start, end)
    return end


def _ptes(m: Machine, mm: Mm, piece: Piece, at: int, treat: Treat) -> int:
    """PTEs of alike pieces of folios. Returns where to go on: `at` again when the folios were split."""
    run, folio, end = piece.run, piece.run.folio, at + piece.pages
    if piece.nr < folio.nr_pages:
        shared = folio_maybe_mapped_shared(folio)
        return at if not shared and split_folios(m, run) else end
    clean = not (run.dirty or run.in_swap_cache)
    if folio_mapcount(folio) == piece.nr or (treat is _free and clean):
        treat(m, mm, run, at, end)
    return end


def _pageout(m: Machine, mm: Mm, run: FolioRun, start: int, stop: int) -> None:
    for part in alike(m, run):
        swap_out(m, part)


def _cold(m: Machine, mm: Mm, run: FolioRun, start: int, stop: int) -> None:
    for entry in mm.table.isolate(start, stop):
        entry.young = False
    run.referenced = run.active = False
    mm.table.heal(start, stop)


def _free(m: Machine, mm: Mm, run: FolioRun, start: int, stop: int) -> None:
    for entry in mm.table.isolate(start, stop):
        entry.young = entry.dirty = False
    m.try_to_free_swap(run)
    run.dirty = False
    m.mark_lazyfree(run)
    mm.table.heal(start, stop)


def _collapse(m: Machine, mm: Mm, vma: Vma, start: int, stop: int) -> None:
    size = 1 << PMD_ORDER
    first, last = -(-start // size) * size, stop // size * size
    if first >= last:
        raise ActionError(f"there is no aligned range of {size * 4}K in it to collapse")
    for at in range(first, last, size):
        fault_in(m, mm, at, at + size, write=False)
        if not collapse(m, mm, vma, at):
            raise ActionError("a page in it is pinned or not mapped, so it cannot be collapsed")
