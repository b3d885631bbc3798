"""The story of folios that one mm maps and that are called shared: for how long, and what ends it.

States that are *wrongly shared* have one mm that maps anything, so there are few of them. They and the events
between them are a small graph: if there is a way around in it, the mistake can outlast any number of events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mapcount.check.exploration import Ending, WronglyShared
from mapcount.check.ledger import WRONGLY, Ledger
from mapcount.check.paths import Paths, in_order, names_of, renamed_events
from mapcount.check.search import Search
from mapcount.check.world import COUNTS_LIKE, Event, Tables
from mapcount.replay.rules import L


class Slots(NamedTuple):
    """What the slots say."""

    owner0: int
    count0: int
    owner1: int
    count1: int
    shared: int


Node = tuple[Tables, Slots]


NONE = np.zeros(0, np.int64)
N = TypeVar("N", bound=Hashable)


@dataclass
class Graph(Generic[N]):
    """Wrongly shared states, the events between them, and how often events end it."""

    steps: dict[N, list[tuple[Event, N]]]
    endings: dict[Ending, int]


Rows = dict[tuple[int, int], NDArray[np.int64]]
"""By (mm, number of its mappings), where nobody else maps the folio: codes of wrongly shared states."""


def lone_rows(search: Search) -> Rows:
    """Those of a search. Up to symmetry, the mm is the last."""
    rules, found = search.rules, {}
    for mm in [rules.mms] if rules.reduced else range(1, rules.mms + 1):
        for number, entries in enumerate(search.one.table.entries):
            row = search.row(number << (mm - 1) * rules.bits)
            if row is not None and entries > 1:
                found[mm, number] = search.codes.members(row & search.masks.shared)
    return found


def wrongly_shared(ledger: Ledger, rows: Rows, paths: Paths) -> WronglyShared | None:
    """The story, if it was met at all."""
    first = ledger.first.get(WRONGLY)
    if first is None:
        return None
    state, path = paths.to(first)
    owner = next(mm for mm, mine in enumerate(state.tables, 1) if mine.entries)
    graph = graph_of(rows, paths, owner)
    start = (state.tables, Slots(*state[1:5], int(state.shared)))
    around = way_around(graph, start)
    longest = None if around else longest_way(graph, start)
    names = names_of(path, paths.search.world.mms)
    longest = None if longest is None else renamed_events(longest, names)
    return WronglyShared(
        ledger.times[WRONGLY],
        *in_order(state, path),
        longest,
        renamed_events(around, names),
        graph.endings,
    )


def graph_of(rows: Rows, paths: Paths, owner: int) -> Graph[Node]:
    """The graph of all wrongly shared states that were met, of this owner."""
    world = paths.search.world
    graph: Graph[Node] = Graph({}, dict.fromkeys(Ending, 0))
    events = [event for event in world.events if event.op not in COUNTS_LIKE]
    for mine, number in paths.search.one.number.items():
        codes = rows.get((owner, number), NONE)
        tables = (*world.nothing[: owner - 1], mine, *world.nothing[owner:])
        for event in events if len(codes) else ():
            if world.legal(tables, event):
                _follow(graph, paths, tables, codes, event, event.mm == owner)
    return graph


def _follow(
    graph: Graph[Node], paths: Paths, tables: Tables, codes: NDArray[np.int64], event: Event, owners: bool
) -> None:
    """Add an event in all states of a truth to the graph."""
    before = _slots(paths.slots[:, codes])
    for slots in before:
        graph.steps.setdefault((tables, slots), [])
    if not owners:
        graph.endings[Ending.SHARED] += len(codes)
        return
    held = np.zeros((5, -(-len(codes) // L) * L), np.int32)
    held[:, : len(codes)] = paths.slots[:, codes]
    paths.outcome(tables, event, held, len(codes))
    after = paths.search.world.after(tables, event)
    left = after[event.mm - 1].entries
    for slots, then in zip(before, _slots(held[:, : len(codes)]), strict=True):
        if left < 2:
            graph.endings[Ending.ONE_MAPPING if left else Ending.UNMAPPED] += 1
        elif then[4]:
            graph.steps[tables, slots].append((event, (after, then)))
        else:
            graph.endings[Ending.RECOGNISED] += 1


def _slots(columns: NDArray[np.int32]) -> list[Slots]:
    return [Slots(*(int(n) for n in column)) for column in columns.T]


def way_around(graph: Graph[N], start: N) -> tuple[Event, ...]:
    """The fewest events from `start` back to it, through nothing but such states; empty if there are none."""
    came: dict[N, tuple[N, Event]] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for event, then in graph.steps.get(node, ()):
            if then in came:
                continue
            came[then] = (node, event)
            if then == start:
                return _path(came, start)
            queue.append(then)
    return ()


def _path(came: dict[N, tuple[N, Event]], start: N) -> tuple[Event, ...]:
    """The events by which `start` was come back to."""
    node, event = came[start]
    path = [event]
    while node != start:
        node, event = came[node]
        path.append(event)
    return tuple(reversed(path))


def longest_way(graph: Graph[N], start: N) -> tuple[Event, ...] | None:
    """The most events from `start` on, through nothing but such states. None: there is no end to them."""
    best: dict[N, tuple[Event, ...]] = {}
    open_: set[N] = set()
    stack = [start]
    while stack:
        node = stack[-1]
        ahead = graph.steps.get(node, ())
        todo = [then for _, then in ahead if then not in best]
        open_.add(node)
        if any(then in open_ for then in todo):
            return None
        if todo:
            stack.append(todo[0])
            continue
        best[node] = max((((event, *best[then])) for event, then in ahead), key=len, default=())
        open_.discard(stack.pop())
    return best[start]
