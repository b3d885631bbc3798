"""Few folios: threads go over them like waves, a slice of the window's events each.

Every thread takes the next slice, lays its events out where they stay in its cache, and replays them on one
range of folios after the other. It enters a range when the slice before has left it: so a folio's events stay
in order, and only folios' state goes from one core to another. At any time all threads lay out, or replay on
different ranges; whoever is slower takes fewer slices.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.atomic import SPINS, add, let_others_run, load, store
from mapcount.replay.desk import Desk, edges_of
from mapcount.replay.grouping import GROUP, count_blocks, lay_out, scatter
from mapcount.replay.groups import replay_groups
from mapcount.replay.jit import jit
from mapcount.replay.job import Columns, Illegal, Job, When
from mapcount.replay.pages import count_pages

SLICE = 3 << 15
"""Events of a slice, at most: they fit in a core's second-level cache."""
LEAST_SLICE = 1 << 14
"""Towards the end of a window slices are smaller, so that all threads end at about the same time."""
RANGES = 2
"""Ranges of folios for each thread: one that it is in, and one that it can go to."""
SAMPLE = 1 << 10
"""So many events say how many each range has."""

# What is of the slice that a thread has in hand.
NUMBER, LOW, HIGH, STOP = range(4)
IN_HAND: Final = 4
LINE: Final = 8
"""Words that are next to each other in memory are not written to by different cores."""
NEXT_SLICE, GIVEN_UP = 0, 1
STOPPED: Final = -1
"""In place of a range's number of slices: no other will leave it."""


