"""How loops over events are compiled: to machine code that is kept on disk, and runs without the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def jit(function: Callable[..., Any]) -> Any:
    """The function, compiled when it is first called with arguments of such types."""
    return njit(cache=True, nogil=True)(function)
