"""The simulated kernel's answer in a recording's own words, so that the two can be laid side by side.

A recording watches one folio: the large folio that the region under test was first given. `Watch` finds
it as the recorder did, and answers every field that the recorder wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from mapcount.sim import proc
from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun, Kind
from mapcount.sim.mm import Process, Region

WATCHED, ELSEWHERE = "watched", "elsewhere"
"""Control groups: the folio under test is charged to the first, what copy-on-write makes to the second."""

EVENTS = ("thp_deferred_split_page", "thp_split_page", "thp_split_pmd", "pswpin", "pswpout")
CHARGES = {
    "anon": "anon", "file": "file", "shmem": "shmem", "file_mapped": "file_mapped", "anon_thp": "anon_thp",
    "shmem_thp": "shmem_thp", "file_thp": "file_thp", "swapcached": "swapcached",
}  # fmt: skip
SMAPS = {
    "Size": "size", "Rss": "rss", "Pss": "pss", "Pss_Dirty": "pss_dirty", "Shared_Clean": "shared_clean",
    "Shared_Dirty": "shared_dirty", "Private_Clean": "private_clean", "Private_Dirty": "private_dirty",
    "Referenced": "referenced", "Anonymous": "anonymous", "LazyFree": "lazyfree",
    "AnonHugePages": "anon_huge_pages", "ShmemPmdMapped": "shmem_pmd_mapped",
    "FilePmdMapped": "file_pmd_mapped", "Shared_Hugetlb": "shared_hugetlb",
    "Private_Hugetlb": "private_hugetlb", "Swap": "swap", "SwapPss": "swap_pss", "Locked": "locked",
}  # fmt: skip
"""Fields of smaps, as printed by the kernel and as named here."""


class Watch:
    """Follows the folio under test of one simulated machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.frames = range(0)
        """Page frames of the folio under test; empty until there is one."""
        self.places: dict[str, list[Region]] = {}
        """Where each process has (or had, before exec) the regions under test."""
        self._deviating = False
        machine.memcg = WATCHED

    def answer(self, *, deviating: bool = False) -> dict[str, Any]:
        """What the recorder would have written now: folio, charged_pages, events, actors.

        With `deviating`, as kernels answer that deviate in the ways that are known.
        """
        self._deviating = deviating
        m = self.machine
        for process in m.processes.values():
            if process.regions or process.name not in self.places:
                self.places[process.name] = list(process.regions.values())
        self._find()
        charged: dict[str, int] = m.stats.get(WATCHED, Counter())
        return {
            "folio": self._folio(),
            "charged_pages": {name: charged.get(key, 0) for name, key in CHARGES.items()},
            "events": {name: m.events[name] for name in EVENTS},
            "actors": [self._actor(process) for process in m.processes.values()],
        }

    def _find(self) -> None:
        """The large folio behind the first page that any process has there, if it is one."""
        for process in self.machine.processes.values():
            for region in process.regions.values():
                for run in proc.pagemap(self.machine, process.mm, region.start, region.end):
                    if run.pfn is not None:
                        self._look_at(self.machine.memory.folio_of(run.pfn), run.pfn)
                        return

    def _look_at(self, run: FolioRun, pfn: int) -> None:
        if run.folio.large:
            size = run.folio.nr_pages
            first = run.start + (pfn - run.start) // size * size
            self.frames = range(first, first + size)
            self.machine.memcg = ELSEWHERE

    def _folio(self) -> dict[str, Any]:
        if not self.frames:
            return {}
        run = self.machine.memory.folios.at(self.frames.start)
        if run is None or not run.folio.large or run.kind is Kind.HUGETLB:
            return {"thp": 0}
        folio, slots = run.folio, run.folio.slots
        counts = list(proc.page_mapcounts(folio, 0, folio.nr_pages))
        answer: dict[str, Any] = {
            "thp": 1,
            "kpf_head": hex(proc.kpageflags(run, 0)),
            "kpf_tail1": hex(proc.kpageflags(run, 1)),
            "kpagecount": _runs(counts),
            "refcount": folio.refcount,
            "large_mapcount": folio.large_mapcount,
            "entire_mapcount": folio.entire_mapcount,
            "pincount": folio.pincount,
            "nr_pages": folio.nr_pages,
            "partially_mapped": int(run.partially_mapped),
            "anon_exclusive_pages": run.anon_exclusive.sum(),
        }
        if slots is not None:
            answer["mm_id"] = [slots.mm_id(0), slots.mm_id(1)]
            answer["mm_id_mapcount"] = list(slots.mm_id_mapcount)
            answer["mm_ids_shared"] = int(slots.shared)
        if folio.page_mapcount is not None:
            answer["nr_pages_mapped"] = hex(folio.nr_pages_mapped)
            answer["page_mapcount"] = _runs([(n, count) for _, n, count in folio.page_mapcount.runs()])
        return answer

    def _actor(self, process: Process) -> dict[str, Any]:
        regions = self.places[process.name]
        vmas = [v for r in regions for v in process.mm.vmas.over(r.start, r.end)]
        smaps = dict.fromkeys(SMAPS, 0)
        for vma in vmas:
            printed = proc.smaps(self.machine, process.mm, vma).kib()
            for field, name in SMAPS.items():
                smaps[field] += printed[name]
        pm: dict[str, Any] = dict.fromkeys(("present", "excl", "orig", "orig_excl", "swap", "file"), 0)
        for place, region in zip(("rle", "rle_b"), regions, strict=False):
            words = [(run.n, self._count(run, run.n, pm)) for run in self._pages(process, region)]
            if place == "rle" or any(word != "-" for _, word in words):
                pm[place] = _runs(words)["rle"]
        return {"name": process.name, "vmas": len(vmas), "smaps": smaps, "pm": pm}

    def _pages(self, process: Process, region: Region) -> Iterator[proc.PagemapRun]:
        return proc.pagemap(self.machine, process.mm, region.start, region.end, deviating=self._deviating)

    def _count(self, run: proc.PagemapRun, n: int, pm: dict[str, Any]) -> str:
        """Count a run of pagemap entries into `pm`; the recorder's letters for it."""
        ours = run.pfn in self.frames if run.pfn is not None else False
        pm["present"] += n * run.present
        pm["excl"] += n * run.exclusive
        pm["orig"] += n * ours
        pm["orig_excl"] += n * (ours and run.exclusive)
        pm["swap"] += n * run.swapped
        pm["file"] += n * run.file
        letter = "s" if run.swapped else "-" if not run.present else "o" if ours else "x"
        return letter + "e" * run.exclusive + "f" * run.file


def _runs(runs: list[tuple[int, Any]]) -> dict[str, Any]:
    """A histogram and run-length text of (pages, value) runs."""
    joined: list[tuple[int, Any]] = []
    hist: dict[str, int] = {}
    for n, value in runs:
        hist[str(value)] = hist.get(str(value), 0) + n
        if joined and joined[-1][1] == value:
            joined[-1] = (joined[-1][0] + n, value)
        else:
            joined.append((n, value))
    return {"hist": hist, "rle": " ".join(f"{n}*{value}" for n, value in joined)}


def fields(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every field that is compared; histograms only repeat the run-length text."""
    for part in ("folio", "charged_pages", "events"):
        for name, value in answer[part].items():
            yield f"{part}.{name}", value.get("rle") if isinstance(value, dict) else value
    yield "actors", [actor["name"] for actor in answer["actors"]]
    for actor in answer["actors"]:
        yield f"{actor['name']}.vmas", actor.get("vmas")
        for part in ("smaps", "pm"):
            for name, value in actor[part].items():
                yield f"{actor['name']}.{part}.{name}", value
