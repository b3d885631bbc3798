"""Captures come from outside: each is good, or a CaptureError that names the file and what is wrong."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.live import capture_source, capture_tables
from mapcount.live.capture_format import CaptureError
from mapcount.live.capture_source import CaptureSource
from mapcount.live.capture_write import write_capture
from mapcount.live.selection import Selection
from mapcount.live.snapshot import Kind, MemoryStat, Unreadable

from .fakes import LargeFolio, MemorySource, Run, block_of, process, region
from .parquet_file import Column, Page

LARGE = [LargeFolio(16, mapped_pages=16), LargeFolio(512, order=9)]
ROWS = [
    Run(0, 16, folio=16, order=4),
    Run(16, 512, folio=512, order=9, pmd=1),
    Run(0, folio=7, kind=Kind.FILE, region=1),
    Run(1, folio=3, kind=Kind.ZERO, region=1),
]
SOURCE = MemorySource(
    [process(1, [region(1024), region(16, start=0x2000, name="/lib/x")]), process(2, [region(16)])],
    {1: [block_of(ROWS[:2], LARGE), block_of(ROWS[2:])], 2: [block_of(ROWS[:1], LARGE[:1])]},
    stats=[MemoryStat("/", 1, 2, 3, 4)],
    refusing={3: "permission denied"},
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of SOURCE, to be copied."""
    folder = tmp_path_factory.mktemp("good") / "good.capture"
    write_capture(SOURCE, Selection(), folder)
    return folder


@pytest.fixture
def bad(good: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(good, tmp_path / "bad.capture"))


def read_all(path: Path) -> int:
    """Read everything there is; how many runs."""
    source = CaptureSource(path)
    nr_runs = 0
    for pid in source.pids():
        try:
            nr_runs += sum(len(block.runs) for block in source.blocks(source.process(pid)))
        except Unreadable:
            continue
    source.memory_stats()
    return nr_runs


def complaint(path: Path) -> str:
    """What is said of a capture that is not good."""
    with pytest.raises(CaptureError) as error:
        read_all(path)
    return str(error.value)


