"""Reading kernel memory, by BPF and from core dumps, and saying why not."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mapcount.live import bpf, bpf_memory
from mapcount.live.bpf_memory import BpfMemory
from mapcount.live.btf import VMLINUX, Btf
from mapcount.live.drgn_memory import DrgnMemory
from mapcount.live.kernel_memory import MOST_BYTES
from mapcount.live.snapshot import CannotHere

from .core_file import write_core
from .machine import WHY_NO_BPF, as_nobody, needs_bpf

NOWHERE = [0, 8, 1 << 63, 0xDEAD_0000_0000_0000, (1 << 64) - 1]
"""Addresses where no kernel has anything."""


@pytest.fixture
def memory() -> Iterator[BpfMemory]:
    """The running kernel's."""
    with BpfMemory() as opened:
        yield opened


COMM = Btf.read().struct("task_struct").offset("comm") if not WHY_NO_BPF and Path(VMLINUX).exists() else 0


# -- BPF ------------------------------------------------------------------------------------------------


@needs_bpf
@pytest.mark.parametrize("size", [1, 8, 64, MOST_BYTES])
@pytest.mark.parametrize("n", [0, 1, 3000])
def test_pieces_of_a_task(memory: BpfMemory, size: int, n: int) -> None:
    """Pieces come in the order of their addresses, in any number, and pieces that overlap agree."""
    name = memory.current_task() + COMM  # of all the task's words these do not change under our hands
    found, ok = memory.read(np.uint64(name) + np.arange(n, dtype=np.uint64) % np.uint64(8), size)
    assert (n, size) == found.shape
    assert n == ok.sum()
    whole = memory.read(np.array([name], np.uint64), 16)[0][0]
    first = min(size, 8)
    assert all((whole[i % 8 : i % 8 + first] == found[i, :first]).all() for i in range(n))


@needs_bpf
def test_the_current_task_is_ours(memory: BpfMemory) -> None:
    """The process's own name and number are in its task_struct, where the kernel's types say."""
    task = Btf.read().struct("task_struct")
    start = memory.current_task()
    comm, pid = (
        memory.read(np.array([start + task.offset(n)], np.uint64), 16)[0][0] for n in ("comm", "tgid")
    )
    assert Path("/proc/self/comm").read_bytes().rstrip(b"\n") == comm.tobytes().split(b"\0")[0]
    assert os.getpid() == int(pid[:4].view(np.int32)[0])


@needs_bpf
def test_nothing_there_is_no_error(memory: BpfMemory) -> None:
    """Where nothing is mapped, a piece is zeros and not ok; those around it are read."""
    task = memory.current_task()
    found, ok = memory.read(np.array([task, *NOWHERE, task], np.uint64), 64)
    assert [True, *[False] * len(NOWHERE), True] == ok.tolist()
    assert not found[1:-1].any()
    assert found[0].any()


@needs_bpf
@pytest.mark.parametrize("size", [-1, MOST_BYTES + 1])
def test_impossible_sizes(memory: BpfMemory, size: int) -> None:
    """A piece that is too large is refused before the kernel is asked."""
    with pytest.raises(ValueError, match=f"a piece has 0 to {MOST_BYTES} bytes, not {size}"):
        memory.read(np.zeros(1, np.uint64), size)


@needs_bpf
def test_nothing_stays_open() -> None:
    """Every file descriptor is closed after use, and after a program that the kernel refuses."""
    before = set(os.listdir("/proc/self/fd"))
    with BpfMemory():
        assert 2 <= len(set(os.listdir("/proc/self/fd")) - before)
    with pytest.raises(bpf.BpfError):
        bpf.Program([bpf.insn(bpf.EXIT)], "no result")
    assert before == set(os.listdir("/proc/self/fd"))


# -- why not --------------------------------------------------------------------------------------------


