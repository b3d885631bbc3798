"""A process looked into: its regions add up to what the audit says of it, and its folios are told in full."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.audit.audits import mistaken, source
from tests.live.fakes import MemorySource, Run, block_of, machine, process, region

from mapcount.audit.machine import audit
from mapcount.audit.regions import MOST_FOLIOS, open_process
from mapcount.audit.smaps import Memory
from mapcount.live.capture_source import CaptureSource
from mapcount.live.snapshot import UNKNOWN, Source, Unreadable
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT

DEMO = Path(__file__).parents[2] / "captures" / "demo.capture"


def agrees(opened_from: Source, pid: int) -> None:
    """Regions must add up to the process, in each number and under each kernel."""
    opened = open_process(opened_from, pid)
    found = audit(opened_from, [pid])
    (audited,) = found.processes
    now = [each.now for each in opened.regions]
    assert audited.now == added(now)
    for name, memory in audited.under.items():
        assert memory == added([each.under[name] for each in opened.regions])
    page_kib = opened_from.machine.page_size >> 10
    assert audited.mistakes.pages * page_kib == sum(each.mistaken_kib for each in opened.regions)
    assert found.folios == opened.sizes


def added(memories: list[Memory]) -> Memory:
    """The sum."""
    return Memory(
        sum(m.rss_kib for m in memories), sum(m.pss_kib for m in memories), sum(m.uss_kib for m in memories)
    )


@pytest.mark.parametrize("pid", [10, 12, 14, 15, 16])
def test_regions_of_real_processes_add_up(pid: int) -> None:
    """In a capture of a real machine the regions of a process are the process."""
    agrees(CaptureSource(DEMO), pid)


@pytest.mark.parametrize("flavour", [f for f in FLAVOURS.values() if f.bits == 64], ids=str)
@pytest.mark.parametrize("pid", [9, 10, 11])
def test_regions_add_up_on_each_kernel(pid: int, flavour: object) -> None:
    """Also where the kernel does not count pages, or has no slots, so that answers are guesses."""
    agrees(source(flavour=flavour), pid)


def test_where_the_mistakes_are() -> None:
    """A folio that lies across two regions is judged as one, and each region is charged what it maps."""
    two = MemorySource(
        [process(1, [region(8, smaps=kib(32)), region(8, start=0x2000, smaps=kib(32))])],
        {
            1: [
                block_of(
                    [
                        Run(0, 8, folio=100, order=4, region=0),
                        Run(0, 8, folio=100, first=8, order=4, region=1),
                    ],
                    [mistaken(100)],
                )
            ]
        },
    )
    opened = open_process(two, 1)
    assert [32, 32] == [each.mistaken_kib for each in opened.regions]
    assert [1, 1] == [each.folios for each in opened.regions]
    assert [0, 0] == [each.under[NO_PAGE_MAPCOUNT.name].uss_kib for each in opened.regions]


def test_folios_of_a_region_one_by_one() -> None:
    """Place, size, how they are mapped, counters, slots, truth, and what the kernel says."""
    slots = replace(mistaken(101), mm_id=(7, 0), mm_id_mapcount=(3, 0), shared=0)
    two = MemorySource(
        [process(1, [region(64, smaps=kib(128))])],
        {
            1: [
                block_of(
                    [Run(0, 16, folio=100, order=4), Run(32, 16, folio=101, order=4), Run(60)],
                    [mistaken(100), slots],
                )
            ]
        },
    )
    first, second = open_process(two, 1, 0x1000).folios
    assert (0, 4, "anon", "PTE", 16) == (first.page, first.order, first.kind, first.levels, first.pages)
    assert (16, 16, 16, 0, 16) == (
        first.mine, first.total, first.large_mapcount, first.entire_mapcount, first.refcount,
    )  # fmt: skip
    assert (1, 0, True) == (first.believed, first.truth, first.mistaken)
    assert (32, ((7, 3), (0, 0)), 0, 0, False) == (
        second.page, second.slots, second.believed, second.truth, second.mistaken,
    )  # fmt: skip


def test_folios_that_others_map_are_shared() -> None:
    """More mappings than this address space has: somebody else maps it, and the kernel is right."""
    shared = replace(mistaken(100), large_mapcount=32)
    one = MemorySource(
        [process(1, [region(16, smaps=kib(64))])],
        {1: [block_of([Run(0, 16, folio=100, order=4, mapcount=2)], [shared])]},
    )
    (folio,) = open_process(one, 1, 0x1000).folios
    assert (16, 32, 1, 1, False) == (folio.mine, folio.total, folio.believed, folio.truth, folio.mistaken)


def test_unknown_flags_make_no_mistakes() -> None:
    """Where struct folio is not readable, nothing is said of the kernel's belief."""
    blind = MemorySource(
        [process(1, [region(16, smaps=kib(64))])],
        {
            1: [
                block_of(
                    [Run(0, 16, folio=100, order=4)],
                    [replace(mistaken(100), shared=UNKNOWN, large_mapcount=UNKNOWN, sum_mapcount=16)],
                )
            ]
        },
    )
    (folio,) = open_process(blind, 1, 0x1000).folios
    assert (UNKNOWN, 0, False) == (folio.believed, folio.truth, folio.mistaken)


def test_of_very_many_folios_the_first_are_told() -> None:
    """A region of a million folios is no reason to make a million rows; their number is still said."""
    nr = MOST_FOLIOS + 5
    many = MemorySource(
        [process(1, [region(16 * nr, smaps=kib(64 * nr))])],
        {
            1: [
                block_of(
                    [Run(16 * i, 16, folio=100 + i, order=4) for i in range(nr)],
                    [mistaken(100 + i) for i in range(nr)],
                )
            ]
        },
    )
    opened = open_process(many, 1, 0x1000)
    assert (MOST_FOLIOS, nr) == (len(opened.folios), opened.all_folios)


def test_without_frames_there_is_what_smaps_says() -> None:
    """Who may not see page frames still sees regions, and nothing is predicted."""
    blind = MemorySource(
        [process(1, [region(16, smaps=kib(64))])], machine=machine(frames=False, folios=False)
    )
    (only,) = open_process(blind, 1).regions
    assert (Memory(64, 64, 64), {}) == (only.now, only.under)


def test_a_process_that_is_gone() -> None:
    """Looking into nobody is Unreadable."""
    with pytest.raises(Unreadable, match="no such process"):
        open_process(source(), 4)


def kib(rss: int) -> dict[str, int]:
    """What smaps says of a region that nobody else maps."""
    return {"Rss": rss, "Pss": rss, "Private_Clean": 0, "Private_Dirty": rss}
