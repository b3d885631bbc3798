"""The running kernel's memory by BPF: a tiny program copies pieces of it into an array that we see too."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mapcount.live import bpf
from mapcount.live.bpf import insn
from mapcount.live.kernel_memory import MOST_BYTES, check_size
from mapcount.live.snapshot import U64, Bool, CannotHere

LOCKDOWN = Path("/sys/kernel/security/lockdown")
"""Which lockdown mode is on, in brackets."""

# The array that BpfMemory and its program share, in bytes.
_BATCH = 1024
"""Pieces of one run; the kernel's verifier walks through them one by one, so not too many."""
_DATA_BYTES = 1 << 18
"""Room for what one run copies (a power of two): small enough to stay in a cache."""
_TASK, _COUNT, _SIZE = 0, 8, 12
_ADDRESSES = 64
_RESULTS = _ADDRESSES + 8 * _BATCH
_DATA = _RESULTS + 4 * _BATCH
_ARRAY_BYTES = _DATA + _DATA_BYTES + MOST_BYTES


def _copy_pieces(array_fd: int) -> list[bytes]:
    """The program: copy _COUNT pieces of _SIZE bytes from _ADDRESSES to _DATA; _RESULTS says how it went.

    Registers: 6 the array, 7 count, 8 size, 9 the number of the piece at hand. The bounds checks are for the
    kernel, which accepts only what it can prove to stay inside of the array.
    """
    one_piece = [
        insn(bpf.MOV | bpf.REG, 3, 9),  # source: addresses[number]
        insn(bpf.LSH, 3, imm=3),
        insn(bpf.ADD | bpf.REG, 3, 6),
        insn(bpf.LDX_DW, 3, 3, off=_ADDRESSES),
        insn(bpf.MOV | bpf.REG, 2, 8),  # size
        insn(bpf.MOV | bpf.REG, 1, 9),  # destination: data + number * size
        insn(bpf.MUL | bpf.REG, 1, 8),
        insn(bpf.AND, 1, imm=_DATA_BYTES - 1),
        insn(bpf.ADD | bpf.REG, 1, 6),
        insn(bpf.ADD, 1, imm=_DATA),
        insn(bpf.CALL, imm=bpf.PROBE_READ_KERNEL),
        insn(bpf.MOV | bpf.REG, 1, 9),  # results[number] = 0, or what is wrong
        insn(bpf.LSH, 1, imm=2),
        insn(bpf.ADD | bpf.REG, 1, 6),
        insn(bpf.STX_W, 1, 0, off=_RESULTS),
        insn(bpf.ADD, 9, imm=1),
    ]
    length = len(one_piece)
    return [
        insn(bpf.LOAD_MAP_VALUE, 6, bpf.PSEUDO_MAP_VALUE, imm=array_fd) + insn(0),
        insn(bpf.CALL, imm=bpf.GET_CURRENT_TASK),
        insn(bpf.STX_DW, 6, 0, off=_TASK),
        insn(bpf.LDX_W, 7, 6, off=_COUNT),
        insn(bpf.LDX_W, 8, 6, off=_SIZE),
        insn(bpf.MOV, 9, imm=0),
        insn(bpf.JGE, 8, off=length + 3, imm=MOST_BYTES + 1),  # too large: to the end
        insn(bpf.JGE | bpf.REG, 9, 7, off=length + 2),  # all done: to the end
        insn(bpf.JGE, 9, off=length + 1, imm=_BATCH),
        *one_piece,
        insn(bpf.JA, off=-(length + 3)),  # to "all done?"
        insn(bpf.MOV, 0, imm=0),
        insn(bpf.EXIT),
    ]


class BpfMemory:
    """The running kernel's memory, by BPF. For one thread at a time, and not for children forked from it."""

    def __init__(self) -> None:
        """Raises CannotHere, saying what the kernel objects to."""
        try:
            with contextlib.ExitStack() as opened:
                self._array = bpf.SharedArray(_ARRAY_BYTES)
                opened.callback(self._array.close)
                self._program = bpf.Program(_copy_pieces(self._array.fd), "mapcount")
                opened.callback(self._program.close)
                self._opened = opened.pop_all()
        except OSError as error:
            raise CannotHere(_why_no_bpf(error)) from None

    def read(self, addresses: U64, size: int) -> tuple[NDArray[np.uint8], Bool]:
        """See KernelMemory.read."""
        check_size(size)
        found = np.empty((len(addresses), size), np.uint8)
        ok = np.empty(len(addresses), np.bool_)
        array = self._array.bytes
        batch = min(_BATCH, _DATA_BYTES // max(size, 1))
        for start in range(0, len(addresses), batch):
            part = addresses[start : start + batch]
            n = len(part)
            array[_COUNT : _SIZE + 4].view(np.uint32)[:] = n, size
            array[_ADDRESSES : _ADDRESSES + 8 * n].view(np.uint64)[:] = part
            self._program.run()
            found[start : start + n] = array[_DATA : _DATA + n * size].reshape(n, size)
            ok[start : start + n] = array[_RESULTS : _RESULTS + 4 * n].view(np.int32) == 0
        return found, ok

    release = os.uname().release
    live = True

    def current_task(self) -> int:
        """See KernelMemory.current_task."""
        self._array.bytes[_COUNT : _SIZE + 4] = 0
        self._program.run()
        return int(self._array.bytes[_TASK : _TASK + 8].view(np.uint64)[0])

    def vmcoreinfo(self) -> None:
        """See KernelMemory.vmcoreinfo: its address is not known here."""

    def close(self) -> None:
        """Give the program and the array back to the kernel."""
        self._opened.close()

    def __enter__(self) -> BpfMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _why_no_bpf(error: OSError) -> str:
    """What the kernel objects to, and what would help."""
    try:
        locked = "[confidentiality]" in LOCKDOWN.read_text()
    except OSError:
        locked = False
    machines = " or ".join(bpf.SYSCALL_NUMBERS)
    if locked:
        help_ = (
            "the kernel is locked down, so nobody may read its memory; lockdown=integrity or less allows it"
        )
    elif error.errno == errno.ENOSYS:
        help_ = f"it needs bpf(2): CONFIG_BPF_SYSCALL, on {machines}"
    elif error.errno in (errno.EPERM, errno.EACCES):
        help_ = "it needs root, or CAP_BPF and CAP_PERFMON, in no container that forbids bpf(2)"
    elif error.errno == errno.EINVAL:
        help_ = "it needs Linux 5.14 or later"
    else:
        help_ = "is it short of memory?" if error.errno == errno.ENOMEM else "that was not expected"
    return f"BPF: {error.strerror}; {help_}"
