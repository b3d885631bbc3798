"""Asking about frames in stretches, and finding folios by flags alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mapcount.live.folio_bounds import heads_by_flags, orders_by_flags
from mapcount.live.frames import FrameFile, FrameFiles, Stretches, each_of
from mapcount.live.snapshot import UNKNOWN

from .fake_proc import ANON, HEAD, MMAP, NOPAGE, TAIL, write_words

STRETCHES = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60)), max_size=20)


@given(STRETCHES)
def test_stretches_hold_all_that_was_asked_for(asked: list[tuple[int, int]]) -> None:
    """They are disjoint and ascending, cover every frame asked for, and say where each stretch begins."""
    start, nr = (np.array([pair[i] for pair in asked], np.int64) for i in (0, 1))
    made = Stretches.covering(start, nr)
    frames = made.frames
    assert (np.diff(frames) > 0).all()
    assert made.total == len(frames)
    for (first, length), place in zip(asked, made.place.tolist(), strict=True):
        assert list(range(first, first + length)) == frames[place : place + length].tolist()


@given(STRETCHES)
def test_stretches_read_through_small_holes_only(asked: list[tuple[int, int]]) -> None:
    """A frame that nobody asked for is read only between two that are close."""
    start, nr = (np.array([pair[i] for pair in asked], np.int64) for i in (0, 1))
    wanted = {frame for first, length in asked for frame in range(first, first + length)}
    for frame in set(Stretches.covering(start, nr).frames.tolist()) - wanted:
        below, above = max(w for w in wanted if w < frame), min(w for w in wanted if w > frame)
        assert above - below <= 17


def test_each_number_of_some_stretches() -> None:
    """All numbers of each stretch, in the order of the stretches."""
    assert [5, 6, 7, 1, 9, 10] == each_of(np.array([5, 1, 9]), np.array([3, 1, 2])).tolist()


def test_a_file_of_words_is_read_where_it_is_asked(tmp_path: Path) -> None:
    """Single frames come back in the order asked; beyond the end there is what was agreed on."""
    write_words(tmp_path / "kpagecount", {i: 100 + i for i in range(50)})
    with FrameFile(tmp_path / "kpagecount", beyond=7) as file:
        asked = np.array([49, 3, 3, 50, 1 << 50], np.uint64)
        assert [149, 103, 103, 7, 7] == file.of(asked).tolist()
        assert [148, 149, 7, 7] == file.read(Stretches.covering(np.array([48]), np.array([4]))).tolist()
        assert [] == file.of(np.empty(0, np.uint64)).tolist()


def test_files_are_closed_when_one_is_missing(tmp_path: Path) -> None:
    """A machine without control groups has no kpagecgroup, and that is no error."""
    for name in ("kpageflags", "kpagecount"):
        write_words(tmp_path / name, {0: 0})
    with FrameFiles(tmp_path) as files:
        assert files.cgroups is None


@given(st.lists(st.integers(0, 7), min_size=1, max_size=15), st.data())
def test_folios_are_found_by_their_flags(orders: list[int], data: st.DataObject) -> None:
    """From any of its pages a folio's first page is found, and from that its order."""
    flags, folios, frame = {}, [], 128
    for order in orders:
        frame = -(-frame // (1 << order)) << order
        large = [HEAD] + [TAIL] * ((1 << order) - 1) if order else [0]
        flags |= {frame + i: MMAP | ANON | mark for i, mark in enumerate(large)}
        folios.append((frame, order))
        frame += 1 << order
    asked = [(head, data.draw(st.integers(1, (1 << order) - 1)), order) for head, order in folios if order]
    with tempfile.TemporaryDirectory() as root:
        write_words(Path(root, "kpageflags"), flags)
        with FrameFile(Path(root, "kpageflags"), beyond=NOPAGE) as file:
            heads = heads_by_flags(file, np.array([head + page for head, page, _ in asked], np.uint64))
            assert [head for head, _, _ in asked] == heads.tolist()
            assert [order for _, _, order in asked] == orders_by_flags(file, heads).tolist()


def test_a_tail_without_a_head_is_not_searched_for_ever(tmp_path: Path) -> None:
    """Pages whose folio came apart meanwhile lead nowhere, and the search ends."""
    write_words(tmp_path / "kpageflags", dict.fromkeys(range(1 << 10), TAIL))
    with FrameFile(tmp_path / "kpageflags", beyond=NOPAGE) as file:
        asked = np.array([9, 777], np.uint64)
        assert [9, 777] == heads_by_flags(file, asked).tolist()
    write_words(tmp_path / "all", {})
    with FrameFile(tmp_path / "all", beyond=TAIL) as file:
        assert [UNKNOWN] == orders_by_flags(file, np.array([0], np.uint64)).tolist()
