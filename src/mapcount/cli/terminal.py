"""Where text goes: a terminal, or something that has no width of its own."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 100
"""Columns in a pipe or file, unless the environment variable COLUMNS says otherwise."""


class Trimmed(io.TextIOBase):
    """Text without blanks at the ends of lines: rich fills lines up, and a pipe would keep that."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """Write whole lines."""
        self._stream.write(re.sub(r" +$", "", text, flags=re.MULTILINE))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def console() -> Console:
    """Standard output, for rich."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            """Left to whoever runs the command: rich would exit with a code that means a finding."""
            raise BrokenPipeError

    if sys.stdout.isatty():
        return Output(highlight=False)
    width = None if "COLUMNS" in os.environ else PIPE_WIDTH
    return Output(highlight=False, width=width, file=cast(TextIO, Trimmed(sys.stdout)))