def change_meta(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change `meta.json` in place."""
    meta = json.loads((path / "meta.json").read_text())
    change(meta)
    (path / "meta.json").write_text(json.dumps(meta))


def replace_part(path: Path, table: str, content: bytes, rows: int) -> None:
    """Another file for a table, and a `meta.json` that says it is the right one."""
    name = f"{table}-0000.parquet"
    (path / name).write_bytes(content)
    said = {"rows": rows, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change_meta(path, lambda meta: meta["files"].update({name: said}))


def change_table(path: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change a table as somebody would who knows the format."""
    frame = change(pl.read_parquet((path / f"{table}-0000.parquet").read_bytes()))
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    replace_part(path, table, buffer.getvalue(), frame.height)


def put(column: str, row: int, value: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """One value of a table replaced."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        values = frame[column].to_list()
        values[row] = value
        return frame.with_columns(pl.Series(column, values, frame.schema[column], strict=False))

    return change


def test_the_good_one_is_good(good: Path) -> None:
    """What is damaged below is read without complaint when it is not."""
    assert 5 == read_all(good)


VALUES = [
    ("processes", "pid", 0, 0, "0 is no process number"),
    ("processes", "pid", 1, 1, "process 1 is there twice"),
    ("processes", "pid", 1, 5, "is of process 2, it should be of 5"),
    ("processes", "cgroup", 0, "x", "it should be a path from /"),
    ("processes", "comm", 0, "x" * 40_000, "more than 32768 characters"),
    ("processes", "comm", 0, None, "column comm has gaps"),
    ("processes", "sharing", 0, [None], "sharing has gaps"),
    ("processes", "regions", 0, 1 << 62, "regions, and there are 3"),
    ("processes", "regions", 0, -1, "regions, and there are 3"),
    ("processes", "blocks", 0, 7, "blocks, and there are 3"),
    ("regions", "start", 0, -5, "are no region behind page 0"),
    ("regions", "start", 1, 3, "3 are no region behind page 1024"),
    ("regions", "nr_pages", 0, 0, "0 pages from"),
    ("regions", "nr_pages", 0, 1 << 60, "1152921504606846976 pages"),
    ("regions", "perms", 0, "what", "perms is 'what', it should be like 'rw-p'"),
    ("regions", "flags", 0, "rd write", "a flag has not two letters"),
    ("regions", "name", 0, "x" * 40_000, "the name is too long"),
    ("regions", "smaps.Rss", 0, -4, "smaps 'Rss' is -4"),
    ("regions", "pid", 1, 2, "row 2: is of process 2, it should be of 1"),
    ("blocks", "runs", 0, 1 << 60, "a block has 1152921504606846976 runs"),
    ("blocks", "runs", 0, 3, "runs, and there are 5"),
    ("blocks", "folios", 1, -1, "folios, and there are 3"),
    ("blocks", "pid", 0, 2, "is of process 2, it should be of 1"),
    ("runs", "pid", 4, 1, "row 5: is of process 1, it should be of 2"),
    ("runs", "region", 1, 2, "region is 2, it should be one of 2 regions"),
    ("runs", "region", 2, -1, "region is -1"),
    ("runs", "region", 0, 1, "row 1: region is 1, it should be that of the next row or one before"),
    ("runs", "page", 1, 600, "page is 600, it should be so that the run lies within"),
    ("runs", "page", 1, 15, "row 1: nr is 16, it should be so that the run ends before the next"),
    ("runs", "page", 0, -1, "page is -1"),
    ("runs", "page", 0, (1 << 63) - 1, "it should be a page of a region"),
    ("runs", "nr", 0, 0, "nr is 0, it should be at least 1"),
    ("runs", "nr", 4, 17, "row 5: page is 0, it should be so that the run lies within"),
    ("runs", "order", 4, 3, "row 5: first is 0, it should be a page with all of the run behind it"),
    ("runs", "first", 0, 1, "first is 1"),
    ("runs", "first", 0, -1, "first is -1"),
    ("runs", "order", 0, 99, "order is 99, it should be from 0 to 30"),
    (
        "runs",
        "order",
        0,
        5,
        "folio is 1, it should be a large folio of the same block, and of the same order",
    ),
    ("runs", "folio", 1, 12345, "folio is 12345, it should be a large folio of the same block"),
    ("runs", "kind", 0, 7, "kind is 7, it should be from 0 to 6"),
    ("runs", "pmd", 0, -2, "pmd is -2, it should be 0, 1 or -1"),
    ("runs", "mapcount", 0, -2, "mapcount is -2"),
    ("runs", "mapcount", 0, None, "column mapcount has gaps"),
    ("folios", "folio", 0, 2, "folio is 2, it should be less than the next row's"),
    ("folios", "order", 0, 0, "order is 0, it should be from 1 to 30"),
    ("folios", "order", 0, 127, "order is 127"),
    ("folios", "kind", 0, -1, "kind is -1"),
    ("folios", "shared", 0, 2, "shared is 2, it should be 0, 1 or -1"),
    ("folios", "mapped_pages", 0, 17, "mapped_pages is 17, it should be at most the folio's pages"),
    ("folios", "refcount", 0, -2, "refcount is -2"),
    ("folios", "mm_id_1", 0, -2, "mm_id is [-1 -2]"),
    ("folios", "pid", 0, 2, "is of process 2"),
    ("cgroups", "path", 0, "x", "it should be a path from /"),
    ("cgroups", "anon", 0, -1, "a size is negative"),
    ("cgroups", "path", 0, None, "column path has gaps"),
]


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "message"),
    VALUES,
    ids=[f"{v[0]}.{v[1]}={str(v[3])[:20]}" for v in VALUES],
)
def test_a_value_that_cannot_be(
    bad: Path, table: str, column: str, row: int, value: object, message: str
) -> None:
    """One impossible value is found, though checksums are right: what it is, and what it should be."""
    change_table(bad, table, put(column, row, value))
    said = complaint(bad)
    assert message in said
    assert str(bad) in said


TABLES = [
    ("has no column mapcount", lambda f: f.drop("mapcount")),
    ("column page holds Int32, it should hold Int64", lambda f: f.cast({"page": pl.Int32})),
    ("column page holds List(Int64)", lambda f: f.with_columns(page=pl.concat_list("page"))),
    ("has a column 'more'", lambda f: f.with_columns(more=pl.lit(1))),
    ("runs, and there are 4", lambda f: f[:4]),
]


@pytest.mark.parametrize(("message", "change"), TABLES)
def test_a_table_of_another_shape(
    bad: Path, message: str, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    """A missing, foreign or differently typed column is named, and so is a missing row."""
    change_table(bad, "runs", change)
    assert message in complaint(bad)


def test_smaps_fields_are_numbers_with_names(bad: Path) -> None:
    """The columns of smaps may be any, but have plain names and whole numbers."""
    change_table(bad, "regions", lambda f: f.with_columns(pl.lit("x").alias("smaps.Rss")))
    assert "column 'smaps.Rss' holds String" in complaint(bad)
    change_table(bad, "regions", lambda f: f.drop("smaps.Rss").with_columns(pl.lit(1).alias("smaps.\x1b[2J")))
    assert "smaps.\\x1b[2J' holds Int32" in complaint(bad)


def moved(files: dict[str, Any], name: str) -> dict[str, Any]:
    """What is said of the runs' file, under another name."""
    return {name: files["runs-0000.parquet"]}


METAS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("version 2, newer than 1: update mapcount", lambda m: m.update(version=2)),
    ("version is 0", lambda m: m.update(version=0)),
    ("version is a str, it should be a int", lambda m: m.update(version="1")),
    ("version is a bool", lambda m: m.update(version=True)),
    ("is not that of a capture", lambda m: m.update(format="trace")),
    ("has no 'machine'", lambda m: m.pop("machine")),
    ("has no 'pmd_order'", lambda m: m["machine"].pop("pmd_order")),
    ("page_size is 5000", lambda m: m["machine"].update(page_size=5000)),
    ("page_size is 0", lambda m: m["machine"].update(page_size=0)),
    ("pmd_order is 60", lambda m: m["machine"].update(pmd_order=60)),
    ("'v9' of 64 bits; known are v6.14", lambda m: m["machine"].update(flavour="v9")),
    ("'page-mapcount' of 16 bits", lambda m: m["machine"].update(bits=16)),
    ("'AnonPages' is -1", lambda m: m["machine"]["meminfo"].update(AnonPages=-1)),
    ("AnonPages is a float", lambda m: m["machine"]["meminfo"].update(AnonPages=1.5)),
    ("max_ptes_shared is 'x'", lambda m: m["machine"]["thp"].update({"khugepaged/max_ptes_shared": "x"})),
    ("limits", lambda m: m["machine"].update(limits="none")),
    ("a process that could not be read", lambda m: m["unreadable"].append(7)),
    ("-1 is no process number", lambda m: m["unreadable"][0].update(pid=-1)),
    ("part_rows is 0", lambda m: m.update(part_rows=0)),
    ("part_rows is 1099511627776", lambda m: m.update(part_rows=1 << 40)),
    ("'../x.parquet' is no file of a capture", lambda m: m["files"].update({"../x.parquet": {}})),
    ("runs-0000.parquet: has no 'sha256'", lambda m: m["files"]["runs-0000.parquet"].pop("sha256")),
    ("is damaged", lambda m: m["files"]["runs-0000.parquet"].update(sha256="0" * 64)),
    ("has 1 rows, meta.json says 2", lambda m: m["files"]["cgroups-0000.parquet"].update(rows=2)),
    ("which no part has", lambda m: m["files"]["runs-0000.parquet"].update(rows=1 << 60)),
    ("which no part has", lambda m: m["files"]["runs-0000.parquet"].update(bytes=1 << 60)),
    ("meta.json says 1", lambda m: m["files"]["runs-0000.parquet"].update(bytes=1)),
    ("runs-0001.parquet: No such file", lambda m: m["files"].update(moved(m["files"], "runs-0001.parquet"))),
    ("runs-0000.parquet: is not in meta.json", lambda m: m["files"].pop("runs-0000.parquet")),
]


@pytest.mark.parametrize(("message", "change"), METAS, ids=[message[:40] for message, _ in METAS])
def test_a_meta_that_cannot_be(bad: Path, message: str, change: Callable[[dict[str, Any]], object]) -> None:
    """A version, kernel, size or file that cannot be is named, with what would be right."""
    change_meta(bad, change)
    said = complaint(bad)
    assert message in said
    assert str(bad) in said


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"version": ' + b"9" * 10_000 + b"}", b"null"],
)
def test_a_meta_that_is_none(bad: Path, content: bytes) -> None:
    """Whatever stands in meta.json instead, it is a CaptureError that names it."""
    (bad / "meta.json").write_bytes(content)
    assert "meta.json" in complaint(bad)


