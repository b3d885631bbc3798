"""Virtual memory areas, and what lies behind them: a file, or the anonymous memory of a family of mms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mapcount.sim.memory import Kind
from mapcount.sim.runs import Runs

if TYPE_CHECKING:
    from mapcount.sim.mm import Mm


class Mapping:
    """Where the mappings of a folio are looked for: every VMA that may map it, in rmap order.

    The kernel keeps such VMAs in an interval tree sorted by the page index they begin with; those that
    begin with the same index stay in the order they came, so a parent comes before its children.
    """

    def __init__(self) -> None:
        self.vmas: list[tuple[Mm, Vma]] = []

    def link(self, mm: Mm, vma: Vma) -> None:
        """A VMA joins: behind those that begin with the same page index."""
        i = len(self.vmas)
        while i and self.vmas[i - 1][1].pgoff > vma.pgoff:
            i -= 1
        self.vmas.insert(i, (mm, vma))

    def unlink(self, vma: Vma) -> None:
        """A VMA leaves."""
        self.vmas = [pair for pair in self.vmas if pair[1] is not vma]

    def over(self, index: int, n: int) -> list[tuple[Mm, Vma]]:
        """The VMAs that cover any of the pages [index, index + n), in rmap order."""
        return [(mm, v) for mm, v in self.vmas if v.pgoff < index + n and index < v.pgoff + v.n]


class CacheRun:
    """Pages [start, start + n) of a file are at page frames from `pfn` on."""

    __slots__ = ("n", "pfn", "start")

    def __init__(self, start: int, n: int, pfn: int) -> None:
        self.start, self.n, self.pfn = start, n, pfn

    def cut(self, at: int) -> CacheRun:
        """Keep what is before `at`, return the rest."""
        rest = CacheRun(at, self.start + self.n - at, self.pfn + at - self.start)
        self.n = at - self.start
        return rest

    def joins(self, after: CacheRun) -> bool:
        """Contiguous in memory too?"""
        return self.pfn + self.n == after.pfn


class File(Mapping):
    """A file, tmpfs file, memfd or hugetlbfs file: its page cache and who maps it."""

    def __init__(self, name: str, kind: Kind, orders: tuple[int, ...]) -> None:
        super().__init__()
        self.name = name
        self.kind = kind
        self.orders = orders
        """Orders of the folios its page cache is made of, largest first."""
        self.holders: set[str] | None = None
        """Who keeps the file: None for one with a name in a file system, which stays; the processes that
        have a memfd open; nobody but VMAs for anonymous shared memory."""
        self.size = 0
        """In pages: as far as anybody has mapped it."""
        self.cache: Runs[CacheRun] = Runs()
        self.swapped: Runs[CacheRun] = Runs()
        """Pages of shared memory that are in swap; `pfn` is a swap slot here."""


class Vma:
    """Pages [start, start + n) of an address space, with one set of attributes."""

    __slots__ = (
        "advice",
        "anon",
        "anon_vma",
        "file",
        "inherited",
        "kind",
        "locked",
        "n",
        "orders",
        "pgoff",
        "prot",
        "shared",
        "start",
    )

    def __init__(
        self,
        start: int,
        n: int,
        pgoff: int,
        kind: Kind,
        *,
        file: File | None = None,
        shared: bool = False,
        prot: str = "rw",
        orders: tuple[int, ...] = (),
    ) -> None:
        self.start, self.n, self.pgoff = start, n, pgoff
        self.kind = kind
        self.file = file
        self.shared = shared
        self.prot = prot
        self.orders = orders
        """Orders of the large folios that faults may allocate here, largest first."""
        self.advice = "hugepage" if orders and kind is not Kind.HUGETLB else ""
        """What madvise said of huge pages: `hugepage`, `nohugepage` or nothing yet."""
        self.locked = False
        self.anon: Mapping | None = None
        """Set once anonymous memory was faulted in; a VMA without is not copied by fork."""
        self.anon_vma: object | None = None
        """Who may be merged: VMAs of one mm whose anonymous memory began together, or has not begun yet."""
        self.inherited = False
        """Does it have a parent's anonymous memory too? Then it is merged only with its like."""

    @property
    def end(self) -> int:
        """The first page behind it."""
        return self.start + self.n

    @property
    def writable(self) -> bool:
        """May be written to?"""
        return "w" in self.prot

    def index(self, vpn: int) -> int:
        """The page index, in the VMA's mapping, of a virtual page number."""
        return self.pgoff + vpn - self.start

    def twin(self, start: int, n: int, pgoff: int) -> Vma:
        """A VMA with the same attributes elsewhere."""
        twin = Vma(start, n, pgoff, self.kind, file=self.file, shared=self.shared, prot=self.prot)
        twin.orders, twin.advice, twin.locked, twin.anon = self.orders, self.advice, self.locked, self.anon
        twin.anon_vma, twin.inherited = self.anon_vma, self.inherited
        return twin

    def cut(self, at: int) -> Vma:
        """Keep what is before `at`, return the rest (not linked to its mapping yet)."""
        rest = self.twin(at, self.end - at, self.index(at))
        self.n = at - self.start
        return rest

    def joins(self, after: Vma) -> bool:
        """Could one VMA be both?"""
        if self.anon_vma is None or after.anon_vma is None:
            related = not (self.inherited or after.inherited)
        else:
            related = self.anon_vma is after.anon_vma
        return related and self.prot == after.prot and self.continues_in(after)

    def continues_in(self, after: Vma) -> bool:
        """Are they of one kind, but for protection and anonymous memory?"""
        return (
            self.end == after.start
            and self.index(after.start) == after.pgoff
            and (self.file, self.shared, self.locked) == (after.file, after.shared, after.locked)
            and (self.orders, self.advice) == (after.orders, after.advice)
        )

    def take_anon_of(self, other: Vma) -> None:
        """The other's anonymous memory is this VMA's too."""
        self.anon, self.anon_vma, self.inherited = other.anon, other.anon_vma, other.inherited

    def attributes(self) -> str:
        """For people: `anon rw`, `shmem rw shared`, …"""
        return " ".join(filter(None, (self.kind, self.prot, "shared" if self.shared else "")))
