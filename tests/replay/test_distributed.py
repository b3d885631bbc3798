"""Many workers compute what one process does, even when one of them is killed."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mapcount.replay import writer as writer_module
from mapcount.replay.compare import compare
from mapcount.replay.distributed import Workers, compare_on, replay_on
from mapcount.replay.reader import Trace
from mapcount.replay.result import write_result
from mapcount.replay.run import replay_trace
from mapcount.replay.summary import summary_of
from mapcount.replay.synthetic import write_synthetic
from mapcount.replay.trace import Meta, NoCluster, TraceError
from mapcount.replay.writer import TraceWriter
from mapcount.schemes.registry import find
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT

distributed = pytest.importorskip("distributed", reason="Dask is an extra: pip install 'mapcount[dask]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Two workers, each a process of its own, on this machine."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trace:
    """A trace of three files."""
    monkeypatch.setattr(writer_module, "FILE_EVENTS", 40_000)
    with TraceWriter(tmp_path / "w.trace") as writer:
        write_synthetic(writer, "random", 100_000, 1, 3_000)
    return Trace(tmp_path / "w.trace")


def quiet(what: str, done: int, tasks: int) -> None:
    """Nobody looks at the progress."""


@pytest.mark.parametrize("name", FLAVOURS)
def test_the_result_is_the_same_byte_for_byte(
    trace: Trace, tmp_path: Path, cluster: distributed.LocalCluster, name: str
) -> None:
    """Workers write the very file that one process writes, and count the same verdicts."""
    alone = replay_trace(trace, FLAVOURS[name], every=True)
    write_result(alone, tmp_path / "alone.parquet")
    with replay_on(Workers(cluster.scheduler_address, quiet), trace, FLAVOURS[name], every=True) as shards:
        assert summary_of(alone, every=True) == summary_of(shards, every=True)
        write_result(shards, tmp_path / "many.parquet")
    assert (tmp_path / "alone.parquet").read_bytes() == (tmp_path / "many.parquet").read_bytes()
    assert [] == [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_worker_that_is_killed_costs_time_only(
    trace: Trace, tmp_path: Path, cluster: distributed.LocalCluster
) -> None:
    """A worker killed in each round of tasks leaves the result as it was."""
    killed: list[str] = []

    def kill(what: str, done: int, tasks: int) -> None:
        if what not in killed and done == 1:
            killed.append(what)
            os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

    write_result(replay_trace(trace, NO_PAGE_MAPCOUNT), tmp_path / "alone.parquet")
    with replay_on(Workers(cluster.scheduler_address, kill), trace, NO_PAGE_MAPCOUNT, every=False) as shards:
        write_result(shards, tmp_path / "many.parquet")
    assert ["split", "replay"] == killed
    assert (tmp_path / "alone.parquet").read_bytes() == (tmp_path / "many.parquet").read_bytes()


def test_schemes_compare_the_same(trace: Trace, cluster: distributed.LocalCluster) -> None:
    """What is counted of each scheme on many workers adds up to what one process counts."""
    words = ["two-slots", "first-page", "two-slots+reset:3"]
    alone = compare(trace, [find(word) for word in words])
    many = compare_on(Workers(cluster.scheduler_address, quiet), trace, words)
    for one, other in zip(alone.judged, many.judged, strict=True):
        assert (one.all, one.time, one.by_phase) == (other.all, other.time, other.by_phase)
        assert one.bytes_per_folio == other.bytes_per_folio


def test_the_first_illegal_event_is_told_as_by_one_process(
    tmp_path: Path, cluster: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several illegal events, workers too tell of the first in the trace, in the same words."""
    monkeypatch.setattr(writer_module, "FILE_EVENTS", 10)
    rows = np.array([(k % 8, 1, 2, 0, 1) for k in range(40)], np.uint32)
    for broken in (
        {25: (7, 1, 3, 0, 9), 31: (0, 1, 3, 0, 9)},
        {12: (5, 0, 2, 0, 1)},
        {17: (8, 1, 2, 0, 1), 33: (1, 1, 5, 0, 1)},
    ):
        events = rows.copy()
        for row, event in broken.items():
            events[row] = event
        path = tmp_path / f"{min(broken)}.trace"
        with TraceWriter(path) as writer:
            writer.add_folios(np.full(8, 4, np.uint8), np.zeros(8, np.uint8))
            folio, mm, op, page, nr = events.T
            writer.add_events(folio, mm, op.astype(np.uint8), page, nr, np.zeros(40, np.uint8))
            writer.meta = Meta(NO_PAGE_MAPCOUNT)
        with pytest.raises(TraceError) as alone:
            replay_trace(Trace(path), NO_PAGE_MAPCOUNT)
        workers = Workers(cluster.scheduler_address, quiet)
        with (
            pytest.raises(TraceError) as many,
            replay_on(workers, Trace(path), NO_PAGE_MAPCOUNT, every=False),
        ):
            pass
        assert str(alone.value) == str(many.value)
        assert f"(event {min(broken)} of the trace)" in str(many.value)


def test_nobody_at_the_address(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a scheduler there, the message names the address."""
    monkeypatch.setattr("mapcount.replay.distributed.ANSWER_WITHIN", 1)
    workers = Workers("tcp://127.0.0.1:1", quiet)
    with (
        pytest.raises(NoCluster, match="no Dask scheduler answers at"),
        replay_on(workers, trace, NO_PAGE_MAPCOUNT, every=False),
    ):
        pass
