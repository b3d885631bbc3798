"""A scenario's actions, carried out by real processes at the places where the simulator has them.

The simulator goes first: it says whether an action is legal, where each region lies and which folio sizes a
fault may use; the agents then do the same. Its address space begins at another page than ours, that is all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from mapcount.conform.agent import Ranges
from mapcount.conform.director import Director
from mapcount.conform.fitting import FolioSizes
from mapcount.conform.pages import Place
from mapcount.scenario.simulated import act
from mapcount.scenario.syntax import Action, Scenario, Target
from mapcount.sim.memory import Kind
from mapcount.sim.mm import Process
from mapcount.sim.system import System
from mapcount.sim.vma import Vma
from mapcount.tracking.flavour import PAGE_SIZE, Flavour

FIRST_PAGE = 1 << 33
"""Where the simulator's first page lies in an agent: 32 TiB, where no C library or kernel puts anything."""

PAGE_SHIFT = 12

ORDERS: dict[str, tuple[str, dict[str, bool]]] = {
    "read": ("touch", {"write": False}),
    "write": ("touch", {"write": True}),
    "mlock": ("mlock", {"lock": True}),
    "munlock": ("mlock", {"lock": False}),
    "pin": ("pin", {"hold": True}),
    "unpin": ("pin", {"hold": False}),
    "munmap": ("munmap", {}),
    "mprotect": ("mprotect", {}),
    "madvise": ("madvise", {}),
}
"""What an agent is told for a verb that is about ranges of memory."""
FAULTING = ("read", "write", "mlock", "pin")
"""Verbs that fault memory in, with folios of the sizes that are allowed at that time."""


class Stage:
    """A scenario on the running kernel, step by step. A context manager that leaves no process behind."""

    def __init__(
        self, scenario: Scenario, flavour: Flavour, sizes: FolioSizes, cpu: int | None = None
    ) -> None:
        self.scenario = scenario
        self.system = System(flavour)
        self.director = Director(cpu)
        self._sizes = sizes
        self._files: dict[str, int] = {}
        """Files with a name, which stay when nobody maps them: held open here."""
        self._stack = ExitStack()

    def __enter__(self) -> Stage:
        self._stack.enter_context(self.director)
        self._stack.callback(self._close_files)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _close_files(self) -> None:
        for fd in self._files.values():
            os.close(fd)

    @property
    def actors(self) -> dict[str, int]:
        """The PID of every process alive, in the order in which they began."""
        return {name: actor.pid for name, actor in self.director.actors.items()}

    def places(self) -> dict[str, list[Place]]:
        """Where each process has its regions."""
        return {
            process.name: [Place(r.name, _real(process, r.start), r.n) for r in process.regions.values()]
            for process in self.system.machine.processes.values()
        }

    def begin(self) -> None:
        """The first process starts."""
        if self.scenario.first:
            self.system.spawn(self.scenario.first)
            self.director.start(self.scenario.first)

    def settle(self) -> None:
        """Folios on their way to an LRU list arrive: all agents share a CPU, so one can see to that."""
        self.system.machine.lru_add_drain()
        for name in list(self.director.actors)[:1]:
            self.director.order(name, "drain")

    def act(self, action: Action) -> str | None:
        """Carry out an action. The name of the error on the running kernel, if there was one: `EINVAL`.

        Raises ScenarioError, at the action, for what no kernel would do; AgentLost if an agent ends.
        """
        exists = action.target is not None and action.verb == "mmap" and self._has_region(action)
        act(self.system, self.scenario, action)
        return self._real_act(action, exists)

    def _has_region(self, action: Action) -> bool:
        assert action.target is not None
        processes = self.system.machine.processes
        return action.actor in processes and action.target.region in processes[action.actor].regions

    def _real_act(self, action: Action, exists: bool) -> str | None:
        director, actor, verb = self.director, action.actor, action.verb
        if verb == "fork":
            assert action.word
            return director.fork(actor, action.word)
        if verb in ("exec", "exit"):
            return (director.exec if verb == "exec" else director.exit)(actor)
        assert action.target is not None
        process = self.system.process(actor)
        if verb == "mmap":
            return self._mmap(process, action, exists)
        where = self._stretches(process, action.target)
        if verb == "mremap":
            return self._mremap(process, action, where)
        if verb in FAULTING:
            return self._fault_in(process, verb, where)
        do, what = ORDERS[verb]
        words = {"mprotect": {"prot": action.word}, "madvise": {"advice": action.word}}.get(verb, {})
        return director.order(actor, do, {"ranges": _ranges(process, where), **what, **words})

    def _stretches(self, process: Process, target: Target) -> list[tuple[int, int]]:
        return self.system.stretches(process.name, target.region, target.start, target.stop, target.step)

    def _mmap(self, process: Process, action: Action, exists: bool) -> str | None:
        """Map what the simulator has there now."""
        assert action.target is not None
        if action.options.get("reserved"):
            return None
        ((start, stop),) = self._stretches(process, action.target)
        stop = start + action.size if exists and action.size else stop
        vma = process.mm.vmas.at(start)
        assert vma is not None
        file = vma.file if {"shmem", "memfd"} & action.options.keys() else None
        memfd = file.name if file is not None and "memfd" in action.options else None
        if file is not None and memfd:
            self._open_memfd(process, memfd, file.size)
        what = {
            "at": _real(process, start),
            "pages": stop - start,
            "prot": vma.prot,
            "shared": vma.shared,
            "memfd": memfd,
            "offset": vma.index(start) if file is not None else 0,
            "huge": vma.orders[0] + PAGE_SHIFT if vma.kind is Kind.HUGETLB else 0,
            "over": exists,
        }
        fds = [] if file is None or memfd else [self._open_file(file.name, file.size)]
        error = self.director.order(process.name, "mmap", what, fds)
        advice = self._advice(vma)
        if error or advice is None:
            return error
        what = {"ranges": _ranges(process, [(start, stop)]), "advice": advice}
        return self.director.order(process.name, "madvise", what)

    def _advice(self, vma: Vma) -> str | None:
        """What to advise for a new VMA, so that its faults use the sizes meant for it and no others."""
        if vma.kind is Kind.HUGETLB:
            return None
        if vma.file is not None:
            return "hugepage" if vma.file.orders else None
        if vma.orders:
            return "hugepage"
        return "nohugepage" if self._sizes.small_needs_advice else None

    def _open_file(self, name: str, pages: int) -> int:
        if name not in self._files:
            self._files[name] = os.memfd_create(name)
        if os.fstat(self._files[name]).st_size < pages * PAGE_SIZE:
            os.ftruncate(self._files[name], pages * PAGE_SIZE)
        return self._files[name]

    def _open_memfd(self, process: Process, name: str, pages: int) -> None:
        """Let a process have a memfd: its own, one that another process lends, or a new one."""
        holders = self.system.machine.files[name].holders or set()
        lender = next((other for other in self.actors if other in holders and other != process.name), None)
        fds = list[int]()
        if lender is not None and "fd" in (lent := self.director.ask(lender, "lend", {"name": name})):
            fds = [os.open(f"/proc/{self.actors[lender]}/fd/{lent['fd']}", os.O_RDWR | os.O_CLOEXEC)]
        self.director.order(process.name, "memfd", {"name": name, "pages": pages}, fds)
        for fd in fds:
            os.close(fd)

    def _mremap(self, process: Process, action: Action, where: list[tuple[int, int]]) -> str | None:
        to = action.options["to"]
        assert isinstance(to, Target)
        ((start, stop),) = where
        target = _real(process, process.region(to.region).start + to.start)
        at = _real(process, start)
        return self.director.order(process.name, "mremap", {"at": at, "pages": stop - start, "to": target})

    def _fault_in(self, process: Process, verb: str, where: list[tuple[int, int]]) -> str | None:
        """Touch memory, each VMA with the folio sizes that are its own."""
        for orders, shared, stretches in _by_sizes(process, where):
            self._sizes.use(orders, shared=shared)
            do, what = ORDERS[verb]
            error = self.director.order(process.name, do, {"ranges": _ranges(process, stretches), **what})
            if error:
                return error
        return None


