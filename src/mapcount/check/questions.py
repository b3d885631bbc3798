"""What is asked of a folio's counters, by the kernel and by user space, and what would be right.

Each question is put in every state of a small world, to each flavour's counters and to the truth. An answer
is a number, and so it can be too high or too low; `harmless` says in which direction a mistake costs
something, but breaks no promise. An answer that is mistaken in that direction alone is called conservative.

The rules of /proc are those of the mechanism, section 7; `mapcount.sim.proc` has them for a whole machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import NamedTuple

from mapcount.check.reference import Kept, State
from mapcount.check.world import World
from mapcount.tracking.folio import Folio
from mapcount.tracking.questions import (
    folio_average_page_mapcount,
    folio_can_reuse_anon,
    folio_maybe_mapped_shared,
    folio_precise_page_mapcount,
)

Number = int | Fraction


class Side(Enum):
    """How an answer is mistaken."""

    HIGH = "high"
    LOW = "low"


class Answer(NamedTuple):
    """What a kernel says, what is true, and of which mm (0: of the folio) and which page (-1: of all)."""

    said: Number
    true: Number
    mm: int = 0
    page: int = -1


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `answers` puts it in a state, to whatever can be asked there."""

    id: str
    asks: str
    answers: Callable[[World, State], Iterator[Answer]]
    truth: str
    """What would be right."""
    harmless: Side | None
    why: str
    """What a mistake means, in the harmless direction and in the other."""
    anonymous: bool = False
    """Is it asked of anonymous memory only?"""


QUESTIONS: dict[str, Question] = {}
"""Every question by its id, in the order of the document."""


def question(
    id: str,  # noqa: A002 - the word of the registry
    asks: str,
    truth: str,
    harmless: Side | None,
    why: str,
    *,
    anonymous: bool = False,
) -> Callable[[Callable[[World, State], Iterator[Answer]]], Callable[[World, State], Iterator[Answer]]]:
    """Register the decorated function as what answers a question."""

    def register(
        answers: Callable[[World, State], Iterator[Answer]],
    ) -> Callable[[World, State], Iterator[Answer]]:
        QUESTIONS[id] = Question(id, asks, answers, truth, harmless, why, anonymous)
        return answers

    return register


# -- what /proc computes -----------------------------------------------------------------------------------


def page_mapcount(folio: Folio, page: int) -> int:
    """A page's mapcount as /proc sees it."""
    if folio.flavour.page_mapcounts:
        return folio_precise_page_mapcount(folio, page)
    return folio_average_page_mapcount(folio)


def is_private(folio: Folio, page: int) -> bool:
    """Does smaps count a page that is present as Private?"""
    if folio.flavour.page_mapcounts:
        return folio_precise_page_mapcount(folio, page) < 2
    return not folio_maybe_mapped_shared(folio)


def _folio(state: State) -> Folio:
    kept: Kept = state.counters
    return kept.folio


def _entries(state: State) -> Iterator[tuple[int, int, int]]:
    """(mm, page, how many entries of that mm map the page), of all pages that an mm maps."""
    for mm, (ptes, pmds) in enumerate(state.tables, 1):
        for page, n in enumerate(ptes):
            if n + pmds:
                yield mm, page, n + pmds


def _mapped_by_others(state: State, mm: int, page: int) -> bool:
    return any(other.ptes[page] or other.pmds for k, other in enumerate(state.tables, 1) if k != mm)


def _mapped_pages(world: World, state: State) -> int:
    return sum(1 for page in range(world.pages) if state.truth.pages[page])


# -- the questions -----------------------------------------------------------------------------------------


@question(
    "shared",
    "May mappings of this folio belong to more than one mm (`folio_maybe_mapped_shared`)?",
    "Yes if they do.",
    Side.HIGH,
    "A folio wrongly called shared is copied, skipped or left where it is: work in vain. One wrongly called "
    "exclusive would be written to by one process while another reads it.",
)
def _(world: World, state: State) -> Iterator[Answer]:
    if state.truth.total:
        yield Answer(folio_maybe_mapped_shared(_folio(state)), state.truth.shared)


@question(
    "mapcount",
    "How often is this page mapped (`/proc/kpagecount`, the divisor of Pss, `mapmax`)?",
    "The number of page-table entries that map it. Asked of pages that something maps.",
    None,
    "Whoever reads the number decides what it means, so no direction is harmless.",
)
def _(world: World, state: State) -> Iterator[Answer]:
    seen = set()
    for mm, page, _ in _entries(state):
        if page not in seen:
            seen.add(page)
            yield Answer(page_mapcount(_folio(state), page), state.truth.pages[page], mm, page)


