"""After a layer: every state that was first met in it is judged, counted, and becomes the next frontier.

What an invariant says of truth and slots is a set of codes, by truth: a row of states breaks it where the
two have bits in common.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from mapcount.check.expand import locals_of
from mapcount.check.jit import jit
from mapcount.check.rows import COMING, lowest, popcount

EXCLUSIVE_SHARED, SLOT_UNTRUE, UNMAPPED_NOT_ZERO, WRONGLY_SHARED = range(4)
"""What may be said of a state: rows of `found`."""
KINDS: Final = 4
STATES, KEY, CODE = range(3)
"""Columns of `found`: how many states, and the key and code of the first."""
NEW_STATES, STANDS_FOR = range(2)
"""Places in `sums`: states of this layer, and how many they stand for."""


@jit
def settle(shard: Any, rules: Any, one: Any, decoded: Any, masks: Any, found: Any, sums: Any) -> None:
    """Judge and count the rows in the queue; they are the frontier then."""
    words = shard.visited.shape[1]
    numbers = np.zeros(rules.mms, np.int32)
    for at in range(shard.counts[COMING]):
        row = shard.queue[at]
        key = shard.keys[row]
        locals_of(key, rules, numbers)
        total, owners = 0, 0
        for i in range(rules.mms):
            total += one.entries[numbers[i]]
            owners += numbers[i] > 0
        for w in range(words):
            states = shard.coming[row, w]
            shard.coming[row, w] = np.uint64(0)
            shard.frontier[row, w] = states
            if not states:
                continue
            sums[NEW_STATES] += popcount(states)
            if not rules.slotted:
                continue
            if owners > 1:
                record(found[EXCLUSIVE_SHARED], states & ~masks.shared[w], key, w)
            elif owners == 0:
                all_but_zero = states & ~np.uint64(1) if w == 0 else states
                record(found[UNMAPPED_NOT_ZERO], all_but_zero, key, w)
            elif total > 1:
                record(found[WRONGLY_SHARED], states & masks.shared[w], key, w)
            untrue = np.uint64(0)
            for i in range(rules.mms):
                untrue |= masks.above[i, min(one.entries[numbers[i]], rules.most), w]
            record(found[SLOT_UNTRUE], states & untrue, key, w)
        if rules.reduced:
            sums[STANDS_FOR] += stands_for(shard.frontier[row], numbers, rules, one, decoded)
    shard.active[: shard.counts[COMING]] = shard.queue[: shard.counts[COMING]]


@jit
def record(found: Any, states: Any, key: Any, w: int) -> None:
    """Count these states, and keep the first by key and code."""
    if states:
        found[STATES] += popcount(states)
        code = np.int64(w * 64) + lowest(states)
        if (
            found[KEY] < 0
            or np.int64(key) < found[KEY]
            or (np.int64(key) == found[KEY] and code < found[CODE])
        ):
            found[KEY], found[CODE] = np.int64(key), code


@jit
def stands_for(states: Any, numbers: Any, rules: Any, one: Any, decoded: Any) -> Any:
    """How many states of the world these stand for: all that differ by MM ids and mirror images.

    MM ids can be given to n mms in n! ways; those of equal numbers that own no slot are not told apart.
    """
    base, equal, group = 1, np.zeros(rules.mms, np.int64), np.zeros(rules.mms, np.int64)
    for i in range(rules.mms):
        base *= (i + 1) * one.size[numbers[i]]
        group[i] = group[i - 1] if i and numbers[i - 1] == numbers[i] else i
        equal[group[i]] += 1
    for i in range(rules.mms):
        for k in range(2, equal[i] + 1):
            base //= k
    sum_of = 0
    for w in range(len(states)):
        word = states[w]
        while word:
            code = w * 64 + lowest(word)
            word &= word - np.uint64(1)
            owner0, owner1 = decoded.owner0[code], decoded.owner1[code]
            ways, less = base, 0
            if owner0:
                ways *= equal[group[owner0 - 1]]
            if owner1:
                less = 1 if owner0 and group[owner0 - 1] == group[owner1 - 1] else 0
                ways *= equal[group[owner1 - 1]] - less
            sum_of += ways
    return sum_of


@jit
def take_back(shard: Any) -> None:
    """Forget what was met since the last layer was settled."""
    for at in range(shard.counts[COMING]):
        row = shard.queue[at]
        for w in range(shard.visited.shape[1]):
            shard.visited[row, w] &= ~shard.coming[row, w]
            shard.coming[row, w] = np.uint64(0)
    shard.counts[COMING] = 0
