"""One story told to all four simulated kernels at once, and what must hold after each step."""

from __future__ import annotations

from typing import Any

from mapcount.sim.errors import ActionError
from mapcount.sim.memory import FolioRun
from mapcount.sim.system import System
from mapcount.tracking.flavour import FLAVOURS, PMD_ORDER

from .naive import describe, faults, flat, picture, portraits, present, resident

TWINS = ("page-mapcount", "no-page-mapcount")
"""These two differ in what they count, never in what they do."""

CHOOSY = ("madvise", "swapout", "ksm")
"""Verbs that leave folios alone which are large, held or maybe shared, so flavours may part ways here."""

Step = tuple[str, tuple[Any, ...], dict[str, Any]]


class Lockstep:
    """Four systems that are told the same."""

    def __init__(self, bits: int = 64) -> None:
        self.systems = {name: System(flavour.on(bits)) for name, flavour in FLAVOURS.items()}
        self.parted: set[str] = set()
        """Flavours that did not map or reclaim what others did, for good reasons, and differ ever since.

        One flavour maps folios larger than a PMD by PMDs. Another copied pages that were reused elsewhere,
        so that other folios are skipped by advice, and swapped memory comes back in other sizes.
        """
        self.story: list[Step] = []
        self._portraits: dict[str, dict[FolioRun, object]] = {name: {} for name in FLAVOURS}

    @property
    def first(self) -> System:
        """The system by which a story is made up: today's default kernel."""
        return self.systems[TWINS[0]]

    def step(self, verb: str, *args: Any, where: tuple[Any, ...] | None = None, **options: Any) -> bool:
        """Tell every system; was it possible? `where`: region, start, stop, step of a range."""
        self.story.append((verb, args, {"where": where, **options}))
        if max(options.get("orders", ()), default=0) > PMD_ORDER:
            self.parted.add("total-mapped-pages")
        possible = {}
        for name, system in self.systems.items():
            before = picture(system.machine)
            try:
                self._tell(system, verb, args, where, options)
                possible[name] = True
            except ActionError:
                possible[name] = False
                if self._promises(verb, args, where):
                    assert before == picture(system.machine), f"{name}: an impossible step changed something"
        for name, system in self.systems.items():
            before, self._portraits[name] = self._portraits[name], portraits(system.machine)
            for run, portrait in self._portraits[name].items():
                same = before.get(run) == portrait or run in system.machine.memory.touched
                assert same, f"{name}: {describe(run)} changed unseen"
            found = list(faults(system.machine))
            assert [] == found, f"{name}: {found[0]} ({len(found)} faults)"
        self._compare(verb, possible)
        return possible[TWINS[0]]

    @staticmethod
    def _promises(verb: str, args: tuple[Any, ...], where: tuple[Any, ...] | None) -> bool:
        """Does this step change nothing when it is impossible? Strided ranges are a step each."""
        return "collapse" not in args and (where is None or len(where) < 4 or where[3] is None)

    @staticmethod
    def _tell(
        system: System,
        verb: str,
        args: tuple[Any, ...],
        where: tuple[Any, ...] | None,
        options: dict[str, Any],
    ) -> None:
        if verb == "ksm":
            system.ksm([(p, *s) for p, *target in args for s in system.stretches(p, *target)])
        elif where is None:
            getattr(system, verb)(*args, **options)
        else:
            process, *rest = args
            getattr(system, verb)(process, system.stretches(process, *where), *rest, **options)

    def _compare(self, verb: str, possible: dict[str, bool]) -> None:
        """Twins do the same; the others map the same pages, until they may part ways."""
        one, two = (self.systems[name].machine for name in TWINS)
        assert possible[TWINS[0]] == possible[TWINS[1]]
        assert _common(one) == _common(two)
        for name, system in self.systems.items():
            alike = possible[name] == possible[TWINS[0]] and _same_memory(system, self.first)
            if not alike and name not in self.parted:
                swapped = any(s.machine.events["pswpout"] for s in (system, self.first))
                assert verb in CHOOSY or swapped, f"{name} and {TWINS[0]} map different pages after {verb}"
                self.parted.add(name)

    def finish(self) -> None:
        """Every process exits; nothing but named files, and what they hold, may be left."""
        for name in list(self.first.machine.processes):
            self.step("exit", name)
        for name, system in self.systems.items():
            machine = system.machine
            kept = {file.name for file in machine.files.values()}
            assert not any(file.startswith("anonymous") for file in kept), name
            assert [] == [run for run in machine.memory.folios if run.mapping not in machine.files.values()]
            held = sum(r.n for file in machine.files.values() for r in file.swapped)
            assert held == machine.swap.used, name
            assert 0 == machine.total("anon") == machine.total("file_mapped"), name
            assert 1 == machine.mm_ids.alloc(), name


def _same_memory(system: System, other: System) -> bool:
    ours, theirs = system.machine.processes, other.machine.processes
    return list(ours) == list(theirs) and all(
        (present(p.mm), resident(p.mm)) == (present(theirs[p.name].mm), resident(theirs[p.name].mm))
        for p in ours.values()
    )


def _common(machine: Any) -> dict[str, object]:
    """The picture of a machine without what only one of the twins counts."""
    seen = picture(machine)
    folios = []
    for start, n, (order, state) in seen["folios"]:
        *common, _, marks, counters = state
        page_counts = ("page_mapcount", "nr_pages_mapped")
        kept = [c for c in counters if c[0] not in page_counts]
        folios.append((start, n, (order, common, marks, kept)))
    del seen["statistics"], seen["events"]
    return {**seen, "folios": flat(folios)}