def test_parts_without_the_first(bad: Path) -> None:
    """Parts are numbered from 0 without gaps."""
    os.rename(bad / "runs-0000.parquet", bad / "runs-0001.parquet")
    change_meta(bad, lambda m: m["files"].update({"runs-0001.parquet": m["files"].pop("runs-0000.parquet")}))
    assert "the parts of runs have gaps" in complaint(bad)


def test_what_is_no_capture(tmp_path: Path) -> None:
    """A missing directory, a file and an empty directory are no captures, and that is said."""
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert "is no directory" in complaint(tmp_path / "missing")
    assert "is no directory" in complaint(tmp_path / "file")
    assert "it has no meta.json" in complaint(tmp_path / "empty")


@pytest.mark.parametrize("name", ["meta.json", "runs-0000.parquet"])
def test_links_are_not_followed(bad: Path, name: str) -> None:
    """A capture cannot make its reader open other files of the machine."""
    elsewhere = bad.parent / "elsewhere"
    os.rename(bad / name, elsewhere)
    os.symlink(elsewhere, bad / name)
    said = complaint(bad)
    assert name in said
    assert "is no regular file" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["meta.json", "runs-0000.parquet"])
def test_a_pipe_does_not_stop_the_reader(bad: Path, name: str) -> None:
    """A named pipe, which nobody will ever write to, is no regular file."""
    os.unlink(bad / name)
    os.mkfifo(bad / name)
    assert name in complaint(bad)


