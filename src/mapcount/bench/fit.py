"""What one page costs and what one batch costs: a line through the times of several folio sizes.

The kernel treats the PTEs of one folio as one batch, so the same memory in larger folios is as many pages in
fewer batches. time per page = per_page + per_batch * (batches per page): least squares of the *relative*
errors, because times differ by a factor of ten and noise grows with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FEWEST = 3
"""Sizes without which there is nothing to judge a line by: two points are always on one."""
LARGEST_RESIDUAL = 0.15
"""Beyond this the times do not lie on a line, and its two numbers mean nothing."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Nanoseconds per page and per batch, and whether to believe them."""

    per_page: float
    per_batch: float
    residual: float
    """Root mean square of the relative errors."""
    sizes: int
    """How many folio sizes it was made of."""

    @property
    def meaningless(self) -> str | None:
        """Why the numbers say nothing; None if they do."""
        if self.sizes < FEWEST:
            return f"{self.sizes} sizes of large folios mapped by PTEs; it takes {FEWEST}"
        if self.residual > LARGEST_RESIDUAL:
            return f"the times do not lie on a line (they miss it by {self.residual:.0%})"
        if self.per_page < 0 or self.per_batch < 0:
            return "a cost below zero"
        return None


def fit(ns_per_page: Mapping[int, float]) -> Fit | None:
    """Fit the times (ns per page) of large folios by their number of pages; None for fewer than two sizes.

    Small folios do not belong here: the kernel has other code for them, with no lock and no batch.
    Raises ValueError for a time that is not above zero.
    """
    if len(ns_per_page) < 2:
        return None
    times = np.array(list(ns_per_page.values()), float)
    if times.min() <= 0:
        raise ValueError("a time is not above zero: nothing is left of it without what the call itself costs")
    terms = np.column_stack([np.ones(len(times)), 1 / np.array(list(ns_per_page), float)])
    (per_page, per_batch), *_ = np.linalg.lstsq(terms / times[:, None], np.ones(len(times)), rcond=None)
    errors = (terms @ [per_page, per_batch]) / times - 1
    return Fit(float(per_page), float(per_batch), float(np.sqrt(np.mean(errors**2))), len(times))
