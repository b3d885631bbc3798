"""One or several audits seen together: rows to sort and filter, and totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import PurePath

from mapcount.audit.census import FolioSize
from mapcount.audit.machine import Audit, AuditedProcess
from mapcount.audit.mistakes import Mistakes
from mapcount.audit.smaps import Memory
from mapcount.audit.statistics import PREDICTED, AuditedCgroup, Statistic
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, Flavour


@dataclass(frozen=True, slots=True)
class Row:
    """One process, and on which machine it is."""

    machine: str
    """Nothing if there is only one machine."""
    process: AuditedProcess
    then: Memory | None
    """Under the kernel that is compared with; None where nothing could be predicted."""
    page_kib: int

    @property
    def pss_change(self) -> int:
        """In KiB; 0 where it is not known."""
        return self.then.pss_kib - self.process.now.pss_kib if self.then else 0

    @property
    def uss_change(self) -> int:
        """In KiB; 0 where it is not known."""
        return self.then.uss_kib - self.process.now.uss_kib if self.then else 0

    @property
    def change(self) -> int:
        """The larger of the two, without its sign."""
        return max(abs(self.pss_change), abs(self.uss_change))

    @property
    def mistaken_kib(self) -> int:
        """Memory of this process in large folios that the kernel mistakes for shared."""
        return self.process.mistakes.pages * self.page_kib

    @property
    def copied_kib(self) -> int:
        """Memory that its writes will copy because of that, at least."""
        return self.process.mistakes.copied * self.page_kib


SORT_KEYS: Mapping[str, Callable[[Row], tuple[object, ...]]] = {
    "change": lambda row: (-row.change, -row.process.now.rss_kib),
    "pss-change": lambda row: (-abs(row.pss_change),),
    "uss-change": lambda row: (-abs(row.uss_change),),
    "rss": lambda row: (-row.process.now.rss_kib,),
    "pss": lambda row: (-row.process.now.pss_kib,),
    "uss": lambda row: (-row.process.now.uss_kib,),
    "mistaken": lambda row: (-row.mistaken_kib, -row.change),
    "copied": lambda row: (-row.copied_kib, -row.mistaken_kib),
    "name": lambda row: (row.process.comm,),
    "pid": lambda row: (row.machine, row.process.pid),
}
"""What rows can be sorted by: sizes largest first, the rest from small to large."""


class Overview:
    """Audits of one machine or of several. Processes of several are told apart by the machine's name."""

    def __init__(self, audits: Sequence[Audit]) -> None:
        self.audits = tuple(audits)
        by_folio = all(not audit.machine.flavour.page_mapcounts for audit in audits)
        self.then: Flavour = PAGE_MAPCOUNT if by_folio else NO_PAGE_MAPCOUNT
        """The kernel that is compared with: the one that counts in the other way."""
        self.names = _short_names([audit.name for audit in audits])
        self.rows = tuple(
            Row(name, process, process.under.get(self.then.name), audit.machine.page_size >> 10)
            for name, audit in zip(self.names, audits, strict=True)
            for process in audit.processes
        )

    def chosen(self, sort: str = "change", min_change: int = 0) -> list[Row]:
        """Rows that change by at least so many KiB, sorted; equal ones by machine and number."""
        rows = sorted(self.rows, key=SORT_KEYS["pid"])
        return sorted((row for row in rows if row.change >= min_change), key=SORT_KEYS[sort])

    @property
    def predicted(self) -> bool:
        """Could anything be predicted?"""
        return any(row.then for row in self.rows)

    @property
    def now(self) -> Memory:
        """All processes together."""
        return _sum([row.process.now for row in self.rows])

    def under(self, flavour: Flavour) -> Memory:
        """All processes together on another kernel; those that are not predicted stay as they are."""
        return _sum([row.process.under.get(flavour.name, row.process.now) for row in self.rows])

    @property
    def mistakes(self) -> Mistakes:
        """Of all processes."""
        total = Mistakes()
        for row in self.rows:
            total.add(row.process.mistakes)
        return total

    @property
    def mistaken_kib(self) -> int:
        """Memory in large folios that a kernel mistakes for shared."""
        return sum(row.mistaken_kib for row in self.rows)

    @property
    def meminfo(self) -> Mapping[str, Statistic]:
        """AnonPages and Mapped of all machines together."""
        found = [statistics for audit in self.audits for statistics in audit.meminfo.items()]
        return {
            name: Statistic(
                sum(statistic.now_kib for other, statistic in found if other == name),
                {f.name: sum(s.under[f.name] for other, s in found if other == name) for f in PREDICTED},
            )
            for name in dict.fromkeys(name for name, _ in found)
        }

    @property
    def folios(self) -> tuple[FolioSize, ...]:
        """Large folios of all machines by kind and size."""
        key = ("kind", "order", "kib")
        totals: dict[tuple[object, ...], Counter[str]] = {}
        for row in (asdict(row) for audit in self.audits for row in audit.folios):
            totals.setdefault(tuple(row.pop(name) for name in key), Counter()).update(row)
        return tuple(FolioSize(*at, **counts) for at, counts in sorted(totals.items()))  # type: ignore[arg-type]

    @property
    def cgroups(self) -> list[tuple[str, AuditedCgroup]]:
        """Control groups, and on which machine they are."""
        return [
            (name, group)
            for name, audit in zip(self.names, self.audits, strict=True)
            for group in audit.cgroups
        ]

    @property
    def complete(self) -> bool:
        """Was everything seen that changes the statistics?"""
        return all(audit.complete for audit in self.audits)


def _sum(memories: Sequence[Memory]) -> Memory:
    return Memory(
        sum(memory.rss_kib for memory in memories),
        sum(memory.pss_kib for memory in memories),
        sum(memory.uss_kib for memory in memories),
    )


def _short_names(names: Sequence[str]) -> list[str]:
    """Nothing for one machine; else the last part of each path, and a number where that was there before."""
    if len(names) == 1:
        return [""]
    told_apart: list[str] = []
    for name in (PurePath(name).name.removesuffix(".capture") for name in names):
        numbered = (f"{name} ({i})" for i in count(2))
        told_apart.append(next(each for each in chain([name], numbered) if each not in told_apart))
    return told_apart
