"""Which kernel runs, and what it keeps: found from its types and configuration, never from its version."""

from __future__ import annotations

import gzip
import mmap
import os
import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from mapcount.live.btf import Btf
from mapcount.live.snapshot import CannotHere
from mapcount.tracking.flavour import (
    NO_PAGE_MAPCOUNT,
    PAGE_MAPCOUNT,
    PMD_ORDER,
    TOTAL_MAPPED_PAGES,
    V6_14,
    Flavour,
)

THP = Path("/sys/kernel/mm/transparent_hugepage")
CONFIGS = ("/proc/config.gz", "/boot/config-{release}", "/lib/modules/{release}/config")
"""Where a kernel's configuration may be; the first is the running kernel's own."""

_KPF_COMPOUND_TAIL = 1 << 16


def release() -> str:
    """As `uname -r` says."""
    return os.uname().release


def page_size() -> int:
    """In bytes."""
    return mmap.PAGESIZE


def pmd_order() -> int:
    """The order of a folio that one PMD maps; that of x86-64 if the kernel has no huge pages to tell."""
    try:
        return (int((THP / "hpage_pmd_size").read_text()) // mmap.PAGESIZE).bit_length() - 1
    except (OSError, ValueError):
        return PMD_ORDER


def kernel_config(release: str) -> Mapping[str, str] | None:
    """The options that a kernel was built with, `CONFIG_X` to its value (unset ones left out), if found."""
    running = release == os.uname().release
    for path in CONFIGS if running else CONFIGS[1:]:
        try:
            data = Path(path.format(release=release)).read_bytes()
            text = (gzip.decompress(data) if path.endswith(".gz") else data).decode()
        except (OSError, EOFError, zlib.error, UnicodeDecodeError):
            continue
        lines = (line.partition("=") for line in text.splitlines())
        found = {name: value for name, _, value in lines if name.startswith("CONFIG_")}
        if found:
            return found
    return None


def flavour_of(btf: Btf | None, config: Mapping[str, str] | None) -> Flavour | None:
    """What a kernel with these types and this configuration keeps; None if they do not tell."""
    if btf is not None:
        folio = btf.struct("folio").members if btf.has_struct("folio") else {}
        if "_total_mapped_pages" in folio:
            return TOTAL_MAPPED_PAGES
        if "_mm_id" not in folio:
            return V6_14
        if "_nr_pages_mapped" not in folio:
            return NO_PAGE_MAPCOUNT
    if config is None:
        return None
    if config.get("CONFIG_NO_PAGE_MAPCOUNT") == "y":
        return NO_PAGE_MAPCOUNT
    if config.get("CONFIG_PAGE_MAPCOUNT") == "y":
        return PAGE_MAPCOUNT
    return V6_14 if btf is None else None  # the options came with the slots


def running_flavour(btf: Btf | None, config: Mapping[str, str] | None) -> Flavour:
    """What the running kernel keeps. Raises CannotHere if neither types, configuration nor a try tell."""
    flavour = flavour_of(btf, config)
    if flavour is not None:
        return flavour
    counted = pages_are_counted()
    if counted is False:
        return NO_PAGE_MAPCOUNT
    if counted and btf is not None:  # without types it might as well be from before the slots
        return PAGE_MAPCOUNT
    raise CannotHere(
        "it is unknown whether this kernel keeps per-page counts: "
        f"no {', '.join(CONFIGS).format(release=release())} tells; as root it could be tried out"
    )


def pages_are_counted() -> bool | None:
    """Does the running kernel count the mappings of single pages of large folios? None: cannot be tried.

    The try: one half of a huge page of our own is unmapped. With per-page counts /proc/kpagecount then says 0
    for a page of that half; without, it says the folio's average, which is at least 1.
    """
    size = mmap.PAGESIZE << pmd_order()
    pages = size // mmap.PAGESIZE
    try:
        with closing(mmap.mmap(-1, 2 * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)) as memory:
            at = -int(np.frombuffer(memory, np.uint8).ctypes.data) % size
            memory.madvise(mmap.MADV_HUGEPAGE, at, size)
            memory[at] = 1
            last = _frame_of(memory, at + size - mmap.PAGESIZE)
            memory.madvise(mmap.MADV_DONTNEED, at + size // 2, size // 2)
            first = _frame_of(memory, at)
            one_folio = first + pages - 1 == last and _about("/proc/kpageflags", last) & _KPF_COMPOUND_TAIL
            return _about("/proc/kpagecount", last) == 0 if first and one_folio else None
    except OSError:
        return None


def _about(path: str, index: int) -> int:
    """The 64-bit word at an index of a file."""
    with open(path, "rb") as file:
        file.seek(8 * index)
        return int.from_bytes(file.read(8), "little")


def _frame_of(memory: mmap.mmap, at: int) -> int:
    """The frame behind a byte of our own memory; 0 if hidden."""
    address = int(np.frombuffer(memory, np.uint8).ctypes.data) + at
    return _about("/proc/self/pagemap", address // mmap.PAGESIZE) & ((1 << 55) - 1)
