"""The kernel's own `struct folio`, read from its memory: what it counts about each folio.

Where each field lies comes from the kernel's own types (BTF), and so does what there is: kernels before 6.15
have no owner slots. What this kernel or this folio does not have, and what could not be read, is UNKNOWN.

    with open_folio_reader() as reader:
        counters = reader.counters(reader.heads(frames))

A folio's bytes are copied at once but not atomically: on a busy machine two of its counters may be moments
apart. Whoever needs them to agree reads again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.live.btf import VMLINUX, Btf, BtfError
from mapcount.live.find_vmemmap import find_vmemmap
from mapcount.live.kernel import flavour_of, kernel_config, running_flavour
from mapcount.live.kernel_memory import BpfMemory, DrgnMemory, KernelMemory
from mapcount.live.snapshot import I8, I32, I64, U64, UNKNOWN, Bool, CannotHere
from mapcount.live.vmemmap import Vmemmap
from mapcount.tracking.flavour import Flavour
from mapcount.tracking.folio import ENTIRELY_MAPPED, Folio

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
STORED_MINUS_ONE = ("_mapcount", "_large_mapcount", "_entire_mapcount", "_mm_id_mapcount")
"""Fields that hold -1 while nothing is mapped."""

PAIRS = ("_mm_id", "_mm_id_mapcount")
"""Fields with one value per slot."""
MAPPING_ANON = 1
"""The lowest bit of `mapping`."""
LARGEST_ORDER = 30
"""Nothing is larger: whatever says so is no folio."""
PAGES_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class FolioCounters:
    """Columns, one row per folio asked for; natural counts."""

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


class FolioReader:
    """Reads folios of one kernel. A folio's name is its first frame."""

    def __init__(self, vmemmap: Vmemmap, flavour: Flavour) -> None:
        """`flavour`: what this kernel keeps. Raises CannotHere if its types lack what is needed."""
        self.vmemmap, self.flavour = vmemmap, flavour
        btf = vmemmap.btf
        try:
            self._folio = btf.struct("folio")
            wanted = [*NEEDED, *(name for name in (*COUNTERS, *NR_PAGES) if name in self._folio)]
            size = max(self._folio[name].end for name in wanted)
            self._dtype = self._folio.dtype(wanted, -(-size // 8) * 8)
            self._flags = btf.enumerators("pageflags")
            self._types = btf.enumerators("pagetype") if btf.has_enum("pagetype") else {}
            if "PG_head" not in self._flags:
                raise BtfError(f"{btf.source}: enum pageflags has no PG_head")
        except BtfError as error:
            raise CannotHere(f"this kernel's folios cannot be read: {error}") from None
        self._id_bits = 8 * self._folio["_mm_id"].size - 1 if "_mm_id" in self._folio else 31

    def heads(self, frames: U64) -> U64:
        """The first frame of the folio that each frame belongs to; the frame itself if unreadable."""
        return self.vmemmap.heads(frames)

    def counters(self, heads: U64) -> FolioCounters:
        """What the kernel counts about each folio; `heads` are first frames, as `heads()` gives them."""
        rows, ok = self._read(heads)
        large = self._flag(rows["flags"], "PG_head") == 1
        order = np.where(large, self._order(rows), 0)
        ok &= (order >= large) & (order <= LARGEST_ORDER)

        def known(where: Bool, value: NDArray[Any]) -> NDArray[Any]:
            return np.where(where if value.ndim == 1 else where[:, None], value, UNKNOWN)

        def column(name: str) -> I64:
            """A field of large folios, natural; a folio has only the fields that lie in its own pages."""
            if name not in self._folio:
                return np.full((len(rows), 2) if name in PAIRS else len(rows), UNKNOWN, np.int64)
            has = ok & large & (self._folio[name].end <= self.vmemmap.sizeof_page << order.clip(0, 2))
            return known(has, rows[name].astype(np.int64) + (name in STORED_MINUS_ONE))

        own_mapcount = rows["_mapcount"].astype(np.int64) + 1  # of a page with a type: its type instead
        mapped, ids = column("_nr_pages_mapped"), column("_mm_id")
        return FolioCounters(
            ok=ok,
            order=known(ok, order).astype(np.int8),
            anon=known(ok, rows["mapping"] & np.uint64(MAPPING_ANON)).astype(np.int8),
            hugetlb=known(ok, self._hugetlb(rows)).astype(np.int8),
            refcount=known(ok, rows["_refcount"]).astype(np.int32),
            large_mapcount=np.where(large, column("_large_mapcount"), known(ok, own_mapcount.clip(0))).astype(
                np.int32
            ),
            entire_mapcount=column("_entire_mapcount").astype(np.int32),
            nr_pages_mapped=known(mapped >= 0, mapped & ~ENTIRELY_MAPPED).astype(np.int32),
            entirely_mapped=known(mapped >= 0, (mapped & ENTIRELY_MAPPED) != 0).astype(np.int8),
            total_mapped_pages=column("_total_mapped_pages"),
            pincount=column("_pincount").astype(np.int32),
            shared=known(ids[:, 1] >= 0, ids[:, 1] >> self._id_bits).astype(np.int8),
            mm_id=np.where(ids >= 0, ids & (1 << self._id_bits) - 1, UNKNOWN).astype(np.int32),
            mm_id_mapcount=column("_mm_id_mapcount"),
            partially_mapped=known(ok & large, self._flag(rows["_flags_1"], "PG_partially_mapped")).astype(
                np.int8
            ),
        )

    def page_mapcounts(self, head: int, nr_pages: int) -> I32:
        """Each page's own `_mapcount`, natural; UNKNOWN if unreadable.

        They mean something only where the flavour keeps `page_mapcounts`, or in a small folio.
        """
        frames = np.uint64(head) + np.arange(nr_pages, dtype=np.uint64)
        at = self._folio.offset("_mapcount")
        raw, ok = self.vmemmap.memory.read(self.vmemmap.addresses(frames) + np.uint64(at), 4)
        return np.where(ok, raw.view(np.int32)[:, 0] + 1, UNKNOWN).astype(np.int32)

    def anon_exclusive(self, heads: U64, orders: I8) -> I32:
        """How many pages of each folio are marked anon exclusive (one, if a PMD maps it: the first).

        0 for what is not anonymous, UNKNOWN where the kernel has no such mark or a page is unreadable.
        """
        if "PG_anon_exclusive" not in self._flags:
            return np.full(len(heads), UNKNOWN, np.int32)
        found = np.empty(len(heads), np.int32)
        ends = np.cumsum(1 << orders.astype(np.int64))
        start = 0
        while start < len(heads):  # some folios at a time, so that memory stays small
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + PAGES_AT_ONCE)))
            found[start:stop] = self._marked(heads[start:stop], orders[start:stop])
            start = stop
        return found

    # -- raw bytes --------------------------------------------------------------------------------------

    def _marked(self, heads: U64, orders: I8) -> I64:
        nr_pages = 1 << orders.astype(np.int64)
        first = np.cumsum(nr_pages) - nr_pages
        within = np.arange(nr_pages.sum()) - np.repeat(first, nr_pages)
        flags, ok = self._words(np.repeat(heads, nr_pages) + within.astype(np.uint64), "flags")
        mapping, mapping_ok = self._words(heads, "mapping")
        marked = np.add.reduceat(self._flag(flags, "PG_anon_exclusive"), first)
        readable = np.logical_and.reduceat(ok, first) & mapping_ok
        return np.where(readable, marked * (mapping & np.uint64(MAPPING_ANON)).astype(np.int64), UNKNOWN)

    def _words(self, frames: U64, name: str) -> tuple[U64, Bool]:
        """One field of eight bytes of each page."""
        at = np.uint64(self._folio.offset(name))
        raw, ok = self.vmemmap.memory.read(self.vmemmap.addresses(frames) + at, 8)
        return raw.view(np.uint64)[:, 0], ok

    def _read(self, heads: U64) -> tuple[NDArray[np.void], Bool]:
        """The fields of each folio as stored, and where they were readable and a folio starts."""
        memory, addresses = self.vmemmap.memory, self.vmemmap.addresses(heads)
        raw, ok = memory.read(addresses, self._dtype.itemsize)
        if not ok.all():  # a small folio that is the last with a page struct has nothing after it
            alone = ~ok
            size = self.vmemmap.sizeof_page
            raw[alone, :size], ok[alone] = memory.read(addresses[alone], size)
            ok[alone] &= self._flag(raw.view(self._dtype)[alone, 0]["flags"], "PG_head") == 0
        return raw.view(self._dtype)[:, 0], ok & ~self.vmemmap.is_tail(raw)

    def _flag(self, words: U64, name: str) -> I64:
        """A page flag of each word: 0 or 1, UNKNOWN if this kernel has none of that name."""
        if name not in self._flags:
            return np.full(len(words), UNKNOWN, np.int64)
        set_: I64 = (words >> np.uint64(self._flags[name]) & np.uint64(1)).astype(np.int64)
        return set_

    def _order(self, rows: NDArray[np.void]) -> I64:
        """Of a large folio; UNKNOWN if its size is no power of two."""
        for name in NR_PAGES:
            if name in self._folio:
                nr_pages = rows[name].astype(np.int64)
                order = np.frexp(nr_pages)[1].astype(np.int64) - 1
                return np.where((nr_pages > 0) & (nr_pages == 1 << order.clip(0)), order, UNKNOWN)
        return (rows["_flags_1"] & np.uint64(0xFF)).astype(np.int64)

    def _hugetlb(self, rows: NDArray[np.void]) -> I64:
        """1 where the page's type, which takes the place of its mapcount, is hugetlb's."""
        if "PGTY_hugetlb" not in self._types:
            return np.full(len(rows), UNKNOWN, np.int64)
        return (rows["_mapcount"] >> 24 & 0xFF == self._types["PGTY_hugetlb"]).astype(np.int64)


