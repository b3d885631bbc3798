"""Which processes may have changed since they were read: their smaps_rollup is not what it was."""

from __future__ import annotations

from collections.abc import Mapping

from mapcount.report.top.watch import Rollup

UNRELATED = frozenset({"Referenced"})
"""Fields that change though no mapping does."""


class Changes:
    """What each process said of itself when it was read, and what it says now."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[Rollup, float]] = {}
        self._now: Mapping[int, Rollup] = {}

    def seen(self, rollups: Mapping[int, Rollup]) -> None:
        """What all processes say now; all others are gone."""
        self._now = rollups
        self._read = {pid: read for pid, read in self._read.items() if pid in rollups}

    def read(self, pid: int, rollup: Rollup, at: float) -> None:
        """A process was read at this time, and said this before."""
        self._read[pid] = rollup, at

    def next(self) -> int | None:
        """The process to read next: one that is new, else the changed one that was read longest ago."""
        changed = [pid for pid in self._now if pid not in self._read or self._differs(pid)]
        return min(changed, key=lambda pid: self._read[pid][1] if pid in self._read else -1, default=None)

    def _differs(self, pid: int) -> bool:
        before, now = self._read[pid][0], self._now[pid]
        return any(before.get(name) != kib for name, kib in now.items() if name not in UNRELATED)
