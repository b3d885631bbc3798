"""Traces that mapcount makes: synthetic ones, and those of simulated runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mapcount.replay.reader import Trace
from mapcount.replay.record import Recorder
from mapcount.replay.result import tables
from mapcount.replay.run import replay_trace
from mapcount.replay.synthetic import WORKLOADS, write_synthetic
from mapcount.replay.writer import TraceWriter
from mapcount.scenario.parse import load
from mapcount.scenario.run import run
from mapcount.scenario.syntax import Step
from mapcount.sim.system import System
from mapcount.sim.truth import truth_of
from mapcount.tracking.flavour import FLAVOURS
from mapcount.tracking.questions import folio_maybe_mapped_shared
from mapcount.tracking.rmap import folio_mapcount

STORIES = sorted((Path(__file__).parents[2] / "scenarios").glob("*.scn"))


class Watching(Recorder):
    """Keeps the system."""

    system: System

    def begin(self, step: Step, system: System) -> None:
        """A step begins."""
        self.system = system
        super().begin(step, system)


def synthetic(path: Path, kind: str, events: int = 20_000, seed: int = 1, folios: int = 200) -> Trace:
    """A synthetic trace."""
    with TraceWriter(path) as writer:
        write_synthetic(writer, kind, events, seed, folios)
    return Trace(path)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_is_legal_everywhere(tmp_path: Path, kind: str) -> None:
    """Every kind of workload can happen on every flavour, and owner slots are never falsely exclusive."""
    trace = synthetic(tmp_path / "w.trace", kind)
    assert (20_000, 200) == (trace.events, trace.folios)
    for flavour in FLAVOURS.values():
        (shard,) = replay_trace(trace, flavour, every=True)
        assert flavour.owner_slots <= (shard.tally[:, 0, 4].sum() == 0)
        assert 20_000 == shard.tally[:, 0].sum()


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_seed_names_a_workload(tmp_path: Path, kind: str) -> None:
    """The same seed gives the same events, and fewer events are a beginning of more; another seed differs."""
    (one,) = synthetic(tmp_path / "a.trace", kind).windows()
    (beginning,) = synthetic(tmp_path / "b.trace", kind, events=5_000).windows()
    (other,) = synthetic(tmp_path / "c.trace", kind, seed=2).windows()
    assert all(np.array_equal(x[:5_000], y) for x, y in zip(one.columns, beginning.columns, strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(one.columns, other.columns, strict=True))


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_a_traced_run_ends_as_the_simulation_does(tmp_path: Path, story: Path) -> None:
    """Replaying the trace of a run gives the simulator's folios: mappings, the kernel's answer, the truth."""
    for name in ("page-mapcount", "total-mapped-pages"):
        flavour = FLAVOURS[name].on(int(load(str(story)).bits))
        path = tmp_path / f"{name}.trace"
        with TraceWriter(path) as writer:
            recorder = Watching(writer)
            run(load(str(story)), flavour, watcher=recorder)
            recorder.finish(flavour, story.stem)
        machine = recorder.system.machine
        expected: Counter[tuple[int, bool, bool]] = Counter()
        for one in machine.memory.folios:
            total = folio_mapcount(one.folio)
            if total and not (one.count > 1 and one.mapping is None):
                shared = truth_of(machine, one).shared
                expected[total, folio_maybe_mapped_shared(one.folio), shared] += one.count
        rows = pl.concat(tables(replay_trace(Trace(path), flavour))).filter(pl.col("large_mapcount") > 0)
        found = Counter(rows.select("large_mapcount", "maybe_shared", "truly_shared").iter_rows())
        assert expected == found
