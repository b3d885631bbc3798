"""A race: threads that run programs over one folio, from a given start. And what exploring it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mapcount.check.races.acts import Act
from mapcount.check.races.folio import FolioOps
from mapcount.check.races.interleaving import Line, breaks, fewest_switches, replay
from mapcount.check.races.machine import Machine
from mapcount.check.races.memory import Steps
from mapcount.check.races.properties import Judgement
from mapcount.check.races.rules import Rules
from mapcount.check.races.search import MOST_STATES, Broken, Explored, explore
from mapcount.check.races.start import Start


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread: what it is called, what it does in words, and the programs that it runs in turn."""

    name: str
    does: str
    acts: tuple[Act, ...]

    def program(self, folio: FolioOps) -> Callable[[], Steps[None]]:
        """Its whole program."""

        def run() -> Steps[None]:
            for act in self.acts:
                yield from act(folio)

        return run


@dataclass(frozen=True, slots=True)
class Race:
    """Threads over one folio; every property is to hold in every interleaving."""

    name: str
    story: str
    start: Start
    threads: tuple[Thread, ...]

    def machine(self, rules: Rules, memory_model: str = "sc", *, merge: bool = True) -> Machine:
        """The threads, ready to run under these rules."""
        folio = FolioOps(self.start.nr_pages, rules)
        programs = [(thread.name, thread.program(folio)) for thread in self.threads]
        return Machine(self.start.values(), programs, memory_model, merge=merge)

    def explore(
        self,
        rules: Rules,
        memory_model: str = "sc",
        *,
        most_states: int = MOST_STATES,
        stop_at: Iterable[str] | None = None,
    ) -> Explored:
        """Every interleaving, judged by every property."""
        judge = Judgement(self.start)
        machine = self.machine(rules, memory_model)
        return explore(machine, judge.always, judge.at_rest, most_states=most_states, stop_at=stop_at)

    def retell(self, broken: Broken, rules: Rules, memory_model: str = "sc") -> tuple[Line, ...]:
        """The steps to a broken state, in an order that reads well."""
        judge = Judgement(self.start)
        machine = self.machine(rules, memory_model)
        is_broken = breaks(broken.property, machine, judge.always, judge.at_rest)
        done = replay(machine, fewest_switches(machine, broken.moves, is_broken))
        assert done is not None, "the steps of a search can be taken"
        return tuple(done[1])
