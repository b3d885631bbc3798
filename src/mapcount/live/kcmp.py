"""kcmp(2): do two processes have the same address space?"""

from __future__ import annotations

import ctypes
import platform

KCMP = {"x86_64": 312}
"""The call's number by machine; all newer architectures share one."""
KCMP_VM = 1

_syscall = ctypes.CDLL(None).syscall


def same_address_space(one: int, other: int) -> int | None:
    """0: the same; -1 and 1: not, and which comes first in an order of all address spaces; None: unknown.

    Needs CONFIG_KCMP and permission to trace both. The PIDs are those of our own PID namespace.
    """
    number = KCMP.get(platform.machine(), 272)
    answer = _syscall(ctypes.c_long(number), one, other, KCMP_VM, ctypes.c_long(0), ctypes.c_long(0))
    return {0: 0, 1: -1, 2: 1}.get(int(answer))
