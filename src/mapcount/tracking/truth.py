"""Who really maps the pages of one folio: the other side of every comparison.

A `Truth` is told each mapping one by one, by whoever knows the page tables. It never looks at a
counter, and no counter ever looks at it; only `invariants.py` sees both.
"""

from __future__ import annotations

from mapcount.tracking.flavour import PTE_ORDER
from mapcount.tracking.per_page import PerPage


class Truth:
    """Every mapping of one folio, by mm."""

    __slots__ = ("entire", "entries", "mapped_pages", "nr_pages", "pages", "ptes", "refs")

    def __init__(self, nr_pages: int, refs: int = 0) -> None:
        self.nr_pages = nr_pages
        self.entries: dict[int, int] = {}
        """Page-table entries that map any part of the folio, by MM id."""
        self.ptes = PerPage(nr_pages)
        """How many PTEs map each page."""
        self.pages = PerPage(nr_pages)
        """How many entries of any level map each page."""
        self.entire = 0
        """Entries above the PTE level that map all of the folio."""
        self.mapped_pages = 0
        """Base pages, counted once for every time they are mapped."""
        self.refs = refs
        """References other than mappings that are known: page cache, swap cache, pins."""

    def add(self, mm_id: int, page: int, nr_pages: int, level: int = PTE_ORDER) -> None:
        """Entries of `level` in mm `mm_id` map `nr_pages` pages from `page` on."""
        self.entries[mm_id] = self.entries.get(mm_id, 0) + (nr_pages >> level)
        self.pages.add(page, nr_pages, 1)
        self.mapped_pages += nr_pages
        if level == PTE_ORDER:
            self.ptes.add(page, nr_pages, 1)
        elif nr_pages == self.nr_pages and nr_pages >> level == 1:
            self.entire += 1

    @property
    def total(self) -> int:
        """All mappings of the folio."""
        return sum(self.entries.values())

    @property
    def shared(self) -> bool:
        """Do the mappings belong to two or more mms?"""
        return len(self.entries) > 1

    @property
    def word(self) -> str:
        """`unmapped`, `exclusive` or `shared`."""
        return ("unmapped", "exclusive", "shared")[min(len(self.entries), 2)]
