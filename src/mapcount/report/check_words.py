"""What `mapcount check` found, in sentences: the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mapcount.report.check_data import BROKEN, HOLDS
from mapcount.report.words import plural, share
from mapcount.scenario.syntax import visible
from mapcount.tracking.flavour import FLAVOURS

GUESS = (
    "note: this kernel guesses from the first page whether a folio is shared, and nothing is claimed of the "
    "guess. --scheme first-page shows when it is wrong."
)
UNTOLD = "no scenario was found that shows it, with processes and folios of real sizes"
UNKNOWN = "how long it can last was not found out"
AROUND = "it can last for any number of events: with these, {last}again and again"


def head(data: Mapping[str, Any]) -> str:
    """The world, of a kernel or of a scheme, which has nothing to do with one."""
    words: str = data["world"]["words"]
    return f"scheme {visible(data['scheme'])}: {words.rpartition(', on ')[0]}" if data["scheme"] else words


def scaled(data: Mapping[str, Any]) -> str | None:
    """Of slots that hold less than real ones, that they do."""
    world = data["world"]
    if not world["slot_holds"]:
        return None
    real = 1 << (15 if world["bits"] == 32 else 31)
    holds = plural(world["slot_holds"], "mapping")
    return f"scaled down: a slot holds {holds} here, not {real:,}, so that it overflows soon"


def guess(data: Mapping[str, Any]) -> str | None:
    """Of a kernel without owner slots, that nothing is claimed of its answer."""
    guesses = not data["scheme"] and not FLAVOURS[data["world"]["flavour"]].owner_slots
    return GUESS if guesses else None


def counts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How much was explored: label and words."""
    states = f"{data['states']:,}"
    if data.get("reduced") and data["unreduced_states"] != data["states"]:
        states += f" up to symmetry, which stand for {data['unreduced_states']:,}"
    speed = f", {data['states_per_second']:,} states/s" if data.get("states_per_second") else ""
    return [
        ("states", states),
        ("transitions", f"{data['transitions']:,}"),
        ("depth", f"{plural(data['depth'], 'event')} to the farthest state"),
        ("time", f"{data['seconds']:.2f} s{speed}"),
    ]


def verdict(invariant: Mapping[str, Any]) -> str:
    """One word or two on an invariant."""
    if invariant["informs"]:
        return "so" if invariant["holds"] else "not so"
    return "holds" if invariant["holds"] else "BROKEN"


def faults(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The invariants that are broken, and should not be."""
    return [one for one in data["invariants"] if not one["holds"] and not one["informs"]]


def broken(invariant: Mapping[str, Any]) -> str:
    """In how many states an invariant is broken; its path follows."""
    return f"{invariant['id']} is broken in {plural(invariant['broken'], 'state')}; the shortest way there:"


def wrongly_shared(data: Mapping[str, Any]) -> str:
    """How many states are wrongly called shared."""
    states = data["wrongly_shared"]["states"]
    return (
        f"wrongly shared, which is allowed: in {states:,} of the states ({share(states / data['states'])}) "
        "one mm alone maps the folio, and it is called shared"
    )


def how_long(data: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    """How many events being wrongly shared can outlast, and those that lead around for ever."""
    found = data["wrongly_shared"]
    lasts = found["lasts"]
    if data["stopped"]:
        return "how long it can last is known when all is explored", ()
    if lasts is None:
        if not found["around"]:
            return UNKNOWN, ()
        last = f"the last {len(found['around'])} of them " if found["begins"] else ""
        return AROUND.format(last=last), [*found["begins"], *found["around"]]
    if lasts:
        return f"it can outlast {plural(len(lasts), 'event')}, but no more", ()
    return "any event ends it", ()


def endings(data: Mapping[str, Any]) -> str | None:
    """What is true after the events that end it, each with their number."""
    found = data["wrongly_shared"]["endings"]
    ends = [f"{word} ({count:,})" for word, count in found.items() if count]
    return f"events end it after which {'; '.join(ends)}" if found else None


def result(data: Mapping[str, Any]) -> str | None:
    """The verdict on the world; None where all that can be said is that it was not exhausted."""
    if data["result"] == BROKEN:
        return f"BROKEN: {', '.join(one['id'] for one in faults(data))}"
    return "holds: no reachable state of this world breaks an invariant" if data["result"] == HOLDS else None


def unfinished(data: Mapping[str, Any]) -> list[str]:
    """Of an exploration that stopped early: why, how far it got, and how to go on."""
    if not data["stopped"]:
        return []
    broken = data["result"] == BROKEN
    words = "not explored any further" if broken else f"not exhausted: {data['stopped']}"
    within = f"all states within {plural(data['depth'], 'event')} of the start were explored"
    saved = [f"to go on from there: --resume {visible(data['saved'])}"] if data["saved"] else []
    return [f"{words}; {within}", *saved]
