"""The engine against a straightforward C of the same rules, on the same events, in the same run.

    python benchmarks/replay.py [--events N] [--runs N]
    python benchmarks/replay.py --long EVENTS

Three builds of C. `locked` does what a kernel must: each event takes and releases a lock bit. `free` takes
no lock. `checked` is `locked` that does besides what the engine does and no kernel: it checks that each event
can be, and keeps the truth. That is the same job as the engine's. C takes the events as they come; the engine
sorts them first.

All sides start with the events in memory, in NumPy arrays, in windows as large as the engine takes them. They
run in turns, and of each window the best of several runs counts, since other work on the machine only ever
slows down. On one core CPU time is measured, for two cores time; "at most" is what two engines side by side
gain that share nothing, since a virtual machine's cores are often not whole ones. `--long` streams a
generated trace of so many events through the engine, and says how much memory that took. Last comes how long
the command takes for a tiny trace, once its loops are compiled.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np

from mapcount.replay.engine import Engine, at_once, replay
from mapcount.replay.folios import Folios
from mapcount.replay.reader import Window, merged
from mapcount.replay.synthetic import WORKLOADS, blocks, orders_of
from mapcount.replay.trace import FILE_EVENTS
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

HERE = Path(__file__).parent
MILLION = 1_000_000
CASES = (
    ("random", 1_000, 16 * MILLION), ("random", 4 * MILLION, 48 * MILLION), ("prefork", 1_000, 16 * MILLION),
    ("zygote", 1_000, 16 * MILLION),
)  # fmt: skip
"""Workload, folios, and events: a dozen for each folio at least, so that most of them have owners."""
BUILDS = {"locked": ("-DLOCKED",), "free": (), "checked": ("-DLOCKED", "-DCHECKED")}
LONG_FOLIOS = MILLION
WINDOW = FILE_EVENTS

Seconds = list[float]
"""For each window."""


def build(directory: str, *flags: str) -> Any:
    """baseline.c as a shared library."""
    library = f"{directory}/baseline{''.join(flags)}.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", *flags, "-o", library, str(HERE / "baseline.c")]
    subprocess.run(command, check=True)
    return ctypes.CDLL(library)


def windows(kind: str, orders: Any, events: int) -> Iterator[Window]:
    """A synthetic workload's events in windows as large as a trace's files."""
    rng = np.random.default_rng(1)
    first, waiting, rows = 0, 0, []
    for _, some in blocks(WORKLOADS[kind], orders, rng):
        rows.append(some[: events - first - waiting])
        waiting += len(rows[-1])
        if waiting >= WINDOW or first + waiting >= events:
            folio, mm, op, page, nr = np.concatenate(rows).astype(np.uint32).T.copy()
            yield Window(
                ((kind, 0),), first, folio, mm, op.astype(np.uint8), page, nr, np.zeros(waiting, np.uint8)
            )
            first, waiting, rows = first + waiting, 0, []
        if first >= events:
            return


def folios_of(orders: Any) -> Folios:
    """Unmapped folios of these orders."""
    folios = Folios(len(orders))
    folios.set_shapes(0, orders, np.zeros(len(orders), np.uint8))
    return folios


def by_c(library: Any, given: list[Window], orders: Any, *, checked: bool) -> tuple[Seconds, Any]:
    """CPU time for each window, and the folios' totals in the end."""
    # As in baseline.c: ids, total, entire, two counts; then the order and two sums.
    words = 12 if checked else 6
    state = np.ones((len(orders), words), np.int32)
    state[:] = 0
    if checked:
        state[:, 6] = orders
    pointer, took = state.ctypes.data_as(ctypes.c_void_p), []
    library.replay.restype = ctypes.c_size_t
    for window in given:
        columns = (window.folio, window.mm, window.op, window.page, window.nr)
        pointers = [column.ctypes.data_as(ctypes.c_void_p) for column in columns]
        start = time.process_time()
        done = library.replay(pointer, ctypes.c_size_t(len(window)), *pointers)
        took.append(time.process_time() - start)
        assert done == len(window), "C refuses an event"
    return took, state[:, 2]


def by_engine(
    given: list[Window], orders: Any, clock: Callable[[], float], *, threads: int = 1, every: bool = False
) -> tuple[Seconds, Any]:
    """Time by a clock for each window, and the folios' totals in the end."""
    folios, took = folios_of(orders), []
    for column in folios.state:
        column += 0
    with Engine(folios, NO_PAGE_MAPCOUNT, threads=threads, every=every) as engine:
        for window in given:
            start = clock()
            engine.replay(window)
            took.append(clock() - start)
    return took, folios.large_mapcount.view(np.int32)


