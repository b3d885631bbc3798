"""A process of our own for live tests: it does what it is told, and ends when we do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

PROGRAM = r"""
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
PAGE, PMD = 4096, 2 << 20
KEEP = []

def place(size):
    "Where `size` bytes at a multiple of a PMD are free; between PROT_NONE, so that no VMA is merged."
    start = libc.mmap(None, size + 3 * PMD, 0, 0x4022, -1, 0)
    return -(-(start + PMD) // PMD) * PMD

def anon(size, huge=False, fill=True):
    "Private anonymous memory."
    at = libc.mmap(place(size), size, 3, 0x4032, -1, 0)  # MAP_NORESERVE
    libc.madvise(at, size, 14 if huge else 15)
    if fill:
        ctypes.memset(at, 1, size)
    return at

def shared(fd, size, at=None, offset=0):
    at = libc.mmap(at or place(size), size, 3, 0x11, fd, offset)
    return at

def by_pte(at, size=PMD):
    "Let PTEs map what a PMD maps."
    libc.mprotect(at + size - PAGE, PAGE, 1)
    libc.mprotect(at + size - PAGE, PAGE, 3)

def fork(code="None"):
    "A child that runs some code and then waits; returns when it waits. It ends with us."
    us, (ready, tell) = os.getpid(), os.pipe()
    pid = os.fork()
    if pid == 0:
        libc.prctl(1, signal.SIGKILL)
        if os.getppid() == us:
            exec(code, globals())
            os.write(tell, b".")
            signal.pause()
        os._exit(0)
    os.read(ready, 1)
    os.close(ready), os.close(tell)
    return pid

def reply(value):
    sys.stdout.write(repr(value) + "\n")
    sys.stdout.flush()

for line in sys.stdin:
    code = eval(line)
    try:
        reply(eval(code))
    except SyntaxError:
        exec(code)
        reply(None)
"""


class Child:
    """A small Python that evaluates what `do` is given, in a namespace with helpers to map memory."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            process_group=0,
        )
        self.pid = self._process.pid
        self.do("None")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def do(self, code: str) -> Any:
        """Evaluate an expression, or run statements, in the child. The child's mistakes are an EOFError."""
        assert self._process.stdout is not None
        self.tell(code)
        answer = self._process.stdout.readline()
        if not answer:
            raise EOFError(f"the child ended at {code!r}")
        return eval(answer)

    def tell(self, code: str) -> None:
        """The same without waiting for an answer: for what gives none."""
        assert self._process.stdin is not None
        self._process.stdin.write(repr(code) + "\n")

    def end(self) -> None:
        """Kill it and those that it forked, and wait until it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.communicate()
