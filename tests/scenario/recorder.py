"""A recorder of simulated kernels, in format 2: what a kernel that is exactly as simulated would answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mapcount.scenario.recording import Recording, recorded_steps
from mapcount.scenario.simulated import act
from mapcount.scenario.simulated_regions import AllRegions
from mapcount.scenario.syntax import Scenario
from mapcount.sim.system import System
from mapcount.tracking.flavour import Flavour

READ = ("smaps", "pagemap", "kpagecount", "kpageflags", "numa_maps", "folio", "referenced")


def recorded(
    scenario: Scenario, flavour: Flavour, read: Sequence[str] = READ, *, deviating: bool = False
) -> Recording:
    """The recording of a scenario; `deviating`: of a kernel that deviates in the ways that are known."""
    system = System(flavour)
    if scenario.first:
        system.spawn(scenario.first)
    seen = AllRegions(system.machine, read)
    answers: list[dict[str, Any]] = []
    for step in recorded_steps(scenario, 2):
        for action in step.actions:
            if action.verb != "expect":
                act(system, scenario, action)
        system.machine.lru_add_drain()
        header = {"format": 2, "scenario": scenario.name, "kernel": "7", "flavour": flavour.name}
        header |= {"step": len(answers), "text": step.text, "read": list(read)}
        answers.append(header | json.loads(json.dumps(seen.answer(deviating=deviating))))
    return Recording("made", flavour, {scenario.name: tuple(answers)}, 2, "7")
