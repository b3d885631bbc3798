"""What the kernel says of page frames: /proc/kpageflags and /proc/kpagecount, each word read once."""

from __future__ import annotations

import os
from array import array

KPF_COMPOUND, KPF_COMPOUND_TAIL = 1 << 15 | 1 << 16, 1 << 16
BLOCK = 512
"""Frames read at once; a large folio is in one block, or begins where one begins."""


class Frames:
    """/proc/kpageflags and /proc/kpagecount, read once, large folios in blocks, else one by one."""

    def __init__(self, flags_fd: int, counts_fd: int) -> None:
        self._flags_fd, self._counts_fd = flags_fd, counts_fd
        self._flags: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        self._heads: dict[int, int] = {}

    @staticmethod
    def _word(fd: int, words: dict[int, int], frame: int, *, block: bool) -> int:
        if frame not in words:
            start, n = (frame // BLOCK * BLOCK, BLOCK) if block else (frame, 1)
            words |= zip(range(start, start + n), words_at(fd, n, start * 8), strict=True)
        return words[frame]

    def flags(self, frame: int, *, block: bool = False) -> int:
        """The frame's flags."""
        return self._word(self._flags_fd, self._flags, frame, block=block)

    def mapcount(self, frame: int) -> int:
        """How often /proc says that the frame is mapped."""
        large = bool(self.flags(frame) & KPF_COMPOUND)
        return self._word(self._counts_fd, self._counts, frame, block=large)

    def head(self, frame: int) -> int:
        """The first frame of the folio that the frame is of."""
        head = frame
        while head % BLOCK and self.flags(head, block=True) & KPF_COMPOUND_TAIL:
            head = self._heads.get(head - 1, head - 1)
        self._heads[frame] = head
        return head

    def order(self, head: int) -> int:
        """The order of the folio that begins at frame `head`."""
        end = head + 1
        if self.flags(head) & KPF_COMPOUND:
            while end % BLOCK and self.flags(end, block=True) & KPF_COMPOUND_TAIL:
                end += 1
        return (end - head).bit_length() - 1


def words_at(fd: int, n: int, at: int) -> array[int]:
    """`n` 64-bit words of a file from byte `at` on; zeros where the file ends before."""
    words = array("Q", os.pread(fd, n * 8, at))
    words.extend([0] * (n - len(words)))
    return words
