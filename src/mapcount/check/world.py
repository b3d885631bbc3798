"""A small world: one folio, a few mms, and every mapping event that can befall it.

What is true in it is who maps what: for each mm, how many PTEs map each page, and how many PMDs the whole
folio (`Tables`). An event is *legal* by that truth alone; no counter is asked. These are all events:

    NEW                  nothing is mapped       one mm maps all of the folio: by a PMD if one can, else PTEs
    MAP_PTES, MAP_PMD    the mm has room         pages [page, page + nr) get one PTE more each, or all a PMD
    UNMAP_PTES, ..PMD    it has them             the same, one less
    DUP_PTES, DUP_PMD    as MAP, and another mm  fork copies entries of a parent
                         has such entries

An mm *has room* while each page is mapped at most `max_maps` times by it, PTEs and PMDs together: as if it
had so many VMAs over the folio. That, and the number of mms, is what makes the world finite. A batch is of
consecutive pages, as in the kernel, and not larger than an owner slot can count.

To counters, DUP is MAP and NEW is the first MAP. Explorers may treat them as one event (`counts_like`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mapcount.replay.trace import Op
from mapcount.tracking.flavour import PTE_ORDER, Flavour

MOST_MMS = 32
MOST_PAGES = 512
MOST_MAPS = 64

REMOVES = frozenset({Op.UNMAP_PTES, Op.UNMAP_PMD})
COUNTS_LIKE = {Op.DUP_PTES: Op.MAP_PTES, Op.DUP_PMD: Op.MAP_PMD}
"""Events that differ in legality only."""


class Event(NamedTuple):
    """`mm`, numbered from 1 on as its MM id is, maps or unmaps `nr` pages from `page` on."""

    op: Op
    mm: int
    page: int
    nr: int


class Mappings(NamedTuple):
    """What one mm maps: PTEs of each page, and PMDs of the whole folio."""

    ptes: tuple[int, ...]
    pmds: int

    @property
    def entries(self) -> int:
        """Page-table entries in all: what an owner slot should count."""
        return sum(self.ptes) + self.pmds


Tables = tuple[Mappings, ...]
"""The truth: the mappings of each mm, those of MM id 1 first."""


@dataclass(frozen=True)
class World:
    """One folio of `pages` pages and `mms` address spaces, on a kernel of this flavour.

    `max_maps`: how often an mm may map a page. `pmd`: are there PMD mappings, of all of the folio?
    Raises ValueError for a world that cannot be.
    """

    flavour: Flavour
    mms: int
    pages: int
    max_maps: int = 1
    pmd: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.mms <= MOST_MMS:
            raise ValueError(f"a world has 1 to {MOST_MMS} mms, not {self.mms}")
        if not 2 <= self.pages <= MOST_PAGES or self.pages & (self.pages - 1):
            raise ValueError(f"a large folio has 2, 4, 8, ... {MOST_PAGES} pages, not {self.pages}")
        if not 1 <= self.max_maps <= MOST_MAPS:
            raise ValueError(f"an mm maps a page 1 to {MOST_MAPS} times at most, not {self.max_maps}")

    @property
    def order(self) -> int:
        """The folio's order."""
        return self.pages.bit_length() - 1

    @cached_property
    def kernel(self) -> Flavour:
        """The flavour, scaled so that one PMD maps the whole folio if there are PMDs, and no folio if not."""
        return self.flavour.scaled(pmd_order=self.order if self.pmd else self.order + 1)

    @property
    def nothing(self) -> Tables:
        """Nobody maps anything."""
        return (Mappings((0,) * self.pages, 0),) * self.mms

    def level(self, op: Op) -> int:
        """What one entry of such an event maps, as an order."""
        whole = op in (Op.MAP_PMD, Op.UNMAP_PMD, Op.DUP_PMD) or (op == Op.NEW and self.pmd)
        return self.order if whole else PTE_ORDER

    def entries(self, event: Event) -> int:
        """How many page-table entries an event maps or unmaps."""
        return event.nr >> self.level(event.op)

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Every event, legal somewhere or other."""
        return tuple(event for mm in range(1, self.mms + 1) for event in self._events_of(mm))

    def _events_of(self, mm: int) -> Iterator[Event]:
        whole = (0, self.pages)
        fits = self.kernel.max_slot_mapcount if self.kernel.owner_slots else self.pages
        if self.pmd or self.pages <= fits:
            yield Event(Op.NEW, mm, *whole)
        for op in (Op.MAP_PTES, Op.UNMAP_PTES, Op.DUP_PTES):
            for page in range(self.pages):
                for nr in range(1, min(self.pages - page, fits) + 1):
                    yield Event(op, mm, page, nr)
        if self.pmd:
            for op in (Op.MAP_PMD, Op.UNMAP_PMD, Op.DUP_PMD):
                yield Event(op, mm, *whole)

    def legal(self, tables: Tables, event: Event) -> bool:
        """Can the event happen where this is mapped? The event is one of `events`."""
        op, mm, page, nr = event
        mine, pages = tables[mm - 1], slice(page, page + nr)
        if op in REMOVES:
            return mine.pmds > 0 if self.level(op) else all(mine.ptes[pages])
        if op == Op.NEW:
            return tables == self.nothing
        if mine.pmds + max(mine.ptes[pages]) >= self.max_maps:
            return False
        others = [tables[other] for other in range(self.mms) if other != mm - 1]
        if op == Op.DUP_PMD:
            return any(one.pmds for one in others)
        return op != Op.DUP_PTES or any(all(one.ptes[pages]) for one in others)

    def after(self, tables: Tables, event: Event) -> Tables:
        """What is mapped after a legal event."""
        op, mm, page, nr = event
        ptes, pmds = tables[mm - 1]
        by = -1 if op in REMOVES else 1
        if self.level(op):
            mine = Mappings(ptes, pmds + by)
        else:
            changed = tuple(count + by for count in ptes[page : page + nr])
            mine = Mappings(ptes[:page] + changed + ptes[page + nr :], pmds)
        return (*tables[: mm - 1], mine, *tables[mm:])

    def before(self, tables: Tables, event: Event) -> Tables | None:
        """What was mapped before the event, if it can have led to this."""
        op, mm, page, nr = event
        undone = Op.UNMAP_PMD if self.level(op) else Op.UNMAP_PTES
        if op in REMOVES:
            undone = Op.MAP_PMD if self.level(op) else Op.MAP_PTES
        back = Event(undone, mm, page, nr)
        if not self.legal(tables, back):
            return None
        found = self.after(tables, back)
        return found if self.legal(found, event) else None

    def after_all(self, events: tuple[Event, ...] | list[Event]) -> Tables:
        """What is mapped after these events. Raises ValueError at the first that is not legal."""
        tables = self.nothing
        for number, event in enumerate(events, 1):
            if event not in self.events or not self.legal(tables, event):
                raise ValueError(f"event {number}, {event}, cannot happen there")
            tables = self.after(tables, event)
        return tables

    def __str__(self) -> str:
        maps = "once" if self.max_maps == 1 else f"up to {self.max_maps} times"
        pmd = "PTEs and PMDs" if self.pmd else "PTEs"
        return (
            f"{self.mms} mms map a folio of {self.pages} pages, each page {maps}, by {pmd}, on {self.flavour}"
        )
