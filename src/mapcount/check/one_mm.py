"""What one mm can map of a small folio, as a table: its mappings by number, and where each event leads.

An mm's mappings change by its own events alone. So the truth of a world is one such number for each mm, and
what a loop needs to know of an event is a row of this table.

Up to symmetry. Counters of owner tracking never look at which page is mapped, and reversing the folio turns
runs of pages into runs of pages. So an mm's mappings and their mirror image have the same future, whatever
others map, and one may stand for both: `size` says for how many it stands. Likewise for two events of one
mm that are each other's mirror image: `times` says how many a row stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapcount.check.exploration import CannotExplore
from mapcount.check.world import COUNTS_LIKE, Event, Mappings, World
from mapcount.replay.grouping import DOES
from mapcount.replay.trace import Op

MOST = 1 << 13
"""Ways to map a folio that a table may have, for one mm."""

I32 = NDArray[np.int32]


class Table(NamedTuple):
    """The numbers that loops work with. Rows of events: those of mappings l are [first[l], first[l + 1])."""

    entries: I32
    pmds: I32
    mapped_pages: I32
    size: NDArray[np.int64]
    first: I32
    does: I32
    page: I32
    nr: I32
    to: I32
    times: I32


@dataclass(frozen=True)
class OneMm:
    """The table of a world, and what its numbers mean."""

    mappings: tuple[Mappings, ...]
    """By number; 0 is none at all."""
    number: dict[Mappings, int]
    """Every mappings' number: that of those which stand for it."""
    events: tuple[Event, ...]
    """Each row's event, of mm 1."""
    table: Table

    @classmethod
    def of(cls, world: World, *, mirrored: bool) -> OneMm:
        """The table of a world. Raises CannotExplore when it would be too large."""
        alone = World(world.flavour, 1, world.pages, world.max_maps, world.pmd)
        mappings: list[Mappings] = []
        number: dict[Mappings, int] = {}
        sizes: list[int] = []
        for one in _every(world):
            twin = Mappings(one.ptes[::-1], one.pmds)
            if mirrored and twin in number:
                number[one] = number[twin]
                sizes[number[one]] += 1
                continue
            number[one] = len(mappings)
            mappings.append(one)
            sizes.append(1)
        events: list[Event] = []
        first, to, times = [0], list[int](), list[int]()
        for one in mappings:
            rows: dict[tuple[Op, int, int] | Event, int] = {}
            for event in alone.events:
                if event.op in COUNTS_LIKE or not alone.legal((one,), event):
                    continue
                leads = number[alone.after((one,), event)[0]]
                row = rows.setdefault((event.op, event.nr, leads) if mirrored else event, len(events))
                if row == len(events):
                    events.append(event)
                    to.append(leads)
                    times.append(0)
                times[row] += 1
            first.append(len(events))

        def column(values: list[int]) -> I32:
            return np.array(values, np.int32)

        table = Table(
            column([one.entries for one in mappings]),
            column([one.pmds for one in mappings]),
            column([sum(one.ptes) + one.pmds * world.pages for one in mappings]),
            np.array(sizes, np.int64),
            column(first),
            column([DOES[event.op] for event in events]),
            column([event.page for event in events]),
            column([event.nr for event in events]),
            column(to),
            column(times),
        )
        return cls(tuple(mappings), number, tuple(events), table)


def _every(world: World) -> list[Mappings]:
    """All ways in which one mm can map the folio, nothing first."""
    by_pmds = range(world.max_maps + 1 if world.pmd else 1)
    if sum((world.max_maps - pmds + 1) ** world.pages for pmds in by_pmds) > MOST:
        raise CannotExplore(
            f"there are more than {MOST} ways for one mm to map {world.pages} pages, each {world.max_maps} "
            "times: take fewer pages, or fewer mappings of each"
        )
    return [
        Mappings(ptes, pmds)
        for pmds in by_pmds
        for ptes in product(range(world.max_maps - pmds + 1), repeat=world.pages)
    ]
