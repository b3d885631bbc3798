"""The running kernel in the core's own terms: a `Folio` for its invariants, a `Layout` for its tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mapcount.live.btf import Btf
from mapcount.live.snapshot import UNKNOWN
from mapcount.live.struct_folio import FolioCounters, FolioReader
from mapcount.tracking.flavour import Flavour
from mapcount.tracking.folio import ENTIRELY_MAPPED, Folio
from mapcount.tracking.layouts import Layout, Source, layout_of
from mapcount.tracking.per_page import PerPage


def folio_of(reader: FolioReader, head: int) -> Folio | None:
    """One folio, named by its first frame, with its per-page counts and slots.

    What its flavour or its order does not have is 0, as in a simulated folio. None if it is unreadable, or of
    a kernel from before 6.10, which counted in other ways.
    """
    columns = reader.counters(np.array([head], np.uint64))
    return folio_in(reader, columns, 0, head)


def folio_in(reader: FolioReader, columns: FolioCounters, row: int, head: int) -> Folio | None:
    """The same, of a folio whose counters are a row of those that were read of many."""
    if not columns.ok[row] or columns.large_mapcount[row] == UNKNOWN:
        return None
    found = {name: getattr(columns, name)[row] for name in columns.__slots__}
    folio = Folio(reader.flavour, int(found["order"]), hugetlb=found["hugetlb"] == 1)
    folio.refcount = int(found["refcount"])
    if folio.large:
        for name in ("large_mapcount", "entire_mapcount", "pincount", "total_mapped_pages"):
            setattr(folio, name, max(int(found[name]), 0))
    if folio.large and folio.flavour.page_mapcounts:
        flag = ENTIRELY_MAPPED if found["entirely_mapped"] == 1 else 0
        folio.nr_pages_mapped = max(int(found["nr_pages_mapped"]), 0) + flag
    if folio.page_mapcount is not None:
        counts = reader.page_mapcounts(head, folio.nr_pages) if folio.large else found["large_mapcount"]
        folio.page_mapcount = _per_page(counts.reshape(-1).tolist())
    if folio.slots is not None:
        for slot in (0, 1):
            folio.slots.set(slot, int(found["mm_id"][slot]), int(found["mm_id_mapcount"][slot]))
        folio.slots.shared = bool(found["shared"] == 1)
    return folio


def _per_page(counts: list[int]) -> PerPage:
    """Counts as runs of equal ones."""
    pages, start = PerPage(len(counts)), 0
    for end in range(1, len(counts) + 1):
        if end == len(counts) or counts[end] != counts[start]:
            pages.set(start, end - start, max(counts[start], 0))
            start = end
    return pages


def layout_in(btf: Btf, flavour: Flavour) -> Layout:
    """`struct folio` as a kernel's types lay it out; what else there is to know of a field is as declared.

    Fields that this kernel does not have are left out. Raises BtfError if it has no struct folio.
    """
    folio, declared = btf.struct("folio"), layout_of(flavour)
    fields = []
    for field in declared.fields:
        if field.name in folio:
            member = folio[field.name]
            size = member.size * member.count // field.count
            fields.append(replace(field, offset=member.offset, size=size, source=Source.BTF))
    by_offset = tuple(sorted(fields, key=lambda field: (field.offset, field.name)))
    return Layout(flavour, btf.struct("page").size, folio.size, by_offset, f"the types in {btf.source}")
