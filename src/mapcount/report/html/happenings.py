"""What happened to folios in each step: every mapping event, with the rule that fired, in words.

`Narrator` watches a run. It keeps each large folio's state as of its last event, so that it can say which
row of the rules turned the one into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mapcount.report.html.scene import Scene, look_at
from mapcount.report.html.slot_rules import counted, fired
from mapcount.report.words import size
from mapcount.scenario.run import Watcher
from mapcount.scenario.syntax import Step
from mapcount.sim.memory import FolioRun
from mapcount.sim.runs import Runs
from mapcount.sim.system import System
from mapcount.tracking.flavour import PMD_ORDER, PUD_ORDER
from mapcount.tracking.folio import Folio

ENTRIES = {0: "PTE", PMD_ORDER: "PMD", PUD_ORDER: "PUD"}
"""What page-table entries of each level are called."""
STATS = {"anon": "AnonPages", "file_mapped": "Mapped"}
"""Statistics that a mapping event may change."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Mapping events of one kind that came one after another in a step."""

    pfn: int
    """First page frame of the folio it happened to first."""
    event: str
    """`P unmaps 16 PTEs`."""
    case: str
    effect: str
    counts: str
    """Counters beside total and slots."""
    stats: Mapping[str, int]
    """By how many KiB statistics changed, all events together."""
    times: int = 1
    """To so many folios, or parts of them, in a row."""
    last: str = ""
    """The effect of the last of several events, where it has other numbers than the first."""


class _Known:
    """Folios at [start, start + n) had this state after their last event."""

    __slots__ = ("folio", "n", "start")

    def __init__(self, start: int, n: int, folio: Folio) -> None:
        self.start, self.n, self.folio = start, n, folio

    def cut(self, at: int) -> _Known:
        """Keep what is before `at`, return the rest."""
        rest = _Known(at, self.start + self.n - at, self.folio)
        self.n = at - self.start
        return rest

    def joins(self, after: _Known) -> bool:
        """Never: states are not compared."""
        return False


class Narrator:
    """Watches a run: a picture of the machine before each step, and what happened in it."""

    def __init__(self, beside: Watcher | None = None) -> None:
        self._beside = beside
        self.scenes: list[Scene] = []
        """Before each step; after the last one too, once `finish` was called."""
        self.happenings: list[list[Happening]] = []
        self._system: System | None = None
        self._known: Runs[_Known] = Runs()
        self._names: dict[int, str] = {}
        self._stats: dict[str, int] = dict.fromkeys(STATS, 0)

    def begin(self, step: Step, system: System) -> None:
        """A step begins."""
        if self._beside is not None:
            self._beside.begin(step, system)
        self._system = system
        self.scenes.append(look_at(system))
        self.happenings.append([])

    def answers(self, run: FolioRun) -> Mapping[str, bool]:
        """What whoever watches too says of a folio."""
        return self._beside.answers(run) if self._beside is not None else {}

    def finish(self) -> None:
        """The last step is over."""
        assert self._system is not None
        self.scenes.append(look_at(self._system))

    def event(self, run: FolioRun, what: str, mm_id: int, page: int, nr: int, level: int) -> None:
        """Look-alike folios were mapped or unmapped."""
        if self._beside is not None:
            self._beside.event(run, what, mm_id, page, nr, level)
        assert self._system is not None
        self._names |= {p.mm.mm_id: p.name for p in self._system.machine.processes.values()}
        after = run.folio.copy()
        before = self._state(run)
        rule = fired(before, after, mm_id, self._names, new=what == "new")
        event = f"{self._names.get(mm_id, f'mm {mm_id}')} {_event(what, nr, level, run)}"
        counts, stats = counted(before, after), self._changed_stats()
        self._tell(Happening(run.start, event, rule.case, rule.effect, counts, stats, run.count))
        self._known.remove(run.start, run.start + run.n)
        self._known.insert(_Known(run.start, run.n, after))

    def _state(self, run: FolioRun) -> Folio:
        """A folio's state after its last event; as new if there was none."""
        known = self._known.at(run.start)
        if known is not None and known.folio.order == run.folio.order:
            return known.folio
        return Folio(run.folio.flavour, run.folio.order, hugetlb=run.folio.hugetlb)

    def _changed_stats(self) -> dict[str, int]:
        """By how many KiB each statistic changed since it was asked last."""
        assert self._system is not None
        now = {key: self._system.machine.total(key) for key in STATS}
        changed = {name: 4 * (now[key] - self._stats[key]) for key, name in STATS.items()}
        self._stats = now
        return {name: kib for name, kib in changed.items() if kib}

    def _tell(self, one: Happening) -> None:
        """Add to the step's list; more of the same, to other pages or folios, is counted."""
        told = self.happenings[-1]
        if told and (told[-1].event, told[-1].case) == (one.event, one.case):
            first = told[-1]
            stats = {
                name: first.stats.get(name, 0) + one.stats.get(name, 0) for name in (*first.stats, *one.stats)
            }
            told[-1] = replace(
                first,
                stats=stats,
                times=first.times + one.times,
                last=one.effect if one.effect != first.effect else first.last,
            )
        else:
            told.append(one)


def _event(what: str, nr: int, level: int, run: FolioRun) -> str:
    number = nr >> level if level in ENTRIES else 1
    entries = f"{number} {ENTRIES.get(level, 'entry')}{'s' * (number != 1)}"
    folio = f"{size(4 << run.folio.order)} folio"
    if what == "new":
        return f"gets a new {folio}, mapped by {entries}"
    if what == "dup":
        return f"inherits {entries} of a {folio}"
    return f"{'maps' if what == 'map' else 'unmaps'} {entries} of a {folio}"
