"""What /proc tells user space about the simulated machine (mechanism, section 7).

Where the kernels differ is in two questions: how often is this page mapped, and is it private? With
per-page counts each page answers for itself; without, the folio answers for all of its pages alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun, Kind, Piece
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import Entry
from mapcount.sim.vma import Vma
from mapcount.tracking.flavour import PAGE_SIZE, PMD_ORDER
from mapcount.tracking.folio import Folio
from mapcount.tracking.questions import folio_average_page_mapcount, folio_maybe_mapped_shared
from mapcount.tracking.rmap import folio_mapcount

PSS_SHIFT = 12
"""Extra bits that smaps carries so that dividing a page among many mappers loses little."""


@dataclass(slots=True)
class Smaps:
    """The fields of smaps, in bytes; the proportional ones in bytes << PSS_SHIFT."""

    size: int = 0
    rss: int = 0
    pss: int = 0
    pss_dirty: int = 0
    shared_clean: int = 0
    shared_dirty: int = 0
    private_clean: int = 0
    private_dirty: int = 0
    referenced: int = 0
    anonymous: int = 0
    ksm: int = 0
    lazyfree: int = 0
    anon_huge_pages: int = 0
    shmem_pmd_mapped: int = 0
    file_pmd_mapped: int = 0
    shared_hugetlb: int = 0
    private_hugetlb: int = 0
    swap: int = 0
    swap_pss: int = 0
    locked: int = 0

    def kib(self) -> dict[str, int]:
        """Every field as printed: whole KiB, rounded down."""
        shifted = ("pss", "pss_dirty", "swap_pss", "locked")
        return {f.name: getattr(self, f.name) >> (22 if f.name in shifted else 10) for f in fields(self)}

    def add(self, other: Smaps) -> None:
        """Add another VMA's fields, as smaps_rollup does: before rounding."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))


def page_mapcounts(folio: Folio, page: int, nr: int) -> Iterator[tuple[int, int]]:
    """(pages, mapcount) of pages [page, page + nr) as /proc sees them, in runs: kpagecount's answer."""
    if folio.flavour.page_mapcounts and not folio.hugetlb:
        assert folio.page_mapcount is not None
        for _, n, count in folio.page_mapcount.runs(page, page + nr):
            yield n, count + folio.entire_mapcount
    else:
        yield nr, folio_average_page_mapcount(folio)


def page_mapped_exclusively(folio: Folio, mapcount: int) -> bool:
    """Pagemap's bit 56 for a page of this folio that /proc says is mapped `mapcount` times."""
    if folio.flavour.page_mapcounts and not folio.hugetlb:
        return mapcount == 1
    return not folio_maybe_mapped_shared(folio)


def smaps(m: Machine, mm: Mm, vma: Vma) -> Smaps:
    """The smaps entry of one VMA."""
    s = Smaps(size=vma.n * PAGE_SIZE)
    for entry in mm.table.over(vma.start, vma.end):
        start, stop = max(entry.start, vma.start), min(entry.end, vma.end)
        if entry.swapped:
            _swapped(m, s, entry.target_of(start), stop - start)
        elif not entry.zero:
            for piece in m.memory.pieces(entry.target_of(start), stop - start):
                (_hugetlb if piece.run.kind is Kind.HUGETLB else _present)(s, vma, entry, piece)
    if vma.file is not None and vma.file.swapped:
        for gone in vma.file.swapped.over(vma.pgoff, vma.pgoff + vma.n):
            s.swap += (min(gone.start + gone.n, vma.pgoff + vma.n) - max(gone.start, vma.pgoff)) * PAGE_SIZE
    return s


def _present(s: Smaps, vma: Vma, entry: Entry, piece: Piece) -> None:
    run, folio, size = piece.run, piece.run.folio, piece.pages * PAGE_SIZE
    dirty = entry.dirty or run.dirty
    s.rss += size
    if run.anon:
        s.anonymous += size
        s.lazyfree += 0 if run.swapbacked or dirty else size
        s.ksm += size if run.kind is Kind.KSM else 0
    if entry.young or run.referenced:
        s.referenced += size
    if entry.level == PMD_ORDER:
        name = {Kind.SHMEM: "shmem_pmd_mapped", Kind.FILE: "file_pmd_mapped"}.get(run.kind, "anon_huge_pages")
        setattr(s, name, getattr(s, name) + size)
    if folio.refcount == 1:
        _share(s, vma, size, size << PSS_SHIFT, dirty=dirty, private=True)
        return
    by_page = folio.flavour.page_mapcounts
    for nr, mapcount in page_mapcounts(folio, piece.page, piece.nr):
        pss = (PAGE_SIZE << PSS_SHIFT) // max(mapcount, 1)
        private = mapcount < 2 if by_page else not folio_maybe_mapped_shared(folio)
        pages = nr * piece.count
        _share(s, vma, pages * PAGE_SIZE, pages * pss, dirty=dirty, private=private)


def _share(s: Smaps, vma: Vma, size: int, pss: int, *, dirty: bool, private: bool) -> None:
    s.pss += pss
    s.pss_dirty += pss if dirty else 0
    s.locked += pss if vma.locked else 0
    name = f"{'private' if private else 'shared'}_{'dirty' if dirty else 'clean'}"
    setattr(s, name, getattr(s, name) + size)


