"""mmap, munmap, mprotect, mremap, mlock, exec and exit: VMAs come, change and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy

from mapcount.sim.errors import ActionError
from mapcount.sim.fault import fault_in, mark
from mapcount.sim.machine import Machine
from mapcount.sim.memory import Kind, Piece
from mapcount.sim.mm import Mm, Process
from mapcount.sim.page_table import batched
from mapcount.sim.vma import Vma


def mmap(m: Machine, mm: Mm, vma: Vma) -> None:
    """Map a new VMA; what was mapped in its range is unmapped first, as MAP_FIXED does."""
    munmap(m, mm, vma.start, vma.end)
    if vma.file is not None:
        vma.file.size = max(vma.file.size, vma.pgoff + vma.n)
    mm.link(vma)
    mm.merge_vmas(vma.start, vma.end)


def munmap(m: Machine, mm: Mm, start: int, stop: int) -> None:
    """Unmap [start, stop). Huge entries that reach outside are split (anonymous) or dropped (file)."""
    check_hugetlb(mm, start, stop)
    for vma in mm.isolate_vmas(start, stop):
        zap(m, mm, vma, vma.start, vma.end)
        mm.unlink(vma)
    mm.free_tables(start, stop)
    m.lru_add_drain()


def zap(m: Machine, mm: Mm, vma: Vma, start: int, stop: int) -> None:
    """Empty the page table in [start, stop) of one VMA."""
    m.isolate(mm, start, stop)
    for entry in batched(mm.table.remove(start, stop)):
        if entry.swapped:
            m.swap_put(entry.target, entry.n)
        else:
            m.unmap_entry(mm, vma, entry)


def parts(m: Machine, mm: Mm, start: int, stop: int, changes: Callable[[Vma], bool]) -> Iterator[Vma]:
    """The VMAs inside [start, stop) that something `changes`, split, with huge entries, at its ends.

    When all of them are changed, each is merged with neighbours that it does not differ from any more.
    """
    found: list[Vma] = []
    for vma in mm.vmas.over(start, stop):
        if changes(vma):
            first, last = max(vma.start, start), min(vma.end, stop)
            m.isolate(mm, first, last)
            found += mm.isolate_vmas(first, last)
    places = [(vma.start, vma.end) for vma in found]
    yield from found
    for place in places:
        mm.merge_vmas(*place)


def mprotect(m: Machine, mm: Mm, start: int, stop: int, prot: str) -> None:
    """Change the protection of [start, stop). A huge entry that reaches outside is split."""
    check_hugetlb(mm, start, stop)
    for vma in parts(m, mm, start, stop, lambda vma: vma.prot != prot):
        vma.prot = prot
        for entry in m.isolate(mm, vma.start, vma.end):
            entry.writable = vma.shared and vma.writable and not entry.swapped
        if vma.writable and not vma.shared:
            _writable_where_exclusive(m, mm, vma)
        mm.table.heal(vma.start, vma.end)


def _writable_where_exclusive(m: Machine, mm: Mm, vma: Vma) -> None:
    """Pages known to be exclusive need no write fault to become writable again."""
    for entry in list(mm.table.over(vma.start, vma.end)):
        if entry.swapped or entry.zero:
            continue
        for piece in list(m.memory.pieces(entry.target, entry.n, cut=True)):
            at = entry.start + piece.pfn - entry.target
            if entry.level:
                stretches = [(0, piece.pages, piece.run.anon_exclusive[piece.page])]
            else:
                stretches = list(piece.stretches(piece.run.anon_exclusive))
            for offset, n, exclusive in stretches:
                for part in mm.table.isolate(at + offset, at + offset + n):
                    part.writable = bool(exclusive) and piece.run.anon


def mremap(m: Machine, mm: Mm, start: int, n: int, to: int) -> None:
    """Move [start, start + n), one VMA's, to `to`: page-table entries move, no mapping changes."""
    munmap(m, mm, to, to + n)
    (vma,) = mm.isolate_vmas(start, start + n)
    m.isolate(mm, start, start + n)
    for entry in list(mm.table.over(start, start + n)):
        span = 1 << entry.level
        if entry.level and (to - start) % span:
            m.split_entries(mm, entry.start, entry.end)
    for first, last in mm.table.tabled(start, start + n):
        mm.table.add_tables(first - start + to, last - start + to)
    mm.link(vma.twin(to, n, to if vma.file is None and vma.anon is None else vma.pgoff))
    for entry in mm.table.remove(start, start + n):
        entry.start += to - start
        mm.table.insert(entry)
    mm.unlink(vma)
    mm.free_tables(start, start + n)
    mm.table.heal(to, to + n)
    mm.merge_vmas(to, to + n)


