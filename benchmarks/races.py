"""How long does it take to explore every race of the catalogue?

Stories, pairs and triples (a write fault beside every two programs), one after the other on one core, in both
memory models. Figure to reach: the whole catalogue with three threads in under 2 minutes, sequentially
consistent. Times are CPU time. The last column is the most memory that this process has had until then.

    python benchmarks/races.py [--memory-model sc|tso] [stories] [pairs] [triples]

Exit 1 where a property is broken or the figure is not reached.
"""

from __future__ import annotations

import argparse
import resource
import sys
from dataclasses import dataclass

from mapcount.check.races.choose import GROUPS, choose, explore_races
from mapcount.check.races.machine import MEMORY_MODELS
from mapcount.tracking.flavour import PAGE_MAPCOUNT

SECONDS_TO_REACH = 120


@dataclass(frozen=True)
class Cost:
    """What exploring a group of races took."""

    races: int
    states: int
    largest: int
    """States of the largest race."""
    seconds: float
    broken: int


def measure(group: str, memory_model: str) -> Cost:
    """Explore every race of a group."""
    found = list(explore_races(choose(group), PAGE_MAPCOUNT, memory_model))
    states = [result.explored.states for result in found]
    broken = sum(bool(result.explored.broken) for result in found)
    seconds = sum(result.seconds for result in found)
    return Cost(len(found), sum(states), max(states), seconds, broken)


def main() -> int:
    """Print a line for each group and memory model."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("groups", nargs="*", choices=[*GROUPS, []], help="default: all")
    options.add_argument("--memory-model", choices=MEMORY_MODELS, help="default: both")
    given = options.parse_args()
    print(f"{'':8}{'':5}{'races':>7}{'states':>12}{'largest':>10}{'CPU s':>9}{'states/s':>10}{'MiB':>7}")
    fine = True
    for model in [given.memory_model] if given.memory_model else MEMORY_MODELS:
        seconds = 0.0
        for group in given.groups or GROUPS:
            cost = measure(group, model)
            seconds += cost.seconds
            fine = fine and not cost.broken
            mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            speed = cost.states / max(cost.seconds, 1e-9)
            print(
                f"{group:8}{model:5}{cost.races:>7}{cost.states:>12,}{cost.largest:>10,}{cost.seconds:>9.1f}"
                f"{speed:>10,.0f}{mib:>7}",
                flush=True,
            )
        if model == "sc":
            reached = seconds < SECONDS_TO_REACH
            fine = fine and reached
            print(f"{'reached' if reached else 'NOT REACHED'}: {seconds:.1f} s of {SECONDS_TO_REACH} s")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