@question(
    "private",
    "Is this page of a process shared, as smaps sorts it (`Shared_*` or `Private_*`)?",
    "Shared if another mm maps the page too.",
    Side.HIGH,
    "A page that is Private promises to be freed when its process ends. Calling it Shared promises less than "
    "is true; calling a page Private that somebody else maps promises too much.",
)
def _(world: World, state: State) -> Iterator[Answer]:
    for mm, page, _ in _entries(state):
        shared = not is_private(_folio(state), page)
        yield Answer(shared, _mapped_by_others(state, mm, page), mm, page)


@question(
    "uss",
    "What is the Uss of a process (its `Private_*` summed over all VMAs), in pages?",
    "The pages that it alone maps, each once: what would be freed if it ended.",
    Side.LOW,
    "A Uss that is too low promises less than is true; one that is too high counts memory that would not be "
    "freed, or the same memory twice.",
)
def _(world: World, state: State) -> Iterator[Answer]:
    for mm, mine in enumerate(state.tables, 1):
        if mine.entries:
            pages = [(page, n) for who, page, n in _entries(state) if who == mm]
            said = sum(n for page, n in pages if is_private(_folio(state), page))
            true = sum(1 for page, _ in pages if not _mapped_by_others(state, mm, page))
            yield Answer(said, true, mm)


@question(
    "pss",
    "What is the Pss of a process, in pages?",
    "Each page that it maps, divided by the number of entries that map it, for each of its own entries.",
    None,
    "Pss is a share of a sum: what one process is given too little, another has too much, or nobody has.",
)
def _(world: World, state: State) -> Iterator[Answer]:
    for mm, mine in enumerate(state.tables, 1):
        if mine.entries:
            yield Answer(pss(state, mm), _true_pss(state, mm), mm)


@question(
    "pss-sum",
    "What is the Pss of all processes together, in pages?",
    "The pages that are mapped, each once.",
    Side.HIGH,
    "A sum that is too high counts memory twice; one that is too low misses memory that is in use.",
)
def _(world: World, state: State) -> Iterator[Answer]:
    if state.truth.total:
        said = sum((pss(state, mm) for mm in range(1, world.mms + 1)), Fraction())
        yield Answer(said, _mapped_pages(world, state))


def pss(state: State, mm: int) -> Fraction:
    """The Pss that the kernel computes for an mm, in pages, but for rounding."""
    folio = _folio(state)
    return sum(
        (Fraction(n, max(1, page_mapcount(folio, page))) for who, page, n in _entries(state) if who == mm),
        Fraction(),
    )


def _true_pss(state: State, mm: int) -> Fraction:
    return sum(
        (Fraction(n, state.truth.pages[page]) for who, page, n in _entries(state) if who == mm), Fraction()
    )


@question(
    "partially-mapped",
    "Is this anonymous folio partially mapped (and so on the list of those to be split)?",
    "Yes if something maps some of its pages, and nothing maps others.",
    Side.LOW,
    "Where it is not noticed, the pages that nothing maps stay allocated. A folio that is mapped whole would "
    "be split in vain.",
    anonymous=True,
)
def _(world: World, state: State) -> Iterator[Answer]:
    if state.truth.total:
        kept: Kept = state.counters
        yield Answer(kept.queued, _mapped_pages(world, state) < world.pages)


@question(
    "statistics",
    "How much does the folio add to AnonPages or Mapped, in pages?",
    "The pages of it that are mapped.",
    Side.HIGH,
    "Too high a figure counts memory of the folio that is there, but that no process can reach; one that is "
    "too low misses memory that processes use.",
)
def _(world: World, state: State) -> Iterator[Answer]:
    kept: Kept = state.counters
    yield Answer(kept.stat, _mapped_pages(world, state))


@question(
    "pmd-statistics",
    "How much does it add to AnonHugePages, ShmemPmdMapped or FilePmdMapped, in pages?",
    "All of its pages if a PMD maps it, else none.",
    Side.LOW,
    "They say how much memory is mapped by PMDs: too low a figure is a huge page that is not seen.",
)
def _(world: World, state: State) -> Iterator[Answer]:
    kept: Kept = state.counters
    yield Answer(kept.pmd_stat, world.pages if state.truth.entire else 0)


@question(
    "reuse",
    "May a write fault by PTE reuse this page of an anonymous folio, where fork had made it read-only?",
    "Yes if no other mm maps the page.",
    Side.LOW,
    "Where it may and does not, a page is copied in vain. Where it may not and does, one process writes into "
    "another's memory.",
    anonymous=True,
)
def _(world: World, state: State) -> Iterator[Answer]:
    kept: Kept = state.counters
    for mm, page, _ in _entries(state):
        if kept.forked and not state.tables[mm - 1].pmds:
            reuses = folio_can_reuse_anon(kept.folio)
            yield Answer(reuses, not _mapped_by_others(state, mm, page), mm, page)
