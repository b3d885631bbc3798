"""One process region by region, and one region folio by folio: where in an address space a change comes from.

The numbers are those of `reading`, not yet added up. A region's folios are told in full: who sits in the
slots, what the kernel says, and what is true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mapcount.audit.census import FolioSize, folio_sizes
from mapcount.audit.large_folios import BY_PMD, BY_PTE, EXCLUSIVE, LargeFolios, folio_rows, merged
from mapcount.audit.questions import PSS_SHIFT
from mapcount.audit.reading import Reading
from mapcount.audit.smaps import Memory, SmapsSums, smaps_says
from mapcount.audit.statistics import PREDICTED
from mapcount.audit.survey import Survey, survey
from mapcount.live.snapshot import UNKNOWN, Block, Folios, Kind, Machine, Process, Region, Runs, Source

MOST_FOLIOS = 1000
"""Large folios of one region that are told one by one."""
LEVELS = {0: "", BY_PTE: "PTE", BY_PMD: "PMD", BY_PTE | BY_PMD: "both"}

T = TypeVar("T", Runs, Folios)


@dataclass(frozen=True, slots=True)
class AuditedRegion:
    """One VMA: what smaps says, what it would say, and its pages in folios mistaken for shared."""

    region: Region
    now: Memory
    under: Mapping[str, Memory]
    """By flavour; empty where nothing could be predicted."""
    folios: int
    """Large folios that it maps, in whole or in part."""
    mistaken_kib: int


@dataclass(frozen=True, slots=True)
class MappedFolio:
    """A large folio as one region maps it. Counts are natural; UNKNOWN where they could not be read."""

    page: int
    """The first page of the region that maps it."""
    order: int
    kind: str
    levels: str
    """How anybody maps it: `PMD`, `PTE`, `both`, or nothing where that is not known."""
    pages: int
    """Pages of it that this region maps."""
    total: int
    """Pages, once for every time that anybody maps them."""
    mine: int
    """Pages, once for every time that this address space maps them."""
    large_mapcount: int
    entire_mapcount: int
    refcount: int
    slots: tuple[tuple[int, int], ...]
    """MM id and mapcount of both owner slots; id 0 is a free slot."""
    believed: int
    """Does the kernel say "maybe mapped shared"? 0, 1, UNKNOWN."""
    truth: int
    """0: this address space is alone with it; 1: it is not; UNKNOWN."""

    @property
    def mistaken(self) -> bool:
        """Is the kernel wrong about it?"""
        return UNKNOWN not in (self.believed, self.truth) and self.believed != self.truth


@dataclass(frozen=True, slots=True)
class OpenedProcess:
    """One process, looked into."""

    process: Process
    machine: Machine
    regions: tuple[AuditedRegion, ...]
    """All of them, by address."""
    sizes: tuple[FolioSize, ...]
    """Its large folios by kind and size, those that others map as well too."""
    folios: tuple[MappedFolio, ...]
    """Of the region asked for, by place; at most MOST_FOLIOS."""
    all_folios: int
    """How many that region has in all."""
    off_kib: int
    """How far the pages are from smaps, beyond rounding: something moved meanwhile."""


def open_process(source: Source, pid: int, start: int | None = None) -> OpenedProcess:
    """Look into a process, and into its region that starts at page `start`. Raises Unreadable."""
    machine = source.machine
    known = survey(source) if machine.frames and not machine.flavour.page_mapcounts else None
    process = source.process(pid)
    reading = _Reading(machine, process, known, start)
    if machine.frames:
        for block in source.blocks(process):
            reading.add(block)
    return reading.opened()


class _Sums(SmapsSums):
    """Sums that are also told by region."""

    def by_region(self) -> list[Memory]:
        """Each region's, rounded as smaps does."""
        kib = self._page_size / 1024
        return [
            Memory(int(rss * kib), int(pss) >> (PSS_SHIFT + 10), int(private * kib))
            for rss, pss, private in zip(self._rss, self._pss, self._private, strict=True)
        ]


