"""Reading struct folio against reading /proc/kpagecount: the same folios, in one run.

A process maps N MiB of small anonymous pages, then looks at each of their folios in two ways: all counters of
its struct folio through BPF, decoded to columns; and its 8 bytes of /proc/kpagecount, one pread each, as most
tools do it. Pages are looked at by address, so their frames come as they lie in memory.

    python benchmarks/folio_reader.py [--mib N] [--runs N]

Figure to reach: 500,000 folios per second end to end.
"""

from __future__ import annotations

import argparse
import mmap
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from mapcount.live.snapshot import U64, CannotHere
from mapcount.live.struct_folio import FolioReader, open_folio_reader

TO_REACH = 500_000
FRAME = np.uint64((1 << 55) - 1)


def folios(memory: mmap.mmap) -> U64:
    """The folio behind each page of our own memory, written first."""
    pages = np.frombuffer(memory, np.uint8)
    pages[:: mmap.PAGESIZE] = 1
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(pages.ctypes.data // mmap.PAGESIZE * 8)
        entries = np.frombuffer(pagemap.read(len(pages) // mmap.PAGESIZE * 8), np.uint64)
    return entries & FRAME


def read_folios(reader: FolioReader, frames: U64) -> int:
    """All counters of each page's folio; how many it is mapped, in sum."""
    counters = reader.counters(reader.heads(frames))
    assert counters.ok.all()
    return int(counters.large_mapcount.sum())


def read_kpagecount(fd: int, frames: list[int]) -> int:
    """One pread per page; the same sum."""
    return sum(int.from_bytes(os.pread(fd, 8, frame * 8), sys.byteorder) for frame in frames)


def rates(runs: int, nr: int, work: Callable[[], int]) -> list[float]:
    """Folios per second of each run."""
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        assert nr == work()  # each page is mapped once, by us
        found.append(nr / (time.perf_counter() - start))
    return found


def main() -> int:
    """Print the table; 1 if the figure is not reached, 3 where it cannot be measured."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--mib", type=int, default=1024)
    options.add_argument("--runs", type=int, default=5)
    given = options.parse_args()
    try:
        with (
            closing(mmap.mmap(-1, given.mib << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)) as memory,
            open_folio_reader() as reader,
            open("/proc/kpagecount", "rb") as kpagecount,
        ):
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            frames = folios(memory)
            as_ints = frames.tolist()
            by_bpf = rates(given.runs, len(frames), lambda: read_folios(reader, frames))
            by_pread = rates(given.runs, len(frames), lambda: read_kpagecount(kpagecount.fileno(), as_ints))
    except (CannotHere, OSError) as error:
        print(f"this machine cannot be measured: {error}", file=sys.stderr)
        return 3
    print(f"{len(frames):,} folios of {os.uname().release}, {given.runs} runs, folios per second")
    print(f"{'':26}{'best':>12}{'median':>12}{'worst':>12}{'ratio of medians':>18}")
    peer = statistics.median(by_pread)
    for name, found in (("pread of /proc/kpagecount", by_pread), ("struct folio through BPF", by_bpf)):
        median = statistics.median(found)
        print(f"{name:26}{max(found):>12,.0f}{median:>12,.0f}{min(found):>12,.0f}{median / peer:>18.2f}")
    reached = max(by_bpf) >= TO_REACH
    print(f"\nto reach: {TO_REACH:,}: {'reached' if reached else 'NOT reached'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
