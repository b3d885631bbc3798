"""Address spaces in bulk: who maps which pages, as columns, and the events of changing it.

A quick stand-in for the simulator where only mapping events matter: forks and exits of processes with
millions of folios are a few operations on arrays. Every method returns the events it stands for.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.trace import Op
from mapcount.tracking.flavour import PMD_ORDER

I64 = NDArray[np.int64]
Rows = NDArray[np.int64]
"""Maps: one row each, with columns folio, page, nr, and 1 if by a PMD."""
Events = NDArray[np.int64]
"""Events: one row each, with columns folio, mm, op, page, nr."""

NO_MAPS: Rows = np.zeros((0, 4), np.int64)


class AddressSpaces:
    """What each mm maps, of folios with these orders."""

    def __init__(self, orders: NDArray[np.uint8]) -> None:
        self.orders = orders.astype(np.int64)
        self.maps: dict[int, Rows] = {}
        self._free: list[int] = []

    def start(self) -> int:
        """A process starts; its mm has the lowest free id."""
        mm = heapq.heappop(self._free) if self._free else len(self.maps) + 1
        self.maps[mm] = NO_MAPS
        return mm

    def new(self, mm: int, folios: I64) -> Events:
        """`mm` maps new folios whole, those of PMD order by a PMD."""
        nr = np.left_shift(1, self.orders[folios])
        maps = np.column_stack([folios, np.zeros_like(folios), nr, self.orders[folios] == PMD_ORDER])
        return self._mapped(mm, maps, np.full(len(maps), Op.NEW))

    def map(self, mm: int, folios: I64, page: I64, nr: I64) -> Events:
        """`mm` maps pages by PTEs."""
        maps = np.column_stack([folios, page, nr, np.zeros_like(folios)])
        return self._mapped(mm, maps, np.full(len(maps), Op.MAP_PTES))

    def fork(self, parent: int) -> tuple[int, Events]:
        """The parent's maps are the child's too: the child's mm, and the events."""
        child = self.start()
        maps = self.maps[parent]
        return child, self._mapped(child, maps, np.where(maps[:, 3], Op.DUP_PMD, Op.DUP_PTES))

    def unmap(self, mm: int, rows: I64) -> Events:
        """`mm` unmaps these of its maps."""
        gone = self.maps[mm][rows]
        self.maps[mm] = np.delete(self.maps[mm], rows, axis=0)
        return _events(mm, gone, np.where(gone[:, 3], Op.UNMAP_PMD, Op.UNMAP_PTES))

    def exec(self, mm: int) -> Events:
        """`mm` unmaps everything."""
        return self.unmap(mm, np.arange(len(self.maps[mm])))

    def exit(self, mm: int) -> Events:
        """`mm` unmaps everything, and its id is free."""
        events = self.exec(mm)
        del self.maps[mm]
        heapq.heappush(self._free, mm)
        return events

    def shrink(self, mm: int, rows: I64) -> Events:
        """`mm` unmaps the first half of these maps: a copy on write, or a partial munmap.

        A map of one page goes as a whole; a PMD is split into PTEs first.
        """
        maps = self.maps[mm][rows]
        huge = maps[maps[:, 3] == 1]
        half = maps[:, 2] - maps[:, 2] // 2
        split = np.concatenate(
            [
                _events(mm, huge, np.full(len(huge), Op.MAP_PTES)),
                _events(mm, huge, np.full(len(huge), Op.UNMAP_PMD)),
            ]
        )
        gone = np.column_stack([maps[:, 0], maps[:, 1], half, np.zeros(len(maps), np.int64)])
        rest = np.column_stack(
            [maps[:, 0], maps[:, 1] + half, maps[:, 2] - half, np.zeros(len(maps), np.int64)]
        )
        kept = np.delete(self.maps[mm], rows, axis=0)
        self.maps[mm] = np.concatenate([kept, rest[rest[:, 2] > 0]])
        return np.concatenate([split, _events(mm, gone, np.full(len(gone), Op.UNMAP_PTES))])

    def _mapped(self, mm: int, maps: Rows, ops: I64) -> Events:
        self.maps[mm] = np.concatenate([self.maps[mm], maps])
        return _events(mm, maps, ops)


def _events(mm: int, maps: Rows, ops: I64) -> Events:
    mms = np.full(len(maps), mm, np.int64)
    return np.column_stack([maps[:, 0], mms, ops, maps[:, 1], maps[:, 2]])
