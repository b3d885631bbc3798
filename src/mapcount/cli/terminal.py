"""Where text goes: a terminal, or something that has no width of its own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 100
"""Columns in a pipe or file, unless the environment variable COLUMNS says otherwise."""


def console() -> Console:
    """Standard output, for rich."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            """Left to whoever runs the command: rich would exit with a code that means a finding."""
            raise BrokenPipeError

    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Output(highlight=False, width=PIPE_WIDTH if fixed else None)
