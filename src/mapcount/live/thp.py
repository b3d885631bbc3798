"""Transparent huge pages: which folio sizes a fault may use here, and changing that for a while.

Each size has a directory `hugepages-64kB` with a policy for anonymous memory (`enabled`) and one for shared
memory (`shmem_enabled`); `inherit` means what the file of that name on top says. Kernels before 6.8 have only
the files on top, which then speak of the PMD size. Sizes are in KiB here, as in the directories' names.

Changing settings affects the whole machine. So it happens in `thp_settings` only: one measurement at a time,
and a guard process (`thp_guard`) puts back what was there, even if all else is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from mapcount.live import thp_guard
from mapcount.live.snapshot import CannotHere
from mapcount.live.thp_guard import STOPPING, chosen, put_back

THP = Path("/sys/kernel/mm/transparent_hugepage")
MIN_FREE = Path("/proc/sys/vm/min_free_kbytes")
"""The kernel reconsiders it when a THP setting is written. It is watched, and never written."""

Memory = Literal["anon", "shmem"]
FILE_OF: dict[Memory, str] = {"anon": "enabled", "shmem": "shmem_enabled"}
ON_REQUEST: dict[Memory, str] = {"anon": "madvise", "shmem": "advise"}
"""The word for: only memory that asks by MADV_HUGEPAGE."""


@dataclass(frozen=True, slots=True)
class Thp:
    """The policy of each folio size, with `inherit` resolved."""

    anon: Mapping[int, str]
    """KiB -> `always`, `madvise` or `never`, smallest first."""
    shmem: Mapping[int, str]
    """KiB -> `always`, `within_size`, `advise` or `never`: memory shared by fork, memfd, System V."""
    root: Path

    def usable_sizes(self, advised: bool = True, memory: Memory = "anon") -> tuple[int, ...]:
        """Sizes in KiB that faults may use, smallest first. `advised`: in memory with MADV_HUGEPAGE."""
        allowed = {"always", "within_size"} | ({ON_REQUEST[memory]} if advised else set())
        policies = self.anon if memory == "anon" else self.shmem
        return tuple(kib for kib, policy in policies.items() if policy in allowed)

    def file(self, kib: int, memory: Memory = "anon") -> Path:
        """The file that decides about a size; the one on top where sizes have none of their own."""
        own = self.root / f"hugepages-{kib}kB" / FILE_OF[memory]
        return own if own.exists() else self.root / FILE_OF[memory]

    def writes_for(self, kib: int) -> dict[Path, str]:
        """The fewest settings to write so that advised anonymous memory gets folios of `kib`, if not larger.

        The size itself must be usable and those between it and the PMD size must not. The PMD size stays
        as it is for all others' sake: only ranges without a page table get it. Raises CannotHere for a
        size that this kernel does not have.
        """
        if kib not in self.anon:
            have = ", ".join(map(str, self.anon)) or "none"
            raise CannotHere(
                f"folios of {kib} KiB: this kernel has {have}; mTHP sizes need Linux 6.8 with CONFIG_THP"
            )
        usable, largest = self.usable_sizes(), max(self.anon)
        wanted = {} if kib in usable else {self.file(kib): "madvise"}
        return wanted | {self.file(k): "never" for k in usable if kib < k < largest}


def read_thp(root: Path = THP) -> Thp:
    """The settings as they are now. A kernel without THP has no sizes at all."""
    return Thp(_policies(root, "anon"), _policies(root, "shmem"), root)


def _policies(root: Path, memory: Memory) -> dict[int, str]:
    name = FILE_OF[memory]
    try:
        top = chosen(root / name)
    except (OSError, ValueError):
        return {}
    sizes = {
        int(found[1]): chosen(path)
        for path in root.glob(f"hugepages-*kB/{name}")
        if (found := re.fullmatch(r"hugepages-(\d+)kB", path.parent.name))
    }
    if not sizes:
        with contextlib.suppress(OSError, ValueError):
            sizes = {int((root / "hpage_pmd_size").read_text()) >> 10: "inherit"}
    return {kib: _resolved(sizes[kib], top) for kib in sorted(sizes)}


def _resolved(policy: str, top: str) -> str:
    """A size's policy under the one on top. Only shared memory knows `deny` and `force` there."""
    if top == "deny" or (top == "force" and policy != "inherit"):
        return "never"
    return {"force": "always"}.get(top, top) if policy == "inherit" else policy


