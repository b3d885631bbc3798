"""Schemes beside the kernel in a scenario: told of every mapping event, asked about every folio seen.

Their functions are run by Python: a story has few events, and compiling takes longer than all of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.scenario.syntax import Step
from mapcount.schemes.scheme import Scheme, SchemeError
from mapcount.sim.memory import FolioRun, Kind
from mapcount.sim.system import System


@dataclass(slots=True)
class _Alike:
    """What schemes keep of look-alike folios at page frames [start, stop): one state stands for each."""

    start: int
    stop: int
    states: list[NDArray[np.int64]]
    owners: dict[int, int]
    """Mappings by MM id: the truth, which a walk over the page tables would find."""
    events: int = 0

    def cut(self, at: int) -> _Alike:
        """Keep those before `at`; the others, which go their own way from now on."""
        states = [state.copy() for state in self.states]
        rest = _Alike(at, self.stop, states, dict(self.owners), self.events)
        self.stop = at
        return rest

    @property
    def total(self) -> int:
        """All mappings of one of the folios."""
        return sum(self.owners.values())


class SchemesBeside:
    """A `Watcher` of a run that keeps some schemes' state of every large folio, and answers by it.

    Raises SchemeError when a scheme fails. hugetlb folios are not asked about: their total answers.
    """

    def __init__(self, schemes: Sequence[Scheme]) -> None:
        self._schemes = schemes
        self._alike: dict[int, list[_Alike]] = {}
        """By order, in the order of page frames, which are not used again by folios of the same size."""

    def begin(self, step: Step, system: System) -> None:
        """Nothing to do: schemes hear of events only."""

    def event(self, run: FolioRun, what: str, mm_id: int, page: int, nr: int, level: int) -> None:
        """Look-alike folios were mapped or unmapped."""
        if not _theirs(run):
            return
        folio, n = self._of(run), nr >> level
        folio.owners[mm_id] = folio.owners.get(mm_id, 0) + (-n if what == "unmap" else n)
        if not folio.owners[mm_id]:
            del folio.owners[mm_id]
        folio.events += 1
        for scheme, state in zip(self._schemes, folio.states, strict=True):
            change = scheme.remove if what == "unmap" else scheme.add
            _call(scheme, change, state, mm_id, page, nr, n, folio.total)
            if scheme.walked and folio.events % scheme.reset_every == 0:
                owner = next(iter(folio.owners)) if len(folio.owners) == 1 else 0
                _call(scheme, scheme.walked, state, owner, folio.total)

    def answers(self, run: FolioRun) -> dict[str, bool]:
        """What each scheme says of these folios."""
        if not _theirs(run):
            return {}
        folio, nr_pages = self._of(run), run.folio.nr_pages
        return {
            scheme.name: bool(_call(scheme, scheme.maybe_shared, state, nr_pages, folio.total))
            for scheme, state in zip(self._schemes, folio.states, strict=True)
        }

    def _of(self, run: FolioRun) -> _Alike:
        """What is kept of these folios, and of no others: runs part, and what is kept parts with them."""
        places = self._alike.setdefault(run.folio.order, [])
        at = bisect_right(places, run.start, key=lambda place: place.start) - 1
        if at < 0 or places[at].stop <= run.start:
            at += 1
            words = [scheme.words(run.folio.nr_pages) for scheme in self._schemes]
            states = [np.zeros(size, np.int64) for size in words]
            places.insert(at, _Alike(run.start, run.start + run.n, states, {}))
        if places[at].start < run.start:
            places.insert(at + 1, places[at].cut(run.start))
            at += 1
        if places[at].stop > run.start + run.n:
            places.insert(at + 1, places[at].cut(run.start + run.n))
        return places[at]


def _theirs(run: FolioRun) -> bool:
    """Does the answer depend on the scheme?"""
    return run.folio.large and run.kind is not Kind.HUGETLB


def _call(scheme: Scheme, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise SchemeError(f"{scheme.name}: {type(error).__name__}: {error}") from None
