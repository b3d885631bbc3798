"""The kernel that runs these tests, held against the simulator by real processes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mapcount.conform import check
from mapcount.conform.check import RunningKernel, running_kernel
from mapcount.conform.findings import examine, random_scenario
from mapcount.live.snapshot import CannotHere
from mapcount.live.struct_folio import FolioReader
from mapcount.live.thp import THP, thp_settings
from mapcount.scenario.parse import load, parse
from mapcount.scenario.regions import fields
from mapcount.scenario.syntax import Scenario
from mapcount.sim import proc
from mapcount.tracking.folio import Folio

ROOT = Path(__file__).resolve().parents[2]

STORIES = {
    "small-folios": """
        P mmap heap 64K small ; P write heap
        P fork A
        P write heap[0p::8K]
        A munmap heap[32K:]
        A fork B ; A exit
        P mprotect heap r ; P mprotect heap[3p] rw
        B exec
        P madvise heap[0:16K] dontneed
        P read heap[0:16K]
    """,
    "places": """
        P mmap heap 64K small ; P write heap
        P mmap room 1M reserved
        P mremap heap[16K:32K] to=room[64K:80K]
        P fork A
        A mremap room[64K:80K] to=heap[16K:32K]
        A mlock heap
        A munlock heap[0:8K]
    """,
    "shared-memory": """
        P mmap ring 64K shared ; P write ring[0:32K]
        P fork A
        A read ring
        P mmap file 64K memfd=f shared ; P write file
        P mmap again 32K memfd=f offset=16K ; P read again ; P write again[0p]
        P fork B
        B mmap mine 64K memfd=f shared
        B read mine
        P exec
    """,
    "sparse": """
        P mmap heap 8G small ; P write heap[0p] ; P write heap[4096M:4100M]
        P mmap room 16T reserved
        P mremap heap[4097M:4098M] to=room[8T:8388609M]
        P fork A
        A munmap heap[:4097M]
        P mmap again 2G ; P read again[262144p]
    """,
    "huge-page": """
        P mmap heap 2M thp=2M ; P write heap
        P fork A
        A munmap heap[:1M]
        P fork B ; A exit
        B write heap[0p]
        P exit
        B madvise heap[1M:1028K] free
    """,
    "pins": """
        P mmap heap 64K small ; P write heap
        P pin heap[3p:5p]
        P fork A
        A write heap
        P munmap heap[4p:]
        P unpin heap[3p:5p]
    """,
}


def act_out(kernel: RunningKernel, scenario: Scenario) -> None:
    """The scenario agrees in every field, or the machine cannot act it out."""
    found = kernel.conform(scenario)
    if found.skipped:
        pytest.skip(found.skipped)
    assert [] == [(s.step.text, d.field, d.real, d.simulated) for s, d in found.deviations]
    assert found.comparison is not None
    assert found.comparison.fields > 20 * len(found.comparison.steps)


@pytest.mark.parametrize("name", STORIES)
def test_this_kernel_is_as_simulated(kernel: RunningKernel, name: str) -> None:
    """After every step of these stories every field of the running kernel is what the simulator says."""
    act_out(kernel, parse(STORIES[name], f"{name}.scn"))


@pytest.mark.parametrize("number", range(2))
def test_random_stories_are_as_simulated(kernel: RunningKernel, number: int) -> None:
    """Nor does the running kernel deviate in random stories, always the same ones."""
    act_out(kernel, random_scenario(kernel, 1, number))


@pytest.mark.parametrize("name", ["prefork", "double-mapping"])
def test_stories_of_other_folio_sizes(name: str) -> None:
    """With leave to set folio sizes, stories about 64K are acted out, and the settings are put back."""
    before = _settings()
    try:
        with running_kernel(set_thp=True) as (kernel, _):
            act_out(kernel, load(ROOT / "scenarios" / f"{name}.scn"))
    except CannotHere as error:
        pytest.skip(str(error))
    assert before == _settings()


def test_a_wrong_simulator_is_found_out(kernel: RunningKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the simulator were wrong about bit 56, the running kernel would show it, in three steps."""

    def always(folio: Folio, mapcount: int) -> bool:
        return True

    monkeypatch.setattr(proc, "page_mapped_exclusively", always)
    result = examine(kernel, parse(STORIES["small-folios"], "wrong.scn"))

    assert result.shortest is not None
    assert {"exclusive"} == {d.field.rpartition(".")[2] for _, d in result.shortest.deviations}
    assert ["P mmap", "P write", "P fork"] == [
        " ".join(step.text.split()[:2]) for step in result.shortest.scenario.steps
    ]


