"""What `mapcount check --races` found, as plain data for JSON and for `report/check_races.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mapcount.check.races import folio as cells
from mapcount.check.races.acts import PROGRAMS
from mapcount.check.races.catalogue import RACES
from mapcount.check.races.choose import GROUPS, Result
from mapcount.check.races.interleaving import Line
from mapcount.check.races.mutations import MUTATIONS, Mutation
from mapcount.check.races.properties import PROPERTIES
from mapcount.check.races.start import Start
from mapcount.check.races.tables import ENTRIES
from mapcount.report.check_data import BROKEN, HOLDS, NOT_EXHAUSTED
from mapcount.tracking.flavour import Flavour

MODEL_WORDS = {"sc": "sequential consistency", "tso": "total store order"}


def races_as_data(
    results: Sequence[Result],
    flavour: Flavour,
    memory_model: str,
    mutation: Mutation | None = None,
    interrupted_of: int | None = None,
) -> dict[str, Any]:
    """All of it. `result` is the verdict on all races; `interrupted_of`: how many there were to be."""
    broken = {b.property for result in results for b in result.explored.broken}
    exhausted = interrupted_of is None and all(result.explored.exhausted for result in results)
    return {
        "flavour": flavour.name,
        "memory_model": memory_model,
        "mutation": _mutation(mutation) if mutation else None,
        "result": BROKEN if broken else HOLDS if exhausted else NOT_EXHAUSTED,
        "interrupted_of": interrupted_of,
        "states": sum(result.explored.states for result in results),
        "seconds": round(sum(result.seconds for result in results), 3),
        "properties": [
            {"name": p.name, "sentence": p.sentence, "holds": _holds(p.name, broken, exhausted=exhausted)}
            for p in PROPERTIES.values()
        ],
        "races": [race_as_data(result) for result in results],
    }


def _holds(name: str, broken: set[str], *, exhausted: bool) -> bool | None:
    """None where a search that stopped early leaves it open."""
    if name in broken:
        return False
    return True if exhausted else None


def _mutation(mutation: Mutation) -> dict[str, str]:
    return {
        "name": mutation.name,
        "sentence": mutation.sentence,
        "race": mutation.race,
        "property": mutation.property,
        "memory_model": mutation.memory_model,
    }


def race_as_data(result: Result) -> dict[str, Any]:
    """One race: who does what from which start, what was explored, what is broken and by which steps."""
    race, explored = result.race, result.explored
    return {
        "name": race.name,
        "group": result.group,
        "story": race.story,
        "start": start_in_words(race.start),
        "threads": [
            {"name": thread.name, "does": thread.does, "words": _program_words(thread.does)}
            for thread in race.threads
        ],
        "result": BROKEN if explored.broken else HOLDS if explored.exhausted else NOT_EXHAUSTED,
        "states": explored.states,
        "steps": explored.steps,
        "depth": explored.depth,
        "interleavings": explored.interleavings,
        "seconds": round(result.seconds, 3),
        "broken": [
            {"property": b.property, "message": b.message, "steps": len(b.moves)} for b in explored.broken
        ],
        "shown": result.shown.property if result.shown else None,
        "interleaving": [_line(line, race.threads[line.thread].name) for line in result.lines],
    }


def _program_words(does: str) -> str:
    """`unmap: unmap every page that PTEs map`, for each program of a thread."""
    return "; then ".join(f"{name}: {PROGRAMS[name].does}" for name in does.split(", "))


def _line(line: Line, thread: str) -> dict[str, Any]:
    """One step. What was read and what changed, in words."""
    return {
        "thread": thread,
        "step": line.label,
        "read": in_words(*line.read) if line.read else None,
        "changes": [
            {"cell": cell, "before": in_words(cell, old), "after": in_words(cell, new)}
            for cell, old, new in line.changes
        ],
        "buffered": line.flush,
    }


def in_words(cell: str, value: int) -> str:
    """A cell's value as people read it: `A:B shared` for the word of the slots, `read-only` for a PTE."""
    if cell == cells.MM_IDS:
        ids = "/".join("-ABCDEFG"[cells.mm_id(value, slot)] for slot in (0, 1))
        flags = [name for bit, name in ((cells.SHARED, "shared"), (cells.LOCK, "locked")) if value & bit]
        return " ".join([ids, *flags])
    if cell == cells.WARNED:
        return cells.WARNINGS[value] or "no"
    if " PTE " in cell or cell.endswith(" PMD"):
        return ENTRIES[value]
    if cell == cells.FOLIO_LOCK or cell.endswith(" PTL"):
        return "held" if value else "free"
    noted = " pins page " in cell or " holds page " in cell
    if value in (0, 1) and (noted or cell == cells.SWAP_CACHE or cell.startswith("exclusive ")):
        return "yes" if value else "no"
    return str(value)


def start_in_words(start: Start) -> list[str]:
    """How a race begins: `A: read-only, read-only`, `in the swap cache`."""
    found = []
    for name, letters in start.tables.items():
        if letters in ("R", "W"):
            found.append(f"{name}: {'read-only' if letters == 'R' else 'writable'} by a PMD")
        else:
            found.append(f"{name}: {', '.join(ENTRIES[entry] for entry in start.entries(name))}")
    found += [f"{pin[0]} has pinned page {pin[1:]}" for pin in start.pins]
    found += [f"{hold[0]} holds a reference to page {hold[1:]}" for hold in start.holds]
    found += ["in the swap cache"] if start.swap_cache else []
    found += ["locked"] if start.folio_locked else []
    return found


def list_as_data() -> dict[str, list[dict[str, str]]]:
    """What can be asked for: races, programs, mutations, properties, groups."""
    words = {
        "races": {race.name: race.story for race in RACES.values()},
        "programs": {program.name: program.does for program in PROGRAMS.values()},
        "mutations": {m.name: f"{m.sentence} Shown by: {m.race}" for m in MUTATIONS.values()},
        "properties": {p.name: p.sentence for p in PROPERTIES.values()},
        "groups": {name: f"{sum(1 for _ in make())} races" for name, make in GROUPS.items()},
    }
    return {
        key: [{"name": name, "words": text} for name, text in found.items()] for key, found in words.items()
    }
