"""Everything the tracking core keeps incrementally, counted anew by plain loops over plain lists.

Nothing here is shared with the code under test, not even its words for numbers. Two parts:

`NaiveFolio`: who maps what, as one list of numbers per mm, and what follows from that alone: counts,
statistics, verdicts. `NaiveSlots`: owner slots as pairs in a list, for any number of slots; the rules of
section 4 of the mechanism, row by row. (What slots hold depends on history: it cannot be recounted.)
"""

from __future__ import annotations

from itertools import count

PAGES_OF_A_PMD = 512


def lowest_free(taken: set[int]) -> int:
    """The smallest number from 1 on that is not taken."""
    return next(i for i in count(1) if i not in taken)


class NaiveFolio:
    """The mappings of one folio: `ptes[mm][page]` PTEs and `pmds[mm][chunk]` PMDs of each mm."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.nr = 1 << order
        self.ptes: dict[int, list[int]] = {}
        self.pmds: dict[int, list[int]] = {}
        self._counted: list[int] | None = None

    def map(self, mm: int, page: int, nr: int, pmd: bool = False, by: int = 1) -> None:
        """`mm` maps these pages once more (or `by` = -1: once less), by PTEs or by PMDs."""
        self._counted = None
        ptes = self.ptes.setdefault(mm, [0] * self.nr)
        pmds = self.pmds.setdefault(mm, [0] * (self.nr // PAGES_OF_A_PMD))
        if pmd:
            for chunk in range(page // PAGES_OF_A_PMD, (page + nr) // PAGES_OF_A_PMD):
                pmds[chunk] += by
        else:
            for i in range(page, page + nr):
                ptes[i] += by
        assert min(ptes) >= 0
        assert min(pmds, default=0) >= 0
        if not any(ptes) and not any(pmds):
            del self.ptes[mm], self.pmds[mm]

    def unmap(self, mm: int, page: int, nr: int, pmd: bool = False) -> None:
        """`mm` maps these pages once less."""
        self.map(mm, page, nr, pmd, by=-1)

    def mms(self) -> list[int]:
        """Who maps any of it."""
        return sorted(self.ptes)

    def of(self, mm: int) -> int:
        """How many page-table entries of `mm` map any part of it."""
        return sum(self.ptes.get(mm, [])) + sum(self.pmds.get(mm, []))

    def total(self) -> int:
        """How many page-table entries map any part of it."""
        return sum(self.of(mm) for mm in self.mms())

    def nr_pmds(self) -> int:
        """How many PMDs map any part of it."""
        return sum(sum(pmds) for pmds in self.pmds.values())

    def ptes_of_pages(self) -> list[int]:
        """How many PTEs map each page, counted again after every change."""
        if self._counted is None:
            self._counted = [sum(column) for column in zip(*self.ptes.values(), strict=True)] or [0] * self.nr
        return self._counted

    def mapped_pages(self) -> int:
        """Pages, counted as often as they are mapped."""
        return sum(self.ptes_of_pages()) + PAGES_OF_A_PMD * self.nr_pmds()

    def mapped_at_all(self) -> int:
        """Pages mapped at all, by PTEs or by a PMD of all the folio."""
        return self.nr if self.nr_pmds() else len([n for n in self.ptes_of_pages() if n])

    def runs_of(self, mm: int) -> list[tuple[int, int]]:
        """All PTEs of `mm` as (page, length) of runs of consecutive pages, each page as often as mapped."""
        left = list(self.ptes.get(mm, []))
        runs = [(0, self.nr)] * min(left, default=0)
        left = [n - len(runs) for n in left]
        while any(left):
            page = 0
            while page < self.nr:
                start = page
                while page < self.nr and left[page]:
                    left[page] -= 1
                    page += 1
                if page > start:
                    runs.append((start, page - start))
                page += 1
        return runs

    def chunks_of(self, mm: int) -> list[int]:
        """The first page of each PMD of `mm`, as often as mapped."""
        return [i * PAGES_OF_A_PMD for i, n in enumerate(self.pmds.get(mm, [])) for _ in range(n)]

    # -- what the flavours say of it ------------------------------------------------------------------

    def stat(self, flavour: str) -> int:
        """Its share of AnonPages (or Mapped): pages mapped at all, or the whole folio once any is."""
        if flavour in ("v6.14", "page-mapcount"):
            return self.mapped_at_all()
        return self.nr if self.total() else 0

    def pmd_stat(self) -> int:
        """Its share of AnonHugePages (or the like): PMD-size folios that have a PMD mapping."""
        return self.nr if self.nr == PAGES_OF_A_PMD and self.nr_pmds() else 0

    def found_partial(self, flavour: str, before: list[int], pmd: bool) -> bool:
        """Was it found partially mapped by a removal before which PTEs mapped its pages like that?"""
        now = self.ptes_of_pages()
        if self.nr == 1:
            return False
        if flavour == "total-mapped-pages":
            return 0 < self.mapped_pages() < self.nr
        if self.nr_pmds():
            return False
        if flavour == "no-page-mapcount":
            return 0 < self.total() < self.nr
        if pmd:
            return 0 < len([n for n in now if n == 0]) < self.nr
        freed = [page for page in range(self.nr) if before[page] and not now[page]]
        return bool(freed) and any(now)


class NaiveSlots:
    """Owner slots of one folio: `pairs` of [mm, count], [0, 0] when free, and the shared flag."""

    def __init__(self, nr_slots: int = 2, largest: int = 2**31) -> None:
        self.pairs = [[0, 0] for _ in range(nr_slots)]
        self.largest = largest
        self.shared = False

    def add(self, total: int, mm: int, n: int) -> None:
        """`mm` maps it `n` more times, which makes `total`."""
        for pair in self.pairs:
            if pair[0] == mm:
                pair[1] += n
                if pair[1] > self.largest:
                    pair[:] = [0, 0]
                    self.shared = True
                return
        for i, pair in enumerate(self.pairs):
            if pair[0] == 0:
                pair[:] = [mm, n]
                if i > 0 or total != n:
                    self.shared = True
                return
        self.shared = True

    def remove(self, total: int, mm: int, n: int) -> None:
        """`mm` maps it `n` times less, which makes `total`."""
        for pair in self.pairs:
            if pair[0] == mm:
                if pair[1] > n:
                    pair[1] -= n
                    return
                pair[:] = [0, 0]
                break
        for pair in self.pairs:
            if pair[1] == total:
                self.shared = False

    def maybe_shared(self, total: int) -> bool:
        """What these slots answer."""
        return self.shared if total > 1 else False

    def copy(self) -> NaiveSlots:
        """An independent copy."""
        twin = NaiveSlots(len(self.pairs), self.largest)
        twin.pairs = [list(pair) for pair in self.pairs]
        twin.shared = self.shared
        return twin

    def key(self) -> tuple[object, ...]:
        """All of its state, hashable."""
        return (*map(tuple, self.pairs), self.shared)
