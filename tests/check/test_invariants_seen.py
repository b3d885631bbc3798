"""One corrupt specimen for each invariant that the exploration judges: it must report exactly that one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mapcount.check.expand import FAULTS, encode, note
from mapcount.check.ledger import OF_EVENTS, OF_STATES, Ledger, claims
from mapcount.check.rows import COMING
from mapcount.check.search import Search
from mapcount.check.world import Mappings, World
from mapcount.replay.rules import (
    COUNT0,
    COUNT1,
    ENTIRE,
    LANES_32,
    OWNER0,
    OWNER1,
    PAGES,
    SHARED,
    TOTAL,
    WRONG,
    L,
)
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES
from mapcount.tracking.invariants import INVARIANTS

WORLD = World(NO_PAGE_MAPCOUNT, 2, 4)
NOTHING, ONE, TWO = (Mappings((n > 0, n > 1, 0, 0), 0) for n in range(3))


@pytest.mark.parametrize(
    ("tables", "slots", "broken"),
    [
        ((ONE, ONE), (1, 1, 2, 1, 1), None),
        ((NOTHING, TWO), (2, 2, 0, 0, 0), None),
        ((ONE, ONE), (1, 1, 2, 1, 0), "never-exclusive-when-shared"),
        ((NOTHING, ONE), (2, 2, 0, 0, 0), "slot-at-most-true"),
        ((NOTHING, TWO), (1, 1, 2, 2, 0), "slot-at-most-true"),
        ((NOTHING, NOTHING), (0, 0, 0, 0, 1), "unmapped-is-zero"),
        ((NOTHING, TWO), (2, 1, 0, 0, 1), "wrongly-shared"),
    ],
)
def test_states(tables: Any, slots: Any, broken: str | None) -> None:
    """A state that breaks an invariant is counted as breaking that one."""
    with Search(WORLD, threads=1, memory=1 << 20, reduced=False) as search:
        search.settle()
        shard = search.shards[0]
        key = sum(search.one.number[mine] << i * search.rules.bits for i, mine in enumerate(tables))
        (code,) = np.flatnonzero((np.array(search.decoded).T == slots).all(1))
        shard.keys[0], shard.queue[0], shard.counts[COMING] = key, 0, 1
        shard.coming[0, code >> 6] = np.uint64(1) << np.uint64(code & 63)
        search.settle()
        assert ({broken: 1} if broken else {}) == search.ledger.times


SLOTS = {OWNER0: 1, COUNT0: 2, OWNER1: 2, COUNT1: 1, SHARED: 1, TOTAL: 3, ENTIRE: 0, PAGES: 0}


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({}, None),
        ({WRONG: 8}, "legal-events-accepted"),
        ({TOTAL: 4}, "total-true"),
        ({ENTIRE: 1}, "entire-true"),
        ({OWNER0: 0}, "free-slot-empty"),
        ({COUNT1: 0}, "free-slot-empty"),
        ({OWNER1: 1}, "slots-distinct"),
        ({COUNT0: 5}, "slot-at-most-true"),
        ({OWNER1: 3}, "free-slot-empty"),
    ],
)
def test_events(change: dict[int, int], broken: str | None) -> None:
    """An event whose outcome cannot be is counted as breaking that invariant, and leads nowhere."""
    assert ({broken: 1} if broken else {}) == outcome(WORLD, change, 0)


def test_mapped_pages() -> None:
    """Where mapped pages are counted, they are compared with the truth."""
    world = World(TOTAL_MAPPED_PAGES, 2, 4)
    assert {} == outcome(world, {PAGES: 3}, 3)
    assert {"mapped-pages-true": 1} == outcome(world, {PAGES: 2}, 3)


def test_a_slot_too_small() -> None:
    """A count that its slot cannot hold is noticed."""
    world = World(NO_PAGE_MAPCOUNT.on(32).scaled(max_slot_mapcount=2), 2, 4)
    assert {"slot-fits": 1, "slot-at-most-true": 1} == outcome(world, {COUNT0: 3}, 0)


def outcome(world: World, change: dict[int, int], whole: int) -> dict[str, int]:
    """What is found wrong with such an outcome, which should be a total of 3 and as many entire mappings."""
    with Search(world, threads=1, memory=1 << 20, reduced=False) as search:
        lanes, codes = np.zeros(LANES_32, np.int32), np.zeros(L, np.int64)
        for column, value in (SLOTS | change).items():
            lanes[column : column + L] = value
        base = np.array([0, 0, search.rules.most], np.int32)
        odd = encode(lanes, search.rules, np.int32(3), np.int32(whole), base, L, codes)
        assert odd == bool((codes < 0).any())
        faults = np.zeros((FAULTS, 5), np.int64)
        held = np.zeros((5, L), np.int32)
        note(lanes, search.rules, np.int32(3), np.int32(whole), 1, held, 0, np.uint64(0), 0, 0, codes, faults)
        ledger = Ledger([1])
        ledger.blamed([faults])
        return ledger.times


def test_what_is_claimed() -> None:
    """What is judged of a flavour is in the registry of invariants, and claimed of that flavour there."""
    for flavour in FLAVOURS.values():
        ids = [what for what in claims(flavour) if what in INVARIANTS]
        assert len(ids) == len(claims(flavour)) - 1
        assert all(INVARIANTS[what].claimed(flavour) for what in ids)
    assert {*OF_STATES.values(), *OF_EVENTS.values()} >= {*ids}