def twice(given: list[Window], orders: Any) -> tuple[Seconds, Any]:
    """Half of the time for each window that two engines take which replay it side by side, a core each.

    They share nothing, so this is what two cores of the machine can be worth at all.
    """
    barrier = Barrier(2)

    def clock() -> float:
        barrier.wait()
        return time.perf_counter()

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: by_engine(given, orders, clock), range(2)))
    return [took / 2 for took in both[0][0]], both[0][1]


def case(kind: str, folios: int, events: int, runs: int, libraries: dict[str, Any]) -> None:
    """One line of the table."""
    orders = orders_of(WORKLOADS[kind], folios, np.random.default_rng(0))
    given = list(merged(windows(kind, orders, events), at_once(folios)))
    cpu, wall = time.process_time, time.perf_counter
    sides: dict[str, Callable[[], tuple[Seconds, Any]]] = {
        name: partial(by_c, library, given, orders, checked=name == "checked")
        for name, library in libraries.items()
    }
    sides |= {
        "one": partial(by_engine, given, orders, cpu),
        "every": partial(by_engine, given, orders, cpu, every=True),
        "one thread": partial(by_engine, given, orders, wall),
        "two threads": partial(by_engine, given, orders, wall, threads=2),
        "twice": partial(twice, given, orders),
    }
    best = {name: np.full(len(given), np.inf) for name in sides}
    for _ in range(runs):
        ends = []
        for name, side in sides.items():
            took, totals = side()
            best[name] = np.minimum(best[name], took)
            ends.append(totals)
        assert all(np.array_equal(ends[0], other) for other in ends), "the sides disagree"
    ns = {name: 1e9 * float(took.sum()) / events for name, took in best.items()}
    one, thread = ns["one"], ns["one thread"]
    times = "".join(f"{ns[name]:>8.1f}" for name in (*BUILDS, "one", "every"))
    ratios = "".join(f"{ns[name] / one:>8.2f}" for name in (*BUILDS, "every"))
    cores = f"{thread / ns['two threads']:>8.2f}{thread / ns['twice']:>8.2f}"
    print(f"{kind:<8}{folios:>9,}{times}{ratios}{cores}", flush=True)


def tiny(directory: str, runs: int) -> float:
    """Seconds that `mapcount replay` takes for a trace of 1,000 events: the least of several runs."""
    command = [sys.executable, "-m", "mapcount", "replay"]
    trace, took = f"{directory}/tiny.trace", []
    quietly = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    quietly([*command, "--synthetic", "random", "--events", "1000", "-o", trace])
    for _ in range(runs + 1):
        start = time.perf_counter()
        quietly([*command, trace])
        took.append(time.perf_counter() - start)
    return min(took)


def long(events: int) -> None:
    """Stream a generated trace through the engine, in this process."""
    orders = orders_of(WORKLOADS["random"], LONG_FOLIOS, np.random.default_rng(0))
    start = time.perf_counter()
    with Engine(folios_of(orders), NO_PAGE_MAPCOUNT) as engine:
        replay(engine, windows("random", orders, events))
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{engine.events:,} events of {LONG_FOLIOS:,} folios, generated and replayed in {took:.0f} s")
    print(f"peak memory of the process: {peak:.0f} MiB")


def main() -> None:
    """Print the table, or with --long the memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, help="of each workload; unless said, 16 or 48 million")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--long", type=int, metavar="EVENTS")
    arguments = parser.parse_args()
    if arguments.long:
        long(arguments.long)
        return
    print(f"{len(os.sched_getaffinity(0))} cores; nanoseconds per event, best of {arguments.runs} runs")
    print(f"{'':<17}{'C':>8}{'':>16}{'engine':>16}   {'C / engine':<21}{'every/':>8} 2 cores at most")
    print(f"{'':<17}{'  locked    free checked   plain   every  locked    free checked   plain  / one'}")
    with tempfile.TemporaryDirectory() as directory:
        libraries = {name: build(directory, *flags) for name, flags in BUILDS.items()}
        few = np.full(64, 9, np.uint8)
        by_engine(list(windows("random", few, 1000)), few, time.process_time, threads=2, every=True)
        for kind, folios, events in CASES:
            case(kind, folios, arguments.events or events, arguments.runs, libraries)
        print(f"mapcount replay of 1,000 events: {tiny(directory, arguments.runs):.2f} s")


if __name__ == "__main__":
    main()
