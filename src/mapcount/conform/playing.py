"""A scenario acted out on the running kernel from beginning to end: a recording of what it answered."""

from __future__ import annotations

import os
import time
from typing import Any

from mapcount.conform.acting import Stage
from mapcount.conform.director import AgentLost
from mapcount.conform.fitting import FolioSizes
from mapcount.conform.observing import Observer
from mapcount.scenario.recording import Answer, Recording, recorded_steps
from mapcount.scenario.syntax import Scenario, Step
from mapcount.tracking.flavour import Flavour

LOOKS = 20
"""How often at most a step is looked at until two looks agree."""
PAUSE = 0.002
"""Seconds between two looks that did not."""


def play(
    scenario: Scenario, flavour: Flavour, observer: Observer, sizes: FolioSizes, cpu: int | None = None
) -> Recording:
    """Act a scenario out with real processes and observe each step.

    When a system call fails or a process is killed, where the simulator says that neither happens, the
    recording ends with that step. Raises ScenarioError for what no kernel would do.
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
    for action in step.actions:
        if action.verb != "expect":
            try:
                error = stage.act(action)
            except AgentLost as lost:
                error = str(lost)
            if error:
                return [error]
    return []


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
