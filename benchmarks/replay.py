"""The engine against a straightforward C of the same rules, on the same events, in the same run.

    python benchmarks/replay.py [--events N] [--runs N]
    python benchmarks/replay.py --long EVENTS

C reads the events as they come; the engine sorts them first, and keeps the truth as well. Both start with the
events in memory, in NumPy arrays. Sides run in turns and the best of several runs counts, since other work on
the machine only ever slows down. On one core CPU time is measured, for two cores time. `--long` streams a
generated trace of so many events through the engine, and says how much memory that took.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mapcount.replay.engine import Engine, replay
from mapcount.replay.folios import Folios
from mapcount.replay.reader import Window
from mapcount.replay.synthetic import WORKLOADS, blocks, orders_of
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

HERE = Path(__file__).parent
CASES = (("random", 1_000), ("random", 4_000_000), ("prefork", 1_000), ("zygote", 1_000))
C_FOLIO_BYTES = 24
LONG_FOLIOS = 1_000_000


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
        if waiting >= 1 << 21 or first + waiting >= events:
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


def by_c(library: Any, given: list[Window], folios: int) -> tuple[float, Any]:
    """Seconds of CPU time, and the folios' totals in the end."""
    state = np.ones(folios * C_FOLIO_BYTES // 8, np.uint64)
    state[:] = 0
    pointer = state.ctypes.data_as(ctypes.c_void_p)
    start = time.process_time()
    for window in given:
        columns = [c.ctypes.data_as(ctypes.c_void_p) for c in (window.folio, window.mm, window.op, window.nr)]
        library.replay(pointer, ctypes.c_size_t(len(window)), *columns)
    return time.process_time() - start, state.view(np.int32).reshape(-1, 6)[:, 2]


def by_engine(
    given: list[Window], orders: Any, clock: Callable[[], float], *, threads: int = 1, every: bool = False
) -> tuple[float, Any]:
    """Seconds by a clock, and the folios' totals in the end."""
    folios = folios_of(orders)
    for column in folios.state:
        column += 0
    with Engine(folios, NO_PAGE_MAPCOUNT, threads=threads, every=every) as engine:
        start = clock()
        replay(engine, iter(given))
        took = clock() - start
    return took, folios.large_mapcount.view(np.int32)


def case(kind: str, folios: int, events: int, runs: int, locked: Any, free: Any) -> None:
    """One line of the table."""
    orders = orders_of(WORKLOADS[kind], folios, np.random.default_rng(0))
    given = list(windows(kind, orders, events))
    cpu, wall = time.process_time, time.perf_counter
    sides: dict[str, Callable[[], tuple[float, Any]]] = {
        "locked": lambda: by_c(locked, given, folios),
        "free": lambda: by_c(free, given, folios),
        "one": lambda: by_engine(given, orders, cpu),
        "every": lambda: by_engine(given, orders, cpu, every=True),
        "one thread": lambda: by_engine(given, orders, wall),
        "two threads": lambda: by_engine(given, orders, wall, threads=2),
    }
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(runs):
        ends = []
        for name, side in sides.items():
            took, totals = side()
            best[name] = min(best[name], took)
            ends.append(totals)
        assert all(np.array_equal(ends[0], other) for other in ends), "the sides disagree"
    ns = {name: 1e9 * took / events for name, took in best.items()}
    one, cores = ns["one"], ns["one thread"] / ns["two threads"]
    times = f"{ns['locked']:>8.1f}{ns['free']:>8.1f}{one:>8.1f}{ns['every']:>8.1f}"
    ratios = f"{ns['locked'] / one:>9.2f}{ns['free'] / one:>8.2f}{ns['every'] / one:>8.2f}{cores:>9.2f}"
    print(f"{kind:<9}{folios:>10,}{times}{ratios}", flush=True)


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
    parser.add_argument("--events", type=int, default=16_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--long", type=int, metavar="EVENTS")
    arguments = parser.parse_args()
    if arguments.long:
        long(arguments.long)
        return
    print(f"{len(os.sched_getaffinity(0))} cores; nanoseconds per event, best of {arguments.runs} runs")
    print(f"{'':<19}{'C':>12}{'engine':>16}{'ratio':>24}")
    print("workload    folios  locked    free  1 core   every  /locked   /free   every  2 cores")
    with tempfile.TemporaryDirectory() as directory:
        locked, free = build(directory, "-DLOCKED"), build(directory)
        few = np.full(64, 9, np.uint8)
        by_engine(list(windows("random", few, 1000)), few, time.process_time, threads=2, every=True)
        for kind, folios in CASES:
            case(kind, folios, arguments.events, arguments.runs, locked, free)


if __name__ == "__main__":
    main()
