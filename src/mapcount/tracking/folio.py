"""The counters of one folio, natural (0 = unmapped), whatever produced them.

A simulator, an engine or a reader of kernel memory all end in a `Folio`; the questions in
`questions.py` and the invariants in `invariants.py` judge it wherever it came from.
"""

from __future__ import annotations

from mapcount.tracking.flavour import Flavour
from mapcount.tracking.owner_slots import OwnerSlots
from mapcount.tracking.per_page import PerPage

ENTIRELY_MAPPED = 0x800000
"""What `_nr_pages_mapped` holds on top of its pages while `_entire_mapcount` > 0."""

GUP_PIN_COUNTING_BIAS = 1024
"""References that one pin of a small folio takes: small folios have no `_pincount`."""


class Folio:
    """2^order pages managed as one, and what a kernel of this flavour counts about them.

    Attributes are the kernel's fields without the underscore. Those that a flavour or an order does
    not have stay at their zero value: `page_mapcount` and `slots` are None, `entire_mapcount` 0.
    A small folio has its page's `_mapcount` (in `page_mapcount`) and `_refcount` only.
    """

    __slots__ = (
        "entire_mapcount",
        "flavour",
        "hugetlb",
        "large_mapcount",
        "nr_pages_mapped",
        "order",
        "page_mapcount",
        "pincount",
        "refcount",
        "slots",
        "total_mapped_pages",
    )

    def __init__(self, flavour: Flavour, order: int, *, hugetlb: bool = False) -> None:
        large = order > 0
        self.flavour = flavour
        self.order = order
        self.hugetlb = hugetlb
        self.large_mapcount = 0
        self.entire_mapcount = 0
        self.nr_pages_mapped = 0
        self.total_mapped_pages = 0
        self.pincount = 0
        self.refcount = 0
        keeps_pages = not large or (flavour.page_mapcounts and not hugetlb)
        self.page_mapcount: PerPage | None = PerPage(1 << order) if keeps_pages else None
        keeps_slots = large and flavour.owner_slots and not hugetlb
        self.slots: OwnerSlots | None = OwnerSlots(flavour) if keeps_slots else None

    @property
    def nr_pages(self) -> int:
        """How many pages the folio has."""
        return 1 << self.order

    @property
    def large(self) -> bool:
        """Order 1 or more?"""
        return self.order > 0

    @property
    def pmd_mappable(self) -> bool:
        """Exactly PMD-size, so that AnonHugePages and the like may count it?"""
        return self.order == self.flavour.pmd_order and not self.hugetlb

    def copy(self) -> Folio:
        """An independent copy (state of one folio is given to its look-alikes when they part ways)."""
        twin = Folio.__new__(Folio)
        for name in Folio.__slots__:
            value = getattr(self, name)
            setattr(twin, name, value.copy() if name in ("page_mapcount", "slots") and value else value)
        return twin

    def counters(self) -> dict[str, object]:
        """Every counter this folio has, by the kernel's name, natural, ready for JSON."""
        found: dict[str, object] = {"order": self.order, "refcount": self.refcount}
        if self.large:
            found["large_mapcount"] = self.large_mapcount
            found["pincount"] = self.pincount
            if self.flavour.entire_mapcount:
                found["entire_mapcount"] = self.entire_mapcount
            if self.flavour.total_mapped_pages:
                found["total_mapped_pages"] = self.total_mapped_pages
            if self.flavour.page_mapcounts and not self.hugetlb:
                found["nr_pages_mapped"] = self.nr_pages_mapped
        if self.page_mapcount is not None:
            found["page_mapcount"] = self.page_mapcount.rle()
        if self.slots is not None:
            found["mm_id"] = [self.slots.mm_id(0), self.slots.mm_id(1)]
            found["mm_id_mapcount"] = list(self.slots.mm_id_mapcount)
            found["mm_ids_shared"] = self.slots.shared
        return found
