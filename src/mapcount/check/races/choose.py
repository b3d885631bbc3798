"""Which races to explore, by what was asked for; and exploring them one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mapcount.check.races.catalogue import RACES
from mapcount.check.races.compose import RaceError, pairs, parse, triples
from mapcount.check.races.interleaving import Line
from mapcount.check.races.mutations import Mutation
from mapcount.check.races.race import Race
from mapcount.check.races.rules import Rules
from mapcount.check.races.search import MOST_STATES, Broken, Explored
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, Flavour

GROUPS: dict[str, Callable[[], Iterator[Race]]] = {
    "stories": lambda: iter(RACES.values()),
    "pairs": pairs,
    "triples": triples,
}
"""Races that are asked for together."""
DEFAULT = "stories,pairs"
ALL = "all"
FLAVOURS = (PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT)
"""Kernels with owner slots and an entire mapcount; which counter a PMD's removal lowers first differs."""

Told = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A race, and the group it was asked for with: `own` if by its name."""

    race: Race
    group: str


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in one race. `shown` is the broken property whose steps are retold in `lines`."""

    race: Race
    group: str
    explored: Explored
    seconds: float
    """CPU time."""
    shown: Broken | None = None
    lines: tuple[Line, ...] = ()


def choose(text: str) -> list[Chosen]:
    """The races of `stories`, `pairs`, `triples` or `all`; one by its name; or `A:write-fault,B:unmap`.

    Raises RaceError for what is none of these.
    """
    if ":" in text:
        return [Chosen(parse(text), "own")]
    found: dict[str, Chosen] = {}
    for word in ",".join(GROUPS).split(",") if text == ALL else text.split(","):
        if word in GROUPS:
            found |= {race.name: Chosen(race, word) for race in GROUPS[word]()}
        elif word in RACES:
            found[word] = Chosen(RACES[word], "own")
        else:
            near = get_close_matches(word, [*RACES, *GROUPS, ALL], 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise RaceError(
                f"there is no race {word!r}{meant} Known: {', '.join((*GROUPS, ALL))}; {', '.join(RACES)}; "
                "or put one together, like A:write-fault,B:unmap"
            )
    return list(found.values())


def rules_of(flavour: Flavour, mutation: Mutation | None) -> Rules:
    """The rules of a kernel, with one of them broken if that is asked for."""
    rules = Rules(entire_before_total=not flavour.page_mapcounts)
    return mutation.of(rules) if mutation else rules


def explore_races(
    chosen: Sequence[Chosen],
    flavour: Flavour,
    memory_model: str,
    mutation: Mutation | None = None,
    *,
    most_states: int = MOST_STATES,
    told: Told = lambda *_: None,
) -> Iterator[Result]:
    """Explore each race. Of a broken one, the steps to the property that the mutation is about are retold."""
    rules = rules_of(flavour, mutation)
    for number, one in enumerate(chosen):
        told(number, len(chosen), one.race.name)
        begun = time.process_time()
        explored = one.race.explore(rules, memory_model, most_states=most_states)
        seconds = time.process_time() - begun
        shown = _shown(explored, mutation)
        lines = one.race.retell(shown, rules, memory_model) if shown else ()
        yield Result(one.race, one.group, explored, seconds, shown, lines)
    told(len(chosen), len(chosen), "")


def _shown(explored: Explored, mutation: Mutation | None) -> Broken | None:
    about = [b for b in explored.broken if mutation and b.property == mutation.property]
    return next(iter((*about, *explored.broken)), None)
