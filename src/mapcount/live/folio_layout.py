"""What the bytes of `struct folio` say: from raw memory to natural counts, many folios at once.

Where each field lies comes from the kernel's own types (BTF), and so does what there is: kernels before 6.15
have no owner slots, 32-bit ones no `_nr_pages`. What this kernel or this folio does not have is UNKNOWN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.live.btf import Btf, BtfError, Struct
from mapcount.live.kernel_memory import MOST_BYTES
from mapcount.live.snapshot import I8, I32, I64, U64, UNKNOWN, Bool
from mapcount.live.vmemmap import page_flags, sizeof_page
from mapcount.tracking.folio import ENTIRELY_MAPPED

NEEDED = ("flags", "mapping", "_mapcount", "_refcount", "_flags_1")
"""Fields without which a folio cannot be understood."""
COUNTERS = (
    "_large_mapcount",
    "_entire_mapcount",
    "_nr_pages_mapped",
    "_total_mapped_pages",
    "_pincount",
    "_mm_id",
    "_mm_id_mapcount",
)
"""Fields of large folios, each in some kernels."""
NR_PAGES = ("_nr_pages", "_folio_nr_pages")
"""The folio's size, in kernels with room for it; elsewhere `_flags_1` has the order in its lowest byte."""
STORED_MINUS_ONE = ("_large_mapcount", "_entire_mapcount", "_mm_id_mapcount")
"""Counters that hold -1 while nothing is mapped."""
PAIRS = ("_mm_id", "_mm_id_mapcount")
"""Counters with a value for each slot."""

MAPPING_ANON = 1
"""The lowest bit of `mapping`."""
TYPE_BITS = 24
"""A page with a type has it in the top byte of the word that is `_mapcount` in others."""
LARGEST_ORDER = 30
"""Nothing is larger: whatever says so is no folio."""


@dataclass(frozen=True, slots=True)
class FolioCounters:
    """Columns, one row per folio asked for; natural counts; UNKNOWN where there is none."""

    ok: Bool
    """Could it be read, and does a folio start there? Else all of the row is UNKNOWN."""
    order: I8
    anon: I8
    hugetlb: I8
    """UNKNOWN where the kernel's types do not tell (before 6.12)."""
    refcount: I32
    large_mapcount: I32
    """All mappings of any of its pages; in a small folio, of its page."""
    entire_mapcount: I32
    nr_pages_mapped: I32
    """Pages that PTEs map, without the flag that shares the word."""
    entirely_mapped: I8
    """That flag."""
    total_mapped_pages: I64
    pincount: I32
    shared: I8
    """The flag "mappings may belong to more than one mm"."""
    mm_id: I32
    """Shape (n, 2): who is in the slots; 0 is free."""
    mm_id_mapcount: I64
    """Shape (n, 2)."""
    partially_mapped: I8
    """Was it found partially mapped and queued to be split?"""

    def __len__(self) -> int:
        return len(self.ok)


