"""Run a scenario on the simulated kernel of one flavour, looking after every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mapcount.scenario.expectations import Failure, check
from mapcount.scenario.observation import FolioSeen, Observation
from mapcount.scenario.observe import Observer
from mapcount.scenario.simulated import act
from mapcount.scenario.syntax import Scenario, Step
from mapcount.sim.memory import FolioRun
from mapcount.sim.system import System
from mapcount.tracking.flavour import Flavour
from mapcount.tracking.invariants import Invariant


@dataclass(frozen=True, slots=True)
class SteppedTo:
    """One step and what came of it."""

    step: Step
    seen: Observation
    failures: tuple[Failure, ...]
    """Expectations that were not met."""
    checked: int
    """How many comparisons were made; those for other flavours are not."""
    broken: tuple[tuple[FolioSeen, Invariant], ...]
    """Invariants that do not hold any more: a bug of the scheme, or of ours."""

    @property
    def only_expects(self) -> bool:
        """Did nothing happen in this step but looking?"""
        return all(action.verb == "expect" for action in self.step.actions)


@dataclass(frozen=True, slots=True)
class Run:
    """A scenario on one flavour, step by step."""

    scenario: Scenario
    flavour: Flavour
    steps: tuple[SteppedTo, ...]

    @property
    def failures(self) -> list[Failure]:
        """Every expectation that was not met."""
        return [failure for step in self.steps for failure in step.failures]

    @property
    def checked(self) -> int:
        """How many expectations were checked."""
        return sum(step.checked for step in self.steps)

    @property
    def broken(self) -> list[tuple[SteppedTo, FolioSeen, Invariant]]:
        """Every invariant that broke, and when."""
        return [(step, folio, invariant) for step in self.steps for folio, invariant in step.broken]

    @property
    def acted(self) -> list[SteppedTo]:
        """The steps in which something happened."""
        return [step for step in self.steps if not step.only_expects]


class Watcher(Protocol):
    """Whoever wants to hear of every mapping event of a run, and may have a say in what is seen."""

    def begin(self, step: Step, system: System) -> None:
        """A step begins; `system` as it is before."""

    def event(self, run: FolioRun, what: str, mm_id: int, page: int, nr: int, level: int) -> None:
        """A mapping came or went (`mapcount.sim.machine.MappingEvent`)."""

    def answers(self, run: FolioRun) -> Mapping[str, bool]:
        """What other schemes than the kernel's say of a folio (`FolioSeen.schemes`)."""


def run(
    scenario: Scenario, flavour: Flavour, *, regions: bool = False, watcher: Watcher | None = None
) -> Run:
    """Act out every step. Raises ScenarioError at the first that no kernel could carry out.

    `regions`: look at every region of every process as well (`Observation.regions`), which takes longer.
    """
    system = System(flavour)
    if watcher is not None:
        system.machine.on_event = watcher.event
    if scenario.first:
        system.spawn(scenario.first)
    observer = Observer(system, regions=regions, answers=watcher.answers if watcher else None)
    steps: list[SteppedTo] = []
    for step in scenario.steps:
        if watcher is not None:
            watcher.begin(step, system)
        seen, broken = observer.look() if not steps else (steps[-1].seen, [])
        failures: list[Failure] = []
        checked = 0
        fresh = False
        for action in step.actions:
            if action.verb == "expect":
                if fresh:
                    seen, more = observer.look()
                    broken += more
                    fresh = False
                if not action.flavours or flavour.name in action.flavours:
                    checked += len(action.expects)
                    failures += check(system, scenario, action, seen)
            else:
                act(system, scenario, action)
                fresh = True
        if fresh:
            seen, more = observer.look()
            broken += more
        steps.append(SteppedTo(step, seen, tuple(failures), checked, tuple(broken)))
    return Run(scenario, flavour, tuple(steps))
