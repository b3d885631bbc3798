"""What must hold of every folio after every event: a registry of predicates over counters and truth.

    for broken in violations(folio, truth):
        print(broken.id, broken.sentence)

Each invariant has an id, one sentence, the flavours it is claimed for, and a predicate over one
folio's counters and the truth about it. The tests hold one deliberately corrupt specimen for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mapcount.tracking.flavour import Flavour
from mapcount.tracking.folio import ENTIRELY_MAPPED, Folio
from mapcount.tracking.questions import folio_maybe_mapped_shared
from mapcount.tracking.rmap import folio_mapcount
from mapcount.tracking.truth import Truth

Predicate = Callable[[Folio, Truth], bool]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One claim about every folio: `holds(folio, truth)` wherever `claimed(flavour)`."""

    id: str
    sentence: str
    holds: Predicate
    claimed: Callable[[Flavour], bool]


INVARIANTS: dict[str, Invariant] = {}
"""Every invariant by its id."""


def invariant(
    id: str,  # noqa: A002 - the word of the registry
    sentence: str,
    claimed: Callable[[Flavour], bool] = lambda _: True,
) -> Callable[[Predicate], Predicate]:
    """Register the decorated predicate. Raises ValueError for an id that is taken."""

    def register(holds: Predicate) -> Predicate:
        if id in INVARIANTS:
            raise ValueError(f"there is an invariant {id!r} already")
        INVARIANTS[id] = Invariant(id, sentence, holds, claimed)
        return holds

    return register


def violations(folio: Folio, truth: Truth) -> list[Invariant]:
    """The invariants that this folio breaks, in the order of the registry."""
    return [i for i in INVARIANTS.values() if i.claimed(folio.flavour) and not i.holds(folio, truth)]


def _owner_slots(flavour: Flavour) -> bool:
    return flavour.owner_slots


def _slots(folio: Folio) -> list[tuple[int, int]]:
    """(MM id, count) of both slots; nothing for folios without slots."""
    slots = folio.slots
    return [(slots.mm_id(i), slots.mm_id_mapcount[i]) for i in (0, 1)] if slots else []


@invariant("never-exclusive-when-shared", "A folio that two mms map is never called exclusive.", _owner_slots)
def _(folio: Folio, truth: Truth) -> bool:
    return folio_maybe_mapped_shared(folio) or not truth.shared


@invariant(
    "slot-at-most-true", "A slot's count never exceeds its mm's true number of mappings.", _owner_slots
)
def _(folio: Folio, truth: Truth) -> bool:
    return all(count <= truth.entries.get(mm_id, 0) for mm_id, count in _slots(folio) if mm_id)


@invariant("free-slot-empty", "A slot has count 0 exactly when its id is 0, which means that it is free.")
def _(folio: Folio, truth: Truth) -> bool:
    return all((mm_id == 0) == (count == 0) for mm_id, count in _slots(folio))


@invariant("slots-distinct", "The two slots never name the same mm.")
def _(folio: Folio, truth: Truth) -> bool:
    ids = [mm_id for mm_id, _ in _slots(folio) if mm_id]
    return len(set(ids)) == len(ids)


@invariant("slot-fits", "A slot's count fits in its word.")
def _(folio: Folio, truth: Truth) -> bool:
    return all(0 <= count <= folio.flavour.max_slot_mapcount for _, count in _slots(folio))


@invariant("lock-released", "The bit spinlock is free between events.")
def _(folio: Folio, truth: Truth) -> bool:
    return folio.slots is None or not folio.slots.locked


@invariant("total-true", "The total mapcount is the number of mappings in all page tables.")
def _(folio: Folio, truth: Truth) -> bool:
    return folio_mapcount(folio) == truth.total


@invariant("pages-true", "Each page's own count is the number of PTEs that map it.")
def _(folio: Folio, truth: Truth) -> bool:
    return folio.page_mapcount is None or folio.page_mapcount == truth.ptes


@invariant("entire-true", "The entire mapcount is the number of entries that map all of the folio.")
def _(folio: Folio, truth: Truth) -> bool:
    return not folio.large or not folio.flavour.entire_mapcount or folio.entire_mapcount == truth.entire


@invariant("nr-pages-mapped-true", "_nr_pages_mapped counts the pages with a PTE, plus ENTIRELY_MAPPED.")
def _(folio: Folio, truth: Truth) -> bool:
    if not folio.large or folio.hugetlb or not folio.flavour.page_mapcounts:
        return folio.nr_pages_mapped == 0
    return folio.nr_pages_mapped == truth.ptes.nonzero() + (ENTIRELY_MAPPED if truth.entire else 0)


@invariant("mapped-pages-true", "_total_mapped_pages counts every base page once for each time it is mapped.")
def _(folio: Folio, truth: Truth) -> bool:
    kept = folio.large and folio.flavour.total_mapped_pages
    return folio.total_mapped_pages == (truth.mapped_pages if kept else 0)


@invariant("unmapped-is-zero", "A folio that nobody maps has free slots and a clear flag again.")
def _(folio: Folio, truth: Truth) -> bool:
    slots = folio.slots
    return slots is None or bool(truth.total) or not (slots.shared or slots.mm_id(0) or slots.mm_id(1))


@invariant("mapcount-at-most-refcount", "Mappings never outnumber references.")
def _(folio: Folio, truth: Truth) -> bool:
    return folio_mapcount(folio) <= folio.refcount


@invariant("references-true", "Every reference is a mapping, the page or swap cache, or a pin.")
def _(folio: Folio, truth: Truth) -> bool:
    return folio.refcount == truth.total + truth.refs


@invariant("pins-hold-references", "Each pin of a large folio holds a reference.")
def _(folio: Folio, truth: Truth) -> bool:
    return folio.pincount == 0 or 0 < folio.pincount <= truth.refs
