"""The program that plays one process of a scenario: it does to its own memory what it is told.

It runs as `python -I -S agent.py STATE` in a fresh interpreter, uses the standard library only, and so stays
small. Orders come over a socket, one JSON object a packet, and each is answered by one: `{}`, or
`{"errno": "EINVAL"}`. When the other end closes, whoever held it is gone and the agent ends: so none outlives
the director, whatever happens to that. A single order that takes longer than PATIENCE ends it as well.

Memory under test lies at the addresses that the director names, far from where an interpreter keeps its own.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENCE = 60
"""Seconds that one order may take."""
LONGEST = 1 << 16
"""Bytes of the longest order."""

PROT = {"none": 0, "r": 1, "rw": 3, "rx": 5, "rwx": 7}
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE = 1, 2, 0x10, 0x20, 0x100000
MAP_HUGETLB, MAP_HUGE_SHIFT = 0x40000, 26
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2
ADVICE = {
    "dontneed": 4, "free": 8, "hugepage": 14, "nohugepage": 15, "cold": 20, "pageout": 21, "collapse": 25,
}  # fmt: skip
PR_SET_THP_DISABLE = 41
IO_URING_SETUP, IO_URING_REGISTER = 425, 427
REGISTER_BUFFERS2, REGISTER_BUFFERS_UPDATE, SPARSE = 15, 16, 1
MOST_PINNED = 1 << 14
"""Pages that one ring can hold."""

Ranges = list[list[int]]
"""Stretches of memory, each (first page, pages, stride in pages, how many of them)."""

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mremap.restype = ctypes.c_void_p
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
libc.mprotect.argtypes = libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = libc.mlock.argtypes = libc.munlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def checked(result: int | None) -> int:
    """The result of a C function. Raises OSError if it says -1 (as a pointer: all ones)."""
    value = result or 0
    if value in (-1, ctypes.c_size_t(-1).value):
        raise OSError(ctypes.get_errno(), "")
    return value


def stretches(ranges: Ranges) -> Iterator[tuple[int, int]]:
    """(address, bytes) of each stretch, in order."""
    for first, pages, stride, times in ranges:
        for i in range(times):
            yield (first + i * stride) * PAGE, pages * PAGE


class Pins:
    """Long-term pins on single pages: buffers registered with io_uring, one page each."""

    def __init__(self, ring: int = -1, held: dict[int, int] | None = None) -> None:
        self.ring = ring
        self.held = held or {}
        """Page number -> which buffer of the ring."""

    def pin(self, ranges: Ranges) -> None:
        """Pin every page. Raises OSError; pages pinned before that stay pinned."""
        if self.ring < 0:
            parameters = (ctypes.c_uint32 * 30)()
            self.ring = checked(libc.syscall(IO_URING_SETUP, 1, ctypes.byref(parameters)))
            sparse = (ctypes.c_uint32 * 8)(MOST_PINNED, SPARSE)
            self._register(REGISTER_BUFFERS2, sparse, ctypes.sizeof(sparse))
        for address, size in stretches(ranges):
            for page in range(address // PAGE, (address + size) // PAGE):
                taken = set(self.held.values())
                slot = next(i for i in range(MOST_PINNED) if i not in taken)
                self._update(slot, page * PAGE, PAGE)
                self.held[page] = slot

    def unpin(self, ranges: Ranges) -> None:
        """Release pages."""
        for address, size in stretches(ranges):
            for page in range(address // PAGE, (address + size) // PAGE):
                self._update(self.held.pop(page), 0, 0)

    def release(self) -> None:
        """Release all of them now; closing a ring would do it some time later."""
        self.unpin([[page, 1, 1, 1] for page in list(self.held)])

    def forget(self) -> None:
        """In a child: the pins are the parent's."""
        if self.ring >= 0:
            os.close(self.ring)
        self.ring, self.held = -1, {}

    def _update(self, slot: int, address: int, size: int) -> None:
        vector = (ctypes.c_uint64 * 2)(address, size)
        update = (ctypes.c_uint64 * 4)(slot, ctypes.addressof(vector), 0, 1)
        self._register(REGISTER_BUFFERS_UPDATE, update, ctypes.sizeof(update))

    def _register(self, what: int, argument: ctypes.Array[Any], size: int) -> None:
        checked(libc.syscall(IO_URING_REGISTER, self.ring, what, ctypes.byref(argument), size))


