"""smaps_rollup: the kernel's own sums."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mapcount.live.rollup import parse_rollup, read_rollup
from mapcount.live.snapshot import Unreadable

FILE = b"""\
55d0c0000000-7ffd0e9f2000 ---p 00000000 00:00 0                          [rollup]
Rss:                1908 kB
Pss:                 180 kB
Private_Clean:         8 kB
Private_Dirty:       112 kB
"""


def test_fields_in_kib() -> None:
    """Each field of the file with its number; the address range is none."""
    expected = {"Rss": 1908, "Pss": 180, "Private_Clean": 8, "Private_Dirty": 112}
    assert expected == parse_rollup(FILE)


@pytest.mark.parametrize("raw", [b"", b"\n", b"nothing\nof the kind\n", FILE[:90]])
def test_what_is_no_rollup_is_said(raw: bytes) -> None:
    """A file that is something else is refused."""
    with pytest.raises(ValueError, match="not smaps_rollup"):
        parse_rollup(raw)


def test_a_process_is_read() -> None:
    """Our own says at least what this interpreter needs, and the sizes are in order."""
    said = read_rollup(Path("/proc"), os.getpid())
    assert 1000 < said["Rss"]
    assert said["Private_Clean"] + said["Private_Dirty"] <= said["Pss"] <= said["Rss"]


def test_who_is_not_there_is_unreadable(tmp_path: Path) -> None:
    """A process that does not exist is Unreadable, as everywhere."""
    with pytest.raises(Unreadable, match="exited"):
        read_rollup(tmp_path, 7)
