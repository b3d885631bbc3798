"""Which processes there are, and reading one without mistaking another for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.live.kcmp import same_address_space
from mapcount.live.processes import ProcessDir, Stat, address_spaces, all_stats, why_absent
from mapcount.live.snapshot import Unreadable

from .child import Child
from .fake_proc import stat_line

PROC = Path("/proc")


@pytest.fixture
def child() -> Iterator[Child]:
    """A process of our own."""
    with Child() as child:
        yield child


@given(st.text(max_size=15).filter(lambda name: "\0" not in name))
def test_a_name_may_hold_anything(comm: str) -> None:
    """Brackets, blanks and line ends in a process's name do not confuse what follows it."""
    stat = Stat.parse(stat_line(1, comm, start_time=5, virtual_size=9).encode())
    assert (comm, 5, 9) == (stat.comm, stat.start_time, stat.virtual_size)


@given(st.binary(max_size=300))
def test_what_is_no_stat_file_is_refused(raw: bytes) -> None:
    """Any bytes are a stat file or a ValueError."""
    try:
        Stat.parse(raw)
    except ValueError:
        return
    assert raw.count(b" ") >= 48


def test_a_name_that_is_not_utf8_can_be_stored() -> None:
    """Bytes that are no text are spelled out, so that the name can be printed and written anywhere."""
    stat = Stat.parse(stat_line(1, "?").encode().replace(b"?", b"a\xffb"))
    assert "a\\xffb" == stat.comm


def test_kernel_threads_and_zombies_have_no_address_space(child: Child) -> None:
    """Only processes with memory are listed."""
    zombie = child.do("os.posix_spawn('/bin/true', ['true'], {})")
    child.do(f"os.waitid(os.P_PID, {zombie}, os.WEXITED | os.WNOWAIT); None")
    stats = all_stats(PROC)
    spaces = {pid for space in address_spaces(stats, same_address_space) for pid in space}
    assert child.pid in spaces
    assert zombie in stats
    assert zombie not in spaces
    if kthreadd := stats.get(2):
        assert ("kthreadd" == kthreadd.comm) <= (2 not in spaces)


def test_processes_with_one_address_space_are_found(child: Child) -> None:
    """A process that shares its memory without being a thread (CLONE_VM) is listed with the other."""
    stack = "KEEP.append(ctypes.create_string_buffer(1 << 16))"
    child.do(stack)
    other = child.do(  # it sleeps in libc, and ends by itself
        "libc.clone(libc.sleep, ctypes.c_void_p(ctypes.addressof(KEEP[-1]) + (1 << 16) - 64 & ~63),"
        " 0x100 | signal.SIGKILL, ctypes.c_void_p(60))"
    )
    forked = child.do("fork()")
    spaces = address_spaces(all_stats(PROC), same_address_space)
    assert tuple(sorted((child.pid, other))) in spaces
    assert (forked,) in spaces


ORDERED: Callable[[int, int], int] = lambda one, other: (one % 7 > other % 7) - (one % 7 < other % 7)  # noqa: E731


def look_alikes(pids: list[int]) -> dict[int, Stat | None]:
    """Processes that only a comparison can tell apart."""
    return {pid: Stat("x", 1, 4096, ("1",)) for pid in pids}


@given(st.lists(st.integers(1, 99), unique=True))
def test_every_process_is_in_one_group(pids: list[int]) -> None:
    """Groups hold equal processes only, all equal ones, and each process once."""
    groups = address_spaces(look_alikes(pids), ORDERED)
    assert sorted(pids) == sorted(pid for group in groups for pid in group)
    assert len({pid % 7 for pid in pids}) == len(groups)


def test_few_comparisons_are_made() -> None:
    """A thousand processes that all look alike take some ten thousand comparisons, not half a million."""
    asked = 0

    def compare(one: int, other: int) -> int:
        nonlocal asked
        asked += 1
        return (one > other) - (one < other)

    assert 1000 == len(address_spaces(look_alikes(list(range(1000))), compare))
    assert asked < 20_000


