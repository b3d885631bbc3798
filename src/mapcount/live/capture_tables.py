"""Tables of a capture on disk, written and read a part at a time (see `capture_format`).

What is read was checked against its SHA-256 before, so damage never reaches the Parquet reader. Malice might:
so what a file unpacks to is checked as well (see `parquet_sizes`), and how much text there is: it may be one
text many times over. However a capture was made, reading it takes bounded memory.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from mapcount.live.capture_format import CaptureError, Table
from mapcount.live.parquet_sizes import ParquetError, check_sizes

MANY_FRAMES = 256
"""So many small frames are made one before more are kept."""
MOST_BYTES = 1 << 27
"""The largest part that is read. One of PART_ROWS rows has a fifth of it."""
MOST_UNPACKED = 1 << 29
"""Bytes that the parts of a table may unpack to that are read together."""
MOST_TEXT = 1 << 26
"""Bytes of text in the rows of a table that are read together."""
MOST_COLUMNS = 256


NOT_REGULAR = "is no regular file, and a capture has no others"


@dataclass(frozen=True, slots=True)
class Part:
    """What `meta.json` says of one file."""

    rows: int
    bytes: int
    sha256: str


class TableWriter:
    """Takes rows, and keeps at most one part of them in memory."""

    def __init__(self, folder: Path, table: Table, part_rows: int) -> None:
        self.parts: list[Part] = []
        self._folder, self._table, self._part_rows = folder, table, part_rows
        self._pending: list[pl.DataFrame] = []
        self._nr_pending = 0

    @property
    def rows(self) -> int:
        """Rows so far."""
        return sum(part.rows for part in self.parts) + self._nr_pending

    def append(self, frame: pl.DataFrame) -> None:
        """Add rows; write a part whenever one is full. Raises OSError."""
        if not frame.height:
            return
        self._pending.append(frame)
        self._nr_pending += frame.height
        while self._nr_pending >= self._part_rows:
            rows = self._joined()
            self._write(rows[: self._part_rows])
            self._keep(rows[self._part_rows :])
        if len(self._pending) >= MANY_FRAMES:
            self._keep(self._joined())

    def cut(self, rows: int) -> None:
        """Forget every row after the first `rows`, as if they had never come. Raises OSError."""
        if rows == self.rows:
            return
        while len(self.parts) * self._part_rows > rows:
            self.parts.pop()
            path = self._path()
            self._keep(pl.read_parquet(path.read_bytes()))
            path.unlink()
        self._keep(self._joined()[: rows - len(self.parts) * self._part_rows])

    def close(self) -> None:
        """Write what is left. Raises OSError."""
        if self._nr_pending:
            self._write(self._joined())
            self._keep(pl.DataFrame())

    def _joined(self) -> pl.DataFrame:
        return pl.concat(self._pending, how="diagonal") if self._pending else pl.DataFrame()

    def _keep(self, frame: pl.DataFrame) -> None:
        self._pending = [frame] if frame.height else []
        self._nr_pending = frame.height

    def _path(self) -> Path:
        return self._folder / self._table.part(len(self.parts))

    def _write(self, frame: pl.DataFrame) -> None:
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        write_durably(self._path(), buffer.getvalue())
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
        self.parts.append(Part(frame.height, buffer.getbuffer().nbytes, digest))


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file, and wait until it is on the disk. Raises OSError."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_checked(path: Path, most_bytes: int) -> bytes:
    """The content of a regular file of bounded size; no link is followed. Raises CaptureError."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise CaptureError(f"{path}: {NOT_REGULAR}")
            if status.st_size > most_bytes:
                raise CaptureError(f"{path}: has {status.st_size} bytes, at most {most_bytes} are read")
            return file.read(most_bytes + 1)
    except OSError as error:
        reason = NOT_REGULAR if path.is_symlink() else error.strerror
        raise CaptureError(f"{path}: {reason}") from None


