"""`--html FILE`: where a command's page goes."""

from __future__ import annotations

import os
from pathlib import Path

import click


def check_html(path: str | None, *, force: bool) -> None:
    """Refuse a place where no page can be written, before any work is done. Raises click.UsageError."""
    if path is None:
        return
    if not Path(path).parent.is_dir():
        raise click.UsageError(f"--html {path}: {Path(path).parent} is no directory")
    if Path(path).is_dir():
        raise click.UsageError(f"--html {path}: is a directory; name a file in it")
    if os.path.lexists(path) and not force:
        raise click.UsageError(f"--html {path}: exists; name another file, or --force")


def write_html(path: str, page: bytes, *, force: bool) -> None:
    """Write the page, whole or not at all, and say so on standard error. Raises OSError."""
    from mapcount.report.whole_file import write_whole
    from mapcount.report.words import size
    from mapcount.scenario.syntax import visible

    write_whole(Path(path), page, force=force)
    click.echo(f"wrote {visible(path)}: {size(-(-len(page) // 1024))}iB, complete in itself", err=True)
