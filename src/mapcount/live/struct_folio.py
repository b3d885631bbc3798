"""The kernel's own `struct folio`, read from its memory: what it counts about each folio.

    with open_folio_reader() as reader:
        counters = reader.counters(reader.heads(frames))

A folio's bytes are copied at once but not atomically: on a busy machine two of its counters may be moments
apart, and a folio may be gone. Whoever needs them to agree reads again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mapcount.live.bpf_memory import BpfMemory
from mapcount.live.btf import VMLINUX, Btf, BtfError
from mapcount.live.drgn_memory import DrgnMemory
from mapcount.live.find_vmemmap import find_vmemmap
from mapcount.live.folio_layout import MAPPING_ANON, FolioCounters, FolioLayout
from mapcount.live.kernel import flavour_of, kernel_config, running_flavour
from mapcount.live.kernel_memory import KernelMemory
from mapcount.live.snapshot import I8, I32, I64, U64, UNKNOWN, Bool, CannotHere
from mapcount.live.vmemmap import Vmemmap
from mapcount.tracking.flavour import Flavour

__all__ = ["FolioCounters", "FolioReader", "open_folio_reader"]

FOLIOS_AT_ONCE = 1 << 14
"""How many folios are decoded before the next are read: their bytes stay in the processor's cache."""
PAGES_AT_ONCE = 1 << 18
"""How many page structs are looked at before their flags are summed up: a few megabytes."""


class FolioReader:
    """Reads folios of one kernel. A folio's name is its first frame."""

    def __init__(self, vmemmap: Vmemmap, flavour: Flavour) -> None:
        """`flavour`: what this kernel keeps. Raises CannotHere if its types lack what is needed."""
        self.vmemmap, self.flavour = vmemmap, flavour
        try:
            self._layout = FolioLayout.of(vmemmap.btf)
        except BtfError as error:
            raise CannotHere(f"this kernel's folios cannot be read: {error}") from None

    def heads(self, frames: U64) -> U64:
        """The first frame of the folio that each frame belongs to; the frame itself if unreadable."""
        return self.vmemmap.heads(frames)

    def counters(self, heads: U64) -> FolioCounters:
        """What the kernel counts about each folio; `heads` are first frames, as `heads()` gives them."""
        starts = range(0, max(len(heads), 1), FOLIOS_AT_ONCE)
        parts = [self._counters(heads[start : start + FOLIOS_AT_ONCE]) for start in starts]
        names = FolioCounters.__slots__
        return FolioCounters(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _counters(self, heads: U64) -> FolioCounters:
        """`counters` of some folios."""
        memory, addresses = self.vmemmap.memory, self.vmemmap.addresses(heads)
        raw, ok = memory.read(addresses, self._layout.dtype.itemsize)
        if not ok.all():  # a small folio may be the last that has a page struct
            alone, size = np.flatnonzero(~ok), self.vmemmap.sizeof_page
            raw[alone, :size], ok[alone] = memory.read(addresses[alone], size)
            ok[alone] &= self._layout.flag(raw.view(self._layout.dtype)["flags"][alone, 0], "PG_head") == 0
        return self._layout.decode(raw, ok & ~self.vmemmap.is_tail(raw))

    def page_mapcounts(self, head: int, nr_pages: int) -> I32:
        """Each page's own `_mapcount`, natural; UNKNOWN if unreadable.

        They mean something only where the flavour keeps `page_mapcounts`, or in a small folio.
        """
        frames = np.uint64(head) + np.arange(nr_pages, dtype=np.uint64)
        at = np.uint64(self._layout.folio.offset("_mapcount"))
        raw, ok = self.vmemmap.memory.read(self.vmemmap.addresses(frames) + at, 4)
        natural = (raw.view(np.int32)[:, 0] + 1).clip(0)  # negative if it is a type, not a count
        return np.where(ok, natural, UNKNOWN).astype(np.int32)

    def anon_exclusive(self, heads: U64, orders: I8) -> I32:
        """How many pages of each folio are marked anon exclusive: 0 or 1 (the first) if only PMDs map it.

        0 for what is not anonymous; UNKNOWN where the order is, where the kernel has no such mark, and where
        a page is unreadable.
        """
        found = np.full(len(heads), UNKNOWN, np.int32)
        if "PG_anon_exclusive" not in self._layout.flags:
            return found
        known = np.flatnonzero(orders >= 0)
        ends = np.cumsum(1 << orders[known].astype(np.int64))
        start = 0
        while start < len(known):  # some folios at a time, so that memory stays small
            done = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + PAGES_AT_ONCE, "right")))
            some = known[start:stop]
            found[some] = self._marked(heads[some], orders[some])
            start = stop
        return found

    def _marked(self, heads: U64, orders: I8) -> I64:
        """`anon_exclusive` of some folios, one after the other."""
        nr_pages = 1 << orders.astype(np.int64)
        first = np.cumsum(nr_pages) - nr_pages
        within = np.arange(nr_pages.sum()) - np.repeat(first, nr_pages)
        flags, ok = self._words(np.repeat(heads, nr_pages) + within.astype(np.uint64), "flags")
        mapping, mapping_ok = self._words(heads, "mapping")
        marked = np.add.reduceat(self._layout.flag(flags, "PG_anon_exclusive"), first)
        anon = (mapping & np.uint64(MAPPING_ANON)).astype(np.int64)
        return np.where(np.logical_and.reduceat(ok, first) & mapping_ok, marked * anon, UNKNOWN)

    def _words(self, frames: U64, name: str) -> tuple[U64, Bool]:
        """A field of eight bytes of each frame's page, and where it was readable."""
        at = np.uint64(self._layout.folio.offset(name))
        raw, ok = self.vmemmap.memory.read(self.vmemmap.addresses(frames) + at, 8)
        return raw.view(np.uint64)[:, 0], ok


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
                f"the types of that kernel are needed (its BTF, as in {VMLINUX} there)"
            )
        types = _types(btf or VMLINUX)
        vmemmap = find_vmemmap(memory, types)
        config = kernel_config(memory.release)
        flavour = running_flavour(types, config) if memory.live else flavour_of(types, config)
        if flavour is None:
            raise CannotHere(
                f"{core}: it is unknown whether its kernel kept per-page counts; "
                f"/boot/config-{memory.release} would tell"
            )
        yield FolioReader(vmemmap, flavour)


def _types(path: str) -> Btf:
    try:
        return Btf.read(path)
    except BtfError as error:
        raise CannotHere(
            f"the kernel's types cannot be read: {error}; "
            f"a kernel with CONFIG_DEBUG_INFO_BTF has them in {VMLINUX}"
        ) from None


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
