"""What it costs that the kernel is mistaken: folios of one mm alone that it believes to be shared.

Who asks "maybe mapped shared", and what a wrong "yes" leads to, is in section 7 of the mechanism; when
exactly, in section 6. A mistaken folio has one owner, so every mistake belongs to one process.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from mapcount.audit.large_folios import BY_PMD, EXCLUSIVE, LargeFolios
from mapcount.live.snapshot import I64, Kind


@dataclass(slots=True)
class Mistakes:
    """Counts of folios and ranges, and pages. They add up over processes."""

    folios: int = 0
    """Large folios mistaken for shared: mbind and migrate_pages do not move them, unless told MOVE_ALL."""
    pages: int = 0
    """Pages of them that the process maps."""
    copied: int = 0
    """Pages that the next write copies, where a kernel that knows would reuse them."""
    copied_at_most: int = 0
    """There may be more: some of the marks may be on pages that are not mapped any more."""
    advice_always: int = 0
    """Folios that MADV_COLD, PAGEOUT and FREE always skip: mapped by a PMD, or not whole."""
    advice_partly: int = 0
    """Folios that these skip when a part is addressed, instead of splitting them."""
    collapses: int = 0
    """PMD ranges that khugepaged leaves alone for having more than max_ptes_shared shared pages."""

    def add(self, other: Mistakes) -> None:
        """Add another's."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))


def mistakes_about(settled: LargeFolios, *, reuses: bool) -> Mistakes:
    """What follows for folios whose truth is settled; all but khugepaged's ranges.

    `reuses`: does the kernel reuse pages of large folios at all, when it knows that they are exclusive?
    Before Linux 6.15 it did not, so no mistake made it copy.
    """
    wrong = settled.at((settled.truth == EXCLUSIVE) & (settled.believed == 1))
    if not len(wrong):
        return Mistakes()
    advised = wrong.kind != Kind.HUGETLB
    always = advised & (((wrong.levels & BY_PMD) > 0) | ~wrong.whole)
    least, most = _copied(wrong)
    return Mistakes(
        folios=len(wrong),
        pages=int(wrong.mine.sum()),
        copied=int(least.sum()) * reuses,
        copied_at_most=int(most.sum()) * reuses,
        advice_always=int(always.sum()),
        advice_partly=int((advised & ~always).sum()),
    )


def _copied(wrong: LargeFolios) -> tuple[I64, I64]:
    """Pages of each folio that a write copies because of the mistake, at least and at most.

    A marked page is reused whatever the folio's flag says; one that is not is reused only if the
    kernel knows that nobody else has the folio. Which pages are marked is not known, only how many.
    """
    asked = (wrong.kind == Kind.ANON) & wrong.only_mapped
    marked = np.maximum(wrong.marked, 0).astype(np.int64)
    least = np.where(wrong.marked < 0, 0, np.maximum(wrong.mine - marked, 0))
    most = np.minimum(wrong.mine, np.maximum(wrong.nr_pages - marked, 0))
    return least * asked, most * asked
