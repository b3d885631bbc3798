"""The result of a replay: one row per folio, in order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from mapcount.replay.desk import Tally
from mapcount.replay.engine import Engine
from mapcount.replay.folios import SHARED_SHIFT, Folios
from mapcount.replay.pages import PageMapcounts
from mapcount.replay.trace import HUGETLB, ORDER_MASK, TraceError
from mapcount.tracking.flavour import Flavour
from mapcount.tracking.folio import ENTIRELY_MAPPED

ROWS_AT_ONCE = 1 << 16

SCHEMA = {
    "folio": pl.UInt32,
    "large_mapcount": pl.UInt32, "entire_mapcount": pl.UInt32, "nr_pages_mapped": pl.UInt32,
    "slot0_mm": pl.UInt32, "slot0_mapcount": pl.UInt32, "slot1_mm": pl.UInt32, "slot1_mapcount": pl.UInt32,
    "shared_flag": pl.Boolean, "maybe_shared": pl.Boolean, "truly_shared": pl.Boolean,
}  # fmt: skip
"""Columns of a result. What a flavour does not keep is 0; a small folio's large_mapcount is its page's."""

TOTAL_MAPPED_PAGES = "total_mapped_pages"
"""One more column, on the flavour that keeps it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Some folios after the last event, and what was counted on the way."""

    folios: Folios
    pages: PageMapcounts | None
    flavour: Flavour
    events: int
    tally: Tally

    @classmethod
    def of(cls, engine: Engine) -> Shard:
        """What an engine has come to."""
        return cls(engine.folios, engine.pages, engine.flavour, engine.events, engine.tally())

    def table(self, low: int, high: int) -> pl.DataFrame:
        """The rows of folios [low, high) of these."""
        folios, flavour = self.folios, self.flavour
        shapes = folios.shapes(low, high)
        order, hugetlb = shapes & np.uint32(ORDER_MASK), shapes & HUGETLB != 0
        entire = folios.entire[low:high]
        mapped = np.zeros(high - low, np.uint32)
        if self.pages is not None:
            large = (order > 0) & ~hugetlb
            mapped[large] = self.pages.mapped(low, high)[large]
            mapped[large & (entire > 0)] += ENTIRELY_MAPPED
        columns = {
            "folio": np.arange(folios.first + low, folios.first + high, dtype=np.uint32),
            "large_mapcount": folios.large_mapcount[low:high],
            "entire_mapcount": entire if flavour.entire_mapcount else np.zeros(high - low, np.uint32),
            "nr_pages_mapped": mapped,
            **folios.slots(low, high),
            "maybe_shared": self._maybe_shared(low, high, order, hugetlb),
            "truly_shared": folios.truly_shared(low, high),
        }
        if flavour.total_mapped_pages:
            columns[TOTAL_MAPPED_PAGES] = entire
        return pl.DataFrame(columns)

    def _maybe_shared(
        self, low: int, high: int, order: NDArray[np.uint32], hugetlb: NDArray[np.bool_]
    ) -> NDArray[Any]:
        total, entire = self.folios.large_mapcount[low:high], self.folios.entire[low:high]
        large: NDArray[Any] = self.folios.owner1[low:high] >> SHARED_SHIFT != 0
        if not self.flavour.owner_slots:
            assert self.pages is not None, "a kernel without owner slots has per-page counts"
            nr_pages = np.uint32(1) << order
            large = (entire > 0) | (total > nr_pages) | self.pages.first_twice(low, high)
        maybe: NDArray[Any] = (total > 1) & (large | (order == 0) | hugetlb)
        return maybe


def tables(shards: Sequence[Shard]) -> Iterator[pl.DataFrame]:
    """The rows of all shards, a few at a time."""
    for shard in shards:
        for low in range(0, len(shard.folios), ROWS_AT_ONCE):
            yield shard.table(low, min(low + ROWS_AT_ONCE, len(shard.folios)))


def schema_of(flavour: Flavour) -> dict[str, Any]:
    """The columns of a result on this flavour, with their types."""
    return SCHEMA | ({TOTAL_MAPPED_PAGES: pl.UInt32} if flavour.total_mapped_pages else {})


def write_result(shards: Sequence[Shard], path: str | Path) -> None:
    """Write every folio's row to a Parquet file, in bounded memory. Raises TraceError if it cannot be.

    What is there is replaced: `check_output` comes first, before the work.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    schema = schema_of(shards[0].flavour)

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch: int | None
    ) -> Iterator[pl.DataFrame]:
        return tables(shards)

    try:
        register_io_source(source, schema=pl.Schema(schema)).sink_parquet(
            temporary, row_group_size=ROWS_AT_ONCE, maintain_order=True
        )
        temporary.replace(path)
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: Path, *, force: bool) -> None:
    """Raises TraceError when `path` cannot become a result: before the work, not after it."""
    if path.exists() and not force:
        raise TraceError(f"{path}: exists already; --force replaces it")
    if path.is_dir():
        raise TraceError(f"{path}: is a directory")
    if not path.parent.is_dir():
        raise TraceError(f"{path.parent}: no such directory")
