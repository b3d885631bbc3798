"""A scheme's search: every state is the truth with the scheme's integers, and remembers what it came from.

States lie in one array in the order in which they were met, so that a layer is a stretch of it; a table of
open addressing finds one again. A scheme may look at pages and at MM ids as it likes, so nothing is reduced.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit, typeof, types
from numpy.typing import NDArray

from mapcount.check.jit import jit
from mapcount.check.rows import mix
from mapcount.replay.grouping import ENTRY, IS_NEW, SUBTRACTS
from mapcount.replay.schemes import ANSWER, CHANGE, WALK

GUARD: Final = 8
"""Integers on both sides of a state, to notice a scheme that writes beside it."""
GUARDED: Final = 0x6D61_7063_6F75_6E74

STATES, TRIED, FULL, BESIDE = range(4)
"""Places in `counts`: states, events tried, no room for another state, a scheme wrote beside its state."""
EXCLUSIVE_SHARED, WRONGLY_SHARED, NOT_AS_NEW = range(3)
"""Rows of `found`: [how many states, the first of them]."""
KINDS: Final = 3


class Setting(NamedTuple):
    """A world and a scheme, as far as loops need to know them."""

    mms: int
    pages: int
    bits: int
    words: int
    """Of the scheme's state, and one more if it is told of the owner every so often."""
    reset_every: int


class States(NamedTuple):
    """What was met."""

    table: NDArray[np.int32]
    """1 + a state's number; 0 is free. Its length is a power of two."""
    keys: NDArray[np.int64]
    vectors: NDArray[np.int64]
    """[state, word]: the scheme's integers."""
    parents: NDArray[np.int32]
    """The state that it came from."""
    events: NDArray[np.int32]
    """The event: the mm's place, times 2^16, and the row of its table."""


def bytes_per_state(words: int) -> int:
    """What one state takes, with its part of the table."""
    return 8 + 8 * words + 4 + 4 + 4 * 4


def new_states(most: int, words: int) -> States:
    """Room for so many states: memory is taken as they are met. The first state is all 0."""
    return States(
        np.zeros(1 << max(4, (2 * most - 1).bit_length()), np.int32),
        np.zeros(most, np.int64),
        np.zeros((most, words), np.int64),
        np.zeros(most, np.int32),
        np.zeros(most, np.int32),
    )


@jit
def find(states: Any, key: Any, vector: Any, counts: Any, parent: Any, event: Any) -> Any:
    """The number of a state, new if need be and if `parent` is not negative; -1 if there is none."""
    hashed = mix(np.uint64(key))
    for word in vector:
        hashed = mix(hashed ^ np.uint64(word))
    mask = np.uint64(len(states.table) - 1)
    at = hashed & mask
    while states.table[at]:
        number = np.int64(states.table[at]) - 1
        if states.keys[number] == key:
            same = True
            for w in range(len(vector)):
                same &= states.vectors[number, w] == vector[w]
            if same:
                return number
        at = (at + np.uint64(1)) & mask
    if parent < 0:
        return np.int64(-1)
    number = counts[STATES]
    if number == len(states.keys):
        counts[FULL] = 1
        return np.int64(-1)
    counts[STATES] += 1
    states.table[at] = np.int32(number + 1)
    states.keys[number] = key
    for w in range(len(vector)):
        states.vectors[number, w] = vector[w]
    states.parents[number], states.events[number] = parent, event
    return number


def search_layer(
    add: Any, remove: Any, maybe_shared: Any, walked: Any, setting: Any, begin: int, end: int,
    states: Any, one: Any, counts: Any, found: Any, stop: Any, said: Any, leads: Any,
) -> None:  # fmt: skip
    """Try every event in states [begin, end).

    States met for the first time are judged: `said[state]`. Where `leads` has columns, nothing is added: it
    gets the number of the state that each event leads to, by row of the mm's table from `mm * its width` on.
    """
    mms, words = setting.mms, setting.words
    theirs = words - 1 if setting.reset_every else words
    mask = np.int64((1 << setting.bits) - 1)
    room = np.full(2 * GUARD + words, GUARDED, np.int64)
    vector = room[GUARD : GUARD + words]
    state = room[GUARD : GUARD + theirs]
    numbers = np.zeros(mms, np.int64)
    width = leads.shape[1] // mms
    for s in range(begin, end):
        if stop[0]:
            return
        key, total = states.keys[s], np.int64(0)
        for i in range(mms):
            numbers[i] = (key >> (i * setting.bits)) & mask
            total += one.entries[numbers[i]]
        for i in range(mms):
            mine = numbers[i]
            first = one.first[mine]
            for e in range(first, one.first[mine + 1]):
                if one.does[e] & IS_NEW:
                    continue
                to = np.int64(one.to[e])
                then = total + one.entries[to] - one.entries[mine]
                n = np.int64(1) if one.does[e] & ENTRY else np.int64(one.nr[e])
                for w in range(words):
                    vector[w] = states.vectors[s, w]
                if one.does[e] & SUBTRACTS:
                    remove(state, i + 1, np.int64(one.page[e]), np.int64(one.nr[e]), n, then)
                else:
                    add(state, i + 1, np.int64(one.page[e]), np.int64(one.nr[e]), n, then)
                owners, owner = 0, 0
                for j in range(mms):
                    if (to if j == i else numbers[j]) > 0:
                        owners, owner = owners + 1, j + 1
                if setting.reset_every:
                    vector[theirs] = (vector[theirs] + 1) % setting.reset_every
                    if vector[theirs] == 0:
                        walked(state, owner if owners == 1 else 0, then)
                if width:
                    leads[s - begin, i * width + e - first] = find(
                        states, key ^ ((mine ^ to) << (i * setting.bits)), vector, counts, np.int64(-1), 0
                    )
                    continue
                counts[TRIED] += 1
                met = counts[STATES]
                number = find(
                    states, key ^ ((mine ^ to) << (i * setting.bits)), vector, counts, np.int64(s),
                    (i << 16) + e - first,
                )  # fmt: skip
                for g in range(GUARD):
                    if room[g] != GUARDED or room[GUARD + words + g] != GUARDED:
                        counts[BESIDE] = 1
                if number < 0 or counts[BESIDE]:
                    return
                if number == met:
                    as_new = True
                    for w in range(theirs):
                        as_new &= state[w] == 0
                    maybe = maybe_shared(state, setting.pages, then)
                    said[number] = maybe
                    if owners > 1 and not maybe:
                        tell(found, EXCLUSIVE_SHARED, number)
                    if owners == 1 and maybe:
                        tell(found, WRONGLY_SHARED, number)
                    if owners == 0 and not as_new:
                        tell(found, NOT_AS_NEW, number)


@jit
def tell(found: Any, kind: int, number: Any) -> None:
    """Count a state, and keep the first."""
    if found[kind, 0] == 0:
        found[kind, 1] = number
    found[kind, 0] += 1


@cache
def _compiled(*arguments: Any) -> Any:
    functions = (types.FunctionType(signature) for signature in (CHANGE, CHANGE, ANSWER, WALK))
    return njit((*functions, *arguments), cache=True, nogil=True)(search_layer)


def layer_search(*arguments: Any) -> None:
    """`search_layer`, compiled once for functions of any scheme. Found on disk after the first time."""
    kinds: list[Any] = [typeof(argument) for argument in arguments[4:]]  # type: ignore[no-untyped-call]
    _compiled(*kinds)(*arguments)
