"""Replaying and comparing on Dask's workers: on this machine, or on many with storage in common."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapcount.replay.compare import Comparison, SchemeCounts, comparison_of
from mapcount.replay.reader import Trace
from mapcount.replay.result import Shard
from mapcount.replay.shards import compare_shard, edges_of, load_shard, replay_shard, split_file
from mapcount.replay.trace import NoCluster, TraceError
from mapcount.schemes.registry import find
from mapcount.tracking.flavour import Flavour

ANSWER_WITHIN = 10
"""Seconds that a scheduler has to answer."""
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many tasks of it are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Where the work is done."""

    address: str
    """A scheduler's address, or `local` for a cluster of processes here."""
    progress: Progress
    scratch: str | None = None
    """A directory that all workers see; unless said, the trace's parent."""


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        import distributed
    except ImportError:
        raise NoCluster("--dask needs Dask: pip install 'mapcount[dask]'") from None
    dask: Any = distributed
    if address == "local":
        cores = len(os.sched_getaffinity(0))
        here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
        with (
            dask.LocalCluster(n_workers=cores, threads_per_worker=1, **here) as cluster,
            dask.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = dask.Client(address, timeout=ANSWER_WITHIN)
    except (OSError, TimeoutError, ValueError) as error:
        raise NoCluster(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        yield client


def _run(
    client: Any, what: str, function: Any, arguments: Sequence[tuple[Any, ...]], progress: Progress
) -> list[Any]:
    """Call a function on the workers with each of these arguments; what it returned, in order."""
    import distributed

    dask: Any = distributed
    futures = [client.submit(function, *some, pure=False, retries=2) for some in arguments]
    progress(what, 0, len(futures))
    for done, _ in enumerate(dask.as_completed(futures), 1):
        progress(what, done, len(futures))
    try:
        return list(client.gather(futures))
    except dask.KilledWorker as error:
        raise NoCluster(f"workers died again and again: {error}") from None


def _split(client: Any, trace: Trace, edges: list[int], scratch: str, progress: Progress) -> list[Any]:
    """Cut the trace into shards; refusals."""
    first, arguments = 0, []
    for number, (_, rows) in enumerate(trace.files):
        arguments.append((str(trace.path.absolute()), number, first, edges, scratch))
        first += rows
    return _run(client, "split", split_file, arguments, progress)


@contextmanager
def _sharded(trace: Trace, workers: Workers) -> Iterator[tuple[Any, list[int], str, list[Any]]]:
    """A client, the shards' edges, the directory that holds their pieces, and refusals."""
    parent = Path(workers.scratch or trace.path.absolute().parent)
    if not os.access(parent, os.W_OK):
        raise TraceError(f"{parent}: cannot be written; --scratch names a directory that all workers see")
    with (
        _client(workers.address) as client,
        tempfile.TemporaryDirectory(prefix=".mapcount-", dir=parent) as scratch,
    ):
        count = max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)
        edges = edges_of(trace.folios, count)
        yield client, edges, scratch, _split(client, trace, edges, scratch, workers.progress)


def _refuse(found: list[Any]) -> None:
    """Raises TraceError for the first event of the trace that was refused."""
    refusals = [one for one in found if isinstance(one, tuple)]
    if refusals:
        raise TraceError(min(refusals)[1])


@contextmanager
def replay_on(workers: Workers, trace: Trace, flavour: Flavour, *, every: bool) -> Iterator[Sequence[Shard]]:
    """The shards of a replayed trace, read when they are looked at.

    Raises TraceError as one process would, NoCluster when nobody does the work.
    """
    with _sharded(trace, workers) as (client, edges, scratch, refusals):
        path, shards = str(trace.path.absolute()), range(len(edges) - 1)
        arguments = [(path, k, edges, flavour, every, scratch) for k in shards]
        found = _run(client, "replay", replay_shard, arguments, workers.progress)
        _refuse([*refusals, *found])
        yield _Stored(scratch, edges, flavour)


class _Stored(Sequence[Shard]):
    """Shards on disk, one of them in memory at a time."""

    def __init__(self, scratch: str, edges: list[int], flavour: Flavour) -> None:
        self._scratch, self._edges, self._flavour = scratch, edges, flavour

    def __len__(self) -> int:
        return len(self._edges) - 1

    def __getitem__(self, k: Any) -> Any:
        if not 0 <= k < len(self):
            raise IndexError(k)
        return load_shard(self._scratch, k, self._edges, self._flavour)


def compare_on(workers: Workers, trace: Trace, words: Sequence[str]) -> Comparison:
    """Schemes, by their names, side by side. Raises TraceError and SchemeError as one process would."""
    schemes = [find(word) for word in words]
    with _sharded(trace, workers) as (client, edges, scratch, refusals):
        path, shards = str(trace.path.absolute()), range(len(edges) - 1)
        arguments = [(path, k, edges, list(words), scratch) for k in shards]
        found = _run(client, "compare", compare_shard, arguments, workers.progress)
        _refuse([*refusals, *found])
    counted = [SchemeCounts.sum(of_one) for of_one in zip(*found, strict=True)]
    return comparison_of(trace, schemes, counted)
