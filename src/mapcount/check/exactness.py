"""Which question does each flavour answer exactly, conservatively or wrongly, and in which small worlds?

Every question of `questions.py` is put to all flavours side by side, in every reachable state of a few
small worlds. Where an answer is mistaken, the shortest way to a mistake of that kind is kept; and where two
flavours answer differently, how soon they can. All of it is computed by the plain explorer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product

from mapcount.check.questions import QUESTIONS, Answer, Number, Question, Side
from mapcount.check.reference import Kept, KernelFolio, Search, anonymous, every_event
from mapcount.check.world import Event, World
from mapcount.tracking.flavour import FLAVOURS, Flavour
from mapcount.tracking.truth import Truth

PAGES = 2
"""Of each world's folio: enough for some pages to be mapped and others not, and quick to explore."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A column of the table: a few worlds, the same for all flavours but for the counters."""

    id: str
    words: str
    mms: int
    max_maps: int = 1
    slot_holds: int | None = None
    """On 32 bits: what one slot can count. None: on 64 bits."""

    @property
    def anonymous(self) -> bool:
        """Can anonymous memory be mapped like that? Once per mm, and its folios are too small to overflow."""
        return self.max_maps == 1 and self.slot_holds is None

    def world(self, flavour: Flavour, *, pmd: bool, pages: int = PAGES) -> World:
        """The world of a flavour."""
        if self.slot_holds is not None:
            flavour = flavour.on(32).scaled(
                max_slot_mapcount=self.slot_holds if flavour.owner_slots else None
            )
        return World(flavour, self.mms, pages, self.max_maps, pmd)


