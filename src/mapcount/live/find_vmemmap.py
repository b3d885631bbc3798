"""Where in memory `vmemmap` starts, and the proof.

The start depends on machine and configuration, and KASLR moves it at each boot. There are several ways to
learn it, and none is trusted before a look at pages whose `struct page` is known in advance:

- memory of our own: /proc/self/pagemap tells the frames, and their page structs' index, mapping, mapcount and
  references must be what they have to be;
- in a core dump there is none, so large folios are looked at: each must start at a multiple of its size.
"""

from __future__ import annotations

import mmap
import os
import platform
import re
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import numpy as np

from mapcount.live.btf import Btf
from mapcount.live.kernel_memory import KernelMemory
from mapcount.live.snapshot import U64, CannotHere
from mapcount.live.vmemmap import Vmemmap

DEFAULT_BASES = {"x86_64": (0xFFFFEA0000000000, 0xFFD4000000000000)}
"""Without KASLR, for page tables of four and of five levels; by machine as `uname -m` calls it."""

MOST_ROOTS = 1 << 20
"""Pages of memory sections in the largest machine that there can be, and more."""
TRIES = 5
"""Our own pages may move while we look: how often to look again."""
OWN_PAGES = 16

_PRESENT, _FRAME = np.uint64(1 << 63), np.uint64((1 << 55) - 1)
_MAPPING_FLAGS, _MAPPING_ANON = np.uint64(3), np.uint64(1)


def find_vmemmap(memory: KernelMemory, btf: Btf) -> Vmemmap:
    """The kernel's array of page structs. Raises CannotHere, naming everything that was tried."""
    fits = _fits_own_pages if memory.live else _fits_large_folios
    tried = []
    for how, find in _WAYS.items():
        try:
            # Closed here: a Ctrl-C while an unfinished generator is put away by itself would be lost.
            with closing(find(memory, btf)) as bases:
                for base in bases:
                    if 0 <= base < 1 << 64 and fits(found := Vmemmap(memory, btf, base)):
                        return found
                    tried.append(f"{how} says {base:#x}, where they are not")
        except (OSError, ValueError, LookupError) as error:
            tried.append(f"{how}: {error}")
    raise CannotHere("the kernel's page structs were not found: " + "; ".join(tried))


# -- ways to learn it -----------------------------------------------------------------------------------


def _from_file_page(memory: KernelMemory, btf: Btf) -> Generator[int, None, None]:
    """From a file of our own: this thread's open files lead to its page, and pagemap tells the frame."""
    task = memory.current_task()
    if task is None:
        return
    fd = os.memfd_create("mapcount")
    try:
        os.ftruncate(fd, mmap.PAGESIZE)
        with closing(mmap.mmap(fd, mmap.PAGESIZE)) as page:
            page[0] = 1
            files = _word(memory, task + btf.struct("task_struct").offset("files"))
            table = _word(memory, files + btf.struct("files_struct").offset("fdt"))
            by_number = _word(memory, table + btf.struct("fdtable").offset("fd"))
            file = _word(memory, by_number + fd * btf.word)
            mapping = _word(memory, file + btf.struct("file").offset("f_mapping"))
            tree = btf.struct("address_space").offset("i_pages") + btf.struct("xarray").offset("xa_head")
            entry = _word(memory, mapping + tree)
            while entry & 3 == 2:  # a node of the tree, not yet a page
                entry = _word(memory, entry - 2 + btf.struct("xa_node").offset("slots"))
            (frame,) = _own_frames(_address(page), 1).tolist()
            yield entry - frame * btf.struct("page").size
    finally:
        os.close(fd)


def _from_vmcoreinfo(memory: KernelMemory, btf: Btf) -> Generator[int, None, None]:
    """From the first memory section that exists: each holds the array's start, with flags in the low bits.

    The note's `mem_section` is an array of pointers ("roots"), each to a page full of sections (Linux 4.15).
    """
    text = memory.vmcoreinfo()
    if text is None:
        return
    notes = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    missing = {"PAGESIZE", "SYMBOL(mem_section)", "LENGTH(mem_section)"} - set(notes)
    if missing:
        raise LookupError(f"it has no {', '.join(sorted(missing))}")
    section, page_size = btf.struct("mem_section"), int(notes["PAGESIZE"])
    per_root = page_size // max(section.size, 1)
    roots = int(notes["SYMBOL(mem_section)"], 16)
    for root in range(min(int(notes["LENGTH(mem_section)"]), MOST_ROOTS)):
        sections = _word(memory, roots + root * btf.word)
        for i in range(per_root if sections else 0):
            start = _word(memory, sections + i * section.size + section.offset("section_mem_map"))
            if start:
                yield start & -page_size
                return
    raise LookupError("no memory section exists")


