"""The machine and its search, against plain recursion and against what memory models are known to allow."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.check.races.catalogue import RACES
from mapcount.check.races.machine import Machine, State
from mapcount.check.races.memory import Load, Note, Protected, Steps, Store, Update, acquire, put
from mapcount.check.races.rules import Rules
from mapcount.check.races.search import Explored, explore

from .naive_races import Access, Outcome, as_program, outcomes

CELLS = ("x", "y")


def _ends(machine: Machine) -> tuple[Explored, set[Outcome]]:
    """What the search counts, and the final values that it saw."""
    found: set[Outcome] = set()

    def at_rest(memory: tuple[int, ...]) -> dict[str, str]:
        found.add(tuple(sorted(zip(machine.cells, memory, strict=True))))
        return {}

    return explore(machine, lambda _: {}, at_rest), found


def _memories(machine: Machine) -> set[tuple[int, ...]]:
    found: set[tuple[int, ...]] = set()

    def always(memory: tuple[int, ...]) -> dict[str, str]:
        found.add(memory)
        return {}

    explore(machine, always, lambda _: {})
    return found


@st.composite
def tiny_programs(draw: st.DrawFn) -> tuple[dict[str, int], list[list[Access]]]:
    """Threads of a few accesses to two cells; every load has a cell for its result."""
    start, programs = dict.fromkeys(CELLS, 0), []
    for thread, most in enumerate(draw(st.sampled_from([(3, 3), (2, 1, 1)]))):
        program = []
        for i in range(draw(st.integers(1, most))):
            kind = draw(st.sampled_from(["load", "store", "add"]))
            access = Access(kind, draw(st.sampled_from(CELLS)), draw(st.integers(1, 2)), f"r{thread}{i}")
            if kind == "load":
                start[access.result] = -1
            program.append(access)
        programs.append(program)
    return start, programs


def _machine(
    start: dict[str, int], programs: list[list[Access]], model: str, *, merge: bool = True
) -> Machine:
    threads = [(f"T{i}", partial(as_program, tuple(p))) for i, p in enumerate(programs)]
    return Machine(start, threads, model, merge=merge)


@settings(max_examples=60)
@given(tiny_programs())
def test_the_search_sees_what_plain_recursion_sees(world: tuple[dict[str, int], list[list[Access]]]) -> None:
    """Final values and the number of interleavings are those of plain recursion, in both memory models."""
    start, programs = world
    for model in ("sc", "tso"):
        naive = outcomes(start, programs, buffered=model == "tso")
        explored, seen = _ends(_machine(start, programs, model))
        assert set(naive) == seen
        assert naive.total() == explored.interleavings


@settings(max_examples=40)
@given(tiny_programs())
def test_store_buffers_allow_whatever_happens_without_them(
    world: tuple[dict[str, int], list[list[Access]]],
) -> None:
    """Every outcome of sequential consistency is one of total store order, too."""
    start, programs = world
    assert _ends(_machine(start, programs, "sc"))[1] <= _ends(_machine(start, programs, "tso"))[1]


def _litmus(model: str, *programs: list[tuple[str, str, int]]) -> set[tuple[int, int]]:
    """The two results that a litmus test can have; `x = 1` is a store, `? x` a load."""
    start = {"x": 0, "y": 0, "r0": -1, "r1": -1}
    results = iter(("r0", "r1"))
    threads = [
        [Access(kind, cell, value, next(results) if kind == "load" else "") for kind, cell, value in program]
        for program in programs
    ]
    _, seen = _ends(_machine(start, threads, model))
    return {(dict(end)["r0"], dict(end)["r1"]) for end in seen}


def test_store_buffering_needs_store_buffers() -> None:
    """Two threads that each store and then read the other's cell both read 0 only with store buffers."""
    programs = [("store", "x", 1), ("load", "y", 0)], [("store", "y", 1), ("load", "x", 0)]
    assert {(0, 1), (1, 0), (1, 1)} == _litmus("sc", *programs)
    assert {(0, 0), (0, 1), (1, 0), (1, 1)} == _litmus("tso", *programs)


