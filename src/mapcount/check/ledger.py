"""What a search has found so far: how many states, which invariants were broken, and where first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapcount.check import expand, settle
from mapcount.check.exploration import LEGAL_ACCEPTED
from mapcount.tracking.flavour import Flavour

WRONGLY = "wrongly-shared"
"""Not an invariant: what is met and allowed."""
OF_STATES = {
    settle.EXCLUSIVE_SHARED: "never-exclusive-when-shared",
    settle.SLOT_UNTRUE: "slot-at-most-true",
    settle.UNMAPPED_NOT_ZERO: "unmapped-is-zero",
    settle.WRONGLY_SHARED: WRONGLY,
}
"""What a row of `settle.found` counts."""
OF_EVENTS = {
    expand.REFUSED: LEGAL_ACCEPTED,
    expand.TOTAL_FALSE: "total-true",
    expand.ENTIRE_FALSE: "entire-true",
    expand.PAGES_FALSE: "mapped-pages-true",
    expand.FREE_SLOT: "free-slot-empty",
    expand.SAME_SLOT: "slots-distinct",
    expand.TOO_LARGE: "slot-fits",
    expand.UNTRUE: "slot-at-most-true",
}
"""What a row of `expand.faults` counts."""
OF_SLOTS = {*OF_STATES.values(), "free-slot-empty", "slots-distinct", "slot-fits"}


def known() -> set[str]:
    """Everything that a ledger may count."""
    return {*OF_STATES.values(), *OF_EVENTS.values()}


def claims(flavour: Flavour) -> list[str]:
    """The ids of the invariants that are evaluated for this flavour."""
    ids = [*dict.fromkeys([*OF_STATES.values(), *OF_EVENTS.values()])]
    left_out = {WRONGLY}
    if not flavour.owner_slots:
        left_out |= OF_SLOTS
    left_out.add("entire-true" if flavour.any_level else "mapped-pages-true")
    return [one for one in ids if one not in left_out]


class Place(NamedTuple):
    """Where something was met first: a state, or an event in it (a row of the table of the mm at a place)."""

    depth: int
    key: int
    code: int
    mm: int = -1
    event: int = -1


@dataclass
class Ledger:
    """Counts and first places. `layers` are states by depth; `stands_for` counts them without symmetry."""

    layers: list[int] = field(default_factory=list)
    stands_for: int = 0
    transitions: int = 0
    times: dict[str, int] = field(default_factory=dict)
    first: dict[str, Place] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Of the last layer."""
        return len(self.layers) - 1

    def layer(self, states: int, stands_for: int) -> None:
        """Another layer was settled."""
        self.layers.append(states)
        self.stands_for += stands_for

    def tried(self, transitions: int) -> None:
        """So many more events were tried."""
        self.transitions += transitions

    def judged(self, found: list[NDArray[np.int64]]) -> None:
        """Write down what shards found out about states, and clear it there."""
        for kind, what in OF_STATES.items():
            self._write(what, self.depth, [one[kind] for one in found])

    def blamed(self, faults: list[NDArray[np.int64]]) -> None:
        """Write down what shards found wrong with events in the last layer, and clear it there."""
        for kind, what in OF_EVENTS.items():
            self._write(what, self.depth, [one[kind] for one in faults])

    def _write(self, what: str, depth: int, rows: list[NDArray[np.int64]]) -> None:
        times = sum(int(row[0]) for row in rows)
        if times:
            self.times[what] = self.times.get(what, 0) + times
            where = min(Place(depth, *(int(n) for n in row[1:])) for row in rows if row[0])
            self.first.setdefault(what, where)
        for row in rows:
            clear(row)


def clear(found: NDArray[np.int64]) -> None:
    """Nothing was found: no times, and no first place."""
    found[..., 0], found[..., 1:] = 0, -1
