"""Page tables: what each page of an address space points at, as runs of consecutive entries."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from mapcount.sim.runs import Runs
from mapcount.tracking.flavour import PMD_ORDER, PTE_ORDER, PUD_ORDER, Flavour

PTRS_PER_TABLE = 1 << PMD_ORDER
"""PTEs in one page table; a batch of PTEs never crosses its end."""

ZERO_PFN = 0
"""The zero page: present, but no folio anybody counts."""


class Entry:
    """Consecutive entries that map consecutive page frames, or hold consecutive swap slots.

    `level` is the order of what one entry maps (0 for PTEs, 9 for PMDs, 18 for PUDs). `target` is the
    page frame (or the swap slot, when `swapped`) of the first page.
    """

    __slots__ = ("dirty", "exclusive", "level", "n", "start", "swapped", "target", "writable", "young")

    def __init__(
        self,
        start: int,
        n: int,
        target: int,
        *,
        level: int = PTE_ORDER,
        writable: bool = False,
        dirty: bool = False,
        young: bool = True,
        swapped: bool = False,
        exclusive: bool = False,
    ) -> None:
        self.start, self.n, self.target = start, n, target
        self.level = level
        self.writable, self.dirty, self.young = writable, dirty, young
        self.swapped = swapped
        self.exclusive = exclusive
        """A swap entry's memory of the page's exclusive mark."""

    @property
    def end(self) -> int:
        """The first page behind it."""
        return self.start + self.n

    @property
    def entries(self) -> int:
        """How many page-table entries these are."""
        return self.n >> self.level

    @property
    def zero(self) -> bool:
        """Do they map the zero page?"""
        return not self.swapped and self.target == ZERO_PFN

    def target_of(self, vpn: int) -> int:
        """Page frame (or swap slot) at a virtual page number."""
        return self.target if self.zero else self.target + vpn - self.start

    def twin(self, start: int, n: int, target: int) -> Entry:
        """Entries of the same kind elsewhere."""
        twin = Entry(start, n, target, level=self.level, writable=self.writable, dirty=self.dirty)
        twin.young, twin.swapped, twin.exclusive = self.young, self.swapped, self.exclusive
        return twin

    def cut(self, at: int) -> Entry:
        """Keep what is before `at`, return the rest. One entry above the PTE level cannot be cut."""
        assert not (at - self.start) % (1 << self.level), "an entry is cut only after it was split"
        rest = self.twin(at, self.end - at, self.target_of(at))
        self.n = at - self.start
        return rest

    def joins(self, after: Entry) -> bool:
        """Could one run be both?"""
        return (
            (self.level, self.swapped, self.writable) == (after.level, after.swapped, after.writable)
            and (self.dirty, self.young, self.exclusive) == (after.dirty, after.young, after.exclusive)
            and self.target_of(after.start) == after.target
        )


class Tables:
    """Tables of PTEs [start, start + n) of an address space; table 3 has the PTEs of the fourth 2 MiB."""

    __slots__ = ("n", "start")

    def __init__(self, start: int, n: int) -> None:
        self.start, self.n = start, n

    def cut(self, at: int) -> Tables:
        """Keep what is before `at`, return the rest."""
        rest = Tables(at, self.start + self.n - at)
        self.n = at - self.start
        return rest

    def joins(self, after: Tables) -> bool:
        """Always: one table is like another."""
        return True


class PageTable(Runs[Entry]):
    """The entries of one address space, and which tables there are for PTEs.

    Where there is a table, even an empty one, no PMD can map a folio instead of it.
    """

    __slots__ = ("tables",)

    def __init__(self) -> None:
        super().__init__()
        self.tables: Runs[Tables] = Runs()

    def insert(self, run: Entry) -> None:
        """Add entries where there are none. Raises ValueError where there are."""
        super().insert(run)
        if run.level == PTE_ORDER:
            self.add_tables(run.start, run.end)

    def add_tables(self, start: int, stop: int) -> None:
        """Make sure that there are tables for the PTEs of [start, stop)."""
        first, last = start // PTRS_PER_TABLE, -(-stop // PTRS_PER_TABLE)
        for low, high in list(self.tables.gaps(first, last)):
            self.tables.insert(Tables(low, high - low))
        self.tables.heal(first, last)

    def free_tables(self, start: int, stop: int) -> None:
        """Give back tables for [start, stop), a multiple of what a table maps, which are empty."""
        self.tables.remove(start // PTRS_PER_TABLE, stop // PTRS_PER_TABLE)

    def tabled(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The stretches of [start, stop) that tables are there for."""
        found = self.tables.over(start // PTRS_PER_TABLE, -(-stop // PTRS_PER_TABLE))
        places = ((t.start * PTRS_PER_TABLE, (t.start + t.n) * PTRS_PER_TABLE) for t in found)
        return [(max(first, start), min(last, stop)) for first, last in places]

    def without_tables(self, at: int) -> tuple[int, int]:
        """The pages around `at` that no tables are there for, so that a PMD could map them; or none."""
        table = at // PTRS_PER_TABLE
        if self.tables.at(table) is not None:
            return at, at
        before, after = self.tables.neighbours(table)
        low = (before.start + before.n) * PTRS_PER_TABLE if before else 0
        return low, after.start * PTRS_PER_TABLE if after else sys.maxsize


def hole_around(table: PageTable, low: int, high: int, at: int) -> tuple[int, int]:
    """The empty stretch around `at`, which nothing maps, inside [low, high)."""
    before, after = table.neighbours(at)
    return max(low, before.end if before else low), min(high, after.start if after else high)


def largest_fit(
    orders: Sequence[int], low: int, high: int, at: int, stop: int, table: PageTable | None = None
) -> tuple[int, int, int]:
    """(order, start, count) of the folios that pages from `at` on up to `stop` get in an empty [low, high).

    The first of `orders`, largest first and 0 last, whose aligned range around `at` is inside; as many of
    them as come before a larger one could fit. Given the page table, a folio of PMD size or more also needs
    a place without tables for PTEs.
    """
    end = stop
    bare = table.without_tables(at) if table is not None else (low, high)
    for order in orders:
        size = 1 << order
        start = at // size * size
        first, last = (max(low, bare[0]), min(high, bare[1])) if order >= PMD_ORDER else (low, high)
        if first <= start and start + size <= last:
            return order, start, max(1, min((last - start) // size, -(-(end - start) // size)))
        end = min(end, start + size)
    raise AssertionError("a small folio always fits")


def batch_end(table: PageTable, at: int, stop: int) -> int:
    """How far, up to `stop`, PTEs from `at` on map consecutive frames, whatever their permissions."""
    entry = table.at(at)
    assert entry is not None
    while entry.end < stop:
        after = table.at(entry.end)
        if (
            after is None
            or after.level
            or after.swapped
            or after.zero
            or after.target != entry.target + entry.n
        ):
            return entry.end
        entry = after
    return stop


def batched(entries: list[Entry]) -> Iterator[Entry]:
    """Entries taken out of a page table, joined where unmapping makes one batch of them.

    Permissions do not part a batch; it is young or dirty if any of its entries is.
    """
    batch: Entry | None = None
    for entry in entries:
        whole = not (entry.level or entry.swapped or entry.zero)
        if (
            batch is not None
            and whole
            and batch.end == entry.start
            and batch.target + batch.n == entry.target
        ):
            batch.n += entry.n
            batch.young |= entry.young
            batch.dirty |= entry.dirty
            continue
        if batch is not None:
            yield batch
            batch = None
        if whole:
            batch = entry
        else:
            yield entry
    if batch is not None:
        yield batch


def level_of(flavour: Flavour, order: int) -> int:
    """The level at which a whole folio of this order is mapped when nothing stands against it.

    Only the April 2026 proposal maps folios larger than a PMD by anything but PTEs.
    """
    if order == PMD_ORDER or (flavour.any_level and order > PMD_ORDER):
        return PUD_ORDER if order >= PUD_ORDER else PMD_ORDER
    return PTE_ORDER
