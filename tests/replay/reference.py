"""A trace told to `tracking`, one folio and one event at a time: what the engine must agree with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import polars as pl

from mapcount.replay.engine import Engine
from mapcount.replay.folios import Folios
from mapcount.replay.reader import Window
from mapcount.replay.result import Shard, tables
from mapcount.replay.trace import TraceError
from mapcount.tracking.flavour import Flavour
from mapcount.tracking.folio import Folio
from mapcount.tracking.questions import folio_maybe_mapped_shared
from mapcount.tracking.rmap import folio_add_new_anon_rmap, folio_add_rmap, folio_mapcount, folio_remove_rmap

Event = tuple[int, int, int, int, int]
"""folio, mm, op, page, nr."""
Shape = tuple[int, bool]
"""Order, and is it a hugetlb folio?"""


@dataclass
class Told:
    """One folio as `tracking` has it, and how many mappings each mm really has."""

    folio: Folio
    owners: dict[int, int] = field(default_factory=dict)

    def tell(self, mm: int, op: int, page: int, nr: int) -> None:
        """Apply one event. Raises ValueError for what `tracking` does not allow."""
        order, hugetlb = self.folio.order, self.folio.hugetlb
        if op == 1:
            one = order in (9, 18) or hugetlb
            if (page, nr) != (0, 1 << order):
                raise ValueError("a new folio is mapped whole")
            folio_add_new_anon_rmap(self.folio, mm, order if one else 0)
            n = 1 if one else nr
        elif op in (2, 6, 3):
            (folio_remove_rmap if op == 3 else folio_add_rmap)(self.folio, page, nr, mm)
            n = nr
        else:
            level = order if hugetlb else {512: 9, 1 << 18: 18}.get(nr, 1)
            (folio_remove_rmap if op == 5 else folio_add_rmap)(self.folio, page, nr, mm, level)
            n = 1
        left = self.owners.get(mm, 0) + (-n if op in (3, 5) else n)
        self.owners[mm] = left
        if not left:
            del self.owners[mm]

    @property
    def shared(self) -> bool:
        """Do two or more mms map it?"""
        return len(self.owners) > 1

    def row(self, number: int) -> dict[str, int | bool]:
        """The row of a result."""
        f, slots = self.folio, self.folio.slots
        row: dict[str, int | bool] = {
            "folio": number,
            "large_mapcount": folio_mapcount(f),
            "entire_mapcount": f.entire_mapcount,
            "nr_pages_mapped": f.nr_pages_mapped,
        }
        for i in (0, 1):
            row[f"slot{i}_mm"] = slots.mm_id(i) if slots else 0
            row[f"slot{i}_mapcount"] = slots.mm_id_mapcount[i] if slots else 0
        row["shared_flag"] = bool(slots and slots.shared)
        row["maybe_shared"] = folio_maybe_mapped_shared(f)
        row["truly_shared"] = self.shared
        if f.flavour.total_mapped_pages:
            row["total_mapped_pages"] = f.total_mapped_pages
        return row


def told(flavour: Flavour, shapes: Sequence[Shape]) -> list[Told]:
    """New folios of these shapes."""
    return [Told(Folio(flavour, order, hugetlb=hugetlb)) for order, hugetlb in shapes]


def tell_all(
    flavour: Flavour, shapes: Sequence[Shape], events: Iterable[Event]
) -> list[dict[str, int | bool]]:
    """The result's rows after these events, as `tracking` has them."""
    folios = told(flavour, shapes)
    for number, mm, op, page, nr in events:
        folios[number].tell(mm, op, page, nr)
    return [one.row(number) for number, one in enumerate(folios)]


def window_of(events: Sequence[Event], first: int = 0) -> Window:
    """These events as a window."""
    rows = np.array(events, np.uint32).reshape(-1, 5)
    folio, mm, op, page, nr = rows.T
    columns = (folio.copy(), mm.copy(), op.astype(np.uint8), page.copy(), nr.copy())
    return Window((("events", 0),), first, *columns, np.zeros(len(rows), np.uint8))


def folios_of(shapes: Sequence[Shape]) -> Folios:
    """The engine's folios of these shapes."""
    folios = Folios(len(shapes))
    orders = np.array([order for order, _ in shapes], np.uint8)
    folios.set_shapes(0, orders, np.array([3 * hugetlb for _, hugetlb in shapes], np.uint8))
    return folios


def replayed(
    flavour: Flavour,
    shapes: Sequence[Shape],
    events: Sequence[Event],
    *,
    windows: int = 1,
    every: bool = False,
    threads: int = 1,
) -> Shard:
    """What the engine makes of these events, given in so many windows."""
    with Engine(folios_of(shapes), flavour, every=every, threads=threads) as engine:
        edges = [len(events) * i // windows for i in range(windows + 1)]
        for low, high in pairwise(edges):
            engine.replay(window_of(events[low:high], low))
        return Shard.of(engine)


def rows_of(shard: Shard) -> list[dict[str, int | bool]]:
    """The result's rows."""
    return pl.concat(tables([shard])).to_dicts()


def refused(flavour: Flavour, shapes: Sequence[Shape], events: Sequence[Event]) -> str | None:
    """The engine's message if it refuses the events."""
    try:
        replayed(flavour, shapes, events)
    except TraceError as error:
        return str(error)
    return None
