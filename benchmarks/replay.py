"""The engine against a straightforward C of the same rules, on the same events, in the same run.

    python benchmarks/replay.py [--events N] [--runs N] [--long EVENTS]

C reads the events as they come; the engine sorts them first, and keeps the truth as well. Both start with the
events in memory, in NumPy arrays. Each side's best of several runs counts, run in turns, since other work on
the machine only ever slows down. `--long` streams a generated trace of so many events through the engine in a
fresh process, and says how much memory that took.
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

from mapcount.replay.engine import Engine
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
            yield Window(kind, first, folio, mm, op.astype(np.uint8), page, nr, np.zeros(waiting, np.uint8))
            first, waiting, rows = first + waiting, 0, []
        if first >= events:
            return


def folios_of(orders: Any) -> Folios:
    """Unmapped folios of these orders."""
    folios = Folios(len(orders))
    folios.set_shapes(0, orders, np.zeros(len(orders), np.uint8))
    return folios


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def by_c(library: Any, given: list[Window], folios: int) -> tuple[float, Any]:
    """Seconds, and the totals in the end."""
    state = np.ones(folios * C_FOLIO_BYTES // 8, np.uint64)
    state[:] = 0
    pointer = state.ctypes.data_as(ctypes.c_void_p)
    took = 0.0
    for window in given:
        columns = [c.ctypes.data_as(ctypes.c_void_p) for c in (window.folio, window.mm, window.op, window.nr)]
        took += seconds(lambda c=columns, n=len(window): library.replay(pointer, ctypes.c_size_t(n), *c))  # type: ignore[misc]
    return took, state.view(np.int32).reshape(-1, 6)[:, 2]


def by_engine(given: list[Window], orders: Any, threads: int, *, every: bool) -> tuple[float, Any]:
    """Seconds, and the totals in the end."""
    folios = folios_of(orders)
    for column in folios.state:
        column += 0
    with Engine(folios, NO_PAGE_MAPCOUNT, threads=threads, every=every) as engine:
        took = sum(seconds(lambda w=window: engine.replay(w)) for window in given)  # type: ignore[misc]
    return took, folios.large_mapcount.view(np.int32)


def case(kind: str, folios: int, events: int, runs: int, locked: Any, free: Any) -> None:
    """One line of the table."""
    workload = WORKLOADS[kind]
    orders = orders_of(workload, folios, np.random.default_rng(0))
    given = list(windows(kind, orders, events))
    sides: dict[str, Callable[[], tuple[float, Any]]] = {
        "locked": lambda: by_c(locked, given, folios),
        "free": lambda: by_c(free, given, folios),
        "one": lambda: by_engine(given, orders, 1, every=False),
        "two": lambda: by_engine(given, orders, 2, every=False),
        "every": lambda: by_engine(given, orders, 1, every=True),
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
    print(
        f"{kind:<9}{folios:>10,} {ns['locked']:>7.1f} {ns['free']:>7.1f} {ns['one']:>7.1f} {ns['two']:>7.1f} "
        f"{ns['every']:>7.1f}   {ns['locked'] / ns['one']:>6.2f} {ns['free'] / ns['one']:>6.2f} "
        f"{ns['one'] / ns['two']:>6.2f} {ns['every'] / ns['one']:>6.2f}",
        flush=True,
    )


def long(events: int) -> None:
    """Stream a generated trace through the engine, in this process."""
    orders = orders_of(WORKLOADS["random"], LONG_FOLIOS, np.random.default_rng(0))
    start = time.perf_counter()
    with Engine(folios_of(orders), NO_PAGE_MAPCOUNT) as engine:
        for window in windows("random", orders, events):
            engine.replay(window)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took = time.perf_counter() - start
    print(
        f"{engine.events:,} events of {LONG_FOLIOS:,} folios, generated and replayed in {took:.0f} s, "
        f"peak memory {peak:.0f} MiB"
    )


def main() -> None:
    """Print the table, and with --long the memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=8_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--long", type=int, metavar="EVENTS")
    arguments = parser.parse_args()
    if arguments.long:
        long(arguments.long)
        return
    print(
        f"{len(os.sched_getaffinity(0))} cores; nanoseconds per event, best of {arguments.runs} runs in turns"
    )
    print(
        f"{'':<20}{'--------- C --------':^16}{'------- engine -------':^24}      ---------- ratio ----------"
    )
    print("workload    folios  locked  free     1 core 2 cores   every   locked   free  cores  every")
    with tempfile.TemporaryDirectory() as directory:
        locked, free = build(directory, "-DLOCKED"), build(directory)
        by_engine(
            list(windows("random", np.full(64, 9, np.uint8), 1000)), np.full(64, 9, np.uint8), 2, every=True
        )
        for kind, folios in CASES:
            case(kind, folios, arguments.events, arguments.runs, locked, free)


if __name__ == "__main__":
    main()
