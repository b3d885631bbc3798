"""How a command ends early, and what a terminal sees of its work until then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

Told = Callable[[int, int, str], None]
"""How much is done, of how much, and what is being done."""

OUT_OF_MEMORY = "this process may have no more memory (ulimit -v)"
"""What a MemoryError comes to."""


def end(message: str, code: int) -> NoReturn:
    """Say why on standard error, in place of any progress there, and exit."""
    click.echo(_over_the_line(message), err=True)
    sys.exit(code)


def show_progress(done: int, of: int, what: str) -> None:
    """One line on a terminal's standard error, which the last call removes."""
    if sys.stderr.isatty():
        click.echo(_over_the_line(f"{what}: {done} of {of}" if done < of else ""), err=True, nl=False)


def _over_the_line(text: str) -> str:
    return f"\r\x1b[K{text}" if sys.stderr.isatty() else text


@contextmanager
def progress_bar(what: str) -> Iterator[Told]:
    """A bar on standard error, where that is a terminal, that begins as `what`."""
    if not sys.stderr.isatty():
        yield lambda done, of, what: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what)
        yield lambda done, of, what: progress.update(task, completed=done, total=of, description=what)
