"""bpf(2), as little of it as is needed: one array in memory shared with a program, and running that program.

A program is assembled by hand from instructions of 8 bytes (`insn`), so no compiler and no library is
needed. It is of type SYSCALL (Linux 5.14 and later): nothing triggers it but `Program.run`. Registers are
named by their numbers: 1-5 arguments of a call, 0 its result, 6-9 kept across calls.

Linux wants CAP_BPF and CAP_PERFMON (root has both) for programs that read kernel memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import struct
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280}
"""bpf(2) by machine, as `uname -m` calls it."""

MAP_CREATE, PROG_LOAD, PROG_TEST_RUN = 0, 5, 10
MAP_TYPE_ARRAY, PROG_TYPE_SYSCALL = 2, 31
F_MMAPABLE, F_SLEEPABLE = 1 << 10, 1 << 4

GET_CURRENT_TASK, PROBE_READ_KERNEL = 35, 113
"""Functions of the kernel that a program may call."""

MOV, ADD, MUL, AND, LSH = 0xB7, 0x07, 0x27, 0x57, 0x67
"""64-bit arithmetic with a constant; `| REG` with another register."""
JGE, JA, CALL, EXIT, LOAD_MAP_VALUE = 0x35, 0x05, 0x85, 0x95, 0x18
LDX_W, LDX_DW, STX_W, STX_DW = 0x61, 0x79, 0x63, 0x7B
"""Load or store 4 or 8 bytes at a register plus an offset."""
REG = 0x08
PSEUDO_MAP_VALUE = 2
"""Source of LOAD_MAP_VALUE: the constant is a map's file descriptor, and its value's address is meant."""


TRIES = 10
"""How often to try again what a signal got in the way of."""

_LIBC = ctypes.CDLL(None, use_errno=True)


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One instruction: `dst` and `src` are registers, `off` a jump or an offset, `imm` a constant."""
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


class BpfError(OSError):
    """The kernel refused; `errno` says how and the message what was tried."""


def _bpf(command: int, attributes: bytes, what: str) -> int:
    number = SYSCALL_NUMBERS.get(platform.machine()) if sys.maxsize >= 1 << 32 else None
    if number is None:
        what = f"the number of bpf(2) on {platform.machine()} ({sys.maxsize.bit_length() + 1} bits)"
        raise BpfError(errno.ENOSYS, f"{what} is not known here")
    attr = ctypes.create_string_buffer(attributes, len(attributes))
    code = 0
    for _ in range(TRIES):
        result = int(_LIBC.syscall(number, command, attr, len(attributes)))
        if result >= 0:
            return result
        code = ctypes.get_errno()
        if code not in (errno.EINTR, errno.EAGAIN):
            break
    raise BpfError(code, f"{what}: {os.strerror(code)}")


class SharedArray:
    """Bytes that a program and this process both see, until closed."""

    def __init__(self, size: int) -> None:
        """Raises BpfError."""
        attributes = struct.pack("<5I", MAP_TYPE_ARRAY, 4, size, 1, F_MMAPABLE)
        self.fd = _bpf(MAP_CREATE, attributes, "creating a map")
        try:
            self._memory = mmap.mmap(self.fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        except BaseException:
            os.close(self.fd)
            raise
        self.bytes: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)

    def close(self) -> None:
        """Give it back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.bytes = np.empty(0, np.uint8)
            with contextlib.suppress(BufferError):  # somebody still looks at it: goes when they do
                self._memory.close()


class Program:
    """A loaded program, until closed."""

    def __init__(self, instructions: Sequence[bytes], name: str) -> None:
        """Raises BpfError. The licence is part of the program: some functions are not for all."""
        code = b"".join(instructions)
        text = ctypes.create_string_buffer(code, len(code))
        license_ = ctypes.create_string_buffer(b"Dual MIT/GPL")
        attributes = struct.pack(
            "<2I2Q2IQ2I16s",
            PROG_TYPE_SYSCALL,
            len(code) // 8,
            ctypes.addressof(text),
            ctypes.addressof(license_),
            0,
            0,
            0,
            0,
            F_SLEEPABLE,
            name.encode(),
        )
        self.fd = _bpf(PROG_LOAD, attributes, "loading a program")
        self._run = struct.pack("<16I", self.fd, *[0] * 15)

    def run(self) -> None:
        """Run it once, in this thread, to its end. Raises BpfError."""
        _bpf(PROG_TEST_RUN, self._run, "running a program")

    def close(self) -> None:
        """Give it back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
