"""A directory that is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mapcount.live.ending import signals_raise

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
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
    with signals_raise():
        try:
            temporary.mkdir(mode=0o700)
            yield temporary
            _sync(temporary)
            if os.path.lexists(target):
                _exchange(temporary, target)
            else:
                temporary.rename(target)
            _sync(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


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
