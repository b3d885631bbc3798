"""`mapcount bench`: usage, exit codes, and small runs on the running kernel (never how fast it is)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import mapcount.cli.bench
from mapcount.bench import room
from mapcount.bench.story import BENCHMARKS
from mapcount.cli.bench import bench
from mapcount.live.snapshot import CannotHere
from mapcount.live.thp import THP, Thp, read_thp, thp_settings

from .rows import MTHP, mistaken, row

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="measures a Linux kernel")
SETTABLE = pytest.mark.skipif(
    not (os.access(THP / "hugepages-64kB/enabled", os.W_OK) and os.geteuid() == 0),
    reason="not root, or a kernel without mTHP: needs to write /sys",
)
TINY = ("--gib", "0.0625", "--runs", "1")


def run(*arguments: str) -> Result:
    """The command's result on a pipe."""
    return CliRunner().invoke(bench, arguments)


def settings() -> Thp:
    """The THP settings while nobody has them changed for a measurement of his own."""
    with thp_settings():
        return read_thp()


def as_json(*arguments: str) -> Any:
    """What `--json` says; it must have ended well."""
    result = run(*arguments, "--json")
    assert 0 == result.exit_code, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("mremap",),
        ("fork", "--size", "63K"),
        ("fork", "--size", "8K"),
        ("fork", "--size", "4M"),
        ("fork", "--size", ""),
        ("fork", "--size", "4K,,64K"),
        ("fork", "--size", "\x1b[31m"),
        ("fork", "--runs", "0"),
        ("fork", "--gib", "0"),
        ("fork", "--gib", "nan"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    """Unknown benchmarks and sizes, and numbers that make no sense, are wrong usage."""
    result = run(*arguments)
    assert 2 == result.exit_code
    assert "\x1b" not in result.output


def test_help_has_an_example_and_says_what_is_written() -> None:
    """`--help` shows how to call it, and names the settings that `--set-thp` writes."""
    result = run("--help")
    assert 0 == result.exit_code
    assert "mapcount bench munmap --size 4K,64K,2M --set-thp" in result.output
    assert "/sys/kernel/mm/transparent_hugepage/hugepages-*" in result.output


def test_importing_the_command_imports_nothing_heavy() -> None:
    """Start-up stays fast: numpy and rich come when there is something to measure."""
    code = "import sys, mapcount.cli.bench; sys.exit(bool({'rich', 'numpy', 'polars'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_a_machine_without_room_exits_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is not there is not taken; the message says what would help."""
    monkeypatch.setattr(room, "available_kib", lambda: 1 << 20)
    result = run("fork")
    assert 3 == result.exit_code
    assert "--gib takes less" in result.output


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (CannotHere("no such feature"), "no such feature"),
        (PermissionError(13, "Permission denied"), "[Errno 13] Permission denied"),
        (MemoryError(), "this process may have no more memory (ulimit -v)"),
    ],
)
def test_a_machine_that_cannot_exits_with_3(
    monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    """Whatever the machine refuses, one line says so."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(mapcount.cli.bench, "_measure", refuse)
    result = run("fork")
    assert (3, f"mapcount bench: {says}\n") == (result.exit_code, result.output)


@LINUX
def test_a_size_that_is_not_enabled_exits_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without permission nothing is written; the message says what would be."""
    thp = replace(read_thp(tmp_path), anon={64: "never", 2048: "always"})
    monkeypatch.setattr("mapcount.live.thp.read_thp", lambda: thp)
    result = run("fork", "--size", "64K", *TINY)
    assert 3 == result.exit_code
    assert f"--set-thp would write {tmp_path}/enabled = madvise" in result.output


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("copied", [1.0, 0.5])
def test_a_deviation_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, copied: float, options: tuple[str, ...]
) -> None:
    """Other copies than simulated are a finding, which is shown; the same copies are none."""
    (_, third, _) = BENCHMARKS["cow"]
    found = mistaken()
    found = replace(found, rows=(*found.rows[:4], row(third, MTHP, 3000, copied=copied), *found.rows[5:]))
    monkeypatch.setattr(mapcount.cli.bench, "_measure", lambda *_, **__: found)
    result = run("cow", *options)
    assert (copied != 1.0) == result.exit_code
    assert (copied != 1.0) == ("DEVIATES" in result.stdout or '"deviates": true' in result.stdout)


@LINUX
@pytest.mark.parametrize("name", BENCHMARKS)
def test_small_folios_can_be_measured_anywhere(name: str) -> None:
    """Every story is acted out once with 64 MiB, takes some time, and gets what it asked for."""
    data = as_json(name, "--size", "4K", *TINY)
    assert [story.name for story in BENCHMARKS[name]] == [story["name"] for story in data["stories"]]
    for (found,) in (story["rows"] for story in data["stories"]):
        (sample,) = found["samples"]
        assert sample["ns"] > 0
        assert found["share"] in (1.0, None)
    assert 16384 == data["nr_pages"]
    assert [] == data["written"]


@LINUX
@SETTABLE
def test_each_size_is_used_in_its_turn() -> None:
    """Settings are written for it and put back; the kernel copies what the simulator says it copies."""
    before = settings()
    data = as_json("cow", "--size", "16K,64K,2M", "--set-thp", *TINY)
    assert before == settings()
    assert str(THP / "hugepages-64kB/enabled") in data["written"] or before.anon[64] != "never"
    gone, third, shared = data["stories"]
    for story in (gone, third, shared):
        assert [(16, "pte"), (64, "pte"), (2048, "pte"), (2048, "pmd")] == [
            (r["folio_kib"], r["mapped_by"]) for r in story["rows"]
        ]
        assert all(0.9 < r["share"] <= 1 for r in story["rows"])
    assert [0, 0, 0, 0] == [round(r["copied"]["observed"]) for r in gone["rows"]]
    assert [1, 1, 1, 0] == [round(r["copied"]["observed"]) for r in third["rows"]]
    assert [1, 1, 1, 1] == [round(r["copied"]["observed"]) for r in shared["rows"]]


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process, and a word by which all that it starts is known."""
    mark = f"MAPCOUNT_TEST={uuid.uuid4()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "mapcount", "bench", *arguments],
        env=dict(os.environ) | dict([mark.split("=")]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, mark
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def marked(mark: str) -> list[int]:
    """Processes with the mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def eventually(condition: Any, seconds: float = 60) -> bool:
    """Does it become true in that time?"""
    end = time.monotonic() + seconds
    while not (done := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return bool(done)


@LINUX
@SETTABLE
@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)], ids=str
)
def test_nothing_is_left_behind(how: signal.Signals, code: int) -> None:
    """However it is ended in the middle, its processes are gone and the settings are as they were."""
    before = settings()
    with started("munmap", "--size", "64K", "--set-thp", "--gib", "0.0625", "--runs", "1000") as (
        process,
        mark,
    ):
        assert eventually(lambda: len(marked(mark)) >= 3, 300), "command, guard and agent"
        process.send_signal(how)
        assert code == process.wait(60)
        assert eventually(lambda: not marked(mark))
    assert before == settings()
