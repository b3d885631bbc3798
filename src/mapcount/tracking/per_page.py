"""One small number for every page of a folio, kept as runs of equal numbers.

A PMD-size folio whose pages are all mapped twice is one run, not 512 numbers; a folio of a gibibyte
costs no more. The state grows with the number of *distinct* runs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class PerPage:
    """`nr_pages` numbers, all `value` at first. Pages are counted from 0; ranges are half open."""

    __slots__ = ("_starts", "_values", "nr_pages")

    def __init__(self, nr_pages: int, value: int = 0) -> None:
        self.nr_pages = nr_pages
        self._starts = [0]
        self._values = [value]

    def copy(self) -> PerPage:
        """An independent copy."""
        twin = PerPage.__new__(PerPage)
        twin.nr_pages = self.nr_pages
        twin._starts = self._starts.copy()
        twin._values = self._values.copy()
        return twin

    def __getitem__(self, page: int) -> int:
        if not 0 <= page < self.nr_pages:
            raise IndexError(f"page {page} of a folio of {self.nr_pages} pages")
        return self._values[bisect_right(self._starts, page) - 1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PerPage):
            return NotImplemented
        return self.nr_pages == other.nr_pages and list(self.runs()) == list(other.runs())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PerPage({self.rle()})"

    def runs(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int, int]]:
        """(first page, number of pages, value) of each run in [start, stop), in order."""
        stop = self.nr_pages if stop is None else stop
        i = bisect_right(self._starts, start) - 1
        while start < stop:
            end = self._starts[i + 1] if i + 1 < len(self._starts) else self.nr_pages
            end = min(end, stop)
            yield start, end - start, self._values[i]
            start = end
            i += 1

    def rle(self) -> str:
        """Run-length text, as recordings write it: `256*1 256*2`."""
        return " ".join(f"{n}*{value}" for _, n, value in self.runs())

    def sum(self, start: int = 0, stop: int | None = None) -> int:
        """The sum of the numbers in [start, stop)."""
        return sum(n * value for _, n, value in self.runs(start, stop))

    def min(self, start: int = 0, stop: int | None = None) -> int:
        """The smallest number in [start, stop)."""
        return min(value for _, _, value in self.runs(start, stop))

    def max(self, start: int = 0, stop: int | None = None) -> int:
        """The largest number in [start, stop)."""
        return max(value for _, _, value in self.runs(start, stop))

    def nonzero(self, start: int = 0, stop: int | None = None) -> int:
        """How many pages of [start, stop) have a number other than 0."""
        return sum(n for _, n, value in self.runs(start, stop) if value)

    def add(self, start: int, n: int, by: int) -> int:
        """Add `by` to pages [start, start+n); how many of them went between 0 and not 0.

        Raises ValueError, and changes nothing, when a number would become negative or a page is
        not of this folio.
        """
        if not (0 <= start and n >= 1 and start + n <= self.nr_pages):
            raise ValueError(f"pages {start}..{start + n - 1} are not of a folio of {self.nr_pages} pages")
        if by < 0 and self.min(start, start + n) < -by:
            raise ValueError(f"pages {start}..{start + n - 1} are not all mapped {-by} time(s)")
        i, j = self._cut(start), self._cut(start + n)
        turned = 0
        for k in range(i, j):
            before, after = self._values[k], self._values[k] + by
            if (before == 0) != (after == 0):
                end = self._starts[k + 1] if k + 1 < len(self._starts) else self.nr_pages
                turned += end - self._starts[k]
            self._values[k] = after
        self._heal(i, j)
        return turned

    def set(self, start: int, n: int, value: int) -> None:
        """Give pages [start, start+n) the number `value`."""
        i, j = self._cut(start), self._cut(start + n)
        self._starts[i:j] = [start]
        self._values[i:j] = [value]
        self._heal(i, i + 1)

    def _cut(self, at: int) -> int:
        """The index of the run that starts at page `at`, cutting one in two if need be."""
        if at >= self.nr_pages:
            return len(self._starts)
        i = bisect_left(self._starts, at)
        if i == len(self._starts) or self._starts[i] != at:
            self._starts.insert(i, at)
            self._values.insert(i, self._values[i - 1])
        return i

    def _heal(self, i: int, j: int) -> None:
        """Join neighbours of equal value around runs i..j."""
        for k in range(min(j, len(self._starts) - 1), max(i, 1) - 1, -1):
            if self._values[k] == self._values[k - 1]:
                del self._starts[k], self._values[k]
