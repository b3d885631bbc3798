"""Can this machine act a scenario out? If not, why, and what would make it possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mapcount.conform.agent import Pins
from mapcount.live.settings import meminfo
from mapcount.live.thp import Memory, Session, Thp, read_thp, thp_settings
from mapcount.scenario.printing import show_size
from mapcount.scenario.simulated import act
from mapcount.scenario.syntax import KERNEL, Action, Scenario
from mapcount.sim.memory import Kind
from mapcount.sim.system import System
from mapcount.tracking.flavour import PAGE_SIZE, PMD_ORDER, Flavour

HUGETLB = Path("/sys/kernel/mm/hugepages")
SHARE = 4
"""A scenario may take one part in so many of the memory that is available."""

PAGES_PER_G = (1 << 30) // PAGE_SIZE
MOST_MAPPED = 128 * PAGES_PER_G
"""Pages that may be mapped at once, in use or not: after each step there is a word of pagemap to read for
each. Whether the kernel allows so much (overcommit, limits) it says when it is asked."""


@dataclass(frozen=True, slots=True)
class Host:
    """What of a machine decides which scenarios it can act out."""

    thp: Thp
    set_thp: bool
    """May the settings of folio sizes be changed?"""
    swap: bool
    pins: bool
    """Does io_uring work, which is how agents pin pages?"""
    huge_free: Mapping[int, int]
    """Free hugetlb pages by their size in KiB."""
    available: int
    """Memory that is to be had, in pages."""


class FolioSizes:
    """Which folio sizes faults may use, changed from one moment to the next where that is allowed."""

    def __init__(self, host: Host, session: Session) -> None:
        self._session = session if host.set_thp else None
        self.small_needs_advice = not host.set_thp and bool(host.thp.usable_sizes(advised=False))
        """Would memory that advises nothing get large folios?"""

    def use(self, orders: Collection[int], *, shared: bool) -> None:
        """Let advised memory use folios of these orders and no others, if that may be changed."""
        if self._session is not None:
            self._session.set_only([4 << order for order in orders], "shmem" if shared else "anon")


def this_host(*, set_thp: bool) -> Host:
    """The machine that runs us."""
    memory = meminfo(Path("/proc"))
    free = {
        int(path.name.removeprefix("hugepages-").removesuffix("kB")): int(
            (path / "free_hugepages").read_text()
        )
        for path in HUGETLB.glob("hugepages-*kB")
    }
    with thp_settings():  # as they are when nobody has changed them for a while
        thp = read_thp()
    return Host(
        thp,
        set_thp,
        swap=memory.get("SwapFree", 0) > 0,
        pins=_pins_work(),
        huge_free=free,
        available=(memory["MemAvailable"] << 10) // PAGE_SIZE,
    )


def _pins_work() -> bool:
    pins = Pins()
    try:
        pins.pin([])
    except OSError:
        return False
    finally:
        pins.forget()
    return True


def why_not(scenario: Scenario, flavour: Flavour, host: Host) -> str | None:
    """What the scenario needs and the machine lacks, in a sentence; None if nothing.

    Raises ScenarioError for a scenario that no kernel could act out.
    """
    if scenario.bits != flavour.bits:
        return f"it is about a {scenario.bits}-bit machine"
    for step in scenario.steps:
        for action in step.actions:
            lacking = _lacking(action, host)
            if lacking:
                return lacking
    needs = _needed(scenario, flavour)
    if needs.mapped > MOST_MAPPED:
        return (
            f"it has {show_size(needs.mapped)} mapped at once, in use or not; "
            f"up to {show_size(MOST_MAPPED)} are looked at after each step"
        )
    if needs.used > host.available // SHARE:
        return (
            f"it needs {show_size(needs.used)} of memory; a scenario may take one part in {SHARE} of the "
            f"{host.available / PAGES_PER_G:.1f}G available"
        )
    for kib, pages in needs.huge.items():
        if pages > host.huge_free.get(kib, 0):
            free = host.huge_free.get(kib, 0)
            return (
                f"it needs {pages} hugetlb page{'s' * (pages != 1)} of {show_size(kib >> 2)}; "
                f"{free} {'is' if free == 1 else 'are'} free "
                f"(nr_hugepages in {HUGETLB}/hugepages-{kib}kB says how many there are)"
            )
    return None


def _lacking(action: Action, host: Host) -> str | None:
    if action.actor == KERNEL and action.verb != "expect":
        return f"no process can ask the kernel for this step: kernel {action.verb}"
    if action.verb == "pin" and not host.pins:
        return "pins are taken with io_uring, which does not work here (kernel.io_uring_disabled?)"
    if action.verb == "madvise" and action.word == "pageout" and not host.swap:
        return "madvise pageout needs swap, and there is none (swapon)"
    if action.verb == "madvise" and action.word == "hugepage":
        return _no_sizes((PMD_ORDER,), "anon", host)
    if action.verb != "mmap" or "hugetlb" in action.options or action.options.get("reserved"):
        return None
    if "file" in action.options:
        return "which folios a file on disk is cached in is its file system's choice; shmem= and memfd= work"
    sizes = action.options.get("thp", ())
    assert isinstance(sizes, tuple)
    shared = bool({"shared", "shmem", "memfd"} & action.options.keys())
    orders = tuple(int(size).bit_length() - 1 for size in sizes)
    return _no_sizes(orders, "shmem" if shared else "anon", host)


def _no_sizes(orders: Collection[int], memory: Memory, host: Host) -> str | None:
    """Why faults cannot use folios of exactly these orders in memory that asks for them."""
    policies = host.thp.anon if memory == "anon" else host.thp.shmem
    wanted = {4 << order for order in orders}
    missing = sorted(wanted - set(policies))
    words = "+".join(show_size(kib >> 2) for kib in sorted(wanted))
    if missing:
        return f"this kernel has no {memory} folios of {show_size(missing[0] >> 2)}"
    if host.set_thp:
        return None
    usable = set(host.thp.usable_sizes(advised=bool(wanted), memory=memory))
    if memory == "anon" and not wanted:
        return None  # MADV_NOHUGEPAGE makes sure of that
    if usable == wanted:
        return None
    given = "+".join(show_size(kib >> 2) for kib in sorted(usable)) or "small ones"
    return f"it needs {memory} folios of {words or '4K'}; settings here give {given} (--set-thp changes that)"


@dataclass(slots=True)
class _Needs:
    """The most that a scenario has at any time."""

    used: int = 0
    """Pages of memory."""
    mapped: int = 0
    """Pages in VMAs, of all processes."""
    huge: dict[int, int] = field(default_factory=dict)
    """hugetlb pages by size in KiB."""


def _needed(scenario: Scenario, flavour: Flavour) -> _Needs:
    """What the simulated kernel needs for it."""
    system, needs = System(flavour), _Needs()
    if scenario.first:
        system.spawn(scenario.first)
    for step in scenario.steps:
        for action in step.actions:
            if action.verb != "expect":
                act(system, scenario, action)
                _count(system, needs)
    return needs


def _count(system: System, needs: _Needs) -> None:
    now, used = Counter[int](), 0
    for run in system.machine.memory.folios:
        used += run.n
        if run.kind is Kind.HUGETLB:
            now[4 << run.folio.order] += run.count
    needs.used = max(needs.used, used)
    needs.huge = {kib: max(now[kib], needs.huge.get(kib, 0)) for kib in now | needs.huge}
    processes = system.machine.processes.values()
    needs.mapped = max(needs.mapped, sum(vma.n for process in processes for vma in process.mm.vmas))
