"""How many large folios there are of each description, and what they add to statistics.

One table of counts has an axis for each thing that is asked of a folio; every question is a sum over
some of its cells. Tables of different processes and machines add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mapcount.audit.large_folios import LargeFolios
from mapcount.live.snapshot import UNKNOWN, Kind

ORDERS = 32
"""Folios are smaller than 2^32 pages: those that claim more are counted as 2^31."""
UNKNOWN_TOO = 3
"""0, 1 and UNKNOWN as an index: UNKNOWN, -1, is the last."""
SHAPE = (len(Kind), ORDERS, 4, 2, UNKNOWN_TOO, UNKNOWN_TOO)
"""Kind, order, levels, partly mapped, truth, belief."""


@dataclass(slots=True)
class Unmapped:
    """Pages of mapped folios that nobody maps, by statistic: what whole folios are counted for besides."""

    anon: int = 0
    file_mapped: int = 0

    def add(self, other: Unmapped) -> None:
        """Add another's pages."""
        self.anon += other.anon
        self.file_mapped += other.file_mapped


@dataclass(slots=True)
class Census:
    """Folios counted, each once."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SHAPE, np.int64))
    by_cgroup: dict[int, Unmapped] = field(default_factory=dict)
    """By the inode of the control group that is charged; 0 is unknown."""
    unknown_unmapped: int = 0
    """Partly mapped folios of which it is not known how much is mapped."""

    def add(self, folios: LargeFolios) -> None:
        """Count folios."""
        if not len(folios):
            return
        axes = (
            folios.kind,
            np.minimum(folios.order, ORDERS - 1),
            folios.levels,
            folios.partly,
            folios.truth % UNKNOWN_TOO,
            folios.believed % UNKNOWN_TOO,
        )
        cells = np.ravel_multi_index([axis.astype(np.intp) for axis in axes], SHAPE)
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(SHAPE)
        self._add_unmapped(folios.at(folios.partly))

    def _add_unmapped(self, partly: LargeFolios) -> None:
        if not len(partly):
            return
        known = partly.at(partly.mapped != UNKNOWN)
        self.unknown_unmapped += len(partly) - len(known)
        cgroups, of = np.unique(known.cgroup, return_inverse=True)
        pages = known.nr_pages - known.mapped
        anon = np.bincount(of, pages * (known.kind == Kind.ANON), len(cgroups))
        mapped = np.bincount(of, pages * np.isin(known.kind, (Kind.FILE, Kind.SHMEM)), len(cgroups))
        for cgroup, *more in zip(cgroups, anon, mapped, strict=True):
            self.by_cgroup.setdefault(int(cgroup), Unmapped()).add(Unmapped(*map(int, more)))

    @property
    def unmapped(self) -> Unmapped:
        """Over all control groups."""
        total = Unmapped()
        for more in self.by_cgroup.values():
            total.add(more)
        return total

    def update(self, other: Census) -> None:
        """Add another census, of other folios."""
        self.counts += other.counts
        self.unknown_unmapped += other.unknown_unmapped
        for cgroup, more in other.by_cgroup.items():
            self.by_cgroup.setdefault(cgroup, Unmapped()).add(more)


@dataclass(frozen=True, slots=True)
class FolioSize:
    """Large folios of one kind and order."""

    kind: str
    order: int
    kib: int
    """Of one folio."""
    folios: int
    by_pmd: int
    by_pte: int
    by_both: int
    """These three may be fewer than all: where the level is not known."""
    partly_mapped: int
    exclusive: int
    shared: int
    """These two may be fewer than all: where the truth is not known."""
    mistaken_for_shared: int
    """Exclusive, but the kernel says "maybe shared"."""
    mistaken_for_exclusive: int
    """Shared, but the kernel says exclusive: only the guess before 6.15 may do that."""
    not_judged: int
    """What the kernel believes, or what is true, is not known."""


def folio_sizes(census: Census, page_kib: int) -> tuple[FolioSize, ...]:
    """The rows that are not empty, by kind and order."""
    counts = census.counts
    rows = []
    for kind, order in zip(*np.nonzero(counts.sum(axis=(2, 3, 4, 5))), strict=True):
        of = counts[kind, order]
        levels, judged = of.sum(axis=(1, 2, 3)), of.sum(axis=(0, 1))
        rows.append(
            FolioSize(
                kind=Kind(int(kind)).name.lower(),
                order=int(order),
                kib=page_kib << int(order),
                folios=int(of.sum()),
                by_pte=int(levels[1]),
                by_pmd=int(levels[2]),
                by_both=int(levels[3]),
                partly_mapped=int(of[:, 1].sum()),
                exclusive=int(judged[0].sum()),
                shared=int(judged[1].sum()),
                mistaken_for_shared=int(judged[0, 1]),
                mistaken_for_exclusive=int(judged[1, 0]),
                not_judged=int(judged[UNKNOWN].sum() + judged[:UNKNOWN, UNKNOWN].sum()),
            )
        )
    return tuple(rows)
