"""Exhausting a small world by mapcount and by Spin, the same model in the same run.

    python benchmarks/check.py [--mms N] [--runs N]

The world is a folio of four pages that `mms` address spaces map, by PTEs and PMDs, each page once at most.
Spin searches `owner_slots.pml`, compiled with -O3, depth first and breadth first; its faster way counts. Both
must find as many states and, first mappings aside, try as many events. CPU time is measured, which other work
on the machine disturbs least: of two threads, that of the busier one. The best of several runs counts.
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from mapcount.check.explore import compile_all, run
from mapcount.check.search import Search
from mapcount.check.world import World
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

MODEL = Path(__file__).parent / "owner_slots.pml"
MEMORY = 4 << 30
WAYS = ("depth first", "breadth first")
LARGEST_PATH = {2: 2_000, 3: 200_000, 4: 6_000_000}
TABLE = {2: 12, 3: 20, 4: 25}
"""By mms: a longest path and a hash table, as a power of two, that are large enough and not much larger."""
FLAGS = ("-O3", "-march=native", "-DSAFETY", "-DNOREDUCE", "-DNOFAIR", "-DMEMLIM=8000")
"""For reachability alone. Spin's reduction, of interleavings, has nothing to do in one process."""


class Took(NamedTuple):
    """What a search found, and the CPU seconds of its busiest thread."""

    states: int
    transitions: int
    seconds: float


def by_mapcount(mms: int, *, threads: int = 1, reduced: bool = False) -> tuple[Took, int]:
    """Our search; and how many states those found stand for."""
    world = World(NO_PAGE_MAPCOUNT, mms, 4)
    with Search(world, threads=threads, memory=MEMORY, reduced=reduced) as search:
        stopped = run(search)
        assert stopped is None, stopped
        ledger = search.ledger
        return Took(sum(ledger.layers), ledger.transitions, max(search.cpu)), ledger.stands_for


def by_spin(mms: int, way: str) -> Took:
    """Spin's search."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            ["spin", "-a", f"-DMMS={mms}", str(MODEL)], cwd=directory, check=True, capture_output=True
        )
        flags = (*FLAGS, "-DBFS") if way == "breadth first" else FLAGS
        subprocess.run(["gcc", *flags, "-o", "pan", "pan.c"], cwd=directory, check=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            ["./pan", f"-m{LARGEST_PATH[mms]}", f"-w{TABLE[mms]}"],
            cwd=directory,
            check=True,
            capture_output=True,
            text=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    numbers = dict(re.findall(r"^\s*([0-9.e+]+) (states, stored|states, matched)", done.stdout, re.M))
    counts = {what: int(float(number)) for number, what in numbers.items()}
    if "errors: 0" not in done.stdout or "states, stored" not in counts:
        raise SystemExit(f"Spin did not exhaust the model:\n{done.stdout}{done.stderr}")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(counts["states, stored"], sum(counts.values()), seconds)


def line(what: str, took: Took) -> None:
    """One line of the table."""
    rate = took.states / took.seconds / 1e6
    print(f"{what:<34}{took.states:>12,}{took.transitions:>14,}{took.seconds:>9.2f} s{rate:>8.2f} M/s")


def main() -> int:
    """Print the comparison; 1 if the two differ in what there is to find."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mms", type=int, default=4, choices=(2, 3, 4))
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    missing = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
    if missing:
        print(f"no {' and no '.join(missing)} here: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 3
    compile_all()
    ours: dict[str, list[Took]] = {}
    for _ in range(given.runs):
        for what, threads, reduced in (("one", 1, False), ("two", 2, False), ("reduced", 1, True)):
            took, stands_for = by_mapcount(given.mms, threads=threads, reduced=reduced)
            ours.setdefault(what, []).append(took)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spins = {way: by_spin(given.mms, way) for way in WAYS}
    best = {what: min(tooks, key=lambda took: took.seconds) for what, tooks in ours.items()}
    spin = min(spins.values(), key=lambda took: took.seconds)
    print(f"{'search':<34}{'states':>12}{'transitions':>14}{'CPU':>11}{'states':>12}")
    for way, took in spins.items():
        line(f"Spin, {way}", took)
    line("mapcount, nothing reduced", best["one"])
    line("mapcount, two threads: the busier", best["two"])
    line("mapcount, up to symmetry", best["reduced"])
    print(f"states per second, of Spin's: {spin.seconds / best['one'].seconds:.1f} times")
    print(f"two threads: {best['one'].seconds / best['two'].seconds:.2f} times one")
    print(
        f"up to symmetry, the same states in: 1/{spin.seconds / best['reduced'].seconds:,.0f} of Spin's time"
    )
    print(f"memory, Numba and all: {peak:,.0f} MiB at most")
    same = spin.states == best["one"].states == best["two"].states == stands_for
    print("the number of states is the same" if same else "THE NUMBERS OF STATES DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
