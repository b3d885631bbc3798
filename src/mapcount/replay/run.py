"""Replaying a whole trace in one process."""

from __future__ import annotations

from mapcount.replay.engine import Engine, replay
from mapcount.replay.folios import Folios
from mapcount.replay.reader import Trace
from mapcount.replay.result import Shard
from mapcount.tracking.flavour import Flavour


def replay_trace(
    trace: Trace, flavour: Flavour, *, every: bool = False, threads: int | None = None
) -> list[Shard]:
    """Replay a trace on a flavour. Raises TraceError where it is damaged or cannot be."""
    with Engine(Folios.of(trace), flavour, every=every, threads=threads) as engine:
        replay(engine, trace.windows())
        return [Shard.of(engine)]
