"""Physical memory: runs of look-alike folios by page-frame number.

Folios that were allocated together and have had the same done to them ever since share one state: a
`FolioRun` of a hundred thousand folios costs what one folio costs. Whoever is about to treat some of
them differently first cuts the run (`Memory.pieces(..., cut=True)`), so look-alikes stay alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mapcount.sim.runs import Runs
from mapcount.tracking.flavour import Flavour
from mapcount.tracking.folio import Folio
from mapcount.tracking.per_page import PerPage

if TYPE_CHECKING:
    from mapcount.sim.vma import Mapping


class Kind(StrEnum):
    """What a folio holds."""

    ANON = "anon"
    SHMEM = "shmem"
    FILE = "file"
    HUGETLB = "hugetlb"
    KSM = "ksm"


class FolioRun:
    """Look-alike folios at page frames [start, start + n): one `Folio` state stands for each of them."""

    __slots__ = (
        "active",
        "anon_exclusive",
        "dirty",
        "folio",
        "in_swap_cache",
        "index",
        "kind",
        "mapping",
        "memcg",
        "mlock_count",
        "mlocked",
        "n",
        "partially_mapped",
        "referenced",
        "start",
        "swap",
        "swapbacked",
        "written",
    )

    def __init__(self, start: int, n: int, folio: Folio, kind: Kind, memcg: str) -> None:
        self.start = start
        self.n = n
        self.folio = folio
        self.kind = kind
        self.memcg = memcg
        """Which control group pays."""
        self.mapping: Mapping | None = None
        """The anonymous VMAs or the file it belongs to: where its mappings are looked for."""
        self.index = 0
        """Page index of the first page in its mapping."""
        self.anon_exclusive = PerPage(folio.nr_pages)
        """1 for each page marked "anonymous and exclusive" (the first page's, when mapped by a PMD)."""
        self.written = PerPage(folio.nr_pages)
        """1 for each page of anonymous memory that was written to; the others are zeroes, as allocated."""
        self.swap = 0
        """First swap slot, while in the swap cache."""
        self.in_swap_cache = False
        self.dirty = False
        self.referenced = False
        self.active = False
        self.swapbacked = kind is not Kind.FILE
        self.mlocked = False
        self.mlock_count = 0
        self.partially_mapped = False
        """On the deferred-split queue."""

    @property
    def count(self) -> int:
        """How many folios this run stands for."""
        return self.n >> self.folio.order

    @property
    def anon(self) -> bool:
        """Anonymous (KSM pages are)?"""
        return self.kind in (Kind.ANON, Kind.KSM) or (self.kind is Kind.HUGETLB and self.mapping is None)

    def like(self, start: int, n: int, folio: Folio) -> FolioRun:
        """A new run with this one's everything but place, size and counters."""
        twin = FolioRun(start, n, folio, self.kind, self.memcg)
        offset = start - self.start
        for name in ("mapping", "in_swap_cache", "dirty", "referenced", "active"):
            setattr(twin, name, getattr(self, name))
        for name in ("swapbacked", "mlocked", "mlock_count", "partially_mapped"):
            setattr(twin, name, getattr(self, name))
        twin.index, twin.swap = self.index + offset, self.swap + offset
        return twin

    def cut(self, at: int) -> FolioRun:
        """Keep the folios before page frame `at` (a folio's first); return a run of the others."""
        assert (at - self.start) % self.folio.nr_pages == 0, "a run of folios is cut between folios"
        rest = self.like(at, self.start + self.n - at, self.folio.copy())
        rest.anon_exclusive, rest.written = self.anon_exclusive.copy(), self.written.copy()
        self.n = at - self.start
        return rest

    def joins(self, after: FolioRun) -> bool:
        """Never: look-alikes are not searched for."""
        return False


@dataclass(slots=True)
class Piece:
    """Pages [page, page + nr) of each of the `count` folios of `run` from folio number `first` on."""

    run: FolioRun
    first: int
    count: int
    page: int
    nr: int

    @property
    def pfn(self) -> int:
        """Page frame of the first page."""
        return self.run.start + (self.first << self.run.folio.order) + self.page

    @property
    def pages(self) -> int:
        """Pages in all."""
        return self.count * self.nr

    def stretches(self, pattern: PerPage) -> Iterator[tuple[int, int, int]]:
        """(offset from the piece's first page, pages, value) of `pattern`, in every folio, in order.

        One stretch for all look-alikes together where the pattern does not vary.
        """
        runs = list(pattern.runs(self.page, self.page + self.nr))
        if len(runs) == 1:
            yield 0, self.pages, runs[0][2]
            return
        for i in range(self.count):
            for first, n, value in runs:
                yield i * self.nr + first - self.page, n, value


class Memory:
    """All folios of the machine. Page frames are never reused, so a frame names one folio for good."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.folios: Runs[FolioRun] = Runs()
        self.touched: set[FolioRun] = set()
        """Runs that may have changed since somebody emptied this set."""
        self._next = 1 << 20

    def alloc(self, kind: Kind, order: int, count: int, memcg: str) -> FolioRun:
        """`count` new folios of 2^order pages, unmapped and without references."""
        size = 1 << order
        start = -(-self._next // size) * size
        self._next = start + count * size
        run = FolioRun(
            start, count * size, Folio(self.flavour, order, hugetlb=kind is Kind.HUGETLB), kind, memcg
        )
        self.folios.insert(run)
        self.touched.add(run)
        return run

    def free(self, run: FolioRun) -> None:
        """Give folios back. Raises AssertionError when a counter is not back to zero."""
        folio, slots = run.folio, run.folio.slots
        back = not (folio.large_mapcount or folio.entire_mapcount or folio.nr_pages_mapped)
        back &= not (folio.total_mapped_pages or folio.pincount or folio.refcount)
        back &= folio.page_mapcount is None or folio.page_mapcount.max() == 0
        back &= slots is None or not (slots.mm_ids or any(slots.mm_id_mapcount))
        assert back, f"a folio is freed with counters {folio.counters()}"
        self.folios.remove(run.start, run.start + run.n)
        self.touched.discard(run)

    def free_as_small(self, run: FolioRun) -> None:
        """Large folios that nothing maps dissolve: their page frames are about to be small folios."""
        self.folios.remove(run.start, run.start + run.n)
        self.touched.discard(run)

    def folio_of(self, pfn: int) -> FolioRun:
        """The run that holds a page frame. Raises LookupError for a frame that is free."""
        run = self.folios.at(pfn)
        if run is None:
            raise LookupError(f"page frame {pfn:#x} holds no folio")
        return run

    def pieces(self, pfn: int, n: int, *, cut: bool = False) -> Iterator[Piece]:
        """Page frames [pfn, pfn + n) as pieces of folios: partial folios apart from whole ones.

        With `cut`, each piece's run holds exactly the piece's folios, free to be changed.
        """
        stop = pfn + n
        while pfn < stop:
            run = self.folio_of(pfn)
            size = run.folio.nr_pages
            first, page = divmod(pfn - run.start, size)
            if page or stop - pfn < size:
                count, nr = 1, min(size - page, stop - pfn)
            else:
                count, nr = min(stop - pfn, run.start + run.n - pfn) // size, size
            if cut:
                if count != run.count:
                    run, first = self._isolate(run, first, count), 0
                self.touched.add(run)
            yield Piece(run, first, count, page, nr)
            pfn += count * nr

    def store(self, pfn: int, n: int) -> None:
        """Something is written to each of these pages."""
        if any(not piece.run.written.min(piece.page, piece.page + piece.nr) for piece in self.pieces(pfn, n)):
            for piece in self.pieces(pfn, n, cut=True):
                piece.run.written.set(piece.page, piece.nr, 1)

    def content(self, pfn: int, n: int) -> list[tuple[int, int]]:
        """(offset, pages) of each stretch of these pages that is not zeroes."""
        return [
            (piece.pfn - pfn + offset, pages)
            for piece in self.pieces(pfn, n)
            for offset, pages, written in piece.stretches(piece.run.written)
            if written
        ]

    def _isolate(self, run: FolioRun, first: int, count: int) -> FolioRun:
        """Make a run of its own of `count` look-alikes from number `first` on; the others stay alike."""
        size = run.folio.nr_pages
        start, stop = run.start + first * size, run.start + (first + count) * size
        self.cut(start)
        self.cut(stop)
        return self.folio_of(start)

    def cut(self, at: int) -> None:
        """Look-alikes part at page frame `at`: what was known of all of them now needs to be told of each."""
        run = self.folios.at(at)
        if run is not None and run.start < at:
            self.folios.cut(at)
            self.touched |= {run, self.folio_of(at)}
