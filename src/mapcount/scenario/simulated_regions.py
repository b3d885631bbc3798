"""The simulated kernel's answer in the words of recordings of format 2: every region of every process."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from mapcount.scenario.answer import SMAPS
from mapcount.scenario.regions import (
    LARGE,
    NONE,
    SMALL,
    SWAPPED,
    ZERO,
    Stretch,
    counter_words,
    flag_words,
    folio_words,
    rle,
)
from mapcount.sim import proc
from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun
from mapcount.sim.mm import Mm, Process, Region
from mapcount.sim.truth import mappings


class AllRegions:
    """Describes one simulated machine after each step.

    `read`: what of a real kernel was read, in the words of `recordings/README.md`. What only other sources
    tell is left out here as well.
    """

    def __init__(self, machine: Machine, read: Collection[str]) -> None:
        self.machine = machine
        self._read = read
        self._struct_folio, self._mapmax = "folio" in read, "numa_maps" in read
        self._smaps = {f: name for f, name in SMAPS.items() if f != "Referenced" or "referenced" in read}
        self._described: dict[FolioRun, dict[str, Any]] = {}

    def answer(self, *, deviating: bool = False) -> dict[str, Any]:
        """What a real kernel is asked after a step: errors of system calls, processes, regions, folios.

        With `deviating`, as kernels answer that deviate in the ways that are known.
        """
        self._described = {}
        return {
            "errors": [],
            "processes": [self._process(p, deviating) for p in self.machine.processes.values()],
        }

    def _process(self, process: Process, deviating: bool) -> dict[str, Any]:
        regions = [self._region(process.mm, r, deviating) for r in process.regions.values()]
        return {"name": process.name, "regions": regions}

    def _region(self, mm: Mm, region: Region, deviating: bool) -> dict[str, Any]:
        m = self.machine
        vmas = mm.vmas.over(region.start, region.end)
        smaps = dict.fromkeys(self._smaps, 0)
        for vma in vmas:
            printed = proc.smaps(m, mm, vma).kib()
            for field, name in self._smaps.items():
                smaps[field] += printed[name]
        answer: dict[str, Any] = {"name": region.name, "vmas": len(vmas), "smaps": smaps}
        if self._mapmax:
            most = proc.mapmax(m, mm, region.start, region.end, deviating=deviating)
            answer["mapmax"] = most
        bits = list(proc.pagemap(m, mm, region.start, region.end, deviating=deviating))
        parts = list(self._parts(mm, region))
        counts = (part for _, _, counts in parts for part in counts)
        return answer | {
            "pages": rle((n, state) for state, _, counts in parts for n, _ in counts),
            "exclusive": rle((run.n, int(run.exclusive)) for run in bits),
            "file": rle((run.n, int(run.file)) for run in bits),
            "kpagecount": rle(counts),
            "folios": folio_words((s for _, s, _ in parts if s), self._describe),
        }

    def _parts(self, mm: Mm, region: Region) -> Iterator[tuple[str, Stretch | None, list[tuple[int, int]]]]:
        """(state, what of which folio, (pages, kpagecount)...) of the region, in order."""
        at = region.start
        for entry in mm.table.over(region.start, region.end):
            first, last = max(entry.start, region.start), min(entry.end, region.end)
            if first > at:
                yield NONE, None, [(first - at, 0)]
            at = last
            if entry.swapped or entry.zero:
                yield SWAPPED if entry.swapped else ZERO, None, [(last - first, 0)]
                continue
            for piece in self.machine.memory.pieces(entry.target_of(first), last - first):
                folio, size = piece.run.folio, piece.run.folio.nr_pages
                counts = list(proc.page_mapcounts(folio, piece.page, piece.nr))
                place = first + piece.pfn - entry.target_of(first) - region.start
                for i in range(piece.count):
                    head = piece.run.start + (piece.first + i) * size
                    where = Stretch(place + i * piece.nr, piece.nr, head, piece.page)
                    yield LARGE if folio.large else SMALL, where, counts
        if at < region.end:
            yield NONE, None, [(region.end - at, 0)]

    def _describe(self, head: int) -> dict[str, Any]:
        run = self.machine.memory.folio_of(head)
        if run not in self._described:
            self._described[run] = self._fields(run)
        return self._described[run]

    def _fields(self, run: FolioRun) -> dict[str, Any]:
        folio = run.folio
        words: dict[str, Any] = {
            "order": folio.order,
            "kind": str(run.kind),
            "flags": flag_words(proc.kpageflags(run), self._read),
            "owners": self._owners(run),
        }
        if not self._struct_folio:
            return words
        return words | counter_words(
            folio, anon_exclusive=run.anon_exclusive.sum(), partially_mapped=run.partially_mapped
        )

    def _owners(self, run: FolioRun) -> dict[str, int]:
        """Pages of one of these folios that each process maps."""
        size, owners = run.folio.nr_pages, dict[Mm, int]()
        for mm, entry in mappings(self.machine, run):
            start, stop = max(entry.target, run.start), min(entry.target + entry.n, run.start + size)
            if start < stop:
                owners[mm] = owners.get(mm, 0) + stop - start
        return {p.name: owners[p.mm] for p in self.machine.processes.values() if p.mm in owners}