def _from_kallsyms(memory: KernelMemory, btf: Btf) -> Generator[int, None, None]:
    """From the variable that holds it on x86-64, if /proc/kallsyms lists data (CONFIG_KALLSYMS_ALL)."""
    if memory.live:
        symbols = Path("/proc/kallsyms").read_text(encoding="utf-8")
        found = re.search(r"^([0-9a-f]+) \w vmemmap_base$", symbols, re.MULTILINE)
        if found and int(found[1], 16):
            yield _word(memory, int(found[1], 16))


def _default(memory: KernelMemory, btf: Btf) -> Generator[int, None, None]:
    """Where it is without KASLR."""
    yield from DEFAULT_BASES.get(platform.machine(), ())


_WAYS: dict[str, Callable[[KernelMemory, Btf], Generator[int, None, None]]] = {
    "a file's page": _from_file_page,
    "vmcoreinfo": _from_vmcoreinfo,
    "kallsyms": _from_kallsyms,
    "the default": _default,
}


def _word(memory: KernelMemory, address: int) -> int:
    """The machine word at an address. Raises LookupError if nothing is there."""
    if not 0 <= address < 1 << 64:
        raise LookupError(f"{address:#x} is no address")
    found, ok = memory.read(np.array([address], np.uint64), 8)
    if not ok[0]:
        raise LookupError(f"nothing is at {address:#x}")
    return int(found.view(np.uint64)[0, 0])


# -- looking before trusting ----------------------------------------------------------------------------


def _fits_own_pages(vmemmap: Vmemmap) -> bool:
    """Do the page structs of anonymous memory of our own hold what they must?"""
    folio = vmemmap.btf.struct("folio")
    dtype = folio.dtype(["mapping", "index", "_mapcount", "_refcount"], vmemmap.sizeof_page)
    with closing(mmap.mmap(-1, OWN_PAGES * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)) as own:
        own.madvise(mmap.MADV_NOHUGEPAGE)
        start = _address(own)
        for _ in range(TRIES):
            for page in range(OWN_PAGES):
                own[page * mmap.PAGESIZE] = 1
            raw, ok = vmemmap.memory.read(vmemmap.addresses(_own_frames(start, OWN_PAGES)), dtype.itemsize)
            pages = raw.view(dtype)[:, 0]
            if (
                ok.all()
                and (pages["mapping"] & _MAPPING_FLAGS == _MAPPING_ANON).all()
                and (pages["index"] == start // mmap.PAGESIZE + np.arange(OWN_PAGES, dtype=np.uint64)).all()
                and (pages["_mapcount"] == 0).all()  # stored minus one: mapped once
                and (pages["_refcount"] >= 1).all()
            ):
                return True
    return False


SEARCHED = 1 << 22
"""Frames among which a dump must have a large folio: 16 GiB."""


def _fits_large_folios(vmemmap: Vmemmap) -> bool:
    """Does every large folio start at a multiple of its size, and is there one?"""
    frames = np.arange(1, SEARCHED, 64, dtype=np.uint64)
    heads = vmemmap.heads(frames)
    tails = frames != heads
    return bool(tails.any()) and all(
        head < frame and head % (1 << int(frame - head).bit_length()) == 0
        for frame, head in zip(frames[tails].tolist(), heads[tails].tolist(), strict=True)
    )


def _address(memory: mmap.mmap) -> int:
    """Where our own mapping is."""
    return int(np.frombuffer(memory, np.uint8).ctypes.data)


def _own_frames(address: int, nr_pages: int) -> U64:
    """The frames behind pages of our own. Raises LookupError if pagemap does not tell."""
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(address // mmap.PAGESIZE * 8)
        entries = np.frombuffer(pagemap.read(8 * nr_pages), np.uint64)
    frames: U64 = entries & _FRAME
    if not ((entries & _PRESENT) != 0).all() or not frames.all():
        raise LookupError("/proc/self/pagemap hides frame numbers; it needs CAP_SYS_ADMIN to show them")
    return frames
