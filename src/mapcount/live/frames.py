"""/proc/kpageflags, kpagecount and kpagecgroup: what the kernel says of page frames, 64 bits for each.

Frames are asked about in *stretches*: consecutive ones at once, reading through what lies between when
that is shorter than another call would take.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mapcount.live.snapshot import I64, U64, Bool


class Kpf(IntEnum):
    """Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h)."""

    MMAP = 11
    ANON = 12
    SWAPBACKED = 14
    COMPOUND_HEAD = 15
    COMPOUND_TAIL = 16
    HUGE = 17
    HWPOISON = 19
    NOPAGE = 20
    KSM = 21
    THP = 22
    OFFLINE = 23
    ZERO_PAGE = 24


_SMALL_HOLE = 16
"""Frames: to read about so many costs less than another call."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """Disjoint stretches of frames, ascending, that are laid side by side."""

    start: I64
    nr: I64
    offset: I64
    """Where each one begins then."""
    place: I64
    """Where each of the stretches that were asked for begins."""

    @classmethod
    def covering(cls, start: I64, nr: I64) -> Stretches:
        """Those that hold all of the stretches asked for, which may be in any order and overlap."""
        order = np.argsort(start)
        first = start[order]
        end = np.maximum.accumulate(first + nr[order])
        opens = np.ones(len(start), np.bool_)
        opens[1:] = first[1:] > end[:-1] + _SMALL_HOLE
        closes = np.ones(len(start), np.bool_)
        closes[:-1] = opens[1:]
        begin = first[opens]
        length = end[closes] - begin
        offset: I64 = np.cumsum(length) - length
        place = np.empty(len(start), np.int64)
        place[order] = first + (offset - begin)[np.cumsum(opens) - 1]
        return cls(begin, length, offset, place)

    @property
    def total(self) -> int:
        """How many frames."""
        return int(self.nr.sum())

    @property
    def frames(self) -> I64:
        """Every frame, as they are laid side by side."""
        return each_of(self.start, self.nr)


class FrameFile:
    """One of the three files. Raises OSError when it cannot be opened. A context manager."""

    def __init__(self, path: Path, beyond: int) -> None:
        """`beyond` is what to say of frames after the last one."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._beyond = beyond

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def read(self, stretches: Stretches) -> U64:
        """The words of all frames of all stretches, side by side."""
        sizes, at = (stretches.nr * 8).tolist(), (stretches.start * 8).tolist()
        words = [os.pread(self._fd, size, offset) for size, offset in zip(sizes, at, strict=True)]
        joined = b"".join(words)
        if len(joined) < stretches.total * 8:
            filler = self._beyond.to_bytes(8, sys.byteorder)
            joined = b"".join(w + filler * ((n - len(w)) // 8) for w, n in zip(words, sizes, strict=True))
        return np.frombuffer(joined, np.uint64)

    def of(self, frames: U64) -> U64:
        """The words of single frames, in their order."""
        stretches = Stretches.covering(frames.astype(np.int64), np.ones(len(frames), np.int64))
        return self.read(stretches)[stretches.place]


class FrameFiles:
    """All three below `proc`; `cgroups` is None without control groups. A context manager."""

    def __init__(self, proc: Path) -> None:
        """Open them. Raises OSError, for want of permission above all."""
        with ExitStack() as opened:
            self.flags = opened.enter_context(FrameFile(proc / "kpageflags", beyond=1 << Kpf.NOPAGE))
            self.counts = opened.enter_context(FrameFile(proc / "kpagecount", beyond=0))
            self.cgroups: FrameFile | None = None
            with suppress(FileNotFoundError):
                self.cgroups = opened.enter_context(FrameFile(proc / "kpagecgroup", beyond=0))
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def any_of(flags: U64, *wanted: Kpf) -> Bool:
    """Which of `flags` have one of the wanted bits."""
    found: Bool = flags & np.uint64(sum(1 << flag for flag in wanted)) != 0
    return found


def each_of(start: I64, nr: I64) -> I64:
    """All numbers of the stretches [start, start + nr), stretch after stretch."""
    before: I64 = np.cumsum(nr) - nr
    return np.arange(nr.sum()) + np.repeat(start - before, nr)
