"""Which kernel: the four ways Linux has kept (or will keep) a folio's mapping counts.

Everything else in this package asks a `Flavour` what is kept, never what it is called.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

PAGE_SIZE = 4096
PTE_ORDER = 0
PMD_ORDER = 9
PUD_ORDER = 18


@dataclass(frozen=True, slots=True)
class Flavour:
    """What one kernel build keeps per large folio, and the width of its machine words.

    `page_mapcounts`: each page's own `_mapcount` and the folio's `_nr_pages_mapped`.
    `owner_slots`: the two MM-owner slots (Linux 6.15 and later).
    `entire_mapcount`: a count of PMD mappings of the whole folio.
    `total_mapped_pages`: base pages counted once for every time they are mapped, which replaces
    both `_entire_mapcount` and `_nr_pages_mapped` (mechanism, section 9).
    `pmd_order`, `slot_mapcount_cap`: as every x86-64 kernel has them, unless `scaled` down.
    """

    name: str
    since: str
    page_mapcounts: bool
    owner_slots: bool
    entire_mapcount: bool
    total_mapped_pages: bool
    bits: int = 64
    pmd_order: int = PMD_ORDER
    slot_mapcount_cap: int | None = None

    @property
    def max_mm_id(self) -> int:
        """The largest MM id: 2^31-1 on 64-bit, 2^15-1 on 32-bit (0 is "slot unused")."""
        return (1 << (31 if self.bits == 64 else 15)) - 1

    @property
    def max_slot_mapcount(self) -> int:
        """The largest natural count one owner slot can hold before it is given up.

        A slot stores its count minus one in a signed word of 32 bits (64-bit kernels) or 16 bits.
        """
        widest = 1 << (31 if self.bits == 64 else 15)
        return widest if self.slot_mapcount_cap is None else min(widest, self.slot_mapcount_cap)

    @property
    def any_level(self) -> bool:
        """May page-table entries of any level map any part of a folio (mechanism, section 9)?"""
        return self.total_mapped_pages

    def on(self, bits: int) -> Flavour:
        """The same flavour on a machine of `bits` (64 or 32). Raises ValueError for other widths."""
        if bits not in (32, 64):
            raise ValueError(f"a kernel is 64 or 32 bits wide, not {bits}")
        return replace(self, bits=bits)

    def scaled(self, *, pmd_order: int | None = None, max_slot_mapcount: int | None = None) -> Flavour:
        """The same rules in a smaller world, which can be exhausted (`mapcount.check`).

        A PMD maps 2^`pmd_order` pages, and a slot holds no more than `max_slot_mapcount` mappings, so that
        folios of a few pages have PMD mappings and slots overflow after a few events. What is not given
        stays. Raises ValueError for a PMD that maps fewer than 2 pages, or a slot that holds nothing.
        """
        order = self.pmd_order if pmd_order is None else pmd_order
        cap = self.slot_mapcount_cap if max_slot_mapcount is None else max_slot_mapcount
        if not 1 <= order < PUD_ORDER:
            raise ValueError(f"a PMD maps 2^1 to 2^{PUD_ORDER - 1} pages, not 2^{order}")
        if cap is not None and cap < 1:
            raise ValueError(f"a slot holds 1 mapping or more, not {cap}")
        return replace(self, pmd_order=order, slot_mapcount_cap=cap)

    def __str__(self) -> str:
        return self.name if self.bits == 64 else f"{self.name}/32"


V6_14 = Flavour("v6.14", "before Linux 6.15", True, False, True, False)
PAGE_MAPCOUNT = Flavour(
    "page-mapcount", "Linux 6.15, CONFIG_PAGE_MAPCOUNT (today's default)", True, True, True, False
)
NO_PAGE_MAPCOUNT = Flavour(
    "no-page-mapcount", "Linux 6.15, CONFIG_NO_PAGE_MAPCOUNT", False, True, True, False
)
TOTAL_MAPPED_PAGES = Flavour(
    "total-mapped-pages", "proposed in April 2026, not merged in 7.3", False, True, False, True
)

FLAVOURS: dict[str, Flavour] = {
    f.name: f for f in (V6_14, PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES)
}
"""Every flavour by its name on the command line, oldest first."""
