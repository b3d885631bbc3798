"""What is written comes back, in bounded parts, and with what is secret replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.live.capture_format import PART_ROWS
from mapcount.live.capture_renumber import FolioNumbers, renumbered_regions
from mapcount.live.capture_source import CaptureSource
from mapcount.live.capture_write import Hiding, Written, write_capture
from mapcount.live.selection import NothingSelected, Selection, select
from mapcount.live.snapshot import Block, Kind, Machine, MemoryStat, Process, Region, Runs, Source, Unreadable

from .fakes import LargeFolio, MemorySource, Run, block_of, machine, process, region
from .strategies import regions, sources

RAW = Hiding(places=False)


def capture(
    source: Source,
    tmp_path: Path,
    hiding: Hiding = RAW,
    part_rows: int = PART_ROWS,
) -> CaptureSource:
    """The source, written and read again."""
    folder = Path(tmp_path, f"{len(list(tmp_path.iterdir()))}.capture")
    write_capture(source, Selection(), folder, hiding=hiding, part_rows=part_rows)
    return CaptureSource(folder)


def plain(table: object) -> dict[str, object]:
    """A table as values that can be compared, with the types of its columns."""
    return {
        column.name: (getattr(table, column.name).dtype, getattr(table, column.name).tolist())
        for column in fields(table)  # type: ignore[arg-type]
    }


def everything(source: Source) -> dict[str, object]:
    """All that a source says, as values that can be compared."""
    said: dict[str, object] = {"machine": source.machine, "stats": list(source.memory_stats())}
    for pid in source.pids():
        try:
            process = source.process(pid)
            blocks = [(plain(block.runs), plain(block.folios)) for block in source.blocks(process)]
            said[str(pid)] = (source.identity(pid), process, blocks)
        except Unreadable as reason:
            said[str(pid)] = (reason.comm, reason.reason)
    return said


@settings(max_examples=40)
@given(sources(), st.sampled_from([1, 2, 7, PART_ROWS]))
def test_a_raw_capture_says_what_its_source_said(
    tmp_path_factory: pytest.TempPathFactory, source: MemorySource, part_rows: int
) -> None:
    """Whatever a source says comes back to the last bit, however the tables are cut into parts."""
    read = capture(source, tmp_path_factory.mktemp("raw"), part_rows=part_rows)
    assert everything(source) == everything(read)


@settings(max_examples=40)
@given(sources())
def test_folios_get_running_numbers(tmp_path_factory: pytest.TempPathFactory, source: MemorySource) -> None:
    """Folios are numbered from 1 by first appearance; nothing else about runs and folios changes."""
    read = capture(source, tmp_path_factory.mktemp("numbers"), Hiding())
    numbers: dict[int, int] = {}
    for who in sorted(source.processes, key=lambda who: who.pid):
        for was, now in zip(source.blocks(who), read.blocks(read.process(who.pid)), strict=True):
            for frame in was.runs.folio.tolist():
                numbers.setdefault(frame, len(numbers) + 1)
            assert [numbers[frame] for frame in was.runs.folio.tolist()] == now.runs.folio.tolist()
            assert plain(replace(was.runs, folio=now.runs.folio)) == plain(now.runs)
            order = np.argsort([numbers[frame] for frame in was.folios.folio.tolist()]).astype(int)
            back = {column.name: getattr(was.folios, column.name)[order] for column in fields(was.folios)}
            back["folio"] = np.array([numbers[frame] for frame in back["folio"].tolist()], np.uint64)
            assert plain(type(was.folios)(**back)) == plain(now.folios)


def whole_ranges(region: Region, pmd_order: int) -> list[int]:
    """Where whole PMD ranges begin, in pages from the region's start."""
    first = -region.start % (1 << pmd_order)
    return list(range(first, region.nr_pages - (1 << pmd_order) + 1, 1 << pmd_order))


