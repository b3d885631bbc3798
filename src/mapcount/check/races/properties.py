"""What must hold at every moment of every interleaving. Truth is read off page tables, never off counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mapcount.check.races import folio as cells
from mapcount.check.races.machine import Values
from mapcount.check.races.start import Start, small_flavour
from mapcount.check.races.tables import BY_PTES, PRESENT, Table, hold_of, mapping, pin_of, readers, writable
from mapcount.tracking.folio import Folio
from mapcount.tracking.invariants import violations
from mapcount.tracking.truth import Truth

Seen = Mapping[str, int]
Check = Callable[["Judgement", Seen], "str | None"]


@dataclass(frozen=True, slots=True)
class Property:
    """One claim about every state: `broken` says in words why it does not hold, or nothing."""

    name: str
    sentence: str
    broken: Check
    at_rest: bool = False
    """Is it claimed only when all threads are done?"""


PROPERTIES: dict[str, Property] = {}
"""Every property by its name, the most important first."""


def _property(name: str, sentence: str, *, at_rest: bool = False) -> Callable[[Check], Check]:
    def register(broken: Check) -> Check:
        PROPERTIES[name] = Property(name, sentence, broken, at_rest)
        return broken

    return register


class Judgement:
    """The properties of one race, ready to judge memory."""

    def __init__(self, start: Start) -> None:
        self.tables = start.all_tables
        self.mms = start.mms
        self.pages = range(start.nr_pages)
        self.nr_pages = start.nr_pages
        self._names = tuple(start.values())

    def always(self, memory: Values) -> dict[str, str]:
        """What is broken in any state with this memory."""
        return self._broken(memory, at_rest=False)

    def at_rest(self, memory: Values) -> dict[str, str]:
        """What is broken besides, if all threads are done."""
        return self._broken(memory, at_rest=True)

    def _broken(self, memory: Values, *, at_rest: bool) -> dict[str, str]:
        seen = dict(zip(self._names, memory, strict=True))
        found = ((p.name, p.broken(self, seen)) for p in PROPERTIES.values() if p.at_rest == at_rest)
        return {name: message for name, message in found if message}

    def in_use(self, seen: Seen, page: int) -> bool:
        """Is the page mapped, pinned or held? (Whoever comes by the swap cache first gets a reference.)"""
        held = any(seen[pin_of(mm, page)] or seen[hold_of(mm, page)] for mm in self.mms)
        return held or any(mapping(seen, table, page) for table in self.tables)

    def entries(self, seen: Seen, table: Table) -> int:
        """Page-table entries of a table that map the folio."""
        by_pmd = seen[table.pmd] not in (0, BY_PTES)
        return by_pmd + sum(seen[table.pte(page)] in PRESENT for page in self.pages)


@_property(
    "reuse", "What one mm may write to no other can read, and nothing is reused that is in the swap cache."
)
def _(race: Judgement, seen: Seen) -> str | None:
    if seen[cells.WARNED] == cells.IN_SWAP_CACHE:
        return cells.WARNINGS[cells.IN_SWAP_CACHE]
    for page in race.pages:
        owners = {table.mm for table in race.tables if writable(seen, table, page)}
        if not owners and not seen[cells.exclusive(page)]:
            continue
        found = readers(seen, race.tables, race.mms, page)
        for owner in sorted(owners):
            if others := found - owners or owners - {owner}:
                return f"{owner} may write to page {page}, which {' and '.join(sorted(others))} can read"
        if len(found) > 1:
            return f"page {page} is marked exclusive, and {' and '.join(sorted(found))} can read it"
    return None


@_property("question", "While two mms stably map the folio, the kernel never says that it is exclusive.")
def _(race: Judgement, seen: Seen) -> str | None:
    stable = {table.mm for table in race.tables if not seen[table.ptl] and race.entries(seen, table)}
    if len(stable) < 2 or (seen[cells.TOTAL] > 1 and seen[cells.MM_IDS] & cells.SHARED):
        return None
    return f"the kernel says exclusive of what {' and '.join(sorted(stable))} map"


@_property("assertions", "None of the kernel's own assertions in the reuse decision fails.")
def _(race: Judgement, seen: Seen) -> str | None:
    warned = seen[cells.WARNED]
    return None if warned == cells.IN_SWAP_CACHE else cells.WARNINGS[warned] or None


@_property(
    "bounds", "0 <= total <= references, slots hold no more than the total, and what is mapped is alive."
)
def _(race: Judgement, seen: Seen) -> str | None:
    # A PMD lends its reference to a PTE while it is being split, with its page table locked.
    lent = sum(seen[table.ptl] and seen[table.split] for table in race.tables)
    total, references = seen[cells.TOTAL], seen[cells.REFCOUNT]
    if not 0 <= total <= references + lent:
        return f"{total} mappings, {references} references"
    if min(seen[cells.ENTIRE], seen[cells.PINS], seen[cells.SWAP_USERS]) < 0:
        return "a counter is negative"
    slots = sum(seen[slot] for slot in cells.SLOTS)
    if not seen[cells.MM_IDS] & cells.LOCK and slots > total:
        return f"the slots hold {slots} of {total} mappings"
    if references <= 0 and any(race.in_use(seen, page) for page in race.pages):
        return "a folio without references can be read"
    return None


@_property("pins", "A pinned page stays marked exclusive, so that no write fault or fork replaces it.")
def _(race: Judgement, seen: Seen) -> str | None:
    for page in race.pages:
        if not seen[cells.exclusive(page)]:
            for mm in race.mms:
                if seen[pin_of(mm, page)]:
                    return f"{mm} has pinned page {page}, which is not marked exclusive"
    return None


PROPERTIES["lock"] = Property(
    "lock", "Every lock is released, and no thread waits for ever.", lambda *_: None
)


@_property("rest", "When all threads are done, every invariant of the core holds again.", at_rest=True)
def _(race: Judgement, seen: Seen) -> str | None:
    locks = (cells.FOLIO_LOCK, *(table.ptl for table in race.tables))
    if any(seen[lock] for lock in locks) or seen[cells.MM_IDS] & cells.LOCK:
        return "a lock is held"
    broken = [invariant.id for invariant in violations(*as_tracking(race, seen))]
    return f"broken: {', '.join(broken)}" if broken else None


def as_tracking(race: Judgement, seen: Seen) -> tuple[Folio, Truth]:
    """The folio's counters and the truth about it, as `mapcount.tracking` has them."""
    flavour = small_flavour(race.nr_pages)
    folio = Folio(flavour, flavour.pmd_order)
    folio.refcount, folio.large_mapcount = seen[cells.REFCOUNT], seen[cells.TOTAL]
    folio.entire_mapcount, folio.pincount = seen[cells.ENTIRE], seen[cells.PINS]
    assert folio.slots is not None
    for slot in (0, 1):
        folio.slots.set(slot, cells.mm_id(seen[cells.MM_IDS], slot), seen[cells.SLOTS[slot]])
    folio.slots.shared = bool(seen[cells.MM_IDS] & cells.SHARED)
    held = sum(seen[kind(mm, page)] for kind in (pin_of, hold_of) for mm in race.mms for page in race.pages)
    truth = Truth(race.nr_pages, held + (race.nr_pages if seen[cells.SWAP_CACHE] else 0))
    for table in race.tables:
        if seen[table.pmd] in PRESENT:
            truth.add(table.mm_id, 0, race.nr_pages, flavour.pmd_order)
        for page in race.pages:
            if seen[table.pte(page)] in PRESENT:
                truth.add(table.mm_id, page, 1)
    return folio, truth
