"""Traces on disk: what is written is read, and what is damaged or cannot be is told with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mapcount.replay import trace as trace_format
from mapcount.replay import writer as writer_module
from mapcount.replay.reader import Trace
from mapcount.replay.run import replay_trace
from mapcount.replay.trace import Meta, TraceError, parse_meta
from mapcount.replay.writer import TraceWriter
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT

from .reference import Event

STORY: list[Event] = [
    (0, 1, 1, 0, 16), (1, 1, 1, 0, 512), (0, 2, 6, 0, 16), (1, 2, 7, 0, 512), (2, 3, 1, 0, 1),
    (0, 3, 6, 0, 16), (0, 1, 3, 0, 16), (0, 2, 3, 0, 16), (1, 1, 5, 0, 512), (3, 9, 1, 0, 512),
    (4, 9, 1, 0, 1), (4, 8, 2, 0, 1),
]  # fmt: skip
ORDERS = [4, 9, 0, 9, 0]
KINDS = ["anon", "anon", "file", "hugetlb", "ksm"]


def write(path: Path, events: list[Event] = STORY, *, force: bool = False, phases: int = 1) -> Path:
    """A trace of these events of five folios."""
    rows = np.array(events, np.uint32).reshape(-1, 5)
    kinds = np.array([trace_format.KINDS.index(kind) for kind in KINDS], np.uint8)
    with TraceWriter(path, force=force) as writer:
        writer.add_folios(np.array(ORDERS, np.uint8), kinds)
        folio, mm, op, page, nr = rows.T
        phase = (np.arange(len(rows)) % phases).astype(np.uint8)
        writer.add_events(folio, mm, op.astype(np.uint8), page, nr, phase)
        writer.meta = Meta(NO_PAGE_MAPCOUNT, {1: "P"}, tuple(f"phase {k}" for k in range(phases)), "a test")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound trace."""
    return write(tmp_path / "story.trace")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every folio and every event comes back, and what meta.json says."""
    trace = Trace(write(tmp_path / "story.trace", phases=3))
    ((orders, kinds),) = trace.shapes()
    assert ORDERS == orders.tolist()
    assert KINDS == [trace_format.KINDS[kind] for kind in kinds]
    (window,) = trace.windows()
    assert STORY == list(zip(*(column.tolist() for column in window.columns[:5]), strict=True))
    assert [k % 3 for k in range(len(STORY))] == window.phase.tolist()
    assert Meta(NO_PAGE_MAPCOUNT, {1: "P"}, ("phase 0", "phase 1", "phase 2"), "a test") == trace.meta


def test_events_are_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No events file has more rows than it may; rows are counted over all of them."""
    monkeypatch.setattr(writer_module, "FILE_EVENTS", 5)
    trace = Trace(write(tmp_path / "story.trace"))
    assert [5, 5, 2] == [rows for _, rows in trace.files]
    assert [0, 5, 10] == [window.first for window in trace.windows()]
    monkeypatch.setattr(writer_module, "FILE_EVENTS", 100)
    whole = Trace(write(tmp_path / "whole.trace"))
    (one,), (other,) = (replay_trace(t, NO_PAGE_MAPCOUNT, every=True) for t in (trace, whole))
    assert one.table(0, 5).equals(other.table(0, 5))
    assert one.tally.tolist() == other.tally.tolist()


def test_nothing_is_overwritten_unless_told(path: Path) -> None:
    """A second trace of the same name is refused; with `force` it takes the place of the first."""
    with pytest.raises(TraceError, match="exists already"):
        write(path)
    write(path, STORY[:3], force=True)
    assert 3 == Trace(path).events
    assert ["story.trace"] == [p.name for p in path.parent.iterdir()]


def test_force_spares_what_is_no_trace(tmp_path: Path) -> None:
    """A directory that is no trace is never replaced."""
    (tmp_path / "mine.trace").mkdir()
    with pytest.raises(TraceError, match="is no trace"):
        write(tmp_path / "mine.trace", force=True)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """When the block that writes a trace raises, neither the trace nor a temporary one is there."""
    with pytest.raises(RuntimeError), TraceWriter(tmp_path / "half.trace"):
        raise RuntimeError
    assert [] == list(tmp_path.iterdir())


# -- damage -----------------------------------------------------------------------------------------------


