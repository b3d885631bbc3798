"""An agent (`mapcount.conform.agent`) that says how long it took to do what it was told.

It runs as `python -I -S timed_agent.py STATE`. The clock is read by the process that makes the system call,
right before and after it, so starting Python and talking to the director are not counted. It counts the time
on the CPU: what other processes do on it meanwhile does not matter.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from mapcount.conform.agent import PAGE, Agent, Ranges, main, stretches


class TimedAgent(Agent):
    """One more order, `timed`, with another order in it; and exits that can be timed by others."""

    def serve(self) -> NoReturn:
        """Do as told. Children stay until they are waited for, so that their clocks can be read."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        super().serve()

    def do_timed(self, *given: int, order: dict[str, Any]) -> dict[str, Any]:
        """Do what the order says; the answer has the nanoseconds."""
        do = getattr(self, f"do_{order.pop('do')}")
        start = time.thread_time_ns()
        answer = do(*given, **order)
        return {**(answer or {}), "ns": time.thread_time_ns() - start}

    def do_touch(self, *, ranges: Ranges, write: bool) -> None:
        """Read or write one byte of each page, in a loop that is in C."""
        for address, size in stretches(ranges):
            memory = memoryview((ctypes.c_char * size).from_address(address)).cast("B")[::PAGE]
            if write:
                memory[:] = bytes(len(memory))
            else:
                bytes(memory)

    def do_exit(self) -> NoReturn:
        """Say how much time on the CPU was used so far, and end."""
        self.answer({"ns": time.process_time_ns()})
        os._exit(0)


def prepare() -> None:
    """Keep a new child from pushing its parent off the CPU within fork(); go first if memory runs out."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    prepare()
    main(TimedAgent)
