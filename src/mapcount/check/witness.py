"""For each mistake in the table of what is exact: the smallest story of it, which `mapcount run` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mapcount.check.counterexample import Counterexample, Finding, by_fork_and_exit, plainest, real, tell
from mapcount.check.exactness import Cell, Mistake
from mapcount.check.questions import Number, Question, Side, pss
from mapcount.check.reference import KernelFolio, state_after
from mapcount.check.story import Told, name_of
from mapcount.tracking.flavour import PAGE_SIZE, Flavour

KIB = PAGE_SIZE >> 10


@dataclass(slots=True)
class Witness:
    """One way to go wrong, and every cell of the table that it stands in."""

    question: Question
    side: Side
    mistake: Mistake
    flavours: list[Flavour]
    cells: list[Cell]
    story: Counterexample | None = None
    """None if no scenario shows it."""


def witnesses(cells: Iterable[Cell]) -> list[Witness]:
    """All of them, each once, in the order of the table. Their stories have been acted out."""
    found: dict[tuple[object, ...], Witness] = {}
    for cell in cells:
        for side, mistake in cell.mistakes.items():
            world, path = mistake.world, mistake.path
            pmds = any(
                world.level(event.op) for event in path
            )  # worlds that differ in what is not used are one
            key = (cell.question.id, side, path, mistake.answer, world.flavour.bits, pmds)
            one = found.setdefault(key, Witness(cell.question, side, mistake, [], []))
            one.cells.append(cell)
            if world.flavour not in one.flavours:
                one.flavours.append(world.flavour)
    for one in found.values():
        one.story = _story(one)
    return list(found.values())


def in_words(question: Question, value: Number) -> str:
    """An answer as people would say it."""
    if question.id in ("shared", "private"):
        return "shared" if value else "exclusive" if question.id == "shared" else "private"
    if question.id in ("partially-mapped", "reuse"):
        return "yes" if value else "no"
    return str(value)


def _story(one: Witness) -> Counterexample | None:
    answer = one.mistake.answer
    said, true = (in_words(one.question, value) for value in (answer.said, answer.true))
    title = f"{one.question.id}: said {said}, true {true}, on {', '.join(map(str, map(real, one.flavours)))}."
    world, path = plainest(one.mistake.world, one.mistake.path), one.mistake.path
    if one.question.id == "shared":
        path = by_fork_and_exit(world, path, None, "exclusive" if answer.said else "shared")

    def ends(told: Told) -> Sequence[str]:
        on = f" on={','.join(flavour.name for flavour in one.flavours)}"
        return [
            line + on if " expect " in line else line
            for line in EXPECTATIONS[one.question.id](_Asked(one.mistake, told))
        ]

    return tell(world, path, Finding(title, ends), flavours=one.flavours)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A mistake at the end of its story."""

    mistake: Mistake
    told: Told

    @property
    def said(self) -> Number:
        """The wrong answer."""
        return self.mistake.answer.said

    @property
    def who(self) -> str:
        """The process that it is about, or any that maps the folio."""
        mm = self.mistake.answer.mm
        return name_of(mm) if mm else next(iter(self.told.places))

    @property
    def at(self) -> str:
        """Where that maps the page, or any."""
        page = self.mistake.answer.page
        return self.told.pages[self.who, page] if page >= 0 else self.told.places[self.who]

    def kib(self, pages: Number) -> Number:
        """Pages of the world as the scenario's smaps has them."""
        return pages * self.told.unit * KIB


def _shared(asked: _Asked) -> Iterator[str]:
    truth, maybe = ("exclusive", "yes") if asked.said else ("shared", "no")
    yield f"{asked.who} expect {asked.at} truth={truth} maybe_shared={maybe}"


def _mapcount(asked: _Asked) -> Iterator[str]:
    yield f"{asked.who} expect {asked.at} kpagecount={asked.said}"


def _private(asked: _Asked) -> Iterator[str]:
    yield f"{asked.who} expect {asked.at} uss{'=' if asked.said else '>'}0"


def _uss(asked: _Asked) -> Iterator[str]:
    kib = asked.kib(asked.said)
    yield f"{asked.who} expect uss={kib}{'K' if kib else ''}"


def _pss(asked: _Asked) -> Iterator[str]:
    yield f"{asked.who} expect {_about(asked.kib(asked.said))}"


def _pss_sum(asked: _Asked) -> Iterator[str]:
    world, path = asked.mistake.world, asked.mistake.path
    state = state_after(world, KernelFolio(world), path)
    for mm, mine in enumerate(state.tables, 1):
        if mine.entries:
            yield f"{name_of(mm)} expect {_about(asked.kib(pss(state, mm)))}"


def _about(kib: Number) -> str:
    """Pss is rounded down, page by page and once more: thirds come out a little too low."""
    whole, exact = int(kib), Fraction(kib).denominator & (Fraction(kib).denominator - 1) == 0
    return f"pss={whole}K" if exact else f"pss>={whole - 1}K pss<={whole}K"


def _partially_mapped(asked: _Asked) -> Iterator[str]:
    yield f"{asked.who} expect {asked.at} partially_mapped={'yes' if asked.said else 'no'}"


def _statistics(asked: _Asked) -> Iterator[str]:
    name = "anon_pages" if asked.told.private else "mapped"
    yield f"kernel expect {name}={asked.said * asked.told.unit}"


def _pmd_statistics(asked: _Asked) -> Iterator[str]:
    name = "anon_huge_pages" if asked.told.private else "shmem_pmd_mapped"
    yield f"kernel expect {name}={asked.said * asked.told.unit}"


def _reuse(asked: _Asked) -> Iterator[str]:
    yield f"{asked.who} write {asked.at}"
    yield f"{asked.who} expect {asked.at} order{'>' if asked.said else '='}0"


EXPECTATIONS: dict[str, Callable[[_Asked], Iterator[str]]] = {
    "shared": _shared,
    "mapcount": _mapcount,
    "private": _private,
    "uss": _uss,
    "pss": _pss,
    "pss-sum": _pss_sum,
    "partially-mapped": _partially_mapped,
    "statistics": _statistics,
    "pmd-statistics": _pmd_statistics,
    "reuse": _reuse,
}
"""How a story pins the wrong answer to each question."""
