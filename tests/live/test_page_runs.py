"""Runs of pages from files made up for the purpose: any layout of folios, and frames that are no memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.live.folio_rows import FolioRows
from mapcount.live.frames import FrameFiles
from mapcount.live.page_runs import RunReader
from mapcount.live.pagemap import Extent, Pagemap
from mapcount.live.pieces import FrameReader, FrameView
from mapcount.live.snapshot import I64, UNKNOWN, Kind, Runs
from mapcount.tracking.flavour import PAGE_MAPCOUNT

from .fake_proc import (
    ANON,
    EXCLUSIVE,
    FILE,
    HEAD,
    HUGE,
    HWPOISON,
    KSM,
    MMAP,
    NOPAGE,
    OFFLINE,
    PRESENT,
    SWAPBACKED,
    SWAPPED,
    TAIL,
    THP,
    ZERO,
    FakeProc,
    Vma,
)
from .naive import pages_in, pages_of

KINDS = {
    Kind.ANON: ANON | SWAPBACKED,
    Kind.FILE: 0,
    Kind.SHMEM: SWAPBACKED,
    Kind.HUGETLB: HUGE,
    Kind.KSM: ANON | KSM | SWAPBACKED,
}


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    """An empty /proc."""
    return FakeProc(tmp_path)


def runs_of(proc: FakeProc, pid: int = 1) -> Runs:
    """The runs of a process that fits in one block."""
    source = proc.source()
    (block,) = source.blocks(source.process(pid))
    return block.runs


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[int, int], dict[int, int], list[Vma]]:
    """Folios side by side, their pages' mapcounts, and regions that map some of the pages in any order."""
    flags: dict[int, int] = {}
    counts: dict[int, int] = {}
    mapped: list[tuple[int, int]] = []
    frame = 64
    for order in draw(st.lists(st.integers(0, 4), min_size=1, max_size=12)):
        frame = -(-frame // (1 << order)) << order  # a folio begins at a multiple of its size
        kind = draw(st.sampled_from(sorted(KINDS)))
        for i in range(1 << order):
            place = 0 if order == 0 else HEAD if i == 0 else TAIL
            flags[frame + i] = MMAP | KINDS[kind] | place | (THP if order else 0)
            counts[frame + i] = draw(st.integers(1, 3))
            mapped.append((frame + i, PRESENT | (0 if kind in (Kind.ANON, Kind.KSM) else FILE)))
        frame += (1 << order) + draw(st.integers(0, 20))
    vmas, start = [], 1000
    for _ in range(draw(st.integers(1, 3))):
        nr = draw(st.integers(1, 40))
        first = draw(st.integers(0, len(mapped) - 1))
        entries = {}
        for page in range(nr):
            at = (
                (first + page) % len(mapped)
                if draw(st.integers(0, 4))
                else draw(st.integers(0, len(mapped) - 1))
            )
            if draw(st.integers(0, 5)):
                alone = EXCLUSIVE * (counts[mapped[at][0]] == 1)
                entries[page] = mapped[at][1] | mapped[at][0] | draw(st.sampled_from([0, alone, 1 << 55]))
            else:
                entries[page] = draw(st.sampled_from([0, SWAPPED | 77]))
        vmas.append(Vma(start, entries, nr))
        start += nr + draw(st.sampled_from([0, 1, 500]))
    return flags, counts, vmas


@given(worlds())
@settings(max_examples=50)
def test_any_layout_of_folios_is_seen_as_plain_loops_see_it(
    world: tuple[dict[int, int], dict[int, int], list[Vma]],
) -> None:
    """Whatever maps what in which order, each page is described as the files say of it."""
    flags, counts, vmas = world
    with tempfile.TemporaryDirectory() as root:
        proc = FakeProc(Path(root))
        proc.frames(flags, counts)
        proc.process(1, vmas)
        source = proc.source()
        process = source.process(1)
        expected = pages_of(proc.root, 1, process.regions)
        assert expected == list(pages_in(list(source.blocks(process))))


def test_runs_are_as_long_as_can_be(proc: FakeProc) -> None:
    """Pages of one folio in order, described alike, are one run; a change in count or bit 56 ends it."""
    proc.frames(
        {64: MMAP | ANON | HEAD} | {64 + i: MMAP | ANON | TAIL for i in range(1, 16)},
        {64 + i: 1 + (i >= 10) for i in range(16)},
    )
    entries = {i: PRESENT | (64 + i) | (EXCLUSIVE if i < 4 else 0) for i in range(16)}
    proc.process(1, [Vma(100, entries, 16)])
    runs = runs_of(proc)
    assert [(0, 4, 1, True), (4, 6, 1, False), (10, 6, 2, False)] == list(
        zip(runs.first, runs.nr, runs.mapcount, runs.exclusive, strict=True)
    )


@pytest.mark.parametrize(
    "flags",
    [NOPAGE, OFFLINE, HWPOISON | MMAP | ANON, 0, MMAP | FILE],
    ids=["none", "offline", "poison", "free", "x"],
)
def test_what_is_no_memory_is_other(proc: FakeProc, flags: int) -> None:
    """Frames without struct page, offline, poisoned, or mapped in no way the kernel counts, are OTHER."""
    proc.frames({64: flags, 65: MMAP | ANON}, {65: 1})
    proc.process(1, [Vma(100, {0: PRESENT | 64, 1: PRESENT | 65}, 2)])
    runs = runs_of(proc)
    assert [(64, Kind.OTHER), (65, Kind.ANON)] == list(zip(runs.folio, runs.kind, strict=True))


def test_device_memory_beyond_the_last_frame_is_other(proc: FakeProc) -> None:
    """A frame that kpageflags does not reach is OTHER."""
    proc.frames({64: MMAP | ANON}, {64: 1})
    proc.process(1, [Vma(100, {0: PRESENT | 64, 1: PRESENT | FILE | (1 << 40)}, 2)])
    runs = runs_of(proc)
    assert [Kind.ANON, Kind.OTHER] == list(runs.kind)


def test_the_zero_page_is_a_kind_of_its_own(proc: FakeProc) -> None:
    """The zero page is ZERO however often it is mapped."""
    proc.frames({64: ZERO, 65: MMAP | ANON}, {65: 1})
    proc.process(1, [Vma(100, {0: PRESENT | 64, 1: PRESENT | 64, 2: PRESENT | 65}, 3)])
    assert [Kind.ZERO, Kind.ZERO, Kind.ANON] == list(runs_of(proc).kind)


class Moving(FrameReader):
    """Asks about frames, but first something happens to them, once."""

    def __init__(self, files: FrameFiles, happens: Callable[[], None]) -> None:
        super().__init__(files, None)
        self.happens, self.looks = happens, 0

    def view(self, start: I64, nr: I64) -> FrameView:
        """The frames as they are after it happened."""
        self.looks += 1
        if self.looks == 1:
            self.happens()
        return super().view(start, nr)


def look(proc: FakeProc, extents: list[Extent], happens: Callable[[], None], pmd_pages: int = 8) -> Runs:
    """The runs of process 1 when something happens between the reading of its pagemap and of the frames."""
    regions = proc.source().process(1).regions
    with FrameFiles(proc.root) as files, (proc.root / "1" / "pagemap").open("rb") as file:
        reader = RunReader(Pagemap(file.fileno(), 4096), Moving(files, happens), regions, pmd_pages, True)
        return reader.read(extents)[0]


def test_a_page_that_moved_is_looked_at_again(proc: FakeProc) -> None:
    """Migrated between two reads: the second look finds the new frame."""
    proc.frames({64: MMAP | ANON}, {64: 1})
    proc.process(1, [Vma(100, {0: PRESENT | 64}, 1)])

    def migrate() -> None:
        proc.frames({64: 0, 65: MMAP | ANON}, {64: 0, 65: 1})
        proc.process(1, [Vma(100, {0: PRESENT | 65}, 1)])

    runs = look(proc, [Extent(0, 100, 101, 0)], migrate)
    assert [(65, Kind.ANON, 1)] == list(zip(runs.folio, runs.kind, runs.mapcount, strict=True))


@pytest.mark.parametrize("now", [MMAP, MMAP | FILE, 0], ids=["a file's", "nonsense", "free"])
def test_a_frame_that_became_something_else_is_other(proc: FakeProc, now: int) -> None:
    """An anonymous page whose frame is somebody else's by now, twice, is OTHER and its count unknown."""
    proc.frames({64: MMAP | ANON}, {64: 1})
    proc.process(1, [Vma(100, {0: PRESENT | 64}, 1)])
    runs = look(proc, [Extent(0, 100, 101, 0)], lambda: proc.frames({64: now}, {64: 1}))
    assert [(64, Kind.OTHER, UNKNOWN)] == list(zip(runs.folio, runs.kind, runs.mapcount, strict=True))


def test_a_huge_page_split_meanwhile_is_seen_as_small_ones(proc: FakeProc) -> None:
    """Only the first page under a PMD is looked at; if it is small now, all are."""
    large = {64: MMAP | ANON | HEAD} | {64 + i: MMAP | ANON | TAIL for i in range(1, 8)}
    proc.frames(large, {64 + i: 1 for i in range(8)})
    proc.process(1, [Vma(104, {i: PRESENT | (64 + i) for i in range(8)}, 8)])
    runs = look(
        proc, [Extent(0, 104, 112, 1)], lambda: proc.frames({64 + i: MMAP | ANON for i in range(8)}, {})
    )
    assert [(64 + i, 0, 1, 1) for i in range(8)] == list(
        zip(runs.folio, runs.order, runs.nr, runs.mapcount, strict=True)
    )


def test_a_folio_that_dissolves_is_single_pages_of_other(proc: FakeProc) -> None:
    """A folio that is smaller than what is mapped of it, twice, is not believed."""
    large = {64: MMAP | ANON | HEAD} | {64 + i: MMAP | ANON | TAIL for i in range(1, 8)}
    proc.frames(large, {64 + i: 1 for i in range(8)})
    proc.process(1, [Vma(104, {i: PRESENT | (64 + i) for i in range(8)}, 8)])
    broken = {65: MMAP | ANON | TAIL} | {64 + i: NOPAGE for i in (0, 8)}
    runs = look(proc, [Extent(0, 104, 112, 1)], lambda: proc.frames(broken, {}))
    assert list(range(64, 72)) == list(runs.folio)
    assert {Kind.OTHER} == set(runs.kind)
    assert {0} == set(runs.order) | set(runs.first)


def test_each_pmd_is_a_run(proc: FakeProc) -> None:
    """Two huge pages side by side, each under a PMD, are two runs, though their frames follow each other."""
    flags = {64 + i: MMAP | ANON | (HEAD if i % 8 == 0 else TAIL) for i in range(16)}
    proc.frames(flags, {64 + i: 1 for i in range(16)})
    proc.process(1, [Vma(104, {i: PRESENT | EXCLUSIVE | (64 + i) for i in range(16)}, 16)])
    runs = look(proc, [Extent(0, 104, 120, 1)], lambda: None)
    assert [(64, 3, 8, 1), (72, 3, 8, 1)] == list(zip(runs.folio, runs.order, runs.nr, runs.pmd, strict=True))


WORDS = st.integers(0, 1 << 24).map(
    lambda bits: bits & (MMAP | ANON | HEAD | TAIL | HUGE | NOPAGE | ZERO | SWAPBACKED)
)


@given(
    st.lists(WORDS, min_size=40, max_size=40),
    st.lists(st.integers(0, 3), min_size=40, max_size=40),
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from([0, PRESENT, PRESENT | FILE])), min_size=1, max_size=24
    ),
    st.integers(UNKNOWN, 1),
)
@settings(max_examples=50)
def test_whatever_the_files_say_runs_are_possible(
    flags: list[int], counts: list[int], entries: list[tuple[int, int]], pmd: int
) -> None:
    """Contradictory answers, as while folios come and go, never lead to an error or to an impossible run."""
    with tempfile.TemporaryDirectory() as root:
        proc = FakeProc(Path(root))
        proc.frames(dict(enumerate(flags)), dict(enumerate(counts)))
        words = {page: frame | bits if bits else 0 for page, (frame, bits) in enumerate(entries)}
        proc.process(1, [Vma(104, words, len(words))])
        regions = proc.source().process(1).regions
        with FrameFiles(proc.root) as files, (proc.root / "1" / "pagemap").open("rb") as file:
            reader = RunReader(Pagemap(file.fileno(), 4096), FrameReader(files, None), regions, 8, True)
            runs, large = reader.read([Extent(0, 104, 104 + len(words), pmd)])
            folios = FolioRows(PAGE_MAPCOUNT, files, None).of(runs, large)
    assert [page for page, word in words.items() if word] == [
        page for first, nr in zip(runs.page, runs.nr, strict=True) for page in range(first, first + nr)
    ]
    assert (runs.first >= 0).all()
    assert (runs.first + runs.nr <= 1 << runs.order.astype(int)).all()
    assert (runs.mapcount[runs.kind < Kind.ZERO] > 0).all()
    assert set(runs.folio[(runs.order > 0) & (runs.kind < Kind.ZERO)]) == set(folios.folio)
