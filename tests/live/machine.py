"""What live tests need of the machine; where it lacks that, they skip with the reason."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mapcount.live.bpf_memory import BpfMemory
from mapcount.live.snapshot import CannotHere


def _why_not() -> str:
    try:
        with BpfMemory():
            return ""
    except CannotHere as error:
        return str(error)


WHY_NO_BPF = _why_not()
needs_bpf = pytest.mark.skipif(bool(WHY_NO_BPF), reason=WHY_NO_BPF or "-")
"""Skips where the kernel's memory cannot be read."""


def as_nobody(code: str) -> str:
    """What a program prints in a process of its own, which gives up its privileges after the imports."""
    drop = "import os; os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)\n"
    drop += "import ctypes; ctypes.CDLL(None).prctl(4, 1)\n"  # PR_SET_DUMPABLE: its /proc is its own again
    imports = "import mapcount.live.struct_folio, mapcount.live.snapshot\n"
    done = subprocess.run(
        [sys.executable, "-c", imports + drop + code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()