def _hugetlb(s: Smaps, vma: Vma, entry: Entry, piece: Piece) -> None:
    if folio_maybe_mapped_shared(piece.run.folio):
        s.shared_hugetlb += piece.pages * PAGE_SIZE
    else:
        s.private_hugetlb += piece.pages * PAGE_SIZE


def _swapped(m: Machine, s: Smaps, slot: int, n: int) -> None:
    s.swap += n * PAGE_SIZE
    for slots in m.swap.over(slot, n):
        s.swap_pss += slots.n * ((PAGE_SIZE << PSS_SHIFT) // max(slots.refs, 1))


@dataclass(slots=True)
class PagemapRun:
    """`n` pages that /proc/PID/pagemap describes alike; `pfn` is the first one's frame, when present."""

    n: int
    present: bool = False
    exclusive: bool = False
    file: bool = False
    swapped: bool = False
    pfn: int | None = None


def pagemap(m: Machine, mm: Mm, start: int, stop: int, *, deviating: bool = False) -> Iterator[PagemapRun]:
    """Pages [start, stop) in order: bits 63 present, 62 swap, 61 file or shared, 56 exclusively mapped.

    `deviating` answers as real kernels do where they are wrong: the first page's bit 56 for all pages that
    a PMD maps, and bit 61 for the huge zero page (docs/kernel-deviations.md).
    """
    at = start
    for entry in mm.table.over(start, stop):
        first, last = max(entry.start, start), min(entry.end, stop)
        if first > at:
            yield PagemapRun(first - at)
        at = last
        if entry.swapped or entry.zero:
            file = deviating and entry.zero and entry.level == PMD_ORDER
            yield PagemapRun(last - first, present=entry.zero, swapped=entry.swapped, file=file)
            continue
        for piece in m.memory.pieces(entry.target_of(first), last - first):
            yield from _pagemap_of(piece, deviating and entry.level == PMD_ORDER)
    if at < stop:
        yield PagemapRun(stop - at)


def _pagemap_of(piece: Piece, head_speaks: bool) -> Iterator[PagemapRun]:
    folio, pfn = piece.run.folio, piece.pfn
    counts = list(page_mapcounts(folio, piece.page, piece.nr))
    if head_speaks:
        counts = [(piece.nr, counts[0][1])]
    for _ in range(piece.count if len(counts) > 1 else 1):
        for nr, mapcount in counts:
            n = nr if len(counts) > 1 else piece.pages
            exclusive = page_mapped_exclusively(folio, mapcount)
            yield PagemapRun(n, True, exclusive, not piece.run.anon, pfn=pfn)
            pfn += n


KPF = {
    "REFERENCED": 2, "UPTODATE": 3, "DIRTY": 4, "LRU": 5, "ACTIVE": 6, "MMAP": 11, "ANON": 12,
    "SWAPCACHE": 13, "SWAPBACKED": 14, "COMPOUND_HEAD": 15, "COMPOUND_TAIL": 16, "HUGE": 17,
    "UNEVICTABLE": 18, "KSM": 21, "THP": 22, "MLOCKED": 33, "OWNER_2": 34, "OWNER_PRIVATE": 37,
}  # fmt: skip
"""Bits of /proc/kpageflags. Bits 33 and up are for kernel developers: 34 is the anon-exclusive mark,
37 comes with the swap cache."""


def kpageflags(run: FolioRun, page: int = 0) -> int:
    """/proc/kpageflags of a page: its folio's flags, but for head and tail. Exclusive is the head's mark."""
    folio, large = run.folio, run.folio.large
    huge = run.kind is Kind.HUGETLB
    flags = {
        "UPTODATE": True,
        "REFERENCED": run.referenced,
        "DIRTY": run.dirty,
        "LRU": not huge,
        "ACTIVE": run.active,
        "MMAP": folio_mapcount(folio) > 0,
        "ANON": run.anon,
        "SWAPCACHE": run.in_swap_cache,
        "OWNER_PRIVATE": run.in_swap_cache,
        "SWAPBACKED": run.swapbacked and not huge,
        "COMPOUND_HEAD": large and page == 0,
        "COMPOUND_TAIL": large and page > 0,
        "HUGE": huge,
        "THP": large and not huge,
        "KSM": run.kind is Kind.KSM,
        "UNEVICTABLE": run.mlocked,
        "MLOCKED": run.mlocked,
        "OWNER_2": bool(run.anon_exclusive[0]),
    }
    return sum(1 << KPF[name] for name, on in flags.items() if on)


def mapmax(m: Machine, mm: Mm, start: int, stop: int, *, deviating: bool = False) -> int:
    """numa_maps' mapmax of [start, stop): the largest page mapcount, or folio average.

    `deviating` answers as real kernels do: of pages that a PMD maps only the first is asked.
    """
    most = 0
    for entry in mm.table.over(start, stop):
        if not (entry.swapped or entry.zero):
            first, last = max(entry.start, start), min(entry.end, stop)
            for piece in m.memory.pieces(entry.target_of(first), last - first):
                nr = 1 if deviating and entry.level == PMD_ORDER else piece.nr
                most = max([most, *(count for _, count in page_mapcounts(piece.run.folio, piece.page, nr))])
    return most
