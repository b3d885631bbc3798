"""Random stories, legal and illegal, told to all four flavours at once; every step must leave them sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from mapcount.sim.memory import Kind

from .lockstep import Lockstep

T = TypeVar("T")

DATA = st.data()

NAMES = ("A", "B", "C", "D", "E")
"""Processes: at most five at a time."""

REGIONS = ("r", "s", "t")

EDGES = (0, 1, 2, 3, 15, 16, 17, 32, 100, 255, 256, 257, 496, 511, 512, 513, 528, 600, 1000, 1023, 1024)
"""Pages at which ranges begin and end: around the edges of 64K and 2M folios, and odd ones."""

SIZES = (5, 16, 64, 512, 600, 1024, 1040)

MAPPINGS: tuple[dict[str, Any], ...] = (
    {},
    {"orders": (9,)},
    {"orders": (9,)},
    {"orders": (4,)},
    {"orders": (2, 4)},
    {"orders": (2, 4, 9)},
    {"orders": (10,)},
    {"orders": (1,)},
    {"shared": True},
    {"shared": True, "orders": (9,)},
    {"shared": True, "orders": (10, 4)},
    {"kind": Kind.FILE, "file": "f", "shared": True},
    {"kind": Kind.FILE, "file": "f"},
    {"kind": Kind.FILE, "file": "g", "orders": (9, 4), "shared": True},
    {"kind": Kind.FILE, "file": "g", "orders": (9, 4), "offset": 16},
    {"kind": Kind.SHMEM, "file": "m", "orders": (9,), "shared": True},
    {"kind": Kind.SHMEM, "file": "m", "orders": (9,)},
    {"kind": Kind.SHMEM, "file": "m", "shared": True, "offset": 512},
    {"kind": Kind.SHMEM, "file": "n", "orders": (4,), "shared": True},
    {"kind": Kind.SHMEM, "file": "n", "orders": (4,), "offset": 3},
    {"kind": Kind.SHMEM, "file": "d", "orders": (4,), "shared": True, "memfd": True},
    {"kind": Kind.HUGETLB, "orders": (9,)},
    {"kind": Kind.HUGETLB, "orders": (9,), "shared": True},
    {"prot": "r", "orders": (4,)},
    {"prot": "none"},
    {"reserved": True},
)

ADVICES = ("dontneed", "free", "cold", "pageout", "collapse", "hugepage", "nohugepage")


def pick(data: Any, options: Sequence[T]) -> T:
    """One of these."""
    return data.draw(st.sampled_from(options))  # type: ignore[no-any-return]


class Story(RuleBasedStateMachine):
    """Processes that map, touch, share and give up memory, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = Lockstep()

    @initialize()
    def begin(self) -> None:
        """The first process."""
        self.kernels.step("spawn", "A")

    def someone(self, data: Any) -> str:
        """A living process."""
        living = list(self.kernels.first.machine.processes)
        if not living:
            self.kernels.step("spawn", "A")
            return "A"
        return pick(data, living)

    def somewhere(self, data: Any, process: str, *, strided: bool = True) -> tuple[Any, ...]:
        """A range of one of the process's regions, or of one it does not have."""
        regions = self.kernels.first.process(process).regions
        name = pick(data, sorted(regions)) if regions else "r"
        n = regions[name].n if regions else 1
        if pick(data, (True, False)):
            return (name,)
        start, stop = sorted((pick(data, EDGES), pick(data, EDGES)))
        step = pick(data, (None, None, None, 7, 16, 32)) if strided else None
        return (name, min(start, n - 1), min(max(stop, min(start, n - 1) + 1), n), step)

    @rule(data=DATA)
    def mmap(self, data: Any) -> None:
        """A new region, or a part of an old one anew."""
        process, name = self.someone(data), pick(data, REGIONS)
        how = pick(data, MAPPINGS)
        if name not in self.kernels.first.process(process).regions:
            self.kernels.step("mmap", process, name, size=pick(data, SIZES), **how)
        else:
            _, *window = (*self.somewhere(data, process, strided=False), 0, None)
            self.kernels.step("mmap", process, name, *window[:2], **how)

    @rule(data=DATA, write=st.booleans())
    def touch(self, data: Any, write: bool) -> None:
        """Memory is read or written."""
        process = self.someone(data)
        self.kernels.step("touch", process, where=self.somewhere(data, process), write=write)

    @rule(data=DATA)
    def write(self, data: Any) -> None:
        """Memory is written: twice as likely, for most memory is."""
        process = self.someone(data)
        self.kernels.step("touch", process, where=self.somewhere(data, process), write=True)

    @rule(data=DATA)
    def fork(self, data: Any) -> None:
        """A child, if there is a name left."""
        self.kernels.step("fork", self.someone(data), pick(data, NAMES))

    @rule(data=DATA)
    def end(self, data: Any) -> None:
        """A process exits, or executes something else."""
        self.kernels.step(pick(data, ("exit", "exit", "exec")), self.someone(data))

    @rule(data=DATA)
    def munmap(self, data: Any) -> None:
        """Memory is unmapped."""
        process = self.someone(data)
        self.kernels.step("munmap", process, where=self.somewhere(data, process))

    @rule(data=DATA)
    def mprotect(self, data: Any) -> None:
        """Memory is protected."""
        process = self.someone(data)
        prot = pick(data, ("rw", "rw", "r", "none"))
        self.kernels.step("mprotect", process, prot, where=self.somewhere(data, process))

    @rule(data=DATA)
    def mremap(self, data: Any) -> None:
        """Memory moves: to a place of its own, or into another region."""
        process = self.someone(data)
        where = self.somewhere(data, process, strided=False)
        to = pick(data, REGIONS)
        at = pick(data, (0, 0, *EDGES)) if to in self.kernels.first.process(process).regions else 0
        self.kernels.step("mremap", process, to, at, None, where=where)

    @rule(data=DATA)
    def madvise(self, data: Any) -> None:
        """Memory is given up, aged, paged out, collapsed, or its faults are told what to use."""
        process = self.someone(data)
        self.kernels.step("madvise", process, pick(data, ADVICES), where=self.somewhere(data, process))

    @rule(data=DATA)
    def mlock(self, data: Any) -> None:
        """Memory is locked or unlocked."""
        process = self.someone(data)
        where = self.somewhere(data, process)
        self.kernels.step("mlock", process, where=where, lock=pick(data, (True, True, False)))

    @rule(data=DATA)
    def pin(self, data: Any) -> None:
        """Memory is pinned or unpinned."""
        process = self.someone(data)
        where = self.somewhere(data, process)
        self.kernels.step("pin", process, where=where, hold=pick(data, (True, True, False)))

    @rule(data=DATA)
    def reclaim(self, data: Any) -> None:
        """The kernel moves, swaps out or splits folios."""
        process = self.someone(data)
        verb = pick(data, ("migrate", "swapout", "swapout", "split"))
        self.kernels.step(verb, process, where=self.somewhere(data, process))

    @rule(data=DATA)
    def ksm(self, data: Any) -> None:
        """Small pages of one or two processes are merged."""
        who = {self.someone(data) for _ in range(2)}
        self.kernels.step("ksm", *((process, *self.somewhere(data, process)) for process in sorted(who)))

    def teardown(self) -> None:
        """Everybody exits."""
        self.kernels.finish()


TestStory = Story.TestCase
TestStory.settings = settings(
    database=None,
    phases=(Phase.generate,),
    max_examples=60,
    stateful_step_count=20,
    suppress_health_check=list(HealthCheck),
)