@dataclass(slots=True)
class TableReader:
    """Gives rows, and keeps at most one part of them in memory."""

    folder: Path
    table: Table
    parts: Sequence[Part]
    part_rows: int
    _loaded: tuple[int, pl.DataFrame, int] | None = field(default=None, init=False)
    """Which part is in memory, its rows, and what it unpacked to."""

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    def read(self, start: int, stop: int) -> pl.DataFrame:
        """Rows [start, stop), which must be there. Raises CaptureError for a part that is damaged."""
        pieces: list[pl.DataFrame] = []
        unpacked = text = 0
        for i in range(start // self.part_rows, -(-stop // self.part_rows)):
            part, size = self._part(i)
            piece = part[max(0, start - i * self.part_rows) : stop - i * self.part_rows]
            unpacked, text = unpacked + size, text + _text_bytes(piece)
            if unpacked > MOST_UNPACKED or text > MOST_TEXT:
                raise CaptureError(
                    f"{self.folder / self.table.part(i)}: up to here, rows that belong together unpack to "
                    f"{unpacked} bytes with {text} of text; {MOST_UNPACKED} and {MOST_TEXT} are read"
                )
            pieces.append(piece)
        if not pieces:
            return self.table.frame({})
        return pieces[0] if len(pieces) == 1 else pl.concat(pieces, how="diagonal")

    def place(self, row: int) -> str:
        """Where a row stands, for people: file and row within it."""
        path = self.folder / self.table.part(row // self.part_rows)
        return f"{path}: row {row % self.part_rows + 1}"

    def _part(self, number: int) -> tuple[pl.DataFrame, int]:
        if self._loaded is None or self._loaded[0] != number:
            self._loaded = None
            self._loaded = number, *self._load(self.folder / self.table.part(number), self.parts[number])
        return self._loaded[1:]

    def _load(self, path: Path, part: Part) -> tuple[pl.DataFrame, int]:
        content = read_checked(path, min(part.bytes, MOST_BYTES))
        if len(content) < part.bytes:
            raise CaptureError(
                f"{path}: has {len(content)} bytes, meta.json says {part.bytes}: it was cut short"
            )
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise CaptureError(f"{path}: is damaged: its SHA-256 is not the one in meta.json")
        try:
            unpacked = check_sizes(content, part.rows, MOST_UNPACKED)
            self._check_columns(path, dict(pl.scan_parquet(content).collect_schema()))
            frame = pl.read_parquet(content)
        except ParquetError as error:
            raise CaptureError(f"{path}: {error} (limit: {MOST_UNPACKED} bytes)") from None
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            reason = str(error).partition("\n")[0][:200]
            raise CaptureError(f"{path}: is no Parquet file that can be read ({reason})") from None
        for name in self.table.columns:
            if name not in self.table.nullable and frame[name].has_nulls():
                raise CaptureError(f"{path}: column {name} has gaps")
        return frame, unpacked

    def _check_columns(self, path: Path, found: dict[str, pl.DataType]) -> None:
        if len(found) > MOST_COLUMNS:
            raise CaptureError(f"{path}: has {len(found)} columns, at most {MOST_COLUMNS} are read")
        for name, dtype in self.table.columns.items():
            if name not in found:
                raise CaptureError(f"{path}: has no column {name}")
            if found[name] != dtype:
                raise CaptureError(f"{path}: column {name} holds {found[name]}, it should hold {dtype}")
        for name in found.keys() - self.table.columns.keys():
            if self.table.more is None or not name.startswith(self.table.more):
                raise CaptureError(f"{path}: has a column {name!r} that no {self.table.name} have")
            if found[name] != pl.Int64:
                raise CaptureError(f"{path}: column {name!r} holds {found[name]}, it should hold Int64")


def _text_bytes(frame: pl.DataFrame) -> int:
    """Bytes of all texts, each counted as often as it is there: in memory it may be there once."""
    texts = frame.select(pl.col(pl.String).str.len_bytes().sum())
    return sum(texts.row(0)) if texts.width else 0
