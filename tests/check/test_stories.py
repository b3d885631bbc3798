"""Paths of small worlds told as scenarios: what happens in them is what happened in the world."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.check.counterexample import Counterexample, broken_invariant, falsely_exclusive, wrongly_shared
from mapcount.check.findings import WRONGLY_SHARED, explored, stories
from mapcount.check.reference import KernelFolio, SchemeState, Search, Subject, anonymous, state_after
from mapcount.check.story import Told, Untellable, as_file, as_private_memory, name_of
from mapcount.check.world import REMOVES, Event, World
from mapcount.replay.beside import SchemesBeside
from mapcount.replay.trace import Op
from mapcount.scenario.parse import parse
from mapcount.scenario.run import Run, run
from mapcount.scenario.syntax import Step
from mapcount.schemes.registry import find
from mapcount.schemes.scheme import Scheme
from mapcount.sim.memory import FolioRun
from mapcount.sim.system import System
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, PMD_ORDER, V6_14
from mapcount.tracking.owner_slots import OwnerSlots
from mapcount.tracking.questions import folio_maybe_mapped_shared

BROKEN = Path(__file__).parents[2] / "examples" / "broken"
WORLDS = (
    World(NO_PAGE_MAPCOUNT, 2, 4, 1, pmd=False),
    World(NO_PAGE_MAPCOUNT, 2, 4, 2, pmd=True),
    World(PAGE_MAPCOUNT, 3, 2, 3, pmd=True),
)


class Heard:
    """A watcher that writes down every mapping event of the folio a story is about."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.events: list[tuple[str, bool, int, int, int]] = []
        self._names: dict[int, str] = {}

    def begin(self, step: Step, system: System) -> None:
        """A step begins."""
        self._system = system

    def event(self, folio: FolioRun, what: str, mm_id: int, page: int, nr: int, level: int) -> None:
        """A mapping came or went."""
        self._names |= {p.mm.mm_id: p.name for p in self._system.machine.processes.values()}
        if folio.folio.order == self.order and self._names[mm_id] != "init":
            self.events.append((self._names[mm_id], what == "unmap", level, page, nr))

    def answers(self, folio: FolioRun) -> dict[str, bool]:
        """None."""
        return {}


def heard(world: World, told: Told) -> list[tuple[str, bool, int, int, int]]:
    """The mapping events of a story when it is acted out."""
    listening = Heard((world.pages * told.unit).bit_length() - 1)
    run(parse("\n".join(told.lines) + "\n"), world.flavour, watcher=listening)
    return listening.events


def meant(world: World, path: Sequence[Event], unit: int) -> list[tuple[str, bool, int, int, int]]:
    """The mapping events that a path consists of, in the scenario's numbers."""
    return [
        (
            name_of(event.mm),
            event.op in REMOVES,
            PMD_ORDER if world.level(event.op) else 0,
            event.page * unit,
            event.nr * unit,
        )
        for event in path
    ]


@settings(max_examples=25)
@given(st.sampled_from(WORLDS), st.integers(0, 1 << 30), st.integers(1, 12))
def test_a_file_is_mapped_event_by_event(world: World, seed: int, length: int) -> None:
    """Any path at all can be told with a file, and each of its events is one event of the scenario."""
    rng, tables, path = random.Random(seed), world.nothing, []
    for _ in range(length):
        legal = [e for e in world.events if e.op is not Op.NEW and world.legal(tables, e)]
        path.append(rng.choice(legal))
        tables = world.after(tables, path[-1])
    told = as_file(world, path)
    assert meant(world, path, told.unit) == heard(world, told)
    assert set(told.places) == {name_of(mm) for mm, mine in enumerate(tables, 1) if mine.entries}


@pytest.mark.parametrize("world", [WORLDS[0], World(NO_PAGE_MAPCOUNT, 2, 4)], ids=str)
def test_private_memory_is_mapped_event_by_event(world: World) -> None:
    """What befalls anonymous memory can be told with fork, munmap and exit."""
    search, told_of = Search(world, KernelFolio(world), anonymous), 0
    for number, state in enumerate(search):
        path = search.path_to(state.key)
        if number % 17 == 0 and path:
            told = as_private_memory(world, path)
            assert meant(world, path, told.unit) == heard(world, told)
            told_of += 1
    assert told_of > 10


