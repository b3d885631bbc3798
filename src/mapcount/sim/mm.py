"""Address spaces and the processes that live in them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from mapcount.sim.errors import ActionError
from mapcount.sim.page_table import PTRS_PER_TABLE, PageTable
from mapcount.sim.runs import Runs
from mapcount.sim.vma import Mapping, Vma


class Mm:
    """One address space: its VMAs, its page table, its MM id."""

    __slots__ = ("has_pinned", "mm_id", "owner", "table", "vmas")

    def __init__(self, mm_id: int, owner: str) -> None:
        self.mm_id = mm_id
        self.owner = owner
        """The process that lives here, for people."""
        self.vmas: Runs[Vma] = Runs()
        self.table = PageTable()
        self.has_pinned = False
        """Has anything here ever been pinned? Fork looks for pins only then."""

    def link(self, vma: Vma) -> None:
        """A VMA becomes part of this mm, and known to what lies behind it."""
        self.vmas.insert(vma)
        for mapping in (vma.file, vma.anon):
            if mapping is not None:
                mapping.link(self, vma)

    def unlink(self, vma: Vma) -> None:
        """A VMA is gone."""
        self.vmas.remove(vma.start, vma.end)
        self._forget(vma)

    def free_tables(self, start: int, stop: int) -> None:
        """[start, stop) was unmapped: page tables of which no VMA is left are gone."""
        first, last = start // PTRS_PER_TABLE, -(-stop // PTRS_PER_TABLE)
        for low, high in list(self.vmas.gaps(first * PTRS_PER_TABLE, last * PTRS_PER_TABLE)):
            bare = -(-low // PTRS_PER_TABLE) * PTRS_PER_TABLE, high // PTRS_PER_TABLE * PTRS_PER_TABLE
            if bare[0] < bare[1]:
                self.table.free_tables(*bare)

    def isolate_vmas(self, start: int, stop: int) -> list[Vma]:
        """The VMAs inside [start, stop), split so that none reaches outside."""
        for at in (start, stop):
            vma = self.vmas.at(at)
            if vma is not None and vma.start < at:
                self._forget(vma)
                self.vmas.cut(at)
                for part in (vma, self.vmas.at(at)):
                    self._remember(part)
        return self.vmas.over(start, stop)

    def merge_vmas(self, start: int, stop: int) -> None:
        """Join neighbouring VMAs in and around [start, stop) that no longer differ."""
        around = self.vmas.over(start - 1, stop + 1)
        for vma in around:
            self._forget(vma)
        for vma, after in pairwise(around):
            if vma.joins(after):
                (vma if vma.anon is None else after).take_anon_of(after if vma.anon is None else vma)
        self.vmas.heal(start, stop)
        for vma in self.vmas.over(start - 1, stop + 1):
            self._remember(vma)

    def anon_of(self, vma: Vma) -> Mapping:
        """Where anonymous memory of a VMA belongs: it begins with the first, or was begun by a neighbour."""
        if vma.anon is None:
            before, after = self.vmas.at(vma.start - 1), self.vmas.at(vma.end)
            near = [after] if after and vma.continues_in(after) else []
            near += [before] if before and before.continues_in(vma) else []
            vma.anon, vma.anon_vma = Mapping(), object()
            for other in reversed(near):
                if other.anon is not None and not other.inherited:
                    vma.take_anon_of(other)
            vma.anon.link(self, vma)
        return vma.anon

    def _remember(self, vma: Vma | None) -> None:
        for mapping in (vma.file, vma.anon) if vma else ():
            if mapping is not None:
                mapping.link(self, vma)  # type: ignore[arg-type]

    def _forget(self, vma: Vma) -> None:
        for mapping in (vma.file, vma.anon):
            if mapping is not None:
                mapping.unlink(vma)


@dataclass(slots=True)
class Region:
    """A name for pages [start, start + n) of an address space, whatever is mapped there."""

    name: str
    start: int
    n: int

    @property
    def end(self) -> int:
        """The first page behind it."""
        return self.start + self.n


class PinRun:
    """Pages [start, start + n) of a process were pinned `times` times, at page frames from `pfn` on."""

    __slots__ = ("n", "pfn", "start", "times")

    def __init__(self, start: int, n: int, pfn: int, times: int = 1) -> None:
        self.start, self.n, self.pfn, self.times = start, n, pfn, times

    def cut(self, at: int) -> PinRun:
        """Keep what is before `at`, return the rest."""
        rest = PinRun(at, self.start + self.n - at, self.pfn + at - self.start, self.times)
        self.n = at - self.start
        return rest

    def joins(self, after: PinRun) -> bool:
        """Contiguous in memory too?"""
        return self.times == after.times and self.pfn + self.n == after.pfn


class Process:
    """A process: a name, an address space, names for parts of it, and the pins it holds."""

    __slots__ = ("_next", "mm", "name", "pins", "regions")

    FIRST_PAGE = 0x10_0000_0000

    def __init__(self, name: str, mm: Mm) -> None:
        self.name = name
        self.mm = mm
        self.regions: dict[str, Region] = {}
        self.pins: Runs[PinRun] = Runs()
        self._next = self.FIRST_PAGE

    def region(self, name: str) -> Region:
        """The region of that name. Raises ActionError, with the names there are, when there is none."""
        try:
            return self.regions[name]
        except KeyError:
            raise ActionError(f'{self.name} has no region "{name}"', name, self.regions) from None

    def name_region(self, name: str, n: int, align: int) -> Region:
        """A new region of `n` pages whose address is a multiple of `align` pages."""
        start = -(-self._next // align) * align
        self._next = start + n + align
        region = self.regions[name] = Region(name, start, n)
        return region

    def forked(self, name: str, mm: Mm) -> Process:
        """The child: the same names for the same addresses, none of the pins."""
        child = Process(name, mm)
        child.regions = {r.name: Region(r.name, r.start, r.n) for r in self.regions.values()}
        child._next = self._next
        return child
