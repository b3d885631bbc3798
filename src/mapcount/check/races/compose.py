"""Races put together from programs: `A:write-fault,B:unmap,K:page-out`.

A place is a page table (`A`, `B`, ...; `A2` is another table of mm A), or `K` for what the kernel does by
itself. From what the programs need follows who maps what at the beginning: one page each where two share a
table, else both pages; nobody else maps a page that is to be exclusive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

from mapcount.check.races.acts import PROGRAMS, Program, Where
from mapcount.check.races.race import Race, Thread
from mapcount.check.races.start import Start
from mapcount.check.races.tables import Table

PLACE = re.compile(r"[A-C]2?|K")
MOST_THREADS = 4
CHILDREN = "DEFG"
NR_PAGES = 2
PAGES = tuple(range(NR_PAGES))


class RaceError(ValueError):
    """A race that cannot be put together; the message says why."""


def parse(text: str) -> Race:
    """The race that is written like the example above. Raises RaceError."""
    parts = []
    for word in text.split(","):
        place, _, name = word.partition(":")
        if not PLACE.fullmatch(place):
            raise RaceError(f"{word!r}: a thread is PLACE:PROGRAM, with a place from A to C, A2 to C2, or K")
        if name not in PROGRAMS:
            raise RaceError(f"there is no program {name!r}: {', '.join(PROGRAMS)}")
        needs_table = bool(PROGRAMS[name].entry or PROGRAMS[name].held)
        if needs_table == (place == "K"):
            raise RaceError(
                f"{word!r}: {name} {'needs a table' if needs_table else 'is K, no table is its own'}"
            )
        parts.append((place, PROGRAMS[name]))
    if not 1 <= len(parts) <= MOST_THREADS:
        raise RaceError(f"a race has 1 to {MOST_THREADS} threads, not {len(parts)}")
    return compose(parts)


def compose(parts: Sequence[tuple[str, Program]]) -> Race:
    """The race of programs at places. Raises RaceError where they cannot meet."""
    start, pages, children = _start(parts)
    tables = start.all_tables
    threads = []
    for number, (place, program) in enumerate(parts):
        table = Table("A" if place == "K" else place)
        where = Where(table, pages[number], Table(children.get(number, table.name)), tables, PAGES)
        threads.append(Thread(_unique(place, number, parts), program.name, (program.act(where),)))
    name = ",".join(f"{place}:{program.name}" for place, program in parts)
    return Race(name, "", start, tuple(threads))


def _unique(place: str, number: int, parts: Sequence[tuple[str, Program]]) -> str:
    same = [i for i, (other, _) in enumerate(parts) if other == place]
    return place if len(same) == 1 else f"{place}.{same.index(number) + 1}"


def _start(parts: Sequence[tuple[str, Program]]) -> tuple[Start, list[int], dict[int, str]]:
    """Who maps what; the page of each program; the child of each that forks."""
    by_place: dict[str, list[Program]] = {}
    for place, program in parts:
        if program.entry:
            by_place.setdefault(place, []).append(program)
    pages = [_page(place, program, by_place) for place, program in parts]
    owners: dict[int, str] = {}
    for (place, program), page in zip(parts, pages, strict=True):
        if program.entry == "w" and owners.setdefault(page, place) != place:
            raise RaceError(f"page {page} cannot be exclusive to both {owners[page]} and {place}")
    if any(p.held and place[0] != owners.get(0, place)[0] for place, p in parts):
        raise RaceError("what one mm has exclusively, no other holds a reference to")
    if sum(p.migrates_in for _, p in parts) > 1:
        raise RaceError("a folio is the new one of one migration only")
    tables = {place: _entries(place, by_place, owners) for place in by_place}
    if any(not p.entry for _, p in parts) and not tables:
        tables = {"A": "r" * NR_PAGES}
    children: dict[int, str] = {}
    for number, (_, program) in enumerate(parts):
        if program.forks:
            children[number] = CHILDREN[len(children)]
    tables |= dict.fromkeys(children.values(), "." * NR_PAGES)
    start = Start(
        tables,
        pins=tuple(f"{place[0]}{pages[i]}" for i, (place, p) in enumerate(parts) if p.pinned),
        holds=tuple(f"{place[0]}0" for place, p in parts if p.held),
        swap_cache=any(p.swap_cache for _, p in parts),
        references=int(any(p.migrates_in for _, p in parts)),
        folio_locked=any(p.migrates_in for _, p in parts),
    )
    return start, pages, children


def _page(place: str, program: Program, by_place: dict[str, list[Program]]) -> int:
    """Which page a program acts on: two programs of a table on two pages, unless a PMD maps both."""
    here = by_place.get(place, [])
    if any(p.entry == "R" for p in here) or not program.entry:
        return 0
    if _twins(place, by_place):
        return int(place.endswith("2"))
    if len(here) > 1:
        return min(here.index(program), NR_PAGES - 1)
    return list(by_place).index(place) % NR_PAGES if program.entry == "w" else 0


def _twins(place: str, by_place: dict[str, list[Program]]) -> bool:
    """Does another table of the same mm map the folio as well?"""
    return any(other[0] == place[0] and other != place for other in by_place)


def _entries(place: str, by_place: dict[str, list[Program]], owners: dict[int, str]) -> str:
    """What a table holds: a PMD if a program needs one, else a page for each program."""
    letters = [program.entry for program in by_place[place]]
    twins = _twins(place, by_place)
    if "R" in letters:
        if twins:
            raise RaceError(
                f"a page is mapped once by an mm: a PMD of {place} leaves nothing to its other table"
            )
        if any(owner != place for owner in owners.values()) or (owners and len(by_place) > 1):
            raise RaceError("what one table has exclusively, no other maps by a PMD")
        return "W" if owners else "R"
    letters = (letters * NR_PAGES)[:NR_PAGES] if len(letters) == 1 else letters[:NR_PAGES]
    text = "".join(_letter(letter, page, place, owners) for page, letter in enumerate(letters))
    if not twins:
        return text
    return "." + text[1] if place.endswith("2") else text[0] + "."


def _letter(letter: str, page: int, place: str, owners: dict[int, str]) -> str:
    if page in owners:
        return "w" if owners[page] == place else "."
    return "r" if letter == "w" else letter


def pairs() -> Iterator[Race]:
    """Every two programs, in two processes and, where both have a table, in one."""
    for first, second in combinations_with_replacement(PROGRAMS.values(), 2):
        yield from _placed((first, second), (("A", "B"), ("A", "A")))


def triples() -> Iterator[Race]:
    """A write fault beside every two programs: of two other processes, of one, and one of its own process."""
    for first, second in combinations_with_replacement(PROGRAMS.values(), 2):
        three = (PROGRAMS["write-fault"], first, second)
        yield from _placed(three, (("A", "B", "C"), ("A", "B", "B"), ("A", "A2", "B")))


def _placed(programs: tuple[Program, ...], ways: Sequence[tuple[str, ...]]) -> Iterator[Race]:
    seen = set()
    for places in ways:
        parts = tuple(
            (place if program.entry or program.held else "K", program)
            for place, program in zip(places, programs, strict=True)
        )
        if parts in seen:
            continue
        seen.add(parts)
        try:
            yield compose(parts)
        except RaceError:
            continue  # such programs cannot meet: what one has exclusively, the other would have to map
