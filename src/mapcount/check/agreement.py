"""The reference beside the engine, in every transition of a world: what the fast exploration rests on.

The fast exploration steps the compiled code. Here the same world is explored over `tracking` (or, for a
scheme, with its functions as they are written), and each transition is put before the compiled code as well:
thirty-two at a time, as the engine takes them. Both must come to the same counters. That is slower, and finds
the first event at which they part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mapcount.check.reference import Kept, KernelFolio, Move, SchemeState, Search, State, Subject
from mapcount.check.world import REMOVES, Event, World
from mapcount.replay import rules
from mapcount.replay.grouping import DOES
from mapcount.replay.schemes import CHANGE, compiled
from mapcount.schemes.scheme import Scheme

Progress = Callable[[int, int, int], None]

MOST_SHOWN = 8
"""Differences that are kept."""
TOLD_EVERY = 4096


@dataclass(frozen=True, slots=True)
class Difference:
    """A transition after which compiled code and reference do not say the same."""

    path: tuple[Event, ...]
    """Its last event is where they part."""
    reference: str
    engine: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """All of a world's transitions, taken by both."""

    world: World
    scheme: str | None
    states: int
    """Without any reduction."""
    transitions: int
    depth: int
    seconds: float
    differences: tuple[Difference, ...]
    """The first few."""
    exhausted: bool
    """Was everything reachable explored?"""
    interrupted: bool = False
    """Was it Ctrl-C that ended it?"""


class Beside(Protocol):
    """Compiled code that is given transitions."""

    def put(self, state: State, event: Event, counters: Any) -> None:
        """One transition, and the counters that the reference has after it."""

    def flush(self) -> None:
        """Judge those that are waiting."""


def agree(
    world: World,
    scheme: Scheme | None = None,
    *,
    most_states: int | None = None,
    progress: Progress | None = None,
) -> Agreement:
    """Take every transition of the world both ways. Stops after `most_states` states, and at Ctrl-C.

    `progress` is told of the depth, the states waiting and those found. Raises SchemeError where a scheme
    does not compile.
    """
    began = time.perf_counter()
    subject: Subject = SchemeState(scheme, world) if scheme else KernelFolio(world)
    search = Search(world, subject)
    found: list[Difference] = []

    def differs(state: State, event: Event, reference: str, engine: str) -> None:
        if len(found) < MOST_SHOWN:
            found.append(Difference((*search.path_to(state.key), event), reference, engine))

    beside: Beside = _Compiled(scheme, world, differs) if scheme else _Engine(world, differs)

    def watch(state: State, move: Move, counters: Any) -> None:
        beside.put(state, move[0], counters)

    search.watch = watch
    seen, interrupted = 0, False
    try:
        for seen, state in enumerate(search, 1):
            if progress is not None and seen % TOLD_EVERY == 0:
                progress(state.depth, search.states - seen, search.states)
            if most_states is not None and search.states > most_states:
                break
        beside.flush()
    except KeyboardInterrupt:
        interrupted = True
    return Agreement(
        world, scheme.name if scheme else None, search.states, search.transitions, search.depth,
        time.perf_counter() - began, tuple(found), seen == search.states and not interrupted, interrupted,
    )  # fmt: skip


Differs = Callable[[State, Event, str, str], None]


class _Engine:
    """The replay engine's `step`, in thirty-two lanes."""

    def __init__(self, world: World, differs: Differs) -> None:
        self._world, self._differs = world, differs
        self._rules = rules.rules_of(world.kernel)
        self._event = np.zeros(rules.LANES_EVENT, np.uint32).view(np.int32)
        self._lanes = np.zeros(rules.LANES_32, np.int32)
        self._waiting: list[tuple[State, Event, Kept]] = []

    def put(self, state: State, event: Event, counters: Kept) -> None:
        """Into the next lane."""
        k = len(self._waiting)
        self._load(k, state.counters)
        for column, value in (
            (rules.MM, event.mm), (rules.DOES, DOES[event.op]),
            (rules.PAGE, event.page), (rules.NR, event.nr),
        ):  # fmt: skip
            self._event[column + k] = value
        self._waiting.append((state, event, counters))
        if len(self._waiting) == rules.L:
            self.flush()

    def _load(self, k: int, kept: Kept) -> None:
        folio = kept.folio
        for column, value in (
            (rules.NR_PAGES, folio.nr_pages), (rules.WHOLE_NR, folio.nr_pages if folio.pmd_mappable else 0),
            (rules.BY_PTES, 1), (rules.SLOTTED, -1 if folio.slots else 0), *_columns(kept),
        ):  # fmt: skip
            self._lanes[column + k] = value

    def flush(self) -> None:
        """Step all lanes, and compare."""
        self._event.reshape(-1, rules.L)[:, len(self._waiting) :] = 0
        rules.step(self._event, self._lanes, self._rules.most_in_slot)
        if self._rules.any_level:
            rules.arbitrary(self._event, self._lanes, self._rules.pmd_order)
        for k, (state, event, kept) in enumerate(self._waiting):
            want = _columns(kept)
            got = [(column, int(self._lanes[column + k])) for column, _ in want]
            wrong = int(self._lanes[rules.WRONG + k])
            if wrong or got != want:
                said = f"refuses the event (reasons {wrong:#x})" if wrong else _words(got)
                self._differs(state, event, _words(want), said)
        self._waiting.clear()


def _columns(kept: Kept) -> list[tuple[int, int]]:
    """The lanes that hold a folio's counters, and what is in them."""
    folio, slots = kept.folio, kept.folio.slots
    columns = [(rules.TOTAL, folio.large_mapcount)]
    if folio.flavour.entire_mapcount:
        columns.append((rules.ENTIRE, folio.entire_mapcount))
    if folio.flavour.total_mapped_pages:
        columns.append((rules.PAGES, folio.total_mapped_pages))
    if slots is not None:
        columns += [
            (rules.OWNER0, slots.mm_id(0)), (rules.COUNT0, slots.mm_id_mapcount[0]),
            (rules.OWNER1, slots.mm_id(1)), (rules.COUNT1, slots.mm_id_mapcount[1]),
            (rules.SHARED, int(slots.shared)),
        ]  # fmt: skip
    return columns


NAMES = {
    rules.TOTAL: "total", rules.ENTIRE: "entire", rules.PAGES: "mapped pages", rules.OWNER0: "mm in slot 0",
    rules.COUNT0: "its count", rules.OWNER1: "mm in slot 1", rules.COUNT1: "its count", rules.SHARED: "flag",
}  # fmt: skip


def _words(columns: list[tuple[int, int]]) -> str:
    return ", ".join(f"{NAMES[column]} {value}" for column, value in columns)


class _Compiled:
    """A scheme's functions, compiled."""

    def __init__(self, scheme: Scheme, world: World, differs: Differs) -> None:
        self._world, self._differs = world, differs
        self._add = compiled(scheme.add, CHANGE, scheme.name)
        self._remove = compiled(scheme.remove, CHANGE, scheme.name)

    def put(self, state: State, event: Event, counters: tuple[int, ...]) -> None:
        """Compare at once."""
        got = np.array(state.counters, np.int64)
        entries = self._world.entries(event)
        gone = event.op in REMOVES
        total = state.truth.total + (-entries if gone else entries)
        (self._remove if gone else self._add)(got, event.mm, event.page, event.nr, entries, total)
        if tuple(got.tolist()) != counters:
            self._differs(state, event, f"state {list(counters)}", f"state {got.tolist()}")

    def flush(self) -> None:
        """Nothing waits."""
