"""Which row of the rules fired: a folio before and after a mapping event, in words.

The rows are those of sections 4 and 5 of the mechanism. They are found by comparing two states of a `Folio`,
so they are true of whatever made the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from mapcount.tracking.folio import ENTIRELY_MAPPED, Folio
from mapcount.tracking.rmap import folio_mapcount


@dataclass(frozen=True, slots=True)
class Fired:
    """One row: the case that fitted, and what it did."""

    case: str
    effect: str


def fired(before: Folio, after: Folio, mm_id: int, names: Mapping[int, str], *, new: bool) -> Fired:
    """The row of the owner slots' rules by which one mm's event turned `before` into `after`."""
    total, n = folio_mapcount(after), folio_mapcount(after) - folio_mapcount(before)
    change = f"{folio_mapcount(before)} → {total}"
    if not after.large:
        return Fired("small folio", f"one page, one count: {change}")
    if after.hugetlb:
        return Fired("hugetlb folio", f"no owner slots, mapped whole: total {change}")
    if after.slots is None or before.slots is None:
        return Fired("no owner slots", f"total {change}; shared or not is guessed from it and the first page")
    who = names.get(mm_id, f"mm {mm_id}")
    if new:
        return Fired("new folio", f"total = {total} and slot 0 = {who}:{n}, no lock: nobody else sees it yet")
    return _added(before, after, mm_id, who, n) if n > 0 else _removed(before, after, mm_id, who, -n)


def _added(before: Folio, after: Folio, mm_id: int, who: str, n: int) -> Fired:
    assert before.slots is not None
    assert after.slots is not None
    total = after.large_mapcount
    was, slot = before.slots.slot_of(mm_id), after.slots.slot_of(mm_id)
    if was is not None:
        had = before.slots.mm_id_mapcount[was]
        if slot is None:
            return Fired(
                f"slot {was} is {who}'s and full",
                f"{had} + {n} does not fit: the slot is given up, the shared flag is set",
            )
        return Fired(f"slot {was} is {who}'s", f"its count {had} + {n} = {had + n}; total {total}")
    if slot is None:
        return Fired("no slot is free", f"{who}:{n} stays untracked; total {total}, the flag is set already")
    taken = f"slot {slot} = {who}:{n}"
    if slot == 1:
        return Fired("slot 1 is free", f"{taken}, and the shared flag is set; total {total}")
    if total == n:
        return Fired("slot 0 is free", f"{taken}; the total is {n} too, so nobody else maps it")
    return Fired("slot 0 is free", f"{taken}; the total is {total}, so others map it: the shared flag is set")


def _removed(before: Folio, after: Folio, mm_id: int, who: str, n: int) -> Fired:
    assert before.slots is not None
    assert after.slots is not None
    total, counts = after.large_mapcount, after.slots.mm_id_mapcount
    was = before.slots.slot_of(mm_id)
    if was is not None and after.slots.slot_of(mm_id) is not None:
        left = counts[was]
        return Fired(
            f"slot {was} is {who}'s", f"{left + n} - {n} = {left} left: done, the flag is not looked at"
        )
    case, freed = f"{who} has no slot", ""
    if was is not None:
        had = before.slots.mm_id_mapcount[was]
        less = "" if had == n else f" ({had} is all it saw of {n})"
        case, freed = f"slot {was} is {who}'s", f"{had} - {min(had, n)} = 0, the slot is free{less}; "
    if not total:
        return Fired(case, f"{freed}nothing maps the folio: the flag is clear")
    if total in counts:
        slot = counts.index(total)
        cleared = "the shared flag is cleared" if before.slots.shared else "the flag is clear"
        return Fired(case, f"{freed}slot {slot}'s count is the total, {total}: {cleared}")
    stays = "stays set" if after.slots.shared else "stays clear"
    return Fired(case, f"{freed}no slot's count is the total, {total}: the shared flag {stays}")


def counted(before: Folio, after: Folio) -> str:
    """What happened to the counters beside total and slots, in words; nothing if there are none."""
    words = []
    if after.large and after.page_mapcount is None and not after.hugetlb:
        words.append("no page counter")
    if after.large and after.page_mapcount is not None and after.page_mapcount != before.page_mapcount:
        pages = sum(n for _, n, turned in _differences(before, after) if turned)
        words.append(f"{pages} page counter{'s' * (pages != 1)}, one by one")
    for name in ("entire_mapcount", "total_mapped_pages"):
        old, now = getattr(before, name), getattr(after, name)
        if old != now:
            words.append(f"_{name} {old} → {now}")
    if before.nr_pages_mapped != after.nr_pages_mapped:
        words.append(
            f"_nr_pages_mapped {_nr_pages_mapped(before.nr_pages_mapped)} → "
            f"{_nr_pages_mapped(after.nr_pages_mapped)}"
        )
    return "; ".join(words)


def _differences(before: Folio, after: Folio) -> list[tuple[int, int, bool]]:
    """(first page, pages, differ?) of the per-page counts of two states."""
    assert before.page_mapcount is not None
    assert after.page_mapcount is not None
    edges = {page for state in (before, after) for page, _, _ in state.page_mapcount.runs()}  # type: ignore[union-attr]
    cuts = [*sorted(edges), after.nr_pages]
    return [
        (first, last - first, before.page_mapcount[first] != after.page_mapcount[first])
        for first, last in pairwise(cuts)
    ]


def _nr_pages_mapped(value: int) -> str:
    """`_nr_pages_mapped` for people: its pages, and whether a PMD maps the folio."""
    pages = value & (ENTIRELY_MAPPED - 1)
    return f"{pages} + ENTIRELY_MAPPED" if value >= ENTIRELY_MAPPED else str(pages)
