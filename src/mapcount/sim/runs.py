"""Sorted runs of consecutive things: the one container behind page tables, VMAs, memory and swap.

A run covers [start, start + n) and can be cut in two. What a container costs grows with the number of
distinct runs, never with the number of pages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Generic, Protocol, Self, TypeVar


class Run(Protocol):
    """`n` consecutive things from `start` on, all alike."""

    start: int
    n: int

    def cut(self, at: int) -> Self:
        """Keep [start, at); return the rest as a run of its own."""

    def joins(self, after: Self) -> bool:
        """Is `after`, which begins where this run ends, of the same kind, so that one run says both?"""


R = TypeVar("R", bound=Run)


class Runs(Generic[R]):
    """Disjoint runs in order of their start."""

    __slots__ = ("_runs", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._runs: list[R] = []

    def __iter__(self) -> Iterator[R]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def at(self, where: int) -> R | None:
        """The run that covers `where`."""
        i = bisect_right(self._starts, where) - 1
        if i >= 0:
            run = self._runs[i]
            if where < run.start + run.n:
                return run
        return None

    def neighbours(self, where: int) -> tuple[R | None, R | None]:
        """The last run that ends at or before `where`, which no run covers, and the first after it."""
        i = bisect_right(self._starts, where)
        return (self._runs[i - 1] if i else None), (self._runs[i] if i < len(self._runs) else None)

    def over(self, start: int, stop: int) -> list[R]:
        """The runs that overlap [start, stop), uncut."""
        i = max(bisect_right(self._starts, start) - 1, 0)
        if i < len(self._runs) and self._runs[i].start + self._runs[i].n <= start:
            i += 1
        return self._runs[i : bisect_left(self._starts, stop)]

    def cut(self, at: int) -> None:
        """Make sure that no run crosses `at`."""
        i = bisect_left(self._starts, at) - 1
        if i >= 0:
            run = self._runs[i]
            if at < run.start + run.n:
                rest = run.cut(at)
                self._starts.insert(i + 1, at)
                self._runs.insert(i + 1, rest)

    def isolate(self, start: int, stop: int) -> list[R]:
        """The runs inside [start, stop), cut so that none reaches outside."""
        self.cut(start)
        self.cut(stop)
        return self.over(start, stop)

    def insert(self, run: R) -> None:
        """Add a run where there is none. Raises ValueError where there is one."""
        i = bisect_left(self._starts, run.start)
        before_ends = i == 0 or self._runs[i - 1].start + self._runs[i - 1].n <= run.start
        after_starts = i == len(self._starts) or run.start + run.n <= self._starts[i]
        if not (before_ends and after_starts):
            raise ValueError(f"[{run.start}, {run.start + run.n}) is taken")
        self._starts.insert(i, run.start)
        self._runs.insert(i, run)

    def remove(self, start: int, stop: int) -> list[R]:
        """Take out, and return, the runs inside [start, stop), cut at its ends."""
        found = self.isolate(start, stop)
        i = bisect_left(self._starts, start)
        del self._starts[i : i + len(found)]
        del self._runs[i : i + len(found)]
        return found

    def heal(self, start: int, stop: int) -> None:
        """Join neighbours of one kind that meet in [start, stop], its ends included."""
        i = max(bisect_left(self._starts, start) - 1, 0)
        last = bisect_right(self._starts, stop)
        while i + 1 < last:
            run, after = self._runs[i], self._runs[i + 1]
            if run.start + run.n == after.start and run.joins(after):
                run.n += after.n
                del self._starts[i + 1], self._runs[i + 1]
                last -= 1
            else:
                i += 1

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of each stretch of [start, stop) that no run covers, in order."""
        for run in self.over(start, stop):
            if start < run.start:
                yield start, run.start
            start = run.start + run.n
        if start < stop:
            yield start, stop

    def last_end(self, default: int = 0) -> int:
        """Where the last run ends."""
        return self._runs[-1].start + self._runs[-1].n if self._runs else default
