"""Writing traces: files of bounded size, under a temporary name until all is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mapcount.replay.trace import FILE_EVENTS, KINDS, Meta, TraceError

Column = NDArray[np.uint32] | NDArray[np.uint8]

KIND = pl.Enum(KINDS)


class TraceWriter:
    """Writes a trace, piece by piece, to `path`, which appears when the `with` block ends well.

    Nothing is held back but one file's events. Raises TraceError when there is something at `path`
    already, unless `force`; then it is replaced in the end.
    """

    def __init__(self, path: str | Path, *, force: bool = False) -> None:
        self.path = Path(path)
        if self.path.suffix != ".trace":
            raise TraceError(f"{path}: a trace is called NAME.trace")
        if self.path.exists() and not force:
            raise TraceError(f"{path}: exists already; --force replaces it")
        if self.path.exists() and not (self.path / "meta.json").is_file():
            raise TraceError(f"{path}: is no trace; --force replaces nothing else")
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._pending: list[pl.DataFrame] = []
        self._rows = 0
        self._files = 0
        self._orders: list[NDArray[np.uint8]] = []
        self._kinds: list[NDArray[np.uint8]] = []
        self.folios = 0
        """How many folios there are so far: the number that the next one gets."""
        self.events = 0
        """How many events there are so far."""
        self.meta: Meta | None = None
        """To be set before the end."""

    def __enter__(self) -> TraceWriter:
        try:
            self._temporary.mkdir()
        except OSError as error:
            raise TraceError(f"{self.path}: {error.strerror}") from None
        return self

    def add_folios(self, orders: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> int:
        """More folios: the order of each and its place in `KINDS`. Returns the number of the first one."""
        first = self.folios
        self._orders.append(orders.astype(np.uint8))
        self._kinds.append(kinds.astype(np.uint8))
        self.folios += len(orders)
        return first

    def add_events(
        self,
        folio: NDArray[np.uint32],
        mm: NDArray[np.uint32],
        op: NDArray[np.uint8],
        page: NDArray[np.uint32],
        nr: NDArray[np.uint32],
        phase: NDArray[np.uint8],
    ) -> None:
        """More events, one row each, in time order; arrays of equal length, kept until they are written."""
        columns = {"folio": folio, "mm": mm, "op": op, "page": page, "nr": nr, "phase": phase}
        self._pending.append(pl.DataFrame(columns))
        self._rows += len(folio)
        self.events += len(folio)
        while self._rows >= FILE_EVENTS:
            self._write_file(FILE_EVENTS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _write_file(self, rows: int) -> None:
        table = pl.concat(self._pending) if self._pending else _no_events()
        table.head(rows).write_parquet(
            self._temporary / f"events-{self._files:05}.parquet", compression="zstd", compression_level=1
        )
        self._pending = [table.slice(rows)] if len(table) > rows else []
        self._rows = max(self._rows - rows, 0)
        self._files += 1

    def _finish(self) -> None:
        assert self.meta is not None, "the writer's meta is to be set"
        if self._rows or not self._files:
            self._write_file(FILE_EVENTS)
        orders = np.concatenate([np.zeros(0, np.uint8), *self._orders])
        kinds = np.concatenate([np.zeros(0, np.uint8), *self._kinds])
        names = pl.Series("kind", KINDS, dtype=KIND).gather(kinds.astype(np.uint32))
        numbers = np.arange(self.folios, dtype=np.uint32)
        pl.DataFrame({"folio": numbers, "order": orders, "kind": names}).write_parquet(
            self._temporary / "folios.parquet"
        )
        (self._temporary / "meta.json").write_text(self.meta.dumps(), encoding="utf-8")
        if self.path.exists():
            old = self.path.with_name(f".{self.path.name}.{os.getpid()}.old")
            self.path.rename(old)
            self._temporary.rename(self.path)
            shutil.rmtree(old)
        else:
            self._temporary.rename(self.path)


def _no_events() -> pl.DataFrame:
    u32, u8 = pl.UInt32, pl.UInt8
    return pl.DataFrame(schema={"folio": u32, "mm": u32, "op": u8, "page": u32, "nr": u32, "phase": u8})
