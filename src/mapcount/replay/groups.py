"""The loop over a block's folios, sixteen at a time: the heart of the engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapcount.replay.folios import SHAPE_SHIFT
from mapcount.replay.grouping import rank
from mapcount.replay.jit import jit
from mapcount.replay.lanes import AHEAD, fetch, fetch_rows, load, store, unpack
from mapcount.replay.rules import LANES_EVENT, TOTAL, WRONG, L, add_up, arbitrary, blame, blame_sums, change
from mapcount.replay.trace import ORDER_MASK
from mapcount.replay.verdicts import begin, gather, judge


@jit
def replay_folios(
    words: Any, index: Any, rows: Any, starts: Any, state: Any, f: int, folios: int, rules: Any, every: bool,
    guesses: bool, first: int, packed: Any, lanes: Any, wide: Any, counted: Any, tally: Any, bad: Any,
    counts: Any, ranked: Any,
) -> None:  # fmt: skip
    """Apply the sorted events of folios [f, f + folios); each one's first illegal event goes to `bad`.

    After an illegal event its folio's state means nothing. The others go on, so that the first is found.
    """
    orders, event = np.zeros(L, np.int64), np.zeros(LANES_EVENT, np.int32)
    when = np.zeros((AHEAD, L), np.int32)
    noted = np.zeros(L, np.bool_)
    at, ends = np.zeros(L, np.uint64), np.zeros(L, np.uint64)
    touched = rank(starts, folios, counts, ranked)
    for g in range(0, touched, L):
        n = min(L, touched - g)
        at[:] = 0
        ends[:] = 0
        noted[:] = False
        for k in range(n):
            at[k], ends[k] = starts[ranked[g + k]], starts[ranked[g + k] + 1]
            ranked[g + k] += f
        which = ranked[g : g + n]
        longest = (ends - at).max()
        load(state, which, rules, lanes, wide)
        if every:
            begin(lanes, counted)
        for done in range(0, longest, AHEAD):
            soon = min(AHEAD, longest - done)
            fetch(words, at, ends, done, packed)
            if every:
                fetch_rows(index, rows, at, ends, done, when)
            for t in range(soon):
                unpack(packed[t], event)
                wrong = change(event, lanes, rules.most_in_slot) < 0
                wrong |= add_up(event, lanes, wide)
                if wrong or rules.any_level:
                    blame(event, lanes, rules.most_in_slot)
                    if rules.any_level:
                        arbitrary(event, lanes, rules.pmd_order)
                    if blame_sums(event, lanes, wide):
                        note(lanes, which, done + t, noted, bad)
                if every:
                    judge(event, when[t], lanes, wide, counted, guesses)
        store(state, which, rules, lanes, wide)
        if every:
            for k in range(n):
                orders[k] = (state[2][which[k]] >> np.uint32(SHAPE_SHIFT)) & np.uint32(ORDER_MASK)
            gather(orders, ends - at, n, lanes, counted, first, tally)


@jit
def note(lanes: Any, which: Any, t: int, noted: Any, bad: Any) -> None:
    """Keep each folio's first illegal event: (folio, which of its events, reasons, mappings after it).

    `bad[0, 0]` is how many there are; they follow.
    """
    for k in range(len(which)):
        if lanes[WRONG + k] and not noted[k]:
            noted[k] = True
            n = bad[0, 0] + 1
            bad[0, 0] = n
            bad[n, 0], bad[n, 1], bad[n, 2], bad[n, 3] = which[k], t, lanes[WRONG + k], lanes[TOTAL + k]


@jit
def first_bad(folio: Any, low: int, high: int, nth: Any, seen: Any) -> Any:
    """Which of the events [low, high) is the first illegal one? `nth`: which of its folio's events is."""
    for i in range(np.uint64(low), np.uint64(high)):
        f = np.uint64(folio[i])
        if seen[f] == nth[f]:
            return np.int64(i)
        seen[f] += np.uint32(1)
    return high
