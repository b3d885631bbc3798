"""A capture is there whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mapcount.live import capture_directory
from mapcount.live.capture_directory import new_directory, remove_stale
from mapcount.live.capture_source import CaptureSource
from mapcount.live.capture_write import write_capture
from mapcount.live.ending import ENDING
from mapcount.live.selection import Selection
from mapcount.live.snapshot import CannotHere

from .fakes import MemorySource, process

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def source(comm: str) -> MemorySource:
    """A machine with one process of this name."""
    return MemorySource([process(1, comm=comm)])


def comm(path: Path) -> str:
    """The name of the one process in a capture."""
    return CaptureSource(path).identity(1).comm


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """Without `force`, whatever is there stays, a dangling link too."""
    write_capture(source("old"), Selection(), tmp_path / "old")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("old", "link"):
        with pytest.raises(FileExistsError):
            write_capture(source("new"), Selection(), tmp_path / name)
    assert "old" == comm(tmp_path / "old")
    assert {"old", "link"} == set(os.listdir(tmp_path))


@pytest.mark.parametrize("one_step", [True, False])
def test_force_replaces_a_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_step: bool) -> None:
    """With `force` the new capture stands where the old one was, and nothing is left beside it."""
    if not one_step:
        monkeypatch.setattr(capture_directory, "RENAME_EXCHANGE", 0xFFFF)
    write_capture(source("old"), Selection(), tmp_path / "c")
    write_capture(source("new"), Selection(), tmp_path / "c", force=True)
    assert "new" == comm(tmp_path / "c")
    assert ["c"] == os.listdir(tmp_path)


def test_force_replaces_nothing_but_captures(tmp_path: Path) -> None:
    """A file, a directory with other files and a link are never replaced."""
    write_capture(source("old"), Selection(), tmp_path / "mixed")
    (tmp_path / "mixed" / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    write_capture(source("old"), Selection(), tmp_path / "capture")
    (tmp_path / "link").symlink_to(tmp_path / "capture")
    for name in ("mixed", "file", "folder", "link"):
        with pytest.raises(FileExistsError, match="is no capture"):
            write_capture(source("new"), Selection(), tmp_path / name, force=True)
    assert "precious" == (tmp_path / "mixed" / "thesis.txt").read_text()
    assert "old" == comm(tmp_path / "capture")


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    """When the block raises, neither the directory nor its temporary name is left."""

    def fail() -> None:
        with new_directory(tmp_path / "c") as folder:
            (folder / "half").write_text("")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [] == os.listdir(tmp_path)


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    """A capture that cannot be replaced, because nothing can be read, is still there."""
    write_capture(source("old"), Selection(), tmp_path / "c")
    with pytest.raises(CannotHere, match="denied"):
        write_capture(MemorySource(refusing={1: "denied"}), Selection(), tmp_path / "c", force=True)
    assert "old" == comm(tmp_path / "c")
    assert ["c"] == os.listdir(tmp_path)


def test_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture may be replaced from inside."""
    write_capture(source("old"), Selection(), tmp_path / "c")
    monkeypatch.chdir(tmp_path / "c")
    write_capture(source("new"), Selection(), Path("."), force=True)
    assert "new" == comm(tmp_path / "c")


def test_only_its_owner_looks_into_it(tmp_path: Path) -> None:
    """A capture tells about processes of all users, so that it is private."""
    write_capture(source("x"), Selection(), tmp_path / "c")
    assert 0o700 == (tmp_path / "c").stat().st_mode & 0o777


SLOW = """
import sys, time
from pathlib import Path
from mapcount.live.capture_directory import new_directory, remove_stale
with new_directory(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("")
    print("writing", flush=True)
    time.sleep(60)
"""


@LINUX
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + 15), (signal.SIGHUP, 128 + 1)],
)
def test_signals_leave_nothing_behind(tmp_path: Path, number: int, code: int) -> None:
    """Ctrl-C and signals that ask to end remove what is unfinished."""
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, tmp_path / "c"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout is not None
    with child:
        assert b"writing\n" == child.stdout.readline()
        assert 1 == len(os.listdir(tmp_path))
        child.send_signal(number)
        assert code == child.wait(30)
    assert [] == os.listdir(tmp_path)


