"""One address space, held open: its smaps and pagemap, certain to be of the same program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from mapcount.live.pagemap import Pagemap
from mapcount.live.processes import EXITED, ProcessDir
from mapcount.live.smaps import SmapsParser
from mapcount.live.snapshot import Region, Unreadable

TRIES = 3
NONE = "it has no address space: a kernel thread, or it has exited"
CHANGED = "it started another program while being read"


class AddressSpace:
    """What a process maps. Every failure is an `Unreadable`. A context manager."""

    def __init__(self, proc: Path, pid: int, parser: SmapsParser, page_size: int) -> None:
        """Open it. A process that starts another program just then is opened again, a few times."""
        self._parser, self._page_size = parser, page_size
        self.directory = ProcessDir(proc, pid)
        self._fds: list[int] = []
        try:
            for _ in range(TRIES):
                before = self.directory.stat()
                if not before.virtual_size:
                    raise self.directory.unreadable(NONE)
                for name in ("smaps", "pagemap"):
                    self._fds.append(self.directory.open(name))
                after = self.directory.stat()
                if after.layout == before.layout:
                    self.directory.comm = after.comm
                    return
                self._close_files()
            raise self.directory.unreadable(CHANGED)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the process."""
        self._close_files()
        self.directory.close()

    def regions(self) -> tuple[Region, ...]:
        """Its VMAs and what smaps says of each, now."""
        try:
            regions = tuple(self._parser.parse(self._smaps()))
        except OSError as error:
            raise self.directory.unreadable(error) from None
        except ValueError as error:
            raise self.directory.unreadable(str(error)) from None
        if not self.pagemap.alive:
            raise self.gone()
        return regions

    @property
    def pagemap(self) -> Pagemap:
        """Its page tables."""
        return Pagemap(self._fds[1], self._page_size)

    def gone(self) -> Unreadable:
        """Why the address space is no more, as an error to raise."""
        return self.directory.unreadable(CHANGED if self.directory.stat().virtual_size else EXITED)

    def _smaps(self) -> Iterator[bytes]:
        os.lseek(self._fds[0], 0, os.SEEK_SET)
        while chunk := os.read(self._fds[0], 1 << 16):
            yield chunk

    def _close_files(self) -> None:
        while self._fds:
            os.close(self._fds.pop())
