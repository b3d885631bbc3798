"""fork: an address space is duplicated entry by entry, mappings and all (mechanism, section 6)."""

from __future__ import annotations

from mapcount.sim.cow import new_anon
from mapcount.sim.machine import Machine
from mapcount.sim.memory import Kind
from mapcount.sim.mm import Mm, Process
from mapcount.sim.page_table import Entry
from mapcount.sim.vma import Vma
from mapcount.tracking.questions import folio_maybe_dma_pinned


def fork(m: Machine, parent: Process, name: str) -> Process:
    """`parent` forks a child. Raises NoMmIdLeft when there is no MM id for it."""
    mm = Mm(m.mm_ids.alloc(), name)
    child = m.processes[name] = parent.forked(name, mm)
    for vma in parent.mm.vmas:
        copy = vma.twin(vma.start, vma.n, vma.pgoff)
        copy.locked = False
        if vma.anon is not None:
            copy.anon_vma, copy.inherited = object(), True
        mm.link(copy)
        if vma.anon is not None:
            for first, last in parent.mm.table.tabled(vma.start, vma.end):
                mm.table.add_tables(first, last)
            for entry in parent.mm.table.isolate(vma.start, vma.end):
                _copy(m, parent.mm, mm, copy, entry)
    mm.table.heal(0, mm.table.last_end())
    parent.mm.table.heal(0, parent.mm.table.last_end())
    return child


def _copy(m: Machine, parent: Mm, child: Mm, vma: Vma, entry: Entry) -> None:
    """Copy one run of entries of a VMA that has anonymous memory."""
    if entry.swapped:
        m.swap.hold(entry.target, entry.n, 1)
        entry.exclusive = False
        child.table.insert(entry.twin(entry.start, entry.n, entry.target))
    elif entry.zero:
        child.table.insert(entry.twin(entry.start, entry.n, entry.target))
    elif parent.has_pinned and _pinned(m, entry):
        hugetlb = vma.kind is Kind.HUGETLB
        (_copy_pinned_hugetlb if hugetlb else _copy_pinned)(m, parent, child, vma, entry)
    else:
        _share(m, child, vma, entry)


def _share(m: Machine, child: Mm, vma: Vma, entry: Entry) -> None:
    """Parent and child map the same pages, read-only in private VMAs; nothing is exclusive any more."""
    for piece in m.memory.pieces(entry.target, entry.n, cut=True):
        if piece.run.anon or piece.run.kind is Kind.HUGETLB:
            m.mark_exclusive(piece, entry.level, 0)
    if not vma.shared:
        entry.writable = False
    twin = entry.twin(entry.start, entry.n, entry.target)
    twin.young = False
    m.map_pages(child, twin, dup=True)


def _pinned(m: Machine, entry: Entry) -> bool:
    pieces = m.memory.pieces(entry.target, entry.n)
    return any(folio_maybe_dma_pinned(piece.run.folio) for piece in pieces)


def _copy_pinned_hugetlb(m: Machine, parent: Mm, child: Mm, vma: Vma, entry: Entry) -> None:
    """Hugetlb folios are mapped whole: those that may be pinned and are exclusive are copied whole."""
    for part in parent.table.isolate(entry.start, entry.end):
        for piece in list(m.memory.pieces(part.target, part.n, cut=True)):
            vpn = part.start + piece.pfn - part.target
            if folio_maybe_dma_pinned(piece.run.folio) and piece.run.anon_exclusive[0]:
                copy = m.memory.alloc(Kind.HUGETLB, piece.run.folio.order, piece.count, m.memcg)
                new = Entry(vpn, copy.n, copy.start, level=part.level, writable=vma.writable, dirty=True)
                m.map_pages(child, new, exclusive=True)
            else:
                (shared,) = parent.table.isolate(vpn, vpn + piece.pages)
                _share(m, child, vma, shared)


def _copy_pinned(m: Machine, parent: Mm, child: Mm, vma: Vma, entry: Entry) -> None:
    """Pages that are exclusive and may be pinned are copied at once; a PMD over them is split first."""
    start, stop = entry.start, entry.end
    at = start
    while at < stop:
        here = parent.table.at(at)
        assert here is not None
        (piece, *_) = m.memory.pieces(here.target_of(at), 1 << here.level)
        if here.level and folio_maybe_dma_pinned(piece.run.folio) and piece.run.anon_exclusive[piece.page]:
            m.split_entries(parent, at, at + 1)
        else:
            at = at + (1 << here.level) if here.level else here.end
    for part in parent.table.isolate(start, stop):
        if part.level:
            _share(m, child, vma, part)
            continue
        for piece in list(m.memory.pieces(part.target, part.n, cut=True)):
            vpn = part.start + piece.pfn - part.target
            if not folio_maybe_dma_pinned(piece.run.folio):
                for shared in parent.table.isolate(vpn, vpn + piece.pages):
                    _share(m, child, vma, shared)
                continue
            for offset, nr, exclusive in list(piece.stretches(piece.run.anon_exclusive)):
                at = vpn + offset
                if exclusive:
                    copy = new_anon(m, child, vma, 0, nr, at)
                    new = Entry(at, nr, copy.start, writable=vma.writable, dirty=True)
                    m.map_pages(child, new, new=True, exclusive=True)
                    for first, n in m.memory.content(piece.pfn + offset, nr):
                        m.memory.store(copy.start + first, n)
                else:
                    (shared,) = parent.table.isolate(at, at + nr)
                    _share(m, child, vma, shared)