class Session:
    """Settings that may be changed until the block of `thp_settings` ends."""

    def __init__(self, root: Path, lock: IO[str] | None) -> None:
        self.root, self._lock = root, lock
        self._guard: subprocess.Popen[bytes] | None = None
        self._before: dict[Path, str] = {}
        self._min_free = _min_free()

    @property
    def before(self) -> Mapping[Path, str]:
        """What was there, for each setting written so far."""
        return self._before

    @property
    def side_effect(self) -> str | None:
        """Says how vm.min_free_kbytes has changed since the beginning; None if it has not."""
        was, now = self._min_free, _min_free()
        return None if was == now else f"{MIN_FREE} was {was} before settings were written and is {now} now"

    def write(self, wanted: Mapping[Path, str]) -> None:
        """Write settings below the root. Raises CannotHere if that fails; some may be written then."""
        outside = [path for path in wanted if self.root not in path.parents]
        if outside:
            raise ValueError(f"{outside[0]} is not below {self.root}")
        wanted = {path: value for path, value in wanted.items() if _now(path) != value}
        if not wanted:
            return
        for path in wanted:
            self._before.setdefault(path, _now(path))
        error = self._ask({str(path): value for path, value in wanted.items()})
        if error is not None:
            raise CannotHere(f"could not write {error}; run as root, where /sys may be written")

    def set_only(self, sizes: Collection[int], memory: Memory = "anon") -> None:
        """Let advised memory use folios of these sizes (KiB) and no others; with none: small folios only.

        Writes only what differs; a write takes the kernel about a millisecond.
        """
        thp = read_thp(self.root)
        have = thp.anon if memory == "anon" else thp.shmem
        missing = sorted(set(sizes) - set(have))
        if missing:
            raise CannotHere(
                f"no {memory} folios of {missing[0]} KiB on this kernel: it has {list(have) or 'none'}"
            )
        usable = thp.usable_sizes(memory=memory)
        self.write(
            {thp.file(k, memory): ON_REQUEST[memory] if k in sizes else "never"
             for k in have if (k in sizes) != (k in usable)}
        )  # fmt: skip

    def _ask(self, wanted: dict[str, str]) -> str | None:
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", thp_guard.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,  # nothing stays behind in a buffer if the guard is killed
                start_new_session=True,  # no Ctrl-C for it
                # It holds the lock too: nobody measures before everything is put back.
                pass_fds=() if self._lock is None else (self._lock.fileno(),),
            )
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.write(json.dumps(wanted).encode() + b"\n")
        answer = self._guard.stdout.readline()
        error = json.loads(answer) if answer else "settings: the guard process was killed"
        assert error is None or isinstance(error, str)
        return error

    def close(self) -> None:
        """Put back what was there. Raises CannotHere if that was not possible."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            if self._guard is not None:
                # A line, not only the end of input: processes forked meanwhile may hold the pipe open.
                self._guard.communicate(b"\n")
                self._guard = None
            put_back(self._before)  # nothing to do, unless somebody killed the guard
        except OSError as error:
            raise CannotHere(str(error)) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def thp_settings(
    wanted: Mapping[Path, str] | None = None,
    root: Path = THP,
    *,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[Session]:
    """Write settings, and put back what was there when the block ends in whatever way.

    Without `wanted` nothing is written until the session is asked to. Only one such block runs on a machine
    at a time, whoever runs it: others wait (`waiting` is called once, before that). Do not nest them.
    Raises CannotHere where a setting cannot be written.
    """
    with contextlib.ExitStack() as stack:
        lock = None
        with contextlib.suppress(FileNotFoundError):  # a kernel without THP
            lock = stack.enter_context((root / "enabled").open())
            _wait_for(lock, waiting)
        session = Session(root, lock)
        stack.callback(session.close)
        session.write(wanted or {})
        yield session


def _wait_for(lock: IO[str], waiting: Callable[[], None]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(lock, fcntl.LOCK_EX)


def _now(path: Path) -> str:
    try:
        return chosen(path)
    except (OSError, ValueError) as error:
        raise CannotHere(f"{path}: {thp_guard.reason(error)}") from None


def _min_free() -> int | None:
    try:
        return int(MIN_FREE.read_text())
    except (OSError, ValueError):
        return None