class Waves:
    """Applies windows of events to few folios."""

    def __init__(self, job: Job, threads: int) -> None:
        folios = len(job.folios)
        self._job = job
        self._ranges = 1 if threads == 1 else max(1, min(RANGES * threads, folios // GROUP))
        self.desks = [Desk(folios, SLICE, indexed=job.indexed, parts=self._ranges) for _ in range(threads)]
        self._progress = np.zeros(LINE * (1 + self._ranges), np.int64)
        """The next slice that nobody has; has a thread died? Of each range, how many slices have left it."""

    def apply(self, columns: Columns, when: When) -> tuple[int, list[Illegal]]:
        """Apply a window's events (`job.Way`)."""
        window = (columns, cuts_of(len(columns[0]), len(self.desks)), self._edges(columns[0]), self._progress)
        self._progress[:] = 0
        outcomes = list(self._job.side_by_side(lambda desk: self._go(desk, *window, when), self.desks))
        return min(sound for sound, _ in outcomes), [some for _, found in outcomes for some in found]

    def _edges(self, folio: NDArray[Any]) -> NDArray[np.int64]:
        """Where ranges of folios begin that have about as many events each, and where the last one ends."""
        sample = np.sort(folio[:: len(folio) // SAMPLE + 1])
        inner = [sample[k] for k in edges_of(0, len(sample), self._ranges)[1:-1]]
        return np.minimum([0, *inner, len(self._job.folios)], len(self._job.folios)).astype(np.int64)

    def _go(
        self,
        desk: Desk,
        columns: Columns,
        cuts: NDArray[np.int64],
        edges: NDArray[np.int64],
        progress: NDArray[np.int64],
        when: When,
    ) -> tuple[int, list[Illegal]]:
        """What one thread does. As `apply`, of the slices that it took."""
        job, in_hand = self._job, np.zeros(IN_HAND, np.int64)
        # A folio is a block of its own, whose events are a group apart.
        slices = (columns, (*job.limits, 0, GROUP), cuts, edges, progress, in_hand)
        laid_out = (desk.words, desk.index, desk.layout, desk.touched)
        how = (when[0], job.page_counts(), job.how(when), desk.lanes)
        try:
            if job.schemes:
                self._with_schemes(desk, slices, laid_out, how, when)
            else:
                go(*slices, job.indexed, *laid_out, *how)
        except BaseException:
            progress[GIVEN_UP] = 1
            raise
        _, low, high, stop = in_hand.tolist()
        found = desk.find()
        illegal = [job.first_illegal(found, columns[0], low, high)] if len(found) else []
        return high if high < stop else len(columns[0]), illegal

    def _with_schemes(self, desk: Desk, slices: Any, laid_out: Any, how: Any, when: When) -> None:
        """What `go` does, and the schemes after each range."""
        *_, edges, progress, in_hand = slices
        failed = False
        while take_slice(*slices, self._job.indexed, *laid_out):
            for r in range(self._ranges):
                if not replay_range(r, edges, progress, in_hand, *laid_out, *how):
                    return
                if not desk.bad[0, 0]:
                    some = range(int(edges[r]), int(edges[r + 1]))
                    self._job.replay_schemes(
                        desk.words, desk.index, part_of(desk.layout, edges, r), some, when
                    )
                failed = leave_range(r, progress, in_hand, desk.bad)
            if failed:
                return


def cuts_of(events: int, threads: int) -> NDArray[np.int64]:
    """Where slices begin, and where the last one ends."""
    cuts = [0]
    while (left := events - cuts[-1]) > 0:
        share = left // (2 * threads) if threads > 1 else left
        cuts.append(cuts[-1] + min(left, max(LEAST_SLICE, min(SLICE, share))))
    return np.array(cuts, np.int64)


@jit
def go(
    columns: Any, limits: Any, cuts: Any, edges: Any, progress: Any, in_hand: Any, indexed: bool,
    words: Any, index: Any, layout: Any, touched: Any, rows: Any, pages: Any, how: Any, lanes: Any,
) -> None:  # fmt: skip
    """Replay slices until there are no more, or an event of one cannot be."""
    failed = False
    while take_slice(columns, limits, cuts, edges, progress, in_hand, indexed, words, index, layout, touched):
        for r in range(len(touched)):
            if not replay_range(
                r, edges, progress, in_hand, words, index, layout, touched, rows, pages, how, lanes
            ):
                return
            failed = leave_range(r, progress, in_hand, lanes[-1])
        if failed:
            return


@jit
def take_slice(
    columns: Any, limits: Any, cuts: Any, edges: Any, progress: Any, in_hand: Any, indexed: bool,
    words: Any, index: Any, layout: Any, touched: Any,
) -> bool:  # fmt: skip
    """Take the next slice, and lay its events out, up to the first that is unsound.

    False: there is none.
    """
    folio, mm, op, page, nr = columns
    folios, most_mm, most_pages, shift, step = limits
    events, place, at, _, _, _ = layout
    s = add(progress, NEXT_SLICE, 1)
    if s + 1 >= len(cuts):
        return False
    low, stop = cuts[s], cuts[s + 1]
    high = count_blocks(folio, mm, op, page, nr, low, stop, folios, most_mm, most_pages, shift, events)
    if high < stop:
        count_blocks(folio, mm, op, page, nr, low, high, folios, most_mm, most_pages, shift, events)
    in_hand[NUMBER], in_hand[LOW], in_hand[HIGH], in_hand[STOP] = s, low, high, stop
    top = np.uint64(0)
    for r in range(len(touched)):
        part = part_of(layout, edges, r)
        touched[r] = lay_out(edges[r + 1] - edges[r], part, top, words)
        top = part[4][(touched[r] + GROUP - 1) // GROUP]
    at[:folios] = place[:folios]
    inside = np.empty(0, np.uint16)
    scatter(folio, mm, op, page, nr, low, high, shift, indexed, at, step, words, inside, index)
    return True


@jit
def part_of(layout: Any, edges: Any, r: Any) -> Any:
    """The layout of one range of folios."""
    events, place, at, ranked, tops, counts = layout
    low, high = edges[r], edges[r + 1]
    # Room for each range's groups, the last one of which is not full, and for where that ends.
    first = low // GROUP + 2 * r
    return events[low:high], place[low:high], at, ranked[low:high], tops[first:], counts


@jit
def replay_range(
    r: int, edges: Any, progress: Any, in_hand: Any, words: Any, index: Any, layout: Any, touched: Any,
    rows: Any, pages: Any, how: Any, lanes: Any,
) -> bool:  # fmt: skip
    """Apply the slice's events of one range of folios, once the slice before has left it. False: never."""
    offsets, counts, owner0 = pages
    state, rules, every, guesses, first = how
    numbers, wide, counted, tally, bad = lanes
    spins = 0
    while True:
        left = load(progress, LINE * (1 + r))
        if left == in_hand[NUMBER]:
            break
        if left == STOPPED:
            return False
        spins += 1
        if spins % SPINS == 0:
            if load(progress, GIVEN_UP):
                return False
            let_others_run()
    low, part = edges[r], part_of(layout, edges, r)
    if guesses:
        count_pages(words, part[0], part[1], low, edges[r + 1] - low, offsets, counts, owner0, bad)
    replay_groups(
        words, index, rows, part, touched[r], low, state, rules, every, guesses, first, numbers, wide,
        counted, tally, bad,
    )  # fmt: skip
    return True


@jit
def leave_range(r: int, progress: Any, in_hand: Any, bad: Any) -> bool:
    """Let the next slice enter the range, unless some event of this one could not be: then True."""
    failed: bool = in_hand[HIGH] < in_hand[STOP] or bad[0, 0] > 0
    store(progress, LINE * (1 + r), np.int64(STOPPED) if failed else in_hand[NUMBER] + 1)
    return failed
