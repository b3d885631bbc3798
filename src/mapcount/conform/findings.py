"""From a deviation to what is worth reading, the shortest scenario that shows it; and what may be drawn."""

from __future__ import annotations

from dataclasses import dataclass

from mapcount.conform.check import Conformance, RunningKernel
from mapcount.conform.fitting import Host
from mapcount.conform.playing import Refused
from mapcount.conform.shrink import kind_of_field, shrink
from mapcount.live.thp import Memory
from mapcount.scenario.compare import compare
from mapcount.scenario.generate import Menu, Orders, generate
from mapcount.scenario.syntax import Scenario
from mapcount.tracking.flavour import PMD_ORDER


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario on the running kernel and, if it deviates, the shortest one that deviates alike."""

    found: Conformance
    shortest: Conformance | None = None


def examine(kernel: RunningKernel, scenario: Scenario) -> Result:
    """Act a scenario out; where it deviates, look for the shortest that does in the same kind of field.

    Raises ScenarioError for what no kernel would do.
    """
    found = kernel.conform(scenario)
    if not found.deviations:
        return Result(found)
    kind = kind_of_field(found.deviations[0][1].field)

    def deviates(candidate: Scenario) -> bool:
        try:
            comparison = compare(candidate, kernel.play(candidate))
        except Refused:
            return False
        return any(kind_of_field(difference.field) == kind for _, difference in comparison.unknown)

    shortest = kernel.conform(shrink(scenario, kernel.flavour, deviates))
    return Result(found, shortest if shortest.deviations else found)


def random_scenario(kernel: RunningKernel, seed: int, number: int) -> Scenario:
    """Random scenario `number` of those with this seed that the machine can act out."""
    return generate(f"{seed}-{number}", kernel.flavour, menu_of(kernel.host))


def menu_of(host: Host) -> Menu:
    """What random scenarios may do on this machine."""
    return Menu(_sets(host, "anon"), _sets(host, "shmem"), pins=host.pins, swap=host.swap)


def _sets(host: Host, memory: Memory) -> tuple[Orders, ...]:
    """Which sets of folio orders memory can have: where settings may be changed, each size and some pairs."""
    policies = host.thp.anon if memory == "anon" else host.thp.shmem
    if not host.set_thp:
        advised, otherwise = (_orders(host.thp.usable_sizes(a, memory)) for a in (True, False))
        return (advised,) if memory == "shmem" and advised != otherwise else ((), advised)
    orders = _orders(policies)
    often = tuple((order,) for order in (4, PMD_ORDER) if order in orders)
    pairs = tuple((order, PMD_ORDER) for order in orders if order < PMD_ORDER and PMD_ORDER in orders)
    return ((), *often * 3, *((order,) for order in orders), *pairs)


def _orders(sizes: object) -> Orders:
    assert isinstance(sizes, tuple | dict)
    return tuple((int(kib) >> 2).bit_length() - 1 for kib in sizes)
