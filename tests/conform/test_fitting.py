"""What a machine lacks for a scenario is said before anything is acted out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mapcount.conform.fitting import Host, why_not
from mapcount.live.thp import Thp
from mapcount.scenario.parse import parse
from mapcount.scenario.syntax import ScenarioError
from mapcount.tracking.flavour import PAGE_MAPCOUNT

SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)
NEVER = dict.fromkeys(SIZES, "never")
THP = Thp({**NEVER, 2048: "madvise"}, NEVER, Path("/nowhere"))
HOST = Host(THP, set_thp=False, swap=False, pins=False, huge_free={2048: 1}, available=1 << 20)
RICH = replace(HOST, set_thp=True, swap=True, pins=True, huge_free={2048: 9})


def reason(text: str, host: Host = HOST) -> str | None:
    """Why a machine cannot act a story out."""
    return why_not(parse(text), PAGE_MAPCOUNT, host)


@pytest.mark.parametrize(
    ("story", "says"),
    [
        (
            "P mmap h 64K thp=64K",
            "it needs anon folios of 64K; settings here give 2M (--set-thp changes that)",
        ),
        ("P mmap h 64K thp=64K,2M", "it needs anon folios of 64K+2M; settings here give 2M"),
        ("P mmap h 64K thp=64K shared", "it needs shmem folios of 64K; settings here give small ones"),
        ("P mmap h 64K memfd=f thp=2M", "it needs shmem folios of 2M"),
        ("P mmap h 64K\nP pin h", "io_uring"),
        ("P mmap h 64K\nP write h\nP madvise h pageout", "needs swap"),
        ("P mmap h 4M hugetlb\nP write h", "it needs 2 hugetlb pages of 2M; 1 is free"),
        (
            "P mmap h 16G small\nP write h",
            "it needs 16G of memory; a scenario may take one part in 4 of the 4.0G available",
        ),
    ],
)
def test_what_some_machines_lack(story: str, says: str) -> None:
    """The reason names what is needed, what there is, and how it could be had; a richer machine has none."""
    found = reason(story)
    assert found is not None
    assert says in found
    assert reason(story, replace(RICH, available=1 << 30)) is None


@pytest.mark.parametrize(
    ("story", "says"),
    [
        ("P mmap h 64K file=lib", "file system's choice"),
        ("P mmap h 4M thp=4M", "this kernel has no anon folios of 4M"),
        (
            "P mmap h 64K\nP write h\nkernel migrate P.h",
            "no process can ask the kernel for this step: kernel migrate",
        ),
        ("# bits: 32\nP mmap h 64K", "about a 32-bit machine"),
        ("P mmap h 16T small", "it has 16T mapped at once, in use or not; up to 128G are looked at"),
        ("P mmap h 100G\nP write h[0p]\nP fork A", "it has 200G mapped at once"),
    ],
)
def test_what_no_machine_can(story: str, says: str) -> None:
    """Some stories no process can act out."""
    found = reason(story, RICH)
    assert found is not None
    assert says in found


@pytest.mark.parametrize(
    "story",
    [
        "P mmap h 2M thp=2M\nP write h\nP fork A\nP expect h rss=2M\nkernel expect anon_pages=512",
        "P mmap h 64K shared\nP mmap g 64K shmem=f\nP write h",
        "P mmap h 2M\nP madvise h hugepage",
        "P mmap h 64K\nP mmap room 16T reserved\nP write h",
        "P mmap h 100G small\nP write h[0p] ; P munmap h\nP mmap g 100G small\nP write g[0p]",
        "P mmap h 8G small\nP write h[0:512M]\nP madvise h dontneed\nP write h[1G:1536M]",
    ],
)
def test_what_this_machine_can(story: str) -> None:
    """Stories that need nothing special fit a machine as it is set; only memory in use counts as memory."""
    assert reason(story) is None


def test_large_folios_without_being_asked() -> None:
    """Where memory gets large folios unasked, stories about small anonymous folios still fit."""
    always = replace(HOST, thp=Thp(dict.fromkeys(SIZES, "always"), NEVER, Path("/nowhere")))

    assert reason("P mmap h 64K small", always) is None
    assert reason("P mmap h 64K thp=64K", always) is not None


def test_an_impossible_story_is_a_mistake() -> None:
    """What no kernel would do is an error in the story, at its place, not a lack of the machine."""
    with pytest.raises(ScenarioError, match="may not be written"):
        reason("P mmap h 64K prot=r\nP write h")
