"""A path that a check found, as a scenario that shows what is wrong: acted out before it is handed on.

Every story ends with an `expect` that pins what was found. It is told in the way that reads best of those
that really show it: a parent and its children, else a file that all of them map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mapcount.check.reference import KernelFolio, Move, SchemeState, Search, Subject, endless
from mapcount.check.story import Told, Untellable, as_file, as_private_memory
from mapcount.check.world import COUNTS_LIKE, REMOVES, Event, Tables, World
from mapcount.replay.beside import SchemesBeside
from mapcount.scenario.observation import FolioSeen
from mapcount.scenario.parse import parse
from mapcount.scenario.run import Run, run
from mapcount.scenario.syntax import ScenarioError
from mapcount.schemes.scheme import Scheme
from mapcount.tracking.flavour import FLAVOURS, Flavour

MOST_UNIT = 1 << 16
"""Pages of a scenario for each page of a world, at most."""
ANSWERS = {"exclusive": "yes", "shared": "no"}
"""The wrong answer to "maybe shared?", by what is true."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A scenario, as text, and the path that it tells."""

    text: str
    world: World
    """Where the path leads: that which was explored, without PMDs if there is none on the path."""
    path: tuple[Event, ...]
    unit: int
    """Pages of the scenario for each page of the world."""
    endless: tuple[Move, Move] | None = None
    """How what is wrongly shared can remain so for any number of events (`reference.endless`)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a story is to show."""

    title: str
    """In words."""
    ends: Callable[[Told], Sequence[str]]
    """The lines that the story ends with: what is expected of the folio then."""
    shows: Callable[[Run], bool] = lambda acted: True
    """Does a run whose expectations all hold show it?"""


def wrongly_shared(
    world: World,
    path: Sequence[Event],
    scheme: Scheme | None = None,
    word: str | None = None,
    *,
    finite: bool = True,
) -> Counterexample | None:
    """The way to a folio that one process maps and that is called shared. None if no story shows it.

    `word` is how the scheme is called on a command line. How long it lasts is found out in a world that is
    known to be `finite`: the states of a scheme whose counts only grow have no end.
    """
    title = f"{_who(world, scheme)} calls this folio shared, though one process alone maps it."
    story = _wrong_answer(world, path, scheme, word, title, "exclusive")
    if story is None or not finite:
        return story
    return replace(story, endless=endless(story.world, _subject(story.world, scheme), story.path))


def falsely_exclusive(
    world: World, path: Sequence[Event], scheme: Scheme | None = None, word: str | None = None
) -> Counterexample | None:
    """The way to a folio that two processes map and that is called exclusive, in the same manner."""
    title = f"{_who(world, scheme)} calls this folio exclusive, though several processes map it."
    return _wrong_answer(world, path, scheme, word, title, "shared")


def broken_invariant(world: World, path: Sequence[Event], id_: str) -> Counterexample | None:
    """The way to a state that breaks an invariant of the kernel's own rules. None if no story shows it."""
    title = f'{_who(world, None)} breaks "{id_}" with the last event of this story.'
    shows = Finding(title, lambda told: (), lambda acted: id_ in {i.id for _, _, i in acted.broken})
    return tell(world, path, shows)


def tell(
    world: World,
    path: Sequence[Event],
    finding: Finding,
    *,
    flavours: Sequence[Flavour] | None = None,
    scheme: Scheme | None = None,
    word: str | None = None,
) -> Counterexample | None:
    """A path as the scenario that shows a finding, on all of `flavours` (else the world's), if one does."""
    world = plainest(world, path)
    on = [real(flavour) for flavour in flavours or [world.flavour]]
    for told in _tellings(world, path):
        options = f" --scheme {word or scheme.name}" if scheme else ""
        options += f" --flavour {','.join(flavour.name for flavour in on)}"
        text = _text(told, finding, options, on[0].bits)
        if all(_acted(text, flavour, finding, scheme) for flavour in on):
            return Counterexample(text, world, tuple(path), told.unit)
    return None