def _events(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    file = path / "events-00000.parquet"
    change(pl.read_parquet(file)).write_parquet(file)


def _folios(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    file = path / "folios.parquet"
    change(pl.read_parquet(file)).write_parquet(file)


def _meta(path: Path, **values: object) -> None:
    data = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(data | values))


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated events": (
        lambda p: _truncate(p / "events-00000.parquet"), r"events-00000.parquet: not a Parquet"
    ),
    "truncated folios": (lambda p: _truncate(p / "folios.parquet"), r"folios.parquet: not a Parquet"),
    "no folios": (lambda p: (p / "folios.parquet").unlink(), r"folios.parquet: No such file"),
    "no events": (lambda p: (p / "events-00000.parquet").unlink(), r"has no events-00000.parquet"),
    "a gap": (
        lambda p: (p / "events-00000.parquet").rename(p / "events-00001.parquet"),
        r"events-00001.parquet: events file number 0 is missing",
    ),
    "no meta": (lambda p: (p / "meta.json").unlink(), r"meta.json: No such file"),
    "not JSON": (lambda p: (p / "meta.json").write_text("{"), r"meta.json: not JSON"),
    "not text": (lambda p: (p / "meta.json").write_bytes(b"\xff\xfe"), r"meta.json: not UTF-8"),
    "other format": (lambda p: _meta(p, format="x"), r'has no "format": "mapcount trace"'),
    "other version": (lambda p: _meta(p, version=2), r"version 2 of the format; this program reads 1"),
    "other flavour": (lambda p: _meta(p, flavour="v9"), r'"flavour" is one of v6.14'),
    "flavour is a list": (lambda p: _meta(p, flavour=[]), r'"flavour" is one of v6.14'),
    "true bits": (lambda p: _meta(p, bits=True), r'"bits" is 64 or 32'),
    "phases": (lambda p: _meta(p, phases=["x"] * 33), r'"phases" is a list of at most 32'),
    "origin": (lambda p: _meta(p, origin=1), r'"origin" is a text'),
    "mms": (lambda p: _meta(p, mms={"0": "P"}), r"'0' is no MM id"),
    "mms of numbers": (lambda p: _meta(p, mms={"1": 2}), r'"mms" gives each MM id a name'),
    "wrong type": (
        lambda p: _events(p, lambda t: t.with_columns(pl.col("mm").cast(pl.Int64))),
        r"column 'mm' is Int64, not UInt32",
    ),
    "no column": (lambda p: _events(p, lambda t: t.drop("nr")), r"has no column 'nr'"),
    "a hole": (
        lambda p: _events(p, lambda t: t.with_columns(pl.when(pl.col("nr") <= 16).then(pl.col("nr")))),
        r"row 1: nr is missing",
    ),
    "phase": (
        lambda p: _events(p, lambda t: t.with_columns(pl.lit(7, pl.UInt8).alias("phase"))),
        r"row 0: 7: phases are",
    ),
    "unsorted": (lambda p: _folios(p, lambda t: t.reverse()), r"row 0: 4: folios are numbered by their rows"),
    "order": (
        lambda p: _folios(p, lambda t: t.with_columns(pl.lit(19, pl.UInt8).alias("order"))),
        r"row 0: 19: an order is at most 18",
    ),
    "kind": (
        lambda p: _folios(p, lambda t: t.with_columns(pl.lit("\x1b[31m").alias("kind"))),
        r"row 0: \\x1b\[31m: a kind is one of anon",
    ),
    "kind is a number": (
        lambda p: _folios(p, lambda t: t.with_columns(pl.lit(1).alias("kind"))),
        r"has no column 'kind' of anon",
    ),
    "small hugetlb": (
        lambda p: _folios(p, lambda t: t.with_columns(pl.lit("hugetlb").alias("kind"))),
        r"row 2: 0: a hugetlb folio has an order of 1 or more",
    ),
    "large KSM": (
        lambda p: _folios(p, lambda t: t.with_columns(pl.lit("ksm").alias("kind"))),
        r"row 0: 4: a KSM page is a small folio",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(path: Path, damage: str) -> None:
    """Each kind of damage is reported with the file, the row where there is one, and what would be right."""
    do, message = DAMAGE[damage]
    do(path)
    with pytest.raises(TraceError, match=message) as caught:
        replay_trace(Trace(path), NO_PAGE_MAPCOUNT)
    assert str(caught.value).isprintable()
    assert str(path.parent) in str(caught.value)


def test_a_file_with_too_many_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An events file beyond the limit is refused, since a reader takes a file at a time."""
    monkeypatch.setattr("mapcount.replay.reader.FILE_EVENTS", 5)
    with pytest.raises(TraceError, match="12 rows; an events file has at most 5"):
        Trace(path)


def test_deep_json_is_no_crash() -> None:
    """A meta.json of brackets only is refused like any other nonsense."""
    with pytest.raises(TraceError, match="not JSON"):
        parse_meta("[" * 100_000)


# -- events that cannot be ----------------------------------------------------------------------------------

ILLEGAL: dict[str, tuple[list[Event], int, str]] = {
    "folio out of range": ([(5, 1, 2, 0, 1)], 0, "folio 5: there are 5"),
    "mm 0": ([(0, 0, 2, 0, 1)], 0, "mm 0: an mm that maps folios has an id from 1"),
    "mm too large": ([(0, 1 << 22, 2, 0, 1)], 0, "id from 1 to 4194303"),
    "op 0": ([(0, 1, 0, 0, 1)], 0, "op 0: an op is a number from 1 to 7"),
    "op 8": ([(0, 1, 8, 0, 1)], 0, "op 8: an op is a number from 1 to 7"),
    "nr 0": ([(0, 1, 2, 0, 0)], 0, "nr 0: an event covers 1 page or more"),
    "a huge page": ([(0, 1, 2, 1 << 31, 1)], 0, "a folio has at most 262144 pages"),
    "a huge nr": ([(0, 1, 2, 0, (1 << 32) - 1)], 0, "a folio has at most 262144 pages"),
    "pages outside": ([(0, 1, 2, 15, 2)], 0, "pages 15..16 are not of a folio of 16 pages"),
    "PMD of a small folio": ([(2, 1, 4, 0, 1)], 0, "no entry above the PTE level maps pages 0..0"),
    "PMD of 64K": ([(0, 1, 4, 0, 16)], 0, "no entry above the PTE level"),
    "PMD of a part": ([(1, 1, 4, 0, 511)], 0, "no entry above the PTE level"),
    "PTE of hugetlb": ([(3, 1, 2, 0, 1)], 0, "no PTE maps pages 0..0 of a hugetlb folio"),
    "new in part": ([(0, 1, 1, 0, 8)], 0, "maps pages 0..7"),
    "new but mapped": ([(0, 1, 1, 0, 16), (0, 2, 1, 0, 16)], 1, "new folio, which has 16 mappings already"),
    "unmapped": ([(0, 1, 3, 0, 1)], 0, "unmaps 1 of that kind, of 0 mappings in all"),
    "too many unmapped": ([(0, 1, 2, 0, 4), (0, 1, 3, 0, 5)], 1, "unmaps 5 of that kind, of 4"),
    "PMD by PTEs": ([(1, 1, 1, 0, 512), (1, 1, 3, 0, 1)], 1, "unmaps 1 of that kind, of 1"),
    "another's": ([(0, 1, 2, 0, 4), (0, 2, 3, 0, 4)], 1, "other mms have all but fewer"),
    "a stranger": (
        [*((0, mm, 2, 0, 4) for mm in (5, 6, 7)), *((0, mm, 3, 0, 4) for mm in (4, 5, 6))],
        5,
        "unmaps what it never mapped",
    ),
    "the first of two": ([(1, 1, 3, 0, 1), (0, 1, 3, 0, 1)], 0, "folio 1"),
    "before an unsound one": ([(0, 1, 2, 0, 1), (0, 1, 3, 0, 2), (9, 0, 0, 0, 0)], 1, "unmaps 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", ILLEGAL)
def test_the_first_event_that_cannot_be_is_named(tmp_path: Path, case: str) -> None:
    """An illegal event is reported with file, row and reason, wherever legal ones stand around it."""
    events, row, reason = ILLEGAL[case]
    before: list[Event] = [(4, 1, 2, 0, 1)] * 40
    trace = Trace(write(tmp_path / "illegal.trace", [*before, *events, *before]))
    with pytest.raises(TraceError) as caught:
        replay_trace(trace, NO_PAGE_MAPCOUNT)
    place = f"events-00000.parquet: row {40 + row} (event {40 + row} of the trace): "
    assert str(caught.value).startswith(place)
    assert reason in str(caught.value)


def test_a_page_that_is_not_mapped(tmp_path: Path) -> None:
    """With per-page counts, unmapping a page that no PTE maps is found out by the page."""
    path = write(tmp_path / "page.trace", [(0, 1, 2, 0, 4), (0, 1, 3, 2, 4)])
    with pytest.raises(TraceError, match=r"row 1 .* a page of 2..5 is unmapped that no PTE maps"):
        replay_trace(Trace(path), FLAVOURS["page-mapcount"])


def test_more_than_can_be_counted(tmp_path: Path) -> None:
    """Where the sums that hold the truth would not be exact, there is an error and no guess."""
    most = (1 << 22) - 1
    path = write(tmp_path / "many.trace", [(1, most, 2, 0, 512), (1, most, 2, 0, 1)])
    with pytest.raises(TraceError, match=r"row 1 .*up to 2\^53"):
        replay_trace(Trace(path), NO_PAGE_MAPCOUNT)


def test_32_bits_have_fewer_mms(tmp_path: Path) -> None:
    """On 32 bits, an MM id has 15 bits."""
    path = write(tmp_path / "wide.trace", [(0, 1 << 15, 2, 0, 4)])
    with pytest.raises(TraceError, match="id from 1 to 32767"):
        replay_trace(Trace(path), NO_PAGE_MAPCOUNT.on(32))
    replay_trace(Trace(path), NO_PAGE_MAPCOUNT)
