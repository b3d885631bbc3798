"""Flags and counts of frames, and where folios begin and end."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from mapcount.conform.frames import BLOCK, Frames, words_at

HEAD, TAIL, ANON = 1 << 15, 1 << 16, 1 << 12


def folio(order: int) -> list[int]:
    """The flags of a folio's pages."""
    return [HEAD | ANON, *[TAIL | ANON] * ((1 << order) - 1)] if order else [ANON]


FLAGS = [
    *folio(0) * 3,
    *folio(0),
    *folio(2),
    *folio(3),
    *folio(4),
    *folio(0) * (BLOCK - 32),
    *folio(9),
    *folio(1),
]


@pytest.fixture
def frames(tmp_path: Path) -> Iterator[Frames]:
    """Two blocks of frames and two more, each mapped as often as its number says."""
    fds = []
    for name, words in (("flags", FLAGS), ("counts", list(range(len(FLAGS))))):
        (tmp_path / name).write_bytes(struct.pack(f"{len(words)}Q", *words))
        fds.append(os.open(tmp_path / name, os.O_RDONLY))
    yield Frames(*fds)
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize(
    ("frame", "head", "order"),
    [(0, 0, 0), (3, 3, 0), (4, 4, 2), (7, 4, 2), (8, 8, 3), (15, 8, 3), (31, 16, 4), (32, 32, 0),
     (BLOCK, BLOCK, 9), (2 * BLOCK - 1, BLOCK, 9), (2 * BLOCK + 1, 2 * BLOCK, 1)],
)  # fmt: skip
def test_where_a_folio_begins_and_ends(frames: Frames, frame: int, head: int, order: int) -> None:
    """Tails belong to the head before them; a folio ends before the next page that is no tail."""
    assert (head, order) == (frames.head(frame), frames.order(head))


def test_every_frame_in_any_order(frames: Frames) -> None:
    """Whatever was asked before, heads are the same, and counts are each frame's own."""
    backwards = [frames.head(frame) for frame in reversed(range(len(FLAGS)))][::-1]

    assert backwards == [frames.head(frame) for frame in range(len(FLAGS))]
    assert list(range(len(FLAGS))) == [frames.mapcount(frame) for frame in range(len(FLAGS))]


def test_beyond_the_end_there_are_zeroes(tmp_path: Path) -> None:
    """Frames that a file does not have are read as zeroes."""
    (tmp_path / "short").write_bytes(struct.pack("2Q", 5, 6))
    fd = os.open(tmp_path / "short", os.O_RDONLY)

    assert [6, 0, 0] == list(words_at(fd, 3, 8))
    os.close(fd)
