"""The simulated kernel as its processes see it: system calls by name of process and region.

Ranges are virtual pages. Everything a process asks for that no kernel would do is an ActionError that
says what is wrong, and nothing is changed by it.
"""

from __future__ import annotations

from collections.abc import Iterable

from mapcount.sim import address_space, gup, ksm
from mapcount.sim.advice import madvise
from mapcount.sim.errors import ActionError
from mapcount.sim.fault import touch
from mapcount.sim.fork import fork
from mapcount.sim.machine import Machine
from mapcount.sim.memory import Kind
from mapcount.sim.mm import Mm, Process, Region
from mapcount.sim.reclaim import swap_out, truncate
from mapcount.sim.rmap_walk import folios_in
from mapcount.sim.split import migrate_folios, split_folios
from mapcount.sim.vma import File, Vma
from mapcount.tracking.flavour import PMD_ORDER, Flavour
from mapcount.tracking.mm_id import NoMmIdLeft

MAX_STRETCHES = 1 << 16
"""Single pages that one strided range may name."""


class System:
    """A machine, and the processes that act on it."""

    def __init__(self, flavour: Flavour) -> None:
        self.machine = Machine(flavour)
        self._unnamed = 0

    # -- who and where ---------------------------------------------------------------------------------

    def spawn(self, name: str) -> None:
        """A first process, with an empty address space."""
        self.machine.processes[name] = Process(name, Mm(self._mm_id(), name))

    def process(self, name: str) -> Process:
        """A living process. Raises ActionError for any other name."""
        try:
            return self.machine.processes[name]
        except KeyError:
            raise ActionError(f"there is no process {name}", name, self.machine.processes) from None

    def owner_of(self, region: str) -> str:
        """The first process that has a region of this name."""
        for name, process in self.machine.processes.items():
            if region in process.regions:
                return name
        known = {r for p in self.machine.processes.values() for r in p.regions}
        raise ActionError(f'no process has a region "{region}"', region, known)

    def stretches(
        self, process: str, region: str, start: int = 0, stop: int | None = None, step: int | None = None
    ) -> list[tuple[int, int]]:
        """(first page, page behind) of each stretch that a range of a region means."""
        where = self.process(process).region(region)
        last = where.n if stop is None else stop
        if not 0 <= start < last <= where.n:
            raise ActionError(f'the range is outside "{region}", which has {where.n} pages')
        if step is None:
            return [(where.start + start, where.start + last)]
        pages = range(where.start + start, where.start + last, step)
        if len(pages) > MAX_STRETCHES:
            raise ActionError(f"a range names at most {MAX_STRETCHES} single pages, this one {len(pages)}")
        return [(page, page + 1) for page in pages]

    def _mm_id(self) -> int:
        try:
            return self.machine.mm_ids.alloc()
        except NoMmIdLeft as error:
            raise ActionError(str(error)) from None

    # -- system calls -------------------------------------------------------------------------------------

    def mmap(
        self,
        process: str,
        region: str,
        start: int = 0,
        stop: int | None = None,
        *,
        size: int | None = None,
        orders: tuple[int, ...] = (),
        shared: bool = False,
        file: str | None = None,
        kind: Kind = Kind.ANON,
        offset: int | None = None,
        prot: str = "rw",
        reserved: bool = False,
        memfd: bool = False,
    ) -> None:
        """Map a region, or a part of one that exists. `orders`: of the large folios faults may use."""
        p = self.process(process)
        orders = tuple(sorted(orders, reverse=True))
        if region in p.regions:
            where = self._window(p.regions[region], start, stop, size)
            address_space.check_hugetlb(p.mm, where.start, where.end)
            whole = (where.start | where.n) % (1 << orders[0]) == 0 if kind is Kind.HUGETLB else True
        else:
            if size is None:
                raise ActionError(f"a new region needs a size: mmap {region} 4M", region, p.regions)
            if start or stop is not None:
                raise ActionError(
                    f'{process} has no region "{region}" yet, so no part of it', region, p.regions
                )
            whole = kind is not Kind.HUGETLB or size % (1 << orders[0]) == 0
        if not whole:
            raise ActionError(f"hugetlb memory comes in whole folios of {4 << orders[0]}K")
        behind = None
        if (shared or file) and not reserved:
            behind = self._file(process, file, kind, orders, memfd=memfd)
        if region not in p.regions:
            where = p.name_region(region, size or 0, 1 << max([PMD_ORDER, *orders]))
        if reserved:
            return
        pgoff = offset if offset is not None else (where.start - p.regions[region].start)
        vma = Vma(where.start, where.n, where.start, kind, shared=shared, prot=prot, orders=orders)
        if behind is not None:
            vma.file, vma.kind, vma.pgoff = behind, behind.kind, pgoff
            vma.advice = "hugepage" if behind.orders and behind.kind is not Kind.HUGETLB else ""
        address_space.mmap(self.machine, p.mm, vma)
        self._drop_unused_files()

    @staticmethod
    def _window(region: Region, start: int, stop: int | None, size: int | None) -> Region:
        last = stop if stop is not None else region.n if size is None else start + size
        if not 0 <= start < last <= region.n:
            raise ActionError(f'the range is outside "{region.name}", which has {region.n} pages')
        return Region(region.name, region.start + start, last - start)

    def _file(
        self, process: str, name: str | None, kind: Kind, orders: tuple[int, ...], *, memfd: bool
    ) -> File:
        """The file of that name, made if there is none; without a name, memory only VMAs keep."""
        kind = Kind.SHMEM if kind is Kind.ANON else kind
        files = self.machine.files
        unnamed = name is None
        if name is None:
            self._unnamed += 1
            name = f"anonymous {self._unnamed} of {process}"
        file = files.get(name)
        if file is None:
            file = files[name] = File(name, kind, orders)
            file.holders = set() if unnamed or memfd else None
        if file.kind is not kind or (not unnamed and (file.holders is not None) != memfd):
            raise ActionError(f'"{name}" is another kind of file already')
        if memfd:
            assert file.holders is not None
            file.holders.add(process)
        return file

    def _close(self, process: str) -> None:
        """The memfds of a process are closed, by exec and by exit."""
        for file in self.machine.files.values():
            if file.holders:
                file.holders.discard(process)
        self._drop_unused_files()

    def _drop_unused_files(self) -> None:
        """Files that neither a name, nor a process, nor a VMA keeps are gone, with their memory and swap."""
        for file in list(self.machine.files.values()):
            if file.holders is not None and not file.holders and not file.vmas:
                truncate(self.machine, file)
                del self.machine.files[file.name]

    def munmap(self, process: str, where: Iterable[tuple[int, int]]) -> None:
        """Unmap pages."""
        mm = self.process(process).mm
        for start, stop in self._mapped(mm, where):
            address_space.munmap(self.machine, mm, start, stop)
        self._drop_unused_files()

    def touch(self, process: str, where: Iterable[tuple[int, int]], *, write: bool) -> None:
        """Read or write one byte of each page."""
        mm = self.process(process).mm
        for start, stop in self._mapped(mm, where):
            touch(self.machine, mm, start, stop, write=write)

    def fork(self, process: str, child: str) -> None:
        """A child with a copy of the address space."""
        if child in self.machine.processes:
            raise ActionError(f"{child} is alive already")
        try:
            fork(self.machine, self.process(process), child)
        except NoMmIdLeft as error:
            raise ActionError(str(error)) from None
        for file in self.machine.files.values():
            if file.holders and process in file.holders:
                file.holders.add(child)

    def exec(self, process: str) -> None:
        """A new, empty address space."""
        try:
            address_space.exec_(self.machine, self.process(process))
        except NoMmIdLeft as error:
            raise ActionError(str(error)) from None
        self._close(process)

    def exit(self, process: str) -> None:
        """The process ends: its memory is unmapped, then its pins are released."""
        p = self.process(process)
        address_space.teardown(self.machine, p.mm)
        gup.release_pins(self.machine, p)
        del self.machine.processes[process]
        self._close(process)

    def mprotect(self, process: str, where: Iterable[tuple[int, int]], prot: str) -> None:
        """Change the protection of pages."""
        mm = self.process(process).mm
        for start, stop in self._mapped(mm, where):
            address_space.mprotect(self.machine, mm, start, stop, prot)

    def mremap(
        self, process: str, where: Iterable[tuple[int, int]], to: str, at: int, stop: int | None
    ) -> None:
        """Move pages of one VMA to region `to` (made for them if there is none), from page `at` of it on."""
        p = self.process(process)
        ((start, end),) = self._mapped(p.mm, where)
        if len(p.mm.vmas.over(start, end)) > 1:
            raise ActionError("the range is more than one VMA; move them one by one")
        address_space.check_hugetlb(p.mm, start, end)
        (vma,) = p.mm.vmas.over(start, end)
        align = 1 << vma.orders[0] if vma.kind is Kind.HUGETLB else 1
        if to not in p.regions:
            if at or stop is not None:
                raise ActionError(f'{process} has no region "{to}" yet, so no part of it', to, p.regions)
            p.name_region(to, end - start, max(align, 1 << PMD_ORDER))
        region = p.regions[to]
        target = region.start + at
        if target + end - start > region.end or (stop is not None and stop - at != end - start):
            raise ActionError(f'{end - start} pages do not fit that place of "{to}"')
        if target < end and start < target + end - start:
            raise ActionError("the old and the new place overlap")
        if target % align:
            raise ActionError(f"hugetlb memory moves to multiples of {align * 4}K")
        address_space.check_hugetlb(p.mm, target, target + end - start)
        address_space.mremap(self.machine, p.mm, start, end - start, target)
        self._drop_unused_files()

    def madvise(self, process: str, where: Iterable[tuple[int, int]], advice: str) -> None:
        """MADV_DONTNEED, FREE, COLD, PAGEOUT, COLLAPSE, HUGEPAGE or NOHUGEPAGE."""
        mm = self.process(process).mm
        for start, stop in self._mapped(mm, where):
            madvise(self.machine, mm, start, stop, advice)

    def mlock(self, process: str, where: Iterable[tuple[int, int]], *, lock: bool) -> None:
        """Lock or unlock pages."""
        mm = self.process(process).mm
        for start, stop in self._mapped(mm, where):
            (address_space.mlock if lock else address_space.munlock)(self.machine, mm, start, stop)

    def pin(self, process: str, where: Iterable[tuple[int, int]], *, hold: bool) -> None:
        """Pin or unpin pages."""
        p = self.process(process)
        for start, stop in self._mapped(p.mm, where) if hold else where:
            (gup.pin if hold else gup.unpin)(self.machine, p, start, stop)

    # -- what the kernel does by itself ---------------------------------------------------------------------

    def migrate(self, process: str, where: Iterable[tuple[int, int]]) -> None:
        """Move every folio that these pages map to other memory, unless something holds it."""
        for start, stop in where:
            for run in folios_in(self.machine, self.process(process).mm, start, stop):
                migrate_folios(self.machine, run)

    def swapout(self, process: str, where: Iterable[tuple[int, int]]) -> None:
        """Reclaim every folio that these pages map, whoever else maps it, unless something holds it."""
        for start, stop in where:
            for run in folios_in(self.machine, self.process(process).mm, start, stop):
                swap_out(self.machine, run)

    def split(self, process: str, where: Iterable[tuple[int, int]]) -> None:
        """Split every large folio that these pages map into small ones, unless something holds it."""
        for start, stop in where:
            for run in folios_in(self.machine, self.process(process).mm, start, stop):
                split_folios(self.machine, run)

    def ksm(self, where: Iterable[tuple[str, int, int]]) -> None:
        """Merge the small anonymous pages of these ranges: (process, first page, page behind)."""
        ksm.merge(self.machine, [(self.process(p).mm, start, stop) for p, start, stop in where])

    @staticmethod
    def _mapped(mm: Mm, where: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """The stretches, if all of them are mapped. Raises ActionError otherwise."""
        stretches = list(where)
        for start, stop in stretches:
            covered = sum(min(v.end, stop) - max(v.start, start) for v in mm.vmas.over(start, stop))
            if covered < stop - start:
                raise ActionError("nothing is mapped there" if not covered else "not all of it is mapped")
        return stretches
