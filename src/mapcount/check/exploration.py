"""What an exploration found: counts, a verdict for each invariant, and the story of being wrongly shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from mapcount.check.world import Event, Tables, World
from mapcount.tracking.invariants import INVARIANTS

LEGAL_ACCEPTED = "legal-events-accepted"
"""What is checked besides the invariants of `tracking`: that an event which can happen is not refused."""
BACK_TO_ZERO = "unmapped-is-as-new"
"""For schemes: an unmapped folio's state is all 0 again. Information, not a fault: memory may be kept."""
SENTENCES = {
    **{one.id: one.sentence for one in INVARIANTS.values()},
    LEGAL_ACCEPTED: "No event that the page tables allow is refused.",
    BACK_TO_ZERO: "A folio that nobody maps has the state of a new one again.",
}


class State(NamedTuple):
    """One state of a world: the truth, and what the kernel or a scheme keeps of it."""

    tables: Tables
    owner0: int = 0
    count0: int = 0
    owner1: int = 0
    count1: int = 0
    shared: bool = False
    scheme: tuple[int, ...] = ()
    """A scheme's integers; then the slots above are not used."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one invariant."""

    id: str
    broken: int
    """States, as counted (`Exploration.states`), that break it; or events that led to what cannot be."""
    state: State | None = None
    """One of the first: after the fewest events. None where the event itself goes wrong (see `path`)."""
    path: tuple[Event, ...] | None = None
    """A shortest way to it, from a folio that nobody maps; its last event breaks the invariant."""
    informs: bool = False
    """Is this no fault, but good to know?"""

    @property
    def holds(self) -> bool:
        """Was it broken nowhere?"""
        return not self.broken

    @property
    def sentence(self) -> str:
        """What is claimed."""
        return SENTENCES[self.id]


class Ending(Enum):
    """How a folio ceases to be called shared wrongly."""

    UNMAPPED = "nothing is mapped any more"
    ONE_MAPPING = "one mapping is left"
    RECOGNISED = "the sole owner is recognised"
    SHARED = "another mm maps it: it is truly shared"


@dataclass(frozen=True, slots=True)
class WronglyShared:
    """Folios of one mm that are called shared: allowed, but how does it come to it, and how does it end?"""

    states: int
    state: State
    """One of the first."""
    path: tuple[Event, ...]
    """A shortest way to it."""
    longest: tuple[Event, ...] | None
    """The most events that it can outlast. None: any number, for there is a way around (`around`)."""
    around: tuple[Event, ...]
    """Events that lead from a state of being wrongly shared back to it, by such states alone."""
    endings: Mapping[Ending, int]
    """How many events end it, over all such states, by what then is true."""


class Stopped(Enum):
    """Why an exploration ended before there was nothing left to explore."""

    MEMORY = "the memory allowed is used up"
    MOST_STATES = "as many states as wanted were found"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Exploration:
    """All states of a world that events can lead to, or those within `depth` events of the start."""

    world: World
    scheme: str | None
    """The scheme's name; None for the kernel's own rules."""
    reduced: bool
    """Were states that differ only by renaming explored once?"""
    states: int
    """Distinct states explored, up to symmetry if `reduced`."""
    unreduced_states: int
    """Distinct states that they stand for."""
    transitions: int
    """(state, event) pairs tried, DUP not told from MAP."""
    depth: int
    """Every state within so many events of the start was met and judged."""
    layers: tuple[int, ...]
    """States by their distance from the start, in events."""
    seconds: float
    """Of this run, compilation not included."""
    verdicts: tuple[Verdict, ...]
    wrongly_shared: WronglyShared | None = None
    """None if it was met nowhere."""
    stopped: Stopped | None = None
    saved: Path | None = None
    """Where the search can be taken up again."""

    @property
    def exhausted(self) -> bool:
        """Was everything reachable explored?"""
        return self.stopped is None

    @property
    def faults(self) -> tuple[Verdict, ...]:
        """The verdicts on invariants that do not hold, those broken after fewest events first."""
        broken = [v for v in self.verdicts if not v.holds and not v.informs]
        return tuple(sorted(broken, key=lambda verdict: len(verdict.path or ())))


class CannotExplore(ValueError):
    """A world that this way of exploring cannot hold at all; the message says what would fit."""
