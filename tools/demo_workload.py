"""A few small processes that give `mapcount audit` something to show, and a capture of them.

    sudo .venv/bin/python tools/demo_workload.py                    # audit them while they run
    sudo .venv/bin/python tools/demo_workload.py -o demo.capture    # how captures/demo.capture was made

`web` is a pre-fork server: a table of huge pages that its two workers share, sessions in a memfd, and some
memory in small pages. `web-worker` (one of the two) wrote to a page of the table, so that a huge page is
mapped by a PMD in some and by PTEs in others. `batch` freed parts of its huge pages: a half of one, and one
page in 16 of others. `left-alone` has outlived the two processes it shared its memory with: nobody else maps
that, and the kernel cannot know.

The processes end when this program does, in whatever way. With `-o`, they run in a PID namespace, so that
their numbers are small, and see their control group as the root, so that its name stays secret.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

K, M = 1 << 10, 1 << 20
PAGE = mmap.PAGESIZE
ACTORS = ("web", "web-worker", "web-worker", "batch", "left-alone")
INSIDE, ACT = "--inside", "--act"
PR_SET_NAME = 15
MADV_NOHUGEPAGE = 15
CANNOT = 3


def act() -> None:
    """Be all of the processes: each says its name and number, and waits for the end of standard input."""
    for part in (batch, left_alone, web):
        if not os.fork():
            part()
            os._exit(0)
    wait_for_the_end()


def web() -> None:
    """A server and its two workers."""
    table, _plain = memory(8 * M, mmap.MADV_HUGEPAGE), memory(512 * K, MADV_NOHUGEPAGE)
    fd = os.memfd_create("sessions")
    os.ftruncate(fd, 512 * K)
    sessions = mmap.mmap(fd, 512 * K)
    write(sessions, 0, 512 * K)
    for number in range(2):
        if not os.fork():
            write(table, 2 * M, PAGE * number)
            write(sessions, 0, 256 * K)
            stay("web-worker")
    stay("web")


def batch() -> None:
    """Half of one huge page is freed, and one page in 16 of another and of smaller folios."""
    work = memory(4 * M, mmap.MADV_HUGEPAGE)
    free(work, M, M)
    small = memory(M, mmap.MADV_HUGEPAGE)
    for start in range(2 * M, 4 * M, 16 * PAGE):
        free(work, start, PAGE)
    for start in range(0, M, 16 * PAGE):
        free(small, start, PAGE)
    stay("batch")


def left_alone() -> None:
    """The third process to map two folios, of which the first two leave."""
    name("launcher")
    big, small = memory(2 * M, mmap.MADV_HUGEPAGE), memory(M, mmap.MADV_HUGEPAGE)
    free(big, 0, PAGE)  # now PTEs map the rest, and the kernel counts each of them
    launcher_gone, launcher_here = os.pipe()
    both_gone, either_here = os.pipe()
    if not os.fork():
        name("helper")
        os.close(launcher_here)
        os.read(launcher_gone, 1)
        return
    if not os.fork():
        os.close(launcher_here)
        os.close(either_here)
        os.read(both_gone, 1)
        write(small, 0, 64 * K)  # copied, though nobody else maps it
        stay("left-alone")


def memory(size: int, advice: int) -> mmap.mmap:
    """New private memory, written to."""
    found = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    found.madvise(advice)
    write(found, 0, size)
    return found


def write(memory: mmap.mmap, start: int, size: int) -> None:
    """Write a byte to each page."""
    for at in range(start, start + size, PAGE):
        memory[at] = 1


def free(memory: mmap.mmap, start: int, size: int) -> None:
    """Give pages back."""
    memory.madvise(mmap.MADV_DONTNEED, start, size)


def name(comm: str) -> None:
    """Call this process so."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, comm.encode(), 0, 0, 0)


def stay(comm: str) -> None:
    """Be there as `comm` until the end."""
    name(comm)
    os.write(1, f"{comm} {os.getpid()}\n".encode())
    wait_for_the_end()
    os._exit(0)


def wait_for_the_end() -> None:
    """Until whoever started all this is gone."""
    os.read(0, 1)


@contextlib.contextmanager
def workload() -> Iterator[dict[int, str]]:
    """The processes, by number, all of them ready."""
    python = next(path for path in ("/usr/bin/python3", sys.executable) if os.access(path, os.X_OK))
    command = [python, "-I", "-S", __file__, ACT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as actors:
        assert actors.stdin is not None
        assert actors.stdout is not None
        ready = (actors.stdout.readline().split() for _ in ACTORS)
        yield {int(pid): comm for comm, pid in ready}
        actors.stdin.close()


@contextlib.contextmanager
def folios_of_64k() -> Iterator[None]:
    """Let memory that asks for large folios have those of 64K too, if this kernel has them."""
    from mapcount.live.snapshot import CannotHere
    from mapcount.live.thp import read_thp, thp_settings

    try:
        wanted = read_thp().writes_for(64)
    except CannotHere as error:
        print(f"without {error}", file=sys.stderr)
        wanted = {}
    with thp_settings(wanted):
        yield


def write_demo(target: Path, *, force: bool) -> None:
    """Capture the workload."""
    from mapcount.audit.reading import Reading
    from mapcount.live.capture_write import write_capture
    from mapcount.live.live_source import open_live_source
    from mapcount.live.selection import Selection

    with contextlib.ExitStack() as stack:
        with folios_of_64k():
            pids = stack.enter_context(workload())
        source = stack.enter_context(open_live_source())
        selection = Selection(pids=tuple(pids))
        written = write_capture(source, selection, target, force=force, reading=Reading)
    print(f"wrote {written.path}: {written.rows['runs']} runs, {written.bytes} bytes")


def write_inside_namespaces(arguments: list[str]) -> int:
    """Start this program again where PIDs begin with 1 and control groups with ours; its exit code."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--cgroup"]
    own_root = "umount /sys/fs/cgroup/memory && mount -t cgroup -o memory none /sys/fs/cgroup/memory"
    script = f'{own_root} 2>/dev/null; exec "$@"'
    return subprocess.call([*unshare, "sh", "-c", script, "-", sys.executable, __file__, INSIDE, *arguments])


def main() -> int:
    """Run the workload; capture it, or say how to audit it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-o", dest="target", metavar="DIR", type=Path, help="capture the processes")
    parser.add_argument("--force", action="store_true", help="replace a capture at DIR")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(ACT, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.act:
        act()
    elif os.geteuid():
        print("run as root: others cannot see page frames", file=sys.stderr)
        return CANNOT
    elif arguments.inside:
        write_demo(arguments.target, force=arguments.force)
    elif arguments.target:
        return write_inside_namespaces(sys.argv[1:])
    else:
        with folios_of_64k(), workload() as pids:
            print("mapcount audit", *(f"--pid {pid}" for pid in pids))
            with contextlib.suppress(KeyboardInterrupt):
                input("Enter ends it. ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
