"""Owner slots, as many as wanted: the kernel has two (mechanism, section 4).

The state is the shared flag, then an MM id and a count for each slot. The rules are those of two slots: the
first free slot is taken; who finds none stays untracked; the flag is cleared when, after a removal that
left its mm without a slot, some slot's count is the total.
"""

from __future__ import annotations

from typing import Any


def add(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:
    """`mm` has `n` mappings more."""
    free = 0
    for i in range(1, len(state), 2):
        if state[i] == mm:
            state[i + 1] += n
            return 0
        if state[i] == 0 and free == 0:
            free = i
    if free:
        state[free] = mm
        state[free + 1] = n
    if not free or total != n:
        state[0] = 1
    return 0


def remove(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:
    """`mm` has `n` mappings less."""
    for i in range(1, len(state), 2):
        if state[i] == mm:
            state[i + 1] -= n
            if state[i + 1] >= 1:
                return 0
            state[i] = 0
            state[i + 1] = 0
    for i in range(2, len(state), 2):
        if state[i] == total:
            state[0] = 0
    return 0


def maybe_shared(state: Any, nr_pages: int, total: int) -> bool:
    """The flag, once there is more than one mapping."""
    return bool(total > 1 and state[0] != 0)


def walked(state: Any, owner: int, total: int) -> None:
    """An rmap walk found who maps the folio: a sole owner gets the first slot, and the flag is clear."""
    if owner:
        state[:] = 0
        state[1] = owner
        state[2] = total
