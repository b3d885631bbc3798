"""The running kernel as a source, against plain loops over the same files and the kernel's own sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from mapcount.live.live_source import NAMESPACE, LiveSource, open_live_source
from mapcount.live.snapshot import UNKNOWN, Block, Folios, Kind, Process

from .child import Child
from .naive import folio_sums, pages_in, pages_of

PROC = Path("/proc")


@pytest.fixture(scope="module", params=[True, False], ids=["struct-folio", "proc-alone"])
def source(request: pytest.FixtureRequest) -> Iterator[LiveSource]:
    """The running kernel, with and without its own struct folio."""
    with open_live_source(struct_folio=request.param) as source:
        if not source.machine.frames or source.machine.folios != request.param:
            pytest.skip("; ".join(source.machine.limits))
        yield source


@pytest.fixture
def child() -> Iterator[Child]:
    """A process of our own."""
    with Child() as child:
        yield child


MAPPINGS = {
    "small pages": "anon(64 * PAGE)",
    "a huge page by a PMD": "anon(2 * PMD, huge=True)",
    "a huge page by PTEs": "at = anon(PMD, huge=True); by_pte(at)",
    "half a huge page": "at = anon(PMD, huge=True); libc.munmap(at, PMD // 2)",
    "every other page of a huge one": (
        "at = anon(PMD, huge=True)\nfor i in range(0, 512, 2): libc.munmap(at + i * PAGE, PAGE)"
    ),
    "one page of a huge one, far from its first": "at = anon(PMD, huge=True); libc.munmap(at, 500 * PAGE)",
    "a huge page in two regions": "at = anon(PMD, huge=True); libc.mprotect(at + 100 * PAGE, 50 * PAGE, 1)",
    "with a child": "anon(PMD, huge=True); anon(8 * PAGE); fork()",
    "with a child that unmapped a part": ("at = anon(PMD, huge=True); fork('libc.munmap(at, PMD // 4)')"),
    "shared memory, twice": (
        "fd = os.memfd_create('twice'); os.ftruncate(fd, 16 * PAGE)\n"
        "for _ in range(2): ctypes.memset(shared(fd, 16 * PAGE), 1, 16 * PAGE)\n"
        "KEEP.append(shared(fd, 8 * PAGE, offset=4 * PAGE)); ctypes.memset(KEEP[0], 1, 8 * PAGE)"
    ),
    "the zero page": (
        "at = anon(16 * PAGE, fill=False); ctypes.string_at(at, 8 * PAGE); ctypes.memset(at, 1, 1)"
    ),
    "holes": (
        "at = anon(1 << 30, fill=False)\nfor i in (0, 1, 2, 600, 601, 100_000, 262_143): "
        "ctypes.memset(at + i * PAGE, 1, 1)"
    ),
    "read-only after a fork": "at = anon(4 * PAGE); fork(); ctypes.memset(at + PAGE, 2, 1)",
}
"""What to map, by what it shows."""


def ours(process: Process) -> set[int]:
    """The regions whose pages nobody else's doings change: anonymous ones, and our own shared memory."""
    return {i for i, r in enumerate(process.regions) if not r.name or r.name.startswith("/memfd:")}


def look(source: LiveSource, pid: int) -> tuple[Process, list[Block]]:
    """A process and all it maps."""
    process = source.process(pid)
    return process, list(source.blocks(process))


@pytest.mark.parametrize("code", MAPPINGS.values(), ids=MAPPINGS.keys())
def test_pages_are_what_plain_loops_find(source: LiveSource, child: Child, code: str) -> None:
    """Every page's folio, place in it, kind, bit 56 and mapcount are what the kernel's files say of it."""
    child.do(code)
    for _ in range(5):  # compaction may move pages between two looks
        process, blocks = look(source, child.pid)
        wanted = ours(process)
        expected = [page for page in pages_of(PROC, child.pid, process.regions) if page.region in wanted]
        actual = [page for page in pages_in(blocks) if page.region in wanted]
        if expected == actual:
            break
    assert len(expected) >= 4
    assert expected == actual


@pytest.mark.parametrize("code", MAPPINGS.values(), ids=MAPPINGS.keys())
def test_runs_add_up_to_smaps(source: LiveSource, child: Child, code: str) -> None:
    """Rss, Pss and AnonHugePages of each region, computed from its runs, are smaps' own."""
    child.do(code)
    for _ in range(5):
        process, blocks = look(source, child.pid)
        said = {i: tuple(process.regions[i].smaps[name] for name in SUMS) for i in ours(process)}
        found = {i: sums(blocks, i) for i in ours(process)}
        if said == found:
            break
    assert said == found


SUMS = ("Rss", "Pss", "AnonHugePages")


