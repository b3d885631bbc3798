"""A directory that is there whole or not at all, whatever happens while it is written.

It is written under a hidden name, `.NAME.PID-START.new`: the number of who writes it, and when that started.
Whoever writes holds a lock (flock) on it, which goes with the process in whatever way that ends.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mapcount.live.ending import signals_raise
from mapcount.live.processes import Stat

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of renameat2(2)."""


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """A temporary directory beside `target` to write into, which becomes `target` if the block ends well.

    What was at `target` is replaced in one step, and only then removed (may it be replaced is for the caller
    to say). When the block raises, or a signal asks to end, nothing is left behind. Raises OSError.
    Only its owner may look into it.
    """
    target = Path(os.path.abspath(target))
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{_start_time(os.getpid())}.new")
    with signals_raise(), ExitStack() as opened:
        try:
            _make(temporary, target)
            with suppress(OSError):  # a file system without locks
                opened.enter_context(_locked(temporary))
            yield temporary
            _sync(temporary)
            if os.path.lexists(target):
                _exchange(temporary, target)
            else:
                temporary.rename(target)
            _sync(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_stale(target: Path, is_ours: Callable[[str], bool]) -> list[Path]:
    """Remove what writers of `target` have left behind that were killed; which directories that were.

    Nothing is touched that belongs to another user, that a process which is alive may still write, or that
    holds anything but files whose names `is_ours` knows.
    """
    target = Path(os.path.abspath(target))
    name = re.compile(rf"\.{re.escape(target.name)}\.([0-9]{{1,10}})-([0-9]{{1,20}})\.new")
    removed = []
    for entry in sorted(os.listdir(target.parent)):
        found = name.fullmatch(entry)
        path = target.parent / entry
        if found is None or path.is_symlink() or not path.is_dir() or not _may_be_removed(path):
            continue
        if _start_time(int(found[1])) == int(found[2]) or not all(map(is_ours, os.listdir(path))):
            continue
        with suppress(OSError), _locked(path):
            shutil.rmtree(path)
            removed.append(path)
    return removed


def _make(temporary: Path, target: Path) -> None:
    """Make the directory. What is in the way of it is in the way of `target`, so that is what errors name."""
    try:
        temporary.mkdir(mode=0o700)
    except OSError as error:
        error.filename = str(target)
        raise


def _may_be_removed(path: Path) -> bool:
    """Is it ours, on a system that can tell?"""
    return os.name == "posix" and path.lstat().st_uid == os.geteuid()


def _start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if there is none, or that cannot be told."""
    try:
        return Stat.parse(Path(f"/proc/{pid}/stat").read_bytes()).start_time
    except (OSError, ValueError):
        return 0


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on a directory, where a system has such locks. Raises OSError if somebody else holds it.

    A writer in another PID namespace has a number that means nothing here, but its lock does.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _sync(folder: Path) -> None:
    """Wait until the directory's entries are on the disk, where a system can."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names, in one step where that can be. Raises OSError, and then nothing has changed."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    names = AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other)
    if renameat2 is not None and renameat2(*names, RENAME_EXCHANGE) == 0:
        return
    aside = one.with_suffix(".old")
    other.rename(aside)
    try:
        one.rename(other)
    except BaseException:
        aside.rename(other)
        raise
    aside.rename(one)