@given(regions(), st.integers(1, 10))
def test_places_are_running_numbers(regions: tuple[Region, ...], pmd_order: int) -> None:
    """Regions follow each other closely from number 0, and hold the same whole PMD ranges as before."""
    shown = renumbered_regions(regions, pmd_order)
    free = 0
    for was, now in zip(regions, shown, strict=True):
        assert free <= now.start < free + (1 << pmd_order)
        assert whole_ranges(was, pmd_order) == whole_ranges(now, pmd_order)
        assert replace(was, start=now.start) == now
        free = now.start + now.nr_pages


@given(st.lists(st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 40))))
def test_numbers_are_as_from_a_dictionary(blocks: list[list[int]]) -> None:
    """The tables of numbers do what a dictionary would, in a small part of its memory."""
    numbers = FolioNumbers()
    naive: dict[int, int] = {}
    for frames in blocks:
        expected = [naive.setdefault(frame, len(naive) + 1) for frame in frames]
        assert expected == numbers.of(np.array(frames, np.uint64)).tolist()


def test_numbers_tell_nothing_about_frames(tmp_path: Path) -> None:
    """Two machines that differ in their frames and addresses alone have the same capture, byte for byte."""

    def source(salt: int) -> MemorySource:
        rows = [Run(0, folio=7 * salt), Run(1, folio=3 * salt), Run(2, folio=5 * salt, order=4, nr=4)]
        regions = [region(16, start=0x1000 + 0x700 * salt)]
        return MemorySource([process(1, regions)], {1: [block_of(rows, [LargeFolio(5 * salt)])]})

    first, second = (capture(source(salt), tmp_path, Hiding()).name for salt in (16, 4096 * 513))
    for name in ("regions", "runs", "folios"):
        file = f"{name}-0000.parquet"
        assert Path(first, file).read_bytes() == Path(second, file).read_bytes()


def test_names_are_hidden_on_demand(tmp_path: Path) -> None:
    """Names become numbers, the same name the same number, and the kernel's own words stay."""
    names = ["/lib/libc.so", "[heap]", "[anon:secret]", "", "/lib/libc.so", "/srv/secret"]
    regions = [region(1, start=i, name=name) for i, name in enumerate(names)]
    source = MemorySource(
        [
            process(1, regions, comm="secretd", cgroup="/secret.slice/one"),
            process(2, comm="secretd", cgroup="/secret.slice"),
        ],
        stats=[MemoryStat("/secret.slice/one", 1, 0, 0, 0), MemoryStat("/", 2, 0, 0, 0)],
        refusing={3: "permission denied"},
    )
    folder = tmp_path / "hidden.capture"
    write_capture(source, Selection(), folder, hiding=Hiding(names=True))
    read = CaptureSource(folder)
    assert ["process-1", "/cgroup-1/cgroup-2"] == [read.identity(1).comm, read.identity(1).cgroup]
    assert ["process-1", "/cgroup-1"] == [read.identity(2).comm, read.identity(2).cgroup]
    shown = ["file-1", "[heap]", "[anon:name-1]", "", "file-1", "file-2"]
    assert shown == [region.name for region in read.process(1).regions]
    assert ["/cgroup-1/cgroup-2", "/"] == [stat.path for stat in read.memory_stats()]
    with pytest.raises(Unreadable, match="process-2"):
        read.process(3)
    assert [] == [path for path in folder.iterdir() if b"secret" in path.read_bytes()]


class Vanishing(MemorySource):
    """Process 2 vanishes after its second block."""

    def blocks(self, process: Process) -> Iterator[Block]:
        """Blocks, until it is gone."""
        for number, block in enumerate(super().blocks(process)):
            if process.pid == 2 and number == 2:
                raise Unreadable(2, "test", "it exited while being read")
            yield block


