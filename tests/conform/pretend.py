"""A running kernel that only pretends: it answers as simulated, but for what it is told to falsify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.scenario.recorder import recorded

from mapcount.conform.check import RunningKernel
from mapcount.conform.fitting import Host
from mapcount.conform.observing import Observer
from mapcount.live.thp import Thp
from mapcount.scenario.recording import Recording
from mapcount.scenario.syntax import Scenario
from mapcount.tracking.flavour import PAGE_MAPCOUNT

SIZES = {16: "never", 64: "madvise", 2048: "madvise"}
HOST = Host(
    Thp(SIZES, SIZES, Path("/nowhere")), set_thp=True, swap=False, pins=True, huge_free={}, available=1 << 30
)

Falsify = Callable[[dict[str, Any], int], None]
"""Changes the answer of one step; is told which run of a scenario it is, from 0."""


class PretendKernel(RunningKernel):
    """Plays scenarios without any process."""

    def __init__(self, falsify: Falsify = lambda answer, run: None) -> None:
        super().__init__(PAGE_MAPCOUNT, replace(HOST), Observer())
        self.release = "7.0-pretend"
        self.falsify = falsify
        self.played: list[Scenario] = []

    def play(self, scenario: Scenario) -> Recording:
        """What the simulator answers, falsified."""
        run = self.played.count(scenario)
        self.played.append(scenario)
        recording = recorded(scenario, self.flavour)
        for answer in recording.of(scenario.name):
            assert isinstance(answer, dict)
            self.falsify(answer, run)
        return recording


def shared_pages_counted_once(answer: dict[str, Any], run: int) -> None:
    """A kernel that says in kpagecount that a page mapped twice is mapped once."""
    for process in answer["processes"]:
        for region in process["regions"]:
            region["kpagecount"] = region["kpagecount"].replace("*2", "*1")
