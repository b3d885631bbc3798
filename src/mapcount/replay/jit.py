"""How loops over events are compiled: to machine code that is kept on disk, and runs without the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def jit(function: Callable[..., Any]) -> Any:
    """The function, compiled when it is first called with arguments of such types."""
    return numba.njit(cache=True, nogil=True)(function)


def forget_stale(here: Path, *sources: Path) -> None:
    """Remove the compiled code of the modules in `here` when any of the sources has changed.

    Numba looks only at the file of the function itself, but what that calls from other modules is compiled
    into it.
    """
    cache, found = here / "__pycache__", [numba.__version__]
    for source in sorted(sources):
        stat = source.stat()
        found.append(f"{source.name} {stat.st_size} {stat.st_mtime_ns}")
    stamp, text = cache / "compiled-from.txt", "\n".join(found)
    try:
        if stamp.exists() and stamp.read_text(encoding="utf-8") == text:
            return
        for compiled in (*cache.glob("*.nbi"), *cache.glob("*.nbc")):
            compiled.unlink(missing_ok=True)
        cache.mkdir(exist_ok=True)
        temporary = stamp.with_name(f"{stamp.name}.{os.getpid()}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(stamp)
    except OSError:
        # Not ours to write: Numba then keeps its code elsewhere, and installing anew renews it all.
        return


forget_stale(Path(__file__).parent, *Path(__file__).parent.glob("*.py"))
