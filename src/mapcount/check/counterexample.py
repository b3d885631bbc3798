"""A path that a check found, as a scenario that shows what is wrong: acted out before it is handed on.

Every story ends with an `expect` that pins the truth, and what the kernel says of it. It is told in the way
that reads best of those that really show it: a parent and its children, else a file that all of them map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mapcount.check.reference import KernelFolio, Move, SchemeState, Search, State, Subject
from mapcount.check.story import Told, Untellable, as_file, as_private_memory
from mapcount.check.world import COUNTS_LIKE, REMOVES, Event, Tables, World
from mapcount.replay.beside import SchemesBeside
from mapcount.scenario.observation import FolioSeen
from mapcount.scenario.parse import parse
from mapcount.scenario.run import Run, run
from mapcount.scenario.syntax import ScenarioError
from mapcount.schemes.scheme import Scheme
from mapcount.tracking.flavour import FLAVOURS, Flavour

Shows = Callable[[Run], bool]
"""Does a run of the story end in what was found?"""
MOST_UNIT = 1 << 16


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A scenario, as text, and the path that it tells."""

    text: str
    world: World
    """Where the path leads: that which was explored, without PMDs if there is none on the path."""
    path: tuple[Event, ...]
    unit: int
    """Pages of the scenario for each page of the world."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a story is to show: in words, whether the folio is shared in the end, and does a run show it?"""

    title: str
    truth: str | None
    shows: Shows


def real(flavour: Flavour) -> Flavour:
    """The flavour that a scaled one was made of."""
    return FLAVOURS[flavour.name].on(flavour.bits)


def last_folio(acted: Run) -> FolioSeen | None:
    """The largest folio there is at the end of a run, if any is mapped."""
    mapped = [folio for folio in acted.steps[-1].seen.folios if folio.truth != "unmapped"]
    return max(mapped, key=lambda folio: folio.order, default=None)


def wrongly_shared(
    world: World, path: Sequence[Event], scheme: Scheme | None = None, word: str | None = None
) -> Counterexample | None:
    """The way to a folio that one process maps and that is called shared. None if no story shows it.

    `word` is how the scheme is called on a command line.
    """
    title = f"{_who(world, scheme)} calls this folio shared, though one process alone maps it."
    found = _Found(title, "exclusive", lambda acted: _answer(acted, scheme, "exclusive"))
    return _told(world, path, scheme, word, found)


def falsely_exclusive(
    world: World, path: Sequence[Event], scheme: Scheme | None = None, word: str | None = None
) -> Counterexample | None:
    """The way to a folio that two processes map and that is called exclusive, in the same manner."""
    title = f"{_who(world, scheme)} calls this folio exclusive, though several processes map it."
    found = _Found(title, "shared", lambda acted: _answer(acted, scheme, "shared"))
    return _told(world, path, scheme, word, found)


def broken_invariant(world: World, path: Sequence[Event], id_: str) -> Counterexample | None:
    """The way to a state that breaks an invariant of the kernel's own rules. None if no story shows it."""
    title = f'{_who(world, None)} breaks "{id_}" with the last event of this story.'
    found = _Found(title, None, lambda acted: id_ in {i.id for _, _, i in acted.broken})
    return _told(world, path, None, None, found)


def _who(world: World, scheme: Scheme | None) -> str:
    return scheme.name if scheme else str(real(world.flavour))


def _answer(acted: Run, scheme: Scheme | None, truth: str) -> bool:
    """Is the last answer wrong about a folio of which that is true?"""
    folio = last_folio(acted)
    if folio is None or folio.truth != truth:
        return False
    return scheme.name in folio.wrong_schemes if scheme else folio.wrong


def _told(
    world: World, path: Sequence[Event], scheme: Scheme | None, word: str | None, found: _Found
) -> Counterexample | None:
    if not any(world.level(event.op) for event in path):
        world = replace(world, pmd=False)  # it is a path of that world too, which needs no folio of 2 MiB
    if found.truth is not None:
        path = _by_fork_and_exit(world, path, scheme, found.truth)
    for told in _tellings(world, path):
        text = _text(world, told, scheme, word, found)
        try:
            acted = run(parse(text, "counterexample.scn"), real(world.flavour), watcher=_watcher(scheme))
        except ScenarioError:
            continue
        if not acted.failures and found.shows(acted):
            return Counterexample(text, world, tuple(path), told.unit)
    return None


def _watcher(scheme: Scheme | None) -> SchemesBeside | None:
    return SchemesBeside([scheme]) if scheme else None


def _tellings(world: World, path: Sequence[Event]) -> Iterator[Told]:
    """The ways of telling a path, the one that reads best first."""
    widest, cap = real(world.flavour).max_slot_mapcount, world.flavour.max_slot_mapcount
    unit = widest // cap
    if 1 < unit <= MOST_UNIT and not world.pmd:
        yield as_file(world, path, unit)
        return
    with suppress(Untellable):
        yield as_private_memory(world, path)
    yield as_file(world, path)


def _text(world: World, told: Told, scheme: Scheme | None, word: str | None, found: _Found) -> str:
    flavour, truth = real(world.flavour), found.truth
    option = f" --scheme {word or scheme.name}" if scheme else ""
    lines = [
        f"# {found.title}",
        f"# Found by mapcount check; mapcount run --flavour {flavour.name}{option} shows it.",
    ]
    if told.unit > 1:
        lines.append(f"# A page of the world that was explored is {told.unit} pages here.")
    if flavour.bits == 32:
        lines.append("# bits: 32")
    lines += told.lines
    if truth is not None and told.places:
        process, place = next(reversed(told.places.items()))
        answer = {"exclusive": "yes", "shared": "no"}[truth]
        demand = f"truth={truth}" if scheme else f"truth={truth} maybe_shared={answer} on={flavour.name}"
        lines.append(f"{process} expect {place} {demand}")
    return "\n".join(lines) + "\n"


# -- the way that reads best -------------------------------------------------------------------------------


def _by_fork_and_exit(
    world: World, path: Sequence[Event], scheme: Scheme | None, truth: str
) -> tuple[Event, ...]:
    """A path of forks and exits alone to the same verdict, if there is one that is no longer."""
    subject: Subject = SchemeState(scheme, world) if scheme else KernelFolio(world)
    search = Search(world, subject, _forks_and_exits)
    for state in search:
        if state.depth > len(path):
            break
        if state.truth.word == truth and _wrong(subject, state):
            return tuple(search.path_to(state.key))
    return tuple(path)


def _wrong(subject: Subject, state: State) -> bool:
    return subject.maybe_shared(state.counters, state.truth.total) != state.truth.shared


def _forks_and_exits(world: World, tables: Tables) -> Iterator[Move]:
    """The first mm maps the folio, others are born, each goes once and for all."""
    for event in world.events:
        whole = event.nr == world.pages and (event.op in REMOVES or not tables[event.mm - 1].entries)
        if whole and event.op not in COUNTS_LIKE.values() and world.legal(tables, event):
            yield (event,)
