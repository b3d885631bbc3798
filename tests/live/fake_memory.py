"""Kernel memory that a test made up: page structs with folios in them, at a chosen place."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mapcount.live.btf import Btf
from mapcount.live.snapshot import U64, Bool
from mapcount.live.vmemmap import Vmemmap
from mapcount.tracking.layout import encode, encode_raw
from mapcount.tracking.layouts import Layout

from .btf_file import PAGE_FLAGS, btf_of

BASE = 0xFFFF_EA00_0000_0000
HEAD = 1 << PAGE_FLAGS["PG_head"]


class FakeMemory:
    """A KernelMemory with `data` at `base` and nothing elsewhere."""

    release, live = "6.18.0-fake", False

    def __init__(self, data: bytes | bytearray, base: int = BASE) -> None:
        self.data, self.base = data, base
        self.reads = 0

    def read(self, addresses: U64, size: int) -> tuple[NDArray[np.uint8], Bool]:
        """See KernelMemory.read."""
        self.reads += len(addresses)
        found = np.zeros((len(addresses), size), np.uint8)
        ok = np.zeros(len(addresses), np.bool_)
        for i, address in enumerate(addresses.tolist()):
            at = address - self.base
            ok[i] = 0 <= at <= len(self.data) - size
            if ok[i]:
                found[i] = np.frombuffer(bytes(self.data[at : at + size]), np.uint8)
        return found, ok

    def current_task(self) -> int | None:
        """See KernelMemory.current_task."""
        return None

    def vmcoreinfo(self) -> str | None:
        """See KernelMemory.vmcoreinfo."""
        return None

    def __enter__(self) -> FakeMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class FakePages:
    """Page structs for `nr_pages` frames, all small and free at first, of a kernel with this layout."""

    def __init__(self, layout: Layout, nr_pages: int, *, masks: bool = False) -> None:
        """`masks`: tails point to their head by a mask of addresses, as newer kernels do."""
        self.layout, self.masks = layout, masks
        self.raw = bytearray(encode_raw(layout, {}, order=0) * nr_pages)

    def put(self, frame: int, order: int, values: Mapping[str, int], *, hugetlb: bool = False) -> None:
        """A folio with these natural counters; its tails point to it, and its size and flags are set."""
        word, size = self.layout.word, self.layout.sizeof_page
        values = {"flags": HEAD if order else 0, **values}
        for name in ("_nr_pages", "_folio_nr_pages"):
            if order and any(name == field.name for field in self.layout.fields):
                values[name] = 1 << order
        data = encode(self.layout, values, order=order, hugetlb=hugetlb)
        at = frame * size
        self.raw[at : at + len(data)] = data
        for page in range(1, 1 << order):
            head = BASE + at if not self.masks else -(size << order)
            tail = at + page * size + word
            self.raw[tail : tail + word] = ((head & (1 << 8 * word) - 1) | 1).to_bytes(word, "little")

    def set(self, frame: int, offset: int, value: int, size: int = 4) -> None:
        """Some bytes of a frame's page struct, signed."""
        at = frame * self.layout.sizeof_page + offset
        self.raw[at : at + size] = value.to_bytes(size, "little", signed=value < 0)

    def vmemmap(self, **types: object) -> Vmemmap:
        """As it is found in the memory of that kernel; `types` are options of `btf_of`."""
        word = "compound_info" if self.masks else "compound_head"
        btf = Btf(btf_of(self.layout, head_word=word, **types), "fake.btf")  # type: ignore[arg-type]
        return Vmemmap(FakeMemory(self.raw), btf, BASE)