def _real(process: Process, page: int) -> int:
    """The agent's page for the simulator's."""
    return page - process.FIRST_PAGE + FIRST_PAGE


def _by_sizes(
    process: Process, where: Iterable[tuple[int, int]]
) -> Iterator[tuple[tuple[int, ...], bool, list[tuple[int, int]]]]:
    """(orders, in shared memory?, stretches): the same stretches in order, cut where the sizes change."""
    group: list[tuple[int, int]] = []
    key: tuple[tuple[int, ...], bool] | None = None
    for start, stop in where:
        for vma in process.mm.vmas.over(start, stop):
            its = (vma.file.orders if vma.file is not None else vma.orders, vma.file is not None)
            if group and its != key:
                assert key is not None
                yield *key, group
                group = []
            key = its
            first, last = max(start, vma.start), min(stop, vma.end)
            if group and group[-1][1] == first:
                group[-1] = (group[-1][0], last)
            else:
                group.append((first, last))
    if key is not None:
        yield *key, group


def _ranges(process: Process, where: Iterable[tuple[int, int]]) -> Ranges:
    """Stretches as an agent is told of them: equal ones at equal distances as one."""
    ranges: Ranges = []
    for start, stop in where:
        at, n = _real(process, start), stop - start
        last = ranges[-1] if ranges else [0, 0, 0, 0]
        if last[3] == 1 and last[1] == n:
            ranges[-1] = [last[0], n, at - last[0], 2]
        elif last[3] > 1 and (at, n) == (last[0] + last[2] * last[3], last[1]):
            last[3] += 1
        else:
            ranges.append([at, n, 0, 1])
    return ranges
