"""Do on the running kernel what the simulator does on paper: act a story out with real processes, timed.

The processes are those of `mapcount bench` (`mapcount.bench.acting`): the time that their system calls take
on the CPU counts. Filling the memory is not counted. Swap and NUMA placement are left out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from mapcount.bench.acting import FIRST_PAGE, TimedDirector, TimedStage
from mapcount.bench.look import look
from mapcount.bench.room import HEADROOM_KIB, available_kib, check_room
from mapcount.live.live_source import open_live_source
from mapcount.live.snapshot import Source
from mapcount.live.thp import read_thp, thp_settings
from mapcount.scenario.syntax import Scenario

GIB = 1 << 20
"""In KiB."""


@dataclass(frozen=True)
class RealRun:
    """One story on the running kernel."""

    seconds: float
    """Of all steps but the filling of the memory."""
    folio_kib: int | None
    """The folio size that most of the memory got; None where this kernel does not tell us."""


def size_gib(wanted: int) -> int:
    """As many GiB as wanted, or as are free. Raises CannotHere where there is not one."""
    free = (available_kib() - HEADROOM_KIB) // GIB
    check_room(GIB, available_kib())
    return min(wanted, free)


def measure(story: Scenario, folio_kib: int, runs: int, allow_sysfs: bool) -> list[RealRun]:
    """Act the story out. `allow_sysfs` permits to enable folios of that size meanwhile, if they are not.

    Raises CannotHere, OSError or AgentLost where it cannot be done.
    """
    with open_live_source(struct_folio=False) as source, thp_settings() as session:
        if allow_sysfs:
            session.write(read_thp().writes_for(folio_kib))
        return [_act_out(story, source) for _ in range(runs)]


def _act_out(story: Scenario, source: Source) -> RealRun:
    ns, seen = 0, None
    director = TimedDirector(cpu=max(os.sched_getaffinity(0)))
    with director:
        director.start("P")
        stage = TimedStage(director, tables_first=True)
        for action in (action for step in story.steps for action in step.actions):
            took = stage.act(action)
            ns += took if action.verb not in ("mmap", "write") else 0
            if action.verb == "write":
                seen = look(source, stage.pid(action.actor), FIRST_PAGE, stage.nr_pages)
    forms = seen.forms if seen else {}
    return RealRun(ns / 1e9, max(forms, key=lambda form: forms[form]).kib if forms else None)
