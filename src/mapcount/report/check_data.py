"""What `mapcount check` found, as plain data for JSON and for `report/check.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mapcount.check.agreement import Agreement
from mapcount.check.counterexample import Counterexample
from mapcount.check.exploration import Exploration, Verdict, WronglyShared
from mapcount.check.findings import WRONGLY_SHARED
from mapcount.check.story import name_of
from mapcount.check.world import REMOVES, Event, World

HOLDS, BROKEN, NOT_EXHAUSTED = "holds", "broken", "not exhausted"

Told = dict[str, Counterexample | None]
"""By what was found (an invariant's id, or `WRONGLY_SHARED`): the story of it, if one shows it."""


def check_as_data(found: Exploration, told: Told) -> dict[str, Any]:
    """An exploration. `result` is the verdict on all of it: holds, broken or not exhausted."""
    return {
        "world": world_as_data(found.world),
        "scheme": found.scheme,
        "result": BROKEN if found.faults else HOLDS if found.exhausted else NOT_EXHAUSTED,
        "states": found.states,
        "unreduced_states": found.unreduced_states,
        "reduced": found.reduced,
        "transitions": found.transitions,
        "depth": found.depth,
        "layers": list(found.layers),
        "seconds": round(found.seconds, 3),
        "states_per_second": round(found.states / found.seconds) if found.seconds else None,
        "stopped": found.stopped.value if found.stopped else None,
        "saved": str(found.saved) if found.saved else None,
        "invariants": [_verdict(found.world, verdict, told) for verdict in found.verdicts],
        "wrongly_shared": _wrongly(found.world, found.wrongly_shared, told),
    }


def agreement_as_data(found: Agreement) -> dict[str, Any]:
    """The reference beside the compiled code."""
    return {
        "world": world_as_data(found.world),
        "scheme": found.scheme,
        "result": BROKEN if found.differences else HOLDS if found.exhausted else NOT_EXHAUSTED,
        "states": found.states,
        "transitions": found.transitions,
        "depth": found.depth,
        "seconds": round(found.seconds, 3),
        "differences": [
            {
                "path": path_in_words(found.world, one.path),
                "reference": one.reference,
                "compiled": one.engine,
            }
            for one in found.differences
        ],
    }


def world_as_data(world: World) -> dict[str, Any]:
    """A world, and in `words` all of it."""
    flavour = world.flavour
    return {
        "words": str(world),
        "mms": world.mms,
        "pages": world.pages,
        "max_maps": world.max_maps,
        "pmd": world.pmd,
        "flavour": flavour.name,
        "bits": flavour.bits,
        "slot_holds": flavour.slot_mapcount_cap,
    }


def _verdict(world: World, verdict: Verdict, told: Told) -> dict[str, Any]:
    story = told.get(verdict.id)
    path = path_in_words(story.world, story.path) if story else path_in_words(world, verdict.path or ())
    return {
        "id": verdict.id,
        "sentence": verdict.sentence,
        "holds": verdict.holds,
        "broken": verdict.broken,
        "informs": verdict.informs,
        "path": path,
        "scenario": _text(told, verdict.id),
    }


def _wrongly(world: World, found: WronglyShared | None, told: Told) -> dict[str, Any] | None:
    if found is None:
        return None
    story = told.get(WRONGLY_SHARED)
    begin, again = (story.endless or ((), ())) if story else ((), found.around)
    return {
        "states": found.states,
        "path": path_in_words(story.world, story.path) if story else path_in_words(world, found.path),
        "scenario": _text(told, WRONGLY_SHARED),
        "lasts": None if found.longest is None else path_in_words(world, found.longest),
        "begins": path_in_words(world, begin),
        "around": path_in_words(world, again),
        "endings": {ending.value: count for ending, count in found.endings.items()},
    }


def _text(told: Told, what: str) -> str | None:
    story = told.get(what)
    return story.text if story else None


def path_in_words(world: World, path: Sequence[Event]) -> list[str]:
    """Each event: `A maps pages 0 to 3`, `B unmaps the folio's PMD`."""
    return [_event(world, event) for event in path]


def _event(world: World, event: Event) -> str:
    what = "unmaps" if event.op in REMOVES else "maps"
    if world.level(event.op):
        where = "the folio by a PMD" if what == "maps" else "its PMD"
    elif event.nr == world.pages:
        where = "all pages"
    elif event.nr == 1:
        where = f"page {event.page}"
    else:
        where = f"pages {event.page} to {event.page + event.nr - 1}"
    return f"{name_of(event.mm)} {what} {where}"
