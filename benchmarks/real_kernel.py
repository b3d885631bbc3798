"""Do on the running kernel what the simulator does on paper: fork and unmap gigabytes of large folios.

The workload, all of it in real system calls:

1. *fault-in*: a process writes one byte into each page of N GiB of private anonymous memory;
2. *forks*: it forks four times; all four children stay alive;
3. *child unmaps*: one child after the other unmaps the upper half of the memory;
4. *parent unmap*: the parent unmaps the same half, which frees it;
5. *child exits*: one child after the other exits and is reaped;
6. *parent exit*: the parent exits, which frees the rest.

Who does what. The caller of :func:`measure` only directs and never holds the memory. It starts one *worker*,
a fresh small interpreter, which is the parent above. The children wait on pipes, so that one thing happens at
a time. Each duration is taken by the process that makes the system call (an exit: from the last instruction
of the exiting process to the return of the wait for it), so starting Python and the pipes are not counted.

Which folios. The kernel takes the largest folio that is enabled, so three things must hold for 64 KiB:

- the size is enabled for memory that asks for it (``hugepages-64kB/enabled``), and the memory asks
  (MADV_HUGEPAGE);
- it must not become 2 MiB where that size is enabled too. No setting is needed for that: a PMD-size folio is
  taken only where there is no page table yet, so the worker first makes the page tables, by reading a page of
  each 2 MiB and dropping it again. This is not timed;
- the sizes between must be off.

Where a setting is in the way, ``allow_sysfs`` permits writing it, for the seconds of the fault-in only; it is
put back before the forks begin, by a process of its own, so even if all else is killed. Without it the kernel
chooses the size. In both cases the size that really came is looked up and reported.

Left out: swap, NUMA placement, and any write after the forks (nothing is copied on write but a few pages of
the interpreter).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

GIB = 1 << 30
PAGE = mmap.PAGESIZE
PMD_SIZE = 2 << 20
CHILDREN = 4
HEADROOM_GIB = 2
"""Memory that is left to everybody else."""

THP = Path("/sys/kernel/mm/transparent_hugepage")
MIN_FREE = Path("/proc/sys/vm/min_free_kbytes")

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, PR_SET_THP_DISABLE = 1, 36, 37, 41
KPF_COMPOUND_TAIL = 1 << 16
PM_PRESENT, PM_PFN = 1 << 63, (1 << 55) - 1


# -- result ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RealRun:
    """One run of the workload on the running kernel; durations in seconds."""

    gib: int
    """The size really used."""
    asked_gib: int
    folio_kib: int | None
    """The folio size that most of the memory got, as observed; None where this kernel does not tell us."""
    asked_folio_kib: int
    folio_share: float
    """The part of the memory looked at that got folios of that size."""
    folio_source: str
    """How the size was observed: kpageflags, stats or unknown."""
    phases: dict[str, float]
    """Name to seconds, in the order in which they happened."""
    each: dict[str, tuple[float, ...]]
    """The same, event by event: four values for what is done four times."""
    kernel: str
    sysfs_written: tuple[str, ...] = ()
    """The settings that were written for the fault-in; they were put back."""
    notes: tuple[str, ...] = ()
    """What is not as asked, and why."""

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.phases.values())

    @property
    def total_without_fault(self) -> float:
        """Seconds of all phases but the fault-in, which mostly clears memory: what is about mapcounts."""
        return self.total - self.phases["fault-in"]


# -- director: what to ask the kernel for ---------------------------------------------------------------


@dataclass
class _Plan:
    """How to get the folio size asked for."""

    advice: str = "none"
    """hugepage, nohugepage or none: the madvise() of the memory."""
    page_tables_first: bool = False
    writes: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _chosen(path: Path) -> str:
    """Return the value in brackets of a setting that lists its values."""
    found = re.search(r"\[(\w+)\]", path.read_text())
    if found is None:
        raise RuntimeError(f"{path}: no value in brackets in {path.read_text()!r}")
    return found[1]


def _on_request(path: Path) -> bool:
    """Whether memory with MADV_HUGEPAGE may get folios of the size whose ``enabled`` file is ``path``."""
    value = _chosen(path)
    return (_chosen(THP / "enabled") if value == "inherit" else value) in ("always", "madvise")


def _plan(folio_kib: int, allow_sysfs: bool) -> _Plan:
    """Decide how to get folios of ``folio_kib``; what cannot be had becomes a note."""
    if folio_kib == PAGE >> 10:
        return _Plan(advice="nohugepage")
    sizes = {int(p.name[len("hugepages-") : -len("kB")]): p / "enabled" for p in THP.glob("hugepages-*kB")}
    if folio_kib not in sizes:
        return _Plan(
            notes=[f"no {THP}/hugepages-{folio_kib}kB here: the folio size is the kernel's own choice"]
        )
    need = {} if _on_request(sizes[folio_kib]) else {sizes[folio_kib]: "madvise"}
    between = [kib for kib in sizes if folio_kib < kib < PMD_SIZE >> 10 and _on_request(sizes[kib])]
    need |= {sizes[kib]: "never" for kib in sorted(between)}
    if need and not allow_sysfs:
        why = ", ".join(f"{path} is '{_chosen(path)}', not '{value}'" for path, value in need.items())
        return _Plan(notes=[f"{why}: the folio size is the kernel's own choice (--allow-sysfs would set it)"])
    pmd = sizes.get(PMD_SIZE >> 10)
    tables = folio_kib < PMD_SIZE >> 10 and pmd is not None and _on_request(pmd)
    return _Plan(advice="hugepage", page_tables_first=tables, writes=need)


def _available() -> int:
    """Return the bytes that are to be had: of the machine, or of our control group if that is less."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    room = [int(found[1]) << 10 if found else 0]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            base, limit, usage = Path("/sys/fs/cgroup"), "memory.max", "memory.current"
        elif controllers == "memory":
            base, limit, usage = (
                Path("/sys/fs/cgroup/memory"),
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            )
        else:
            continue
        leaf = base / group.lstrip("/")
        for folder in (leaf, *leaf.parents):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                room.append(int((folder / limit).read_text()) - int((folder / usage).read_text()))
            if folder == base:
                break
    return min(room)


