"""Random scenarios, of legal steps only: each is tried on a simulated kernel before it is taken.

The same seed and menu give the same scenario. Weights lead to where kernels could be wrong: parts of folios
that are unmapped, moved or protected, chains of forks, processes that come and go in any order, copies
after all of that.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from mapcount.scenario.parse import parse
from mapcount.scenario.printing import show
from mapcount.scenario.simulated import act
from mapcount.scenario.syntax import Action, Scenario, ScenarioError, Step, Target
from mapcount.sim.mm import Process, Region
from mapcount.sim.system import System
from mapcount.sim.vma import Vma
from mapcount.tracking.flavour import PMD_ORDER, Flavour

Orders = tuple[int, ...]

ACTORS = ("P", "A", "B", "C", "D", "E")
REGIONS = ("heap", "buf", "ring", "lib", "tmp")
MOST_ALIVE = 4
MOST_REGIONS = 3
TRIES = 200
"""How often a step is drawn until one is legal."""


@dataclass(frozen=True, slots=True)
class Menu:
    """What random scenarios may do on a machine."""

    anon: tuple[Orders, ...]
    """Sets of folio orders that private anonymous memory may have; () is small folios only."""
    shmem: tuple[Orders, ...]
    """The same for shared memory; none at all: no shared memory."""
    pins: bool = True
    swap: bool = False


def generate(seed: int | str, flavour: Flavour, menu: Menu, *, steps: int = 16) -> Scenario:
    """A scenario of so many steps, drawn with this seed."""
    return _Story(random.Random(seed), flavour, menu).tell(steps, f"random-{seed}")


def vmas_of(process: Process, region: str) -> list[Vma]:
    """The VMAs of a region."""
    return process.mm.vmas.over(process.regions[region].start, process.regions[region].end)


class _Story:
    """A scenario in the making, and the simulated system that is where it has come to."""

    def __init__(self, rng: random.Random, flavour: Flavour, menu: Menu) -> None:
        self.rng, self.menu = rng, menu
        self.huge = any(PMD_ORDER in orders for orders in menu.anon)
        self.system = System(flavour)
        self.system.spawn(ACTORS[0])
        self.draft = Scenario("draft", "<random>", "", ())
        self.verbs: dict[str, tuple[int, Callable[[Process], Action | None]]] = {
            "mmap": (3, self.mmap),
            "write": (8, self.simple("write")),
            "read": (3, self.simple("read")),
            "fork": (5, self.fork),
            "exit": (3, self.leave("exit")),
            "exec": (1, self.leave("exec")),
            "munmap": (4, self.simple("munmap")),
            "mremap": (3, self.mremap),
            "mprotect": (3, self.mprotect),
            "madvise": (5, self.madvise),
            "mlock": (1, self.simple("mlock")),
            "munlock": (1, self.munlock),
            "pin": (2 if menu.pins else 0, self.simple("pin")),
            "unpin": (2 if menu.pins else 0, self.simple("unpin")),
        }

    def tell(self, steps: int, name: str) -> Scenario:
        """The whole story. It begins with some memory that is there."""
        told = [Step((self.take(verb),)) for verb in ("mmap", "write")[:steps]]
        while len(told) < steps:
            verbs, weights = zip(*((verb, weight) for verb, (weight, _) in self.verbs.items()), strict=True)
            told.append(Step((self.take(*self.rng.choices(verbs, weights, k=TRIES)),)))
        return parse(show(Scenario(name, name, f"A random story: {name}.", tuple(told))), f"{name}.scn")

    def take(self, *verbs: str) -> Action:
        """Do the first of these verbs that comes out legal, or map something new."""
        for verb in (*verbs, *["mmap"] * TRIES):
            process = self.rng.choice(list(self.system.machine.processes.values()))
            action = self.verbs[verb][1](process)
            if action is not None:
                try:
                    act(self.system, self.draft, action)
                except ScenarioError:
                    continue
                return action
        raise AssertionError("a new region can always be mapped")

    # -- places ----------------------------------------------------------------------------------------------

    def region(self, process: Process) -> Region | None:
        """Some region of a process."""
        return self.rng.choice(list(process.regions.values())) if process.regions else None

    def target(self, process: Process) -> Target | None:
        """Some pages of some region, mostly such that are mapped."""
        region = self.region(process)
        if region is None:
            return None
        low, high = 0, region.n
        vmas = vmas_of(process, region.name)
        if vmas and self.rng.random() < 0.8:
            vma = self.rng.choice(vmas)
            low, high = max(vma.start - region.start, 0), min(vma.end - region.start, region.n)
        start, stop, step = self.part(low, high)
        if (start, stop, step) == (0, region.n, None):
            return Target(region.name)
        return Target(region.name, start, stop, step)

    def part(self, low: int, high: int) -> tuple[int, int, int | None]:
        """(start, stop, stride) of some pages of [low, high)."""
        middle, page = (low + high) // 2, self.rng.randrange(low, high)
        kinds: list[tuple[int, tuple[int, int, int | None]]] = [
            (6, (low, high, None)),
            (2, (low, middle, None)),
            (2, (middle, high, None)),
            (2, (page, page + 1, None)),
            (1, (low, low + 1, None)),
            (1, (high - 1, high, None)),
            (2, (low, high, 2)),
            (1, (min(low + 1, high - 1), high, 2)),
            (1, (min(low + 1, high - 1), high, None)),
            (2, (page, self.rng.randrange(page, high) + 1, None)),
        ]
        parts = [(weight, part) for weight, part in kinds if part[0] < part[1]]
        return self.rng.choices([part for _, part in parts], [weight for weight, _ in parts])[0]

    # -- verbs -----------------------------------------------------------------------------------------------

    def simple(self, verb: str) -> Callable[[Process], Action | None]:
        """A verb that takes pages and nothing else."""

        def draw(process: Process) -> Action | None:
            target = self.target(process)
            return Action(process.name, verb, target) if target else None

        return draw

    def leave(self, verb: str) -> Callable[[Process], Action | None]:
        """End, or begin anew: not of the last process, so that the story goes on."""

        def draw(process: Process) -> Action | None:
            return Action(process.name, verb) if len(self.system.machine.processes) > 1 else None

        return draw

    def mmap(self, process: Process) -> Action | None:
        """Private anonymous memory mostly; memory shared with children, or by a file of a name."""
        names = [name for name in REGIONS if name not in process.regions]
        if len(process.regions) >= MOST_REGIONS or not names:
            return None
        shared = bool(self.menu.shmem) and self.rng.random() < 0.35
        orders = self.rng.choice(self.menu.shmem if shared else self.menu.anon)
        options: dict[str, bool | str | tuple[int, ...]] = {}
        if shared:
            kind = self.rng.choice(["", "shmem", "memfd"])
            options |= {kind: f"{kind}-file"} if kind else {}
            if not kind or self.rng.random() < 0.8:
                options["shared"] = True
        if orders:
            options["thp"] = tuple(1 << order for order in orders)
        folio = 1 << max(orders, default=4)
        size = self.rng.choice([folio, folio, 2 * folio, folio + folio // 2])
        return Action(process.name, "mmap", Target(names[0]), size, options=options)

    def fork(self, process: Process) -> Action | None:
        """A child, unless there are many processes already."""
        alive = self.system.machine.processes
        names = [name for name in ACTORS if name not in alive]
        return Action(process.name, "fork", word=names[0]) if len(alive) < MOST_ALIVE and names else None

    def mprotect(self, process: Process) -> Action | None:
        """Take rights away or give them back."""
        target = self.target(process)
        word = self.rng.choice(["r", "r", "rw", "rw", "none"])
        return Action(process.name, "mprotect", target, word=word) if target else None

    def madvise(self, process: Process) -> Action | None:
        """Any advice that the machine can follow."""
        target = self.target(process)
        if target is None:
            return None
        words = ["dontneed", "dontneed", "free", "cold", "collapse"]
        words += ["pageout", "pageout"] if self.menu.swap else []
        vmas = vmas_of(process, target.region)
        if self.huge and all(vma.file is None and vma.orders in ((), (PMD_ORDER,)) for vma in vmas):
            words += ["hugepage", "nohugepage"]  # elsewhere they would not change what the VMA is
        return Action(process.name, "madvise", target, word=self.rng.choice(words))

    def munlock(self, process: Process) -> Action | None:
        """Unlock, if anything is locked."""
        locked = any(vma.locked for vma in process.mm.vmas)
        return self.simple("munlock")(process) if locked else None

    @staticmethod
    def kin(process: Process, one: str, other: str) -> bool:
        """Have two regions the same folio sizes? On a real machine neighbours cannot differ in that alone."""
        return len({vma.orders for name in (one, other) for vma in vmas_of(process, name)}) < 2

    def mremap(self, process: Process) -> Action | None:
        """Move pages to a new region, or into one that exists."""
        target = self.target(process)
        if target is None or target.step is not None:
            return None
        n = len(target.pages(process.regions[target.region].n))
        names = [name for name in REGIONS if name not in process.regions]
        other = self.region(process)
        if other is None or (names and len(process.regions) < MOST_REGIONS and self.rng.random() < 0.5):
            to = Target(names[0])
        elif other.n >= n and self.kin(process, target.region, other.name):
            start = self.rng.choice([0, other.n - n, self.rng.randrange(other.n - n + 1)])
            to = Target(other.name, start, start + n)
        else:
            return None
        return Action(process.name, "mremap", target, options={"to": to})
