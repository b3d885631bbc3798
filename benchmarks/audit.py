"""Auditing against only reading: how much does it cost to understand what the kernel's files say?

*One process.* It has N GiB in equal parts of huge pages mapped by PMDs, huge pages mapped by PTEs, smaller
large folios and small pages. The audit (smaps, page tables, frames, struct folio, and all predictions) is
compared with reading the same process's pagemap, and kpageflags and kpagecount of the same frames, in blocks
as big as possible, sorted by frame, and thrown away. Figure to reach: at most 1.5 times as long.

*Memory.* What `mapcount audit` takes at most for that process, and for one that maps one stretch of shared
memory 64 times over. Figure to reach: less than 200 MiB.

*Many processes.* 5, 50 and 500 small processes that share libraries, all audited in one pass, in a PID
namespace of their own. The time per mapped page should stay what it is.

    python benchmarks/audit.py [--gib N] [--runs N] [--set-thp] [one] [memory] [many]

Needs root. `--set-thp` enables 64 KiB folios in /sys while memory is filled, and puts the setting back;
without it the kernel chooses the size of what is called `large` here. Times are the least of all runs; beside
them the time that the CPU was ours, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mapcount.audit.machine import audit
from mapcount.live.frames import Stretches
from mapcount.live.live_source import LiveSource, open_live_source
from mapcount.live.pagemap import FRAME, PRESENT, Pagemap, extents
from mapcount.live.snapshot import CannotHere
from mapcount.live.thp import read_thp, thp_settings
from mixed_memory import OFTEN

RATIO_TO_REACH = 1.5
MIB_TO_REACH = 200
SORTS = ("pmd", "pte", "large", "small")
LARGE_KIB = 64
BLOCK = 1 << 16
PAGE = mmap.PAGESIZE
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Seconds:
    """The least of several runs."""

    wall: float
    cpu: float

    @classmethod
    def of(cls, runs: int, work: Callable[[], object]) -> Seconds:
        """Do it so many times."""
        walls, cpus = [], []
        for _ in range(runs):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        return cls(min(walls), min(cpus))


@contextlib.contextmanager
def mixed_memory(mib: int, *sorts: str) -> Iterator[int]:
    """A process with so much memory of each sort: its PID."""
    command = [sys.executable, "-I", "-S", str(HERE / "mixed_memory.py"), str(mib), *sorts]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise MemoryError(f"{mib} MiB of each of {', '.join(sorts)} were not to be had")
        yield process.pid
        process.stdin.close()


@contextlib.contextmanager
def filled(gib: int, set_thp: bool) -> Iterator[int]:
    """The process that is audited. Settings are put back as soon as it is filled."""
    with contextlib.ExitStack() as stack:
        with thp_settings(read_thp().writes_for(LARGE_KIB)) if set_thp else contextlib.nullcontext():
            pid = stack.enter_context(mixed_memory(gib * 1024 // len(SORTS), *SORTS))
        yield pid


class Raw:
    """The bytes that an audit has to read, and nothing else: found out once, then only read."""

    def __init__(self, source: LiveSource, pid: int) -> None:
        self.pid = pid
        regions = source.process(pid).regions
        frames = [np.empty(0, np.int64)]
        self.entries: list[tuple[int, int]] = []
        with self._pagemap() as pagemap:
            for extent in extents(pagemap, regions, True):
                for at in range(extent.start, extent.stop, BLOCK):
                    entry = np.empty(min(BLOCK, extent.stop - at), np.uint64)
                    pagemap.read(at, entry)
                    frames.append(np.unique((entry[entry >= PRESENT] & FRAME).astype(np.int64)))
                    self.entries.append((at, len(entry)))
        each = np.unique(np.concatenate(frames))
        stretches = Stretches.covering(each, np.ones(len(each), np.int64))
        self.frames = [
            (8 * at, 8 * min(BLOCK, start + nr - at))
            for start, nr in zip(stretches.start.tolist(), stretches.nr.tolist(), strict=True)
            for at in range(start, start + nr, BLOCK)
        ]

    def read(self) -> None:
        """Read it all."""
        room = np.empty(BLOCK, np.uint64)
        with self._pagemap() as pagemap:
            for at, nr in self.entries:
                pagemap.read(at, room[:nr])
        for name in ("kpageflags", "kpagecount"):
            into = room.data.cast("B")
            with open(f"/proc/{name}", "rb", buffering=0) as file:
                for at, size in self.frames:
                    os.preadv(file.fileno(), [into[:size]], at)

    @contextlib.contextmanager
    def _pagemap(self) -> Iterator[Pagemap]:
        with open(f"/proc/{self.pid}/pagemap", "rb", buffering=0) as file:
            yield Pagemap(file.fileno(), PAGE)


def one(gib: int, runs: int, set_thp: bool) -> None:
    """One large process: raw, read, audited."""
    with filled(gib, set_thp) as pid, open_live_source() as source:
        raw = Raw(source, pid)
        process = source.process(pid)
        folios = Counter[tuple[int, int]]()
        pages = nr_runs = 0
        for block in source.blocks(process):
            pages, nr_runs = pages + int(block.runs.nr.sum()), nr_runs + len(block.runs)
            folios.update(zip(block.folios.order.tolist(), block.folios.kind.tolist(), strict=True))
        print(f"{source.machine.release}, {pages:,} pages in {nr_runs:,} runs; large folios by size:")
        print("  " + ", ".join(f"{4 << order}K: {n:,}" for (order, _), n in sorted(folios.items())))
        print(f"{'':40}{'seconds':>9}{'ratio':>7}{'CPU':>9}{'ratio':>7}")
        base = Seconds.of(runs, raw.read)
        for name, seconds in (
            ("raw bytes, big blocks", base),
            ("smaps", Seconds.of(runs, lambda: source.process(pid))),
            ("smaps, page tables, frames, folios", Seconds.of(runs, lambda: read(source, pid))),
            ("audit", Seconds.of(runs, lambda: audit(source, [pid]))),
        ):
            ratios = seconds.wall / base.wall, seconds.cpu / base.cpu
            print(f"{name:40}{seconds.wall:9.3f}{ratios[0]:7.2f}{seconds.cpu:9.3f}{ratios[1]:7.2f}")
    print(f"to reach: an audit in {RATIO_TO_REACH} times the raw bytes' time\n")


def read(source: LiveSource, pid: int) -> int:
    """All that a process maps, and how many runs that is."""
    return sum(len(block.runs) for block in source.blocks(source.process(pid)))


def memory(gib: int, set_thp: bool) -> None:
    """The most memory that the command takes."""
    print(f"{'peak memory of `mapcount audit` for':40}{'MiB':>9}")
    with filled(gib, set_thp) as pid:
        print(f"{f'{gib} GiB of all sorts':40}{peak_mib(pid):9.0f}")
    with mixed_memory(1024, "often") as pid:
        print(f"{f'{OFTEN} GiB of one shared GiB':40}{peak_mib(pid):9.0f}")
    print(f"to reach: less than {MIB_TO_REACH}\n")


def peak_mib(pid: int) -> float:
    """Of the command in a fresh interpreter. Its rusage would not do: that begins with whoever started it."""
    code = (
        "import atexit, sys; from pathlib import Path; from mapcount.cli import main\n"
        "peak = lambda: Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
        "atexit.register(lambda: print(peak(), file=sys.stderr)); main()"
    )
    command = [sys.executable, "-c", code, "audit", "--pid", str(pid), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-1]) / 1024


def many(runs: int) -> None:
    """Processes that share libraries: this program starts itself again in a PID namespace."""
    print(f"{'processes':>9}{'mapped pages':>14}{'seconds':>9}{'CPU':>9}{'ns/page':>9}{'ms/process':>12}")
    for nr in (5, 50, 500):
        command = [sys.executable, __file__, "--runs", str(runs), "--inside", str(nr)]
        subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *command], check=True)
    print("to reach: one pass, linear in mapped pages")


def inside(nr: int, runs: int) -> None:
    """The row for so many processes. All of them end with this one, which is the namespace's first."""
    code = "import json, time; print(flush=True); time.sleep(3600)"
    started = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE) for _ in range(nr)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    with open_live_source() as source:
        pids = source.pids()
        assert len(pids) == nr + 1
        pages = sum(source.process(pid).total("Rss") for pid in pids) * 1024 // PAGE
        seconds = Seconds.of(runs, lambda: audit(source, source.pids(), whole=True))
    print(
        f"{nr:9}{pages:14,}{seconds.wall:9.3f}{seconds.cpu:9.3f}"
        f"{seconds.cpu / pages * 1e9:9.0f}{seconds.cpu / len(pids) * 1e3:12.2f}",
        flush=True,
    )
    for process in started:
        process.kill()
        process.communicate()


def main() -> int:
    """Print what was asked for; 3 where it cannot be measured."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("what", nargs="*", choices=["one", "memory", "many", []], help="default: all")
    options.add_argument("--gib", type=int, default=8)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--set-thp", action="store_true")
    options.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    what = given.what or ["one", "memory", "many"]
    try:
        if given.inside:
            inside(given.inside, given.runs)
            return 0
        if "one" in what:
            one(given.gib, given.runs, given.set_thp)
        if "memory" in what:
            memory(given.gib, given.set_thp)
        if "many" in what:
            many(given.runs)
    except (CannotHere, MemoryError, OSError, subprocess.CalledProcessError) as error:
        print(f"cannot be measured here: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
