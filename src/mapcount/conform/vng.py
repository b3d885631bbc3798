"""Runs a command inside another kernel, booted by virtme-ng in QEMU with this machine's own files.

The guest sees our root file system, read-only with what it writes kept in its memory, so it runs the same
Python and the same `mapcount` as we do, from the same paths. One folder is shared for writing; what the
command prints comes back through it. virtme-ng works out QEMU's command line, and we start QEMU ourselves: it
is then our only child, and the kernel kills it if we die in whatever way.

KVM is used where it works. That is found out by trying: there are machines where /dev/kvm exists, opens, and
cannot run anything. Emulation is some twenty times slower.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapcount.live.snapshot import CannotHere
from mapcount.scenario.syntax import visible

QEMU = "qemu-system-x86_64"
PR_SET_PDEATHSIG = 1
LAST_LINES = 12
"""How much of the console a message shows."""

KERNEL_OPTIONS = (
    "nokaslr",
    "no5lvl",  # struct pages are then where they are by default
    # Files are read once and kept: the guest is alone, and they do not change while it looks.
    "rootflags=version=9p2000.L,trans=virtio,access=any,msize=524288,cache=loose",
)
PREPARE = """\
if [ -b /dev/ram0 ]; then mkswap /dev/ram0 && swapon /dev/ram0; fi >/dev/null 2>&1
{
    echo 16 >/proc/sys/vm/nr_hugepages
    echo 4294967295 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
} 2>/dev/null
"""
"""Stories may need swap and hugetlb pages, and take so long when emulated that khugepaged would join in. The
guest is thrown away, so it may have the settings it likes."""
ENVIRONMENT = "export PYTHONDONTWRITEBYTECODE=1 TMPDIR=/dev/shm\n"
"""Of the guest's file systems only those in memory can be written."""
EMULATED = "export NPY_DISABLE_CPU_FEATURES='AVX2 X86_V3'\n"
"""QEMU 7.2 emulates AVX2 with an error in it that makes numpy's argsort and unique wrong."""

COMPLAINT = re.compile(r"\b(WARNING: |BUG: |Oops|kernel BUG at|Kernel panic|Bad page state|rcu.*stall)")
"""How a kernel says on its console that it found itself broken."""


class NoKernel(ValueError):
    """The file given is no kernel that could be booted; says why."""


@dataclass(frozen=True, slots=True)
class GuestResult:
    """What a command inside the guest came to."""

    status: int
    """Its exit status."""
    stdout: str
    stderr: str
    console: tuple[str, ...]
    """What the guest's kernel printed. Comes from outside: escape it."""
    release: str
    """The kernel, in its image's own words: `7.3.4 (who@where) #1 SMP ...`."""
    kvm: bool
    """By KVM? Else QEMU emulated it."""
    seconds: float

    @property
    def complaints(self) -> tuple[str, ...]:
        """Lines of the console in which the kernel says that something in it is broken."""
        return tuple(line for line in self.console if COMPLAINT.search(line))


def run_in_guest(
    bzimage: Path,
    argv: Sequence[str],
    *,
    folder: Path,
    memory: str = "2G",
    cpus: int = 2,
    timeout: float = 3600,
) -> GuestResult:
    """Boot a kernel, run one command in it as root in the current directory, and return what came of it.

    `folder` is a directory that the guest may write to; it has the same path there. `memory` is in QEMU's
    words. After `timeout` seconds the guest is killed.

    Raises NoKernel for a file that is no x86 kernel image, and CannotHere where no guest can run, where this
    kernel does not come up, or where it does not finish in time; the end of its console is in the message.
    """
    release = kernel_release(bzimage)
    _need_tools()
    kvm = kvm_works()
    with tempfile.TemporaryDirectory(prefix="mapcount-guest-", dir=folder) as private:
        answers = Path(private)
        (answers / "prepare").write_text(PREPARE)
        (answers / "command").write_text(
            (ENVIRONMENT if kvm else ENVIRONMENT + EMULATED) + _script(argv, answers)
        )
        command = _qemu_command(bzimage, answers, folder, memory, cpus, kvm)
        start = time.monotonic()
        console, in_time = _run_qemu(command, timeout)
        seconds = time.monotonic() - start
        try:
            status = int((answers / "status").read_text())
        except (OSError, ValueError):
            what = "ended before the command did" if in_time else f"did not finish in {timeout:g} seconds"
            raise CannotHere(_with_console(f"{bzimage} (Linux {release}) {what}", console)) from None
        stdout, stderr = (
            (answers / name).read_text(encoding="utf-8", errors="replace") for name in ("stdout", "stderr")
        )
    return GuestResult(status, stdout, stderr, tuple(console), release, kvm, seconds)


