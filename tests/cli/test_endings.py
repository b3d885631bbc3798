"""However a command ends, its exit code is one that the documentation names, and there is no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mapcount.cli import CANNOT, CLOSED_PIPE, INTERRUPTED

ROOT = Path(__file__).parents[2]
STORY = str(ROOT / "scenarios" / "prefork.scn")
MAPCOUNT = [sys.executable, "-m", "mapcount"]
NO_ROOM = Path("/dev/full")


@pytest.mark.parametrize("command", [["run", STORY], ["run", STORY, "--json"], ["layout"]], ids=" ".join)
@pytest.mark.skipif(not NO_ROOM.exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_standard_output(command: list[str]) -> None:
    """Output that cannot be written is named, with exit code 3."""
    with NO_ROOM.open("w") as full:
        done = subprocess.run(
            [*MAPCOUNT, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (CANNOT, "standard output: No space left on device\n") == (done.returncode, done.stderr)


def test_closed_output() -> None:
    """A standard output that was closed before is said to be."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *MAPCOUNT, "run", STORY],
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert (CANNOT, "standard output is closed: there is nowhere to write to\n") == (
        done.returncode,
        done.stderr,
    )


@pytest.mark.parametrize("form", [[], ["--json"]], ids=str)
def test_nobody_reads_any_more(form: list[str]) -> None:
    """When the reader of a pipe leaves, the command ends quietly with 141."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [*MAPCOUNT, "run", STORY, *form]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (CLOSED_PIPE, "") == (done.returncode, done.stderr)


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends a command that is at work with 130 and no traceback."""
    story = tmp_path / "long.scn"
    story.write_text(
        "P mmap heap 64M small\n" + "P write heap[0p::2p]\nP munmap heap[0p]\nP mmap heap[0p] small\n" * 900
    )
    command = subprocess.Popen([*MAPCOUNT, "run", str(story)], stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    assert command.poll() is None
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=30)
    assert INTERRUPTED == command.returncode
    assert "Traceback" not in said