def test_an_atomic_update_is_a_barrier() -> None:
    """With atomic updates in place of the stores, total store order forbids reading 0 twice."""
    programs = [("add", "x", 1), ("load", "y", 0)], [("add", "y", 1), ("load", "x", 0)]
    assert {(0, 1), (1, 0), (1, 1)} == _litmus("tso", *programs)


def test_stores_arrive_in_order() -> None:
    """Whoever sees the second of two stores sees the first (message passing), also with store buffers."""
    programs = [("store", "x", 1), ("store", "y", 1)], [("load", "y", 0), ("load", "x", 0)]
    assert {(0, 0), (0, 1), (1, 1)} == _litmus("tso", *programs)


def _take_both(first: str, second: str) -> Steps[None]:
    yield Update(first, acquire(), f"take {first}")
    yield Update(second, acquire(), f"take {second}")
    yield Store(second, 0, f"release {second}")
    yield Store(first, 0, f"release {first}")


def test_threads_that_wait_for_each_other_are_found() -> None:
    """Two locks taken in opposite orders are a deadlock, found after the two steps that it takes."""
    both = [("T0", partial(_take_both, "a", "b")), ("T1", partial(_take_both, "b", "a"))]
    explored = explore(Machine({"a": 0, "b": 0}, both), lambda _: {}, lambda _: {})
    (broken,) = explored.broken
    assert "lock" == broken.property
    assert "T0 waits for ever to take b; T1 waits for ever to take a" == broken.message
    assert 2 == len(broken.moves)


def test_the_same_order_of_locks_is_no_deadlock() -> None:
    """Taken in one order, two locks leave no thread waiting."""
    both = [("T0", partial(_take_both, "a", "b")), ("T1", partial(_take_both, "a", "b"))]
    assert () == explore(Machine({"a": 0, "b": 0}, both), lambda _: {}, lambda _: {}).broken


@pytest.mark.parametrize("name", ["exit", "swap-in", "gup-fast", "pin-fork", "pmd-exit"])
def test_merged_histories_hide_nothing(name: str) -> None:
    """Places that are told apart by all results so far reach the same memory as merged ones."""
    race = RACES[name]
    merged, apart = (race.machine(Rules(), merge=merge) for merge in (True, False))
    assert _memories(apart) == _memories(merged)


def test_the_first_broken_state_is_a_nearest_one() -> None:
    """No interleaving that is shorter than the one found leads to a broken state."""

    def count(times: int) -> Steps[None]:
        for _ in range(times):
            yield Update("n", lambda n: n + 1, "count")

    machine = Machine({"n": 0}, [("T0", partial(count, 3)), ("T1", partial(count, 3))])
    explored = explore(machine, lambda m: {"few": "four"} if m[0] >= 4 else {}, lambda _: {})
    (broken,) = explored.broken
    assert 4 == len(broken.moves)
    assert (20, 6) == (explored.interleavings, explored.depth)


def test_a_bound_proves_nothing() -> None:
    """A search that stops at its bound says that it is not exhausted."""
    machine = RACES["exit"].machine(Rules())
    assert not explore(machine, lambda _: {}, lambda _: {}, most_states=50).exhausted


def test_a_program_begins_with_a_step() -> None:
    """What happens together with the step before it cannot be first."""

    def quiet() -> Steps[None]:
        yield Protected(("x",))

    with pytest.raises(ValueError, match="no step of its own"):
        Machine({"x": 0}, [("T", quiet)])


def test_a_note_is_seen_at_once() -> None:
    """With store buffers, too, what is noted is in memory when the step before it is over."""

    def noting() -> Steps[None]:
        seen = yield Load("x", "x?")
        yield Note("noted", put(seen + 1))

    machine = Machine({"x": 0, "noted": 0}, [("T", noting)], "tso")
    ((_, after),) = machine.moves(machine.start)
    assert isinstance(after, State)
    assert (0, 1) == after.memory


def test_memory_models_are_named() -> None:
    """Another memory model is refused, with those there are."""
    with pytest.raises(ValueError, match="sc, tso"):
        Machine({"x": 0}, [], "arm")
