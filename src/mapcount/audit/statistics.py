"""The kernel's statistics of mapped memory, now and under each flavour: meminfo, and memory.stat of cgroups.

With per-page counts, AnonPages and Mapped (anon and file_mapped of a control group) count pages that are
mapped. Without, they count whole folios from the first mapping to the last. So they differ by the pages of
mapped folios that nobody maps. Shmem counts page cache, mapped or not, and is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mapcount.audit.census import Census, Unmapped
from mapcount.live.cgroup_paths import with_parents
from mapcount.live.snapshot import Machine, MemoryStat
from mapcount.tracking.flavour import FLAVOURS, Flavour

PREDICTED = tuple(flavour for flavour in FLAVOURS.values() if flavour.owner_slots)
"""The kernels that answers are given for: those of 6.15 and later."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One number of the kernel's, in KiB."""

    now_kib: int
    under: Mapping[str, int]
    """By flavour."""


@dataclass(frozen=True, slots=True)
class AuditedCgroup:
    """A control group's memory.stat, and what decides about its limit, which stays as it is."""

    path: str
    anon: Statistic | None
    """None, here and below: not readable."""
    file_mapped: Statistic | None
    shmem_kib: int | None
    limit_kib: int | None
    """None without a limit."""
    current_kib: int | None

    def change(self, flavour: str) -> int:
        """By how much anon and file_mapped differ under a flavour, in KiB without sign."""
        known = [statistic for statistic in (self.anon, self.file_mapped) if statistic]
        return sum(abs(statistic.under[flavour] - statistic.now_kib) for statistic in known)


def statistic(now_kib: int, unmapped_pages: int, machine: Machine) -> Statistic:
    """One number, given how many pages of mapped folios nobody maps."""
    kib = unmapped_pages * machine.page_size >> 10

    def under(flavour: Flavour) -> int:
        return now_kib + kib * (machine.flavour.page_mapcounts - flavour.page_mapcounts)

    return Statistic(now_kib, {flavour.name: under(flavour) for flavour in PREDICTED})


def meminfo(machine: Machine, census: Census) -> Mapping[str, Statistic]:
    """AnonPages and Mapped."""
    unmapped = census.unmapped
    pages = {"AnonPages": unmapped.anon, "Mapped": unmapped.file_mapped}
    return {
        name: statistic(machine.meminfo[name], nr, machine)
        for name, nr in pages.items()
        if name in machine.meminfo
    }


def cgroups(machine: Machine, census: Census, stats: Sequence[MemoryStat]) -> tuple[AuditedCgroup, ...]:
    """Every control group. What a group is charged counts in all groups above it as well."""
    paths = {stat.inode: stat.path for stat in stats}
    below: dict[str, Unmapped] = {}
    for inode, more in census.by_cgroup.items():
        for path in with_parents(paths[inode]) if inode in paths else ():
            below.setdefault(path, Unmapped()).add(more)

    def of(now: int | None, unmapped_pages: int) -> Statistic | None:
        return None if now is None else statistic(now >> 10, unmapped_pages, machine)

    return tuple(
        AuditedCgroup(
            path=stat.path,
            anon=of(stat.anon, (more := below.get(stat.path, Unmapped())).anon),
            file_mapped=of(stat.file_mapped, more.file_mapped),
            shmem_kib=_kib(stat.shmem),
            limit_kib=_kib(stat.limit),
            current_kib=_kib(stat.current),
        )
        for stat in stats
    )


def _kib(size: int | None) -> int | None:
    return None if size is None else size >> 10
