"""A machine's audit: attempts, who is counted, statistics, and what stays unknown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live.fakes import LargeFolio, MemorySource, Run, block_of, machine, process, region

from mapcount.audit.large_folios import LargeFolios, Waiting, folio_rows, mapped_by_runs
from mapcount.audit.machine import ATTEMPTS, Audit, SeenFolios, audit
from mapcount.live.snapshot import UNKNOWN, Block, Kind, MemoryStat, Process, Unreadable
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, V6_14

SMAPS = {"Rss": 64, "Pss": 64, "Private_Clean": 0, "Private_Dirty": 64}
WHOLE = Run(0, 16, order=4)
EXCLUSIVE = LargeFolio(1, mapped_pages=16, large_mapcount=16, entire_mapcount=0, refcount=16, shared=0)


def one(run: Run = WHOLE, folio: LargeFolio = EXCLUSIVE, **changes: object) -> MemorySource:
    """A process that maps one large folio."""
    found = process(1, [region(16, smaps=SMAPS)])
    return MemorySource([found], {1: [block_of([run], [folio])]}, machine(**changes))


def of(source: MemorySource) -> Audit:
    """The audit of all of it."""
    return audit(source, source.pids(), whole=True)


def test_at_rest() -> None:
    """A process whose pages add up to what smaps says is read once and changes nowhere."""
    found = of(one())
    (only,) = found.processes
    assert 0 == only.off_kib
    assert {only.now} == set(only.under.values())
    assert (1, 1, 0, 0) == tuple(
        getattr(found.folios[0], name) for name in ("folios", "exclusive", "shared", "not_judged")
    )
    assert found.complete


@dataclass
class Moving(MemorySource):
    """A process of which smaps says something else each time it is read."""

    says: Sequence[int] = ()
    asked: int = 0

    def process(self, pid: int) -> Process:
        """The next of the answers."""
        rss = self.says[min(self.asked, len(self.says) - 1)]
        self.asked += 1
        return replace(self.processes[0], regions=(region(16, smaps=SMAPS | {"Rss": rss}),))


@pytest.mark.parametrize(
    ("says", "asked", "off"),
    [([64], 1, 0), ([60, 64], 2, 0), ([60, 68, 64], 3, 0), ([60, 68, 72], ATTEMPTS, 8), ([60, 60], 2, 4)],
)
def test_a_process_that_moves_is_read_again(says: list[int], asked: int, off: int) -> None:
    """It is read again until it rests, but not for ever, nor when that changes nothing; then it is marked."""
    still = one()
    source = Moving(still.processes, still.mapped, still.machine, says=says)
    (found,) = of(source).processes
    assert (asked, off) == (source.asked, found.off_kib)
    assert says[min(asked, len(says)) - 1] == found.now.rss_kib


def test_a_tiny_difference_of_pss_is_rounding() -> None:
    """Every region's Pss is rounded down, so as many KiB as there are regions mean nothing."""
    source = one()
    source.processes = [process(1, [region(16, smaps=SMAPS | {"Pss": 63})])]
    assert 0 == of(source).processes[0].off_kib
    source.processes = [process(1, [region(16, smaps=SMAPS | {"Pss": 62})])]
    assert 2 == of(source).processes[0].off_kib


def test_what_moves_keeps_the_kernel_s_words() -> None:
    """A process that moved is shown as smaps has it, and changes by what its pages say."""
    shared = replace(EXCLUSIVE, shared=1)
    source = one(folio=shared)
    source.processes = [process(1, [region(16, smaps={"Rss": 80, "Pss": 70, "Private_Dirty": 80})])]
    (found,) = of(source).processes
    assert (80, 70, 80 - 64) == (
        found.now.rss_kib,
        found.under["no-page-mapcount"].pss_kib,
        found.under["no-page-mapcount"].uss_kib,
    )


@dataclass
class Vanishing(MemorySource):
    """A process that exits after its first block was read."""

    def blocks(self, process: Process) -> Iterator[Block]:
        """One block, and no more."""
        yield from self.mapped[process.pid]
        raise Unreadable(process.pid, process.comm, "it exited while being read")


