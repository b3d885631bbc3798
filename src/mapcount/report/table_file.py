"""Writing a table to one file that is there whole or not at all."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mapcount.report.whole_file import write_whole

FORMATS = (".csv", ".parquet")
"""How the name of a file ends, which says what is written."""

Cell = int | str | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells. Columns named in `texts` hold text, all others whole numbers or nothing."""

    names: Sequence[str]
    texts: Collection[str]
    rows: Sequence[Sequence[Cell]]


def check_target(path: Path, *, force: bool = False) -> None:
    """May a table be written there? Raises FileExistsError, and ValueError for a name that cannot be."""
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: a table's name ends in {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: {path.parent} is no directory")
    if not force and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "exists: --force replaces it", str(path))


def write_table(path: Path, table: Table, *, force: bool = False) -> None:
    """Write a table as what the name's end says. Raises as `check_target`, and OSError."""
    check_target(path, force=force)
    schema = {name: pl.String() if name in table.texts else pl.Int64() for name in table.names}
    frame = pl.DataFrame(table.rows, schema=schema, orient="row")
    content = io.BytesIO()
    if path.suffix == ".csv":
        frame.write_csv(content)
    else:
        frame.write_parquet(content)
    write_whole(path, content.getvalue(), force=force)
