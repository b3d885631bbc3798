"""Schemes side by side on one trace: how often each is wrong, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.engine import Engine, replay
from mapcount.replay.folios import Folios
from mapcount.replay.reader import Trace
from mapcount.replay.schemes import Measure, SchemeReplay, Time
from mapcount.schemes.scheme import Scheme
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted, over some of the events."""

    by: dict[Measure, int]

    def per_event(self, measure: Measure) -> float:
        """A measure, for each event on average."""
        return self.by[measure] / max(self.by[Measure.EVENTS], 1)

    def share(self, measure: Measure) -> float:
        """For which part of the events that leave a folio mapped was it so? From 0 to 1."""
        return self.by[measure] / max(self.by[Measure.MAPPED], 1)


@dataclass(frozen=True, slots=True)
class Judged:
    """One scheme on one trace. Only large folios count."""

    scheme: Scheme
    bytes_per_folio: float
    all: Counts
    by_order: dict[int, Counts]
    by_phase: dict[str, Counts]
    time: dict[Time, int]
    """Folio-time in all."""
    time_by_order: dict[int, dict[Time, int]]

    @property
    def wrong_time(self) -> float:
        """For which part of the folio-time was it wrong, in either way? From 0 to 1."""
        wrong = self.time[Time.FALSELY_SHARED] + self.time[Time.FALSELY_EXCLUSIVE]
        return wrong / max(self.time[Time.MAPPED], 1)

    def time_share(self, which: Time) -> float:
        """For which part of the folio-time was it so? From 0 to 1."""
        return self.time[which] / max(self.time[Time.MAPPED], 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Schemes on a trace."""

    trace: str
    events: int
    folios: int
    large: int
    judged: tuple[Judged, ...]

    def front(self, cost: str) -> list[Judged]:
        """The Pareto front of error against `bytes` or `updates`: schemes that none beats in both."""
        price = {j.scheme.name: _price(j, cost) for j in self.judged}
        return [
            j
            for j in self.judged
            if not any(
                (o.wrong_time <= j.wrong_time and price[o.scheme.name] <= price[j.scheme.name])
                and (o.wrong_time < j.wrong_time or price[o.scheme.name] < price[j.scheme.name])
                for o in self.judged
            )
        ]


def _price(judged: Judged, cost: str) -> float:
    return judged.bytes_per_folio if cost == "bytes" else judged.all.per_event(Measure.UPDATES)


@dataclass(frozen=True, slots=True)
class SchemeCounts:
    """What was counted of one scheme, on all folios or on some."""

    counts: NDArray[np.int64]
    """[phase, order, measure]"""
    times: NDArray[np.int64]
    """[order, `Time`]"""
    folios_by_order: NDArray[np.int64]
    """Large ones."""
    state_bytes: tuple[int, ...]
    """By order."""

    @classmethod
    def of(cls, replayed: SchemeReplay, folios: Folios, events: int) -> SchemeCounts:
        """What a replay has come to, in a trace of so many events."""
        times = replayed.times(folios, events)
        return cls(replayed.counts(), times, replayed.folios_by_order, tuple(replayed.state_bytes))

    @classmethod
    def sum(cls, parts: Sequence[SchemeCounts]) -> SchemeCounts:
        """Of parts of the folios, what was counted of all."""
        counts, times, folios = (
            np.sum([getattr(part, name) for part in parts], axis=0)
            for name in ("counts", "times", "folios_by_order")
        )
        return cls(counts, times, folios, parts[0].state_bytes)


def compare(trace: Trace, schemes: Sequence[Scheme], *, threads: int | None = None) -> Comparison:
    """Replay a trace on schemes. Raises TraceError where it is damaged or cannot be, SchemeError likewise."""
    folios = Folios.of(trace)
    replays = [SchemeReplay(scheme, folios) for scheme in schemes]
    with Engine(folios, NO_PAGE_MAPCOUNT, threads=threads, schemes=replays) as engine:
        replay(engine, trace.windows())
    return comparison_of(trace, schemes, [SchemeCounts.of(one, folios, trace.events) for one in replays])


def comparison_of(trace: Trace, schemes: Sequence[Scheme], counted: Sequence[SchemeCounts]) -> Comparison:
    """Schemes side by side, from what was counted of each."""
    judged = tuple(_judge(s, c, trace.meta.phases) for s, c in zip(schemes, counted, strict=True))
    large = int(counted[0].folios_by_order.sum()) if counted else 0
    return Comparison(trace.path.name, trace.events, trace.folios, large, judged)


def _judge(scheme: Scheme, counted: SchemeCounts, phases: Sequence[str]) -> Judged:
    counts, times, there = counted.counts, counted.times, counted.folios_by_order
    state_bytes = sum(int(n) * counted.state_bytes[order] for order, n in enumerate(there))
    orders = [int(order) for order in np.flatnonzero(counts[:, :, Measure.EVENTS].sum(axis=0))]
    return Judged(
        scheme,
        state_bytes / max(int(there.sum()), 1),
        _counts(counts.sum(axis=(0, 1))),
        {order: _counts(counts[:, order].sum(axis=0)) for order in orders},
        {name: _counts(counts[k].sum(axis=0)) for k, name in enumerate(phases or ("all",))},
        _time(times.sum(axis=0)),
        {order: _time(times[order]) for order in orders},
    )


def _counts(row: NDArray[np.int64]) -> Counts:
    return Counts({measure: int(row[measure]) for measure in Measure})


def _time(row: NDArray[np.int64]) -> dict[Time, int]:
    return {which: int(row[which]) for which in Time}