# -- director: care with the machine --------------------------------------------------------------------

_STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextlib.contextmanager
def _stopping_raises() -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP raise, so that every ``finally`` runs; ignore the next."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it gets exceptions from them
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        for other in mine:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in _STOPPING}
    mine = [n for n in _STOPPING if before[n] in (signal.SIG_DFL, signal.default_int_handler)]
    try:
        for number in mine:
            signal.signal(number, stop)
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other measurement runs here: they would see each other's settings and memory."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no such file in kernels without THP
            fcntl.flock(stack.enter_context((THP / "enabled").open()), fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _settings(wanted: dict[Path, str]) -> Iterator[None]:
    """Write the settings, and put back what was there when the block ends in whatever way.

    Another process, the guard, writes and puts back, so that this is done even if we get SIGKILL.
    A change of these settings makes the kernel reconsider vm.min_free_kbytes; we are not permitted to write
    that one, so the caller compares it.
    """
    if not wanted:
        yield
        return
    before = {str(path): _chosen(path) for path in wanted}
    values = json.dumps([{str(path): value for path, value in wanted.items()}, before])
    guard = _start("--guard", values)
    assert guard.stdin is not None and guard.stdout is not None  # noqa: PT018
    try:
        said = guard.stdout.readline().strip()
        if said != "written":
            raise PermissionError(
                f"could not write {', '.join(before)}: {said or 'guard ended'}; run as root"
            )
        yield
    finally:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            guard.stdin.close()
            guard.wait()
            guard.stdout.close()
            _put_back(before)  # nothing to do, unless somebody killed the guard
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _put_back(before: dict[str, str]) -> None:
    """Write the settings that are not what they were."""
    for path, value in before.items():
        if _chosen(Path(path)) != value:
            Path(path).write_text(value)


def _guard_main(wanted: dict[str, str], before: dict[str, str]) -> None:
    """Be the guard: write the settings, wait for the end of standard input, put back what was there."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    try:
        try:
            for path, value in wanted.items():
                Path(path).write_text(value)
            print("written", flush=True)
        except OSError as error:
            print(error, flush=True)
        sys.stdin.read()
    finally:
        _put_back(before)


def _start(*arguments: str) -> subprocess.Popen[str]:
    """Start this file as a worker or guard: a fresh interpreter, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextlib.contextmanager
def _worker(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a worker; when the block ends, kill and reap what is left of it and of its children.

    Children whose worker died become ours (we are their "subreaper"); one process group holds them all. It is
    ours as long as its leader, the worker, is not reaped; a worker that ended well has reaped its children.
    """
    libc, was = _libc(), ctypes.c_int()
    libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(was), 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        worker = _start("--worker", *arguments)
        try:
            yield worker
        finally:
            if worker.returncode is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
                with contextlib.suppress(ChildProcessError):
                    while True:
                        os.waitpid(-worker.pid, 0)
            for pipe in (worker.stdin, worker.stdout):
                with contextlib.suppress(BrokenPipeError):
                    if pipe is not None:
                        pipe.close()
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, was.value, 0, 0, 0)


def _ask(worker: subprocess.Popen[str], command: str) -> Any:
    """Let the worker do something; return its answer."""
    assert worker.stdin is not None and worker.stdout is not None  # noqa: PT018
    with contextlib.suppress(BrokenPipeError):  # then there is no answer either
        worker.stdin.write(command + "\n")
        worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise RuntimeError(f"the worker ended at '{command}'; was it killed for want of memory?")
    return json.loads(answer)


# -- director: the run ----------------------------------------------------------------------------------


def _fault_counts() -> dict[int, int]:
    """Return how many folios of each size (KiB) faults allocated, system-wide; empty before Linux 6.8."""
    counts = {}
    for path in THP.glob("hugepages-*kB/stats/anon_fault_alloc"):
        counts[int(path.parts[-3][len("hugepages-") : -len("kB")])] = int(path.read_text())
    return counts


def _folio_size(sampled: dict[int, int], faulted: dict[int, int], kib: int) -> tuple[int | None, float, str]:
    """Return (size in KiB, its share of the memory, how we know).

    ``sampled`` has pages by folio size and is exact; ``faulted`` has folios by size, of the whole system.
    """
    source = "kpageflags" if sampled else "stats"
    covered = sampled or {size: size * number for size, number in faulted.items()}
    if not covered:
        return None, 0.0, "unknown"
    whole = sum(sampled.values()) or kib
    if not sampled:
        covered[PAGE >> 10] = max(0, kib - sum(covered.values()))
    size = max(covered, key=lambda s: covered[s])
    return size, min(1.0, covered[size] / whole), source


def measure(gib: int = 16, folio_kib: int = 64, allow_sysfs: bool = False) -> RealRun:
    """Run the workload on the running kernel with ``gib`` GiB of memory in folios of ``folio_kib`` KiB.

    Takes less memory where this much is not free; the result says what was really done. ``allow_sysfs``
    permits writing /sys/kernel/mm/transparent_hugepage/hugepages-*/enabled while the memory is faulted in.
    """
    if sys.platform != "linux":
        raise OSError("the running kernel is not Linux")
    if gib < 1:
        raise ValueError(f"gib must be at least 1, got {gib}")
    if folio_kib << 10 not in {PAGE, *(PAGE << order for order in range(2, 10))}:
        raise ValueError(f"folio_kib must be a size of anonymous folios (4, 16 ... 2048), got {folio_kib}")
    with _stopping_raises(), _alone():
        room = _available() // GIB - HEADROOM_GIB
        if room < 1:
            raise MemoryError(f"needs {1 + HEADROOM_GIB} GiB of free memory, there are {room + HEADROOM_GIB}")
        used = min(gib, room)
        plan = _plan(folio_kib, allow_sysfs)
        if used < gib:
            plan.notes.append(
                f"{used} GiB instead of {gib}: of what is available, {HEADROOM_GIB} GiB are left"
            )
        return _direct(used, gib, folio_kib, plan)


def _direct(gib: int, asked_gib: int, folio_kib: int, plan: _Plan) -> RealRun:
    """Start a worker, lead it through the phases, and end it."""
    min_free = MIN_FREE.read_text().strip()
    with _worker(str(gib), plan.advice, str(int(plan.page_tables_first))) as worker:
        _ask(worker, "map")
        with _settings(plan.writes):
            counts = _fault_counts()
            each: dict[str, list[float]] = {"fault-in": [_ask(worker, "fault-in")]}
            faulted = {size: number - counts.get(size, 0) for size, number in _fault_counts().items()}
        min_free_now = MIN_FREE.read_text().strip()
        sampled = {int(size): number for size, number in _ask(worker, "look").items()}
        each |= _ask(worker, "forks and unmaps")
        left = _ask(worker, "exit")
        status = worker.wait()
        each["parent exit"] = [(time.monotonic_ns() - left) / 1e9]
    if status:
        raise RuntimeError(f"the worker ended with status {status}")

    size, share, source = _folio_size(sampled, faulted, gib << 20)
    notes = list(plan.notes)
    if plan.writes and min_free != min_free_now:
        notes.append(f"{MIN_FREE} was {min_free} before the settings were written and is {min_free_now} now")
    if size == folio_kib and share < 0.99:
        notes.append(f"only {share:.1%} of the memory got folios of {folio_kib} KiB")
    elif size != folio_kib:
        notes.append(f"asked for folios of {folio_kib} KiB, got {size or 'unknown'}")
    return RealRun(
        gib=gib,
        asked_gib=asked_gib,
        folio_kib=size,
        asked_folio_kib=folio_kib,
        folio_share=share,
        folio_source=source,
        phases={name: sum(times) for name, times in each.items()},
        each={name: tuple(times) for name, times in each.items()},
        kernel=os.uname().release,
        sysfs_written=tuple(map(str, plan.writes)),
        notes=tuple(notes),
    )


# -- worker: the process that has the memory, and its children ------------------------------------------


def _libc() -> ctypes.CDLL:
    """Return the C library, with the types of what is called in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when the process that started it is gone."""
    _libc().prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # gone before we asked
        os._exit(1)


class _Memory:
    """The memory of the workload: ``size`` bytes at ``address``, aligned so that any folio fits."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._map = mmap.mmap(-1, size + PMD_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._skip = -start % PMD_SIZE
        self.address = start + self._skip

    def advise(self, advice: str, page_tables_first: bool) -> None:
        """Say which folios are wanted, see "Which folios" above."""
        if page_tables_first:
            self._map.madvise(mmap.MADV_NOHUGEPAGE, self._skip, self.size)
            for at in range(self._skip, self._skip + self.size, PMD_SIZE):
                self._map[at]
                self._map.madvise(mmap.MADV_DONTNEED, at, PAGE)
        if advice != "none":
            option = mmap.MADV_HUGEPAGE if advice == "hugepage" else mmap.MADV_NOHUGEPAGE
            self._map.madvise(option, self._skip, self.size)

    def fault_in(self) -> float:
        """Write one byte into each page, in a loop that is in C; return the seconds."""
        one_each = b"\1" * (self.size // PAGE)
        start = time.monotonic_ns()
        self._map[self._skip : self._skip + self.size : PAGE] = one_each
        return (time.monotonic_ns() - start) / 1e9

    def unmap_upper_half(self) -> int:
        """Unmap it; return the nanoseconds."""
        libc, half = _libc(), self.size // 2
        start = time.monotonic_ns()
        failed = libc.munmap(self.address + half, half)
        end = time.monotonic_ns()
        if failed:
            raise OSError(ctypes.get_errno(), "munmap")
        return end - start

    def folio_sizes(self) -> dict[int, int]:
        """Count pages by the KiB of their folio, in 64 samples of 2 MiB; empty if that is not permitted."""
        sizes: Counter[int] = Counter()
        windows = self.size // PMD_SIZE
        try:
            with contextlib.ExitStack() as files:
                pagemap = files.enter_context(Path("/proc/self/pagemap").open("rb", 0))
                kpageflags = files.enter_context(Path("/proc/kpageflags").open("rb", 0))
                for window in range(0, windows, max(1, windows // 64)):
                    sizes.update(self._window(pagemap.fileno(), kpageflags.fileno(), window))
        except (PermissionError, FileNotFoundError):
            return {}
        return dict(sizes)

    def _window(self, pagemap: int, kpageflags: int, window: int) -> Iterator[int]:
        """Yield the folio size in KiB of each present page of a 2 MiB window."""
        number = PMD_SIZE // PAGE
        at = (self.address + window * PMD_SIZE) // PAGE * 8
        blocks: dict[int, list[int]] = {}
        for (entry,) in struct.iter_unpack("=Q", os.pread(pagemap, number * 8, at)):
            pfn = entry & PM_PFN
            if not entry & PM_PRESENT:
                continue
            if pfn == 0:
                raise PermissionError("/proc/self/pagemap hides frame numbers")
            block = pfn - pfn % number  # a folio is aligned to its size, so it is in one block
            if block not in blocks:
                blocks[block] = _folio_kib_of_frames(os.pread(kpageflags, number * 8, block * 8))
            yield blocks[block][pfn - block]


def _folio_kib_of_frames(kpageflags: bytes) -> list[int]:
    """Return the KiB of its folio for each frame of a block; a folio is a page and the tails after it."""
    flags = [word for (word,) in struct.iter_unpack("=Q", kpageflags)]
    heads = [i for i, word in enumerate(flags) if i == 0 or not word & KPF_COMPOUND_TAIL]
    ends = [*heads[1:], len(flags)]
    return [
        (end - head) * PAGE >> 10 for head, end in zip(heads, ends, strict=True) for _ in range(head, end)
    ]


@dataclass
class _Child:
    """A child seen from the worker: one byte tells it to go on, eight bytes come back."""

    pid: int
    go: int
    back: int

    def proceed(self) -> int:
        """Let it do the next thing and return what it says: nanoseconds."""
        os.write(self.go, b"!")
        return self.answer()

    def answer(self) -> int:
        """Wait for what it says."""
        said = os.read(self.back, 8)
        if len(said) != 8:
            raise RuntimeError(f"child {self.pid} ended too early")
        return int.from_bytes(said, "little")

    def end(self) -> None:
        """Kill and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _child_main(memory: _Memory, parent: int, go: int, back: int) -> None:
    """Be a child: say that we are there, unmap when told, exit when told. Never returns."""
    try:
        _die_with(parent)

        def say(value: int) -> None:
            os.write(back, value.to_bytes(8, "little"))

        say(0)
        if os.read(go, 1):
            say(memory.unmap_upper_half())
        if os.read(go, 1):
            say(time.monotonic_ns())
            os._exit(0)
    finally:
        os._exit(1)


def _fork(memory: _Memory, older: list[_Child]) -> tuple[_Child, float]:
    """Fork a child; return it, once it is idle, and the seconds that the fork took in the parent."""
    parent = os.getpid()
    (go_read, go_write), (back_read, back_write) = os.pipe(), os.pipe()
    start = time.monotonic_ns()
    pid = os.fork()
    end = time.monotonic_ns()
    if pid == 0:
        for inherited in (go_write, back_read, *(fd for child in older for fd in (child.go, child.back))):
            os.close(inherited)
        _child_main(memory, parent, go_read, back_write)
    os.close(go_read)
    os.close(back_write)
    return _Child(pid, go_write, back_read), (end - start) / 1e9


def _forks_and_unmaps(memory: _Memory) -> dict[str, list[float]]:
    """Run the phases between fault-in and parent exit; reap every child whatever happens."""
    children: list[_Child] = []
    forks, unmaps, exits = [], [], []
    try:
        for _ in range(CHILDREN):
            child, seconds = _fork(memory, children)
            children.append(child)
            forks.append(seconds)
            child.answer()
        for child in children:
            unmaps.append(child.proceed() / 1e9)
        own = memory.unmap_upper_half() / 1e9
        while children:
            child = children[0]
            left = child.proceed()
            _, status = os.waitpid(child.pid, 0)
            exits.append((time.monotonic_ns() - left) / 1e9)
            children.pop(0)
            if status:
                raise RuntimeError(f"child {child.pid} ended with wait status {status}")
    finally:
        for child in children:
            child.end()
    return {"forks": forks, "child unmaps": unmaps, "parent unmap": [own], "child exits": exits}


def _worker_main(gib: int, advice: str, page_tables_first: bool) -> None:
    """Be the worker: do what standard input says, one answer per line; end with it."""
    _die_with(os.getppid())
    _libc().prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)
    with contextlib.suppress(OSError):
        # if memory runs out, this process is the one to go
        Path("/proc/self/oom_score_adj").write_text("1000")
    memory = _Memory(gib * GIB)
    answer: Any
    for line in sys.stdin:
        match line.strip():
            case "map":
                memory.advise(advice, page_tables_first)
                answer = "done"
            case "fault-in":
                answer = memory.fault_in()
            case "look":
                answer = memory.folio_sizes()
            case "forks and unmaps":
                answer = _forks_and_unmaps(memory)
            case "exit":
                os.write(1, b"%d\n" % time.monotonic_ns())
                os._exit(0)
        print(json.dumps(answer), flush=True)


# -- command --------------------------------------------------------------------------------------------


def table(run: RealRun) -> str:
    """Return a run as a small table of plain text."""
    folios = f"{run.folio_kib} KiB folios ({run.folio_share:.1%}, by {run.folio_source})"
    lines = [f"Linux {run.kernel}, {run.gib} GiB in {folios}, {CHILDREN} children", ""]
    for name, seconds in run.phases.items():
        single = "  ".join(f"{value:.4f}" for value in run.each[name])
        lines.append(f"{name:<14}{seconds:9.4f} s" + (f"   {single}" if len(run.each[name]) > 1 else ""))
    lines.append("")
    lines.append(f"{'without fault':<14}{run.total_without_fault:9.4f} s")
    lines.append(f"{'total':<14}{run.total:9.4f} s")
    lines += [f"written for the fault-in and put back: {path}" for path in run.sysfs_written]
    lines += [f"note: {note}" for note in run.notes]
    return "\n".join(lines)


def main() -> int:
    """Run the workload once and print a table; 0 = done, 3 = this machine cannot."""
    if sys.argv[1:2] == ["--worker"]:
        gib, advice, page_tables_first = sys.argv[2:]
        _worker_main(int(gib), advice, page_tables_first == "1")
        return 0
    if sys.argv[1:2] == ["--guard"]:
        _guard_main(*json.loads(sys.argv[2]))
        return 0
    parser = argparse.ArgumentParser(description="Fork and unmap large folios on the running kernel, timed.")
    parser.add_argument("--gib", type=int, default=16, help="memory, GiB (default 16; less if not free)")
    parser.add_argument("--folio-kib", type=int, default=64, help="folio size, KiB (default 64)")
    parser.add_argument(
        "--allow-sysfs",
        action="store_true",
        help=f"permit writing {THP}/hugepages-*/enabled while memory is faulted in, and putting it back",
    )
    asked = parser.parse_args()
    try:
        run = measure(asked.gib, asked.folio_kib, asked.allow_sysfs)
    except ValueError as error:
        parser.error(str(error))
    except (OSError, MemoryError, RuntimeError) as error:
        print(f"real_kernel: {error}", file=sys.stderr)
        return 3
    print(table(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
