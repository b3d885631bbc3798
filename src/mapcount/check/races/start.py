"""How a race begins: who maps what, who holds references; and the counters that follow, by `tracking`."""

from __future__ import annotations

from dataclasses import dataclass, field

from mapcount.check.races import folio as cells
from mapcount.check.races.mapping import fork_count
from mapcount.check.races.tables import (
    BY_PTES,
    MIGRATION,
    MIGRATION_EXCLUSIVE,
    NONE,
    PRESENT,
    READ,
    SWAP,
    SWAP_EXCLUSIVE,
    SWAPPED,
    WRITE,
    Table,
    hold_of,
    pin_of,
)
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, Flavour
from mapcount.tracking.folio import Folio
from mapcount.tracking.rmap import folio_add_rmap

LETTERS = {
    ".": NONE,
    "r": READ,
    "w": WRITE,
    "s": SWAP,
    "S": SWAP_EXCLUSIVE,
    "m": MIGRATION,
    "M": MIGRATION_EXCLUSIVE,
}
"""A table's entries, a letter for each page; a capital `R` or `W` alone is a PMD."""


@dataclass(frozen=True, slots=True)
class Start:
    """Who maps what. `tables` names tables in the order in which they came to the folio: `{"A": "rr"}`.

    Pages that are writable are marked exclusive; of a folio that a PMD maps, the first is marked for all.
    """

    tables: dict[str, str]
    pins: tuple[str, ...] = ()
    """What is pinned: `A0` is page 0, by mm A."""
    holds: tuple[str, ...] = ()
    """References that an mm can read by, as vmsplice() leaves them: `C0`."""
    swap_cache: bool = False
    marked: tuple[int, ...] = ()
    """Read-only pages that are marked exclusive all the same."""
    references: int = 0
    """References that the threads hold from the beginning."""
    folio_locked: bool = False
    nr_pages: int = field(init=False)

    def __post_init__(self) -> None:
        widths = {len(entries) for entries in self.tables.values() if entries not in ("R", "W")}
        if len(widths) > 1:
            raise ValueError(f"tables of different lengths: {self.tables}")
        object.__setattr__(self, "nr_pages", widths.pop() if widths else 2)

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """Every table."""
        return tuple(map(Table, self.tables))

    @property
    def mms(self) -> str:
        """The letter of every mm, in order: those with tables, and those that only hold references."""
        return "".join(sorted({name[0] for name in (*self.tables, *self.pins, *self.holds)}))

    def entries(self, table: str) -> tuple[int, ...]:
        """What the PTEs of a table hold."""
        text = self.tables[table]
        return (NONE,) * self.nr_pages if text in ("R", "W") else tuple(LETTERS[c] for c in text)

    def values(self) -> dict[str, int]:
        """Every cell with its first value."""
        folio, pages = self._counted(), range(self.nr_pages)
        assert folio.slots is not None
        word = cells.SHARED if folio.slots.shared else 0
        for slot in (0, 1):
            word = cells.with_mm_id(word, slot, folio.slots.mm_id(slot))
        found = {
            cells.REFCOUNT: folio.refcount,
            cells.TOTAL: folio.large_mapcount,
            cells.ENTIRE: folio.entire_mapcount,
            cells.PINS: folio.pincount,
            cells.MM_IDS: word,
            cells.SLOTS[0]: folio.slots.mm_id_mapcount[0],
            cells.SLOTS[1]: folio.slots.mm_id_mapcount[1],
            cells.FOLIO_LOCK: int(self.folio_locked),
            cells.SWAP_CACHE: int(self.swap_cache),
            cells.SWAP_USERS: sum(e in SWAPPED for name in self.tables for e in self.entries(name)),
            cells.WARNED: 0,
        }
        for page in pages:
            written = any(self.entries(name)[page] == WRITE for name in self.tables)
            by_pmd = page == 0 and "W" in self.tables.values()
            found[cells.exclusive(page)] = int(written or by_pmd or page in self.marked)
        for table in self.all_tables:
            text = self.tables[table.name]
            found[table.ptl] = found[table.split] = 0
            found[table.pmd] = {"R": READ, "W": WRITE}.get(text, BY_PTES)
            found |= {table.pte(page): e for page, e in enumerate(self.entries(table.name))}
        for mm in self.mms:
            found[fork_count(mm)] = 0
            found |= {pin_of(mm, page): self.pins.count(f"{mm}{page}") for page in pages}
            found |= {hold_of(mm, page): self.holds.count(f"{mm}{page}") for page in pages}
        return found

    def _counted(self) -> Folio:
        """The counters as the reference has them after these mappings."""
        flavour = small_flavour(self.nr_pages)
        folio = Folio(flavour, self.nr_pages.bit_length() - 1)
        for table in self.all_tables:
            if self.tables[table.name] in ("R", "W"):
                folio_add_rmap(folio, 0, self.nr_pages, table.mm_id, flavour.pmd_order)
            for page, entry in enumerate(self.entries(table.name)):
                if entry in PRESENT:
                    folio_add_rmap(folio, page, 1, table.mm_id)
        folio.pincount = len(self.pins)
        folio.refcount = folio.large_mapcount + len(self.pins) + len(self.holds) + self.references
        folio.refcount += self.nr_pages if self.swap_cache else 0
        return folio


def small_flavour(nr_pages: int) -> Flavour:
    """A kernel in which a PMD maps just so many pages; what it counts page by page is left out here."""
    return NO_PAGE_MAPCOUNT.scaled(pmd_order=nr_pages.bit_length() - 1)
