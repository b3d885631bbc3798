"""What smaps would print, from how often each page is mapped and whether it counts as private.

The rules are those of section 7 of the mechanism. Kernels differ only in the two columns: with per-page
counts each page answers for itself, without them its folio answers for all of its pages alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapcount.audit.questions import PSS_SHIFT, Ints, page_pss
from mapcount.live.snapshot import COUNTED, Bool, Process, Runs


@dataclass(frozen=True, slots=True)
class Memory:
    """One process's memory in KiB, as smaps of all of its regions add up."""

    rss_kib: int
    pss_kib: int
    uss_kib: int
    """Private_Clean + Private_Dirty."""


def smaps_says(process: Process) -> Memory:
    """The kernel's own words."""
    private = process.total("Private_Clean") + process.total("Private_Dirty")
    return Memory(process.total("Rss"), process.total("Pss"), private)


class SmapsSums:
    """One address space as one kernel's smaps has it, added up block by block."""

    def __init__(self, process: Process, page_size: int) -> None:
        n = len(process.regions)
        self._page_size = page_size
        self._looked_into = np.array(["pf" not in region.flags for region in process.regions], np.bool_)
        self._skips_some = not self._looked_into.all()
        self._rss, self._pss, self._private = (np.zeros(n, np.int64) for _ in range(3))
        """By region: pages, bytes << PSS_SHIFT, pages."""

    def add(self, runs: Runs, mapcount: Ints, private: Bool) -> None:
        """Count runs: how often each page of them is mapped, and whether it counts as private."""
        if not len(runs):
            return
        nr = runs.nr * COUNTED[runs.kind]
        if self._skips_some:
            nr *= self._looked_into[runs.region]
        starts = np.flatnonzero(np.diff(runs.region, prepend=-1))
        regions = runs.region[starts]
        for sums, values in (
            (self._rss, nr),
            (self._pss, nr * page_pss(mapcount, self._page_size)),
            (self._private, nr * private),
        ):
            np.add.at(sums, regions, np.add.reduceat(values, starts, dtype=np.int64))

    def memory(self) -> Memory:
        """The sums; each region's Pss is rounded down by itself, as the kernel does."""
        kib = self._page_size / 1024
        pss = int((self._pss >> (PSS_SHIFT + 10)).sum())
        return Memory(int(self._rss.sum() * kib), pss, int(self._private.sum() * kib))
