"""/proc/kpageflags, kpagecount and kpagecgroup: what the kernel says of page frames, 64 bits for each.

Frames are asked about in *stretches*: consecutive ones at once, reading through what lies between when
that is shorter than another call would take.
"""

from __future__ import annotations

import os
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
    """Disjoint stretches of frames, ascending, and where each begins when they are laid side by side."""

    start: I64
    nr: I64
    offset: I64

    @classmethod
    def covering(cls, start: I64, nr: I64) -> Stretches:
        """Those that hold all of the given ones, which may be in any order and overlap."""
        if len(start) == 0:
            return cls(start, nr, start)
        order = np.argsort(start, kind="stable")
        start = start[order]
        end = np.maximum.accumulate(start + nr[order])
        apart = np.flatnonzero(start[1:] > end[:-1] + _SMALL_HOLE)
        first, last = np.append(0, apart + 1), np.append(apart, len(start) - 1)
        nr = end[last] - start[first]
        return cls(start[first], nr, np.cumsum(nr) - nr)

    @property
    def total(self) -> int:
        """How many frames."""
        return int(self.nr.sum())

    def frames(self, places: I64) -> I64:
        """The frame at each place."""
        at = np.searchsorted(self.offset, places, side="right") - 1
        return places - self.offset[at] + self.start[at]

    def places(self, frames: I64) -> I64:
        """Where each of `frames` stands. All of them must be covered."""
        at = np.searchsorted(self.start, frames, side="right") - 1
        return frames - self.start[at] + self.offset[at]


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
        words = np.empty(stretches.total, np.uint64)
        room = words.data.cast("B")
        for start, nr, offset in zip(
            stretches.start.tolist(), stretches.nr.tolist(), stretches.offset.tolist(), strict=True
        ):
            done, stop = offset * 8, (offset + nr) * 8
            while done < stop:
                got = os.preadv(self._fd, [room[done:stop]], start * 8 + done - offset * 8)
                if got == 0:
                    words[done // 8 : offset + nr] = self._beyond
                    break
                done += got
        return words

    def of(self, frames: U64) -> U64:
        """The words of single frames, in their order."""
        at = frames.astype(np.int64)
        stretches = Stretches.covering(at, np.ones(len(at), np.int64))
        return self.read(stretches)[stretches.places(at)] if len(at) else np.empty(0, np.uint64)


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
