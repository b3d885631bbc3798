"""`mapcount audit` as a user types it: captures, selections, files, mistakes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from tests.audit.audits import source

from mapcount.cli import mapcount
from mapcount.live.capture_write import Hiding, write_capture
from mapcount.live.selection import Selection


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of a few made-up processes."""
    path = tmp_path_factory.mktemp("captures") / "made-up.capture"
    write_capture(source(), Selection(), path, hiding=Hiding(places=True, names=False))
    return path


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture by somebody who could not see page frames."""
    path = tmp_path_factory.mktemp("captures") / "blind.capture"
    hidden = source(frames=False, folios=False, limits=("page frames are hidden: run as root",))
    hidden.mapped = {}
    write_capture(hidden, Selection(), path, hiding=Hiding(places=True, names=False))
    return path


def run(*args: object) -> Result:
    """Call `mapcount audit` in this process. Anything but an exit code is raised."""
    result = CliRunner().invoke(mapcount, ["audit", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def process(*args: object) -> subprocess.CompletedProcess[str]:
    """Call it in a process of its own."""
    command = [sys.executable, "-m", "mapcount", "audit", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_capture_is_audited_whole(capture: Path) -> None:
    """`--from` alone asks all of a capture; what it could not read is named; the exit code is 0."""
    result = run("--from", capture)
    assert 0 == result.exit_code
    assert "3 processes read, 1 could not be read" in result.stdout
    assert "not read, permission denied: 12 (refuses)" in result.stdout
    assert "3 of one process alone mistaken for shared" in result.stdout


@pytest.mark.parametrize(
    ("options", "pids"),
    [
        (["--pid", 10], [10]),
        (["--pid", 10, "--pid", 11], [10, 11]),
        (["--comm", "h*"], [9]),
        (["--cgroup", "/a"], [9, 10]),
        (["--cgroup", "/a", "--comm", "big"], [10]),
        (["--all"], [9, 10, 11]),
        ([], [9, 10, 11]),
        (["--min-change", 1], [10]),
    ],
)
def test_which_processes(capture: Path, options: list[object], pids: list[int]) -> None:
    """The same options choose processes of a capture as of a machine."""
    data = json.loads(run("--from", capture, "--json", "--sort", "pid", *options).stdout)
    assert pids == [process["pid"] for process in data["machines"][0]["processes"]]


def test_several_captures(capture: Path, tmp_path: Path) -> None:
    """Captures stand side by side, and together."""
    other = tmp_path / "other.capture"
    write_capture(source(), Selection(), other, hiding=Hiding(places=True, names=False))
    result = run("--from", capture, "--from", other)
    assert "2 machines" in result.stdout
    assert "made-up:10" in result.stdout
    assert "other:10" in result.stdout
    data = json.loads(run("--from", capture, "--from", other, "--json").stdout)
    assert [3, 3] == [len(machine["processes"]) for machine in data["machines"]]
    assert 2 * 624 == data["total"]["now"]["rss_kib"]


def test_sorted_and_limited(capture: Path) -> None:
    """`--sort` and `--limit` choose the rows that are shown; JSON has all of them."""
    text = run("--from", capture, "--sort", "pid", "--limit", 1).stdout
    assert "Processes (the first 1 of 3" in text
    data = json.loads(run("--from", capture, "--sort", "pid", "--limit", 1, "--json").stdout)
    assert [9, 10, 11] == [process["pid"] for process in data["machines"][0]["processes"]]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize(("table", "rows"), [("processes", 3), ("folios", 1), ("cgroups", 2)])
def test_a_table_is_written(capture: Path, tmp_path: Path, name: str, table: str, rows: int) -> None:
    """`-o` writes a table beside the report, and says so; again only with --force."""
    path = tmp_path / name
    result = run("--from", capture, "-o", path, "--table", table)
    assert 0 == result.exit_code
    assert f"wrote {path}: {rows} row{'s' * (rows != 1)}\n" in result.stderr
    read = pl.read_csv(path) if name.endswith("csv") else pl.read_parquet(path)
    assert rows == len(read)
    again = run("--from", capture, "-o", path, "--table", table)
    assert (2, "") == (again.exit_code, again.stdout)
    assert "exists: --force replaces it" in again.stderr
    assert 0 == run("--from", capture, "-o", path, "--table", table, "--force").exit_code


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "which processes?"),
        (["--all", "--pid", "1"], "leave --pid"),
        (["--from", "none.capture"], "none.capture"),
        (["--from", "{capture}", "--comm", "nobody"], "no process fits"),
        (["--from", "{capture}", "--pid", "99"], "made-up.capture: no such process in the capture: 99"),
        (["--from", "{capture}", "--pid", "10", "--pid", "99"], "no such process in the capture: 99"),
        (["--from", "{capture}", "--cgroup", "/aa"], "no control group /aa; the nearest there is: /a"),
        (["--pid", str(1 << 22)], "no such process: 4194304"),
        (["--pid", "1", "--pid", str(1 << 22)], "no such process: 4194304"),
        (["--from", "{capture}", "--watch", "1"], "a capture does not change"),
        (["--from", "{capture}", "-o", "x.txt"], "ends in .csv or .parquet"),
        (["--from", "{capture}", "-o", "/nowhere/x.csv"], "is no directory"),
        (["--from", "{capture}", "--sort", "size"], "size"),
        (["--from", "{capture}", "--limit", "-1"], "-1"),
        (["--pid", "x"], "x"),
        (["--pid", "0"], "0"),
        (["--all", "--watch", "inf"], "inf"),
        (["--all", "--watch", "nan"], "number of seconds"),
        (["--all", "--watch", "1e300"], "1e+300"),
        (["--from", "{capture}", "--force"], "say -o FILE"),
        (["--from", "{capture}", "--table", "folios"], "say -o FILE"),
    ],
)
def test_wrong_usage(capture: Path, options: list[str], message: str) -> None:
    """A mistake is one message on standard error, and the exit code is 2."""
    result = run(*(option.format(capture=capture) for option in options))
    assert 2 == result.exit_code
    assert message in result.stderr
    assert "" == result.stdout


def test_what_is_no_capture(tmp_path: Path) -> None:
    """A directory of something else, and a file, are refused by name."""
    (tmp_path / "meta.json").write_text("{}")
    for path in (tmp_path, tmp_path / "meta.json"):
        result = run("--from", path)
        assert (2, "") == (result.exit_code, result.stdout)
        assert str(path) in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_number_of_something_else_is_told_what_it_is() -> None:
    """A thread's number is no process's: the message names its process, and the exit code is 2."""
    said: list[Result] = []
    thread = threading.Thread(target=lambda: said.append(run("--pid", threading.get_native_id())))
    thread.start()
    thread.join()
    assert (2, "") == (said[0].exit_code, said[0].stdout)
    assert f"is a thread of process {os.getpid()}" in said[0].stderr
    assert f"ask for {os.getpid()}\n" in said[0].stderr


def test_nothing_can_be_predicted(blind: Path) -> None:
    """Where page frames were hidden, smaps is shown, what is missing is said, and the exit code is 3."""
    result = run("--from", blind)
    assert 3 == result.exit_code
    assert "page frames are hidden: run as root" in result.stdout
    assert "624K" not in result.stdout
    assert "400K" in result.stdout
    assert "nothing could be predicted\n" == result.stderr


def test_nobody_could_be_read(capture: Path) -> None:
    """If nobody who was asked for could be read, the reason is named, and the exit code is 3."""
    result = run("--from", capture, "--pid", 12)
    assert 3 == result.exit_code
    assert "permission denied: 12" in result.stdout
    assert "no process could be read\n" == result.stderr


def test_who_does_not_say_who_it_is(capture: Path) -> None:
    """A process that might be meant, but would not tell its name, is named as not read."""
    result = run("--from", capture, "--comm", "big")
    assert "1 process read, 1 could not be read" in result.stdout
    assert "permission denied: 12" in result.stdout


def test_output_in_a_pipe_is_plain(capture: Path) -> None:
    """No escape reaches a pipe, and a pipe that is closed is no traceback."""
    done = process("--from", capture)
    assert "\x1b" not in done.stdout + done.stderr
    assert [] == [line for line in done.stdout.splitlines() if line != line.rstrip()]
    command = f"{sys.executable} -m mapcount audit --from {capture} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "" == done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_watching_ends_quietly() -> None:
    """`--watch` prints again and again, and Ctrl-C is its normal end."""
    command = [
        sys.executable,
        "-m",
        "mapcount",
        "audit",
        "--pid",
        str(os.getpid()),
        "--watch",
        "0.1",
        "--json",
    ]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout
    lines = [watching.stdout.readline() for _ in range(2)]
    time.sleep(0.05)
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=30)
    assert (0, "") == (watching.returncode, errors)
    assert {os.getpid()} == {json.loads(line)["machines"][0]["processes"][0]["pid"] for line in lines}


def on_a_terminal(*args: object, until: bytes, then: Callable[[], object]) -> tuple[int, bytes]:
    """Call it on a terminal of 80 columns and 24 lines; do something when it has shown so much."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "mapcount", "audit", *map(str, args)]
    shown, done = b"", False
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment | {"TERM": "xterm"}
    ) as watching:
        os.close(slave)
        with suppress(OSError):  # the terminal's end: nobody has it open any more
            while more := os.read(master, 1 << 16):
                shown += more
                if until in shown and not done:
                    done = True
                    then()
        code = watching.wait(60)
    os.close(master)
    return code, shown


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_watching_on_a_terminal_ends_with_the_last_process() -> None:
    """A terminal gets one screen, refreshed in place; when nobody is left, that is said, and it ends."""
    with subprocess.Popen(["sleep", "100"]) as asleep:
        code, shown = on_a_terminal(
            "--pid", asleep.pid, "--watch", 0.1, until=b"sum of 1 process", then=asleep.kill
        )
    assert 0 == code
    screen, _, after = shown.partition(b"\x1b[?1049l")  # back from the terminal's other screen
    assert screen.count(b"\x1b[?1049h") == 1
    assert b"sum of 1 process" in after
    assert after.rstrip().endswith(b"every process that was watched has exited")
    for each in screen.split(b"\x1b[H")[1:]:
        assert each.count(b"\n") < 24


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_watching_in_a_pipe_ends_with_the_last_process() -> None:
    """A pipe gets a block for each look, and the same end."""
    with subprocess.Popen(["sleep", "100"]) as asleep:
        command = [sys.executable, "-m", "mapcount", "audit", "--pid", str(asleep.pid), "--watch", "0.1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stdout
            assert watching.stderr
            lines = [watching.stdout.readline() for _ in range(3)]
            asleep.kill()
            asleep.wait()
            rest, errors = watching.stdout.read(), watching.stderr.read()
    assert lines[1].startswith("this machine: ")
    assert "\x1b" not in rest
    assert (0, "every process that was watched has exited\n") == (watching.returncode, errors)
