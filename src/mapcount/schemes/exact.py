"""An exact answer from two sums: of every mapping's MM id, and of its square.

n mappings of one mm alone have the sums n*mm and n*mm*mm. Of several mms, the sum of squares is always larger
than n times the mean's square. So the answer is never wrong, whoever comes and goes: as long as the sums fit,
for which 64 bits are plenty, and at the price of multiplications, and a division where it is asked.
"""

from __future__ import annotations

from typing import Any


def add(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:
    """`mm` has `n` mappings more."""
    state[0] += n * mm
    state[1] += n * mm * mm
    return 0


def remove(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:
    """`mm` has `n` mappings less."""
    state[0] -= n * mm
    state[1] -= n * mm * mm
    return 0


def maybe_shared(state: Any, nr_pages: int, total: int) -> bool:
    """Is there no one mm that all mappings would be of?"""
    if total == 0:
        return False
    mm = state[0] // total
    return bool(mm * total != state[0] or mm * mm * total != state[1])
