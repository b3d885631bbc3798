"""Which id an address space has: the MM-ID allocator (mechanism, section 3)."""

from __future__ import annotations

import heapq

from mapcount.tracking.flavour import Flavour

MM_ID_DUMMY = 0
"""The id of an unused slot, and of an mm that never maps folios by rmap."""


class NoMmIdLeft(RuntimeError):
    """All MM ids are taken: the kernel would fail the fork with ENOMEM."""


class MmIdAllocator:
    """Hands out the lowest free id, 1 first, so ids are reused as soon as an mm is freed."""

    def __init__(self, flavour: Flavour) -> None:
        self.max = flavour.max_mm_id
        self._never_used = 1
        self._freed: list[int] = []
        self._taken: set[int] = set()

    def alloc(self) -> int:
        """The lowest free id, now taken. Raises NoMmIdLeft when every id up to `max` is."""
        if self._freed:
            mm_id = heapq.heappop(self._freed)
        elif self._never_used <= self.max:
            mm_id = self._never_used
            self._never_used += 1
        else:
            raise NoMmIdLeft(f"all {self.max} MM ids are taken")
        self._taken.add(mm_id)
        return mm_id

    def free(self, mm_id: int) -> None:
        """Give an id back. Raises ValueError when it is not taken."""
        if mm_id not in self._taken:
            raise ValueError(f"MM id {mm_id} is not in use")
        self._taken.remove(mm_id)
        heapq.heappush(self._freed, mm_id)
