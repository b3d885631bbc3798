"""KSM: small anonymous pages of equal content become one page that all of them map read-only."""

from __future__ import annotations

from mapcount.sim.errors import ActionError
from mapcount.sim.machine import Machine
from mapcount.sim.memory import Kind
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import Entry
from mapcount.sim.rmap_walk import extra_references

LIMIT = 1 << 16
"""Pages merged by one step at most: each becomes a page-table entry of its own."""


def merge(m: Machine, ranges: list[tuple[Mm, int, int]]) -> None:
    """Merge every small, private, unpinned anonymous page in these ranges into one KSM page."""
    if sum(stop - start for _, start, stop in ranges) > LIMIT:
        raise ActionError(f"KSM merges at most {LIMIT} pages in one step")
    found: list[tuple[Mm, Entry]] = []
    for mm, start, stop in ranges:
        for entry in mm.table.over(start, stop):
            if entry.swapped or entry.zero or entry.level:
                continue
            first, last = max(entry.start, start), min(entry.end, stop)
            pfn = entry.target_of(first)
            for piece in list(m.memory.pieces(pfn, last - first)):
                run = piece.run
                if run.kind is Kind.ANON and not run.folio.large and not extra_references(run):
                    at = first + piece.pfn - pfn
                    found.extend((mm, one) for one in _singles(mm, at, piece.pages))
    if not found:
        raise ActionError("no small anonymous page is mapped there")
    ksm = m.memory.alloc(Kind.KSM, 0, 1, m.memcg)
    for mm, entry in found:
        vma = mm.vmas.at(entry.start)
        assert vma is not None
        mm.table.remove(entry.start, entry.end)
        m.unmap_entry(mm, vma, entry)
        m.map_pages(mm, Entry(entry.start, 1, ksm.start, young=entry.young))


def _singles(mm: Mm, start: int, n: int) -> list[Entry]:
    return [entry for at in range(start, start + n) for entry in mm.table.isolate(at, at + 1)]
