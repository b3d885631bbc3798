"""A real kernel's answers beside the simulated ones, field by field, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mapcount.scenario.answer import Watch
from mapcount.scenario.recording import Recording, RecordingError
from mapcount.scenario.simulated import act
from mapcount.scenario.syntax import Scenario, Step
from mapcount.sim.system import System


@dataclass(frozen=True, slots=True)
class KnownDeviation:
    """A difference whose cause is known and documented; `docs/kernel-deviations.md#id` has the evidence."""

    id: str
    sentence: str


PAGEMAP_PMD_EXCLUSIVE = KnownDeviation(
    "pagemap-pmd-exclusive",
    "pagemap's bit 56 of every page under a PMD is the first page's: the kernel asks only about that one",
)
KNOWN_DEVIATIONS = {d.id: d for d in (PAGEMAP_PMD_EXCLUSIVE,)}
"""Every known deviation of a real kernel from what its documentation says, by id."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field on which the real and the simulated kernel disagree, and why, if that is known."""

    field: str
    real: object
    simulated: object
    known: KnownDeviation | None = None


@dataclass(frozen=True, slots=True)
class ComparedStep:
    """One step: both answers, how many fields were compared, and those that differ."""

    step: Step
    real: Mapping[str, Any]
    simulated: Mapping[str, Any]
    fields: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A scenario on a recorded kernel and on the simulated one of the same flavour."""

    scenario: Scenario
    recording: Recording
    steps: tuple[ComparedStep, ...]

    @property
    def fields(self) -> int:
        """How many fields were compared."""
        return sum(step.fields for step in self.steps)

    @property
    def unknown(self) -> list[tuple[ComparedStep, Difference]]:
        """The differences that nobody has explained: each is a finding."""
        return [(step, d) for step in self.steps for d in step.differences if d.known is None]

    @property
    def known(self) -> list[tuple[ComparedStep, Difference]]:
        """The differences that are documented."""
        return [(step, d) for step in self.steps for d in step.differences if d.known is not None]


def compare(scenario: Scenario, recording: Recording) -> Comparison:
    """Run a scenario on the simulated kernel of the recording's flavour and compare after every step.

    Raises RecordingError when the recording does not have that scenario with as many steps.
    """
    answers = recording.of(scenario.name)
    if len(answers) != len(scenario.steps):
        raise RecordingError(
            f"{recording.path}: {scenario.name} was recorded in {len(answers)} steps, "
            f"{scenario.path} has {len(scenario.steps)}"
        )
    system = System(recording.flavour)
    if scenario.first:
        system.spawn(scenario.first)
    watch, ids = Watch(system.machine), MmIds()
    steps = []
    for step, real in zip(scenario.steps, answers, strict=True):
        for action in step.actions:
            if action.verb != "expect":
                act(system, scenario, action)
        simulated = watch.answer()
        quirky = watch.answer(head_speaks_for_pmd=True)
        ids.forget({process.mm.mm_id for process in system.machine.processes.values()})
        found = list(_differences(real, simulated, quirky, ids))
        differing = tuple(d for d in found if d is not None)
        steps.append(ComparedStep(step, real, simulated, len(found), differing))
    return Comparison(scenario, recording, tuple(steps))


class MmIds:
    """Which recorded MM id stands for which simulated one: boots differ in the values, not in who is who."""

    def __init__(self) -> None:
        self._simulated: dict[int, int] = {}

    def same(self, real: int, simulated: int) -> bool:
        """Do these two name the same mm? Ids never seen before are taken to."""
        if not real or not simulated:
            return real == simulated
        if real not in self._simulated and simulated not in self._simulated.values():
            self._simulated[real] = simulated
        return self._simulated.get(real) == simulated

    def forget(self, alive: set[int]) -> None:
        """Ids of mms that are gone may be given to others."""
        self._simulated = {real: ours for real, ours in self._simulated.items() if ours in alive}


def _differences(
    real: Mapping[str, Any], simulated: Mapping[str, Any], quirky: Mapping[str, Any], ids: MmIds
) -> Iterator[Difference | None]:
    """For every field of either answer: None where they agree, the difference where they do not."""
    left, right, odd = (dict(_fields(answer)) for answer in (real, simulated, quirky))
    for field in {**left, **right}:
        if field == "folio.page_mapcount" and "folio.page_mapcount" not in right:
            continue  # without per-page counts the words are not maintained: their content means nothing
        a, b = left.get(field), right.get(field)
        if field == "folio.mm_id" and isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            agree = all(ids.same(x, y) for x, y in zip(a, b, strict=True))
        else:
            agree = a == b
        if agree:
            yield None
        else:
            yield Difference(field, a, b, PAGEMAP_PMD_EXCLUSIVE if a == odd.get(field) else None)


def _fields(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every field that is compared; histograms only repeat the run-length text."""
    for part in ("folio", "charged_pages", "events"):
        for name, value in answer[part].items():
            yield f"{part}.{name}", value.get("rle") if isinstance(value, dict) else value
    yield "actors", [actor["name"] for actor in answer["actors"]]
    for actor in answer["actors"]:
        yield f"{actor['name']}.vmas", actor.get("vmas")
        for part in ("smaps", "pm"):
            for name, value in actor[part].items():
                yield f"{actor['name']}.{part}.{name}", value
