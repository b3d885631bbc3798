"""The generated parts of docs/races.md: every race explored, every rule broken."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from doc_parts import table
from mapcount.check.races import mapping
from mapcount.check.races.acts import PROGRAMS
from mapcount.check.races.catalogue import RACES
from mapcount.check.races.choose import Chosen, explore_races
from mapcount.check.races.mutations import MUTATIONS
from mapcount.check.races.properties import PROPERTIES
from mapcount.check.races.rules import Rules
from mapcount.report.check_races_data import start_in_words
from mapcount.tracking.flavour import PAGE_MAPCOUNT

PARTS: dict[str, Callable[[], str]] = {}


def _part(make: Callable[[], str]) -> Callable[[], str]:
    PARTS[make.__name__.replace("_", "-")] = make
    return make


@_part
def race_properties() -> str:
    """What must hold."""
    return table(("property", "claim"), ((f"`{p.name}`", p.sentence) for p in PROPERTIES.values()))


@_part
def race_programs() -> str:
    """What a thread can do."""
    return table(("program", "what it does"), ((f"`{p.name}`", p.does) for p in PROGRAMS.values()))


@_part
def races_with_a_story() -> str:
    """Every race with a story, and what exploring it takes."""
    chosen = [Chosen(race, "stories") for race in RACES.values()]
    rows = [
        (
            f"`{found.race.name}`",
            found.race.story,
            "; ".join(start_in_words(found.race.start)),
            "<br>".join(f"{thread.name} {thread.does}" for thread in found.race.threads),
            f"{found.explored.states:,}",
            f"{found.explored.interleavings:.0e}".replace("e+0", "e").replace("e+", "e"),
            "**broken**" if found.explored.broken else "holds",
        )
        for found in explore_races(chosen, PAGE_MAPCOUNT, "sc")
    ]
    return table(("race", "story", "at the start", "threads", "states", "interleavings", ""), rows)


@_part
def race_mutations() -> str:
    """Every rule broken: where that shows, as what, and after how many steps at least."""
    rows = []
    for mutation in MUTATIONS.values():
        explored = RACES[mutation.race].explore(
            mutation.of(Rules()), mutation.memory_model, stop_at=[mutation.property]
        )
        (broken,) = (b for b in explored.broken if b.property == mutation.property)
        shown = f"`{mutation.race}`" + (" (tso)" if mutation.memory_model == "tso" else "")
        what = f"`{broken.property}`: {broken.message}"
        rows.append((f"`{mutation.name}`", mutation.sentence, shown, what, len(broken.moves)))
    return table(("mutation", "what is done wrong", "race", "what is broken", "steps"), rows)


@_part
def race_program() -> str:
    """One program, as it is explored."""
    return "\n".join(["```python", inspect.getsource(mapping.unmap_pmd).rstrip(), "```"])
