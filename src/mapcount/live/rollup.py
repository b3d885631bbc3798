"""/proc/PID/smaps_rollup: what smaps says of a process, added up by the kernel.

It costs a small part of smaps, which has to be printed and read region by region. Pss is added up before it
is rounded, so it may be larger than the sum over smaps, by less than a KiB for each region.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mapcount.live.processes import ProcessDir


def read_rollup(proc: Path, pid: int) -> Mapping[str, int]:
    """Its fields in KiB. Raises Unreadable."""
    with ProcessDir(proc, pid) as directory:
        raw = directory.read("smaps_rollup")
        try:
            return parse_rollup(raw)
        except ValueError as error:
            raise directory.unreadable(str(error)) from None


def parse_rollup(raw: bytes) -> Mapping[str, int]:
    """The fields of a file: its first line is an address range. Raises ValueError if it is not one."""
    words = (line.split() for line in raw.splitlines()[1:])
    rows = [row for row in words if row[2:] == [b"kB"] and row[1].isdigit()]
    fields = {row[0].decode("ascii", "replace").rstrip(":"): int(row[1]) for row in rows}
    if "Rss" not in fields:
        raise ValueError(f"not smaps_rollup: {raw[:60]!r}")
    return fields
