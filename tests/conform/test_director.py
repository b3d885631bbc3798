"""Agents do as they are told, and none of them outlives whoever told them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mapcount.conform import agent
from mapcount.conform.acting import FIRST_PAGE
from mapcount.conform.director import AgentLost, Director

AT = FIRST_PAGE
PLAIN = {"pages": 16, "prot": "rw", "shared": False, "memfd": None, "offset": 0, "huge": 0, "over": False}


@pytest.fixture
def director() -> Iterator[Director]:
    """A director with one process, P, that has 16 pages."""
    with Director() as made:
        made.start("P")
        assert made.order("P", "mmap", {"at": AT, **PLAIN}) is None
        yield made


def ranges(first: int, pages: int, stride: int = 0, times: int = 1) -> dict[str, list[list[int]]]:
    """Pages of the memory under test."""
    return {"ranges": [[AT + first, pages, stride, times]]}


def present(pid: int) -> list[int]:
    """Which of the 16 pages are there."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        words = os.pread(file.fileno(), 16 * 8, AT * 8)
    return [page for page in range(16) if words[page * 8 + 7] & 0x80]


def is_agent(pid: int) -> bool:
    """Does a process of that PID run the agent's program?"""
    try:
        return b"agent.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_end(pids: list[int]) -> list[int]:
    """Those of the agents that are still there after a while."""
    deadline = time.monotonic() + 20
    while any(map(is_agent, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return [pid for pid in pids if is_agent(pid)]


def test_orders_act_on_the_pages_named(director: Director) -> None:
    """Pages are touched, and unmapped, where the order says: strided ones too."""
    pid = director.actors["P"].pid
    director.order("P", "touch", {**ranges(0, 1, 2, 8), "write": True})
    every_second = present(pid)
    director.order("P", "munmap", ranges(0, 1, 4, 4))

    assert list(range(0, 16, 2)) == every_second
    assert [2, 6, 10, 14] == present(pid)


def test_errors_of_system_calls_have_names(director: Director) -> None:
    """What the kernel refuses is answered with the error's name, and the agent goes on."""
    assert "ENOMEM" == director.order("P", "mprotect", {**ranges(20, 1), "prot": "r"})
    assert "EEXIST" == director.order("P", "mmap", {"at": AT, **PLAIN})
    assert director.order("P", "mprotect", {**ranges(0, 1), "prot": "r"}) is None


def test_a_child_has_a_copy(director: Director) -> None:
    """A forked process has the parent's pages and a socket of its own; exec leaves it nothing of them."""
    director.order("P", "touch", {**ranges(0, 3), "write": True})
    assert director.fork("P", "C") is None
    inherited = present(director.actors["C"].pid)
    director.exec("C")

    assert [0, 1, 2] == inherited
    assert [] == present(director.actors["C"].pid)
    assert [0, 1, 2] == present(director.actors["P"].pid)


def test_exit_is_over_when_the_memory_is_gone(director: Director) -> None:
    """After `exit` the process holds nothing: its parent's pages are mapped once again."""
    director.fork("P", "C")
    pid = director.actors["C"].pid
    director.exit("C")

    assert ["P"] == list(director.actors)
    assert [] == wait_for_end([pid])


def test_children_stay_when_their_parent_exits(director: Director) -> None:
    """A process whose parent has left is as obedient as before."""
    director.fork("P", "C")
    director.fork("C", "D")
    director.exit("P")
    director.exit("C")

    assert director.order("D", "touch", {**ranges(5, 1), "write": False}) is None


def test_pins_survive_exec_and_end_with_the_process(director: Director) -> None:
    """Pages pinned before exec can be unpinned after it; a child does not hold its parent's pins."""
    error = director.order("P", "pin", {**ranges(3, 2), "hold": True})
    if error:
        pytest.skip(f"io_uring does not pin here: {error}")
    director.exec("P")

    assert director.order("P", "pin", {**ranges(3, 1), "hold": False}) is None
    director.exit("P")


def test_a_killed_agent_is_noticed(director: Director) -> None:
    """An order to a process that was killed fails and says so."""
    director.fork("P", "C")
    os.kill(director.actors["C"].pid, signal.SIGKILL)

    with pytest.raises(AgentLost, match=r"C (was killed when told to|ended before it could) touch"):
        director.order("C", "touch", {**ranges(0, 1), "write": True})


def test_a_signal_to_the_memory_is_noticed(director: Director) -> None:
    """A write to memory that is not there kills the agent, as it would any process."""
    with pytest.raises(AgentLost, match="P was killed when told to touch"):
        director.order("P", "touch", {**ranges(64, 1), "write": True})


def test_an_agent_without_memory_of_its_own(tmp_path: Path) -> None:
    """When the interpreter that plays a process gets no memory, that is the error ENOMEM, and it goes on."""
    program = tmp_path / "agent.py"
    program.write_text(
        f"import sys\nsys.path.append({str(Path(agent.__file__).parents[2])!r})\n"
        "from mapcount.conform.agent import Agent, main\n"
        "class Starved(Agent):\n"
        "    def do_munmap(self, **_): raise MemoryError\n"
        "main(Starved)\n"
    )
    with Director() as director:
        director.program = str(program)
        director.start("P")
        assert "ENOMEM" == director.order("P", "munmap", ranges(0, 1))
        assert director.order("P", "mmap", {"at": AT, **PLAIN}) is None


def test_the_end_of_the_block_ends_everybody() -> None:
    """Whatever happens in the block, no process is left behind it, and none is left to be reaped."""
    pids: list[int] = []

    def direct() -> None:
        with Director() as director:
            director.start("P")
            for parent, child in (("P", "A"), ("A", "B"), ("B", "C")):
                director.fork(parent, child)
            pids.extend(actor.pid for actor in director.actors.values())
            director.exit("A")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        direct()

    assert 4 == len(pids)
    assert [] == [pid for pid in pids if Path(f"/proc/{pid}").exists() and is_agent(pid)]
    with pytest.raises(ChildProcessError):
        os.waitpid(-pids[0], os.WNOHANG)


PROGRAM = """
import sys, time
from mapcount.conform.director import Director
with Director() as director:
    director.start("P")
    director.fork("P", "A")
    director.fork("A", "B")
    director.exit("A")
    print(*(actor.pid for actor in director.actors.values()), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nobody_outlives_the_director(how: signal.Signals) -> None:
    """When the director is killed, in whatever way, its agents end."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert program.stdout is not None
    pids = [int(word) for word in program.stdout.readline().split()]
    running = [pid for pid in pids if is_agent(pid)]
    program.send_signal(how)
    program.wait(30)
    program.stdout.close()

    assert pids == running != []
    assert [] == wait_for_end(pids)