def _event(op: Op, mm: int, page: int, nr: int) -> Event:
    return Event(op, mm, page, nr)


@pytest.mark.parametrize(
    "path",
    [
        [(Op.MAP_PTES, 1, 0, 1)],
        [(Op.NEW, 1, 0, 4), (Op.DUP_PTES, 2, 0, 1)],
        [(Op.NEW, 1, 0, 4), (Op.UNMAP_PTES, 1, 0, 2), (Op.MAP_PTES, 1, 0, 1)],
        [(Op.NEW, 1, 0, 4), (Op.UNMAP_PTES, 1, 0, 4), (Op.NEW, 2, 0, 4)],
    ],
)
def test_some_paths_are_not_of_private_memory(path: list[tuple[Op, int, int, int]]) -> None:
    """Pages that come one by one, a fork of a part, and a second life are told with a file only."""
    events = [_event(*event) for event in path]
    with pytest.raises(Untellable):
        as_private_memory(WORLDS[0], events)


# -- counterexamples ---------------------------------------------------------------------------------------


def first_mistake(world: World, subject: Subject, *, shared: bool) -> list[Event]:
    """The shortest path to a wrong answer about a folio that is shared, or is not."""
    search = Search(world, subject)
    return next(
        search.path_to(state.key)
        for state in search
        if state.truth.shared is shared
        and subject.maybe_shared(state.counters, state.truth.total) is not shared
    )


def acted(world: World, found: Counterexample | None, scheme: Scheme | None = None) -> Run:
    """The counterexample, acted out; none of its expectations fails."""
    assert found is not None
    flavour = FLAVOURS[world.flavour.name].on(world.flavour.bits)
    result = run(parse(found.text), flavour, watcher=SchemesBeside([scheme]) if scheme else None)
    assert [] == result.failures
    assert result.checked
    return result


def wrong_steps(result: Run, scheme: Scheme | None = None) -> list[int]:
    """Which of the steps in which something happened leave a wrong answer."""
    return [
        number
        for number, step in enumerate(result.acted)
        if any(scheme.name in f.wrong_schemes if scheme else f.wrong for f in step.seen.folios)
    ]


def test_two_slots_forget_the_third() -> None:
    """The shortest way to be wrongly shared is the known one: the process without a slot is left last."""
    world = World(PAGE_MAPCOUNT, 3, 2, pmd=False)
    found = wrongly_shared(world, first_mistake(world, KernelFolio(world), shared=False))
    result = acted(world, found)
    assert found is not None
    assert ["fork B", "fork C", "exit", "exit"] == [
        " ".join(line.split()[1:]) for line in found.text.splitlines()[5:9]
    ]
    assert [len(result.acted) - 1] == wrong_steps(result)
    (folio,) = result.steps[-1].seen.folios
    assert ({"C": 4}, ()) == (dict(folio.owners), folio.slots)


def test_being_wrongly_shared_lasts() -> None:
    """The events with which a mistake lasts can happen where the story ends, and lead back there."""
    world = World(PAGE_MAPCOUNT, 3, 4, pmd=False)
    found = wrongly_shared(world, first_mistake(world, KernelFolio(world), shared=False))
    assert found is not None
    assert found.endless is not None
    begin, again = found.endless
    path, seen = list(found.path), []
    for event in (*begin, *again):
        assert world.legal(world.after_all(path), event)
        path.append(event)
        seen.append(state_after(world, KernelFolio(world), path))
    assert seen[len(begin) - 1].key == seen[-1].key
    assert all(folio_maybe_mapped_shared(one.counters.folio) and not one.truth.shared for one in seen)


def test_two_mappings_do_not_last() -> None:
    """Of a folio of two pages a sole owner without a slot is mistaken for shared no longer than one event."""
    world = World(PAGE_MAPCOUNT, 3, 2, pmd=False)
    found = wrongly_shared(world, first_mistake(world, KernelFolio(world), shared=False))
    assert found is not None
    assert found.endless is None


def test_a_story_of_a_world_without_an_end_is_told_all_the_same() -> None:
    """Of a scheme whose counts only grow it is told how a mistake comes about, but not how long it lasts."""
    scheme = find(f"{BROKEN}/kept_count.py:KeptCount")
    found = explored(World(PAGE_MAPCOUNT, 3, 4), scheme)
    assert not found.exhausted
    told = stories(found, scheme, None)[WRONGLY_SHARED]
    assert told is not None
    assert told.endless is None