def conform_in_guest(
    bzimage: Path, arguments: Sequence[str], *, record: bool = False, timeout: float = 3600
) -> tuple[dict[str, Any], str]:
    """Run `mapcount conform` there: scenarios and options as here, except --vng, -o, --json and --record.

    Gives what its --json says, with `guest` added, which is about the guest itself; and with `record` the
    text of the recording. Raises what `run_in_guest` raises, and CannotHere if the command could not run.
    """
    with tempfile.TemporaryDirectory(prefix="mapcount-conform-") as name:
        folder = Path(name)
        recording = folder / "recording.jsonl"
        argv = [sys.executable, "-m", "mapcount", "conform", *arguments, "--json", "--set-thp"]
        argv += ["-o", str(folder / "deviations")]
        argv += ["--record", str(recording)] if record else []
        guest = run_in_guest(bzimage, argv, folder=folder, timeout=timeout)
        try:
            data = json.loads(guest.stdout)
        except ValueError:
            said = guest.stderr.splitlines()
            raise CannotHere(
                _with_console(f"mapcount conform in the guest exited with {guest.status}", said)
            ) from None
        data["guest"] = {
            "image": str(bzimage),
            "release": guest.release,
            "kvm": guest.kvm,
            "seconds": guest.seconds,
            "complaints": list(guest.complaints),
        }
        return data, recording.read_text(encoding="utf-8") if recording.exists() else ""


def kernel_release(bzimage: Path) -> str:
    """What an x86 kernel image says it is. Raises NoKernel."""
    try:
        with bzimage.open("rb") as image:
            head = image.read(0x8000)
    except OSError as error:
        raise NoKernel(f"{bzimage}: {error.strerror}") from None
    # Documentation/arch/x86/boot.rst: a magic word at 0x202; at 0x20e, where the version's text is.
    if head[0x202:0x206] != b"HdrS":
        raise NoKernel(f"{bzimage}: not a bootable x86 kernel image (a bzImage, as in arch/x86/boot/)")
    at = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    return head[at:].split(b"\0", 1)[0][:200].decode("ascii", "replace")


def kvm_works() -> bool:
    """Can QEMU make a virtual machine with KVM here? Tries, because /dev/kvm alone means little."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = [
        QEMU,
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-nodefaults",
        "-display",
        "none",
        "-S",
        "-monitor",
        "stdio",
    ]
    try:
        tried = subprocess.run(command, input=b"quit\n", capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def _need_tools() -> None:
    if platform.machine() != "x86_64":
        raise CannotHere(
            f"guests need an x86-64 machine: they run its own files, and this is {platform.machine()}"
        )
    if shutil.which(QEMU) is None:
        raise CannotHere(f"{QEMU} is not installed: Debian has it in qemu-system-x86")
    if importlib.util.find_spec("virtme") is None:
        raise CannotHere("virtme-ng is not installed: pip install 'mapcount[vng]'")


def _script(argv: Sequence[str], answers: Path) -> str:
    at = {name: shlex.quote(str(answers / name)) for name in ("stdout", "stderr", "status")}
    return (
        f"cd {shlex.quote(os.getcwd())} || exit\n"
        f"{shlex.join(argv)} </dev/null >{at['stdout']} 2>{at['stderr']}\n"
        f"echo $? >{at['status']}\n"
    )


def _qemu_command(bzimage: Path, answers: Path, folder: Path, memory: str, cpus: int, kvm: bool) -> list[str]:
    """Ask virtme-ng how to start QEMU."""
    script = "; ".join(f"sh {shlex.quote(str(answers / name))}" for name in ("prepare", "command"))
    plan = [sys.executable, "-m", "virtme.commands.run", "--dry-run", "--show-command"]
    plan += ["--kimg", str(bzimage.resolve()), "--mods", "none", "--memory", memory, "--cpus", str(cpus)]
    plan += ["--force-9p", "--disable-microvm", "--rwdir", str(folder), "--show-boot-console", "--verbose"]
    plan += [] if kvm else ["--disable-kvm"]
    for option in KERNEL_OPTIONS:
        plan += ["--kopt", option]
    done = subprocess.run(
        [*plan, "--script-sh", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(answers)},  # it leaves files behind
    )
    lines = done.stdout.splitlines()
    if not lines or QEMU not in lines[-1]:
        raise CannotHere(
            _with_console("virtme-ng could not plan the guest", (done.stdout + done.stderr).splitlines())
        )
    return shlex.split(lines[-1])


def _run_qemu(command: Sequence[str], timeout: float) -> tuple[list[str], bool]:
    """Run QEMU to its end. Returns the console's lines, and whether it ended in time."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def die_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before that
            os._exit(1)

    qemu = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,  # the kernel's console goes there
        start_new_session=True,  # a Ctrl-C is for us
        preexec_fn=die_with_parent,
    )
    try:
        _, console = qemu.communicate(timeout=timeout)
        in_time = True
    except subprocess.TimeoutExpired:
        qemu.kill()
        _, console = qemu.communicate()
        in_time = False
    finally:
        qemu.kill()
        qemu.wait()
    return console.decode("utf-8", "replace").splitlines(), in_time


def _with_console(message: str, console: Sequence[str]) -> str:
    last = [visible(line) for line in console if line.strip()][-LAST_LINES:]
    return (
        "\n  ".join([f"{message}; the last it said:", *last]) if last else f"{message}, and it said nothing"
    )
