"""The audit of a machine: chosen processes, every large folio once, statistics, and what stayed unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mapcount.audit.census import Census, FolioSize, folio_sizes
from mapcount.audit.large_folios import LargeFolios
from mapcount.audit.mistakes import Mistakes
from mapcount.audit.reading import Reading, read_process
from mapcount.audit.smaps import Memory
from mapcount.audit.statistics import PREDICTED, AuditedCgroup, Statistic, cgroups, meminfo
from mapcount.audit.survey import Survey, survey
from mapcount.live.snapshot import U64, Bool, Machine, Source, Unreadable
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, Flavour

ATTEMPTS = 3
"""How often a process is read before it is believed to be moving."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many processes are done, and of how many."""


@dataclass(frozen=True, slots=True)
class AuditedProcess:
    """One process: what smaps says, and what it would say."""

    pid: int
    comm: str
    cgroup: str
    sharing: tuple[int, ...]
    now: Memory
    under: Mapping[str, Memory]
    """By flavour; empty where nothing could be predicted."""
    mistakes: Mistakes
    guessed_kib: int
    """Uss without per-page counts is lower by up to so much: the kernel's flags could not be read."""
    miscounted: int
    """Large folios whose pages' counts are uncertain: page tables do not add up to the kernel's count."""
    off_kib: int
    """The pages read differ so much from smaps, beyond rounding: something moved meanwhile."""

    @property
    def estimated(self) -> bool:
        """Are the figures under other kernels estimates, for whatever reason but flags that are not known?"""
        return self.off_kib > 0 or self.miscounted > 0


@dataclass(frozen=True, slots=True)
class Audit:
    """One machine."""

    name: str
    machine: Machine
    whole: bool
    """Were all processes asked for?"""
    itself: int | None
    """The process that did the reading, which was left out of everything; None if it was not meant anyway."""
    processes: tuple[AuditedProcess, ...]
    folios: tuple[FolioSize, ...]
    meminfo: Mapping[str, Statistic]
    """AnonPages and Mapped; lower bounds unless `complete`."""
    cgroups: tuple[AuditedCgroup, ...]
    unreadable: tuple[Unreadable, ...]
    """Processes asked for that could not be read, and their reasons."""
    unseen: tuple[Unreadable, ...]
    """Processes whose page tables were needed for the truth and could not be read."""
    partly_unknown: int
    """Partly mapped folios of which it is not known how much is mapped."""

    @property
    def complete(self) -> bool:
        """Was everything seen that changes the statistics?"""
        return self.whole and not (self.unreadable or self.unseen or self.partly_unknown)

    @property
    def then(self) -> Flavour:
        """The kernel to compare the running one with first: the one that counts in the other way."""
        return NO_PAGE_MAPCOUNT if self.machine.flavour.page_mapcounts else PAGE_MAPCOUNT

    @property
    def mistakes(self) -> Mistakes:
        """Of all processes."""
        total = Mistakes()
        for process in self.processes:
            total.add(process.mistakes)
        return total


def audit(
    source: Source,
    pids: Sequence[int],
    *,
    refused: Sequence[Unreadable] = (),
    whole: bool = False,
    itself: int | None = None,
    on_progress: Progress | None = None,
) -> Audit:
    """Read these processes, and say what changes for each, for the machine, and where the kernel errs.

    `refused`: processes of which it could not be found out whether they are meant. `whole`: are all
    processes of the machine asked for? `itself`: the process that does the reading, if it was left out.
    """
    machine = source.machine
    known = None
    if machine.frames and not machine.flavour.page_mapcounts:
        known = survey(source, on_progress and _told(on_progress, "everybody's page tables"))
    seen = SeenFolios()
    census = Census()
    processes: dict[int, AuditedProcess] = {}
    unreadable = list(refused)
    for done, pid in enumerate(pids):
        if on_progress:
            on_progress("processes", done, len(pids))
        try:
            reading, others = read_at_rest(source, pid, known)
        except Unreadable as reason:
            unreadable.append(reason)
            continue
        if reading.process.pid in processes:  # asked for by two of its numbers: see `Process.sharing`
            continue
        census.update(reading.census)
        if others is not None:
            census.add(others.at(seen.new(others.folio)))
        processes[reading.process.pid] = _audited(machine, reading)
    if on_progress:
        on_progress("processes", len(pids), len(pids))
    kib = machine.page_size >> 10
    return Audit(
        name=source.name,
        machine=machine,
        whole=whole,
        itself=itself,
        processes=tuple(processes.values()),
        folios=folio_sizes(census, kib),
        meminfo=meminfo(machine, census) if machine.frames else {},
        cgroups=cgroups(machine, census, source.memory_stats()),
        unreadable=tuple(unreadable),
        unseen=known.unreadable if known else (),
        partly_unknown=census.unknown_unmapped,
    )


def read_at_rest(source: Source, pid: int, known: Survey | None = None) -> tuple[Reading, LargeFolios | None]:
    """Read a process until its pages agree with smaps, and its folios that others map as well.

    The last attempt counts, agreeing or not: see `Reading.off_kib`. Raises Unreadable.
    """
    before = None
    for _ in range(ATTEMPTS):
        reading = read_process(source, pid, known)
        others = reading.finish()
        seen = (reading.now, reading.off_kib)
        if not reading.off_kib or seen == before:
            break
        before = seen
    return reading, others


class SeenFolios:
    """Names of folios that were counted. Costs 8 bytes for each."""

    def __init__(self) -> None:
        self._sorted: list[U64] = []
        """Arrays, each at least twice as long as the next, so that few have to be searched."""

    def new(self, folio: U64) -> Bool:
        """Which of these, all different, were not seen before? They are now."""
        new = np.ones(len(folio), np.bool_)
        for known in self._sorted:
            at = np.searchsorted(known, folio)
            at[at == len(known)] = 0
            new &= known[at] != folio
        if new.any():
            self._sorted.append(np.sort(folio[new]))
        while len(self._sorted) > 1 and len(self._sorted[-2]) < 2 * len(self._sorted[-1]):
            self._sorted.append(np.sort(np.concatenate([self._sorted.pop(), self._sorted.pop()])))
        return new


def _audited(machine: Machine, reading: Reading) -> AuditedProcess:
    process, now = reading.process, reading.now
    by_page, by_folio = (
        _moved(now, reading.computed, answer) for answer in (reading.by_page, reading.by_folio)
    )
    under = {f.name: by_page if f.page_mapcounts else by_folio for f in PREDICTED}
    return AuditedProcess(
        pid=process.pid,
        comm=process.comm,
        cgroup=process.cgroup,
        sharing=process.sharing,
        now=now,
        under=under if machine.frames else {},
        mistakes=reading.mistakes,
        guessed_kib=reading.guessed_kib,
        miscounted=reading.miscounted,
        off_kib=reading.off_kib if machine.frames else 0,
    )


def _moved(now: Memory, computed: Memory, answer: Memory) -> Memory:
    """The kernel's own words and the change that was computed: right even if something moved meanwhile."""
    return replace(
        now,
        pss_kib=now.pss_kib + answer.pss_kib - computed.pss_kib,
        uss_kib=now.uss_kib + answer.uss_kib - computed.uss_kib,
    )


def _told(on_progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, of: on_progress(what, done, of)
