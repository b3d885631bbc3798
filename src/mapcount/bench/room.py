"""How much memory may be used without disturbing others: of the machine, and of our control groups."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from mapcount.bench.story import PMD_KIB
from mapcount.live.snapshot import CannotHere

DEFAULT_KIB = 1 << 20
LEAST_KIB = 64 << 10

HEADROOM_KIB = 1 << 20
"""What is left to everybody else: 1 GiB."""


def available_kib(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """KiB that can be had: MemAvailable, or what a control group still allows us if that is less."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", (proc / "meminfo").read_text(), re.M)
    return min([int(found[1]) if found else 0, *_allowed(proc, cgroups)])


def _allowed(proc: Path, cgroups: Path) -> Iterator[int]:
    """What our group and each above it leave to us, where they have a limit."""
    for line in (proc / "self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            top, limit, usage = cgroups, "memory.max", "memory.current"
        elif controllers == "memory":
            top, limit, usage = cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        leaf = top / group.lstrip("/")
        for folder in (leaf, *leaf.parents):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                yield (int((folder / limit).read_text()) - int((folder / usage).read_text())) >> 10
            if folder == top:
                break


def check_room(needed_kib: int, available: int) -> None:
    """Raise CannotHere if so much memory would not leave HEADROOM_KIB to others."""
    if needed_kib + HEADROOM_KIB > available:
        raise CannotHere(
            f"needs {needed_kib >> 10} MiB and leaves {HEADROOM_KIB >> 10} MiB to others, but only "
            f"{max(available, 0) >> 10} MiB are available; --gib takes less"
        )


def room_for(benchmark: str, wanted_kib: int | None) -> int:
    """KiB to measure with, a multiple of the PMD size: as wanted, or 1 GiB, or less where that is not free.

    Raises CannotHere where what is wanted, or the least that makes sense, is not to be had.
    """
    copies = 2 if benchmark == "cow" else 1
    available = available_kib()
    size = wanted_kib or min(DEFAULT_KIB, max((available - HEADROOM_KIB) // copies, LEAST_KIB))
    size = max(size // PMD_KIB, 1) * PMD_KIB
    check_room(size * copies, available)
    return size
