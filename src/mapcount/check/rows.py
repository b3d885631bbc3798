"""The states found so far: for each way that mms map the folio, the set of what the slots may say then.

A *row* is one truth, that is one number (`one_mm.py`) for each mm, packed into a key of 64 bits, and with
it bits for the codes of slot states (`slot_codes.py`) that were met together with it. A table of open
addressing finds the row of a key. A state costs a few bits, and all events of a row are dealt with at once.

Rows are shared out among *shards*. Only its own thread adds to a shard.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapcount.check.jit import jit

U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]

ROWS, COMING, FULL = 0, 1, 2
"""Places in `Shard.counts`: rows in use, rows of the next layer, and whether a row found no room."""


class Shard(NamedTuple):
    """Rows, and the table that finds them."""

    slots: I32
    """The table: 1 + a row's number; 0 is free. Its length is a power of two."""
    keys: U64
    visited: U64
    """[row, word]: every state that was met."""
    frontier: U64
    """[row, word]: those first met in the last layer. Meaningful for rows in `active` only."""
    coming: U64
    """[row, word]: those first met in the next one."""
    active: I32
    """Rows of the last layer."""
    queue: I32
    """Rows of the next one."""
    counts: NDArray[np.int64]


def bytes_per_row(words: int) -> int:
    """What one row takes, with its part of the table."""
    return 8 + 3 * 8 * words + 2 * 4 + 4 * 4


def new_shard(rows: int, words: int) -> Shard:
    """An empty shard with room for so many rows: memory is taken as they are filled."""
    table = 1 << max(4, (2 * rows - 1).bit_length())
    visited, frontier, coming = (np.zeros((rows, words), np.uint64) for _ in range(3))
    return Shard(
        np.zeros(table, np.int32),
        np.zeros(rows, np.uint64),
        visited,
        frontier,
        coming,
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int32),
        np.zeros(3, np.int64),
    )


@jit
def mix(key: Any) -> Any:
    """A hash of all bits of a key."""
    h = key ^ (key >> np.uint64(33))
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@jit
def weight(number: Any) -> Any:
    """What one mm's number adds to the sum by which rows are shared out.

    A sum does not depend on the order of mms, so it is known before they find their places.
    """
    return mix(np.uint64(number) + np.uint64(1))


@jit
def shard_of(weights: Any, shards: int) -> Any:
    """Whose row it is, by the sum of its mms' weights."""
    return (weights >> np.uint64(40)) % np.uint64(shards)


@jit
def weights_of(key: Any, mms: int, bits: int) -> Any:
    """The sum of the weights of a key's mms."""
    sum_of, mask = np.uint64(0), np.uint64((1 << bits) - 1)
    for i in range(mms):
        sum_of += weight((key >> np.uint64(i * bits)) & mask)
    return sum_of


@jit
def find(shard: Any, key: Any, hashed: Any, add: bool) -> Any:
    """The row of a key, new if need be and allowed; -1 if there is none."""
    mask = np.uint64(len(shard.slots) - 1)
    at = hashed & mask
    while shard.slots[at]:
        row = np.int64(shard.slots[at]) - 1
        if shard.keys[row] == key:
            return row
        at = (at + np.uint64(1)) & mask
    row = shard.counts[ROWS]
    if not add or row == len(shard.keys):
        shard.counts[FULL] |= np.int64(add)
        return np.int64(-1)
    shard.counts[ROWS] = row + 1
    shard.keys[row] = key
    shard.slots[at] = np.int32(row + 1)
    return row


@jit
def fill(
    shard: Any, me: int, shards: int, mms: int, bits: int, keys: Any, visited: Any, frontier: Any
) -> Any:
    """Put the rows that are this shard's into it, empty as it is. Returns whether there was room."""
    for k in range(len(keys)):
        if shard_of(weights_of(keys[k], mms, bits), shards) != np.uint64(me):
            continue
        row = find(shard, keys[k], mix(keys[k]), True)
        if row < 0:
            return False
        shard.visited[row] = visited[k]
        shard.frontier[row] = frontier[k]
        if frontier[k].any():
            shard.active[shard.counts[COMING]] = row
            shard.counts[COMING] += 1
    return True


@jit
def popcount(word: Any) -> Any:
    """How many bits are set."""
    w = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    w = (w & np.uint64(0x3333333333333333)) + ((w >> np.uint64(2)) & np.uint64(0x3333333333333333))
    w = (w + (w >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((w * np.uint64(0x0101010101010101)) >> np.uint64(56))


@jit
def bits_of(rows: Any) -> Any:
    """How many bits are set in all rows."""
    n = 0
    for k in range(rows.shape[0]):
        for w in range(rows.shape[1]):
            n += popcount(rows[k, w])
    return n


@jit
def lowest(word: Any) -> Any:
    """The number of the lowest bit that is set, of a word that is not 0."""
    return popcount((word & (~word + np.uint64(1))) - np.uint64(1))
