"""What the engine's threads are to do, however they share it: on which folios, by which rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.desk import Desk, Layout
from mapcount.replay.folios import Folios
from mapcount.replay.grouping import Words
from mapcount.replay.groups import first_bad
from mapcount.replay.pages import PageMapcounts
from mapcount.replay.rules import rules_of
from mapcount.replay.trace import MOST_MM, MOST_ORDER
from mapcount.tracking.flavour import Flavour

if TYPE_CHECKING:
    from mapcount.replay.schemes import SchemeReplay

Columns = tuple[NDArray[Any], ...]
"""Of a window: folio, mm, op, page and nr, read-only."""
When = tuple[NDArray[np.uint32], int, NDArray[np.uint8]]
"""Of a window: each event's row (nothing where that is its index), the number of its row 0, and phases."""
Illegal = tuple[int, int, int]
"""An event that contradicts what its folio is: its index in the window, reasons, mappings after it."""

NO_ROWS = np.zeros(0, np.uint32)
NO_OFFSETS = np.zeros(0, np.uint64)
NEVER = (1 << 32) - 1


class Job:
    """What is replayed, and what is counted on the way. `side_by_side`: as `map`, with a thread for each."""

    def __init__(
        self,
        folios: Folios,
        flavour: Flavour,
        every: bool,
        schemes: Sequence[SchemeReplay],
        side_by_side: Callable[..., Iterable[Any]],
    ) -> None:
        self.folios = folios
        self.schemes = schemes
        self.side_by_side = side_by_side
        self.indexed = every or bool(schemes)
        """Does anybody ask when an event happened?"""
        self.pages = PageMapcounts(folios) if flavour.page_mapcounts else None
        self.most_mm = min(MOST_MM, flavour.max_mm_id)
        self.limits = (len(folios), self.most_mm, 1 << MOST_ORDER)
        """What an event's numbers are, or are less than, as compiled functions take it."""
        self._rules = (rules_of(flavour), every, self.pages is not None)

    def how(self, when: When) -> tuple[Any, ...]:
        """On what, and by which rules, as compiled functions take it."""
        return (self.folios.state, *self._rules, when[1])

    def page_counts(self) -> tuple[NDArray[Any], ...]:
        """The pages' own counts, as compiled functions take them."""
        pages = self.pages
        return (NO_OFFSETS, NO_ROWS, NO_ROWS) if pages is None else (
            pages.offsets, pages.counts, self.folios.owner0
        )  # fmt: skip

    def replay_schemes(
        self, words: Words, index: NDArray[np.uint32], layout: Layout, some: range, when: When
    ) -> None:
        """Replay folios `some`, whose events are laid out so, on the schemes."""
        events, place = layout[0], layout[1]
        for scheme in self.schemes:
            scheme.replay(words, index, events, place, self.folios, some.start, len(some), when)

    def first_illegal(self, bad: NDArray[np.int64], folio: NDArray[Any], low: int, high: int) -> Illegal:
        """The first event of those in `bad` (`groups.note`), which counts a folio's events in [low, high)."""
        nth = np.full(len(self.folios), NEVER, np.uint32)
        np.minimum.at(nth, bad[:, 0], bad[:, 1].astype(np.uint32))
        i = first_bad(folio, low, high, nth, np.zeros(len(nth), np.uint32))
        f = int(folio[i])
        (_, _, why, after), *_ = bad[(bad[:, 0] == f) & (bad[:, 1] == nth[f])].tolist()
        return i, why, after


class Way(Protocol):
    """How threads share a window."""

    desks: list[Desk]

    def apply(self, columns: Columns, when: When) -> tuple[int, list[Illegal]]:
        """Apply a window's events, up to the first that cannot be.

        Returns the first that is unsound, or how many events there are; and illegal ones, the first among
        them. When there are any, the folios' state means nothing any more.
        """
