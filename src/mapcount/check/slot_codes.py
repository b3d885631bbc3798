"""What two owner slots can say, as a number: so that a set of slot states is a row of bits.

A slot is free, or names one of `mms` mms with a count from 1 to `most`: 1 + mms * most possibilities, the
free one first. Two slots and the flag make a code. What has no code breaks an invariant (`free-slot-empty`,
`slots-distinct`, or a count larger than any mm can have), and is found out before it would get one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]


class Decoded(NamedTuple):
    """Each code's slots."""

    owner0: I32
    count0: I32
    owner1: I32
    count1: I32
    shared: I32


class Masks(NamedTuple):
    """Sets of codes, as rows of 64-bit words."""

    shared: U64
    """The flag is set."""
    above: U64
    """[mm, n]: mm has a slot with a count larger than n."""


@dataclass(frozen=True)
class SlotCodes:
    """The codes for `mms` mms, each with at most `most` mappings; `most` 0 where there are no slots."""

    mms: int
    most: int

    @property
    def of_slot(self) -> int:
        """What one slot can say."""
        return 1 + self.mms * self.most

    def __len__(self) -> int:
        return 2 * self.of_slot**2

    @property
    def words(self) -> int:
        """64-bit words of a row."""
        return -(-len(self) // 64)

    def decoded(self) -> Decoded:
        """Every code's slots, by code."""
        codes = np.arange(len(self))
        shared, slots = codes & 1, codes >> 1

        def slot(said: NDArray[np.int64]) -> tuple[I32, I32]:
            taken, most = said > 0, max(self.most, 1)
            owner = np.where(taken, 1 + (said - 1) // most, 0)
            count = np.where(taken, 1 + (said - 1) % most, 0)
            return owner.astype(np.int32), count.astype(np.int32)

        return Decoded(*slot(slots // self.of_slot), *slot(slots % self.of_slot), shared.astype(np.int32))

    def masks(self) -> Masks:
        """The sets that invariants ask for."""
        owner0, count0, owner1, count1, shared = self.decoded()
        above = np.zeros((self.mms, self.most + 1, self.words), np.uint64)
        for mm in range(self.mms):
            for n in range(self.most + 1):
                has = ((owner0 == mm + 1) & (count0 > n)) | ((owner1 == mm + 1) & (count1 > n))
                above[mm, n] = self.row(has)
        return Masks(self.row(shared == 1), above)

    def row(self, members: NDArray[np.bool_]) -> U64:
        """The row of bits of the codes that are members."""
        padded = np.zeros(self.words * 64, np.bool_)
        padded[: len(members)] = members
        return np.packbits(padded, bitorder="little").view(np.uint64)

    def members(self, row: U64) -> NDArray[np.int64]:
        """The codes in a row of bits."""
        return np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))
