"""The stories of what an exploration found: one for each broken invariant, one of being wrongly shared."""

from __future__ import annotations

from typing import Any

from mapcount.check.counterexample import Counterexample, broken_invariant, falsely_exclusive, wrongly_shared
from mapcount.check.exploration import Exploration
from mapcount.check.explore import explore
from mapcount.check.reference import NEVER_EXCLUSIVE
from mapcount.check.world import World
from mapcount.schemes.scheme import Scheme

WRONGLY_SHARED = "wrongly-shared"
"""What is allowed, and told all the same."""
SOON = 1 << 15
"""States in which a broken scheme is expected to be found out."""


def explored(world: World, scheme: Scheme | None, **limits: Any) -> Exploration:
    """`explore`, but a scheme that is soon found broken is not explored to its end, which it may not have.

    A count that is never brought down again grows without bound.
    """
    if scheme is not None and (limits.get("most_states") or SOON + 1) > SOON:
        found = explore(world, scheme, **{**limits, "most_states": SOON})
        if found.faults or found.exhausted:
            return found
    return explore(world, scheme, **limits)


def stories(found: Exploration, scheme: Scheme | None, word: str | None) -> dict[str, Counterexample | None]:
    """By invariant, and `WRONGLY_SHARED`: a scenario that shows it, or None where none does.

    `word` is how the scheme is called on a command line.
    """
    told: dict[str, Counterexample | None] = {}
    for verdict in found.faults:
        if verdict.path is None:
            continue
        if verdict.id == NEVER_EXCLUSIVE:
            told[verdict.id] = falsely_exclusive(found.world, verdict.path, scheme, word)
        else:
            told[verdict.id] = broken_invariant(found.world, verdict.path, verdict.id)
    if found.wrongly_shared is not None:
        path = found.wrongly_shared.path
        told[WRONGLY_SHARED] = wrongly_shared(found.world, path, scheme, word, finite=found.exhausted)
    return told
