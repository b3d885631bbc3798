"""kcmp(2): do two processes have the same address space?"""

from __future__ import annotations

import ctypes
import platform

KCMP = {"x86_64": 312}
"""The call's number by machine; all newer architectures share one."""
KCMP_VM = 1


def same_address_space(one: int, other: int) -> int | None:
    """0: the same; -1 and 1: not, and which comes first in an order of all address spaces; None: unknown.

    Needs CONFIG_KCMP and permission to trace both. The PIDs are those of our own PID namespace.
    """
    number = KCMP.get(platform.machine(), 272)
    answer = ctypes.CDLL(None).syscall(
        ctypes.c_long(number), ctypes.c_int(one), ctypes.c_int(other), ctypes.c_int(KCMP_VM), 0, 0
    )
    return {0: 0, 1: -1, 2: 1}.get(int(answer))
