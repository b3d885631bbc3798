"""What a replay comes to, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mapcount.replay.desk import Tally
from mapcount.replay.result import Shard, tables
from mapcount.replay.verdicts import Verdict
from mapcount.tracking.flavour import Flavour


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often the kernel was right, for the folios of one size or of all."""

    order: int | None
    """None: all sizes together."""
    events: dict[Verdict, int]
    """Events after which the verdict was this."""
    time: dict[Verdict, int]
    """Folio-time with this verdict: events of the whole trace, summed over folios."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a trace, and if it was asked for, the way there."""

    flavour: Flavour
    events: int
    folios: int
    mapped: int
    """Folios that are mapped in the end; the next three are of these."""
    shared: int
    """Truly shared."""
    falsely_shared: int
    falsely_exclusive: int
    accuracy: tuple[Accuracy, ...] = ()
    """All sizes together first, then each size that occurs. Nothing unless every event was judged."""

    @property
    def unsafe(self) -> bool:
        """Was a shared folio ever called exclusive, by a kernel whose slots should know?"""
        on_the_way = any(a.events[Verdict.FALSELY_EXCLUSIVE] for a in self.accuracy)
        return self.flavour.owner_slots and bool(self.falsely_exclusive or on_the_way)


def summary_of(shards: Sequence[Shard], *, every: bool) -> Summary:
    """The summary of a replay. `every`: with its accuracy on the way."""
    mapped = shared = falsely_shared = falsely_exclusive = 0
    for table in tables(shards):
        maybe, truly = table["maybe_shared"].to_numpy(), table["truly_shared"].to_numpy()
        there = table["large_mapcount"].to_numpy() > 0
        mapped += int(there.sum())
        shared += int(truly.sum())
        falsely_shared += int((maybe & ~truly).sum())
        falsely_exclusive += int((truly & ~maybe).sum())
    tally = np.sum([shard.tally for shard in shards], axis=0)
    sizes = [order for order in range(len(tally)) if tally[order, 0].any()] if every else []
    accuracy = [_accuracy(None, tally.sum(axis=0))] if every else []
    return Summary(
        shards[0].flavour,
        sum(shard.events for shard in shards),
        sum(len(shard.folios) for shard in shards),
        mapped,
        shared,
        falsely_shared,
        falsely_exclusive,
        (*accuracy, *(_accuracy(order, tally[order]) for order in sizes)),
    )


def _accuracy(order: int | None, counts: Tally) -> Accuracy:
    events, time = ({v: int(counts[k, v]) for v in Verdict} for k in (0, 1))
    return Accuracy(order, events, time)
