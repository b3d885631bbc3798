"""`mapcount capture` as a user types it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.live.fakes import LargeFolio, MemorySource, Run, block_of, machine, process, region

from mapcount.cli import mapcount
from mapcount.live import capture_tables, live_source
from mapcount.live.capture_source import CaptureSource
from mapcount.live.snapshot import CannotHere

SOURCE = MemorySource(
    [
        process(10, [region(16, start=0x55)], comm="web\x1b[2J", cgroup="/web"),
        process(11, [region(16, start=0x55)], comm="db", cgroup="/data"),
    ],
    {pid: [block_of([Run(0, 16, folio=160, order=4)], [LargeFolio(160)])] for pid in (10, 11)},
    machine(limits=("no BPF here",)),
    refusing={12: "permission denied", 13: "permission denied"},
)


@pytest.fixture(autouse=True)
def this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOURCE is the running kernel."""

    @contextmanager
    def open_live_source() -> Iterator[MemorySource]:
        yield SOURCE

    monkeypatch.setattr(live_source, "open_live_source", open_live_source)


def run(*args: object) -> Result:
    """Call `mapcount capture` in this process. Anything but an exit code is raised."""
    result = CliRunner().invoke(mapcount, ["capture", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_it_says_what_it_wrote_and_what_not(tmp_path: Path) -> None:
    """The counts, what is hidden, who refused by reason, the limits, and what to do next."""
    result = run("--all", "-o", tmp_path / "c")
    assert 0 == result.exit_code
    lines = result.output.splitlines()
    assert ": 2 processes, 2 regions, 2 runs of pages" in lines[0]
    assert "frame numbers and addresses are replaced by running numbers" == lines[1]
    assert "(--anonymise hides them)" in lines[2]
    assert "not read, permission denied: 12 (refuses), 13 (refuses)" == lines[3]
    assert "limit: no BPF here" == lines[4]
    assert f"look at it anywhere: mapcount audit --from {tmp_path / 'c'}" == lines[5]


def test_what_is_hidden_is_said(tmp_path: Path) -> None:
    """Raw captures are called secret, anonymised ones say so, and their names are gone."""
    assert "which are secret" in run("--all", "--raw", "-o", tmp_path / "raw").output
    raw = CaptureSource(tmp_path / "raw")
    assert 0x55 == raw.process(10).regions[0].start
    assert "are replaced as well" in run("--all", "--anonymise", "-o", tmp_path / "hidden").output
    assert "process-1" == CaptureSource(tmp_path / "hidden").identity(10).comm


@pytest.mark.parametrize(
    ("args", "pids"),
    [
        (["--pid", "10"], [10]),
        (["--pid", "10", "--pid", "11"], [10, 11]),
        (["--cgroup", "/data"], [11, 12, 13]),
        (["--comm", "d?"], [11, 12, 13]),
        (["--comm", "db", "--pid", "11"], [11]),
    ],
)
def test_a_selection(tmp_path: Path, args: list[str], pids: list[int]) -> None:
    """Only what was asked for is in the capture, and who would not say whether it is meant."""
    assert 0 == run(*args, "-o", tmp_path / "c").exit_code
    assert pids == CaptureSource(tmp_path / "c").pids()


def test_json_has_everything(tmp_path: Path) -> None:
    """`--json` gives rows by table, size, who could not be read and the limits."""
    said = json.loads(run("--all", "--json", "-o", tmp_path / "c").output)
    size = sum(path.stat().st_size for path in (tmp_path / "c").iterdir())
    assert ({"processes": 2, "regions": 2, "blocks": 2, "runs": 2, "folios": 2, "cgroups": 0}, size) == (
        said["rows"],
        said["bytes"],
    )
    assert [12, 13] == [who["pid"] for who in said["unreadable"]]
    assert (["no BPF here"], False, False) == (said["limits"], said["raw"], said["anonymised"])


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    """A second capture under the same name is refused with exit code 2, and made with --force."""
    assert 0 == run("--pid", 10, "-o", tmp_path / "c").exit_code
    refused = run("--pid", 11, "-o", tmp_path / "c")
    assert (2, True) == (refused.exit_code, "--force replaces a capture" in refused.stderr)
    assert [10] == CaptureSource(tmp_path / "c").pids()
    assert 0 == run("--pid", 11, "-o", tmp_path / "c", "--force").exit_code
    assert [11] == CaptureSource(tmp_path / "c").pids()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 2, "which processes?"),
        (["--all", "--pid", "1"], 2, "--all is every process"),
        (["--comm", "nobody", "--pid", "10"], 2, "no process was selected"),
        (["--pid", "x"], 2, "not a valid integer"),
        (
            ["--pid", "12"],
            3,
            "none of the processes could be read; the first: 12 (refuses): permission denied",
        ),
    ],
)
def test_a_mistake_is_one_clear_message(tmp_path: Path, args: list[str], code: int, message: str) -> None:
    """What cannot be done is told once, on standard error alone, and nothing is written."""
    result = run(*args, "-o", tmp_path / "c")
    assert (code, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert [] == os.listdir(tmp_path)


def test_a_capture_of_itself_alone_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody but the command itself could be read, nothing is written, unless it was asked for."""
    alone = replace(SOURCE, processes=SOURCE.processes[:1], own_pid=10)
    monkeypatch.setattr(live_source, "open_live_source", lambda: nullcontext(alone))
    result = run("--all", "-o", tmp_path / "c")
    assert (3, []) == (result.exit_code, os.listdir(tmp_path))
    assert "none of the processes could be read; the first: 12 (refuses)" in result.stderr
    asked = run("--pid", 10, "--pid", 12, "-o", tmp_path / "c")
    assert 0 == asked.exit_code
    assert ": 1 process, this command among them, 1 region, 1 run of pages" in asked.stdout


def test_a_place_where_nothing_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is named as it was asked for, and not by its temporary name."""

    def forbidden(self: Path, mode: int) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    result = run("--all", "-o", tmp_path / "c")
    assert (3, f"{tmp_path / 'c'}: Permission denied: nothing was written\n") == (
        result.exit_code,
        result.stderr,
    )


def test_a_target_that_cannot_be(tmp_path: Path) -> None:
    """A parent that does not exist, or is a file, is a wrong input; control characters are spelled out."""
    (tmp_path / "file").write_text("")
    for parent in ("missing\x1b[2J", "file"):
        result = run("--all", "-o", tmp_path / parent / "c")
        assert (2, "") == (result.exit_code, result.stdout)
        assert "is no directory" in result.stderr
        assert "\x1b" not in result.stderr


def test_a_disk_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is this machine's fault: exit code 3, with the file's name, and nothing is left behind."""

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(capture_tables, "write_durably", full)
    result = run("--all", "-o", tmp_path / "c")
    assert (3, f"{tmp_path / 'c'}: No space left on device: nothing was written\n") == (
        result.exit_code,
        result.stderr,
    )
    assert [] == os.listdir(tmp_path)


def test_a_machine_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be asked, the exit code is 3, with the reason."""

    def cannot() -> object:
        raise CannotHere("no /proc here")

    monkeypatch.setattr(live_source, "open_live_source", cannot)
    result = run("--all", "-o", tmp_path / "c")
    assert (3, "no /proc here\n") == (result.exit_code, result.stderr)


def test_ctrl_c_ends_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle leaves nothing behind, and is told in one line."""

    def interrupted(self: MemorySource, pid: int) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(MemorySource, "process", interrupted)
    monkeypatch.setattr(MemorySource, "identity", lambda self, pid: pytest.fail("--all asks nobody's name"))
    result = run("--all", "-o", tmp_path / "c")
    assert (130, "interrupted: nothing was written\n") == (result.exit_code, result.stderr)
    assert [] == os.listdir(tmp_path)
