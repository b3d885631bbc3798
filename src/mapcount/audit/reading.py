"""One process, read once: what smaps should say under each kernel, and the large folios it maps.

Nothing here is told to anybody else before the process was read to its end and found to be at rest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mapcount.audit.census import Census
from mapcount.audit.khugepaged import refused_collapses
from mapcount.audit.large_folios import (
    EXCLUSIVE,
    LargeFolios,
    Waiting,
    folio_rows,
    mapped_by_runs,
    maybe_mapped_shared,
    total_mapped_pages,
)
from mapcount.audit.mistakes import Mistakes, mistakes_about
from mapcount.audit.questions import folio_average_page_mapcount, folio_total_mapped_pages
from mapcount.audit.smaps import Memory, SmapsSums, smaps_says
from mapcount.audit.survey import Survey
from mapcount.live.snapshot import I8, I64, UNKNOWN, Block, Kind, Machine, Process, Runs, Source


class Reading:
    """One attempt at a process. `survey` is what page tables say where the kernel does not count pages."""

    def __init__(self, machine: Machine, process: Process, survey: Survey | None = None) -> None:
        self.process = process
        self.now = smaps_says(process)
        self.census = Census()
        """Folios that nobody else maps."""
        self.mistakes = Mistakes()
        self.guessed_pages = 0
        """Pages taken for private in a folio that is exclusive, though its flag is not known."""
        self.miscounted = 0
        """Large folios of which the survey has not all the mappings that the kernel counts, or more."""
        self._machine = machine
        self._survey = survey
        self._by_page = SmapsSums(process, machine.page_size)
        self._by_folio = SmapsSums(process, machine.page_size)
        self._waiting = Waiting()

    def add(self, block: Block) -> None:
        """One more block."""
        runs, folios = block.runs, block.folios
        if self._survey:
            folios = self._survey.with_counts(folios)
            counted = folio_total_mapped_pages(folios.large_mapcount, folios.entire_mapcount, folios.order)
            self.miscounted += int(np.count_nonzero((counted >= 0) & (counted != folios.sum_mapcount)))
        rows = folio_rows(runs, folios)
        total = total_mapped_pages(folios)
        believed = maybe_mapped_shared(self._machine, runs, rows, folios, total)
        self._add_by_page(runs)
        self._add_by_folio(runs, rows, folio_average_page_mapcount(total, folios.order), believed)
        if len(folios):
            self._add_folios(runs, rows, mapped_by_runs(runs, rows, folios, total, believed))

    def _add_by_page(self, runs: Runs) -> None:
        mapcount = runs.mapcount
        if self._survey:
            runs, mapcount = self._survey.by_page(runs)
        self._by_page.add(runs, mapcount, mapcount < 2)

    def _add_by_folio(self, runs: Runs, rows: I64, average: I64, believed: I8) -> None:
        """Small folios answer for themselves on every kernel, and a kernel's own average needs no other."""
        mapcount, private = runs.mapcount, runs.mapcount < 2
        large = np.flatnonzero(rows >= 0)
        if len(large):
            of = rows[large]
            private[large] = (believed[of] == 0) & self._machine.flavour.owner_slots
            if self._machine.flavour.page_mapcounts:
                mapcount = mapcount.copy()
                mapcount[large] = np.where(average[of] < 0, mapcount[large], average[of])
        self._by_folio.add(runs, mapcount, private)

    def _add_folios(self, runs: Runs, rows: I64, table: LargeFolios) -> None:
        seen = table.mine > 0
        exclusive = (table.truth == EXCLUSIVE) & seen
        self._settle(table.at(exclusive))
        self._waiting.add(table.at(seen & ~exclusive))
        mistaken = exclusive & (table.believed == 1)
        if mistaken.any():
            listed = rows >= 0
            self.mistakes.collapses += refused_collapses(
                self._machine,
                self.process.regions,
                runs,
                np.where(listed, table.believed[rows] == 1, runs.mapcount > 1),
                listed & mistaken[rows],
            )

    def _settle(self, exclusive: LargeFolios) -> None:
        """Count folios that nobody else maps."""
        slots = self._machine.flavour.owner_slots
        self.census.add(exclusive)
        self.mistakes.add(mistakes_about(exclusive, reuses=slots))
        unknown = (exclusive.believed == UNKNOWN) | (not slots)
        self.guessed_pages += int(exclusive.mine[unknown & (exclusive.kind != Kind.HUGETLB)].sum())

    def finish(self) -> LargeFolios | None:
        """No block follows. Gives the folios that others map as well, or of which that is not known."""
        waited = self._waiting.settle()
        if waited is None:
            return None
        self._settle(waited.at(waited.truth == EXCLUSIVE))
        return waited.at(waited.truth != EXCLUSIVE)

    @property
    def by_page(self) -> Memory:
        """As a kernel with per-page counts has it."""
        return self._by_page.memory()

    @property
    def by_folio(self) -> Memory:
        """As kernels without have it: `no-page-mapcount`, and `total-mapped-pages` alike."""
        memory = self._by_folio.memory()
        return replace(memory, uss_kib=memory.uss_kib + self.guessed_kib)

    @property
    def guessed_kib(self) -> int:
        """KiB in `by_folio` that are private at best."""
        return self.guessed_pages * self._machine.page_size >> 10

    @property
    def computed(self) -> Memory:
        """As the running kernel should have it."""
        return self.by_page if self._machine.flavour.page_mapcounts else self.by_folio

    @property
    def off_kib(self) -> int:
        """How far the pages are from the kernel's own words, beyond rounding; 0 for a process at rest."""
        now, computed = self.now, self.computed
        pss = abs(now.pss_kib - computed.pss_kib)
        return max(
            abs(now.rss_kib - computed.rss_kib),
            abs(now.uss_kib - computed.uss_kib),
            pss if pss > len(self.process.regions) else 0,
        )


def read_process(source: Source, pid: int, survey: Survey | None = None) -> Reading:
    """Read one process once. Raises Unreadable."""
    process = source.process(pid)
    reading = Reading(source.machine, process, survey)
    if source.machine.frames:
        for block in source.blocks(process):
            reading.add(block)
    return reading
