"""What the whole machine is set to, and counts: /proc/meminfo, and the settings of transparent huge pages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def meminfo(proc: Path) -> Mapping[str, int]:
    """/proc/meminfo by field, in KiB; fields that count something else (HugePages_Total) are left out."""
    words = (line.split() for line in (proc / "meminfo").read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in words if row[2:] == ["kB"]}


def huge_page_settings(sys: Path) -> Mapping[str, str]:
    """Every file below transparent_hugepage that is not a statistic, by its path; none without THP."""
    root = sys / "kernel" / "mm" / "transparent_hugepage"
    found: dict[str, str] = {}
    for directory, below, files in os.walk(root):
        below[:] = sorted(name for name in below if name != "stats")
        for name in sorted(files):
            path = Path(directory, name)
            try:
                found[str(path.relative_to(root))] = path.read_text().strip()
            except (OSError, UnicodeDecodeError):
                continue  # written to only, or gone
    return found


def hidepid(proc: Path) -> bool:
    """Are other users' processes hidden from all but root?"""
    try:
        mounts = (proc / "self" / "mounts").read_text().splitlines()
    except OSError:
        return False
    options = [words[3].split(",") for line in mounts if (words := line.split())[1] == str(proc)]
    said = [option for option in (options or [[]])[-1] if option.startswith("hidepid=")]
    return bool(said) and said[0] not in ("hidepid=0", "hidepid=off")