def mlock(m: Machine, mm: Mm, start: int, stop: int) -> None:
    """Lock [start, stop): folios that lie in it whole become unevictable, and all of it is faulted in.

    Private writable memory is faulted for writing, so what is still shared after a fork is copied. Raises
    ActionError where some of it may not be accessed (the kernel: ENOMEM).
    """
    if any(vma.prot == "none" for vma in mm.vmas.over(start, stop)):
        raise ActionError("memory that may not be accessed cannot be locked")
    for vma in parts(m, mm, start, stop, lambda vma: not vma.locked and vma.kind is not Kind.HUGETLB):
        vma.locked = True
        for piece in _mapped(m, mm, vma):
            if piece.nr == piece.run.folio.nr_pages:
                m.mlock(piece.run)
    for vma in mm.vmas.over(start, stop):
        if vma.kind is not Kind.HUGETLB:
            first, last = max(vma.start, start), min(vma.end, stop)
            write = vma.writable and not vma.shared
            fault_in(m, mm, first, last, write=write)
            _mark_accessed(m, mm, first, last, write=write)


def _mark_accessed(m: Machine, mm: Mm, start: int, stop: int, *, write: bool) -> None:
    """Faulting in by GUP marks PMDs as the hardware would; behind PTEs it marks the folios themselves."""
    for entry in mm.table.over(start, stop):
        first, last = max(entry.start, start), min(entry.end, stop)
        if entry.level:
            mark(mm, entry, first, last, dirty=write)
        elif not entry.zero:
            for piece in m.memory.pieces(entry.target_of(first), last - first, cut=True):
                piece.run.dirty |= write and not entry.dirty
                for _ in range(min(piece.nr, 3)):
                    m.mark_accessed(piece.run)


def munlock(m: Machine, mm: Mm, start: int, stop: int) -> None:
    """Unlock [start, stop)."""
    for vma in parts(m, mm, start, stop, lambda vma: vma.locked):
        vma.locked = False
        for piece in _mapped(m, mm, vma):
            m.munlock(piece.run)


def _mapped(m: Machine, mm: Mm, vma: Vma) -> Iterator[Piece]:
    """Which pages of which folios a VMA maps, as mlock sees it: by what follows each other.

    A folio is mapped whole although some entries are writable or dirty and others are not.
    """
    for entry in batched([copy(entry) for entry in mm.table.over(vma.start, vma.end)]):
        if not (entry.swapped or entry.zero):
            yield from m.memory.pieces(entry.target, entry.n, cut=True)


def teardown(m: Machine, mm: Mm) -> None:
    """The last user of an address space is gone: everything is unmapped, then its MM id is free."""
    for vma in list(mm.vmas):
        zap(m, mm, vma, vma.start, vma.end)
        mm.unlink(vma)
    m.lru_add_drain()
    m.mm_ids.free(mm.mm_id)


def exec_(m: Machine, process: Process) -> None:
    """The process gets a new address space, then the old one goes: for a moment it has two MM ids."""
    old = process.mm
    process.mm = Mm(m.mm_ids.alloc(), process.name)
    process.regions = {}
    teardown(m, old)


def check_hugetlb(mm: Mm, start: int, stop: int) -> None:
    """Hugetlb memory is unmapped and protected in whole folios. Raises ActionError (the kernel: EINVAL)."""
    for at in (start, stop):
        vma = mm.vmas.at(at)
        if vma is not None and vma.kind is Kind.HUGETLB:
            size = 1 << vma.orders[0]
            if (at - vma.start) % size:
                raise ActionError(f"hugetlb memory is handled in whole folios of {size * 4}K")
