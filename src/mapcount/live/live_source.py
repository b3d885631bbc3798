"""The running kernel as a `Source`: what it can be asked here, and asking it.

    with open_live_source() as source:
        for pid in source.pids():
            process = source.process(pid)
            for block in source.blocks(process): ...

Nothing is written anywhere, and no process is stopped. So a process goes on while it is read, and what it
says of itself at the beginning (smaps) and what is found later (pagemap, frames) may be moments apart.
What is certain is that all of it is of one address space: who exits or starts another program is
Unreadable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from mapcount.live import kernel
from mapcount.live.address_space import AddressSpace
from mapcount.live.btf import VMLINUX, Btf, BtfError
from mapcount.live.cgroups import memory_hierarchy, memory_stats
from mapcount.live.folio_rows import FolioRows
from mapcount.live.frames import FrameFiles
from mapcount.live.kcmp import same_address_space
from mapcount.live.page_runs import RunReader
from mapcount.live.pagemap import FRAME, Gone, Pagemap, blocks, extents
from mapcount.live.pieces import FrameReader
from mapcount.live.processes import ProcessDir, address_spaces, all_stats, why_absent
from mapcount.live.settings import hidepid, huge_page_settings, meminfo
from mapcount.live.smaps import SmapsParser
from mapcount.live.snapshot import Block, CannotHere, Identity, Machine, MemoryStat, Process
from mapcount.live.struct_folio import FolioReader, open_folio_reader
from mapcount.tracking.flavour import Flavour

PROC, SYS = Path("/proc"), Path("/sys")

NO_FRAMES = "page frames are hidden: run as root (CAP_SYS_ADMIN) to see which process maps which folio"
NO_LEVELS = (
    "whether a PMD or PTEs map a page is known only where all of a region is mapped alike: "
    "Linux 6.7 and later tell (PAGEMAP_SCAN)"
)
HIDDEN = "other users' processes may be hidden: run as root, or mount /proc without hidepid"

INITIAL_PID_NAMESPACE = "pid:[4026531836]"
"""The PID namespace that a kernel boots with: its inode number is part of the kernel's interface."""
NAMESPACE = "this is a PID namespace: processes outside of it are not seen"

BLOCK = 1 << 16
"""Pages of a block: what is read together. Bounds the memory that a process of any size takes."""


class LiveSource:
    """The running kernel. `open_live_source` makes it."""

    name = "this machine"

    def __init__(
        self, machine: Machine, proc: Path, sys: Path, frames: FrameFiles | None, folios: FolioReader | None
    ) -> None:
        """`frames` and `folios` are None where they cannot be read."""
        self.machine = machine
        self._proc, self._sys = proc, sys
        self._frames = FrameReader(frames, folios) if frames else None
        self._rows = FolioRows(machine.flavour, frames, folios) if frames else None
        self._smaps = SmapsParser(machine.page_size)
        self._spaces: dict[int, tuple[int, ...]] | None = None
        self._open: tuple[Process, AddressSpace] | None = None

    @property
    def everything(self) -> bool:
        """Can it see every process of the machine? Not from within a PID namespace."""
        return NAMESPACE not in self.machine.limits

    def close(self) -> None:
        """Let go of the process that was looked at last."""
        if self._open:
            self._open[1].close()
            self._open = None

    def pids(self) -> Sequence[int]:
        """Every process that has an address space, each address space once: by its lowest PID.

        Whoever asks begins a new moment: the machine's own counts are read again.
        """
        self.machine = replace(self.machine, meminfo=meminfo(self._proc))
        spaces = address_spaces(all_stats(self._proc), self._compare)
        self._spaces = {pid: space for space in spaces for pid in space}
        return [space[0] for space in spaces]

    @property
    def own_pid(self) -> int | None:
        """Ours, as this procfs numbers processes."""
        try:
            return int(os.readlink(self._proc / "self"))
        except (OSError, ValueError):
            return None

    def absent(self, pid: int) -> str | None:
        """Why this number is none of a process with an address space; None if it is, or may be, one."""
        reason = why_absent(self._proc, pid)
        hidden = reason and HIDDEN in self.machine.limits and not (self._proc / str(pid)).exists()
        return f"{reason}; {HIDDEN}" if hidden else reason

    def identity(self, pid: int) -> Identity:
        """A process's name and control group. Raises Unreadable."""
        with ProcessDir(self._proc, pid) as directory:
            return Identity(pid, directory.comm, directory.cgroup())

    def process(self, pid: int) -> Process:
        """A process and its regions, read now. Raises Unreadable.

        It is kept open until the next one is, so that `blocks` looks at the same address space.
        """
        self.close()
        if self._spaces is None:
            self.pids()
        assert self._spaces is not None
        space = self._address_space(pid)
        try:
            process = Process(
                pid=pid,
                comm=space.directory.comm,
                cgroup=space.directory.cgroup(),
                regions=space.regions(),
                sharing=tuple(other for other in self._spaces.get(pid, ()) if other != pid),
            )
        except BaseException:
            space.close()
            raise
        self._open = process, space
        return process

    def blocks(self, process: Process) -> Iterator[Block]:
        """What it maps; nothing where frames cannot be seen. Raises Unreadable.

        Regions of which smaps counts nothing are not looked into: at most they map the zero page.
        """
        if self._frames is None or self._rows is None:
            return
        with self._space_of(process) as space:
            pmd_pages = 1 << self.machine.pmd_order
            counts = self.machine.flavour.page_mapcounts
            reader = RunReader(space.pagemap, self._frames, process.regions, pmd_pages, counts)
            try:
                found = extents(space.pagemap, process.regions, self.machine.levels)
                for block in blocks(found, BLOCK, pmd_pages):
                    runs, large = reader.read(block)
                    yield Block(runs, self._rows.of(runs, large))
            except Gone:
                raise space.gone() from None
            except OSError as error:
                raise space.directory.unreadable(error) from None
            if not space.pagemap.alive:
                raise space.gone()

    def memory_stats(self) -> Sequence[MemoryStat]:
        """Every control group that memory is charged to; none where there are no control groups."""
        root = memory_hierarchy(self._sys)
        return list(memory_stats(root)) if root else []

    def _space_of(self, process: Process) -> AddressSpace:
        """The address space that a process was read from; opened again if it is not the last one read."""
        if self._open and self._open[0] is process:
            space, self._open = self._open[1], None
            return space
        space = self._address_space(process.pid)
        if [(r.start, r.nr_pages) for r in space.regions()] != [
            (r.start, r.nr_pages) for r in process.regions
        ]:
            space.close()
            raise space.directory.unreadable("its regions have changed since it was looked at")
        return space

    def _address_space(self, pid: int) -> AddressSpace:
        return AddressSpace(self._proc, pid, self._smaps, self.machine.page_size)

    def _compare(self, one: int, other: int) -> int | None:
        """PIDs of another machine's /proc mean nothing to this kernel."""
        return same_address_space(one, other) if self._proc == PROC else None


