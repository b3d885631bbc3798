"""Processes that map, fork, unmap and exit as they are told: real mappings of real folios for live tests.

The first process owns one stretch of private anonymous memory; its children are forked from it. Each does one
thing at a time and answers when it is done. All of them die with the test.

    with Puppets(2 << 20) as puppets:
        puppets.fork("A")
        puppets.unmap("A", 256, 256)
        puppets.exit("A")

Run as a program this file is the first process, so that only a small interpreter of one thread forks.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
from types import TracebackType

PAGE = mmap.PAGESIZE
FIRST = "P"
PR_SET_PDEATHSIG = 1


class Puppets:
    """The first process, and those that it forked."""

    def __init__(self, size: int, *, huge: bool = True) -> None:
        """`size` bytes, aligned to themselves and written; huge: as large folios as the kernel likes."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(size), str(int(huge))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._hear()

    def frames(self, who: str = FIRST) -> list[int]:
        """The frame behind each page of the memory, as the process sees it; 0 for none."""
        return [int(word) for word in self._tell(who, "frames").split()]

    def fork(self, child: str) -> None:
        """The first process forks, and the new one is called `child`."""
        self._tell(FIRST, f"fork {child}")

    def unmap(self, who: str, first: int, nr: int) -> None:
        """Unmap pages."""
        self._tell(who, f"unmap {first} {nr}")

    def protect(self, who: str, first: int, nr: int) -> None:
        """Make pages read-only: a huge page that is not all of them is then mapped by PTEs."""
        self._tell(who, f"protect {first} {nr}")

    def write(self, who: str, page: int) -> None:
        """Write to a page."""
        self._tell(who, f"write {page}")

    def exit(self, who: str) -> None:
        """The process exits, and is gone when this returns."""
        self._tell(who, "exit")

    def __enter__(self) -> Puppets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _tell(self, who: str, what: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(f"{who} {what}\n")
        return self._hear()

    def _hear(self) -> str:
        assert self._process.stdout
        answer = self._process.stdout.readline()
        assert answer.startswith("ok"), f"the puppet said {answer!r}"
        return answer.removeprefix("ok")


# -- in the processes -----------------------------------------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
for call in (libc.munmap, libc.madvise, libc.mprotect):
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int][: 2 if call is libc.munmap else 3]


def _check(result: int | None) -> int:
    if result is None or result < 0 or result == (1 << 64) - 1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class _Puppet:
    """One process and its children, each behind a pair of pipes."""

    def __init__(self, address: int, size: int) -> None:
        self.address, self.size = address, size
        self.children: dict[str, tuple[int, int, int]] = {}

    def serve(self, orders: int, answers: int) -> None:
        """Do as told until the orders end."""
        with os.fdopen(orders, encoding="ascii") as lines:
            for line in lines:
                who, verb, *words = line.split()
                os.write(answers, self.answer(who, verb, words).encode() + b"\n")

    def answer(self, who: str, verb: str, words: list[str]) -> str:
        """Do one thing, or have a child do it."""
        if who in self.children:
            pid, orders, answers = self.children[who]
            os.write(orders, f"{FIRST} {verb} {' '.join(words)}\n".encode())
            if verb == "exit":
                os.waitpid(pid, 0)
                os.close(orders)
                os.close(answers)
                del self.children[who]
                return "ok"
            said = b""
            while not said.endswith(b"\n"):
                said += os.read(answers, 1 << 16)
            return said.decode().strip()
        return getattr(self, f"do_{verb}")(*words) or "ok"

    def do_fork(self, name: str) -> None:
        """A child that does as told."""
        (their_orders, orders), (answers, their_answers) = os.pipe(), os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            os.close(orders)
            os.close(answers)
            try:
                _Puppet(self.address, self.size).serve(their_orders, their_answers)
            finally:
                os._exit(0)
        os.close(their_orders)
        os.close(their_answers)
        self.children[name] = (pid, orders, answers)

    def do_unmap(self, first: str, nr: str) -> None:
        """Unmap pages."""
        _check(libc.munmap(self.address + int(first) * PAGE, int(nr) * PAGE))

    def do_protect(self, first: str, nr: str) -> None:
        """Make pages read-only."""
        _check(libc.mprotect(self.address + int(first) * PAGE, int(nr) * PAGE, mmap.PROT_READ))

    def do_write(self, page: str) -> None:
        """Write to a page."""
        ctypes.memset(self.address + int(page) * PAGE, 1, 1)

    def do_exit(self) -> None:
        """Go."""
        os._exit(0)

    def do_frames(self) -> str:
        """What pagemap says."""
        with open("/proc/self/pagemap", "rb") as pagemap:
            pagemap.seek(self.address // PAGE * 8)
            data = pagemap.read(self.size // PAGE * 8)
        words = (int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8))
        return "ok " + " ".join(str(word & ((1 << 55) - 1) if word >> 63 else 0) for word in words)


def _main(size: int, huge: bool) -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    both = _check(
        libc.mmap(
            None, 2 * size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
        )
    )
    address = -(-both // size) * size
    _check(libc.madvise(address, size, mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE))
    ctypes.memset(address, 1, size)
    os.write(1, b"ok\n")
    _Puppet(address, size).serve(0, 1)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2] == "1")
