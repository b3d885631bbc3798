"""Running a command in another kernel, without one: what stands in for QEMU plays the guest.

The guests themselves are tried by `make test-kernels`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from mapcount.cli import mapcount
from mapcount.conform.vng import GuestResult, NoKernel, kernel_release, kvm_works, run_in_guest
from mapcount.live.snapshot import CannotHere

RELEASE = "7.3.4 (who@where) #1 SMP"
VERSION = 'case "$*" in --version) echo QEMU emulator version 9.2.0; exit;; *accel*kvm*) exit 1;; esac\n'
"""What virtme-ng asks QEMU before it starts it, and how the try of KVM ends."""
OBEYS = r"""
script=$(echo "$*" | sed -n 's/.*virtme.exec=`\([^`]*\)`.*/\1/p' | base64 -d)
eval "${script##*; }"
"""
"""Runs what the guest would be told to run; not what prepares the guest, because this is no guest."""
WHERE = OBEYS.replace('eval "${script##*; }"', "script=${script##*sh }; at=${script%/*}")
"""Does not run it, but finds the folder for its answers."""
STORY = Path(__file__).resolve().parents[2] / "scenarios" / "prefork.scn"


def image(folder: Path, text: str = RELEASE) -> Path:
    """The head of a kernel image that says it is `text`."""
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x100).to_bytes(2, "little")
    head[0x300 : 0x301 + len(text)] = text.encode() + b"\0"
    path = folder / "bzImage"
    path.write_bytes(head)
    return path


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a shell script be QEMU."""
    if importlib.util.find_spec("virtme") is None:
        pytest.skip("virtme-ng is not installed (pip install 'mapcount[vng]')")
    qemu = folder / "qemu-system-x86_64"
    qemu.write_text(f"#!/bin/sh\n{VERSION}{script}")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def guest(folder: Path, *argv: str, timeout: float = 60) -> GuestResult:
    """Run a command in the kernel of `image`."""
    return run_in_guest(image(folder), argv, folder=folder, timeout=timeout)


def test_an_image_says_which_kernel_it_is(tmp_path: Path) -> None:
    """The release is read from the image's header."""
    assert RELEASE == kernel_release(image(tmp_path))


@given(st.binary(max_size=2048) | st.binary(min_size=520).map(lambda b: b[:0x202] + b"HdrS" + b[0x206:]))
def test_what_is_no_kernel_is_refused_by_name(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """A file of whatever bytes is a kernel if it has the magic word; else an error names it."""
    path = tmp_path_factory.mktemp("image") / "bzImage"
    path.write_bytes(data)
    if data[0x202:0x206] == b"HdrS":
        kernel_release(path)
    else:
        with pytest.raises(NoKernel, match=re.escape(str(path))):
            kernel_release(path)


def test_a_missing_image_is_refused_by_name(tmp_path: Path) -> None:
    """A file that is not there is named, with the reason."""
    with pytest.raises(NoKernel, match=r"nowhere: No such file"):
        kernel_release(tmp_path / "nowhere")


def test_a_machine_without_qemu_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without QEMU the message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotHere, match="qemu-system-x86"):
        guest(tmp_path, "true")
    assert not kvm_works()


def test_output_and_status_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's output, errors and exit status are the guest's result, whatever characters are in it."""
    stand_in(tmp_path, monkeypatch, f"echo '[ 0.1] WARNING: a lock is held' >&2{OBEYS}")
    code = "import sys, os; print(os.getcwd(), '\"é $HOME `x`'); print('oops', file=sys.stderr); sys.exit(7)"
    result = guest(tmp_path, sys.executable, "-c", code)
    assert 7 == result.status
    assert f'{os.getcwd()} "é $HOME `x`\n' == result.stdout
    assert "oops\n" == result.stderr
    assert ("[ 0.1] WARNING: a lock is held",) == result.complaints
    assert (RELEASE, False) == (result.release, result.kvm)


def test_nothing_stays_in_the_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the guest wrote on purpose stays; what carried orders and answers is gone."""
    stand_in(tmp_path, monkeypatch, OBEYS)
    guest(tmp_path, "touch", str(tmp_path / "result"))
    assert {"bzImage", "qemu-system-x86_64", "result"} == {path.name for path in tmp_path.iterdir()}


