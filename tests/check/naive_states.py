"""Every state of a small world over `tracking`, by plain loops: what the exploration must find."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from mapcount.check.exploration import State
from mapcount.check.search import Search
from mapcount.check.world import REMOVES, Event, Tables, World
from mapcount.schemes.scheme import Scheme
from mapcount.tracking.folio import Folio
from mapcount.tracking.rmap import folio_add_new_anon_rmap, folio_add_rmap, folio_remove_rmap


def tell(world: World, folio: Folio, event: Event) -> None:
    """Apply an event to a folio of `tracking`."""
    op, mm, page, nr = event
    if op.name == "NEW":
        folio_add_new_anon_rmap(folio, mm, world.level(op))
    else:
        (folio_remove_rmap if op in REMOVES else folio_add_rmap)(folio, page, nr, mm, world.level(op))


def state_of(tables: Tables, folio: Folio) -> State:
    """The state of a folio that is mapped so."""
    if folio.slots is None:
        return State(tables)
    ids, counts = [folio.slots.mm_id(i) for i in (0, 1)], folio.slots.mm_id_mapcount
    return State(tables, ids[0], counts[0], ids[1], counts[1], folio.slots.shared)


def folio_after(world: World, events: Iterable[Event]) -> Folio:
    """A new folio of the world after these events."""
    folio = Folio(world.kernel, world.order)
    for event in events:
        tell(world, folio, event)
    return folio


@dataclass
class Naive:
    """Each state's distance from the start, and how many events were tried that are not forks."""

    depth: dict[State, int] = field(default_factory=dict)
    transitions: int = 0

    @property
    def layers(self) -> tuple[int, ...]:
        """States by depth."""
        return tuple(int(n) for n in np.bincount(list(self.depth.values())))


def states(world: World, *, forks: bool = False) -> Naive:
    """Every state that events lead to; `forks`: those of fork's too."""
    start = State(world.nothing)
    found, queue = Naive({start: 0}), deque([(start, Folio(world.kernel, world.order))])
    events = [event for event in world.events if forks or not event.op.name.startswith("DUP")]
    while queue:
        state, before = queue.popleft()
        for event in events:
            if not world.legal(state.tables, event):
                continue
            found.transitions += not event.op.name.startswith("DUP")
            folio = before.copy()
            tell(world, folio, event)
            after = state_of(world.after(state.tables, event), folio)
            if after not in found.depth:
                found.depth[after] = found.depth[state] + 1
                queue.append((after, folio))
    return found


def scheme_states(world: World, scheme: Scheme) -> Naive:
    """The same by a scheme's rules, as Python runs them."""
    words = scheme.words(world.pages)
    start = (world.nothing, (0,) * words, 0)
    depth, queue, transitions = {start: 0}, deque([start]), 0
    while queue:
        here = queue.popleft()
        tables, vector, seen = here
        for event in world.events:
            if event.op.name == "NEW" or event.op.name.startswith("DUP") or not world.legal(tables, event):
                continue
            transitions += 1
            after, state = world.after(tables, event), np.array(vector, np.int64)
            change = scheme.remove if event.op in REMOVES else scheme.add
            total = sum(mine.entries for mine in after)
            change(state, event.mm, event.page, event.nr, world.entries(event), total)
            owners = [mm for mm, mine in enumerate(after, 1) if mine.entries]
            then = (seen + 1) % scheme.reset_every if scheme.reset_every else 0
            if scheme.walked and scheme.reset_every and not then:
                scheme.walked(state, owners[0] if len(owners) == 1 else 0, total)
            new = (after, tuple(int(n) for n in state), then)
            if new not in depth:
                depth[new] = depth[here] + 1
                queue.append(new)
    found = Naive(transitions=transitions)
    found.depth = {State(tables, scheme=(*vector, seen)): n for (tables, vector, seen), n in depth.items()}
    return found


def found_by(search: Search) -> set[State]:
    """The states that a search which reduced nothing has met."""
    bits, mappings = search.rules.bits, search.one.mappings
    found = set()
    for shard in search.shards:
        for row in range(shard.counts[0]):
            key = int(shard.keys[row])
            tables = tuple(mappings[key >> i * bits & (1 << bits) - 1] for i in range(search.world.mms))
            for code in search.codes.members(shard.visited[row]):
                owner0, count0, owner1, count1, flag = (int(column[code]) for column in search.decoded)
                found.add(State(tables, owner0, count0, owner1, count1, bool(flag)))
    return found