def test_files_of_another_capture(bad: Path) -> None:
    """Tables that meta.json does not know are a mistake of whoever copied them; other files are not read."""
    (bad / "notes.txt").write_text("mine")
    assert 5 == read_all(bad)
    (bad / "runs-0001.parquet").write_bytes((bad / "runs-0000.parquet").read_bytes())
    assert "runs-0001.parquet: is not in meta.json" in complaint(bad)


def test_one_text_many_times_over(bad: Path) -> None:
    """A text that is in the file once and in every row is counted as often as it is there."""
    many = 1 << 13

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        long = pl.Series("name", ["x" * (1 << 14)]).gather([0] * many)
        return frame[:1].select(pl.all().gather([0] * many)).with_columns(long)

    def claim(meta: dict[str, Any]) -> None:
        meta["part_rows"] = many

    change_meta(bad, claim)
    change_table(bad, "regions", change)
    change_table(bad, "processes", put("regions", 0, many - 1))
    change_table(bad, "processes", put("regions", 1, 1))
    assert (bad / "regions-0000.parquet").stat().st_size < 1 << 16
    said = complaint(bad)
    assert "regions-0000.parquet: up to here, rows that belong together unpack to" in said
    counted = re.search(r"with ([0-9]+) of text; 536870912 and 67108864 are read", said)
    assert counted
    assert int(counted[1]) >= (many - 1) << 14


def test_a_part_that_unpacks_to_too_much(bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is refused for what it would take, before it is unpacked; the file and the limit are named."""
    monkeypatch.setattr(capture_tables, "MOST_UNPACKED", 100)
    monkeypatch.setattr(pl, "read_parquet", lambda content: pytest.fail("it was unpacked"))
    said = complaint(bad)
    assert "processes-0000.parquet: unpacks to more than is read" in said
    assert said.endswith("(limit: 100 bytes)")


def test_a_page_that_claims_billions(bad: Path) -> None:
    """A file of some bytes that claims billions of values is refused by the number that it claims."""
    replace_part(bad, "runs", Column([Page(1 << 31)], rows=5).file(), 5)
    assert "runs-0000.parquet: column 'pid' has 2147483648 values, at most 5 are read" in complaint(bad)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("MOST_REGIONS", "regions-0000.parquet: row 1: process 1 has 2 regions, at most 1 are read"),
        ("MOST_PROCESSES", "has 2 processes, at most 1 are read"),
        ("MOST_BLOCKS", "has 3 blocks, at most 1 are read"),
        ("MOST_BLOCK_ROWS", "a block has 2 runs, at most 1 are read"),
    ],
)
def test_what_becomes_objects_is_bounded(
    good: Path, monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    """There is a limit to rows of which each becomes an object, and to what is in memory as a whole."""
    monkeypatch.setattr(capture_source, limit, 1)
    assert message in complaint(good)


@settings(max_examples=150)
@given(data=st.data())
def test_damage_is_found(good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes of a table that changed or are missing are found; those of meta.json do no harm."""
    folder = tmp_path_factory.getbasetemp() / f"damaged-{os.getpid()}.capture"
    shutil.copytree(good, folder, dirs_exist_ok=True)
    path = folder / data.draw(st.sampled_from(sorted(os.listdir(good))))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    if content == (good / path.name).read_bytes():
        assert 5 == read_all(folder)
    elif path.suffix == ".parquet":
        assert str(path) in complaint(folder)
    else:
        with suppress(CaptureError):
            read_all(folder)
