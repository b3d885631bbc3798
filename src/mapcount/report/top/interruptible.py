"""A source that can be told to stop: what is being read is given up within milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mapcount.live.snapshot import Block, Identity, Machine, MemoryStat, Process, Source


class Stopped(Exception):
    """What was being read is not wanted any more."""


class Interruptible:
    """The same source. `check` is called before each thing that is read, and may raise Stopped."""

    def __init__(
        self, source: Source, check: Callable[[], None], *, only: Sequence[int] | None = None
    ) -> None:
        """`only`: the only processes there are; control groups are not asked about then."""
        self._source, self._check, self._only = source, check, only
        self.name = source.name
        self.everything: bool = getattr(source, "everything", True)

    @property
    def machine(self) -> Machine:
        """The kernel."""
        return self._source.machine

    @property
    def own_pid(self) -> int | None:
        """The process that reads."""
        return self._source.own_pid

    def pids(self) -> Sequence[int]:
        """Every process."""
        self._check()
        return self._source.pids() if self._only is None else self._only

    def absent(self, pid: int) -> str | None:
        """Why this number is no process."""
        return self._source.absent(pid)

    def identity(self, pid: int) -> Identity:
        """Its name and control group."""
        self._check()
        return self._source.identity(pid)

    def process(self, pid: int) -> Process:
        """A process and its regions."""
        self._check()
        return self._source.process(pid)

    def blocks(self, process: Process) -> Iterator[Block]:
        """What it maps."""
        for block in self._source.blocks(process):
            self._check()
            yield block

    def memory_stats(self) -> Sequence[MemoryStat]:
        """Every control group."""
        self._check()
        return self._source.memory_stats() if self._only is None else ()
