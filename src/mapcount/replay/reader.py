"""Reading traces: every file is checked for its shape before anything is believed, one file at a time.

What events mean, and whether they can be, is for the engine to judge (`illegal.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mapcount.replay.trace import (
    EVENT_COLUMNS,
    FILE_EVENTS,
    KINDS,
    MOST_FOLIOS,
    MOST_ORDER,
    Meta,
    TraceError,
    parse_meta,
)
from mapcount.scenario.syntax import visible

FOLIOS_AT_ONCE = 1 << 20
MOST_META = 64 << 20
"""Bytes of the largest meta.json that is read."""
DTYPES = {"UInt32": np.uint32, "UInt8": np.uint8}


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive events: one file's, or several files'."""

    files: tuple[tuple[str, int], ...]
    """Name of each file, and which row here is its first: for messages."""
    first: int
    """The number, in the whole trace, of the first event here."""
    folio: NDArray[np.uint32]
    mm: NDArray[np.uint32]
    op: NDArray[np.uint8]
    page: NDArray[np.uint32]
    nr: NDArray[np.uint32]
    phase: NDArray[np.uint8]
    rows: NDArray[np.uint32] | None = None
    """Which row each event is, ascending, when not all rows are here: a row's event is then elsewhere."""

    def __len__(self) -> int:
        return len(self.folio)

    def row(self, i: int) -> int:
        """The row of event number `i` of those here."""
        return i if self.rows is None else int(self.rows[i])

    def index(self, row: int) -> int:
        """Which of the events here is in that row."""
        return row if self.rows is None else int(np.searchsorted(self.rows, row))

    def place(self, row: int) -> tuple[str, int]:
        """The file of a row here, and its row in that file."""
        name, start = next((name, start) for name, start in reversed(self.files) if start <= row)
        return name, row - start

    @property
    def columns(self) -> tuple[NDArray[np.uint32] | NDArray[np.uint8], ...]:
        """folio, mm, op, page, nr, phase."""
        return (self.folio, self.mm, self.op, self.page, self.nr, self.phase)


def merged(windows: Iterator[Window], events: int) -> Iterator[Window]:
    """The same events in windows of at least so many, as far as there are so many."""
    waiting: list[Window] = []
    for window in windows:
        waiting.append(window)
        if sum(map(len, waiting)) >= events:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(windows: list[Window]) -> Window:
    """Windows that follow each other as one."""
    if len(windows) == 1:
        return windows[0]
    first = windows[0].first
    files = tuple((name, w.first - first + start) for w in windows for name, start in w.files)
    columns = (np.concatenate(parts) for parts in zip(*(w.columns for w in windows), strict=True))
    return Window(files, first, *columns)


