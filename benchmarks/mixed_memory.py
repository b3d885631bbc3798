"""A process with memory of every sort, for benchmarks to look at: it maps, says `ready` and waits.

    python -I -S benchmarks/mixed_memory.py MIB SORT...

`MIB` of each sort: `pmd` huge pages that PMDs map, `pte` huge pages that PTEs map, `large` folios of the size
that is enabled below the PMD size (or small ones), `small` pages, and `often` one MIB of shared memory mapped
again and again until MIB are mapped `OFTEN` times over. It ends with its input, and with whoever started it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys

PAGE, PMD = mmap.PAGESIZE, 2 << 20
OFTEN = 64
MADV_HUGEPAGE, MADV_NOHUGEPAGE = 14, 15
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def anonymous(size: int, advice: int) -> int:
    """Private memory at a multiple of a PMD; not written yet."""
    start: int = libc.mmap(
        None, size + PMD, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
    )
    start = -(-start // PMD) * PMD
    libc.madvise(start, size, advice)
    return start


def pmd(size: int) -> None:
    """Huge pages, each mapped by a PMD."""
    ctypes.memset(anonymous(size, MADV_HUGEPAGE), 1, size)


def pte(size: int) -> None:
    """The same mapped by PTEs: a page of each is made read-only and writable again."""
    start = anonymous(size, MADV_HUGEPAGE)
    ctypes.memset(start, 1, size)
    for at in range(start, start + size, PMD):
        libc.mprotect(at, PAGE, mmap.PROT_READ)
        libc.mprotect(at, PAGE, mmap.PROT_READ | mmap.PROT_WRITE)


def large(size: int) -> None:
    """Where a page table exists already, no PMD maps anything, and so the next smaller size is taken.

    Pages are dropped one by one: the kernel frees page tables that a larger range leaves empty (Linux 6.14).
    """
    start = anonymous(size, MADV_NOHUGEPAGE)
    for at in range(start, start + size, PMD):
        ctypes.memset(at, 1, 1)
        libc.madvise(at, PAGE, mmap.MADV_DONTNEED)
    libc.madvise(start, size, MADV_HUGEPAGE)
    ctypes.memset(start, 1, size)


def small(size: int) -> None:
    """Pages of 4 KiB."""
    ctypes.memset(anonymous(size, MADV_NOHUGEPAGE), 1, size)


def often(size: int) -> None:
    """One stretch of shared memory, mapped many times."""
    fd = os.memfd_create("often")
    os.ftruncate(fd, size)
    for _ in range(OFTEN):
        start = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED | mmap.MAP_POPULATE, fd, 0)
        assert start != (1 << 64) - 1
    os.close(fd)


def main() -> None:
    """Map what the arguments say, then wait."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    size = int(sys.argv[1]) << 20
    for sort in sys.argv[2:]:
        {"pmd": pmd, "pte": pte, "large": large, "small": small, "often": often}[sort](size)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
