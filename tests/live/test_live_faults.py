"""What goes wrong while a machine is read: processes come and go, and not all may be looked at."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mapcount.live import live_source
from mapcount.live.folio_counts import LargeFolios
from mapcount.live.live_source import NO_FRAMES, NO_LEVELS, LiveSource, open_live_source
from mapcount.live.page_runs import RunReader
from mapcount.live.pagemap import Extent, Pagemap
from mapcount.live.processes import ProcessDir
from mapcount.live.snapshot import UNKNOWN, Block, CannotHere, Process, Runs, Unreadable

from .child import Child
from .fake_proc import FakeProc, Vma
from .naive import pages_in, pages_of


@pytest.fixture(scope="module")
def source() -> Iterator[LiveSource]:
    """The running kernel, by /proc alone."""
    with open_live_source(struct_folio=False) as source:
        if not source.machine.frames:
            pytest.skip("; ".join(source.machine.limits))
        yield source


@pytest.fixture
def child() -> Iterator[Child]:
    """A process of our own with a few blocks of memory."""
    with Child() as child:
        child.do("KEEP.append(anon(8 * PMD))")
        yield child


@pytest.fixture
def midway(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen when a block of a large region was read, before the next; blocks are small."""

    def arrange(happens: Callable[[], object]) -> None:
        class Interrupted(RunReader):
            blocks = 0

            def read(self, block: Sequence[Extent]) -> tuple[Runs, LargeFolios]:
                self.blocks += block[0].stop - block[0].start == 512
                if self.blocks == 2:
                    happens()
                return super().read(block)

        monkeypatch.setattr(live_source, "RunReader", Interrupted)
        monkeypatch.setattr(live_source, "BLOCK", 512)

    return arrange


def starts_sleep(child: Child) -> None:
    """The child starts another program, and has done so when this returns."""
    child.tell("os.execv('/bin/sleep', ['sleep', '60'])")
    # The kernel names a process before it maps the program.
    while "/sleep\n" not in Path(f"/proc/{child.pid}/maps").read_text():
        time.sleep(0.001)


def all_blocks(source: LiveSource, pid: int) -> tuple[Process, list[Block]]:
    """A process and all it maps."""
    process = source.process(pid)
    return process, list(source.blocks(process))


def test_a_process_exits_while_it_is_read(
    source: LiveSource, child: Child, midway: Callable[..., None]
) -> None:
    """Its memory is gone in the middle: it is Unreadable, with its name and the reason."""
    midway(child.end)
    with pytest.raises(Unreadable, match=rf"^{child.pid} \(python.*\): it exited while being read$"):
        all_blocks(source, child.pid)


def test_a_process_starts_another_program_while_it_is_read(
    source: LiveSource, child: Child, midway: Callable[..., None]
) -> None:
    """What was read is of a program that is no more: nothing of the new one is mixed with it."""
    midway(lambda: starts_sleep(child))
    with pytest.raises(Unreadable, match="it started another program while being read"):
        all_blocks(source, child.pid)


def test_a_process_exits_at_the_very_end(source: LiveSource, child: Child) -> None:
    """Also when no page was left to read, it is noticed that some may have been torn down already."""
    process = source.process(child.pid)
    blocks = source.blocks(process)
    next(blocks)
    child.end()
    with pytest.raises(Unreadable, match="it exited"):
        list(blocks)


def test_a_process_forks_while_it_is_read(
    source: LiveSource, child: Child, midway: Callable[..., None]
) -> None:
    """Its pages are all there, some mapped once and some twice, as they were when they were read."""
    midway(lambda: child.do("fork()"))
    process, blocks = all_blocks(source, child.pid)
    (mine,) = (i for i, region in enumerate(process.regions) if region.smaps["Rss"] == 8 * 2048)
    counts = [page.mapcount for page in pages_in(blocks) if page.region == mine]
    assert 8 * 512 == len(counts)
    assert {1, 2} == set(counts)


