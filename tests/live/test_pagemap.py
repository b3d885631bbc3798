"""Where an address space has pages, and reading their entries."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.live import pagemap as module
from mapcount.live.pagemap import Extent, Gone, Pagemap, blocks, extents, level
from mapcount.live.snapshot import UNKNOWN

from .child import Child
from .fakes import region


@pytest.fixture
def child() -> Iterator[Child]:
    """A process of our own."""
    with Child() as child:
        yield child


@pytest.fixture
def pagemap(child: Child) -> Iterator[Pagemap]:
    """Its pagemap; skips where the kernel cannot scan it."""
    fd = os.open(f"/proc/{child.pid}/pagemap", os.O_RDONLY)
    pagemap = Pagemap(fd, 4096)
    if not pagemap.scans():
        pytest.skip("no PAGEMAP_SCAN: it takes Linux 6.7")
    yield pagemap
    os.close(fd)


def test_a_scan_finds_what_is_present_and_how(child: Child, pagemap: Pagemap) -> None:
    """Present pages are found with their level; holes are stepped over."""
    huge = child.do("anon(2 * PMD, huge=True)")
    if "AnonHugePages:      4096" not in Path(f"/proc/{child.pid}/smaps").read_text():
        pytest.skip("no huge pages to be had")
    small = child.do("anon(1 << 40, fill=False)")
    for page in (0, 1, 5000, (1 << 28) - 1):
        child.do(f"ctypes.memset({small} + {page} * PAGE, 1, 1)")
    child.do(f"by_pte({huge} + PMD)")
    huge, small = huge // 4096, small // 4096
    assert [(huge, huge + 512, 1), (huge + 512, huge + 1024, 0)] == list(pagemap.scan(huge, huge + 1024))
    assert [
        (small, small + 2, 0),
        (small + 5000, small + 5001, 0),
        (small + (1 << 28) - 1, small + (1 << 28), 0),
    ] == list(pagemap.scan(small, small + (1 << 28)))
    assert [] == list(pagemap.scan(small + 2, small + 3000))


def test_a_scan_goes_on_where_its_room_ended(
    child: Child, pagemap: Pagemap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More extents than one call can give are found by the next."""
    start = child.do("anon(1 << 22, fill=False)")
    child.do(f"[ctypes.memset({start} + i * 100 * PAGE, 1, 1) for i in range(10)]; None")
    monkeypatch.setattr(module, "_SCANNED_AT_ONCE", 3)
    start //= 4096
    few = Pagemap(pagemap._fd, 4096)
    assert [(start + i * 100, start + i * 100 + 1, 0) for i in range(10)] == list(
        few.scan(start, start + 1024)
    )


def test_a_scan_passes_over_small_holes(child: Child, pagemap: Pagemap) -> None:
    """Extents a few pages apart are one, since reading on costs less than reading again."""
    start = child.do("anon(1 << 20, fill=False)")
    child.do(f"[ctypes.memset({start} + i * 8 * PAGE, 1, 1) for i in range(10)]; None")
    assert [(start // 4096, start // 4096 + 73, 0)] == list(pagemap.scan(start // 4096, start // 4096 + 256))


def test_the_pagemap_of_a_dead_process_is_gone(child: Child, pagemap: Pagemap) -> None:
    """What was opened stays of the same address space, and says when that is no more."""
    start = child.do("anon(1 << 20)") // 4096
    entries = np.zeros(16, np.uint64)
    pagemap.read(start, entries)
    assert pagemap.alive
    assert 16 == int((entries >> np.uint64(63)).sum())
    child.end()
    assert not pagemap.alive
    with pytest.raises(Gone):
        pagemap.read(start, entries)
    with contextlib.suppress(Gone):  # some kernels do not notice, and find nothing
        assert [] == list(pagemap.scan(start, start + 256))


@pytest.mark.parametrize("number", [errno.ENOTTY, errno.EINVAL])
def test_kernels_without_a_scan_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Before Linux 6.7 the call does not exist."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.ioctl", refuse)
    (tmp_path / "pagemap").write_bytes(struct.pack("=Q", 0))
    with (tmp_path / "pagemap").open("rb") as file:
        assert not Pagemap(file.fileno(), 4096).scans()


@pytest.mark.parametrize(
    ("smaps", "expected"),
    [
        ({"Rss": 4096}, 0),
        ({"Rss": 4096, "AnonHugePages": 4096}, 1),
        ({"Rss": 4096, "AnonHugePages": 2048, "ShmemPmdMapped": 2048}, 1),
        ({"Rss": 4096, "FilePmdMapped": 2048}, UNKNOWN),
        ({"Rss": 0, "Private_Hugetlb": 2048}, 1),
    ],
    ids=["none", "all", "all of two kinds", "some", "hugetlb"],
)
def test_smaps_may_decide_the_level(smaps: dict[str, int], expected: int) -> None:
    """Without a scan the level is known where all of a region or nothing of it is mapped by PMDs."""
    assert expected == level(region(1024, smaps=smaps))


def test_regions_without_anything_are_not_looked_into() -> None:
    """Where smaps counts nothing, or the kernel never looks, no page is read: some reserve terabytes."""
    looked = [
        region(1 << 40, start=0, smaps={"Rss": 0}),
        region(8, start=1 << 41, smaps={"Rss": 32}, flags=frozenset({"pf", "io"})),
        region(8, start=1 << 42, smaps={"Rss": 4}),
    ]
    with open(os.devnull, "rb") as file:
        assert [Extent(2, 1 << 42, (1 << 42) + 8, 0)] == list(
            extents(Pagemap(file.fileno(), 4096), looked, False)
        )


@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(1, 3000), st.integers(0, 1)), max_size=20),
    st.integers(1, 4),
)
def test_blocks_are_bounded_and_lose_nothing(spans: list[tuple[int, int, int]], size: int) -> None:
    """Blocks hold every page once, in order, at most so many; what is cut is cut between two PMDs."""
    found, at = [], 0
    for gap, nr, pmd in spans:
        found.append(Extent(0, at + gap, at + gap + nr, pmd))
        at += gap + nr
    made = list(blocks(iter(found), size * 512, 512))
    pages = [page for block in made for e in block for page in range(e.start, e.stop)]
    assert [page for e in found for page in range(e.start, e.stop)] == pages
    assert all(0 < sum(e.stop - e.start for e in block) <= size * 512 for block in made)
    ends = {e.stop for e in found}
    assert all(e.stop % 512 == 0 for block in made for e in block if e.stop not in ends)
