"""The kernel's rules of order hold in every race, and each of them is needed."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.check.races import folio as cells
from mapcount.check.races.acts import PROGRAMS
from mapcount.check.races.catalogue import RACES
from mapcount.check.races.choose import FLAVOURS, choose, explore_races, rules_of
from mapcount.check.races.compose import RaceError, pairs, parse, triples
from mapcount.check.races.folio import FolioOps
from mapcount.check.races.interleaving import breaks, replay
from mapcount.check.races.machine import Machine
from mapcount.check.races.mutations import MUTATIONS, Mutation
from mapcount.check.races.properties import PROPERTIES, Judgement
from mapcount.check.races.rules import Rules
from mapcount.check.races.search import explore
from mapcount.check.races.start import Start
from mapcount.check.races.tables import BY_PTES, NONE, READ, WRITE
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT
from mapcount.tracking.owner_slots import OwnerSlots


@pytest.mark.parametrize("memory_model", ["sc", "tso"])
@pytest.mark.parametrize("name", RACES)
def test_every_race_with_a_story_passes(name: str, memory_model: str) -> None:
    """Under the true rules every property holds in every interleaving, on both kernels."""
    for flavour in FLAVOURS if memory_model == "sc" else FLAVOURS[:1]:
        explored = RACES[name].explore(rules_of(flavour, None), memory_model)
        assert explored.exhausted
        assert () == explored.broken


def test_every_pair_of_programs_passes() -> None:
    """Every two programs, in two processes and in one, keep every property."""
    found = list(explore_races(choose("pairs"), PAGE_MAPCOUNT, "sc"))
    assert [] == [(r.race.name, r.explored.broken) for r in found if r.explored.broken]


def test_some_triples_pass() -> None:
    """A write fault beside two programs keeps every property: each fortieth of these races."""
    for race in list(triples())[::40]:
        assert () == race.explore(Rules()).broken, race.name


def test_every_program_meets_every_other() -> None:
    """Pairs leave out no two programs, but for two migrations to the same new folio."""
    met = {frozenset(thread.does for thread in race.threads) for race in pairs()}
    assert {frozenset(["migrate-in"])} == {frozenset((a, b)) for a in PROGRAMS for b in PROGRAMS} - met


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_each_broken_rule_is_caught(mutation: Mutation) -> None:
    """A broken rule breaks the property it is there for in its race, and the steps shown lead there."""
    race, rules = RACES[mutation.race], mutation.of(Rules())
    explored = race.explore(rules, mutation.memory_model, stop_at=[mutation.property])
    (broken,) = (b for b in explored.broken if b.property == mutation.property)
    machine, judge = race.machine(rules, mutation.memory_model), Judgement(race.start)
    is_broken = breaks(mutation.property, machine, judge.always, judge.at_rest)
    done = replay(machine, broken.moves)
    assert done is not None
    assert is_broken(done[0])
    lines = race.retell(broken, rules, mutation.memory_model)
    assert len(broken.moves) == len(lines)
    assert _switches([move.thread for move in broken.moves]) >= _switches([line.thread for line in lines])
    assert all(line.label for line in lines)


def _switches(threads: list[int]) -> int:
    return sum(a != b for a, b in pairwise(threads))


def test_each_rule_has_a_mutation() -> None:
    """There is no rule that nobody has tried to break, but for the one in which kernels differ."""
    assert {f.name for f in fields(Rules)} - {"entire_before_total"} == {m.rule for m in MUTATIONS.values()}


def test_a_plain_store_is_safe_without_store_buffers() -> None:
    """That a PTE is cleared by an atomic exchange matters with store buffers only."""
    mutation = MUTATIONS["plain-clear"]
    assert () == RACES[mutation.race].explore(mutation.of(Rules()), "sc").broken


def test_the_early_assertion_fails_on_one_kernel_only() -> None:
    """Where the entire mapcount is lowered first, a decision that sees a clear flag sees no PMD either."""
    mutation = MUTATIONS["early-assertion"]
    found = {
        flavour.name: bool(RACES["pmd-exit"].explore(rules_of(flavour, mutation)).broken)
        for flavour in FLAVOURS
    }
    assert {PAGE_MAPCOUNT.name: True, NO_PAGE_MAPCOUNT.name: False} == found


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(-2, 2)), max_size=12))
def test_one_thread_counts_like_the_core(events: list[tuple[int, int]]) -> None:
    """Alone, adding and removing store by store is what `OwnerSlots` does at once."""
    slots, total, mine = OwnerSlots(NO_PAGE_MAPCOUNT), 0, dict.fromkeys((1, 2, 3), 0)
    values = Start({"A": ".."}).values()
    for mm_id, n in events:
        if n == 0 or mine[mm_id] + n < 0:
            continue
        mine[mm_id] += n
        total += n
        (slots.add if n > 0 else slots.remove)(total, mm_id, abs(n))
        folio = FolioOps(2, Rules())
        change = folio.add_mappings if n > 0 else folio.remove_mappings
        values = _alone(values, partial(change, mm_id, abs(n), "A"))
        word = values[cells.MM_IDS]
        assert [slots.mm_id(0), slots.mm_id(1)] == [cells.mm_id(word, 0), cells.mm_id(word, 1)]
        assert slots.mm_id_mapcount == [values[slot] for slot in cells.SLOTS]
        assert (slots.shared, False) == (bool(word & cells.SHARED), bool(word & cells.LOCK))
        assert total == values[cells.TOTAL]


def _alone(values: dict[str, int], program: Callable) -> dict[str, int]:
    machine = Machine(values, [("A", program)])
    state = machine.start
    while not machine.finished(state):
        ((_, state),) = machine.moves(state)
    return dict(zip(machine.cells, state.memory, strict=True))


CORRUPT = {
    "reuse": {"A PTE 0": WRITE},
    "question": {"mm_ids": (1 << 2) + (2 << 5)},
    "assertions": {"warned": 1},
    "bounds": {"refcount": 3},
    "pins": {"A pins page 0": 1, "refcount": 5, "pins": 1},
}
"""By property, what in a folio that A and B map breaks it alone."""


@pytest.mark.parametrize("name", CORRUPT)
def test_each_property_sees_its_specimen(name: str) -> None:
    """What is wrong in one way breaks one property, and no other."""
    start = Start({"A": "rr", "B": "rr"})
    judge = Judgement(start)
    assert {} == judge.always(tuple(start.values().values()))
    assert {name} == set(judge.always(tuple((start.values() | CORRUPT[name]).values())))


def test_a_reuse_in_the_swap_cache_is_no_assertion() -> None:
    """What the kernel does not assert, that nothing is reused in the swap cache, is the property `reuse`."""
    start = Start({"A": "rr", "B": "rr"})
    broken = Judgement(start).always(tuple((start.values() | {"warned": cells.IN_SWAP_CACHE}).values()))
    assert {"reuse": cells.WARNINGS[cells.IN_SWAP_CACHE]} == broken


def test_the_rest_is_the_core_invariants() -> None:
    """When all is done the registry of the core judges, and a lock that is held is no rest."""
    start = Start({"A": "rr", "B": "rr"})
    judge, values = Judgement(start), start.values()
    assert {} == judge.at_rest(tuple(values.values()))
    assert {"rest": "broken: references-true"} == judge.at_rest(tuple((values | {"refcount": 6}).values()))
    assert {"rest": "a lock is held"} == judge.at_rest(tuple((values | {"folio lock": 1}).values()))


def test_properties_without_specimen_are_tested_by_searches() -> None:
    """`lock` is broken by threads that wait, `rest` by the test above; every other has its specimen."""
    assert set(PROPERTIES) - {"lock", "rest"} == set(CORRUPT)


def test_a_start_is_counted_by_the_core() -> None:
    """Slots, total and references at the start are those of the same mappings in the core."""
    values = Start({"A": "rr", "B": "R"}, holds=("C0",), swap_cache=True).values()
    assert (3, 6, 1) == (values["total"], values["refcount"], values["entire"])
    assert (2, 1) == (values["slot 0"], values["slot 1"])
    assert values["mm_ids"] & cells.SHARED
    assert (READ, BY_PTES, NONE) == (values["B PMD"], values["A PMD"], values["B PTE 0"])


def test_races_are_put_together_by_name() -> None:
    """`A:write-fault,B:unmap` is the race `exit`, and so explores as many states."""
    composed, story = parse("A:write-fault,B:unmap"), RACES["exit"]
    assert story.start.values() == composed.start.values()
    assert story.explore(Rules()).states == composed.explore(Rules()).states


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(["A", "A2", "B", "K"]), st.sampled_from(list(PROGRAMS))), max_size=4)
)
def test_whatever_can_be_put_together_begins_well(parts: list[tuple[str, str]]) -> None:
    """Any threads at any places are refused, or make a race that begins with nothing broken."""
    try:
        race = parse(",".join(f"{place}:{name}" for place, name in parts))
    except RaceError:
        return
    assert {} == Judgement(race.start).always(race.machine(Rules()).start.memory)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A:sleep", "no program 'sleep'"),
        ("X:unmap", "PLACE:PROGRAM"),
        ("K:unmap", "needs a table"),
        ("A:page-out", "no table is its own"),
        (",".join(["A:unmap"] * 5), "1 to 4 threads"),
        ("A:pin,B:unmap-pmd", "by a PMD"),
        ("A:pin,B:pin,C:pin", "exclusive to both"),
        ("A:pin,B:let-go", "no other holds"),
        ("A:unmap,A2:unmap-pmd", "mapped once by an mm"),
        ("A:migrate-in,B:migrate-in", "one migration only"),
    ],
)
def test_what_cannot_be_put_together_is_refused(text: str, says: str) -> None:
    """A mistake in a race is named, with what would be right."""
    with pytest.raises(RaceError, match=says):
        parse(text)


def test_an_unknown_race_is_told_its_neighbour() -> None:
    """A misspelt name is answered with the nearest one."""
    with pytest.raises(RaceError, match="did you mean 'swap-in'"):
        choose("swapin")


def test_all_is_every_group() -> None:
    """`all` are the stories, the pairs and the triples, each race once."""
    chosen = choose("all")
    assert {"stories", "pairs", "triples"} == {one.group for one in chosen}
    assert len({one.race.name for one in chosen}) == len(chosen)


def test_a_search_can_stop_at_what_it_looks_for() -> None:
    """With `stop_at` the rest of the states is left alone."""
    mutation = MUTATIONS["no-recheck"]
    machine, judge = RACES["swap-in"].machine(mutation.of(Rules())), Judgement(RACES["swap-in"].start)
    some = explore(machine, judge.always, judge.at_rest, stop_at=["reuse"])
    every = explore(machine, judge.always, judge.at_rest)
    assert some.states < every.states
    assert some.broken[0].moves == every.broken[0].moves
