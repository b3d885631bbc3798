"""Tables in files: there whole, or not at all."""

from __future__ import annotations

import resource
from pathlib import Path

import polars as pl
import pytest

from mapcount.report import whole_file
from mapcount.report.table_file import Table, check_target, write_table

TABLE = Table(["name", "kib"], ["name"], [["a,b", 1], [None, None], ["c", -3]])


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("table", [TABLE, Table(TABLE.names, TABLE.texts, [])], ids=["rows", "none"])
def test_what_was_written_is_read(tmp_path: Path, name: str, table: Table) -> None:
    """Rows come back, and columns even without rows; nothing else is left in the directory."""
    path = tmp_path / name
    write_table(path, table)
    schema = {"name": pl.String(), "kib": pl.Int64()}
    read = pl.read_csv(path, schema=schema) if path.suffix == ".csv" else pl.read_parquet(path)
    assert [tuple(row) for row in table.rows] == read.rows()
    assert ["name", "kib"] == read.columns
    assert [path] == list(tmp_path.iterdir())


def test_a_file_is_not_replaced_unless_forced(tmp_path: Path) -> None:
    """What is there stays, unless --force."""
    path = tmp_path / "t.csv"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="--force"):
        write_table(path, TABLE)
    assert "mine" == path.read_text()
    write_table(path, TABLE, force=True)
    assert "name,kib" == path.read_text().splitlines()[0]


@pytest.mark.parametrize("name", ["t.txt", "t", "none/t.csv"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    """A name without a known ending, or in no directory, is refused before anything is done."""
    with pytest.raises(ValueError, match=r"ends in .csv or .parquet|is no directory"):
        check_target(tmp_path / name)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """Where the file does not fit, what was there stays, nothing else does, and the file is named."""
    path = tmp_path / "t.csv"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
        with pytest.raises(OSError, match=r"t\.csv"):
            write_table(path, TABLE, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "old" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while writing leaves no file, not even a half one under another name."""

    def interrupted(_fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(whole_file.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_table(tmp_path / "t.csv", TABLE)
    assert [] == list(tmp_path.iterdir())