def sums(blocks: list[Block], region: int) -> tuple[int, int, int]:
    """The same of one region, in KiB."""
    rss = pss = by_pmd = 0
    for runs in (block.runs for block in blocks):
        mine = (runs.region == region) & (runs.kind != Kind.ZERO)
        nr, mapcount = runs.nr[mine].astype(np.int64), runs.mapcount[mine].astype(np.int64)
        rss += int(nr.sum()) * 4
        pss += int((nr * ((4096 << 12) // mapcount)).sum())
        by_pmd += int(nr[runs.pmd[mine] == 1].sum()) * 4
    return rss, pss >> 22, by_pmd


@pytest.mark.parametrize("code", MAPPINGS.values(), ids=MAPPINGS.keys())
def test_folios_are_what_plain_loops_find(source: LiveSource, child: Child, code: str) -> None:
    """Of each large folio it is known how many pages anybody maps, how often in sum, and who is charged."""
    child.do(code)
    for _ in range(5):
        process, blocks = look(source, child.pid)
        wanted = ours(process)
        heads = {p.folio: p.order for p in pages_in(blocks) if p.region in wanted and p.order}
        expected = {head: folio_sums(PROC, head, order) for head, order in heads.items()}
        actual = {
            head: (mapped, total, cgroup)
            for folios in (block.folios for block in blocks)
            for head, mapped, total, cgroup in zip(
                *(column.tolist() for column in (folios.folio, folios.mapped_pages, folios.sum_mapcount)),
                folios.cgroup.tolist(),
                strict=True,
            )
            if head in heads
        }
        if expected == actual:
            break
    assert expected == actual


def test_a_whole_process_adds_up_to_smaps_rollup(source: LiveSource, child: Child) -> None:
    """Rss and Pss over all regions, libraries included, are the kernel's own sums, to the KiB."""
    child.do("anon(PMD, huge=True); anon(64 * PAGE); fork()")
    for _ in range(30):  # other processes that use the same libraries come and go
        _, blocks = look(source, child.pid)
        lines = Path(f"/proc/{child.pid}/smaps_rollup").read_text().splitlines()[1:]
        said = {name: int(value) for name, value, *_ in (line.split() for line in lines)}
        counted = [(b.runs, b.runs.kind < Kind.HUGETLB) for b in blocks]
        nr, counts = (
            np.concatenate([getattr(runs, name)[mine].astype(np.int64) for runs, mine in counted])
            for name in ("nr", "mapcount")
        )
        found = int(nr.sum()) * 4, int((nr * ((4096 << 12) // counts)).sum()) >> 22
        if (said["Rss:"], said["Pss:"]) == found:
            break
    assert (said["Rss:"], said["Pss:"]) == found


def folio(source: LiveSource, child: Child) -> dict[str, int | list[int]]:
    """What is known of the one huge page of a process."""
    _, blocks = look(source, child.pid)
    rows = [
        {field.name: getattr(b.folios, field.name)[row].tolist() for field in fields(Folios)}
        for b in blocks
        for row in np.flatnonzero((b.folios.kind == Kind.ANON) & (b.folios.order == 9))
    ]
    if not rows:
        pytest.skip("no huge page was to be had")
    (row,) = rows
    return row


def test_counters_of_struct_folio(source: LiveSource, child: Child) -> None:
    """The slots, the shared flag and the counters are the kernel's; without struct folio they are UNKNOWN."""
    child.do("at = anon(PMD, huge=True); fork()")
    found = folio(source, child)
    if not source.machine.folios:
        struct = ("refcount", "large_mapcount", "entire_mapcount", "pincount", "shared", "anon_exclusive")
        assert {UNKNOWN} == {found[name] for name in struct}
        assert [[UNKNOWN] * 2] * 2 == [found["mm_id"], found["mm_id_mapcount"]]
        return
    if not source.machine.flavour.owner_slots:
        pytest.skip("owner slots take Linux 6.15")
    assert (2, 2, 1, [1, 1]) == (
        found["large_mapcount"],
        found["entire_mapcount"],
        found["shared"],
        found["mm_id_mapcount"],
    )


def test_a_folio_mistaken_for_shared(source: LiveSource, child: Child) -> None:
    """Of a folio that only one process maps and that is marked shared, the exclusive pages are counted."""
    if not (source.machine.folios and source.machine.flavour.owner_slots):
        pytest.skip("; ".join(source.machine.limits) or "owner slots take Linux 6.15")
    # A third process finds no slot. When the first two are gone it is alone, and nobody notices.
    child.do("at = anon(PMD, huge=True); by_pte(at); a = fork(); b = fork()")
    child.do("libc.munmap(at, PMD); os.kill(a, 9); os.waitpid(a, 0)")
    with open_live_source() as again:
        blocks = list(again.blocks(again.process(child.do("b"))))
    rows = [(b.folios, row) for b in blocks for row in np.flatnonzero(b.folios.order == 9)]
    if not rows:
        pytest.skip("no huge page was to be had")
    ((folios, row),) = rows
    assert (512, 512, 1, 0) == tuple(
        int(column[row])
        for column in (folios.sum_mapcount, folios.large_mapcount, folios.shared, folios.anon_exclusive)
    )


@pytest.mark.parametrize(("namespace", "whole"), [("pid:[4026531836]", True), ("pid:[4026532000]", False)])
def test_a_pid_namespace_is_not_everything(tmp_path: Path, namespace: str, whole: bool) -> None:
    """Only who is in the first PID namespace can see every process; others are told what they miss."""
    own = tmp_path / "self"
    (own / "ns").mkdir(parents=True)
    (own / "ns" / "pid").symlink_to(namespace)
    for name in ("pagemap", "smaps"):
        (own / name).symlink_to(PROC / "self" / name)
    for name in ("meminfo", "mounts"):
        (tmp_path / name).symlink_to(PROC / name)
    with open_live_source(tmp_path, struct_folio=False) as source:
        assert whole == source.everything
        assert whole != (NAMESPACE in source.machine.limits)
