"""From a folio to every page-table entry that maps it, in the order in which the kernel finds them."""

from __future__ import annotations

from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import Entry
from mapcount.sim.vma import Vma

Mapped = tuple[Mm, Vma, Entry]


def rmap_walk(run: FolioRun) -> list[Mapped]:
    """Every entry that maps pages of these folios, by VMA in rmap order, cut at the run's ends.

    KSM pages and private hugetlb folios have no VMAs to look in: nothing is found for them.
    """
    found: list[Mapped] = []
    if run.mapping is None:
        return found
    for mm, vma in run.mapping.over(run.index, run.n):
        shift = vma.start - vma.pgoff
        start, stop = max(vma.start, run.index + shift), min(vma.end, run.index + run.n + shift)
        for entry in mm.table.over(start, stop):
            at = max(entry.start, start)
            if (
                not (entry.swapped or entry.zero)
                and entry.target_of(at) == run.start + at - shift - run.index
            ):
                edge = entry.start + entry.n
                if at > entry.start or edge > stop:
                    (entry,) = mm.table.isolate(at, min(edge, stop))
                found.append((mm, vma, entry))
    return found


def alike(m: Machine, run: FolioRun) -> list[FolioRun]:
    """The run, cut so that each part's folios are mapped by the same entries in the same way."""
    size = run.folio.nr_pages
    start, stop = run.start, run.start + run.n
    for _, _, entry in rmap_walk(run):
        for edge in (entry.target, entry.target + entry.n):
            for at in {(edge - start) // size * size, -(-(edge - start) // size) * size}:
                m.memory.cut(start + at)
    return m.memory.folios.over(start, stop)


def folios_in(m: Machine, mm: Mm, start: int, stop: int) -> list[FolioRun]:
    """The runs of folios of which [start, stop) maps anything, each once, holding no others."""
    found: dict[FolioRun, None] = {}
    for entry in mm.table.over(start, stop):
        if entry.swapped or entry.zero:
            continue
        first, last = max(start, entry.start), min(stop, entry.end)
        for piece in list(m.memory.pieces(entry.target_of(first), last - first, cut=True)):
            for part in alike(m, piece.run):
                found[part] = None
    return list(found)


def extra_references(run: FolioRun) -> int:
    """References that are neither mappings nor a cache's: pins, and whatever else holds the folio."""
    folio = run.folio
    total = folio.large_mapcount if folio.large else folio.page_mapcount[0]  # type: ignore[index]
    cached = folio.nr_pages * (run.in_swap_cache + (run.mapping is not None and not run.anon))
    return folio.refcount - total - cached
