"""Processes of our own on the running kernel: what is computed from their pages is what smaps says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from tests.live.child import Child

from mapcount.audit.census import FolioSize
from mapcount.audit.machine import Audit, audit
from mapcount.live.live_source import LiveSource, open_live_source

FLAVOURS = ("page-mapcount", "no-page-mapcount", "total-mapped-pages")


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
    "nothing": "None",
    "small pages": "anon(64 * PAGE)",
    "a huge page by a PMD": "anon(PMD, huge=True)",
    "a huge page by PTEs": "at = anon(PMD, huge=True); by_pte(at)",
    "half a huge page": "at = anon(PMD, huge=True); libc.munmap(at, PMD // 2)",
    "shared with children": "at = anon(2 * PMD, huge=True); [fork() for _ in range(3)]",
    "a child unmapped a part": "at = anon(PMD, huge=True); fork('libc.munmap(at, PMD // 4)')",
    "a child wrote to a page": "at = anon(PMD, huge=True); fork('ctypes.memset(at, 2, 1)')",
    "every other page": (
        "at = anon(PMD, huge=True); fork(); [libc.munmap(at + i * PAGE, PAGE) for i in range(0, 512, 2)]"
    ),
    "shared memory, twice": (
        "fd = os.memfd_create('twice'); os.ftruncate(fd, 64 * PAGE)\n"
        "for _ in range(2): ctypes.memset(shared(fd, 64 * PAGE), 1, 64 * PAGE)\n"
        "fork('ctypes.memset(shared(fd, 8 * PAGE), 1, 8 * PAGE)')"
    ),
    "the zero page": "at = anon(16 * PAGE, fill=False); ctypes.string_at(at, 8 * PAGE)",
}
"""What to map, by what it shows."""

FOUR_LEFT_ALONE = """
at = anon(4 * PMD, huge=True)
for i in range(4): by_pte(at + i * PMD)
first, second = fork(), fork()
libc.munmap(at, 4 * PMD)
os.kill(first, 9)
os.waitpid(first, 0)
"""
"""The second child was the third to map four huge pages; then the other two left."""


@pytest.mark.parametrize("code", MAPPINGS.values(), ids=MAPPINGS.keys())
def test_pages_add_up_to_what_smaps_says(source: LiveSource, child: Child, code: str) -> None:
    """Rss, Pss and Uss of a process at rest are what smaps says, to the rounding, whatever it maps."""
    child.do(code)
    (process,) = audit(source, [child.pid]).processes
    assert 0 == process.off_kib
    assert process.now == process.under[source.machine.flavour.name]
    assert {process.now.rss_kib} == {process.under[name].rss_kib for name in FLAVOURS}


def with_huge_pages(source: LiveSource, nr: int, code: str, who: str) -> tuple[Audit, FolioSize]:
    """The audit of a process after some code, and the row of its `nr` huge pages.

    Where the kernel has none to give, small pages take their place, and it is tried again.
    """
    for _ in range(5):
        with Child() as child:
            child.do(code)
            found = audit(source, [child.do(who)])
            huge = [
                row for row in found.folios if row.kind == "anon" and row.kib == 2048 and row.folios == nr
            ]
            if huge:
                return found, huge[0]
        time.sleep(0.2)
    pytest.skip("the kernel had no huge pages to give")


def test_a_process_left_alone_is_taken_for_one_that_shares(source: LiveSource) -> None:
    """The survivor of three owns four huge pages, and the kernel does not know: all that follows is found."""
    found, huge = with_huge_pages(source, 4, FOUR_LEFT_ALONE, "second")
    (process,) = found.processes
    assert (4, 0) == (huge.exclusive, huge.shared)
    without = process.under["no-page-mapcount"]
    if not source.machine.folios and source.machine.flavour.page_mapcounts:
        assert (4, 0) == (huge.not_judged, huge.mistaken_for_shared)
        assert 4 * 2048 == process.guessed_kib
        assert process.now.uss_kib == without.uss_kib
        return
    assert (0, 4) == (huge.not_judged, huge.mistaken_for_shared)
    assert (4, 4 * 512) == (process.mistakes.folios, process.mistakes.pages)
    assert 4 * 2048 == process.under["page-mapcount"].uss_kib - without.uss_kib
    if source.machine.folios:
        assert 4 * 512 == process.mistakes.copied == process.mistakes.copied_at_most
    assert (0, 4) == (process.mistakes.advice_always, process.mistakes.advice_partly)


def test_whole_folios_count(source: LiveSource) -> None:
    """Huge pages that are half unmapped add the other half to AnonPages where whole folios count."""
    halves = "at = anon(3 * PMD, huge=True); [libc.munmap(at + i * PMD, PMD // 2) for i in range(3)]"
    found, huge = with_huge_pages(source, 3, halves, "os.getpid()")
    statistic = found.meminfo["AnonPages"]
    assert 3 == huge.partly_mapped
    assert 3 * 1024 == statistic.under["no-page-mapcount"] - statistic.under["page-mapcount"]


def test_a_process_that_exits_is_named(source: LiveSource, child: Child) -> None:
    """A process that is gone before it is read counts for nothing, and is named with the reason."""
    child.do("at = anon(PMD, huge=True)")
    gone = child.do("fork()")
    child.do(f"os.kill({gone}, 9), os.waitpid({gone}, 0)")
    found = audit(source, [child.pid, gone])
    assert [gone] == [reason.pid for reason in found.unreadable]
    assert [child.pid] == [process.pid for process in found.processes]


def in_a_namespace(*command: str) -> subprocess.CompletedProcess[str]:
    """A command that sees no processes but its own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root, for a PID namespace")
    isolated = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *command]
    return subprocess.run(isolated, capture_output=True, text=True, check=False, timeout=120)


def test_everything_in_a_namespace() -> None:
    """`audit --all` reads every process there is but itself, and all of them are in what it says."""
    program = f"{sys.executable} -m mapcount audit --all --json; sleep 0"
    done = in_a_namespace("sh", "-c", f"sleep 100 & {program}")
    if done.returncode == 3:
        pytest.skip(done.stderr)
    (machine,) = json.loads(done.stdout)["machines"]
    names = [process["comm"] for process in machine["processes"]]
    assert ["sh", "sleep"] == sorted(names)
    assert [] == machine["unreadable"]
    assert machine["left_out_pid"] not in [None, *(process["pid"] for process in machine["processes"])]
    assert [0, 0] == [process["moved_kib"] for process in machine["processes"]]


WITHOUT_PRIVILEGES = """
import ctypes, os
import mapcount.audit.overview, mapcount.live.capture_source, mapcount.live.selection
import mapcount.live.live_source, mapcount.report.audit, rich.console, rich.table
from mapcount.cli import mapcount
from mapcount.cli.audit import audit
os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: its /proc is its own again
mapcount(["audit", "--pid", str(os.getpid())])
"""


def test_without_privileges_smaps_is_all_there_is() -> None:
    """Who may not see page frames is told what smaps says and what is missing, and the exit code is 3."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give its privileges up")
    command = [sys.executable, "-c", WITHOUT_PRIVILEGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "page frames are hidden: run as root" in done.stdout
    assert "1 process read" in done.stdout
    assert "nothing could be predicted\n" == done.stderr
    assert 3 == done.returncode
