"""Starts the agents that play a scenario's processes, gives them orders, and leaves none behind.

Each agent is a real process with a socket of its own to us. They end when that closes, so they end with us
even if we get SIGKILL. Those that their parents leave behind become our children (we are their "subreaper"),
and what does not end by itself is killed by its pidfd, which can mean no other process.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mapcount.conform import agent

PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
PATIENCE = agent.PATIENCE + 5
"""Seconds until an agent that does not answer is given up."""
GRACE = 5
"""Seconds that agents have to end by themselves."""


class AgentLost(RuntimeError):
    """An agent ended, or did not answer, where it should have."""


@dataclass(slots=True)
class Actor:
    """A process of the scenario, as the director holds it."""

    name: str
    pid: int
    pidfd: int
    control: socket.socket


class Director:
    """The processes of one scenario by their names; a context manager that ends them all."""

    program = agent.__file__
    """What an agent runs."""

    def __init__(self, cpu: int | None = None) -> None:
        self.actors: dict[str, Actor] = {}
        """Those alive, in the order in which they began."""
        self._pidfds: list[int] = []
        self._first: subprocess.Popen[bytes] | None = None
        self._cpu = cpu
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Director:
        self._stack.enter_context(subreaper())
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self._end_all()

    def start(self, name: str) -> None:
        """Begin the first process, with an empty address space (but for the interpreter's own)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            state = json.dumps({"control": theirs.fileno(), "cpu": self._cpu})
            self._first = subprocess.Popen(
                [sys.executable, "-I", "-S", self.program, state],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C is for us
            )
        self._admit(name, ours)

    def fork(self, parent: str, child: str) -> str | None:
        """Let `parent` fork; None, or the name of the error."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            error = self.order(parent, "fork", fds=[theirs.fileno()])
        if error:
            ours.close()
            return error
        self._admit(child, ours)
        return None

    def exec(self, name: str) -> None:
        """Let a process begin anew in a new address space."""
        actor = self.actors[name]
        self._send(actor, {"do": "exec"})
        self._receive(actor, "exec")

    def exit(self, name: str) -> None:
        """Let a process end, and wait until its memory is gone."""
        actor = self.actors.pop(name)
        self._send(actor, {"do": "exit"})
        actor.control.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionError):
            if actor.control.recv(1):
                raise AgentLost(f"{name} did not exit")
        actor.control.close()

    def order(
        self, actor: str, do: str, what: Mapping[str, Any] | None = None, fds: Collection[int] = ()
    ) -> str | None:
        """Let a process do something; None, or the name of the error that a system call gave."""
        error = self.ask(actor, do, what, fds).get("errno")
        assert error is None or isinstance(error, str)
        return error

    def ask(
        self, actor: str, do: str, what: Mapping[str, Any] | None = None, fds: Collection[int] = ()
    ) -> dict[str, Any]:
        """The same; the whole answer. Raises AgentLost when none comes."""
        self._send(self.actors[actor], {"do": do, **(what or {})}, fds)
        return self._receive(self.actors[actor], do)

    def _admit(self, name: str, control: socket.socket) -> None:
        actor = Actor(name, 0, -1, control)
        self.actors[name] = actor
        actor.pid = int(self._receive(actor, "begin")["pid"])
        actor.pidfd = os.pidfd_open(actor.pid)
        self._pidfds.append(actor.pidfd)

    @staticmethod
    def _send(actor: Actor, order: dict[str, Any], fds: Collection[int] = ()) -> None:
        try:
            socket.send_fds(actor.control, [json.dumps(order).encode()], list(fds))
        except OSError as error:
            raise AgentLost(f"{actor.name} ended before it could {order['do']}: {error.strerror}") from None

    @staticmethod
    def _receive(actor: Actor, do: str) -> dict[str, Any]:
        actor.control.settimeout(PATIENCE)
        try:
            packet = actor.control.recv(agent.LONGEST)
        except TimeoutError:
            raise AgentLost(f"{actor.name} did not {do} within {PATIENCE} s") from None
        except ConnectionError:
            packet = b""
        if not packet:
            raise AgentLost(f"{actor.name} was killed when told to {do}")
        answer = json.loads(packet)
        assert isinstance(answer, dict)
        return answer

    def _end_all(self) -> None:
        for actor in self.actors.values():
            actor.control.close()
        self.actors.clear()
        for pidfd in self._pidfds:
            if not _ended(pidfd):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                _ended(pidfd)
            os.close(pidfd)
        self._pidfds.clear()
        if self._first is not None:
            self._first.wait()
            with contextlib.suppress(ChildProcessError):  # whom their parents left behind
                while os.waitpid(-self._first.pid, 0)[0]:
                    pass
            self._first = None


def _ended(pidfd: int) -> bool:
    """Has the process ended, or does it within GRACE seconds?"""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(GRACE * 1000))


@contextlib.contextmanager
def subreaper() -> Iterator[None]:
    """Be the one who inherits processes whose parent, one of our descendants, is gone."""
    libc, was = ctypes.CDLL(None), ctypes.c_int()
    libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(was), 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, was.value, 0, 0, 0)