def test_nothing_counts_of_what_was_not_read_to_its_end() -> None:
    """A process that exits in the middle is named; none of its folios is in any table."""
    whole = one()
    found = of(Vanishing(whole.processes, whole.mapped, whole.machine))
    assert ([1], (), ()) == ([reason.pid for reason in found.unreadable], found.processes, found.folios)
    assert not found.complete


def test_a_shared_folio_counts_once() -> None:
    """However many processes map a folio, it is one folio; each of its mappers sees that it is shared."""
    shared = LargeFolio(7, mapped_pages=16, large_mapcount=48, entire_mapcount=0, refcount=48, shared=1)
    run = Run(0, 16, folio=7, order=4, mapcount=3)
    pss = {"Rss": 64, "Pss": 21}
    found = of(
        MemorySource(
            [process(pid, [region(16, smaps=pss)]) for pid in (1, 2, 3)],
            {pid: [block_of([run], [shared])] for pid in (1, 2, 3)},
        )
    )
    assert (1, 0, 1) == (found.folios[0].folios, found.folios[0].exclusive, found.folios[0].shared)
    assert {0} == {only.off_kib for only in found.processes}


def test_mappings_in_several_blocks_are_added() -> None:
    """A folio that one process maps in two blocks is judged by both, and counts once."""
    halves = [
        block_of([Run(0, 8, order=4, first=0)], [replace(EXCLUSIVE, shared=1)]),
        block_of([Run(8, 8, order=4, first=8)], [replace(EXCLUSIVE, shared=1)]),
    ]
    source = one()
    source.mapped = {1: halves}
    found = of(source)
    assert (1, 1, 1) == (
        found.folios[0].folios,
        found.folios[0].exclusive,
        found.folios[0].mistaken_for_shared,
    )
    assert (1, 16, 1, 0) == (
        found.mistakes.folios,
        found.mistakes.pages,
        found.mistakes.advice_always,
        found.mistakes.advice_partly,
    )


def test_the_guess_of_one_block_is_that_of_the_folio() -> None:
    """Before 6.15 only the block with a folio's first page knows what the kernel guesses."""
    half = replace(EXCLUSIVE, shared=UNKNOWN)
    source = one(flavour=V6_14)
    source.mapped = {1: [block_of([Run(at, 8, order=4, first=at)], [half]) for at in (0, 8)]}
    row = of(source).folios[0]
    assert (1, 0, 0) == (row.exclusive, row.mistaken_for_shared, row.not_judged)