def folio_of(reader: FolioReader, head: int) -> Folio | None:
    """One folio as `tracking` knows it, for its questions and invariants; None if unreadable."""
    found = reader.counters(np.array([head], np.uint64))
    if not found.ok[0]:
        return None

    def natural(column: NDArray[Any]) -> int:
        return max(int(column[0]), 0)

    folio = Folio(reader.flavour, int(found.order[0]), hugetlb=found.hugetlb[0] == 1)
    folio.refcount = natural(found.refcount)
    if folio.large:
        folio.large_mapcount = natural(found.large_mapcount)
        folio.entire_mapcount = natural(found.entire_mapcount)
        folio.pincount = natural(found.pincount)
        folio.total_mapped_pages = natural(found.total_mapped_pages)
        if folio.flavour.page_mapcounts:
            folio.nr_pages_mapped = natural(found.nr_pages_mapped) + ENTIRELY_MAPPED * natural(
                found.entirely_mapped
            )
    if folio.page_mapcount is not None:
        counts = reader.page_mapcounts(head, folio.nr_pages)
        starts = np.flatnonzero(np.diff(counts, prepend=counts[0] - 1))
        for start, nr, value in zip(
            starts.tolist(),
            np.diff(starts, append=len(counts)).tolist(),
            counts[starts].tolist(),
            strict=True,
        ):
            folio.page_mapcount.set(start, nr, max(value, 0))
    if folio.slots is not None:
        for slot in (0, 1):
            folio.slots.set(slot, int(found.mm_id[0, slot]), int(found.mm_id_mapcount[0, slot]))
        folio.slots.shared = bool(found.shared[0])
    return folio


