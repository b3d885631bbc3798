"""Per-page counts, and what kernels made of them.

The state is the entire mapcount, how many pages are mapped by PTEs, how many of them more than once, and each
page's own count.
"""

from __future__ import annotations

from typing import Any

ENTIRE, MAPPED, TWICE, FIRST = 0, 1, 2, 3


def words(nr_pages: int) -> int:
    """One count for each page, and three for the folio."""
    return FIRST + nr_pages


def state_bytes(nr_pages: int) -> int:
    """Four bytes a page, `_entire_mapcount` and `_nr_pages_mapped`."""
    return 4 * nr_pages + 8


def add(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:
    """Each page +1, or the entire mapcount."""
    if n != pages:
        state[ENTIRE] += 1
        return 3 if state[ENTIRE] == 1 else 2
    turned = 0
    for i in range(FIRST + page, FIRST + page + pages):
        state[i] += 1
        turned += state[i] == 1
        state[TWICE] += state[i] == 2
    state[MAPPED] += turned
    return pages + 1 + (1 if turned > 0 else 0)


def remove(state: Any, mm: int, page: int, pages: int, n: int, total: int) -> int:
    """Each page -1, or the entire mapcount."""
    if n != pages:
        state[ENTIRE] -= 1
        return 3 if state[ENTIRE] == 0 else 2
    turned = 0
    for i in range(FIRST + page, FIRST + page + pages):
        state[i] -= 1
        turned += state[i] == 0
        state[TWICE] -= state[i] == 1
    state[MAPPED] -= turned
    return pages + 1 + (1 if turned > 0 else 0)


def first_page_maybe_shared(state: Any, nr_pages: int, total: int) -> bool:
    """Before 6.15 (mechanism, section 11): judged by the first page, unless it is clear otherwise."""
    return bool(total > 1 and (state[ENTIRE] > 0 or total > nr_pages or state[FIRST] > 1))


def any_page_maybe_shared(state: Any, nr_pages: int, total: int) -> bool:
    """Shared once any page is mapped twice, by whomever."""
    return bool(state[TWICE] > 0 or state[ENTIRE] > 1 or (state[ENTIRE] > 0 and state[MAPPED] > 0))
