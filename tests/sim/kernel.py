"""A simulated kernel for short tests: system calls by one line each, every one checked for soundness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun
from mapcount.sim.page_table import Entry
from mapcount.sim.proc import Smaps, page_mapcounts, pagemap, smaps
from mapcount.sim.system import System
from mapcount.tracking.flavour import FLAVOURS, TOTAL_MAPPED_PAGES, V6_14, Flavour
from mapcount.tracking.folio import Folio
from mapcount.tracking.questions import folio_maybe_mapped_shared

from .naive import faults

BOTH_WIDTHS = [flavour.on(bits) for flavour in FLAVOURS.values() for bits in (64, 32)]


def on(keeps: Callable[[Flavour], bool]) -> pytest.MarkDecorator:
    """Run a test on the flavours, of both widths, for which `keeps` holds."""
    return pytest.mark.parametrize("flavour", list(filter(keeps, BOTH_WIDTHS)), ids=str)


EVERYWHERE = on(lambda flavour: True)
WITH_SLOTS = on(lambda flavour: flavour.owner_slots)
WITH_PAGES = on(lambda flavour: flavour.page_mapcounts)
WITHOUT_PAGES = on(lambda flavour: not flavour.page_mapcounts)
BEFORE_6_15 = on(lambda flavour: flavour.name == V6_14.name)
ANY_LEVEL = on(lambda flavour: flavour.name == TOTAL_MAPPED_PAGES.name)
PMD_SIZE_ONLY = on(lambda flavour: not flavour.any_level)


class Kernel:
    """A kernel with a process P. Ranges are written as region, first page, page behind."""

    def __init__(self, flavour: Flavour) -> None:
        self.system = System(flavour)
        self.system.spawn("P")

    @property
    def machine(self) -> Machine:
        """The machine behind it."""
        return self.system.machine

    def do(self, verb: str, process: str, *where: Any, **options: Any) -> None:
        """Any verb that takes a range."""
        getattr(self.system, verb)(process, self.system.stretches(process, *where), **options)
        self.check()

    def check(self) -> None:
        """Counters, statistics and swap counts agree with the page tables."""
        assert [] == list(faults(self.machine))

    def mmap(self, process: str, region: str, size: int | None, **options: Any) -> None:
        """Map memory."""
        self.system.mmap(process, region, size=size, **options)
        self.check()

    def write(self, process: str, *where: Any) -> None:
        """Write a byte of each page."""
        self.do("touch", process, *where, write=True)

    def read(self, process: str, *where: Any) -> None:
        """Read a byte of each page."""
        self.do("touch", process, *where, write=False)

    def fork(self, *names: str) -> None:
        """P forks each of these."""
        for name in names:
            self.system.fork("P", name)
        self.check()

    def exit(self, *names: str) -> None:
        """Each of these exits."""
        for name in names:
            self.system.exit(name)
            self.check()

    def entry(self, process: str, region: str, page: int = 0) -> Entry | None:
        """The page-table entry of a page."""
        p = self.system.process(process)
        return p.mm.table.at(p.regions[region].start + page)

    def pfn(self, process: str, region: str, page: int = 0) -> int:
        """The page frame a page is in."""
        entry = self.entry(process, region, page)
        assert entry is not None
        assert not entry.swapped
        return entry.target_of(self.system.process(process).regions[region].start + page)

    def run(self, process: str, region: str, page: int = 0) -> FolioRun:
        """The run of look-alike folios that a page is in."""
        return self.machine.memory.folio_of(self.pfn(process, region, page))

    def folio(self, process: str, region: str, page: int = 0) -> Folio:
        """The counters of the folio that a page is in."""
        return self.run(process, region, page).folio

    def orders(self, process: str, region: str) -> list[int]:
        """The order of the folio each page of a region is in; -1 where none is present."""
        n = self.system.process(process).regions[region].n
        entries = [self.entry(process, region, page) for page in range(n)]
        present = [e is not None and not e.swapped and not e.zero for e in entries]
        return [self.folio(process, region, i).order if here else -1 for i, here in enumerate(present)]

    def swapped(self, process: str, region: str) -> int:
        """How many pages of a region are swap entries."""
        where = self.system.process(process).regions[region]
        runs = pagemap(self.machine, self.system.process(process).mm, where.start, where.end)
        return sum(run.n for run in runs if run.swapped)

    def maybe_shared(self, process: str, region: str, page: int = 0) -> bool:
        """May the folio of this page be mapped by others?"""
        return folio_maybe_mapped_shared(self.folio(process, region, page))

    def exclusive_marks(self, process: str, region: str) -> int:
        """How many pages of the folio of a region's first page are marked anonymous-exclusive."""
        return self.run(process, region).anon_exclusive.nonzero()

    def mapcounts(self, process: str, region: str) -> list[int]:
        """What /proc/kpagecount says of each page of the folio of a region's first page."""
        folio = self.folio(process, region)
        return [count for n, count in page_mapcounts(folio, 0, folio.nr_pages) for _ in range(n)]

    def smaps(self, process: str, region: str) -> Smaps:
        """Smaps of all VMAs of a region together."""
        p = self.system.process(process)
        sum_ = Smaps()
        for vma in p.mm.vmas.over(p.regions[region].start, p.regions[region].end):
            sum_.add(smaps(self.machine, p.mm, vma))
        return sum_

    def cost(self) -> tuple[int, int, int]:
        """Counter updates since the last call: of pages, under the folio's lock, of single counters."""
        names = ("page_updates", "locked_updates", "atomic_updates")
        found = tuple(self.machine.cost[name] for name in names)
        self.machine.cost.clear()
        return found  # type: ignore[return-value]
