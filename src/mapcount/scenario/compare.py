"""A real kernel's answers beside the simulated ones, field by field, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mapcount.scenario import answer, regions
from mapcount.scenario.answer import Watch
from mapcount.scenario.recording import Answer, Recording, RecordingError, recorded_steps
from mapcount.scenario.simulated import act
from mapcount.scenario.simulated_regions import AllRegions
from mapcount.scenario.syntax import Scenario, Step
from mapcount.sim.machine import Machine
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
NUMA_MAPS_PMD_MAPMAX = KnownDeviation(
    "numa-maps-pmd-mapmax",
    "numa_maps' mapmax looks only at the first of the pages under a PMD, not for the largest count",
)
PAGEMAP_HUGE_ZERO_FILE = KnownDeviation(
    "pagemap-huge-zero-file",
    "pagemap's bit 61 (file or shared) is set for the huge zero page, though not for the small one",
)
KNOWN_DEVIATIONS = {d.id: d for d in (PAGEMAP_PMD_EXCLUSIVE, NUMA_MAPS_PMD_MAPMAX, PAGEMAP_HUGE_ZERO_FILE)}
"""Every known deviation of a real kernel from what its documentation says, by id."""
SHOWS_IN = {"mapmax": NUMA_MAPS_PMD_MAPMAX, "file": PAGEMAP_HUGE_ZERO_FILE}
"""In which fields, by the last part of their names; all others are pagemap's bit 56."""


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

    Raises RecordingError when the recording does not have that scenario with as many steps. It may have
    fewer if a system call failed in its last one: what would have come after that nobody knows.
    """
    answers = recording.of(scenario.name)
    recorded = recorded_steps(scenario, recording.format)
    if len(answers) != len(recorded) and not (answers[-1].get("errors") and len(answers) < len(recorded)):
        raise RecordingError(
            f"{recording.path}: {scenario.name} was recorded in {len(answers)} steps, "
            f"{scenario.path} has {len(recorded)}"
        )
    system = System(recording.flavour)
    if scenario.first:
        system.spawn(scenario.first)
    words, ids = _words(system.machine, recording.format, answers[0]), MmIds()
    steps = []
    for step, real in zip(recorded, answers, strict=False):
        for action in step.actions:
            if action.verb != "expect":
                act(system, scenario, action)
        words.settle()
        simulated, quirky = words.answer(), words.answer(deviating=True)
        ids.forget({process.mm.mm_id for process in system.machine.processes.values()})
        found = list(_differences(words.fields, real, simulated, quirky, ids))
        differing = tuple(d for d in found if d is not None)
        steps.append(ComparedStep(step, real, simulated, len(found), differing))
    return Comparison(scenario, recording, tuple(steps))


@dataclass(frozen=True, slots=True)
class Words:
    """How a format speaks of a kernel after a step."""

    answer: Callable[..., Mapping[str, Any]]
    """What the simulated kernel says."""
    fields: Callable[[Mapping[str, Any]], Iterator[tuple[str, Any]]]
    """(path, value) of every field of an answer."""
    settle: Callable[[], None]
    """What a recorder does to the machine before it looks."""


def _words(machine: Machine, version: int, first: Answer) -> Words:
    if version == 1:
        return Words(Watch(machine).answer, answer.fields, lambda: None)
    seen = AllRegions(machine, first["read"])
    return Words(seen.answer, regions.fields, machine.lru_add_drain)


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
    fields: Callable[[Mapping[str, Any]], Iterator[tuple[str, Any]]],
    real: Mapping[str, Any],
    simulated: Mapping[str, Any],
    quirky: Mapping[str, Any],
    ids: MmIds,
) -> Iterator[Difference | None]:
    """For every field of either answer: None where they agree, the difference where they do not."""
    if real.get("errors"):
        yield Difference("errors", real["errors"], simulated.get("errors"))
        return
    left, right, odd = (dict(fields(answer)) for answer in (real, simulated, quirky))
    for field in {**left, **right}:
        if field == "folio.page_mapcount" and field not in right:
            continue  # without per-page counts the words are not maintained: their content means nothing
        a, b = left.get(field), right.get(field)
        agree = _same_mms(a, b, ids) if field.endswith("mm_id") else a == b
        if agree:
            yield None
        else:
            known = SHOWS_IN.get(field.rpartition(".")[2], PAGEMAP_PMD_EXCLUSIVE)
            yield Difference(field, a, b, known if a == odd.get(field) else None)


def _same_mms(real: object, simulated: object, ids: MmIds) -> bool:
    """Do an MM id, or a list of them, name the same mms?"""
    if isinstance(real, list) and isinstance(simulated, list) and len(real) == len(simulated):
        return all(_same_mms(a, b, ids) for a, b in zip(real, simulated, strict=True))
    if isinstance(real, int) and isinstance(simulated, int):
        return ids.same(real, simulated)
    return real == simulated
