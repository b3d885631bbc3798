"""Who maps each folio of memory, does the Linux kernel know it, and what does it tell user space?

The public API: one folio's counters in four flavours of the kernel, what happens to them when it is mapped
and unmapped, what the kernel asks of them, and what must hold between them and the truth. The rules are told
in `mapcount.tracking`. Three processes map a folio of 16 pages; the two that came first leave:

>>> from mapcount import NO_PAGE_MAPCOUNT, Folio, folio_add_rmap, folio_maybe_mapped_shared, folio_remove_rmap
>>> folio = Folio(NO_PAGE_MAPCOUNT, order=4)
>>> for mm_id in (1, 2, 3):
...     delta = folio_add_rmap(folio, 0, 16, mm_id)
>>> print(folio.large_mapcount, "mappings, slots:", folio.slots)
48 mappings, slots: 1:16 2:16 shared
>>> for mm_id in (1, 2):
...     delta = folio_remove_rmap(folio, 0, 16, mm_id)
>>> print(folio.large_mapcount, "mappings, slots:", folio.slots)
16 mappings, slots: - - shared
>>> folio_maybe_mapped_shared(folio)  # by one process only, but the slots never saw that one
True

Whether a folio's counters fit the truth, wherever they came from, is for `violations(folio, truth)` to say.
Whole stories of processes (`mapcount.scenario`) on a simulated kernel (`mapcount.sim`) are built upon this;
`mapcount --help` lists what the command line does with them. Importing this costs the standard library only.
"""

from mapcount.tracking import (
    FLAVOURS,
    INVARIANTS,
    NO_PAGE_MAPCOUNT,
    PAGE_MAPCOUNT,
    TOTAL_MAPPED_PAGES,
    V6_14,
    Cost,
    Delta,
    Flavour,
    Folio,
    Invariant,
    MmIdAllocator,
    NoMmIdLeft,
    OwnerSlots,
    PerPage,
    Truth,
    folio_add_new_anon_rmap,
    folio_add_rmap,
    folio_average_page_mapcount,
    folio_can_reuse_anon,
    folio_certainly_partially_mapped,
    folio_mapcount,
    folio_maybe_dma_pinned,
    folio_maybe_mapped_shared,
    folio_precise_page_mapcount,
    folio_remove_rmap,
    violations,
)

__all__ = [
    "FLAVOURS",
    "INVARIANTS",
    "NO_PAGE_MAPCOUNT",
    "PAGE_MAPCOUNT",
    "TOTAL_MAPPED_PAGES",
    "V6_14",
    "Cost",
    "Delta",
    "Flavour",
    "Folio",
    "Invariant",
    "MmIdAllocator",
    "NoMmIdLeft",
    "OwnerSlots",
    "PerPage",
    "Truth",
    "folio_add_new_anon_rmap",
    "folio_add_rmap",
    "folio_average_page_mapcount",
    "folio_can_reuse_anon",
    "folio_certainly_partially_mapped",
    "folio_mapcount",
    "folio_maybe_dma_pinned",
    "folio_maybe_mapped_shared",
    "folio_precise_page_mapcount",
    "folio_remove_rmap",
    "violations",
]