class _Reading(Reading):
    """A reading that remembers which region maps which large folio."""

    def __init__(self, machine: Machine, process: Process, known: Survey | None, start: int | None) -> None:
        super().__init__(machine, process, known)
        self._pages = self._by_page = _Sums(process, machine.page_size)
        self._wholes = self._by_folio = _Sums(process, machine.page_size)
        self._settled: list[LargeFolios] = []
        self._mappings: list[NDArray[np.uint64]] = []
        """Columns: folio, region, pages of each run of a large folio."""
        self._asked = next((i for i, region in enumerate(process.regions) if region.start == start), -1)
        self._inside: list[tuple[Runs, Folios]] = []
        """What the region asked for maps, until that is enough."""
        self._nr_inside = 0

    def add(self, block: Block) -> None:
        """One more block."""
        super().add(block)
        runs, folios = block.runs, block.folios
        if self._survey:
            folios = self._survey.with_counts(folios)
        rows = folio_rows(runs, folios)
        large = np.flatnonzero(rows >= 0)
        if not len(large):
            return
        columns = (runs.folio[large], runs.region[large], runs.nr[large])
        self._mappings.append(np.array([column.astype(np.uint64) for column in columns]))
        inside = large[runs.region[large] == self._asked]
        if len(inside) and self._nr_inside < MOST_FOLIOS:
            used = np.unique(rows[inside])
            self._nr_inside += len(used)
            self._inside.append((_at(runs, inside), _at(folios, used)))

    def _settle(self, exclusive: LargeFolios) -> None:
        super()._settle(exclusive)
        self._settled.append(exclusive)

    def opened(self) -> OpenedProcess:
        """No block follows."""
        others = self.finish()
        if others is not None:
            self.census.add(others)
        parts = [*self._settled, *([others] if others is not None else [])]
        table = merged(parts) if parts else None
        mappings = np.concatenate([np.zeros((3, 0), np.uint64), *self._mappings], axis=1)
        return OpenedProcess(
            process=self.process,
            machine=self._machine,
            regions=tuple(self._regions(table, mappings)),
            sizes=folio_sizes(self.census, self._page_kib),
            folios=tuple(self._told(table))[:MOST_FOLIOS] if table is not None else (),
            all_folios=len(np.unique(mappings[0, mappings[1] == self._asked])) if self._asked >= 0 else 0,
            off_kib=self.off_kib if self._machine.frames else 0,
        )

    @property
    def _page_kib(self) -> int:
        return self._machine.page_size >> 10

    def _regions(self, table: LargeFolios | None, mappings: NDArray[np.uint64]) -> Iterator[AuditedRegion]:
        folio, of, pages = mappings[0], mappings[1].astype(np.int64), mappings[2].astype(np.int64)
        n = len(self.process.regions)
        mistaken = guessed = np.zeros(n, np.int64)
        if table is not None:
            alone = table.truth == EXCLUSIVE
            wrong = alone & (table.believed == 1)
            unknown = (table.believed == UNKNOWN) | (not self._machine.flavour.owner_slots)
            guess = alone & unknown & (table.kind != Kind.HUGETLB)
            mistaken, guessed = (
                np.bincount(of, pages * np.isin(folio, table.folio[rows]), n).astype(np.int64)
                * self._page_kib
                for rows in (wrong, guess)
            )
        each = np.unique(mappings[:2], axis=1)[1].astype(np.int64) if len(of) else of
        folios = np.bincount(each, minlength=n)
        page_by_page, folio_by_folio = self._pages.by_region(), self._wholes.by_region()
        for i, region in enumerate(self.process.regions):
            now = smaps_says(replace(self.process, regions=(region,)))
            whole = folio_by_folio[i]
            whole = replace(whole, uss_kib=whole.uss_kib + int(guessed[i]))
            by_page = page_by_page[i]
            computed = by_page if self._machine.flavour.page_mapcounts else whole
            answers = {f.name: by_page if f.page_mapcounts else whole for f in PREDICTED}
            yield AuditedRegion(
                region=region,
                now=now,
                under={name: _moved(now, computed, answer) for name, answer in answers.items()}
                if self._machine.frames
                else {},
                folios=int(folios[i]),
                mistaken_kib=int(mistaken[i]),
            )

    def _told(self, table: LargeFolios) -> Iterator[MappedFolio]:
        """The large folios of the region asked for."""
        for runs, folios in self._inside:
            rows = folio_rows(runs, folios)
            at = np.searchsorted(table.folio, folios.folio)
            truth = table.truth[at]
            for i, row in enumerate(at):
                mine = np.flatnonzero(rows == i)
                yield MappedFolio(
                    page=int(runs.page[mine[0]]),
                    order=int(folios.order[i]),
                    kind=Kind(int(folios.kind[i])).name.lower(),
                    levels=LEVELS[int(table.levels[row])],
                    pages=int(runs.nr[mine].sum()),
                    total=int(table.total[row]),
                    mine=int(table.mine[row]),
                    large_mapcount=int(folios.large_mapcount[i]),
                    entire_mapcount=int(folios.entire_mapcount[i]),
                    refcount=int(folios.refcount[i]),
                    slots=tuple(
                        zip(folios.mm_id[i].tolist(), folios.mm_id_mapcount[i].tolist(), strict=True)
                    ),
                    believed=int(table.believed[row]),
                    truth=int(truth[i]),
                )


def _at(columns: T, rows: NDArray[np.intp]) -> T:
    """Some rows of a table of columns."""
    return type(columns)(**{f.name: getattr(columns, f.name)[rows] for f in fields(columns)})


def _moved(now: Memory, computed: Memory, answer: Memory) -> Memory:
    """The kernel's own words and the change that was computed, as for the whole process."""
    return replace(
        now,
        pss_kib=now.pss_kib + answer.pss_kib - computed.pss_kib,
        uss_kib=now.uss_kib + answer.uss_kib - computed.uss_kib,
    )
