"""Every reachable state of a small world, found the plain way: over `tracking`, one event at a time.

This is what the fast exploration is held against, and what asks the questions that only `tracking` can
answer. It knows no reduction and no packing. What is explored is a `Subject`: a kernel's folio, or a scheme's
state. Who maps what (`world.Tables`) is kept beside it, and decides which events are legal.

    search = Search(world, KernelFolio(world))
    for state in search:
        ...                        # breadth first: the shortest path to a state comes first
    search.path_to(state.key)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import numpy as np

from mapcount.check.world import COUNTS_LIKE, REMOVES, Event, Mappings, Tables, World
from mapcount.replay.trace import Op
from mapcount.schemes.scheme import Scheme
from mapcount.tracking.folio import Folio
from mapcount.tracking.invariants import violations
from mapcount.tracking.questions import folio_maybe_mapped_shared
from mapcount.tracking.rmap import folio_add_rmap, folio_remove_rmap
from mapcount.tracking.truth import Truth

NEVER_EXCLUSIVE = "never-exclusive-when-shared"
"""The one invariant that is demanded of every scheme."""


Move = tuple[Event, ...]
"""Events that come one right after the other."""
Moves = Callable[[World, Tables], Iterator[Move]]


def truth_of(world: World, tables: Tables) -> Truth:
    """Who maps what, as the invariants want it."""
    truth = Truth(world.pages)
    for mm, (ptes, pmds) in enumerate(tables, 1):
        for page, n in enumerate(ptes):
            for _ in range(n):
                truth.add(mm, page, 1)
        for _ in range(pmds):
            truth.add(mm, 0, world.pages, world.order)
    return truth


def every_event(world: World, tables: Tables) -> Iterator[Move]:
    """Every legal event, each alone. Those that count like another (first mappings, fork's) are left out."""
    like = (Op.NEW, *COUNTS_LIKE)
    return ((event,) for event in world.events if event.op not in like and world.legal(tables, event))


def anonymous(world: World, tables: Tables) -> Iterator[Move]:
    """What private anonymous memory goes through: a fault, forks, and unmapping of parts or of all.

    A PMD of which a part is unmapped is split first: all PTEs come, then it goes.
    """
    if tables == world.nothing:
        yield from ((Event(Op.NEW, mm, 0, world.pages),) for mm in range(1, world.mms + 1))
        return
    for mm, mine in enumerate(tables, 1):
        if mine.entries:
            children = (child for child, other in enumerate(tables, 1) if not other.entries)
            yield from (_fork(world, mine, child) for child in children)
            yield from _unmap(world, mm, mine)


def runs_of(mine: Mappings) -> Iterator[tuple[int, int]]:
    """(first page, number of pages) of each run of pages that PTEs map."""
    page = 0
    for mapped, group in groupby(mine.ptes, bool):
        nr = len(list(group))
        if mapped:
            yield page, nr
        page += nr


def _fork(world: World, parent: Mappings, child: int) -> Move:
    pmd = (Event(Op.DUP_PMD, child, 0, world.pages),) * parent.pmds
    return (*pmd, *(Event(Op.DUP_PTES, child, page, nr) for page, nr in runs_of(parent)))


def _unmap(world: World, mm: int, mine: Mappings) -> Iterator[Move]:
    split: Move = ()
    if mine.pmds:
        split = (Event(Op.MAP_PTES, mm, 0, world.pages), Event(Op.UNMAP_PMD, mm, 0, world.pages))
        yield split[1:]
        yield split
        mine = Mappings((1,) * world.pages, 0)
    elif len(list(runs_of(mine))) > 1:
        yield tuple(Event(Op.UNMAP_PTES, mm, page, nr) for page, nr in runs_of(mine))
    for first, length in runs_of(mine):
        for page in range(first, first + length):
            for nr in range(1, first + length - page + 1):
                if not split or nr < length:
                    yield (*split, Event(Op.UNMAP_PTES, mm, page, nr))


class Subject(Protocol):
    """What keeps counters of one folio: told of events, judged in every state."""

    def start(self) -> Any:
        """The counters of an unmapped folio."""

    def step(self, counters: Any, event: Event, total: int) -> Any:
        """New counters, after an event that leaves `total` mappings. Those given are not changed."""

    def key(self, counters: Any) -> Hashable:
        """What tells counters apart."""

    def maybe_shared(self, counters: Any, total: int) -> bool:
        """The answer."""

    def broken(self, counters: Any, truth: Truth) -> list[str]:
        """Ids of the invariants that do not hold."""


class Kept(NamedTuple):
    """A kernel's folio, and what its events added to the statistics so far."""

    folio: Folio
    stat: int = 0
    """AnonPages or Mapped, in pages."""
    pmd_stat: int = 0
    queued: bool = False
    """Was it found partially mapped, so that an anonymous folio waits to be split? Kept where asked for."""
    forked: bool = False
    """Did fork duplicate mappings, so that writes fault? Kept where asked for."""


class KernelFolio:
    """A folio as the world's flavour counts it. `anonymous`: also what befell it as anonymous memory."""

    def __init__(self, world: World, *, anonymous: bool = False) -> None:
        self._world, self._anonymous = world, anonymous

    def start(self) -> Kept:
        """A new folio."""
        return Kept(Folio(self._world.kernel, self._world.order))

    def step(self, counters: Kept, event: Event, total: int) -> Kept:
        """References go up before mappings come, and down after they went."""
        folio, level = counters.folio.copy(), self._world.level(event.op)
        change = folio_remove_rmap if event.op in REMOVES else folio_add_rmap
        folio.refcount = max(total, folio.refcount)
        delta = change(folio, event.page, event.nr, event.mm, level)
        folio.refcount = total
        stat, pmd_stat = counters.stat + delta.stat, counters.pmd_stat + delta.pmd_stat
        if not self._anonymous or not total:
            return Kept(folio, stat, pmd_stat)
        queued = counters.queued or delta.partially_mapped
        return Kept(folio, stat, pmd_stat, queued, counters.forked or event.op in COUNTS_LIKE)

    def key(self, counters: Kept) -> Hashable:
        """Every counter, and the statistics."""
        f = counters.folio
        slots = (f.slots.mm_ids, *f.slots.mm_id_mapcount) if f.slots else ()
        pages = tuple(f.page_mapcount.runs()) if f.page_mapcount else ()
        return (
            f.large_mapcount, f.entire_mapcount, f.nr_pages_mapped, f.total_mapped_pages, slots, pages,
            *counters[1:],
        )  # fmt: skip

    def maybe_shared(self, counters: Kept, total: int) -> bool:
        """`folio_maybe_mapped_shared`."""
        return folio_maybe_mapped_shared(counters.folio)

    def broken(self, counters: Kept, truth: Truth) -> list[str]:
        """Those of the registry."""
        return [invariant.id for invariant in violations(counters.folio, truth)]


class SchemeState:
    """A scheme's vector of integers, by the functions as they are written: not compiled."""

    def __init__(self, scheme: Scheme, world: World) -> None:
        self._scheme, self._world = scheme, world

    def start(self) -> tuple[int, ...]:
        """All zero."""
        return (0,) * self._scheme.words(self._world.pages)

    def step(self, counters: tuple[int, ...], event: Event, total: int) -> tuple[int, ...]:
        """The scheme's `add` or `remove`."""
        state = np.array(counters, np.int64)
        change = self._scheme.remove if event.op in REMOVES else self._scheme.add
        change(state, event.mm, event.page, event.nr, self._world.entries(event), total)
        return tuple(state.tolist())

    def key(self, counters: tuple[int, ...]) -> Hashable:
        """The vector."""
        return counters

    def maybe_shared(self, counters: tuple[int, ...], total: int) -> bool:
        """The scheme's answer."""
        return bool(self._scheme.maybe_shared(np.array(counters, np.int64), self._world.pages, total))

    def broken(self, counters: tuple[int, ...], truth: Truth) -> list[str]:
        """Only safety is demanded of a scheme."""
        unsafe = truth.shared and not self.maybe_shared(counters, truth.total)
        return [NEVER_EXCLUSIVE] if unsafe else []


@dataclass(frozen=True, slots=True)
class State:
    """One reachable state."""

    key: Hashable
    tables: Tables
    counters: Any
    truth: Truth
    depth: int


def state_after(world: World, subject: Subject, path: Sequence[Event]) -> State:
    """The state that these events lead to."""
    tables, counters = world.nothing, subject.start()
    for event in path:
        tables = world.after(tables, event)
        counters = subject.step(counters, event, sum(mine.entries for mine in tables))
    return State((tables, subject.key(counters)), tables, counters, truth_of(world, tables), len(path))


def endless(world: World, subject: Subject, path: Sequence[Event]) -> tuple[Move, Move] | None:
    """Being wrongly shared, for any number of events from where `path` leads: (events to begin with, and
    events that lead back to where they began). None if it cannot last.

    Wrongly shared: one mm alone maps the folio, and it is called shared.
    """
    start = state_after(world, subject, path)
    for lead, tables, counters in _wrongly_from(world, subject, start.tables, start.counters):
        here = (tables, subject.key(counters))
        for loop, then, after in _wrongly_from(world, subject, tables, counters):
            if loop and (then, subject.key(after)) == here:
                return lead, loop
    return None


def _wrongly_from(
    world: World, subject: Subject, tables: Tables, counters: Any
) -> Iterator[tuple[Move, Tables, Any]]:
    """Every wrongly shared state within reach of one through such alone, the nearest first.

    The one itself comes first, and again if it is come back to.
    """
    seen: set[Hashable] = set()
    queue: deque[tuple[Move, Tables, Any]] = deque([((), tables, counters)])
    while queue:
        way, tables, counters = queue.popleft()
        yield way, tables, counters
        for (event,) in every_event(world, tables):
            after = world.after(tables, event)
            total = sum(mine.entries for mine in after)
            then = subject.step(counters, event, total)
            key = (after, subject.key(then))
            alone = sum(1 for mine in after if mine.entries) == 1
            if alone and key not in seen and subject.maybe_shared(then, total):
                seen.add(key)
                queue.append(((*way, event), after, then))


class Search:
    """Breadth-first iteration over every reachable state, from the unmapped folio on."""

    def __init__(self, world: World, subject: Subject, moves: Moves = every_event) -> None:
        self.world, self.subject = world, subject
        self._moves = moves
        self._parents: dict[Hashable, tuple[Hashable, Move] | None] = {}
        self.transitions = 0
        self.depth = 0
        """Of the deepest state so far."""
        self.watch: Callable[[State, Move, Any], None] | None = None
        """Called for each transition with the state before, the move, and the counters after."""

    def __iter__(self) -> Iterator[State]:
        tables, counters = self.world.nothing, self.subject.start()
        key: Hashable = (tables, self.subject.key(counters))
        self._parents = {key: None}
        layer, depth = [(key, tables, counters)], 0
        while layer:
            self.depth, found = depth, list[tuple[Hashable, Tables, Any]]()
            for key, tables, counters in layer:
                state = State(key, tables, counters, truth_of(self.world, tables), depth)
                yield state
                found += self._next(state)
            layer, depth = found, depth + 1

    def _next(self, state: State) -> Iterator[tuple[Hashable, Tables, Any]]:
        """States that no shorter path leads to."""
        for move in self._moves(self.world, state.tables):
            tables, counters = state.tables, state.counters
            for event in move:
                tables = self.world.after(tables, event)
                total = sum(mine.entries for mine in tables)
                counters = self.subject.step(counters, event, total)
            self.transitions += 1
            if self.watch is not None:
                self.watch(state, move, counters)
            key = (tables, self.subject.key(counters))
            if key not in self._parents:
                self._parents[key] = (state.key, move)
                yield key, tables, counters

    @property
    def states(self) -> int:
        """How many were found so far."""
        return len(self._parents)

    def path_to(self, key: Hashable) -> list[Event]:
        """The events of a shortest path to a state."""
        moves: list[Move] = []
        while (step := self._parents[key]) is not None:
            key, move = step
            moves.append(move)
        return [event for move in reversed(moves) for event in move]
