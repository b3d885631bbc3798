"""`mapcount top` as a user starts it: where it can be shown, where not, and how it leaves the terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from mapcount.cli import mapcount
from mapcount.report.top.processes import ORDERS

DEMO = Path(__file__).parents[2] / "captures" / "demo.capture"
top = import_module("mapcount.cli.top")
PATIENCE = 60.0
"""Seconds after which something that should have been drawn never will be."""
ENTER = b"\x1b[?1049h"
LEAVE = b"\x1b[?1049l"
"""What gives a terminal its former screen back."""


def in_terminal(
    act: Callable[[int, int], object], *arguments: object, **environment: str
) -> tuple[int, bytes]:
    """Start it in a terminal of its own, act once the demo is on the screen; exit code and all it wrote."""
    terminal, other_end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "mapcount", "top", *map(str, arguments)],
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"} | environment,
    )
    os.close(other_end)
    wrote, acted, end = b"", False, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
        wrote += part
        if not acted and b"large folios" in wrote:
            act(terminal, process.pid)
            acted = True
    else:
        process.kill()
    os.close(terminal)
    return process.wait(), wrote


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_it_ends_at_once_and_leaves_the_terminal_clean(key: bytes) -> None:
    """After q and after Ctrl-C alike, the former screen is there again and the exit code is 0."""
    code, wrote = in_terminal(lambda terminal, _: os.write(terminal, key), "--from", DEMO)
    assert 0 == code, wrote[-500:]
    assert b"left-alone" in wrote
    assert LEAVE in wrote[-200:]
    assert b"Traceback" not in wrote


def test_without_colour_everything_can_be_read() -> None:
    """NO_COLOR leaves the terminal's own two, and what is mistaken still stands out."""
    code, wrote = in_terminal(lambda terminal, _: os.write(terminal, b"q"), "--from", DEMO, NO_COLOR="1")
    assert 0 == code
    codes = {code for codes in re.findall(rb"\x1b\[([0-9;]*)m", wrote) for code in codes.split(b";")}
    assert codes <= {b"", b"0", b"1", b"4", b"7", b"39", b"49"}
    assert re.search(rb"\x1b\[1[;0-9]*m16 of one process alone mistaken", wrote)


def test_a_signal_leaves_the_terminal_clean_too() -> None:
    """Asked to end by kill, it does, with the exit code that a shell expects."""
    code, wrote = in_terminal(lambda _, pid: os.kill(pid, signal.SIGTERM), "--from", DEMO)
    assert 128 + signal.SIGTERM == code
    assert LEAVE in wrote[-200:]


def test_a_terminal_that_cannot_is_told_what_can() -> None:
    """Exit code 2, before anything is drawn."""
    code, wrote = in_terminal(lambda *_: None, "--from", DEMO, TERM="dumb")
    assert 2 == code
    assert b"mapcount audit --from" in b" ".join(wrote.split())
    assert ENTER not in wrote


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", DEMO / "nothing"], "is no directory"),
        (["--from", DEMO, "--pid", 4], "no such process"),
        (["--from", DEMO, "--comm", "nobody"], "no process fits"),
        (["--from", DEMO, "--interval", 3], "does not change"),
        (["--interval", "nan"], "number of seconds"),
        (["--all", "--pid", 1], "--all is every process"),
    ],
)
def test_wrong_usage_is_said_before_the_screen_changes(
    arguments: list[object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exit code 2, and what was wrong."""
    monkeypatch.setattr(top, "_check_terminal", lambda path: None)
    result = CliRunner().invoke(mapcount, ["top", *map(str, arguments)])
    assert 2 == result.exit_code
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_what_is_no_terminal_is_named(closed: str) -> None:
    """It hears by one and draws by another; the message leads to what works without."""
    code = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    streams = {"stdout": ">/dev/null", "stderr": "2>/dev/null"}
    command = f"{sys.executable} -m mapcount top --from {DEMO} {streams[closed]}; exit $?"
    done = subprocess.run(
        [sys.executable, "-c", code, "sh", "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert 2 == done.returncode
    if closed == "stdout":
        assert b"standard output is none; there: mapcount audit" in b" ".join(done.stdout.split())


def test_processes_can_be_sorted_as_the_option_says() -> None:
    """`--sort` takes what the screen can sort by, and no other."""
    assert set(ORDERS) == set(top.SORT)


def test_help_needs_no_textual() -> None:
    """Nor anything else that is heavy."""
    code = (
        "import sys, contextlib, mapcount.cli\n"
        "with contextlib.suppress(SystemExit): mapcount.cli.mapcount(['top', '--help'])\n"
        "print({'textual', 'rich', 'numpy', 'polars'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "set()" == done.stdout.splitlines()[-1]
