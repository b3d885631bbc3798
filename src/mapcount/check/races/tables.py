"""Page tables of small address spaces, as cells; what their entries say and who can read a page.

A *table* is one page-table page with a lock of its own (PTL), plus the PMD entry above it. `A` is mm A's.
`A2` is another table of the same mm: two faults of one process meet in one folio without a common lock when
mremap() has moved part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mapcount.check.races.folio import SWAP_CACHE
from mapcount.check.races.memory import Protected, Steps, Store, Update, acquire, put

NONE, READ, WRITE, SWAP, SWAP_EXCLUSIVE, MIGRATION, MIGRATION_EXCLUSIVE, ELSEWHERE, SPLITTING, BY_PTES = (
    range(10)
)
ENTRIES = (
    "none",
    "read-only",
    "writable",
    "swap",
    "swap, exclusive",
    "migration",
    "migration, exclusive",
    "another folio",
    "being split",
    "a table",
)
"""What an entry holds, by its value: `another folio` is a copy, or where the page was migrated."""
PRESENT = (READ, WRITE)
SWAPPED = (SWAP, SWAP_EXCLUSIVE)
MIGRATING = (MIGRATION, MIGRATION_EXCLUSIVE)


@dataclass(frozen=True, slots=True)
class Table:
    """A page table: `A`, or another one of the same mm, `A2`."""

    name: str

    @property
    def mm(self) -> str:
        """The address space."""
        return self.name[0]

    @property
    def mm_id(self) -> int:
        """Its MM id."""
        return "ABCDEFG".index(self.mm) + 1

    @property
    def ptl(self) -> str:
        """The cell of its page table lock."""
        return f"{self.name} PTL"

    @property
    def pmd(self) -> str:
        """The cell of the entry above it."""
        return f"{self.name} PMD"

    @property
    def split(self) -> str:
        """The cell that notes that the PMD was split, and lent its reference to a PTE."""
        return f"{self.name} split"

    def pte(self, page: int) -> str:
        """The cell of the PTE for a page of the folio."""
        return f"{self.name} PTE {page}"

    def lock(self) -> Steps[None]:
        """Wait for the page table lock."""
        yield Update(self.ptl, acquire(), f"lock {self.name}'s page table")

    def unlock(self) -> Steps[None]:
        """Release it: a plain store."""
        yield Store(self.ptl, 0, f"unlock {self.name}'s page table")

    def entry(self, page: int) -> Steps[int]:
        """What the PTE holds, under the lock."""
        (entry,) = yield Protected((self.pte(page),))
        return int(entry)

    def huge_entry(self) -> Steps[int]:
        """What the PMD holds, under the lock."""
        (entry,) = yield Protected((self.pmd,))
        return int(entry)

    def set_pte(self, page: int, entry: int) -> Steps[None]:
        """Write a PTE: a plain store."""
        yield Store(self.pte(page), entry, f"{self.name} PTE {page}: {ENTRIES[entry]}")

    def clear_pte(self, page: int, *, atomically: bool = True) -> Steps[None]:
        """Clear a PTE; the exchange is a full barrier."""
        label = f"clear {self.name} PTE {page}"
        yield Update(self.pte(page), put(NONE), label) if atomically else Store(self.pte(page), NONE, label)

    def set_pmd(self, entry: int) -> Steps[None]:
        """Write the PMD."""
        yield Update(self.pmd, put(entry), f"{self.name} PMD: {ENTRIES[entry]}")


def pin_of(mm: str, page: int) -> str:
    """The cell that notes that an mm has pinned a page (FOLL_PIN)."""
    return f"{mm} pins page {page}"


def hold_of(mm: str, page: int) -> str:
    """The cell that notes that an mm can read a page by a reference that it got (FOLL_GET)."""
    return f"{mm} holds page {page}"


def mapping(seen: Mapping[str, int], table: Table, page: int) -> bool:
    """Does this table map the page of the folio?"""
    return seen[table.pmd] in (READ, WRITE, SPLITTING) or seen[table.pte(page)] in PRESENT


def writable(seen: Mapping[str, int], table: Table, page: int) -> bool:
    """Can the mm write to the page through this table, without a fault?"""
    return seen[table.pmd] == WRITE or seen[table.pte(page)] == WRITE


def readers(seen: Mapping[str, int], tables: tuple[Table, ...], mms: str, page: int) -> set[str]:
    """The mms that can read the page: by an entry, by a reference they got, or by way of the swap cache."""
    found = {mm for mm in mms if seen[pin_of(mm, page)] or seen[hold_of(mm, page)]}
    for table in tables:
        swapped = seen[SWAP_CACHE] and seen[table.pte(page)] in SWAPPED
        if swapped or mapping(seen, table, page):
            found.add(table.mm)
    return found
