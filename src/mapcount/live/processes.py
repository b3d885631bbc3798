"""/proc/PID: which processes there are, and reading one of them without mistaking another for it.

A PID may be given to another process, and a process may start another program (exec), between two reads.
The first cannot fool us: a directory that is held open belongs to one process for ever, and everything
below it fails once that has exited. The second shows in `Stat.layout`, which no two address spaces share.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cmp_to_key, partial
from itertools import groupby
from pathlib import Path
from types import TracebackType

from mapcount.live.snapshot import Unreadable

EXITED = "it exited while being read"
REASONS = {
    errno.ESRCH: EXITED,
    errno.ENOENT: EXITED,
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}
"""What an error means for a file below /proc/PID; all others are named as the C library does."""


def text(raw: bytes) -> str:
    r"""A name that the kernel gave, as text that can be stored: what is not UTF-8 becomes `\xff`."""
    return raw.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Stat:
    """/proc/PID/stat, as far as it tells one process, or one address space, from another."""

    comm: str
    start_time: int
    """In clock ticks since boot."""
    virtual_size: int
    """In bytes. 0: no address space, as kernel threads and zombies."""
    layout: tuple[str, ...]
    """Where code, data, heap, stack, arguments and environment lie; zeros for who may not know it."""

    @classmethod
    def parse(cls, raw: bytes) -> Stat:
        """From the file's content. Raises ValueError if it is not one; `comm` may hold anything."""
        _, opened, rest = raw.partition(b"(")
        comm, closed, rest = rest.rpartition(b")")
        fields = rest.decode("ascii").split()
        if not (opened and closed) or len(fields) < 49:
            raise ValueError(f"not a stat file: {raw[:60]!r}")
        layout = (*fields[23:26], *fields[42:49])
        return cls(text(comm), int(fields[19]), int(fields[20]), layout)


class ProcessDir:
    """One process's directory, held open. A context manager. Every failure is an `Unreadable`."""

    def __init__(self, proc: Path, pid: int) -> None:
        self.pid = pid
        self.comm = "?"
        self._fd = -1
        try:
            self._fd = os.open(proc / str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self.unreadable(error) from None
        try:
            self.comm = self.stat().comm
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ProcessDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def unreadable(self, error: OSError | str) -> Unreadable:
        """The error to raise for this process."""
        if isinstance(error, str):
            return Unreadable(self.pid, self.comm, error)
        reason = REASONS.get(error.errno or 0) or error.strerror or str(error)
        return Unreadable(self.pid, self.comm, reason)

    def open(self, name: str) -> int:
        """A file of the process, opened for reading: a descriptor that the caller closes."""
        try:
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError as error:
            raise self.unreadable(error) from None

    def read(self, name: str) -> bytes:
        """The whole content of a file of the process."""
        fd = self.open(name)
        try:
            parts = []
            while part := os.read(fd, 1 << 16):
                parts.append(part)
            return b"".join(parts)
        except OSError as error:
            raise self.unreadable(error) from None
        finally:
            os.close(fd)

    def stat(self) -> Stat:
        """/proc/PID/stat now."""
        try:
            return Stat.parse(self.read("stat"))
        except ValueError as error:
            raise self.unreadable(str(error)) from None

    def cgroup(self) -> str:
        """The process's path in the memory hierarchy: version 1 if it has one, else version 2; else `/`."""
        unified = "/"
        for line in text(self.read("cgroup")).splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if "memory" in controllers.split(","):
                return path
            if number == "0" and not controllers:
                unified = path
        return unified


def all_stats(proc: Path) -> dict[int, Stat | None]:
    """Every process by PID, in order; None: it is there and does not let us read even its stat file."""
    stats: dict[int, Stat | None] = {}
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isascii() and name.isdigit()):
        try:
            stats[pid] = Stat.parse((proc / str(pid) / "stat").read_bytes())
        except PermissionError:
            stats[pid] = None
        except (OSError, ValueError):
            continue  # it exited after the directory was listed
    return stats


def why_absent(proc: Path, pid: int) -> str | None:
    """Why a number is none of a process with an address space, as a clause; None if it is, or may be, one."""
    directory = proc / str(pid)
    if not directory.is_dir():
        return f"no such process: {pid}"
    try:
        lines = text((directory / "status").read_bytes()).splitlines()
    except OSError:
        return None
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    who = f"{pid} ({status.get('Name', '?')})"
    group = status.get("Tgid", str(pid))
    if group != str(pid):
        return f"{who} is a thread of process {group}, and memory is that of the process: ask for {group}"
    if status.get("State", "").startswith("Z"):
        return f"{who} is a zombie: it has exited, and maps nothing"
    if "VmSize" not in status:
        return f"{who} is a kernel thread: it has no address space of its own"
    return None


Compare = Callable[[int, int], int | None]
"""Do two processes have the same address space? 0: yes; -1 and 1: no, and which comes first in an order
of all address spaces; None: cannot be told."""


def address_spaces(stats: Mapping[int, Stat | None], compare: Compare) -> list[tuple[int, ...]]:
    """The PIDs of each address space, each ascending; processes without one are left out.

    Only processes that look alike are compared, and then by sorting, so that a thousand forked workers,
    which all look alike, cost some ten thousand comparisons and not half a million.
    """
    alike: dict[object, list[int]] = {}
    for pid, stat in stats.items():
        if stat is None:
            alike[pid] = [pid]
        elif stat.virtual_size:
            alike.setdefault(stat.layout, []).append(pid)
    key = cmp_to_key(partial(_order, compare))
    spaces: list[tuple[int, ...]] = []
    for pids in alike.values():
        comparable = {pid for pid in pids if len(pids) > 1 and compare(pid, pid) == 0}
        spaces += [(pid,) for pid in pids if pid not in comparable]
        spaces += [tuple(sorted(same)) for _, same in groupby(sorted(comparable, key=key), key=key)]
    return sorted(spaces)


def _order(compare: Compare, one: int, other: int) -> int:
    """Which comes first; who exited in the meantime is nobody's equal."""
    order = compare(one, other)
    return one - other if order is None else order