@contextmanager
def open_folio_reader(core: str | None = None, btf: str | None = None) -> Iterator[FolioReader]:
    """A reader of the running kernel's folios, or of those in a core dump.

    `btf`: a file with the types of the kernel that left the dump. Unless said, the running kernel's types are
    taken, which fit a dump of the same kernel only. Raises CannotHere, saying why no way is possible and what
    would help.
    """
    with _open_memory(core) as memory:
        if btf is None and memory.release != os.uname().release:
            raise CannotHere(
                f"{core}: is of Linux {memory.release}, and this is {os.uname().release}: "
                "the types of that kernel are needed (its BTF, as in /sys/kernel/btf/vmlinux there)"
            )
        try:
            types = Btf.read(btf or VMLINUX)
        except BtfError as error:
            raise CannotHere(
                f"the kernel's types cannot be read: {error}; "
                f"a kernel with CONFIG_DEBUG_INFO_BTF has them in {VMLINUX}"
            ) from None
        vmemmap = find_vmemmap(memory, types)
        config = kernel_config(memory.release)
        flavour = running_flavour(types, config) if memory.live else flavour_of(types, config)
        if flavour is None:
            raise CannotHere(
                f"{core}: it is unknown whether its kernel kept per-page counts; "
                f"/boot/config-{memory.release} would tell"
            )
        yield FolioReader(vmemmap, flavour)


def _open_memory(core: str | None) -> KernelMemory:
    if core is not None:
        return DrgnMemory(core)
    try:
        return BpfMemory()
    except CannotHere as no_bpf:
        try:
            return DrgnMemory()
        except CannotHere as no_drgn:
            raise CannotHere(f"the kernel's memory cannot be read: {no_bpf}; {no_drgn}") from None
