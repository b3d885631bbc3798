"""Which question does each flavour answer exactly, conservatively or wrongly, and in which small worlds?

Every question of `questions.py` is put in every reachable state of a few small worlds. Where an answer is
mistaken, the shortest way to a mistake of that kind is kept. All of it is computed by the plain explorer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mapcount.check.questions import QUESTIONS, Answer, Question, Side
from mapcount.check.reference import KernelFolio, Search, anonymous, every_event
from mapcount.check.world import Event, World
from mapcount.tracking.flavour import FLAVOURS, Flavour

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


def table(
    questions: Iterable[Question] | None = None, settings: Iterable[Setting] = SETTINGS, pages: int = PAGES
) -> list[Cell]:
    """Every cell: by question, then flavour, then setting."""
    asked = list(questions if questions is not None else QUESTIONS.values())
    found: dict[tuple[str, str, str], Cell] = {}
    for setting in settings:
        for flavour in FLAVOURS.values():
            for private in (False, True):
                those = [one for one in asked if one.anonymous is private]
                for cell in _cells(those, flavour, setting, pages):
                    found[cell.question.id, flavour.name, setting.id] = cell
    return [
        found[one.id, flavour, setting.id] for one in asked for flavour in FLAVOURS for setting in settings
    ]


def _cells(questions: list[Question], flavour: Flavour, setting: Setting, pages: int) -> Iterator[Cell]:
    private = any(one.anonymous for one in questions)
    if private and not setting.anonymous:
        yield from (Cell(one, flavour, setting, 0, 0, {}, frozenset()) for one in questions)
        return
    by_ptes, by_both = (
        _ask(questions, setting.world(flavour, pmd=pmd, pages=pages), private=private)
        for pmd in (False, True)
    )
    for one, few, all_ in zip(questions, by_ptes, by_both, strict=True):
        mistakes = {**all_.mistakes, **few.mistakes}
        only = frozenset(all_.mistakes) - frozenset(few.mistakes)
        yield Cell(one, flavour, setting, all_.asked, all_.mistaken, mistakes, only)


@dataclass(slots=True)
class _Heard:
    """How often a question was asked in a world, and the first mistake of each kind."""

    asked: int
    mistaken: int
    mistakes: dict[Side, Mistake]


def _ask(questions: list[Question], world: World, *, private: bool) -> list[_Heard]:
    search = Search(world, KernelFolio(world, anonymous=private), anonymous if private else every_event)
    heard = [_Heard(0, 0, {}) for _ in questions]
    for state in search:
        for one, so_far in zip(questions, heard, strict=True):
            for answer in one.answers(world, state):
                so_far.asked += 1
                if answer.said != answer.true:
                    so_far.mistaken += 1
                    side = Side.HIGH if answer.said > answer.true else Side.LOW
                    if side not in so_far.mistakes:
                        path = tuple(search.path_to(state.key))
                        so_far.mistakes[side] = Mistake(world, path, answer)
    return heard