def plainest(world: World, path: Sequence[Event]) -> World:
    """The world, without PMDs if the path has none: it leads to the same, and needs no folio of 2 MiB."""
    return world if any(world.level(event.op) for event in path) else replace(world, pmd=False)


def real(flavour: Flavour) -> Flavour:
    """The flavour that a scaled one was made of."""
    return FLAVOURS[flavour.name].on(flavour.bits)


def _who(world: World, scheme: Scheme | None) -> str:
    return scheme.name if scheme else str(real(world.flavour))


def _wrong_answer(
    world: World, path: Sequence[Event], scheme: Scheme | None, word: str | None, title: str, truth: str
) -> Counterexample | None:
    said = "" if scheme else f" maybe_shared={ANSWERS[truth]} on={world.flavour.name}"

    def ends(told: Told) -> Sequence[str]:
        process, place = next(reversed(told.places.items()))
        return (f"{process} expect {place} truth={truth}{said}",)

    def shows(acted: Run) -> bool:
        folio = _last_folio(acted)
        return folio is not None and (scheme.name in folio.wrong_schemes if scheme else folio.wrong)

    world = plainest(world, path)
    path = by_fork_and_exit(world, path, scheme, truth)
    return tell(world, path, Finding(title, ends, shows), scheme=scheme, word=word)


def _last_folio(acted: Run) -> FolioSeen | None:
    """The largest folio that is mapped at the end of a run."""
    mapped = [folio for folio in acted.steps[-1].seen.folios if folio.truth != "unmapped"]
    return max(mapped, key=lambda folio: folio.order, default=None)


def _acted(text: str, flavour: Flavour, finding: Finding, scheme: Scheme | None) -> bool:
    """Can the story be acted out, and does it show what it is to show?"""
    watcher = SchemesBeside([scheme]) if scheme else None
    try:
        acted = run(parse(text, "counterexample.scn"), flavour, watcher=watcher)
    except ScenarioError:
        return False
    return not acted.failures and finding.shows(acted)


def _tellings(world: World, path: Sequence[Event]) -> Iterator[Told]:
    """The ways of telling a path, the one that reads best first."""
    cap = world.flavour.max_slot_mapcount
    unit = real(world.flavour).max_slot_mapcount // cap
    if unit > 1:
        if unit <= MOST_UNIT and not world.pmd:
            yield as_file(world, path, unit)
        return
    with suppress(Untellable):
        yield as_private_memory(world, path)
    yield as_file(world, path)
    yield as_file(world, path, everybody=True)


def _text(told: Told, finding: Finding, options: str, bits: int) -> str:
    lines = [
        f"# {finding.title}",
        "# Found by mapcount check. To see it:",
        f"#   mapcount run{options} FILE.scn",
    ]
    if told.unit > 1:
        lines.append(f"# A page of the world that was explored is {told.unit} pages here.")
    if bits == 32:
        lines.append("# bits: 32")
    return "\n".join([*lines, *told.lines, *finding.ends(told)]) + "\n"


def _subject(world: World, scheme: Scheme | None) -> Subject:
    return SchemeState(scheme, world) if scheme else KernelFolio(world)


# -- the way that reads best -------------------------------------------------------------------------------


def by_fork_and_exit(
    world: World, path: Sequence[Event], scheme: Scheme | None, truth: str
) -> tuple[Event, ...]:
    """A path of forks and exits alone that ends in a wrong answer, about a folio of which `truth` is true.

    The path itself if there is none that is no longer.
    """
    subject = _subject(world, scheme)
    search = Search(world, subject, _forks_and_exits)
    for state in search:
        if state.depth > len(path):
            break
        maybe = subject.maybe_shared(state.counters, state.truth.total)
        if state.truth.word == truth and maybe != state.truth.shared:
            return tuple(search.path_to(state.key))
    return tuple(path)


def _forks_and_exits(world: World, tables: Tables) -> Iterator[Move]:
    """The first mm maps the folio, others are born, each goes once and for all."""
    for event in world.events:
        whole = event.nr == world.pages and (event.op in REMOVES or not tables[event.mm - 1].entries)
        if whole and event.op not in COUNTS_LIKE.values() and world.legal(tables, event):
            yield (event,)
