"""Control groups' own memory statistics: /sys/fs/cgroup, version 1 and version 2.

What both versions say of a group includes the groups below it; version 1 says that in fields of their
own (`total_rss`). /proc/kpagecgroup names the group that a page is charged to by its directory's inode.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from mapcount.live.snapshot import MemoryStat

_V1 = ("total_rss", "total_mapped_file", "total_shmem", "memory.limit_in_bytes", "memory.usage_in_bytes")
_V2 = ("anon", "file_mapped", "shmem", "memory.max", "memory.current")
"""Fields of memory.stat for `MemoryStat`'s anon, file_mapped and shmem; files for limit and current."""

_V1_NO_LIMIT = 1 << 62
"""Version 1 calls the largest count of whole pages no limit, which is almost 2^63."""


def memory_hierarchy(sys: Path) -> Path | None:
    """Where the groups that memory is charged to are: the memory controller is in one hierarchy only."""
    root = sys / "fs" / "cgroup"
    if (root / "memory" / "memory.stat").exists():
        return root / "memory"
    for unified in (root, root / "unified"):
        try:
            if "memory" in (unified / "cgroup.controllers").read_text().split():
                return unified
        except OSError:
            continue
    return None


def memory_stats(root: Path) -> Iterator[MemoryStat]:
    """Every group of a hierarchy that has a memory.stat, parents first. Groups that vanish are skipped."""
    for directory, below, files in os.walk(root):
        below.sort()
        if "memory.stat" not in files:
            continue
        at = Path(directory)
        try:
            inode = at.stat().st_ino
            values = named_values(at / "memory.stat")
        except OSError:
            continue
        names = _V1 if _V1[0] in values else _V2
        anon, file_mapped, shmem = (values.get(name) for name in names[:3])
        limit, current = (_bytes(at / name) for name in names[3:])
        path = "/" + str(at.relative_to(root)).removeprefix(".")
        yield MemoryStat(path, inode, anon, file_mapped, shmem, limit, current)


def named_values(path: Path) -> Mapping[str, int]:
    """A file with a name and a number in each line: memory.stat, /proc/vmstat. Raises OSError."""
    words = (line.split() for line in path.read_text().splitlines())
    return {name: int(value) for name, value, *_ in words}


def _bytes(path: Path) -> int | None:
    """A file with one number; None for no limit, or no such file."""
    try:
        value = path.read_text().strip()
    except OSError:
        return None
    return int(value) if value.isdigit() and int(value) < _V1_NO_LIMIT else None