def test_pages_of_another_size() -> None:
    """A machine with pages of 64K is computed in its own pages."""
    sizes = {"Rss": 16 * 64, "Pss": 16 * 64, "Private_Dirty": 16 * 64}
    source = one(Run(0, 8, order=4), replace(EXCLUSIVE, mapped_pages=8, large_mapcount=8), page_size=1 << 16)
    source.processes = [process(1, [region(16, smaps={name: kib // 2 for name, kib in sizes.items()})])]
    found = of(source)
    assert (0, 1024, 512) == (
        found.processes[0].off_kib,
        found.folios[0].kib,
        found.meminfo["AnonPages"].under["no-page-mapcount"] - found.meminfo["AnonPages"].now_kib,
    )


def test_two_numbers_of_one_address_space_are_one_process() -> None:
    """Asked for by two numbers that share an address space, its memory counts once."""

    class Aliased(MemorySource):
        def process(self, pid: int) -> Process:
            return super().process(1)

    plain = one()
    found = audit(Aliased(plain.processes, plain.mapped, plain.machine), [1, 2])
    assert (1, 1) == (len(found.processes), found.folios[0].folios)


def test_more_mappings_than_the_kernel_counted_are_not_judged() -> None:
    """What cannot be, because something moved, is unknown and not wrong."""
    found = of(one(folio=replace(EXCLUSIVE, large_mapcount=8, shared=1)))
    row = found.folios[0]
    assert (1, 0, 0, 1, 0) == (
        row.folios,
        row.exclusive,
        row.shared,
        row.not_judged,
        row.mistaken_for_shared,
    )


def test_pins_forbid_reuse_anyway() -> None:
    """What a pin makes the kernel copy is not blamed on a mistake."""
    pinned = replace(EXCLUSIVE, shared=1, refcount=17, pincount=1, anon_exclusive=0)
    assert (1, 0, 0) == (
        (found := of(one(folio=pinned)).mistakes).folios,
        found.copied,
        found.copied_at_most,
    )
    free = replace(EXCLUSIVE, shared=1, anon_exclusive=4)
    assert (12, 12) == ((found := of(one(folio=free)).mistakes).copied, found.copied_at_most)


def test_marks_of_unmapped_pages() -> None:
    """Of a partly mapped folio it is not known whether the marked pages are the mapped ones."""
    half = LargeFolio(
        1, mapped_pages=8, large_mapcount=8, entire_mapcount=0, refcount=8, shared=1, anon_exclusive=6
    )
    mistakes = of(one(Run(0, 8, order=4), half)).mistakes
    assert (2, 8, 1) == (mistakes.copied, mistakes.copied_at_most, mistakes.advice_always)


def test_before_6_15_nothing_was_reused() -> None:
    """A kernel that never reuses pages of large folios copies none of them for a mistake."""
    double = replace(EXCLUSIVE, large_mapcount=32, shared=UNKNOWN)
    runs = [Run(0, 16, order=4, mapcount=2), Run(0, 16, order=4, mapcount=2, region=1)]
    source = one(folio=double, flavour=V6_14)
    source.processes = [process(1, [region(16, smaps=SMAPS), region(16, start=0x2000)])]
    source.mapped = {1: [block_of(runs, [double])]}
    mistakes = of(source).mistakes
    assert (1, 0) == (mistakes.folios, mistakes.copied_at_most)


def test_a_folio_mapped_once_is_exclusive_whatever_its_flag() -> None:
    """The kernel looks at the flag only while a folio has two mappings or more."""
    last = LargeFolio(1, mapped_pages=1, large_mapcount=1, entire_mapcount=0, refcount=1, shared=1)
    assert 0 == of(one(Run(3, 1, order=4, first=3), last)).mistakes.folios


def test_regions_that_smaps_does_not_look_into() -> None:
    """Pages of a `pf` region, and those of kinds that smaps does not count, are in no sum."""
    source = one()
    source.processes = [
        process(1, [region(16, smaps=SMAPS), region(16, start=0x2000, flags=frozenset({"pf", "io"}))])
    ]
    more = [
        Run(0, folio=50, region=1),
        *(Run(i, folio=60 + i, kind=kind, region=1) for i, kind in enumerate((Kind.ZERO, Kind.OTHER), 1)),
    ]
    source.mapped = {1: [block_of([WHOLE, *more], [EXCLUSIVE])]}
    (found,) = of(source).processes
    assert (0, found.now) == (found.off_kib, found.under["no-page-mapcount"])


def test_without_frames_nothing_is_predicted() -> None:
    """Where page frames are hidden, smaps stands alone."""
    found = of(one(frames=False, folios=False))
    (only,) = found.processes
    assert (64, {}, {}) == (only.now.rss_kib, only.under, found.meminfo)


def test_kernel_without_counts_needs_everybody() -> None:
    """Where the kernel counts nothing, processes that were not asked for are sharers all the same."""
    plain = LargeFolio(7)
    shared, alone = (
        Run(0, 16, folio=7, order=4, exclusive=False),
        Run(0, 16, folio=8, order=4, exclusive=False),
    )
    source = MemorySource(
        [process(pid, [region(16, smaps={"Rss": 64, "Pss": 64})]) for pid in (1, 2, 3)],
        {
            1: [block_of([shared], [plain])],
            2: [block_of([shared], [plain])],
            3: [block_of([alone], [LargeFolio(8)])],
        },
        machine(flavour=NO_PAGE_MAPCOUNT, folios=False),
        refusing={4: "permission denied"},
    )
    found = audit(source, [1, 3])
    row = found.folios[0]
    assert (2, 1, 1, 1) == (row.folios, row.shared, row.exclusive, row.mistaken_for_shared)
    assert [4] == [reason.pid for reason in found.unseen]
    assert ["page-mapcount", 32, 0] == [
        found.then.name,
        found.processes[0].under["page-mapcount"].pss_kib,
        found.processes[0].under["page-mapcount"].uss_kib,
    ]
    assert 64 == found.processes[1].under["page-mapcount"].uss_kib
    assert not found.complete


def test_page_tables_that_do_not_add_up() -> None:
    """Where the kernel counts mappings that no page table read has, figures are estimates and marked so."""
    unseen = replace(EXCLUSIVE, mapped_pages=UNKNOWN, large_mapcount=32, refcount=32, shared=1)
    (found,) = of(
        one(Run(0, 16, order=4, mapcount=2, exclusive=False), unseen, flavour=NO_PAGE_MAPCOUNT)
    ).processes
    assert (1, True) == (found.miscounted, found.estimated)
    (found,) = of(one(folio=replace(EXCLUSIVE, mapped_pages=UNKNOWN), flavour=NO_PAGE_MAPCOUNT)).processes
    assert (0, False) == (found.miscounted, found.estimated)


def test_cgroups_count_what_is_below_them() -> None:
    """What a group is charged counts in every group above it; one that nobody knows counts in none."""
    half = replace(EXCLUSIVE, mapped_pages=8, large_mapcount=8, refcount=8, cgroup=30)
    source = one(Run(0, 8, order=4), half)
    sizes = {"anon": 1 << 20, "file_mapped": None, "shmem": 0}
    source.stats = [MemoryStat(p, i, **sizes) for p, i in (("/", 10), ("/a", 20), ("/a/b", 30), ("/ab", 40))]
    found = of(source)
    changes = {g.path: g.anon and g.anon.under["no-page-mapcount"] - g.anon.now_kib for g in found.cgroups}
    assert {"/": 32, "/a": 32, "/a/b": 32, "/ab": 0} == changes
    assert {None} == {group.file_mapped for group in found.cgroups}
    assert 32 == found.meminfo["AnonPages"].under["total-mapped-pages"] - 1024
    source.stats = [MemoryStat("/", 11, **sizes)]
    assert [0] == [g.anon and g.anon.under["no-page-mapcount"] - g.anon.now_kib for g in of(source).cgroups]


def test_partly_mapped_folios_of_unknown_extent() -> None:
    """A folio that is surely partly mapped, nobody knows how much, makes the statistics a lower bound."""
    unknown = replace(EXCLUSIVE, mapped_pages=UNKNOWN, large_mapcount=8, refcount=8)
    found = of(one(Run(0, 8, order=4), unknown))
    assert (1, 1, False) == (found.partly_unknown, found.folios[0].partly_mapped, found.complete)


@settings(max_examples=60)
@given(st.lists(st.sets(st.integers(0, 60), max_size=30), max_size=12))
def test_folios_are_new_once(batches: list[set[int]]) -> None:
    """A folio is new the first time that it is seen, in whichever order the batches come."""
    seen, known = SeenFolios(), set()
    for batch in batches:
        folios = np.array(sorted(batch), np.uint64)
        assert [folio not in known for folio in sorted(batch)] == list(seen.new(folios))
        known |= batch


@settings(max_examples=60)
@given(st.lists(st.sets(st.integers(1, 12)), max_size=10), st.booleans())
def test_what_waits_is_merged(blocks: list[set[int]], often: bool) -> None:
    """However many blocks a folio is in, it is one row with all of this process's pages."""
    waiting = Waiting(most=1 if often else 1 << 20)
    for names in blocks:
        block = block_of(
            [Run(n, 1, folio=n, order=4) for n in sorted(names)], [LargeFolio(n) for n in sorted(names)]
        )
        waiting.add(table_of(block))
    table = waiting.settle()
    everything = sorted(set().union(*blocks)) if blocks else []
    rows = [] if table is None else list(zip(table.folio, table.mine, strict=True))
    assert [(n, sum(n in names for names in blocks)) for n in everything] == rows


def table_of(block: Block) -> LargeFolios:
    """What a block maps, when nothing is counted."""
    rows = folio_rows(block.runs, block.folios)
    unknown = np.full(len(block.folios), UNKNOWN)
    return mapped_by_runs(block.runs, rows, block.folios, unknown, unknown.astype(np.int8))