def test_mm_ids_as_far_apart_as_they_were() -> None:
    """A scheme that computes with MM ids is found out with processes that do nothing but have one."""
    word = f"{BROKEN.parent}/tutorial/id_sum.py:IdSum"
    scheme, world = find(word), World(NO_PAGE_MAPCOUNT, 3, 4)
    path = first_mistake(world, SchemeState(scheme, world), shared=True)
    found = falsely_exclusive(world, path, scheme, word)
    result = acted(world, found, scheme)
    assert [len(result.acted) - 1] == wrong_steps(result, scheme)


def test_a_slot_overflows_at_real_size() -> None:
    """A scaled-down slot that overflows is told with a folio whose mappings overflow a real one."""
    world = World(NO_PAGE_MAPCOUNT.on(32).scaled(max_slot_mapcount=2), 1, 4, pmd=False)
    found = wrongly_shared(world, first_mistake(world, KernelFolio(world), shared=False))
    assert [len(acted(world, found).acted) - 1] == wrong_steps(acted(world, found))
    assert found is not None
    assert 1 << 14 == found.unit
    assert "# bits: 32" in found.text


def test_before_6_15_both_ways() -> None:
    """Kernels before 6.15 were wrong in both directions, and there is a story of each."""
    world = World(V6_14, 2, 4, 2)
    subject = KernelFolio(world)
    for tell, shared in ((wrongly_shared, False), (falsely_exclusive, True)):
        result = acted(world, tell(world, first_mistake(world, subject, shared=shared)))
        assert [len(result.acted) - 1] == wrong_steps(result)


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("kept_count.py:KeptCount", "A+0,1 B+0,2 B-0,1"),
        ("clears_on_free.py:ClearsOnFree", "A+0,2 B+0,2 C+0,2 A-0,2"),
        ("compares_too_early.py:ComparesTooEarly", "A+0,1 B+0,2 B-0,1"),
    ],
)
def test_broken_schemes_are_found_out(word: str, path: str) -> None:
    """Each broken scheme's shortest counterexample is known, and wrong in its last step and no other."""
    scheme, world = find(f"{BROKEN}/{word}"), World(NO_PAGE_MAPCOUNT, 3, 2)
    found = falsely_exclusive(
        world, first_mistake(world, SchemeState(scheme, world), shared=True), scheme, word
    )
    result = acted(world, found, scheme)
    assert [len(result.acted) - 1] == wrong_steps(result, scheme)
    assert found is not None
    assert path == " ".join(_short(event) for event in found.path)
    assert f"--scheme {word}" in found.text


def _short(event: Event) -> str:
    return f"{name_of(event.mm)}{'-' if event.op in REMOVES else '+'}{event.page},{event.nr}"


def test_a_broken_kernel_rule_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rule of the slots broken, the story of the shortest path shows the invariant breaking."""
    rule = OwnerSlots.add

    def forgetful(self: OwnerSlots, total: int, mm_id: int, n: int) -> None:
        rule(self, total, mm_id, n)
        self.shared = False

    monkeypatch.setattr(OwnerSlots, "add", forgetful)
    world = World(NO_PAGE_MAPCOUNT, 2, 2)
    path = first_mistake(world, KernelFolio(world), shared=True)
    found = broken_invariant(world, path, "never-exclusive-when-shared")
    assert found is not None
    broken = run(parse(found.text), world.flavour).broken
    assert {"never-exclusive-when-shared"} == {invariant.id for _, _, invariant in broken}


def test_what_no_story_shows_is_none() -> None:
    """A path that is not wrong when it is acted out is told to nobody."""
    world = World(NO_PAGE_MAPCOUNT, 2, 4)
    right = [_event(Op.NEW, 1, 0, 4), _event(Op.UNMAP_PMD, 1, 0, 4)]
    assert broken_invariant(world, right, "total-true") is None


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if not line.startswith("#"))


def test_a_story_ends_with_its_expectation() -> None:
    """The last line of a counterexample says what is true, and what is said."""
    world = World(NO_PAGE_MAPCOUNT, 3, 2)
    found = wrongly_shared(world, first_mistake(world, KernelFolio(world), shared=False))
    assert found is not None
    assert "truth=exclusive maybe_shared=yes on=no-page-mapcount" in list(_lines(found.text))[-1]
