"""A story acted out by real processes, each step with its duration.

The processes are those of `mapcount.conform`; they use the memory at one place only, far from where an
interpreter keeps its own.
"""

from __future__ import annotations

import ctypes
import os
import select
import time
from collections.abc import Collection, Mapping
from typing import Any

from mapcount.bench import timed_agent
from mapcount.bench.story import PAGE_KIB, PMD_KIB
from mapcount.conform.agent import Ranges
from mapcount.conform.director import PATIENCE, AgentLost, Director
from mapcount.scenario.syntax import Action, Target

FIRST_PAGE = 1 << 33
"""Where the memory begins: at 32 TiB, a multiple of every folio size."""
PMD_PAGES = PMD_KIB // PAGE_KIB


class TimedDirector(Director):
    """Knows how long the last order took."""

    program = timed_agent.__file__
    ns = 0
    """Nanoseconds on the CPU of who carried it out."""

    def ask(
        self, actor: str, do: str, what: Mapping[str, Any] | None = None, fds: Collection[int] = ()
    ) -> dict[str, Any]:
        """Give an order, timed. Raises AgentLost when no answer comes."""
        answer = super().ask(actor, "timed", {"order": {"do": do, **(what or {})}}, fds)
        self.ns = answer.get("ns", 0)
        return answer

    def exit(self, name: str) -> None:
        """Let a process end; what it used of the CPU for that, its clock still tells afterwards."""
        actor = self.actors.pop(name)
        clock = _cpu_clock(actor.pid)
        self._send(actor, {"do": "exit"})
        began = int(self._receive(actor, "exit")["ns"])
        if not select.select([actor.pidfd], [], [], PATIENCE)[0]:
            raise AgentLost(f"{name} did not exit within {PATIENCE} s")
        self.ns = time.clock_gettime_ns(clock) - began
        actor.control.close()


def _cpu_clock(pid: int) -> int:
    """The clock of a process's time on the CPU. It can be read until somebody has waited for the process."""
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, os.strerror(error))
    return clock.value


class TimedStage:
    """The processes of one story. Knows the verbs that stories of this package use, and one region."""

    def __init__(self, director: TimedDirector, *, tables_first: bool) -> None:
        """`tables_first`: make page tables before the memory is filled.

        Then no fault takes a PMD-size folio where smaller ones are wanted, whatever the settings say.
        """
        self._director = director
        self._tables_first = tables_first
        self.nr_pages = 0

    def pid(self, name: str) -> int:
        """The process that plays `name`."""
        return self._director.actors[name].pid

    def act(self, action: Action) -> int:
        """Carry out one action; the nanoseconds of its system call, or of all its page faults.

        Raises OSError where the running kernel refuses, AgentLost if a process was killed.
        """
        error: str | None = None
        match action:
            case Action(verb="mmap", size=int(pages)):
                error = self._mmap(action.actor, pages, advised="thp" in action.options)
            case Action(verb="fork", word=str(child)):
                error = self._director.fork(action.actor, child)
            case Action(verb="exit"):
                self._director.exit(action.actor)
            case Action(verb="write", target=Target() as target):
                error = self._order(action.actor, "touch", target, write=True)
            case Action(verb="munmap", target=Target() as target):
                error = self._order(action.actor, "munmap", target)
            case Action(verb="mprotect", target=Target() as target):
                error = self._order(action.actor, "mprotect", target, prot=action.word)
            case Action(verb="madvise", target=Target() as target):
                error = self._order(action.actor, "madvise", target, advice=action.word)
            case _:
                raise ValueError(f"no story of a benchmark has {action.verb}")
        if error:
            raise OSError(f"{action.actor} {action.verb}: {error}")
        return self._director.ns

    def _mmap(self, name: str, pages: int, *, advised: bool) -> str | None:
        self.nr_pages = pages
        place = {"at": FIRST_PAGE, "pages": pages, "prot": "rw", "shared": False, "over": False}
        error = self._director.order(name, "mmap", {**place, "memfd": None, "offset": 0, "huge": 0})
        everything = Target("")
        if error is None and advised and self._tables_first:
            one_each = Target("", step=PMD_PAGES)
            self._order(name, "madvise", everything, advice="nohugepage")
            self._order(name, "touch", one_each, write=False)
            self._order(name, "madvise", one_each, advice="dontneed")
        advice = "hugepage" if advised else "nohugepage"
        return error or self._order(name, "madvise", everything, advice=advice)

    def _order(self, name: str, do: str, target: Target, **what: Any) -> str | None:
        return self._director.order(name, do, {"ranges": self._ranges(target), **what})

    def _ranges(self, target: Target) -> Ranges:
        """Pages as agents are told of them: (first, how many, stride, how many times)."""
        pages = target.pages(self.nr_pages)
        if target.step is None:
            return [[FIRST_PAGE + pages.start, len(pages), 1, 1]]
        return [[FIRST_PAGE + pages.start, 1, pages.step, len(pages)]]