SETTINGS = (
    Setting("one", "one process, one VMA", 1),
    Setting("two-vmas", "one process, two VMAs", 1, max_maps=2),
    Setting("two", "two processes", 2),
    Setting("three", "three processes", 3),
    Setting("overflow", "one process, a 32-bit slot overflows", 1, slot_holds=1),
)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A state in which an answer is mistaken, and a shortest way there."""

    world: World
    path: tuple[Event, ...]
    answer: Answer


@dataclass(frozen=True, slots=True)
class Cell:
    """How one flavour answers one question in one setting."""

    question: Question
    flavour: Flavour
    setting: Setting
    asked: int
    """Answers that were compared with the truth, in the world with PMDs. 0: the question does not arise."""
    mistaken: int
    """How many of them were not right."""
    mistakes: dict[Side, Mistake]
    """The first of each kind: by the fewest events, and without PMDs if there is one without."""
    pmds_only: frozenset[Side]
    """Kinds of mistakes that are made only where there are PMDs."""

    @property
    def exact(self) -> bool:
        """Is it never mistaken?"""
        return not self.mistakes

    @property
    def conservative(self) -> bool:
        """Is it mistaken, but only where that is harmless?"""
        return not self.exact and set(self.mistakes) == {self.question.harmless}


@dataclass(frozen=True, slots=True)
class Table:
    """All of it."""

    cells: tuple[Cell, ...]
    """By question, then flavour, then setting."""
    parting: Mapping[tuple[str, str, str], int]
    """By question and two flavours that answer it differently somewhere: after how few events they do."""


def table(settings: Iterable[Setting] = SETTINGS, pages: int = PAGES) -> Table:
    """Put every question to every flavour in every state of these worlds."""
    settings, found, parting = list(settings), dict[tuple[str, str, str], Cell](), _Parting()
    for setting in settings:
        for private in (False, True):
            asked = [one for one in QUESTIONS.values() if one.anonymous is private]
            for cell in _cells(asked, setting, pages, parting, private=private):
                found[cell.question.id, cell.flavour.name, setting.id] = cell
    places = product(QUESTIONS, FLAVOURS, (setting.id for setting in settings))
    return Table(tuple(found[place] for place in places), parting)


class _Parting(dict[tuple[str, str, str], int]):
    """Where flavours give different answers, the nearest place first."""

    def hear(self, id_: str, said: Sequence[tuple[str, Number]], depth: int) -> None:
        """These flavours say so, after so many events."""
        for (a, one), (b, other) in combinations(said, 2):
            if one != other:
                self[id_, a, b] = min(depth, self.get((id_, a, b), depth))


def _cells(
    asked: list[Question], setting: Setting, pages: int, parting: _Parting, *, private: bool
) -> Iterator[Cell]:
    if private and not setting.anonymous:
        for one, flavour in product(asked, FLAVOURS.values()):
            yield Cell(one, flavour, setting, 0, 0, {}, frozenset())
        return
    by_ptes, by_both = (
        _ask(asked, setting, pages, parting, private=private, pmd=pmd) for pmd in (False, True)
    )
    for (one, flavour), few, all_ in zip(product(asked, FLAVOURS.values()), by_ptes, by_both, strict=True):
        mistakes = {**all_.mistakes, **few.mistakes}
        only = frozenset(all_.mistakes) - frozenset(few.mistakes)
        yield Cell(one, flavour, setting, all_.asked, all_.mistaken, mistakes, only)


@dataclass(slots=True)
class _Heard:
    """How often a question was asked of a flavour in a world, and the first mistake of each kind."""

    asked: int = 0
    mistaken: int = 0
    mistakes: dict[Side, Mistake] = field(default_factory=dict)


class _Kernels:
    """A folio as each flavour counts it, all told of the same events."""

    def __init__(self, worlds: Sequence[World], *, private: bool) -> None:
        self._each = [KernelFolio(world, anonymous=private) for world in worlds]

    def start(self) -> tuple[Kept, ...]:
        """New folios."""
        return tuple(one.start() for one in self._each)

    def step(self, counters: tuple[Kept, ...], event: Event, total: int) -> tuple[Kept, ...]:
        """After an event."""
        return tuple(one.step(kept, event, total) for one, kept in zip(self._each, counters, strict=True))

    def key(self, counters: tuple[Kept, ...]) -> Hashable:
        """All counters of all of them."""
        return tuple(one.key(kept) for one, kept in zip(self._each, counters, strict=True))

    def maybe_shared(self, counters: tuple[Kept, ...], total: int) -> bool:
        """As the last one says."""
        return self._each[-1].maybe_shared(counters[-1], total)

    def broken(self, counters: tuple[Kept, ...], truth: Truth) -> list[str]:
        """By any of them."""
        pairs = zip(self._each, counters, strict=True)
        return [id_ for one, kept in pairs for id_ in one.broken(kept, truth)]


def _ask(
    asked: list[Question], setting: Setting, pages: int, parting: _Parting, *, private: bool, pmd: bool
) -> list[_Heard]:
    """By question, then flavour."""
    worlds = [setting.world(flavour, pmd=pmd, pages=pages) for flavour in FLAVOURS.values()]
    heard = [_Heard() for _ in product(asked, worlds)]
    search = Search(worlds[-1], _Kernels(worlds, private=private), anonymous if private else every_event)
    for state in search:
        seen = [replace(state, counters=kept) for kept in state.counters]
        for number, one in enumerate(asked):
            mine = heard[number * len(worlds) : (number + 1) * len(worlds)]
            answers = zip(
                *(one.answers(world, s) for world, s in zip(worlds, seen, strict=True)), strict=True
            )
            for of_each in answers:
                parting.hear(
                    one.id, [(n, a.said) for n, a in zip(FLAVOURS, of_each, strict=True)], state.depth
                )
                for so_far, world, answer in zip(mine, worlds, of_each, strict=True):
                    so_far.asked += 1
                    if answer.said != answer.true:
                        so_far.mistaken += 1
                        side = Side.HIGH if answer.said > answer.true else Side.LOW
                        if side not in so_far.mistakes:
                            path = tuple(search.path_to(state.key))
                            so_far.mistakes[side] = Mistake(world, path, answer)
    return heard
