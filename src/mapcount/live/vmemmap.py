"""`vmemmap`: the array with a `struct page` for every frame, and which frame each page's folio starts at.

Every page of a large folio but the first points to the first (`compound_head`, lowest bit set). Newer kernels
keep a mask in the same place where they can (`compound_info`): the first page's address is the page's own
address with the masked bits cleared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mapcount.live.btf import Btf, BtfError
from mapcount.live.kernel_memory import MOST_BYTES, KernelMemory
from mapcount.live.snapshot import U64, Bool

SMALLEST_PAGE = 32
"""Bytes of a `struct page` on 32-bit machines; larger elsewhere."""

_TAIL = np.uint64(1)
_LARGEST_SPAN = np.uint64(1 << 40)
"""Bytes, more than the page structs of any folio have. No pointer is that close to the end of addresses."""
_VMEMMAP_PAGE = np.uint64(4095)
"""hugetlb gives back page structs of its folios by this unit (or by larger ones that it divides)."""


def sizeof_page(btf: Btf) -> int:
    """Bytes of one `struct page`. Raises BtfError if that cannot be."""
    size = btf.struct("page").size
    if not SMALLEST_PAGE <= size <= MOST_BYTES:
        raise BtfError(f"{btf.source}: struct page has {size} bytes")
    return size


def page_flags(btf: Btf) -> dict[str, int]:
    """Which bit of a page's flags each flag is, by name. Raises BtfError if large folios have none."""
    flags = {name: bit for name, bit in btf.enumerators("pageflags").items() if 0 <= bit < 64}
    if "PG_head" not in flags:
        raise BtfError(f"{btf.source}: enum pageflags has no PG_head")
    return flags


@dataclass(frozen=True)
class Vmemmap:
    """The array of one kernel, at `base` in its memory."""

    memory: KernelMemory
    btf: Btf
    base: int

    @cached_property
    def sizeof_page(self) -> int:
        """Bytes of one `struct page`."""
        return sizeof_page(self.btf)

    def addresses(self, frames: U64) -> U64:
        """Where the `struct page` of each frame is."""
        return np.uint64(self.base) + frames * np.uint64(self.sizeof_page)

    def frames(self, addresses: U64) -> U64:
        """The frame of each `struct page`."""
        return (addresses - np.uint64(self.base)) // np.uint64(self.sizeof_page)

    def heads(self, frames: U64) -> U64:
        """The first frame of the folio that each frame belongs to; the frame itself if unreadable."""
        addresses = self.addresses(frames)
        words, _ = self._read(addresses)
        heads = self._head_addresses(addresses, words[self._word])
        # A hugetlb folio may have given back most of its page structs. Tails then show the first page's
        # struct in its place, and only the struct after it tells.
        suspect = (
            (heads == addresses)
            & (addresses & _VMEMMAP_PAGE == 0)
            & ((words["flags"] & self._head_flag) != 0)
        )
        if suspect.any():
            after, ok = self._read(addresses[suspect] + np.uint64(self.sizeof_page))
            tail = ok & (after[self._word] & _TAIL != 0)
            seen = self._head_addresses(addresses[suspect], after[self._word])
            heads[suspect] = np.where(tail, seen, addresses[suspect])
        return self.frames(heads)

    def is_tail(self, raw: NDArray[np.uint8]) -> Bool:
        """Which of these page structs, shape (n, bytes), are of a page that another one comes before?"""
        at = self.btf.struct("page").offset(self._word)
        return (raw[:, at] & 1).astype(np.bool_)

    @cached_property
    def _word(self) -> str:
        """The member that leads to the head."""
        return "compound_info" if "compound_info" in self.btf.struct("page") else "compound_head"

    @cached_property
    def _head_flag(self) -> np.uint64:
        return np.uint64(1 << page_flags(self.btf)["PG_head"])

    @cached_property
    def _dtype(self) -> np.dtype[np.void]:
        page = self.btf.struct("page")
        return page.dtype(["flags", self._word], max(page[name].end for name in ("flags", self._word)))

    def _read(self, addresses: U64) -> tuple[NDArray[np.void], Bool]:
        raw, ok = self.memory.read(addresses, self._dtype.itemsize)
        return raw.view(self._dtype)[:, 0], ok

    def _head_addresses(self, addresses: U64, words: U64) -> U64:
        """The first page's `struct page` for each page, from the word that leads there."""
        values = words & ~_TAIL
        heads = np.where(words & _TAIL != 0, values, addresses)
        if self._word == "compound_info":
            span = ~values + np.uint64(1)
            mask = (words & _TAIL != 0) & (span & (span - np.uint64(1)) == 0) & (span < _LARGEST_SPAN)
            heads = np.where(mask, addresses & values, heads)
        return heads