@pytest.mark.parametrize("part_rows", [1, 2, 3, 5, PART_ROWS])
def test_a_process_that_vanishes_is_not_there_in_part(tmp_path: Path, part_rows: int) -> None:
    """What had been written of a process that became unreadable is taken back, and it is named."""
    processes = [process(pid, [region(64)]) for pid in (1, 2, 3)]
    mapped = {
        pid: [block_of([Run(8 * i + j, folio=100 * i + j) for j in range(3)]) for i in range(3)]
        for pid in (1, 2, 3)
    }
    without = MemorySource([processes[0], processes[2]], mapped, refusing={2: "it exited while being read"})
    read = capture(Vanishing(processes, mapped), tmp_path, part_rows=part_rows)
    expected = everything(without) | {"2": ("test", "it exited while being read")}
    assert expected == everything(read)


class Restless(MemorySource):
    """A process that maps one page more each time it is looked at, until it maps three."""

    looks = 0

    def blocks(self, process: Process) -> Iterator[Block]:
        """What it maps by now."""
        self.looks += 1
        yield block_of([Run(page) for page in range(min(self.looks, 3))])


class PagesAsWanted:
    """Finds a process at rest when it maps so many pages as smaps counts KiB."""

    def __init__(self, _machine: Machine, process: Process) -> None:
        self.off_kib = process.total("Rss")

    def add(self, block: Block) -> None:
        """Count pages."""
        self.off_kib -= int(block.runs.nr.sum())


@pytest.mark.parametrize(("rss", "looks"), [(1, 1), (2, 2), (3, 3), (4, 3), (0, 3)])
@pytest.mark.parametrize("part_rows", [1, 2, PART_ROWS])
def test_a_process_is_read_until_it_was_at_rest(tmp_path: Path, rss: int, looks: int, part_rows: int) -> None:
    """A process that was not at rest is read again, three times at most, and only the last time counts."""
    source = Restless([process(1, [region(16, smaps={"Rss": rss})])])
    write_capture(source, Selection(), tmp_path / "c", reading=PagesAsWanted, part_rows=part_rows)
    read = CaptureSource(tmp_path / "c")
    (block,) = read.blocks(read.process(1))
    assert (looks, looks) == (source.looks, len(block.runs))


def test_without_frames_nobody_knows_who_is_at_rest(tmp_path: Path) -> None:
    """Where no frames are readable, a process is read once."""
    source = Restless([process(1, [region(16)])], machine=machine(frames=False))
    write_capture(source, Selection(), tmp_path / "c", reading=PagesAsWanted)
    assert 1 == source.looks


def test_what_a_capture_is_of(tmp_path: Path) -> None:
    """A capture of some processes says that there are others; the result says what was written."""
    source = MemorySource(
        [process(1, [region()], comm="a"), process(2, [region()], comm="b", sharing=(9,))],
        {1: [block_of([Run(0)])], 2: [block_of([Run(0), Run(1)])]},
        machine(limits=("no BPF here",)),
    )
    folder = tmp_path / "b.capture"
    written = write_capture(source, Selection(comms=("b",)), folder)
    expected = {"processes": 1, "regions": 1, "blocks": 1, "runs": 2, "folios": 0, "cgroups": 0}
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert Written(folder, expected, size, (), source.machine) == written
    read = CaptureSource(folder)
    assert [2] == read.pids()
    assert read.process(2) == read.process(9)
    assert not read.everything
    assert "no BPF here" == read.machine.limits[0]
    assert "only the processes that were asked for" in read.machine.limits[1]
    with pytest.raises(Unreadable, match="no such process"):
        read.process(1)
    assert () == capture(source, tmp_path).machine.limits[1:]


