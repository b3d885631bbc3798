"""An audit on one screen."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from tests.audit.audits import audited

from mapcount.audit.overview import Overview
from mapcount.report.audit_brief import Brief


def drawn(width: int, height: int, limit: int = 0) -> list[str]:
    """The lines for a terminal of this size: the audit of 40 processes."""
    found = audited()
    process = found.processes[0]
    crowd = tuple(replace(process, pid=1000 + i, comm=f"worker-{i}") for i in range(40))
    overview = Overview([replace(found, processes=crowd)])
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, highlight=False, force_terminal=False)
    console.print(Brief(overview, overview.chosen("pid"), when="2026-11-25 03:00:00", limit=limit))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("height", [15, 24, 50, 70])
def test_it_fits_and_says_how_much_does_not(width: int, height: int) -> None:
    """No more lines and columns than there are; the processes shown, and those counted as more, are all."""
    lines = drawn(width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    shown = sum(line.startswith("10") for line in lines)
    more = int(lines[-1].removesuffix(" more")) if lines[-1].endswith(" more") else 0
    assert 40 == shown + more
    if shown and more:
        assert height == len(lines)


@pytest.mark.parametrize("height", [4, 15, 24])
def test_the_summary_comes_first(height: int) -> None:
    """However few lines there are, the first ones are the summary's."""
    lines = drawn(80, height)
    assert lines[0].startswith("2026-11-25 03:00:00  memory: Linux 6.18.0-test")
    assert "40 processes read, 1 could not be read (permission denied)" == lines[1]
    assert ["Rss", "Pss", "Uss", "whole", "AnonPages", "Mapped"] == [line.split()[0] for line in lines[5:11]]


def test_fewer_are_shown_on_demand() -> None:
    """`limit` shows fewer than fit."""
    lines = drawn(80, 50, limit=3)
    assert "37 more" == lines[-1]
