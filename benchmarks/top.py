"""What `mapcount top --all` costs: its share of one core, on a machine with 200 processes.

Small processes that share libraries are started in a PID namespace of their own, and beside them some that
keep changing: each of those maps a page more every second. The command runs in a pseudoterminal of 120 x 40
for some time after its first audit, and its CPU time, thread by thread, is divided by that time. Figure to
reach: at most 5 % of one core for all threads.

    python benchmarks/top.py [--processes N] [--changing N] [--seconds N]

Needs root. Processes end with this program.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

ROWS, COLUMNS = 40, 120
SHARE_TO_REACH = 0.05
TICKS = os.sysconf("SC_CLK_TCK")
SLEEPS = "import time; print(flush=True); time.sleep(3600)"
CHANGES = (
    "import mmap, time; m = mmap.mmap(-1, 1 << 30); print(flush=True)\n"
    "for at in range(0, 1 << 30, 4096): m[at] = 1; time.sleep(1)"
)


def started(nr: int, code: str) -> list[subprocess.Popen[bytes]]:
    """So many processes that run this, all of them begun."""
    command = [sys.executable, "-I", "-S", "-c", code]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(nr)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    return processes


def begin() -> tuple[int, int]:
    """`mapcount top --all` in a terminal of its own: PID and the terminal's other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "mapcount", "top", "--all"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    return pid, terminal


def drain(terminal: int, seconds: float) -> bytes:
    """Everything it draws in some time."""
    drawn, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            drawn += os.read(terminal, 1 << 16)
    return drawn


def cpu_by_thread(pid: int) -> dict[int, float]:
    """Seconds of CPU time of each thread so far."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        found[int(task.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def inside(nr: int, changing: int, seconds: float) -> None:
    """Measure, as the first process of the namespace."""
    processes = started(nr - changing, SLEEPS) + started(changing, CHANGES)
    pid, terminal = begin()
    began, drawn = time.monotonic(), b""
    while b"predicted" not in drawn:
        drawn += drain(terminal, 0.2)
        if time.monotonic() - began > 120:
            raise TimeoutError("nothing was shown in two minutes")
    first = sum(cpu_by_thread(pid).values())
    print(f"{nr} processes, {changing} of them changing every second; {COLUMNS} x {ROWS}")
    print(f"until the first audit is shown: {time.monotonic() - began:.1f} s, {first:.1f} s of CPU time")
    before, at = cpu_by_thread(pid), time.monotonic()
    size = len(drain(terminal, seconds))
    after, took = cpu_by_thread(pid), time.monotonic() - at
    shares = {task: (cpu - before.get(task, 0.0)) / took for task, cpu in after.items()}
    screen = shares.pop(pid)
    print(f"then, in {took:.0f} s: {100 * (screen + sum(shares.values())):.1f} % of one core")
    print(f"  reading {100 * sum(shares.values()):.1f} %, the screen {100 * screen:.1f} %")
    print(f"  {size / took:.0f} bytes a second drawn")
    print(f"to reach: at most {100 * SHARE_TO_REACH:.0f} %", flush=True)
    os.write(terminal, b"q")
    with contextlib.suppress(OSError):
        drain(terminal, 3)
    os.waitpid(pid, 0)
    for process in processes:
        process.kill()
        process.communicate()


def main() -> int:
    """Print it; 3 where it cannot be measured."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--processes", type=int, default=200)
    options.add_argument("--changing", type=int, default=10)
    options.add_argument("--seconds", type=float, default=180)
    options.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.inside:
        inside(given.processes, given.changing, given.seconds)
        return 0
    command = [sys.executable, __file__, *sys.argv[1:], "--inside"]
    try:
        subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *command], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"cannot be measured here: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