def test_an_impossible_call_is_a_deviation(kernel: RunningKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call that fails where the simulated one succeeds ends the scenario and is reported."""
    monkeypatch.setitem(
        sys.modules["mapcount.conform.acting"].ORDERS, "munmap", ("mprotect", {"prot": "none"})
    )
    story = parse(
        "P mmap heap 64K\nP write heap\nP munmap heap[0p]\nP munmap heap[1p]\nP read heap[2p]\n", "odd.scn"
    )
    found = kernel.conform(story)

    assert (3, "P.heap.vmas", 2, 1) in [
        (s.step.line, d.field, d.real, d.simulated) for s, d in found.deviations
    ]


def test_limits_are_no_deviation(tmp_path: Path) -> None:
    """A process that may map less than its story wants is told of as skipped, and the next story goes on."""
    if os.geteuid():
        pytest.skip("page frames are shown to root only")
    (tmp_path / "wide.scn").write_text("P mmap heap 64K\nP write heap\nP mmap wide 12G\nP read wide[0p]\n")
    (tmp_path / "small.scn").write_text(STORIES["small-folios"])
    done = subprocess.run(
        [sys.executable, "-m", "mapcount", "conform", "wide.scn", "small.scn"],
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
        capture_output=True,
        text=True,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "skipped: line 3: P mmap: ENOMEM, the machine allows no more (vm.overcommit" in said
    assert "1 acted out, 1 skipped." in done.stdout


def test_a_killed_process_ends_the_recording(kernel: RunningKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed by the kernel where the simulated one lives is told as such, and nobody is left."""
    monkeypatch.setitem(
        sys.modules["mapcount.conform.acting"].ORDERS, "munmap", ("madvise", {"advice": "cold"})
    )
    monkeypatch.setitem(sys.modules["mapcount.conform.acting"].ORDERS, "read", ("touch", {"write": True}))
    story = parse("P mmap heap 64K prot=r\nP read heap\nP fork A\n", "killed.scn")
    found = kernel.conform(story)

    assert [(2, "errors", ["P was killed when told to touch"], [])] == [
        (s.step.line, d.field, d.real, d.simulated) for s, d in found.deviations
    ]


def test_without_struct_folio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel's memory cannot be read the rest is compared, and it is said what is not."""
    if os.geteuid():
        pytest.skip("page frames are shown to root only")

    @contextmanager
    def nothing() -> Iterator[FolioReader]:
        raise CannotHere("no way to read kernel memory")
        yield

    monkeypatch.setattr(check, "open_folio_reader", nothing)
    with running_kernel() as (kernel, limits):
        found = kernel.conform(parse(STORIES["small-folios"], "small.scn"))

    assert "struct folio is not compared: no way to read kernel memory" in limits
    assert found.comparison is not None
    assert () == found.deviations
    assert not any("refcount" in field for field, _ in fields(found.comparison.steps[0].real))


def test_frames_that_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not see page frames is told so; nothing can be compared then."""

    def refuse(path: str, *_: object) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("mapcount.conform.observing.os.open", refuse)
    with pytest.raises(CannotHere, match="/proc/kpageflags: Permission denied; run as root"):
        running_kernel().__enter__()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    """`mapcount conform` killed in the middle leaves no process and no setting changed."""
    if os.geteuid():
        pytest.skip("page frames are shown to root only")
    before = _settings()
    command = [sys.executable, "-m", "mapcount", "conform", "--random", "50", "--seed", "3", "--set-thp"]
    program = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    agents = _wait_for(lambda: _agents_of(program.pid))
    program.send_signal(how)
    program.wait(30)
    _wait_for(lambda: not _alive(agents))

    assert agents
    assert [] == _alive(agents)
    assert before == _settings()


def _settings() -> dict[Path, str]:
    """Which folio sizes are used, when nobody is changing that."""
    with thp_settings():
        return {path: path.read_text() for path in THP.glob("hugepages-*/*enabled")}


def _wait_for(what: object) -> list[int]:
    """Ask again until the answer is yes, for some seconds at most; the last answer."""
    assert callable(what)
    deadline = time.monotonic() + 30
    while not (answer := what()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer if isinstance(answer, list) else []


def _agents_of(pid: int) -> list[int]:
    """The agents that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(word) for word in children.read_text().split()] if children.exists() else []
    return [child for child in found if b"agent.py" in _command(child)]


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if b"agent.py" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
