"""The simulated machine at one moment, as pictures: which entries map which pages, of folios and processes.

Pictures are drawn from page tables alone, so they are the truth; what counters say stands beside them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from mapcount.sim import proc
from mapcount.sim.memory import FolioRun
from mapcount.sim.mm import Process, Region
from mapcount.sim.page_table import Entry
from mapcount.sim.system import System

Stretch = tuple[int, int, int, bool]
"""(first page, pages, level of the entries, writable?)."""
Piece = tuple[int, int, int, bool, int]
"""(page of the region, pages, level or what else is there, writable?, order of the folios)."""

SWAPPED, ZERO_PAGE = -1, -2
"""In place of a level: the page is in swap; the zero page is there."""


@dataclass(frozen=True, slots=True)
class FolioPicture:
    """Look-alike folios at page frames [pfn, pfn + n): who maps which pages of the first of them."""

    pfn: int
    n: int
    lanes: tuple[tuple[str, tuple[Stretch, ...]], ...]
    """By process, in order of the processes: its entries, by page."""
    exclusive: tuple[tuple[int, int], ...]
    """(first page, pages) marked anonymous and exclusive."""
    page_mapcounts: tuple[tuple[int, int], ...]
    """(pages, map count) as /proc/kpagecount has them."""


@dataclass(frozen=True, slots=True)
class Space:
    """An address space: its MM id, and each region with what its pages point at."""

    mm_id: int
    regions: tuple[tuple[str, int, tuple[Piece, ...]], ...]
    """(name, pages, pieces)."""
    starts: tuple[int, ...]
    """Each region's first virtual page."""
    entries: tuple[tuple[int, int, int, int, bool], ...]
    """(virtual page, pages, page frame, level, writable?) of every run of present entries."""


@dataclass(slots=True)
class Scene:
    """Everything drawn of one moment."""

    folios: list[FolioPicture] = field(default_factory=list)
    """In the order of `Observation.folios`."""
    spaces: dict[str, Space] = field(default_factory=dict)

    def folio_at(self, pfn: int) -> int | None:
        """Which of `folios` has this page frame, if any."""
        at = bisect_right(self.folios, pfn, key=lambda folio: folio.pfn) - 1
        return at if at >= 0 and pfn < self.folios[at].pfn + self.folios[at].n else None


def look_at(system: System) -> Scene:
    """The machine as it is."""
    m = system.machine
    lanes: dict[int, dict[str, list[Stretch]]] = {run.start: {} for run in m.memory.folios}
    scene = Scene()
    for process in m.processes.values():
        present = [entry for entry in process.mm.table if not (entry.swapped or entry.zero)]
        for entry in present:
            for piece in m.memory.pieces(entry.target, entry.n):
                if not piece.first:
                    lane = lanes[piece.run.start].setdefault(process.name, [])
                    lane.append((piece.page, piece.nr, entry.level, entry.writable))
        scene.spaces[process.name] = Space(
            process.mm.mm_id,
            tuple((r.name, r.n, tuple(_pieces(system, process, r))) for r in process.regions.values()),
            tuple(r.start for r in process.regions.values()),
            tuple((e.start, e.n, e.target, e.level, e.writable) for e in present),
        )
    scene.folios = [_picture(run, lanes[run.start]) for run in m.memory.folios]
    return scene


def _picture(run: FolioRun, lanes: dict[str, list[Stretch]]) -> FolioPicture:
    size = run.folio.nr_pages
    return FolioPicture(
        run.start,
        run.n,
        tuple((name, _joined(sorted(lane))) for name, lane in lanes.items()),
        tuple((first, n) for first, n, mark in run.anon_exclusive.runs() if mark),
        tuple(proc.page_mapcounts(run.folio, 0, size)),
    )


def _joined(lane: list[Stretch]) -> tuple[Stretch, ...]:
    """Neighbouring stretches of one kind as one."""
    out: list[Stretch] = []
    for page, nr, level, writable in lane:
        if out and (out[-1][0] + out[-1][1], *out[-1][2:]) == (page, level, writable):
            out[-1] = (out[-1][0], out[-1][1] + nr, level, writable)
        else:
            out.append((page, nr, level, writable))
    return tuple(out)


def _pieces(system: System, process: Process, region: Region) -> Iterator[Piece]:
    """What a region's pages point at, folios of different sizes apart."""
    for entry in process.mm.table.over(region.start, region.end):
        first, last = max(entry.start, region.start), min(entry.end, region.end)
        at = first - region.start
        if entry.swapped or entry.zero:
            yield at, last - first, SWAPPED if entry.swapped else ZERO_PAGE, False, 0
            continue
        for order, n in _by_order(system, entry, first, last):
            yield at, n, entry.level, entry.writable, order
            at += n


def _by_order(system: System, entry: Entry, first: int, last: int) -> Iterator[tuple[int, int]]:
    """(order, pages) of the folios that an entry maps between two virtual pages."""
    order, n = -1, 0
    for piece in system.machine.memory.pieces(entry.target_of(first), last - first):
        if n and piece.run.folio.order != order:
            yield order, n
            n = 0
        order, n = piece.run.folio.order, n + piece.pages
    yield order, n
