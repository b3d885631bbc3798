"""Is the running kernel as simulated? A scenario is acted out, compared, and what deviates is tried again.

Something else on the machine may hold a folio for a moment, or move it. So a difference counts as a deviation
only if it is there every time the scenario is acted out; one that comes and goes is reported as fleeting.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from mapcount.conform.fitting import FolioSizes, Host, this_host, why_not
from mapcount.conform.observing import Observer
from mapcount.conform.playing import Refused, play
from mapcount.live.btf import VMLINUX, Btf, BtfError
from mapcount.live.kernel import kernel_config, release, running_flavour
from mapcount.live.snapshot import CannotHere
from mapcount.live.struct_folio import FolioReader, open_folio_reader
from mapcount.live.thp import thp_settings
from mapcount.scenario.compare import ComparedStep, Comparison, Difference, compare
from mapcount.scenario.recording import Recording
from mapcount.scenario.syntax import Scenario
from mapcount.tracking.flavour import Flavour

TIMES = 3
"""How often a difference must be seen, in so many runs, to be a deviation."""


@dataclass(frozen=True, slots=True)
class Conformance:
    """What came of one scenario on the running kernel."""

    scenario: Scenario
    skipped: str | None = None
    """Why it was not acted out, or not to the end."""
    set_thp_helps: bool = False
    """Was it skipped only because the settings of folio sizes may not be changed?"""
    comparison: Comparison | None = None
    """The first run beside the simulation; None if skipped."""
    deviations: tuple[tuple[ComparedStep, Difference], ...] = ()
    """Differences that nobody has explained, and that every run showed."""
    fleeting: tuple[tuple[ComparedStep, Difference], ...] = ()
    """Those that not every run showed."""


class RunningKernel:
    """The kernel that runs us, ready to act scenarios out. Made by `running_kernel`."""

    def __init__(self, flavour: Flavour, host: Host, observer: Observer) -> None:
        self.flavour = flavour
        self.release = release()
        self.host = host
        self.observer = observer
        self._cpu = max(os.sched_getaffinity(0))

    def play(self, scenario: Scenario) -> Recording:
        """Act a scenario out once.

        Raises ScenarioError for what no kernel would do, and Refused where the machine gives it too little.
        """
        with thp_settings() as session:
            return play(scenario, self.flavour, self.observer, FolioSizes(self.host, session), self._cpu)

    def conform(self, scenario: Scenario) -> Conformance:
        """Act a scenario out, and again where it deviates. Raises ScenarioError if no kernel could."""
        lacking = why_not(scenario, self.flavour, self.host)
        if lacking:
            even_so = why_not(scenario, self.flavour, replace(self.host, set_thp=True))
            return Conformance(scenario, skipped=even_so or lacking, set_thp_helps=even_so is None)
        try:
            return self._compared(scenario)
        except Refused as refused:
            return Conformance(scenario, skipped=str(refused))

    def _compared(self, scenario: Scenario) -> Conformance:
        """Acted out, and again where it deviates. Raises Refused."""
        comparison = compare(scenario, self.play(scenario))
        recurring = {_key(step, difference) for step, difference in comparison.unknown}
        for _ in range(TIMES - 1):
            if recurring:
                again = compare(scenario, self.play(scenario))
                recurring &= {_key(step, difference) for step, difference in again.unknown}
        return Conformance(
            scenario,
            comparison=comparison,
            deviations=tuple(pair for pair in comparison.unknown if _key(*pair) in recurring),
            fleeting=tuple(pair for pair in comparison.unknown if _key(*pair) not in recurring),
        )


def _key(step: ComparedStep, difference: Difference) -> tuple[int, str]:
    return step.step.line, difference.field


@contextmanager
def running_kernel(*, set_thp: bool = False) -> Iterator[tuple[RunningKernel, list[str]]]:
    """The running kernel, and sentences that say what of it cannot be read.

    `set_thp`: it may change which folio sizes faults use, while a scenario runs. Raises CannotHere without
    the right to see page frames.
    """
    limits: list[str] = []
    with ExitStack() as stack:
        reader: FolioReader | None = None
        try:
            reader = stack.enter_context(open_folio_reader())
        except CannotHere as error:
            limits.append(f"struct folio is not compared: {error}")
        try:
            observer = stack.enter_context(Observer(reader))
        except OSError as error:
            raise CannotHere(f"{error.filename}: {error.strerror}; run as root to see page frames") from None
        if "referenced" not in observer.read:
            limits.append("accessed marks are not compared: DAMON runs here, which moves them around")
        flavour = reader.flavour if reader else _flavour()
        yield RunningKernel(flavour, this_host(set_thp=set_thp), observer), limits


def _flavour() -> Flavour:
    try:
        types: Btf | None = Btf.read(VMLINUX)
    except BtfError:
        types = None
    return running_flavour(types, kernel_config(release()))
