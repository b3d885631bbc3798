"""What memory turned out to be: in which folios, mapped how, behind which frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mapcount.bench.story import PAGE_KIB, Form
from mapcount.live.snapshot import I64, Source

NONE = -1
"""The frame of a page that is not there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One process's view of the memory under test."""

    forms: Mapping[Form, int]
    """Pages by the form they have."""
    frames: I64
    """Frame by page."""

    def share(self, form: Form) -> float:
        """The part of all pages that has this form."""
        return self.forms.get(form, 0) / len(self.frames)

    def changed(self, before: Seen) -> int:
        """How many pages are behind another frame than before."""
        return int(np.count_nonzero(self.frames != before.frames))


def look(source: Source, pid: int, start: int, nr_pages: int) -> Seen | None:
    """Look at pages [start, start + nr_pages) of a process. None where frames cannot be seen.

    Raises Unreadable.
    """
    if not source.machine.frames:
        return None
    frames = np.full(nr_pages, NONE, np.int64)
    forms: Counter[Form] = Counter()
    process = source.process(pid)
    begins = np.array([region.start for region in process.regions], np.int64) - start
    for block in source.blocks(process):
        runs = block.runs
        page, frame = begins[runs.region] + runs.page, runs.folio.astype(np.int64) + runs.first
        inside = (page >= 0) & (page < nr_pages)
        nr = runs.nr[inside]
        within = np.arange(nr.sum()) - np.repeat(np.cumsum(nr) - nr, nr)
        frames[np.repeat(page[inside], nr) + within] = np.repeat(frame[inside], nr) + within
        kinds = np.stack([runs.order[inside], runs.pmd[inside]])
        for order, pmd in np.unique(kinds, axis=1).T.tolist():
            alike = (kinds[0] == order) & (kinds[1] == pmd)
            forms[Form(PAGE_KIB << order, by_pmd=pmd == 1)] += int(nr[alike].sum())
    return Seen(forms, frames)
