"""The two owner slots: which mms map a large folio, as far as the folio can tell.

This is the heart of MM-owner tracking (Linux 6.15; mechanism, sections 3 and 4). Every function here
works on one folio's two `_mm_id` words and two `_mm_id_mapcount` counts, under the folio's bit spinlock.
It never sees who really maps the folio.

The two ids share one machine word with two flags in the top bit of each id:

    bit          63          62 … 32         31          30 … 0          (32-bit: 31, 30 … 16, 15, 14 … 0)
            shared flag      _mm_id[1]     lock bit     _mm_id[0]

Adding n mappings of mm m (the total already includes them), the first row that fits:

    slot 0 is m's     its count += n; if that no longer fits (32-bit): free the slot, set the flag
    slot 1 is m's     the same with slot 1
    slot 0 is free    slot 0 = (m, n); set the flag if total != n
    slot 1 is free    slot 1 = (m, n); set the flag
    none of these     untracked: set the flag (it is set already)

Removing n mappings of mm m (the total no longer includes them):

    1. a slot is m's  its count -= n; at least 1 left: done, the flag is not looked at;
                      else the slot becomes free with count 0
    2. m has no slot, or just lost it: clear the flag if slot 0's or slot 1's count == total
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mapcount.tracking.flavour import Flavour
from mapcount.tracking.mm_id import MM_ID_DUMMY


class OwnerSlots:
    """The two slots of one large folio. Counts are natural: 0 in a free slot."""

    __slots__ = ("_bits_per_id", "_max_count", "mm_id_mapcount", "mm_ids")

    def __init__(self, flavour: Flavour) -> None:
        self._bits_per_id = flavour.bits // 2
        self._max_count = flavour.max_slot_mapcount
        self.mm_ids = 0
        """The machine word: both ids, the lock bit and the shared flag."""
        self.mm_id_mapcount = [0, 0]

    def copy(self) -> OwnerSlots:
        """An independent copy."""
        twin = OwnerSlots.__new__(OwnerSlots)
        twin._bits_per_id, twin._max_count = self._bits_per_id, self._max_count
        twin.mm_ids, twin.mm_id_mapcount = self.mm_ids, self.mm_id_mapcount.copy()
        return twin

    @property
    def lock_mask(self) -> int:
        """The lock bit of the bit spinlock: the top bit of the first id."""
        return 1 << (self._bits_per_id - 1)

    @property
    def shared_mask(self) -> int:
        """The shared flag: the top bit of the second id."""
        return 1 << (2 * self._bits_per_id - 1)

    @property
    def locked(self) -> bool:
        """Is the bit spinlock held?"""
        return bool(self.mm_ids & self.lock_mask)

    @property
    def shared(self) -> bool:
        """The flag "mappings may belong to more than one mm"."""
        return bool(self.mm_ids & self.shared_mask)

    @shared.setter
    def shared(self, flag: bool) -> None:
        self.mm_ids = self.mm_ids | self.shared_mask if flag else self.mm_ids & ~self.shared_mask

    def mm_id(self, slot: int) -> int:
        """The id in a slot, without the flag bit; MM_ID_DUMMY when the slot is free."""
        return (self.mm_ids >> (slot * self._bits_per_id)) & (self.lock_mask - 1)

    def set(self, slot: int, mm_id: int, count: int) -> None:
        """Write a slot's id and count; the flag bits stay."""
        shift = slot * self._bits_per_id
        self.mm_ids = self.mm_ids & ~((self.lock_mask - 1) << shift) | mm_id << shift
        self.mm_id_mapcount[slot] = count

    def slot_of(self, mm_id: int) -> int | None:
        """Which slot has this id (with MM_ID_DUMMY: which is the first free one), if any."""
        if self.mm_id(0) == mm_id:
            return 0
        return 1 if self.mm_id(1) == mm_id else None

    def known_of_others(self, mm_id: int) -> int:
        """How many mappings certainly belong to other mms than `mm_id`: a slot never overcounts."""
        return sum(self.mm_id_mapcount[i] for i in (0, 1) if self.mm_id(i) != mm_id)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the bit spinlock. Raises RuntimeError when it is held already (a deadlock)."""
        if self.locked:
            raise RuntimeError("the folio's mapcount lock is held already")
        self.mm_ids |= self.lock_mask
        try:
            yield
        finally:
            self.mm_ids &= ~self.lock_mask

    def add(self, total: int, mm_id: int, n: int) -> None:
        """Account for `n` more mappings of `mm_id`; `total` is the folio's count with them."""
        with self.lock():
            slot = self.slot_of(mm_id)
            if slot is not None:
                count = self.mm_id_mapcount[slot] + n
                if count <= self._max_count:
                    self.mm_id_mapcount[slot] = count
                else:
                    self.set(slot, MM_ID_DUMMY, 0)
                    self.shared = True
                return
            free = self.slot_of(MM_ID_DUMMY)
            if free is not None:
                self.set(free, mm_id, n)
            if free != 0 or total != n:
                self.shared = True

    def remove(self, total: int, mm_id: int, n: int) -> None:
        """Account for `n` mappings of `mm_id` that went; `total` is the folio's count without them."""
        with self.lock():
            slot = self.slot_of(mm_id)
            if slot is not None:
                self.mm_id_mapcount[slot] -= n
                if self.mm_id_mapcount[slot] >= 1:
                    return
                self.set(slot, MM_ID_DUMMY, 0)
            if total in self.mm_id_mapcount:
                self.shared = False

    def __str__(self) -> str:
        def slot(i: int) -> str:
            return f"{self.mm_id(i)}:{self.mm_id_mapcount[i]}" if self.mm_id(i) else "-"

        return f"{slot(0)} {slot(1)}{' shared' if self.shared else ''}"