class Agent:
    """One process and what it holds besides its memory."""

    def __init__(self, control: socket.socket, memfds: dict[str, int], pins: Pins) -> None:
        self.control = control
        self.memfds = memfds
        """Name -> descriptor; exec closes them."""
        self.pins = pins

    def serve(self) -> NoReturn:
        """Say who we are, then do as told until the other end closes."""
        self.answer({"pid": os.getpid()})
        while True:
            packet, given, _, _ = socket.recv_fds(self.control, LONGEST, 4)
            if not packet:
                os._exit(0)
            signal.alarm(PATIENCE)
            order = json.loads(packet)
            try:
                answer = getattr(self, f"do_{order.pop('do')}")(*given, **order) or {}
            except OSError as error:
                answer = {"errno": errno.errorcode.get(error.errno or 0, str(error))}
            except MemoryError:  # the interpreter's own: ulimit -v
                answer = {"errno": "ENOMEM"}
            signal.alarm(0)
            self.answer(answer)

    def answer(self, what: dict[str, Any]) -> None:
        """Send an answer; end if nobody is there to read it."""
        try:
            self.control.send(json.dumps(what).encode())
        except OSError:
            os._exit(0)

    def do_mmap(
        self,
        given: int = -1,
        *,
        at: int,
        pages: int,
        prot: str,
        shared: bool,
        memfd: str | None,
        offset: int,
        huge: int,
        over: bool,
    ) -> None:
        """Map `pages` at page number `at`: the file given, a memfd we have, or anonymous memory."""
        file = self.memfds[memfd] if memfd else given
        flags = (MAP_SHARED if shared else MAP_PRIVATE) | (MAP_FIXED if over else MAP_FIXED_NOREPLACE)
        flags |= MAP_ANONYMOUS if file < 0 else 0
        flags |= MAP_HUGETLB | huge << MAP_HUGE_SHIFT if huge else 0
        try:
            checked(libc.mmap(at * PAGE, pages * PAGE, PROT[prot], flags, file, offset * PAGE))
        finally:
            if given >= 0:
                os.close(given)

    def do_memfd(self, given: int = -1, *, name: str, pages: int) -> None:
        """Create a memfd, or take the one given; make it at least so long."""
        if name not in self.memfds:
            self.memfds[name] = given if given >= 0 else os.memfd_create(name)
        if os.fstat(self.memfds[name]).st_size < pages * PAGE:
            os.ftruncate(self.memfds[name], pages * PAGE)

    def do_lend(self, *, name: str) -> dict[str, Any]:
        """Say which descriptor is the memfd, so that the director can open it for somebody else."""
        return {"fd": self.memfds[name]}

    def do_munmap(self, *, ranges: Ranges) -> None:
        """Unmap pages."""
        for address, size in stretches(ranges):
            checked(libc.munmap(address, size))

    def do_touch(self, *, ranges: Ranges, write: bool) -> None:
        """Read or write one byte of each page, in order of addresses."""
        for address, size in stretches(ranges):
            memory = (ctypes.c_char * size).from_address(address)
            if write:
                memory[::PAGE] = [b"\1"] * (size // PAGE)
            else:
                memory[::PAGE]

    def do_mprotect(self, *, ranges: Ranges, prot: str) -> None:
        """Change the protection of pages."""
        for address, size in stretches(ranges):
            checked(libc.mprotect(address, size, PROT[prot]))

    def do_madvise(self, *, ranges: Ranges, advice: str) -> None:
        """Tell the kernel what to do with pages."""
        for address, size in stretches(ranges):
            checked(libc.madvise(address, size, ADVICE[advice]))

    def do_mlock(self, *, ranges: Ranges, lock: bool) -> None:
        """Lock or unlock pages."""
        for address, size in stretches(ranges):
            checked((libc.mlock if lock else libc.munlock)(address, size))

    def do_mremap(self, *, at: int, pages: int, to: int) -> None:
        """Move pages to page number `to`."""
        size = pages * PAGE
        checked(libc.mremap(at * PAGE, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to * PAGE))

    def do_pin(self, *, ranges: Ranges, hold: bool) -> None:
        """Pin or unpin pages."""
        (self.pins.pin if hold else self.pins.unpin)(ranges)

    def do_drain(self) -> None:
        """Let folios on their way to an LRU list arrive there: MADV_COLD first empties this CPU's batches."""
        page = checked(libc.mmap(None, PAGE, PROT["rw"], MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        checked(libc.madvise(page, PAGE, ADVICE["cold"]))
        checked(libc.munmap(page, PAGE))

    def do_fork(self, given: int) -> None:
        """Fork. The child serves whoever holds the other end of the socket given."""
        if os.fork() == 0:
            signal.alarm(0)
            self.control.close()
            self.control = socket.socket(fileno=given)
            self.pins.forget()
            self.serve()
        os.close(given)

    def do_exec(self) -> NoReturn:
        """Begin anew in a new address space. Pins stay, memfds are closed."""
        kept = {"control": self.control.detach(), "ring": self.pins.ring}
        for fd in kept.values():
            if fd >= 0:
                os.set_inheritable(fd, True)
        state = json.dumps({**kept, "held": self.pins.held})
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, state])

    def do_exit(self) -> NoReturn:
        """End. The other end sees the socket close once the memory is gone."""
        self.pins.release()
        os._exit(0)


def main(kind: type[Agent] = Agent) -> NoReturn:
    """Be the agent that the only argument describes: its socket, its CPU, and pins from before an exec."""
    state = json.loads(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the director decides when it is over
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would be of no use to anybody
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped at once
    if state.get("cpu") is not None:
        os.sched_setaffinity(0, {state["cpu"]})
    libc.prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)
    control = socket.socket(fileno=state["control"])
    control.set_inheritable(False)
    held = {int(page): slot for page, slot in state.get("held", {}).items()}
    kind(control, {}, Pins(state.get("ring", -1), held)).serve()


if __name__ == "__main__":
    main()
