"""A scenario acted out on the running kernel from beginning to end: a recording of what it answered."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from mapcount.conform.acting import Stage
from mapcount.conform.director import AgentLost
from mapcount.conform.fitting import FolioSizes
from mapcount.conform.observing import Observer
from mapcount.scenario.recording import Answer, Recording, recorded_steps
from mapcount.scenario.syntax import Scenario, Step
from mapcount.tracking.flavour import Flavour

REFUSALS = {
    ("mmap", "ENOMEM"): "vm.overcommit_memory, ulimit -v, free hugetlb pages",
    ("mremap", "ENOMEM"): "vm.overcommit_memory, ulimit -v",
    ("fork", "ENOMEM"): "vm.overcommit_memory",
    ("fork", "EAGAIN"): "ulimit -u, pids.max of its control group",
    ("pin", "ENOMEM"): "ulimit -l",
    ("read", "ENOMEM"): "ulimit -v",
    ("write", "ENOMEM"): "ulimit -v",
}
"""(verb, error) of calls that fail for what the machine allows and not for what is mapped: who sets that."""
OOM_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)

LOOKS = 20
"""How often at most a step is looked at until two looks agree."""
PAUSE = 0.002
"""Seconds between two looks that did not."""


class Refused(RuntimeError):
    """The machine has not the room for a scenario, or allows it less: that says nothing of the kernel."""


def play(
    scenario: Scenario, flavour: Flavour, observer: Observer, sizes: FolioSizes, cpu: int | None = None
) -> Recording:
    """Act a scenario out with real processes and observe each step.

    When a system call fails or a process is killed, where the simulator says that neither happens, the
    recording ends with that step. Raises ScenarioError for what no kernel would do, and Refused where the
    machine gives less memory or fewer processes than the scenario needs.
    """
    answers: list[Answer] = []
    with Stage(scenario, flavour, sizes, cpu) as stage:
        stage.begin()
        for step in recorded_steps(scenario, 2):
            errors = _act(stage, step)
            answers.append(
                {
                    "format": 2,
                    "scenario": scenario.name,
                    "kernel": os.uname().release,
                    "flavour": flavour.name,
                    "step": len(answers),
                    "text": step.text,
                    "read": observer.read,
                    "errors": errors,
                    "processes": [] if errors else _quiet_look(stage, observer),
                }
            )
            if errors:
                break
    return Recording("the running kernel", flavour, {scenario.name: tuple(answers)}, 2, os.uname().release)


def _act(stage: Stage, step: Step) -> list[str]:
    """Carry out a step; what went wrong, if anything. Raises Refused."""
    for action in step.actions:
        if action.verb != "expect":
            kills = _oom_kills()
            try:
                error = stage.act(action)
            except AgentLost as lost:
                if _oom_kills() != kills:
                    raise Refused(f"{lost}, and the kernel has killed a process for want of memory") from None
                return [str(lost)]
            what = f"{action.actor} {action.verb}: {error}"
            if error and (action.verb, error) in REFUSALS:
                limits = REFUSALS[action.verb, error]
                raise Refused(f"line {step.line}: {what}, the machine allows no more ({limits})")
            if error:
                return [what]
    return []


def _oom_kills() -> str | None:
    """How many processes the kernel has killed for want of memory."""
    found = OOM_KILLS.search(Path("/proc/vmstat").read_text())
    return found[1] if found else None


def _quiet_look(stage: Stage, observer: Observer) -> list[dict[str, Any]]:
    """Look until two looks agree: what others hold for a moment, or do in the background, passes."""
    stage.settle()
    seen = observer.look(stage.actors, stage.places())
    for _ in range(LOOKS):
        again = observer.look(stage.actors, stage.places())
        if again == seen:
            break
        seen = again
        time.sleep(PAUSE)
        stage.settle()
    return seen