@dataclass(frozen=True)
class FolioLayout:
    """`struct folio` of one kernel."""

    folio: Struct
    sizeof_page: int
    flags: dict[str, int]
    """Page flags by name: which bit."""
    types: dict[str, int]
    """Page types by name, as the top byte says them; empty in kernels that do it otherwise."""

    @classmethod
    def of(cls, btf: Btf) -> FolioLayout:
        """As a kernel's types say. Raises BtfError if they lack what is needed."""
        types = btf.enumerators("pagetype") if btf.has_enum("pagetype") else {}
        layout = cls(btf.struct("folio"), sizeof_page(btf), page_flags(btf), types)
        for name in layout.dtype.names or ():
            expected = 2 if name in PAIRS else 1
            if layout.folio[name].count != expected:
                raise BtfError(f"{btf.source}: {name} of struct folio is not {expected} number(s)")
        return layout

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The fields that are read, at their places in the first bytes of a folio."""
        names = [*NEEDED, *(name for name in (*COUNTERS, *NR_PAGES) if name in self.folio)]
        size = min(max(self.folio[name].end for name in names), MOST_BYTES)
        return self.folio.dtype(names, max(-(-size // 8) * 8, self.sizeof_page))

    def flag(self, words: U64, name: str) -> I64:
        """A page flag of each `flags` word: 0 or 1; UNKNOWN if this kernel has none of that name."""
        if name not in self.flags:
            return np.full(len(words), UNKNOWN, np.int64)
        bits: I64 = (words >> np.uint64(self.flags[name]) & np.uint64(1)).astype(np.int64)
        return bits

    def decode(self, raw: NDArray[np.uint8], readable: Bool) -> FolioCounters:
        """The counters in raw bytes of shape (n, dtype.itemsize), of which only some could be read."""
        rows = raw.view(self.dtype)[:, 0]
        large = self.flag(rows["flags"], "PG_head") == 1
        order = np.where(large, self._order(rows), 0)
        ok = readable & (order >= large) & (order <= LARGEST_ORDER)

        def known(value: NDArray[Any]) -> I64:
            return np.where(ok, value.astype(np.int64), UNKNOWN)

        def counter(name: str) -> I64:
            """A field of large folios, natural. A folio has only the fields that lie in its own pages."""
            pair = name in PAIRS
            if name not in self.folio:
                return np.full((len(rows), 2) if pair else len(rows), UNKNOWN, np.int64)
            has = ok & large & (self.folio[name].end <= self.sizeof_page << order.clip(0, LARGEST_ORDER))
            natural = rows[name].astype(np.int64) + (name in STORED_MINUS_ONE)
            return np.where(has[:, None] if pair else has, natural, UNKNOWN)

        own_mapcount = (rows["_mapcount"].astype(np.int64) + 1).clip(0)  # negative if it is a type
        mapped, ids = counter("_nr_pages_mapped"), counter("_mm_id")
        id_bits = 8 * self.folio["_mm_id"].size - 1 if "_mm_id" in self.folio else 0
        return FolioCounters(
            ok=ok,
            order=known(order).astype(np.int8),
            anon=known(rows["mapping"] & np.uint64(MAPPING_ANON)).astype(np.int8),
            hugetlb=known(self._hugetlb(rows)).astype(np.int8),
            refcount=known(rows["_refcount"]).astype(np.int32),
            large_mapcount=np.where(large, counter("_large_mapcount"), known(own_mapcount)).astype(np.int32),
            entire_mapcount=counter("_entire_mapcount").astype(np.int32),
            nr_pages_mapped=np.where(mapped >= 0, mapped & ~ENTIRELY_MAPPED, UNKNOWN).astype(np.int32),
            entirely_mapped=np.where(mapped >= 0, mapped & ENTIRELY_MAPPED != 0, UNKNOWN).astype(np.int8),
            total_mapped_pages=counter("_total_mapped_pages"),
            pincount=counter("_pincount").astype(np.int32),
            shared=(ids[:, 1] >> id_bits).astype(np.int8),  # UNKNOWN stays -1
            mm_id=np.where(ids >= 0, ids & (1 << id_bits) - 1, UNKNOWN).astype(np.int32),
            mm_id_mapcount=counter("_mm_id_mapcount"),
            partially_mapped=np.where(
                ok & large, self.flag(rows["_flags_1"], "PG_partially_mapped"), UNKNOWN
            ).astype(np.int8),
        )

    def _order(self, rows: NDArray[Any]) -> I64:
        """Of a large folio; UNKNOWN if its size is no power of two."""
        for name in NR_PAGES:
            if name in self.folio:
                nr_pages = rows[name].astype(np.int64)
                order = np.frexp(nr_pages)[1].astype(np.int64) - 1
                return np.where(nr_pages == 1 << order.clip(0), order, UNKNOWN)
        return np.asarray(rows["_flags_1"] & np.uint64(0xFF), np.int64)

    def _hugetlb(self, rows: NDArray[np.void]) -> I64:
        """1 where the page's type is hugetlb's."""
        if "PGTY_hugetlb" not in self.types:
            return np.full(len(rows), UNKNOWN, np.int64)
        return np.asarray(rows["_mapcount"] >> TYPE_BITS & 0xFF == self.types["PGTY_hugetlb"], np.int64)