def test_control_groups_that_matter(tmp_path: Path) -> None:
    """A capture of some processes has their control groups, those above, and whom folios are charged to."""
    groups = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/charged", "/other"]
    source = MemorySource(
        [process(1, [region()], cgroup="/a/b"), process(2, cgroup="/other")],
        {1: [block_of([Run(0, folio=16, order=4)], [LargeFolio(16, cgroup=5)])]},
        stats=[MemoryStat(path, inode, 0, 0, 0) for inode, path in enumerate(groups)],
    )
    write_capture(source, Selection(pids=(1,)), tmp_path / "some")
    stats = CaptureSource(tmp_path / "some").memory_stats()
    assert ["/", "/a", "/a/b", "/charged"] == [stat.path for stat in stats]
    assert groups == [stat.path for stat in capture(source, tmp_path).memory_stats()]


def test_an_address_space_is_there_once(tmp_path: Path) -> None:
    """Of two processes with one address space that were both asked for, the first stands for both."""
    source = MemorySource([process(4, sharing=(5,)), process(5, sharing=(4,))])
    write_capture(source, Selection(pids=(4, 5)), tmp_path / "c")
    assert [4] == CaptureSource(tmp_path / "c").pids()


def test_who_made_it(tmp_path: Path) -> None:
    """A capture says which process made it, which is in it; the audit leaves that out."""
    source = MemorySource([process(1), process(2)], own_pid=2)
    write_capture(source, Selection(), tmp_path / "c")
    read = CaptureSource(tmp_path / "c")
    assert ([1, 2], 2) == (read.pids(), read.own_pid)
    assert ((1,), 2) == (select(read, Selection()).pids, select(read, Selection()).itself)


def test_nobody_was_selected(tmp_path: Path) -> None:
    """A selection without a process writes nothing."""
    with pytest.raises(NothingSelected):
        write_capture(MemorySource([process(1)]), Selection(comms=("x",)), tmp_path / "x.capture")
    assert [] == list(tmp_path.iterdir())


def test_progress_counts_processes(tmp_path: Path) -> None:
    """Progress is heard before each process and at the end."""
    heard: list[tuple[int, int]] = []
    source = MemorySource([process(1), process(2)])
    write_capture(source, Selection(), tmp_path / "c", progress=lambda done, of: heard.append((done, of)))
    assert [(0, 2), (1, 2), (2, 2)] == heard


@pytest.mark.parametrize(("page_size", "pmd_order"), [(16384, 11), (65536, 13)])
def test_other_page_sizes(tmp_path: Path, page_size: int, pmd_order: int) -> None:
    """A capture of a machine with larger pages is read anywhere, PMD-size folios included."""
    rows = [Run(0, nr=1 << pmd_order, folio=1 << pmd_order, order=pmd_order, pmd=1)]
    source = MemorySource(
        [process(1, [region(2 << pmd_order)])],
        {1: [block_of(rows, [LargeFolio(1 << pmd_order, order=pmd_order)])]},
        machine(page_size=page_size, pmd_order=pmd_order),
    )
    assert everything(source) == everything(capture(source, tmp_path))


def test_a_large_process_is_cut_into_parts(tmp_path: Path) -> None:
    """Many runs make many files, each of `part_rows` rows but the last."""
    nr = 1000
    pages = np.arange(nr)
    small = Runs(
        region=np.zeros(nr, np.int32),
        page=pages.astype(np.int64),
        nr=np.ones(nr, np.int32),
        folio=(pages * 7 % 997).astype(np.uint64),
        first=np.zeros(nr, np.int32),
        order=np.zeros(nr, np.int8),
        kind=np.full(nr, Kind.ANON, np.int8),
        pmd=np.zeros(nr, np.int8),
        exclusive=np.ones(nr, np.bool_),
        mapcount=np.ones(nr, np.int32),
    )
    source = MemorySource([process(1, [region(nr)])], {1: [Block(small, block_of([]).folios)]})
    read = capture(source, tmp_path, part_rows=300)
    assert everything(source) == everything(read)
    files = json.loads(Path(read.name, "meta.json").read_text())["files"]
    assert [300, 300, 300, 100] == [files[f"runs-{i:04}.parquet"]["rows"] for i in range(4)]