@needs_bpf
def test_without_privilege() -> None:
    """Who is not root is told so, and what would help."""
    code = (
        "from mapcount.live.bpf_memory import BpfMemory\n"
        "try: BpfMemory()\n"
        "except mapcount.live.snapshot.CannotHere as error: print(error)\n"
    )
    assert (
        "BPF: creating a map: Operation not permitted; "
        "it needs root, or CAP_BPF and CAP_PERFMON, in no container that forbids bpf(2)"
    ) == as_nobody(code)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSYS, "it needs bpf(2): CONFIG_BPF_SYSCALL, on x86_64 or aarch64"),
        (errno.EACCES, "it needs root"),
        (errno.EINVAL, "it needs Linux 5.14 or later"),
        (errno.ENOMEM, "is it short of memory?"),
        (errno.EIO, "that was not expected"),
    ],
)
def test_each_refusal_has_its_advice(monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    """What the kernel answers decides what would help."""
    monkeypatch.setattr(bpf_memory, "LOCKDOWN", Path("/nonexistent"))
    monkeypatch.setattr(bpf, "_bpf", _refuse(code))
    with pytest.raises(CannotHere, match=r"^BPF: trying; ") as error:
        BpfMemory()
    assert words in str(error.value)


def test_lockdown_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A locked-down kernel is the reason, whatever error it gives."""
    mode = tmp_path / "lockdown"
    monkeypatch.setattr(bpf_memory, "LOCKDOWN", mode)
    monkeypatch.setattr(bpf, "_bpf", _refuse(errno.EINVAL))
    for text, words in (
        ("none integrity [confidentiality]\n", "lockdown=integrity or less allows it"),
        ("none [integrity] confidentiality\n", "Linux 5.14"),
    ):
        mode.write_text(text)
        with pytest.raises(CannotHere) as error:
            BpfMemory()
        assert words in str(error.value)


def test_a_machine_whose_call_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """bpf(2) has another number on each machine; where it is not known, nothing is tried."""
    monkeypatch.setattr("platform.machine", lambda: "vax")
    with pytest.raises(CannotHere, match=r"the number of bpf\(2\) on vax \(64 bits\) is not known"):
        BpfMemory()


def _refuse(code: int) -> object:
    def refuse(*_: object) -> int:
        raise bpf.BpfError(code, "trying")

    return refuse


# -- core dumps -----------------------------------------------------------------------------------------

VMEMMAP = 0xFFFF_EA00_0000_0000
INFO = "OSRELEASE=6.18.0-test\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82000000\n"


def test_a_core_dump(tmp_path: Path) -> None:
    """Pieces of a dump are read where it has memory; the others are zeros and not ok."""
    core = write_core(tmp_path / "core", [(VMEMMAP, bytes(range(256)))], INFO)
    with DrgnMemory(core) as memory:
        found, ok = memory.read(np.array([VMEMMAP + 16, *NOWHERE, VMEMMAP + 255], np.uint64), 2)
        assert [True, *[False] * (len(NOWHERE) + 1)] == ok.tolist()
        assert [16, 17] == found[0].tolist()
        assert not found[1:].any()
        assert ("6.18.0-test", False, None) == (memory.release, memory.live, memory.current_task())
        assert INFO == memory.vmcoreinfo()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: str(path / "none"), "No such file or directory"),
        (lambda path: str(path), "Is a directory"),
        (lambda path: sys.executable, "not an ELF core file"),
        (lambda path: "/proc/version", "not an ELF core file"),
        (lambda path: write_core(path / "core", [], ""), "is no core dump of a Linux kernel"),
    ],
)
def test_dumps_that_are_none(tmp_path: Path, make: object, reason: str) -> None:
    """A file that is missing, no ELF, no dump or no kernel's is named with the reason."""
    path = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(CannotHere) as error:
        DrgnMemory(path)
    assert str(error.value).startswith(f"{path}: ")
    assert reason in str(error.value)


@pytest.mark.skipif(Path("/proc/kcore").exists(), reason="this machine has /proc/kcore")
def test_no_kcore() -> None:
    """Where there is no /proc/kcore, it is named."""
    with pytest.raises(CannotHere, match=r"^/proc/kcore: No such file or directory$"):
        DrgnMemory()


@needs_bpf
@pytest.mark.skipif(not Path("/proc/kcore").exists(), reason="this machine has no /proc/kcore")
def test_both_ways_read_the_same(memory: BpfMemory) -> None:
    """What drgn reads from /proc/kcore is what BPF reads."""
    name = np.array([memory.current_task() + COMM, *NOWHERE], np.uint64)
    with DrgnMemory() as by_drgn:
        for mine, its in zip(memory.read(name, 16), by_drgn.read(name, 16), strict=True):
            assert mine.tolist() == its.tolist()


def test_no_drgn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without drgn, the message says how to get it."""
    monkeypatch.setitem(sys.modules, "drgn", None)
    with pytest.raises(CannotHere, match=r"drgn is not installed; pip install 'mapcount\[drgn\]' adds it"):
        DrgnMemory()