def test_a_kernel_that_panics_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the guest ends before its command, the message has the end of its console, escaped."""
    stand_in(tmp_path, monkeypatch, "printf 'Kernel panic - not syncing: \\033[2Jno root\\n' >&2")
    with pytest.raises(CannotHere, match=r"Linux 7\.3\.4.* ended before(.|\n)*\\x1b\[2Jno root"):
        guest(tmp_path, "true")


def test_a_kernel_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that does not end in time is killed, and the message says so."""
    stand_in(tmp_path, monkeypatch, "echo booting >&2; echo $$ > ${0%/*}/pid; exec sleep 60")
    with pytest.raises(CannotHere, match=r"did not finish in 1 seconds(.|\n)*booting"):
        guest(tmp_path, "true", timeout=1)
    assert not _alive(int((tmp_path / "pid").read_text()))


def test_a_guest_ends_with_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If we are killed by SIGKILL, so is QEMU."""
    stand_in(tmp_path, monkeypatch, "echo $$ > ${0%/*}/new; mv ${0%/*}/new ${0%/*}/pid; exec sleep 60")
    code = (
        "from pathlib import Path; from mapcount.conform.vng import run_in_guest; "
        f"run_in_guest(Path({str(image(tmp_path))!r}), ['true'], folder=Path({str(tmp_path)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as ours:
        pid = tmp_path / "pid"
        _until(pid.exists)
        ours.send_signal(signal.SIGKILL)
    _until(lambda: not _alive(int(pid.read_text())))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep")
    except OSError:
        return False


def _until(happened: Callable[[], bool]) -> None:
    """Wait for something that happens soon."""
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


ANSWER = {
    "kernel": "7.3.4",
    "flavour": "no-page-mapcount",
    "limits": [],
    "results": [{"scenario": "prefork", "status": "agrees", "shortest": None}],
    "summary": {"agrees": 1, "deviates": 0, "skipped": 0, "steps": 2, "fields": 9}
    | {"known": 0, "deviations": 0, "fleeting": 0},
}
"""What `mapcount conform --json` says in the guest."""


@pytest.mark.parametrize(("console", "code"), [("[ 0.1] Freeing memory", 0), ("[ 0.1] BUG: Bad page", 1)])
def test_conform_in_a_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: str, code: int) -> None:
    """The guest's answer is reported here; a kernel that complains is a finding, whatever the stories say."""
    answers = f"echo '{json.dumps(ANSWER)}' >$at/stdout; touch $at/stderr; echo 0 >$at/status"
    stand_in(tmp_path, monkeypatch, f"echo '{console}' >&2; {WHERE}{answers}")
    result = conform(tmp_path, "--json")
    data = json.loads(result.stdout)
    assert code == result.exit_code
    assert [console] * code == data.pop("guest")["complaints"]
    assert data == ANSWER


def test_a_guest_whose_command_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command in the guest said instead of an answer is shown, and this machine cannot."""
    answers = "echo No module named mapcount >$at/stderr; touch $at/stdout; echo 1 >$at/status"
    stand_in(tmp_path, monkeypatch, WHERE + answers)
    result = conform(tmp_path)
    assert 3 == result.exit_code
    assert "No module named mapcount" in result.stderr


def conform(folder: Path, *options: str) -> Result:
    """`mapcount conform` of a story in the kernel of `image`."""
    argv = ["conform", str(STORY), "--vng", str(image(folder)), "-o", str(folder / "deviations"), *options]
    return CliRunner().invoke(mapcount, argv)