def test_who_cannot_be_compared_stands_alone() -> None:
    """Without kcmp, or for processes that may not be compared, nothing is said to be shared."""
    assert [(1,), (2,), (3,)] == address_spaces(look_alikes([1, 2, 3]), lambda one, other: None)
    allowed = {1, 2}
    some = address_spaces(look_alikes([1, 2, 3]), lambda one, other: 0 if {one, other} <= allowed else None)
    assert [(1, 2), (3,)] == some


def test_a_directory_belongs_to_one_process_for_ever(child: Child) -> None:
    """When the process has exited and another has its PID, the open directory gives an error."""
    if os.geteuid():
        pytest.skip("choosing a PID takes root")
    with ProcessDir(PROC, child.pid) as directory:
        child.end()
        with subprocess.Popen(
            [sys.executable, "-I", "-c", CLONE_WITH_PID, str(child.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as reuser:
            assert reuser.stdout is not None
            said = reuser.stdout.readline()
            if said != b"reused\n":
                reuser.kill()
                pytest.skip(f"the PID could not be taken again: {said!r}")
            with ProcessDir(PROC, child.pid) as fresh:
                assert "reused" == fresh.comm
            with pytest.raises(Unreadable, match="it exited while being read"):
                directory.stat()
            reuser.communicate()


CLONE_WITH_PID = """
import ctypes, os, signal, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = ctypes.c_int(int(sys.argv[1]))
# struct clone_args: the fifth is the exit signal, the last two are the PIDs wanted and how many
args = ctypes.create_string_buffer(
    struct.pack("10Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(pid), 1)
)
made = libc.syscall(435, args, 80)
if made == 0:
    libc.prctl(1, signal.SIGKILL)
    libc.prctl(15, b"reused")
    print("reused", flush=True)
    signal.pause()
if made < 0:
    print(os.strerror(ctypes.get_errno()), flush=True)
else:
    sys.stdin.read()
    os.kill(made, signal.SIGKILL)
    os.waitpid(made, 0)
"""


def test_no_such_process_is_unreadable() -> None:
    """A process that is not there is named with the reason."""
    with pytest.raises(Unreadable, match=r"^4194304 \(\?\): it exited while being read$"):
        ProcessDir(PROC, 1 << 22)


def test_the_group_is_that_of_the_memory_hierarchy(tmp_path: Path) -> None:
    """The version 1 memory hierarchy speaks for a process if there is one, else the unified one."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "stat").write_text(stat_line(1))
    for text, path in (
        ("4:cpu,memory:/a:b\n0::/c\n", "/a:b"),
        ("1:name=systemd:/x\n0::/c\n", "/c"),
        ("", "/"),
    ):
        (tmp_path / "1" / "cgroup").write_text(text)
        with ProcessDir(tmp_path, 1) as directory:
            assert path == directory.cgroup()


def test_a_number_of_no_process_is_told_what_it_is(child: Child) -> None:
    """A process is one; a number of nobody, a thread, a zombie and a kernel thread are told apart."""
    assert why_absent(PROC, child.pid) is None
    assert f"no such process: {1 << 22}" == why_absent(PROC, 1 << 22)
    zombie = child.do("os.posix_spawn('/bin/true', ['true'], {})")
    child.do(f"os.waitid(os.P_PID, {zombie}, os.WEXITED | os.WNOWAIT); None")
    assert " is a zombie: it has exited, and maps nothing" in (why_absent(PROC, zombie) or "")
    barrier = threading.Barrier(2)
    thread = threading.Thread(target=lambda: (barrier.wait(), barrier.wait()))
    thread.start()
    barrier.wait()
    said = why_absent(PROC, thread.native_id or 0)
    barrier.wait()
    thread.join()
    assert f"is a thread of process {os.getpid()}, and" in (said or "")


def test_a_kernel_thread_is_called_one(tmp_path: Path) -> None:
    """A process without an address space that has not exited is a kernel thread."""
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "status").write_text("Name:\tkthreadd\nState:\tS (sleeping)\nTgid:\t2\n")
    assert "2 (kthreadd) is a kernel thread: it has no address space of its own" == why_absent(tmp_path, 2)


def test_a_status_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    """Where it cannot be told what a number is, it is taken for a process: reading it will say why not."""
    (tmp_path / "2").mkdir()
    assert why_absent(tmp_path, 2) is None
