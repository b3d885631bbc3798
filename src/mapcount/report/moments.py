"""The one to three moments of a story that matter, chosen among the turns it takes.

A moment is a step and the page that it is about: a process and one of its virtual pages. So the same place
can be looked up on every kernel, whatever folios are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mapcount.report.html.playback import Played
from mapcount.report.turns import Finder, Found, Turn


@dataclass(frozen=True, slots=True)
class Moment:
    """A step, the page it is about, and why it was chosen."""

    step: int
    """Which of `Run.steps`."""
    process: str
    page: int
    """A virtual page of `process`."""
    turn: Turn
    """The chief reason."""
    reasons: tuple[str, ...]
    """Each a sentence without its full stop, the chief one first."""


FEWEST, MOST = 2, 3
"""Moments of a story. The first and the last thing that happens are only taken where there are too few."""


def moments(played: Sequence[Played], told: Sequence[Sequence[dict[str, Any]]]) -> list[Moment]:
    """The moments that matter, in order. `told`: of each kernel, what `playback_data` tells of each step."""
    finder = Finder(played, told)
    steps: dict[int, list[Found]] = {}
    for one in sorted(finder.find(), key=lambda one: (one.turn, one.step)):
        room = MOST if one.turn < Turn.FIRST else FEWEST
        if one.step in steps or len(steps) < room:
            steps.setdefault(one.step, []).append(one)
    chief = min((why[0] for why in steps.values()), key=lambda one: one.turn, default=None)

    def where(one: Found) -> tuple[str, int]:
        """Any shared folio would do for some moments: then the one that the chief moment is about."""
        any_would_do = one.turn >= Turn.SHARED and chief and finder.alike(one.step, one.where, chief.where)
        return chief.where if chief and any_would_do else one.where

    return [
        Moment(
            step,
            *where(why[0]),
            why[0].turn,
            tuple(one.reason for one in why if one.turn < Turn.SHARED or one is why[0]),
        )
        for step, why in sorted(steps.items())
    ]
