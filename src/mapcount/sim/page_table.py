"""Page tables: what each page of an address space points at, as runs of consecutive entries."""

from __future__ import annotations

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


PageTable = Runs[Entry]


def hole_around(table: PageTable, low: int, high: int, at: int) -> tuple[int, int]:
    """The empty stretch around `at`, which nothing maps, inside [low, high)."""
    before, after = table.neighbours(at)
    return max(low, before.end if before else low), min(high, after.start if after else high)


def largest_fit(orders: Sequence[int], low: int, high: int, at: int, stop: int) -> tuple[int, int, int]:
    """(order, start, count) of the folios that pages from `at` on up to `stop` get in an empty [low, high).

    The first of `orders`, largest first and 0 last, whose aligned range around `at` is inside; as many of
    them as come before a larger one could fit.
    """
    end = stop
    for order in orders:
        size = 1 << order
        start = at // size * size
        if low <= start and start + size <= high:
            return order, start, max(1, min((high - start) // size, -(-(end - start) // size)))
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
