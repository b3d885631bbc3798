"""Observations of the simulated kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mapcount.scenario.observation import FolioSeen, Observation, RegionSeen
from mapcount.scenario.printing import show_place
from mapcount.sim import proc
from mapcount.sim.memory import FolioRun
from mapcount.sim.mm import Process, Region
from mapcount.sim.system import System
from mapcount.sim.truth import mappings, truth_of
from mapcount.tracking.invariants import Invariant, violations
from mapcount.tracking.questions import folio_average_page_mapcount, folio_maybe_mapped_shared

SYSTEM = {
    "anon_pages": "anon", "mapped": "file_mapped", "anon_huge_pages": "anon_thp",
    "shmem_huge_pages": "shmem_thp", "shmem_pmd_mapped": "shmem_pmd_mapped",
    "file_pmd_mapped": "file_pmd_mapped", "shmem": "shmem", "file_pages": "file", "swap_cached": "swapcached",
}  # fmt: skip
"""Statistics, as `kernel expect` and as the machine call them."""

EVENTS = ("thp_split_page", "thp_split_pmd", "pswpin", "pswpout")


Answers = Callable[[FolioRun], Mapping[str, bool]]
"""What other schemes say of a folio, by their names: maybe shared?"""


class Observer:
    """Sees a system after each step. Folios that no step touched are not looked at again."""

    def __init__(self, system: System, *, regions: bool = True, answers: Answers | None = None) -> None:
        self.system = system
        self._answers = answers
        self._want_regions = regions
        self._seen: dict[FolioRun, FolioSeen] = {}

    def look(self) -> tuple[Observation, list[tuple[FolioSeen, Invariant]]]:
        """What is to be seen now, and every invariant that a folio touched since the last look breaks."""
        m = self.system.machine
        touched, m.memory.touched = m.memory.touched, set()
        broken: list[tuple[FolioSeen, Invariant]] = []
        for run in touched:
            if m.memory.folios.at(run.start) is run:
                seen = self._folio(run, broken)
                self._seen[run] = seen
        alive = [run for run in m.memory.folios if run in self._seen]
        if len(alive) < len(self._seen):
            self._seen = {run: self._seen[run] for run in alive}
        folios = tuple(self._seen[run] for run in alive)
        regions, rollup = [], {}
        for process in m.processes.values():
            if self._want_regions:
                regions += [self._region(process, region) for region in process.regions.values()]
            rollup[process.name] = self._rollup(process)
        system = {name: m.total(key) for name, key in SYSTEM.items()}
        system |= {name: m.events[name] for name in EVENTS}
        system["swap_used"] = m.swap.used
        system["deferred_split"] = sum(run.count for run in alive if run.partially_mapped)
        system["wrong_folios"] = sum(folio.count for folio in folios if folio.wrong)
        return Observation(folios, tuple(regions), rollup, system, dict(m.cost)), broken

    def _folio(self, run: FolioRun, broken: list[tuple[FolioSeen, Invariant]]) -> FolioSeen:
        m, folio = self.system.machine, run.folio
        names = {p.mm.mm_id: p.name for p in m.processes.values()}
        truth = truth_of(m, run)
        slots = folio.slots
        held = [(slots.mm_id(i), slots.mm_id_mapcount[i]) for i in (0, 1)] if slots else []
        seen = FolioSeen(
            place=self._place(run),
            kind=str(run.kind),
            order=folio.order,
            count=run.count,
            truth=truth.word,
            maybe_shared=folio_maybe_mapped_shared(folio),
            owners={names.get(mm_id, f"mm {mm_id}"): n for mm_id, n in truth.entries.items()},
            slots=tuple((names.get(mm_id, f"mm {mm_id}"), n) for mm_id, n in held if mm_id),
            counters=folio.counters(),
            average_mapcount=folio_average_page_mapcount(folio),
            partially_mapped=run.partially_mapped,
            schemes=self._answers(run) if self._answers else {},
        )
        broken += [(seen, invariant) for invariant in violations(folio, truth)]
        if run.count > 1:
            last = truth_of(m, run, run.count - 1)
            broken += [(seen, invariant) for invariant in violations(folio, last)]
        return seen

    def _place(self, run: FolioRun) -> str:
        """Where the first process found that maps these folios has them."""
        processes = {p.mm: p for p in self.system.machine.processes.values()}
        for mm, entry in mappings(self.system.machine, run):
            at = entry.start + max(run.start - entry.target, 0)
            n = min(entry.target + entry.n, run.start + run.n) - max(run.start, entry.target)
            for region in processes[mm].regions.values() if mm in processes else ():
                if region.start <= at < region.end:
                    first, last = at - region.start, at - region.start + n
                    return f"{region.name}[{show_place(first)}:{show_place(last)}]"
        return "not mapped"

    def _region(self, process: Process, region: Region) -> RegionSeen:
        m, mm = self.system.machine, process.mm
        vmas = mm.vmas.over(region.start, region.end)
        smaps: dict[str, int] = dict.fromkeys(proc.Smaps().kib(), 0)
        for vma in vmas:
            for name, kib in proc.smaps(m, mm, vma).kib().items():
                smaps[name] += kib
        smaps["uss"] = smaps["private_clean"] + smaps["private_dirty"]
        present = exclusive = swapped = 0
        for run in proc.pagemap(m, mm, region.start, region.end):
            present += run.n * run.present
            exclusive += run.n * run.exclusive
            swapped += run.n * run.swapped
        most = proc.mapmax(m, mm, region.start, region.end)
        return RegionSeen(process.name, region.name, len(vmas), smaps, present, exclusive, swapped, most)

    def _rollup(self, process: Process) -> dict[str, int]:
        total = proc.Smaps()
        for vma in process.mm.vmas:
            total.add(proc.smaps(self.system.machine, process.mm, vma))
        printed = total.kib()
        printed["uss"] = printed["private_clean"] + printed["private_dirty"]
        return printed
