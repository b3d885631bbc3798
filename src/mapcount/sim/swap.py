"""Swap slots: how many page-table entries hold each, and which folio caches it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mapcount.sim.runs import Runs


class SwapRun:
    """Slots [start, start + n): `refs` entries hold each; `pfn` is the first one's folio page, if cached.

    `written`: do they hold anything but zeroes?
    """

    __slots__ = ("memcg", "n", "pfn", "refs", "start", "written")

    def __init__(
        self, start: int, n: int, memcg: str, pfn: int | None, refs: int = 0, *, written: bool = True
    ) -> None:
        self.start, self.n, self.memcg, self.pfn, self.refs = start, n, memcg, pfn, refs
        self.written = written

    def cut(self, at: int) -> SwapRun:
        """Keep what is before `at`, return the rest."""
        pfn = None if self.pfn is None else self.pfn + at - self.start
        rest = SwapRun(at, self.start + self.n - at, self.memcg, pfn, self.refs, written=self.written)
        self.n = at - self.start
        return rest

    def joins(self, after: SwapRun) -> bool:
        """Could one run be both?"""
        return self.written == after.written and self.continues_in(after)

    def continues_in(self, after: SwapRun) -> bool:
        """Are both alike, whatever they hold?"""
        if (self.memcg, self.refs) != (after.memcg, after.refs) or (self.pfn is None) != (after.pfn is None):
            return False
        return self.pfn is None or self.pfn + self.n == after.pfn


class Swap:
    """The swap area, as large as it needs to be."""

    def __init__(self) -> None:
        self.slots: Runs[SwapRun] = Runs()
        self._next = 1 << 12

    @property
    def used(self) -> int:
        """Slots in use, in pages."""
        return sum(run.n for run in self.slots)

    def alloc(self, n: int, align: int, memcg: str, pfn: int) -> int:
        """`n` slots that start at a multiple of `align`, cached at page frame `pfn` on; the first of them."""
        start = -(-self._next // align) * align
        self._next = start + n
        self.slots.insert(SwapRun(start, n, memcg, pfn))
        return start

    def save(self, start: int, n: int, content: Iterable[tuple[int, int]]) -> None:
        """What `n` slots hold: zeroes but for `content`, (offset, slots) of each stretch."""
        for run in self.slots.isolate(start, start + n):
            run.written = False
        for offset, length in content:
            for run in self.slots.isolate(start + offset, start + offset + length):
                run.written = True
        self.slots.heal(start, start + n)

    def hold(self, start: int, n: int, by: int) -> None:
        """`by` more (or fewer) entries hold each of these slots. Slots that nobody needs are freed."""
        for run in self.slots.isolate(start, start + n):
            run.refs += by
            if not run.refs and run.pfn is None:
                self.slots.remove(run.start, run.start + run.n)
        self.slots.heal(start, start + n)

    def over(self, start: int, n: int) -> Iterator[SwapRun]:
        """What is known of slots [start, start + n), in order, in runs that do not reach outside."""
        for run in self.slots.over(start, start + n):
            first, stop = max(run.start, start), min(run.start + run.n, start + n)
            pfn = None if run.pfn is None else run.pfn + first - run.start
            yield SwapRun(first, stop - first, run.memcg, pfn, run.refs, written=run.written)

    def stretch(self, start: int, n: int) -> SwapRun:
        """The slots from `start` on, `n` at most, that are alike, whatever they hold."""
        found, *others = self.over(start, n)
        for run in others:
            if not found.continues_in(run):
                break
            found.n += run.n
        return found

    def referenced(self, start: int, n: int) -> bool:
        """Does any entry hold any of these slots?"""
        return any(run.refs for run in self.slots.over(start, start + n))

    def cache(self, start: int, n: int, pfn: int) -> None:
        """Page frames from `pfn` on now cache these slots."""
        for run in self.slots.isolate(start, start + n):
            run.pfn = pfn + run.start - start
        self.slots.heal(start, start + n)

    def release(self, start: int, n: int) -> None:
        """No folio caches these slots any more; those that no entry holds are freed."""
        for run in self.slots.isolate(start, start + n):
            run.pfn = None
            if not run.refs:
                self.slots.remove(run.start, run.start + run.n)
        self.slots.heal(start, start + n)