@contextmanager
def open_live_source(proc: Path = PROC, sys: Path = SYS, struct_folio: bool = True) -> Iterator[LiveSource]:
    """The running kernel, asked as far as it answers here: `Machine.limits` says what is missing, and why.

    `proc` and `sys` are where procfs and sysfs are mounted. `struct_folio`: also look into the kernel's own
    memory, where that is possible. Raises CannotHere if procfs is not there, or if it cannot be found out
    what this kernel keeps.
    """
    if not (proc / "self" / "pagemap").exists() or not (proc / "meminfo").exists():
        raise CannotHere(f"{proc} has no self/pagemap or no meminfo: mount procfs there")
    with ExitStack() as opened:
        limits: list[str] = []
        frames = _frames(proc, opened, limits)
        folios = _folios(opened, limits) if frames and struct_folio else None
        levels = _levels(proc)
        if frames and not levels:
            limits.append(NO_LEVELS)
        if os.geteuid() and hidepid(proc):
            limits.append(HIDDEN)
        if not _initial_pid_namespace(proc):
            limits.append(NAMESPACE)
        machine = Machine(
            release=kernel.release(),
            flavour=folios.flavour if folios else _flavour(),
            page_size=kernel.page_size(),
            pmd_order=kernel.pmd_order(),
            meminfo=meminfo(proc),
            thp=huge_page_settings(sys),
            frames=frames is not None,
            levels=levels,
            folios=folios is not None,
            limits=tuple(limits),
        )
        source = LiveSource(machine, proc, sys, frames, folios)
        opened.callback(source.close)
        yield source


def _frames(proc: Path, opened: ExitStack, limits: list[str]) -> FrameFiles | None:
    """The files about frames, if they can be read and pagemap names frames."""
    try:
        frames = opened.enter_context(FrameFiles(proc))
    except FileNotFoundError as error:
        limits.append(f"{error.filename} does not exist: it takes a kernel with CONFIG_PROC_PAGE_MONITOR")
        return None
    except OSError:
        limits.append(NO_FRAMES)
        return None
    own = np.zeros(1, np.uint64)
    with _own_pagemap(proc) as pagemap:
        pagemap.read(own.ctypes.data // kernel.page_size(), own)
    if not own[0] & FRAME:
        limits.append(NO_FRAMES)
        return None
    return frames


def _folios(opened: ExitStack, limits: list[str]) -> FolioReader | None:
    try:
        return opened.enter_context(open_folio_reader())
    except CannotHere as error:
        limits.append(f"the kernel's own struct folio is not readable: {error}")
        return None


def _initial_pid_namespace(proc: Path) -> bool:
    """Are we where every process has a number? A kernel that has no such link has no other namespaces."""
    try:
        return os.readlink(proc / "self" / "ns" / "pid") == INITIAL_PID_NAMESPACE
    except FileNotFoundError:
        return True


def _levels(proc: Path) -> bool:
    with _own_pagemap(proc) as pagemap:
        return pagemap.scans()


@contextmanager
def _own_pagemap(proc: Path) -> Iterator[Pagemap]:
    fd = os.open(proc / "self" / "pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield Pagemap(fd, kernel.page_size())
    finally:
        os.close(fd)


def _flavour() -> Flavour:
    """What this kernel keeps, where its struct folio is not readable."""
    try:
        types = Btf.read(VMLINUX)
    except BtfError:
        types = None
    return kernel.running_flavour(types, kernel.kernel_config(kernel.release()))