class Trace:
    """A trace on disk, opened: its meta.json is read, and how many rows each file has is known."""

    def __init__(self, path: str | Path) -> None:
        """Raises TraceError for what is no trace."""
        self.path = Path(path)
        if not self.path.is_dir():
            raise TraceError(f"{visible(str(path))}: is no trace, which is a directory NAME.trace")
        self.meta = self._meta()
        self.folios = self._rows(self.path / "folios.parquet")
        """How many folios there are."""
        if self.folios > MOST_FOLIOS:
            raise self._error(self.path / "folios.parquet", f"{self.folios} rows; at most {MOST_FOLIOS}")
        self.files = self._event_files()
        """The event files, in order, with the number of rows of each."""

    @property
    def events(self) -> int:
        """How many events there are."""
        return sum(rows for _, rows in self.files)

    def shapes(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """The order and the kind (its place in `KINDS`) of all folios, some at a time."""
        path, expected = self.path / "folios.parquet", 0
        for first in range(0, self.folios, FOLIOS_AT_ONCE):
            table = self._read(path, first, FOLIOS_AT_ONCE, {"folio": "UInt32", "order": "UInt8"}, kinds=True)
            folio = table["folio"].to_numpy()
            numbers = np.arange(expected, expected + len(folio), dtype=np.uint32)
            self._all(path, expected, folio == numbers, "folios are numbered by their rows, from 0 on", folio)
            order = table["order"].to_numpy()
            self._all(path, expected, order <= MOST_ORDER, f"an order is at most {MOST_ORDER}", order)
            kind = self._kinds(path, expected, table["kind"])
            small = np.isin(kind, (KINDS.index("hugetlb"),)) & (order == 0)
            self._all(path, expected, ~small, "a hugetlb folio has an order of 1 or more", order)
            large = (kind == KINDS.index("ksm")) & (order > 0)
            self._all(path, expected, ~large, "a KSM page is a small folio, of order 0", order)
            expected += len(folio)
            yield order, kind

    def windows(self) -> Iterator[Window]:
        """Every event, in order, a file's at a time."""
        first = 0
        for path, rows in self.files:
            yield self.window(path, rows, first)
            first += rows

    def window(self, path: Path, rows: int, first: int) -> Window:
        """The events of one file, which begin with event number `first`."""
        table = self._read(path, 0, rows, EVENT_COLUMNS, phase=True)
        if len(table) != rows:
            raise self._error(path, f"{len(table)} rows where there were {rows} a moment ago")
        folio, mm, op, page, nr = (table[name].to_numpy() for name in EVENT_COLUMNS)
        phase = table["phase"].to_numpy() if "phase" in table.columns else np.zeros(rows, np.uint8)
        most = max(len(self.meta.phases), 1)
        self._all(path, 0, phase < most, f"phases are numbered from 0 to {most - 1}, as in meta.json", phase)
        return Window(((path.name, 0),), first, folio, mm, op, page, nr, phase)

    # -- files ------------------------------------------------------------------------------------------

    def _error(self, path: Path, reason: str) -> TraceError:
        return TraceError(f"{visible(str(path))}: {reason}")

    def _meta(self) -> Meta:
        path = self.path / "meta.json"
        try:
            if path.stat().st_size > MOST_META:
                raise self._error(path, f"larger than {MOST_META >> 20} MiB")
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise self._error(path, "not UTF-8 text") from None
        except OSError as error:
            raise self._error(path, f"{error.strerror}") from None
        try:
            return parse_meta(text)
        except TraceError as error:
            raise self._error(path, visible(str(error))) from None

    def _event_files(self) -> list[tuple[Path, int]]:
        found = sorted(p for p in self.path.iterdir() if re.fullmatch(r"events-\d+\.parquet", p.name))
        found.sort(key=lambda p: int(p.stem.partition("-")[2]))
        for number, path in enumerate(found):
            if int(path.stem.partition("-")[2]) != number:
                raise self._error(
                    path, f"events file number {number} is missing; they are numbered from 0 on"
                )
        if not found:
            raise self._error(self.path, "has no events-00000.parquet")
        files = [(path, self._rows(path)) for path in found]
        for path, rows in files:
            if rows > FILE_EVENTS:
                raise self._error(path, f"{rows} rows; an events file has at most {FILE_EVENTS}")
        return files

    def _rows(self, path: Path) -> int:
        try:
            return int(pl.scan_parquet(path).select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise self._error(path, _why(error)) from None

    def _read(
        self,
        path: Path,
        first: int,
        rows: int,
        columns: dict[str, str],
        *,
        kinds: bool = False,
        phase: bool = False,
    ) -> pl.DataFrame:
        """Rows of a Parquet file whose columns have the right types and no holes."""
        try:
            scan = pl.scan_parquet(path)
            schema = scan.collect_schema()
            wanted = dict(columns)
            if phase and "phase" in schema:
                wanted["phase"] = "UInt8"
            for name, dtype in wanted.items():
                if name not in schema:
                    raise self._error(path, f"has no column {name!r}")
                if schema[name] != getattr(pl, dtype):
                    raise self._error(path, f"column {name!r} is {schema[name]}, not {dtype}")
            if kinds and not isinstance(schema.get("kind"), pl.String | pl.Categorical | pl.Enum):
                raise self._error(path, f"has no column 'kind' of {', '.join(KINDS)}")
            names = [*wanted, "kind"] if kinds else [*wanted]
            table = scan.select(names).slice(first, rows).collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise self._error(path, _why(error)) from None
        for name in names:
            if table[name].null_count():
                row = first + int(table[name].is_null().arg_max() or 0)
                raise self._error(path, f"row {row}: {name} is missing")
        return table

    def _kinds(self, path: Path, first: int, kind: pl.Series) -> NDArray[np.uint8]:
        text = kind.cast(pl.String)
        self._all(path, first, text.is_in(KINDS).to_numpy(), f"a kind is one of {', '.join(KINDS)}", text)
        return text.cast(pl.Enum(KINDS)).to_physical().cast(pl.UInt8).to_numpy()

    def _all(
        self,
        path: Path,
        first: int,
        fine: NDArray[np.bool_],
        rule: str,
        values: NDArray[np.uint8] | NDArray[np.uint32] | pl.Series,
    ) -> None:
        """Raises TraceError at the first row where `fine` is false."""
        if not fine.all():
            row = int(np.argmin(fine))
            raise self._error(path, f"row {first + row}: {visible(str(values[row]))}: {rule}")


def _why(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "No such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"not a Parquet file, or a damaged one ({visible(str(error).splitlines()[0])[:200]})"
