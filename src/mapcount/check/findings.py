"""The stories of what an exploration found: one for each broken invariant, one of being wrongly shared."""

from __future__ import annotations

from mapcount.check.counterexample import Counterexample, broken_invariant, falsely_exclusive, wrongly_shared
from mapcount.check.exploration import Exploration
from mapcount.check.reference import NEVER_EXCLUSIVE
from mapcount.schemes.scheme import Scheme

WRONGLY_SHARED = "wrongly-shared"
"""What is allowed, and told all the same."""


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
        told[WRONGLY_SHARED] = wrongly_shared(found.world, found.wrongly_shared.path, scheme, word)
    return told
