"""The shortest way to a state: the search is made again, keeping its layers, and walked back from there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mapcount.check.expand import outcomes
from mapcount.check.exploration import State
from mapcount.check.ledger import Place
from mapcount.check.search import Search
from mapcount.check.slot_codes import SlotCodes
from mapcount.check.world import COUNTS_LIKE, Event, Tables
from mapcount.replay.grouping import DOES
from mapcount.replay.rules import L

Layer = tuple[NDArray[np.uint64], NDArray[np.uint64]]
"""Keys, ascending, and the states first met there, as rows of bits."""


class NoPath(RuntimeError):
    """A state is said to be met so soon, and is not."""


class Paths:
    """Shortest paths to states within `depth` events of the start.

    `search` has not begun. Raises MemoryError when its layers take more than `memory` bytes.
    """

    def __init__(self, search: Search, depth: int, memory: int) -> None:
        self.search = search
        self.layers: list[Layer] = []
        search.settle()
        for at in range(depth + 1):
            self.layers.append(search.frontier())
            memory -= sum(array.nbytes for array in self.layers[-1])
            if memory < 0:
                raise MemoryError
            if at < depth:
                search.expand()
                search.settle()
        columns = np.array(search.decoded)
        self.slots = np.zeros((5, -(-columns.shape[1] // L) * L), np.int32)
        """Each code's slots, by column; for some codes more, so that lanes are full."""
        self.slots[:, : columns.shape[1]] = columns

    def to(self, place: Place) -> tuple[State, tuple[Event, ...]]:
        """The state at a place, and events that lead to it; or to which an event at that place leads."""
        tables = self._tables(place.key)
        code, path = place.code, []
        state = self.state(tables, code)
        if place.event >= 0:
            event = self.search.one.events[place.event]
            path.append(event._replace(mm=place.mm + 1))
        for depth in range(place.depth - 1, -1, -1):
            event, tables, code = self._step_back(tables, code, self.layers[depth])
            path.append(event)
        return state, tuple(reversed(path))

    def state(self, tables: Tables, code: int) -> State:
        """The state of a code."""
        owner0, count0, owner1, count1, shared = (int(column[code]) for column in self.search.decoded)
        return State(tables, owner0, count0, owner1, count1, bool(shared))

    def _tables(self, key: int) -> Tables:
        """The truth of a key: the mappings that stand for others' mirror images."""
        bits = self.search.rules.bits
        mask = (1 << bits) - 1
        one = self.search.one
        return tuple(one.mappings[key >> i * bits & mask] for i in range(self.search.world.mms))

    def _step_back(self, tables: Tables, code: int, layer: Layer) -> tuple[Event, Tables, int]:
        """An event of a state in the layer that leads to this state, with that state."""
        wanted = self.slots[:, code]
        for event, before in self._steps_back(tables):
            row = self._row(before, layer)
            if row is None:
                continue
            codes = np.flatnonzero(row)
            held = np.zeros((5, -(-len(codes) // L) * L), np.int32)
            held[:, : len(codes)] = self.slots[:, codes]
            self.outcome(before, event, held, len(codes))
            (same,) = np.nonzero((held[:, : len(codes)] == wanted[:, None]).all(0))
            if len(same):
                return event, before, int(codes[same[0]])
        raise NoPath(f"no event leads to {self.state(tables, code)}")

    def _steps_back(self, tables: Tables) -> Iterator[tuple[Event, Tables]]:
        world = self.search.world
        for event in world.events:
            if event.op not in COUNTS_LIKE:
                before = world.before(tables, event)
                if before is not None:
                    yield event, before

    def outcome(self, tables: Tables, event: Event, held: NDArray[np.int32], n: int) -> None:
        """Replace the slots of `n` states with this truth by what they are after a legal event."""
        rules = self.search.rules
        total = sum(mine.entries for mine in tables)
        entire = sum(mine.pmds for mine in tables)
        mapped = sum(sum(mine.ptes) for mine in tables) + entire * rules.pages
        op, mm, page, nr = event
        outcomes(held, n, mm, DOES[op], page, nr, total, entire, mapped, rules)

    def _row(self, tables: Tables, layer: Layer) -> NDArray[np.bool_] | None:
        """By code, as mms are numbered in `tables`: was this state first met in the layer?"""
        key, names = canonical(self.search, tables)
        keys, rows = layer
        at = int(np.searchsorted(keys, np.uint64(key)))
        if at == len(keys) or keys[at] != key:
            return None
        return _bits(rows[at])[renamed(self.search.codes, self.slots, names)]


def canonical(search: Search, tables: Tables) -> tuple[int, list[int]]:
    """The key of a truth, and the place of each mm in it (the first of those with equal mappings)."""
    rules, one = search.rules, search.one
    numbers = [one.number[mine] for mine in tables]
    ordered = sorted(numbers) if rules.reduced else numbers
    names = [ordered.index(number) for number in numbers] if rules.reduced else list(range(len(numbers)))
    return sum(number << i * rules.bits for i, number in enumerate(ordered)), names


def renamed(codes: SlotCodes, slots: NDArray[np.int32], names: list[int]) -> NDArray[np.int64]:
    """Each code's code when mms are renamed to places: `expand.encode`, for all codes at once."""
    owner0, count0, owner1, count1, shared = slots[:, : len(codes)].astype(np.int64)
    base = np.array([0, *names], np.int64)
    place0, place1 = base[owner0], base[owner1]
    place1 = place1 + ((place0 == place1) & (owner0 > 0) & (owner1 > 0) & (owner0 != owner1))
    said0 = np.where(owner0 > 0, place0 * codes.most + count0, 0)
    said1 = np.where(owner1 > 0, place1 * codes.most + count1, 0)
    found: NDArray[np.int64] = 2 * (said0 * codes.of_slot + said1) + shared
    return found


def names_of(path: tuple[Event, ...], mms: int) -> list[int]:
    """New MM ids by old ones, such that mms appear in the order of their ids. The dummy id stays."""
    order = list(dict.fromkeys([0, *(event.mm for event in path), *range(1, mms + 1)]))
    return [order.index(mm) for mm in range(mms + 1)]


def in_order(state: State, path: tuple[Event, ...]) -> tuple[State, tuple[Event, ...]]:
    """The same with MM ids given out in the order in which mms appear: to the rules, names mean nothing."""
    names = names_of(path, len(state.tables))
    tables = [state.tables[names.index(mm) - 1] for mm in range(1, len(names))]
    owner0, owner1 = names[state.owner0], names[state.owner1]
    return state._replace(tables=tuple(tables), owner0=owner0, owner1=owner1), renamed_events(path, names)


def renamed_events(path: tuple[Event, ...], names: list[int]) -> tuple[Event, ...]:
    """The events with other MM ids."""
    return tuple(event._replace(mm=names[event.mm]) for event in path)


def _bits(row: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return np.unpackbits(row.view(np.uint8), bitorder="little").astype(np.bool_)