def killed(target: Path) -> Path:
    """What is left of a capture to `target` whose writer was killed in the middle."""
    child = subprocess.Popen([sys.executable, "-c", SLOW, target], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child:
        assert b"writing\n" == child.stdout.readline()
        child.kill()
    (left,) = target.parent.glob(f".{target.name}.{child.pid}-*.new")
    (left / "half").rename(left / "runs-0000.parquet")
    return left


@LINUX
def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    """The next capture to the same place removes it, and says so; one to another place does not."""
    left = killed(tmp_path / "c")
    assert () == write_capture(source("x"), Selection(), tmp_path / "d").removed
    assert left.is_dir()
    assert (left,) == write_capture(source("x"), Selection(), tmp_path / "c").removed
    assert {"c", "d"} == set(os.listdir(tmp_path))


@LINUX
def test_what_somebody_still_writes_is_not_removed(tmp_path: Path) -> None:
    """A directory whose writer is alive stays, by its number and start, and by its lock wherever that is."""
    with new_directory(tmp_path / "c") as folder:
        assert [] == remove_stale(tmp_path / "c", lambda name: True)
        elsewhere = folder.rename(tmp_path / ".c.4194304-7.new")  # as one of another PID namespace looks
        assert [] == remove_stale(tmp_path / "c", lambda name: True)
        elsewhere.rename(folder)
    assert ["c"] == os.listdir(tmp_path)


@LINUX
@pytest.mark.parametrize(
    "name", [".c.4194304-7.new", ".c.4194304.new", "..c.4194304-7.new", ".C.4194304-7.new"]
)
def test_what_is_no_capture_is_not_removed(tmp_path: Path, name: str) -> None:
    """A directory with other files, a link, a file, and other names stay."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("precious")
    (tmp_path / ".c.4194304-8.new").symlink_to(precious)
    (tmp_path / ".c.4194304-9.new").write_text("precious")
    before = set(os.listdir(tmp_path))
    assert () == write_capture(source("x"), Selection(), tmp_path / "c").removed
    assert {"c", *before} == set(os.listdir(tmp_path))
    assert precious.is_dir()


def test_signals_are_left_as_they_were(tmp_path: Path) -> None:
    """Afterwards signals do what they did before, and a handler of somebody else is never replaced."""
    mine = signal.signal(signal.SIGTERM, lambda *_: None)
    # What runs in the background of a shell finds SIGINT ignored.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        before = [signal.getsignal(number) for number in ENDING]
        with new_directory(tmp_path / "c"):
            assert before[1] == signal.getsignal(signal.SIGTERM)
            assert before[0] != signal.getsignal(signal.SIGINT)
        assert before == [signal.getsignal(number) for number in ENDING]
    finally:
        signal.signal(signal.SIGTERM, mine)
        signal.signal(signal.SIGINT, inherited)


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fakes import MemorySource, process
from mapcount.live.capture_write import write_capture
from mapcount.live.ending import ENDING
from mapcount.live.selection import Selection
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
source = MemorySource([process(1, comm="new")])
try:
    write_capture(source, Selection(), Path(sys.argv[1]), force=True)
except OSError as error:
    print(error.strerror)
"""


@LINUX
@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, there: bool) -> None:
    """When a file cannot grow, what was unfinished is removed, and what was there before is still there."""
    if there:
        write_capture(source("old"), Selection(), tmp_path / "c")
    fakes = Path(__file__).parent
    # The fakes import nothing beside them, so they can be imported as a plain module.
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "c", fakes], capture_output=True, text=True, check=True
    )
    assert "File too large\n" == done.stdout
    assert ["c"] * there == os.listdir(tmp_path)
    if there:
        assert "old" == comm(tmp_path / "c")
