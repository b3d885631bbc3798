"""The loop over a block's folios, `L` at a time: the heart of the engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapcount.replay.folios import SHAPE_SHIFT
from mapcount.replay.grouping import sort_block
from mapcount.replay.jit import jit
from mapcount.replay.lanes import load, look_up, store, unpack
from mapcount.replay.pages import count_pages
from mapcount.replay.rules import LANES_EVENT, TOTAL, WRONG, L, add_up, arbitrary, blame, blame_sums, change
from mapcount.replay.trace import ORDER_MASK
from mapcount.replay.verdicts import begin, gather, judge


@jit
def replay_pieces(
    words: Any, inside: Any, index: Any, pieces: Any, size: int, folios: int, indexed: bool,
    sorted_words: Any, sorted_index: Any, rows: Any, layout: Any, offsets: Any, counts: Any, owner0: Any,
    state: Any, rules: Any, every: bool, guesses: bool, first: int, lanes: Any, wide: Any, counted: Any,
    tally: Any, bad: Any,
) -> Any:  # fmt: skip
    """Lay out and apply pieces of blocks, (block, start, stop) each, up to the first with an illegal event.

    Returns how many that were. A block is of `size` folios, unless there are no more.
    """
    for p in range(len(pieces)):
        f = pieces[p, 0] * size
        n = min(size, folios - f)
        start, stop = pieces[p, 1], pieces[p, 2]
        touched = sort_block(
            words, inside, index, start, stop, n, indexed, layout, sorted_words, sorted_index
        )  # fmt: skip
        if guesses:
            count_pages(sorted_words, layout[0], layout[1], f, n, offsets, counts, owner0, bad)
        replay_groups(
            sorted_words, sorted_index, rows, layout, touched, f, state, rules, every, guesses, first, lanes,
            wide, counted, tally, bad,
        )  # fmt: skip
        if bad[0, 0] > 0:
            return p + 1
    return len(pieces)


@jit
def replay_groups(
    words: Any, index: Any, rows: Any, layout: Any, touched: int, f: int, state: Any, rules: Any,
    every: bool, guesses: bool, first: int, lanes: Any, wide: Any, counted: Any, tally: Any, bad: Any,
) -> None:  # fmt: skip
    """Apply events that are laid out, of `touched` folios (`grouping.lay_out`).

    Each folio's first illegal one goes to `bad`. `f`: the number of the first folio that could have events.
    After an illegal event its folio's state means nothing. The others go on, so that the first is found.
    """
    events, _, _, ranked, tops, _ = layout
    orders, event = np.zeros(L, np.int64), np.zeros(LANES_EVENT, np.int32)
    when, noted = np.zeros(L, np.uint32), np.zeros(L, np.bool_)
    had, which = np.zeros(L, np.int64), np.zeros(L, np.int64)
    for g in range((touched + L - 1) // L):
        n = min(L, touched - g * L)
        for k in range(n):
            which[k] = f + ranked[g * L + k]
            had[k] = events[ranked[g * L + k]]
        noted[:] = False
        load(state, which[:n], rules, lanes, wide)
        if every:
            begin(lanes, counted)
        top = np.int64(tops[g])
        for t in range((np.int64(tops[g + 1]) - top) // L):
            j = top + t * L
            unpack(words[j : j + L], event)
            wrong = change(event, lanes, rules.most_in_slot) < 0
            wrong |= add_up(event, lanes, wide)
            if wrong or rules.any_level:
                blame(event, lanes, rules.most_in_slot)
                if rules.any_level:
                    arbitrary(event, lanes, rules.pmd_order)
                if blame_sums(event, lanes, wide):
                    note(lanes, which[:n], t, noted, bad)
            if every:
                if len(rows) > 0:
                    look_up(index[j : j + L], rows, event, when)
                    judge(event, when, lanes, wide, counted, guesses)
                else:
                    judge(event, index[j : j + L], lanes, wide, counted, guesses)
        store(state, which[:n], rules, lanes, wide)
        if every:
            for k in range(n):
                orders[k] = (state[2][which[k]] >> np.uint32(SHAPE_SHIFT)) & np.uint32(ORDER_MASK)
            gather(orders, had, n, lanes, counted, first, tally)


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
