"""What the simulator says of a story's timed step: counter updates, and pages reused or copied."""

from __future__ import annotations

from dataclasses import dataclass

from mapcount.bench.story import PAGE_KIB, PMD_KIB, REGION, Form, Story
from mapcount.scenario.simulated import act
from mapcount.sim.system import System
from mapcount.tracking.flavour import Flavour
from mapcount.tracking.rmap import Cost

SAMPLE_KIB = 8 * PMD_KIB
"""How much memory is simulated. All of it is alike, so more of it says no more."""


@dataclass(frozen=True, slots=True)
class Updates:
    """Counter updates per page of the memory."""

    page: float
    """Of single pages' own counts: what NO_PAGE_MAPCOUNT does without."""
    locked: float
    """Of (total, slots) under the folio's lock."""
    atomic: float
    """Of single counters of the folio."""

    @property
    def total(self) -> float:
        """All of them."""
        return self.page + self.locked + self.atomic


@dataclass(frozen=True, slots=True)
class Prediction:
    """One story on one simulated kernel."""

    updates: Updates
    copied: float | None
    """The part of the pages that the timed step copies; None if it is not a write."""


def predict(story: Story, form: Form, flavour: Flavour) -> Prediction:
    """Act the story out on the simulated kernel."""
    scenario = story.scenario(form, SAMPLE_KIB)
    system = System(flavour)
    system.spawn("P")
    *before, timed = scenario.steps
    for step in before:
        for action in step.actions:
            act(system, scenario, action)
    frames = _frames(system, story) if story.writes else []
    cost = dict(system.machine.cost)
    for action in timed.actions:
        act(system, scenario, action)
    pages = SAMPLE_KIB // PAGE_KIB
    spent = Cost(**{name: count - cost.get(name, 0) for name, count in system.machine.cost.items()})
    return Prediction(
        Updates(spent.page_updates / pages, spent.locked_updates / pages, spent.atomic_updates / pages),
        _changed(frames, _frames(system, story)) / pages if story.writes else None,
    )


def _frames(system: System, story: Story) -> list[int]:
    """The page frame behind each page of the actor's memory."""
    process = system.process(story.actor)
    region = process.regions[REGION]
    entries = process.mm.table.over(region.start, region.end)
    return [entry.target_of(vpn) for entry in entries for vpn in range(entry.start, entry.end)]


def _changed(before: list[int], after: list[int]) -> int:
    return sum(was != now for was, now in zip(before, after, strict=True))
