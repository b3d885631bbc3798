"""The state of all folios of a trace: eight numbers each, 40 bytes, column by column.

    large_mapcount  u32   mappings (of a small folio: its page's mapcount)
    entire          u32   entire mapcount; on total-mapped-pages: total mapped pages
    owner0, owner1  u32   MM id of each slot in bits 0-21; above it, in owner0 the folio's shape, in owner1
                          the last verdict and the shared flag
    count0, count1  u32   mappings that each slot saw
    sum1, sum2      f64   the truth: the sum of every mapping's MM id, and of its square, whole numbers

The two sums say who really maps the folio without a list of owners. n mappings of one mm alone have
sum1 = n*mm and sum2 = n*mm*mm; of several mms, sum2 is always larger than sum1*sum1/n, the mean being what
minimises a sum of squares. So there is one owner iff mm = sum1/n is whole and sum2 = n*mm*mm (`owners`).
All of it is exact: no sum may grow beyond 2^53, what a float64 counts to; more is an error, not a guess.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mapcount.replay.reader import Trace
from mapcount.replay.trace import ANON, HUGETLB, KINDS, ORDER_MASK

ID_MASK = (1 << 22) - 1
SHAPE_SHIFT = 24
"""In owner0: the folio's shape, which is its order and the next two."""
VERDICT_SHIFT = 24
"""In owner1: the last verdict (`verdicts.py`) in 3 bits."""
SHARED_SHIFT = 31
BYTES_PER_FOLIO = 40
MOST_SUM = float(1 << 53)
"""What sum2 may grow to: 2^13 mappings by mms around 2^20, or 2^21 by mms around 2^16."""

U32 = NDArray[np.uint32]


class Folios:
    """Folios [first, first + n) of a trace."""

    __slots__ = ("count0", "count1", "entire", "first", "large_mapcount", "owner0", "owner1", "sum1", "sum2")

    def __init__(self, n: int, first: int = 0) -> None:
        self.first = first
        self.large_mapcount: U32 = np.zeros(n, np.uint32)
        self.entire: U32 = np.zeros(n, np.uint32)
        self.owner0: U32 = np.zeros(n, np.uint32)
        self.owner1: U32 = np.zeros(n, np.uint32)
        self.count0: U32 = np.zeros(n, np.uint32)
        self.count1: U32 = np.zeros(n, np.uint32)
        self.sum1: NDArray[np.float64] = np.zeros(n, np.float64)
        self.sum2: NDArray[np.float64] = np.zeros(n, np.float64)

    @classmethod
    def of(cls, trace: Trace, first: int = 0, stop: int | None = None) -> Folios:
        """The folios [first, stop) of a trace, unmapped. Raises TraceError for a damaged folios.parquet."""
        stop = trace.folios if stop is None else stop
        folios = cls(stop - first, first)
        at = 0
        for orders, kinds in trace.shapes():
            low, high = max(first - at, 0), min(stop - at, len(orders))
            if low < high:
                folios.set_shapes(at + low - first, orders[low:high], kinds[low:high])
            at += len(orders)
        return folios

    def __len__(self) -> int:
        return len(self.large_mapcount)

    def set_shapes(self, at: int, orders: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> None:
        """The folios from number `at` on have these orders and kinds (places in `KINDS`)."""
        shape = orders.astype(np.uint32)
        shape[kinds == KINDS.index("hugetlb")] |= HUGETLB
        shape[kinds == KINDS.index("anon")] |= ANON
        self.owner0[at : at + len(orders)] = shape << SHAPE_SHIFT

    @property
    def state(self) -> tuple[NDArray[Any], ...]:
        """The eight columns, as the engine takes them."""
        return (
            self.large_mapcount, self.entire, self.owner0, self.owner1,
            self.count0, self.count1, self.sum1, self.sum2,
        )  # fmt: skip

    @state.setter
    def state(self, columns: tuple[NDArray[Any], ...]) -> None:
        (
            self.large_mapcount, self.entire, self.owner0, self.owner1,
            self.count0, self.count1, self.sum1, self.sum2,
        ) = columns  # fmt: skip

    def shapes(self, low: int, high: int) -> U32:
        """The shapes of folios [low, high) of these."""
        return (self.owner0[low:high] >> SHAPE_SHIFT).astype(np.uint32)

    def order(self, low: int, high: int) -> U32:
        """The order of folios [low, high) of these."""
        return self.shapes(low, high) & np.uint32(ORDER_MASK)

    def truly_shared(self, low: int, high: int) -> NDArray[np.bool_]:
        """Do two or more mms map the folio? For folios [low, high) of these."""
        rows = slice(low, high)
        return truly_shared(self.large_mapcount[rows], self.sum1[rows], self.sum2[rows])

    def slots(self, low: int, high: int) -> dict[str, pl.Series]:
        """The owner slots of folios [low, high) of these, by the names of a result's columns."""
        rows = slice(low, high)
        return {
            "slot0_mm": pl.Series(self.owner0[rows] & ID_MASK),
            "slot0_mapcount": pl.Series(self.count0[rows]),
            "slot1_mm": pl.Series(self.owner1[rows] & ID_MASK),
            "slot1_mapcount": pl.Series(self.count1[rows]),
            "shared_flag": pl.Series(self.owner1[rows] >> SHARED_SHIFT != 0),
        }


def truly_shared(total: U32, sum1: NDArray[np.float64], sum2: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each folio: is it mapped, and not by one mm alone?"""
    mm = sum1 / np.maximum(total, 1)
    shared: NDArray[np.bool_] = (mm != np.floor(mm)) | (mm * sum1 != sum2)
    return shared
