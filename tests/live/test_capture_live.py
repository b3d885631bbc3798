"""Captures of real processes: our own, and the one in this repository."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from mapcount.live.capture_source import CaptureSource
from mapcount.live.capture_write import Hiding, write_capture
from mapcount.live.live_source import open_live_source
from mapcount.live.selection import Selection
from mapcount.live.snapshot import Kind, Source
from mapcount.live.thp import read_thp

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "captures" / "demo.capture"

LIVE = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux, and root to see page frames"
)


def folios_of(source: Source, comm: str) -> dict[int, dict[str, int]]:
    """The large anonymous folios of the process of this name: what is known, and how much of each is its."""
    (pid,) = [pid for pid in source.pids() if comm == source.identity(pid).comm]
    found: dict[int, dict[str, int]] = {}
    for block in source.blocks(source.process(pid)):
        for row in np.flatnonzero(block.folios.kind == Kind.ANON):
            names = ("order", "mapped_pages", "sum_mapcount", "shared")
            counts = {name: int(getattr(block.folios, name)[row]) for name in names}
            mine = int(block.runs.nr[block.runs.folio == block.folios.folio[row]].sum())
            found[int(block.folios.folio[row])] = counts | {"mine": mine}
    return found


def check_demo(source: CaptureSource) -> None:
    """Everything that `tools/demo_workload.py` promises is in a capture of it."""
    names = Counter(source.identity(pid).comm for pid in source.pids())
    assert {"web": 1, "web-worker": 2, "batch": 1, "left-alone": 1} == names
    table = [folio["sum_mapcount"] for folio in folios_of(source, "web").values()]
    assert [3 * 512 - 1, 3 * 512, 3 * 512, 3 * 512] == sorted(table)
    partly = [f["mapped_pages"] for f in folios_of(source, "batch").values() if f["order"] == 9]
    assert [256, 512 - 32] == sorted(partly)
    alone = folios_of(source, "left-alone").values()
    mistaken = [f["mine"] for f in alone if f["shared"] == 1 and f["mine"] == f["sum_mapcount"]]
    assert 511 in mistaken
    kinds = {
        kind
        for pid in source.pids()
        for block in source.blocks(source.process(pid))
        for kind in block.runs.kind
    }
    assert {Kind.ANON, Kind.FILE, Kind.SHMEM} <= kinds


def test_the_demo_capture() -> None:
    """The capture in this repository is small, hides addresses, and has all that it is there for."""
    source = CaptureSource(DEMO)
    check_demo(source)
    assert all(source.process(pid).regions[0].start < 512 for pid in source.pids())
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 300 << 10


@LIVE
@pytest.mark.skipif(2048 not in read_thp().usable_sizes(), reason="huge pages are not enabled here")
def test_the_demo_workload_is_captured(tmp_path: Path) -> None:
    """The demo can be made again on this machine, and leaves no process behind."""
    command = [sys.executable, ROOT / "tools" / "demo_workload.py", "-o", tmp_path / "demo.capture"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    check_demo(CaptureSource(tmp_path / "demo.capture"))


@LIVE
def test_a_capture_says_what_the_kernel_says(tmp_path: Path) -> None:
    """A process that sleeps is the same in a raw capture as in the running kernel."""
    with subprocess.Popen(["sleep", "120"]) as sleeper, open_live_source() as live:
        try:
            wait_until_asleep(sleeper.pid)
            selection = Selection(pids=(sleeper.pid,))
            write_capture(live, selection, tmp_path / "c", hiding=Hiding(places=False))
            captured = CaptureSource(tmp_path / "c")
            assert live.identity(sleeper.pid) == captured.identity(sleeper.pid)
            assert anonymous_pages(live, sleeper.pid) == anonymous_pages(captured, sleeper.pid)
            assert live.machine.thp == captured.machine.thp
        finally:
            sleeper.kill()


def wait_until_asleep(pid: int) -> None:
    """Until it has started its program and waits."""
    deadline = time.monotonic() + 20
    while "(sleep) S" not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def anonymous_pages(source: Source, pid: int) -> list[tuple[object, ...]]:
    """Its anonymous pages and where they are: what others do to the files that it maps plays no part."""
    process = source.process(pid)
    pages: list[tuple[object, ...]] = []
    for block in source.blocks(process):
        runs = block.runs
        for row in np.flatnonzero(runs.kind == Kind.ANON):
            region = process.regions[runs.region[row]]
            place = region.start, region.name, region.perms, region.flags, region.smaps["Anonymous"]
            pages.append((*place, *(getattr(runs, field.name)[row].item() for field in fields(runs))))
    assert pages
    return pages