def test_another_program_between_smaps_and_pagemap(
    source: LiveSource, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are opened again, so that what they say is of one program."""
    opened = ProcessDir.open
    done = []

    def open_late(self: ProcessDir, name: str) -> int:
        if name == "pagemap" and not done:
            done.append(name)
            starts_sleep(child)
        return opened(self, name)

    monkeypatch.setattr(ProcessDir, "open", open_late)
    process, blocks = all_blocks(source, child.pid)
    assert "sleep" == process.comm
    assert any(region.name.endswith("/sleep") for region in process.regions)
    assert process.total("Rss") < 8 * 2048
    assert [page for page in pages_in(blocks) if page.kind <= 2]


def test_a_process_that_never_stays_the_same_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who starts one program after the other is given up on after a few tries."""
    proc = FakeProc(tmp_path)
    proc.frames({}, {})
    proc.process(7, [Vma(100, {}, 1)])
    opened = ProcessDir.open
    programs = iter(range(100))

    def open_changed(self: ProcessDir, name: str) -> int:
        if name == "smaps":
            proc.process(7, [Vma(100, {}, 1)], code=next(programs))
        return opened(self, name)

    monkeypatch.setattr(ProcessDir, "open", open_changed)
    with pytest.raises(Unreadable, match="it started another program while being read"):
        proc.source().process(7)
    assert next(programs) < 10


def test_a_kernel_thread_has_nothing_to_read(tmp_path: Path) -> None:
    """Asked for by its number, it is Unreadable and says why."""
    proc = FakeProc(tmp_path)
    proc.frames({}, {})
    proc.process(2, [], comm="kthreadd", virtual_size=0)
    assert [] == proc.source().pids()
    with pytest.raises(Unreadable, match=r"2 \(kthreadd\): it has no address space"):
        proc.source().process(2)


def test_blocks_of_a_process_read_before_another(source: LiveSource, child: Child) -> None:
    """Reading two processes at a time mixes nothing up; a process that changed since then is Unreadable."""
    with Child() as other:
        first, second = source.process(child.pid), source.process(other.pid)
        assert 8 * 512 <= sum(int(block.runs.nr.sum()) for block in source.blocks(first))
        assert 8 * 512 > sum(int(block.runs.nr.sum()) for block in source.blocks(second))
        child.do("KEEP.append(anon(PMD))")
        with pytest.raises(Unreadable, match="its regions have changed"):
            list(source.blocks(first))


def test_processes_of_one_address_space_are_read_once(source: LiveSource, child: Child) -> None:
    """Whoever shares it is named with it."""
    child.do("KEEP.append(ctypes.create_string_buffer(1 << 16))")
    other = child.do(
        "libc.clone(libc.sleep, ctypes.c_void_p(ctypes.addressof(KEEP[-1]) + (1 << 16) - 64 & ~63),"
        " 0x100 | signal.SIGKILL, ctypes.c_void_p(60))"
    )
    first, second = sorted((child.pid, other))
    pids = source.pids()
    assert first in pids
    assert second not in pids
    assert (second,) == source.process(first).sharing
    assert (first,) == source.process(second).sharing


def test_without_a_scan_smaps_tells_the_level(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.7 all pages are found as well, and the level where smaps decides it."""
    child.do("KEEP.append(anon(PMD, huge=True)); KEEP.append(anon(2 * PMD, huge=True)); by_pte(KEEP[-1])")
    monkeypatch.setattr(Pagemap, "scans", lambda self: False)
    with open_live_source(struct_folio=False) as source:
        if not source.machine.frames:
            pytest.skip("; ".join(source.machine.limits))
        process, blocks = all_blocks(source, child.pid)
    assert not source.machine.levels
    assert NO_LEVELS in source.machine.limits
    wanted = [i for i, r in enumerate(process.regions) if not r.name]
    expected = [page for page in pages_of(Path("/proc"), child.pid, process.regions) if page.region in wanted]
    assert expected == [page for page in pages_in(blocks) if page.region in wanted]
    for at in wanted:
        smaps = process.regions[at].smaps
        by_pmd = UNKNOWN if 0 < smaps["AnonHugePages"] < smaps["Rss"] else int(smaps["AnonHugePages"] > 0)
        levels = {int(pmd) for b in blocks for pmd in b.runs.pmd[b.runs.region == at]}
        assert ({by_pmd} if smaps["Rss"] else set()) == levels


def test_a_kernel_that_says_nothing_of_frames(tmp_path: Path) -> None:
    """Without /proc/kpagecount there is smaps only, and it is said what would be needed."""
    proc = FakeProc(tmp_path)
    proc.process(7, [Vma(100, {0: 1 << 63 | 64}, 1)])
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "pagemap").write_bytes(b"")
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    with open_live_source(proc=tmp_path, sys=tmp_path / "sys") as source:
        assert (False, False, {}) == (source.machine.frames, source.machine.folios, source.machine.thp)
        assert 256 == source.machine.max_ptes_shared
        assert "CONFIG_PROC_PAGE_MONITOR" in source.machine.limits[0]
        process = source.process(7)
        assert ("/a/b", 4) == (process.cgroup, process.total("Rss"))
        assert [] == list(source.blocks(process))
        assert [] == source.memory_stats()


def as_nobody(code: str, *wrapper: str) -> list[str]:
    """The lines that a program prints which gives up its privileges after the imports."""
    if os.geteuid():
        pytest.skip("giving up privileges takes having them")
    drop = (
        "import os, ctypes, sys\nfrom pathlib import Path\n"
        "from mapcount.live.live_source import *\nfrom mapcount.live.snapshot import *\n"
        "def drop():\n"
        "    os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)\n"
        "    ctypes.CDLL(None).prctl(4, 1)\n"  # PR_SET_DUMPABLE: its /proc is its own again
    )
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", drop + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "" == done.stderr
    return done.stdout.splitlines()


def test_who_is_not_root_sees_own_processes_without_frames(child: Child) -> None:
    """Own processes still give smaps, others' refuse with the reason, and what root would see is said."""
    said = as_nobody(
        "drop()\n"
        "with open_live_source() as source:\n"
        "    print(source.machine.frames, source.machine.folios, source.machine.limits[0])\n"
        "    own = source.process(os.getpid())\n"
        "    print(own.total('Rss') > 1000, list(source.blocks(own)))\n"
        "    try:\n"
        f"        source.process({child.pid})\n"
        "    except Unreadable as error:\n"
        "        print(error.reason)\n"
        f"    print({child.pid} in source.pids())\n"
    )
    assert [f"False False {NO_FRAMES}", "True []", "permission denied", "True"] == said


def test_processes_hidden_by_mount_option(child: Child) -> None:
    """With hidepid others' processes are not even listed, and it is said that there may be some."""
    said = as_nobody(
        "at = Path('/mnt')\n"
        "if ctypes.CDLL(None).mount(b'proc', bytes(at), b'proc', 0, b'hidepid=2'):\n"
        "    print('cannot mount'); sys.exit()\n"
        "drop()\n"
        "with open_live_source(proc=at) as source:\n"
        f"    print({child.pid} in source.pids(), os.getpid() in source.pids())\n"
        "    print(source.machine.limits[-1])\n",
        *("unshare", "--mount"),
    )
    if said == ["cannot mount"]:
        pytest.skip("a /proc of our own cannot be mounted")
    assert ["False True", live_source.HIDDEN] == said


def test_where_no_proc_is_mounted_nothing_can_be_done(tmp_path: Path) -> None:
    """Then that is said, and how it would be possible."""
    with (
        pytest.raises(CannotHere, match=f"{tmp_path}.*: mount procfs there"),
        open_live_source(proc=tmp_path),
    ):
        pass


def test_a_process_gone_after_the_list_was_made(source: LiveSource, child: Child) -> None:
    """It is Unreadable; its name is not known any more."""
    child.end()
    with pytest.raises(Unreadable, match=rf"^{child.pid} \(\?\): it exited while being read$"):
        source.process(child.pid)
    with pytest.raises(Unreadable):
        source.identity(child.pid)
