"""Programs that make mappings come and go: unmap, fork, splitting a PMD.

Each follows mechanism, section 6. A program holds the page table lock of the table that it changes, and
takes references before it maps and gives them back after it unmapped.
"""

from __future__ import annotations

from mapcount.check.races.folio import (
    ENTIRE,
    PINS,
    SWAP_USERS,
    FolioOps,
)
from mapcount.check.races.memory import Load, Note, Steps, Store, Update, add, put
from mapcount.check.races.tables import (
    BY_PTES,
    ELSEWHERE,
    NONE,
    PRESENT,
    READ,
    SPLITTING,
    SWAP,
    SWAP_EXCLUSIVE,
    SWAPPED,
    Table,
)

Pages = tuple[int, ...]


def fork_count(mm: str) -> str:
    """The cell of an mm's sequence count: odd while a fork of it write-protects, and never the same again."""
    return f"{mm} forks"


def unmap(folio: FolioOps, table: Table, pages: Pages) -> Steps[None]:
    """Unmap pages as munmap() or exit would: PTEs, then mapcounts, and references once all is unlocked."""
    yield from table.lock()
    mapped = swapped = 0
    for page in pages:
        entry = yield from table.entry(page)
        if entry != NONE:
            yield from table.clear_pte(page)
        mapped += entry in PRESENT
        swapped += entry in SWAPPED
    if swapped:
        yield Update(SWAP_USERS, add(-swapped), f"{swapped} swap entries less")
    if mapped:
        if not folio.rules.mapcount_before_reference:
            yield from folio.put(mapped)
        yield from folio.remove_mappings(table.mm_id, mapped, table.mm)
    yield from table.unlock()
    if mapped and folio.rules.mapcount_before_reference:
        yield from folio.put(mapped)


def unmap_pmd(folio: FolioOps, table: Table) -> Steps[None]:
    """Unmap a folio that a PMD maps."""
    yield from table.lock()
    entry = yield from table.huge_entry()
    mapped = entry in PRESENT
    if mapped:
        yield from table.set_pmd(NONE)
        if not folio.rules.mapcount_before_reference:
            yield from folio.put()
        yield from folio.remove_pmd_mapping(table.mm_id, table.mm)
    yield from table.unlock()
    if mapped and folio.rules.mapcount_before_reference:
        yield from folio.put()


def split_pmd(folio: FolioOps, table: Table) -> Steps[None]:
    """Map by PTEs what a PMD maps; the page table is locked. The PMD's reference becomes one of a PTE.

    So the total is one more than there are references for it, until the PMD's mapping is gone.
    """
    pages = tuple(range(folio.nr_pages))
    mark = yield from folio.is_exclusive(0)
    entry = yield from table.huge_entry()
    yield from table.set_pmd(SPLITTING)
    yield Note(table.split, put(1))
    yield from folio.get(folio.nr_pages - 1)
    if mark:
        for page in pages[1:]:
            yield from folio.mark_exclusive(page)
    yield from folio.add_mappings(table.mm_id, folio.nr_pages, table.mm)
    for page in pages:
        yield from table.set_pte(page, entry)
    yield from table.set_pmd(BY_PTES)
    yield from folio.remove_pmd_mapping(table.mm_id, table.mm)


def fork(folio: FolioOps, parent: Table, child: Table, pages: Pages) -> Steps[None]:
    """Copy a batch of PTEs. What is exclusive and may be pinned is copied at once, never shared."""
    count = yield from _begin_fork(parent)
    yield from child.lock()
    yield from parent.lock()
    shared: Pages = ()
    for page in pages:
        entry = yield from parent.entry(page)
        if entry in SWAPPED:
            yield Update(SWAP_USERS, add(1), "a swap entry more")
            if entry == SWAP_EXCLUSIVE:
                yield from parent.set_pte(page, SWAP)
            yield from child.set_pte(page, SWAP)
        elif entry in PRESENT:
            pinned = yield from _unmark_unless_pinned(folio, page)
            if pinned:
                yield from child.set_pte(page, ELSEWHERE)
            else:
                shared = (*shared, page)
    if shared:
        if folio.rules.reference_before_mapcount:
            yield from folio.get(len(shared))
        yield from folio.add_mappings(child.mm_id, len(shared), child.mm)
        if not folio.rules.reference_before_mapcount:
            yield from folio.get(len(shared))
    for page in shared:
        yield from parent.set_pte(page, READ)
        yield from child.set_pte(page, READ)
    yield from parent.unlock()
    yield from child.unlock()
    yield Store(fork_count(parent.mm), count + 2, f"{parent.mm}'s fork is over")


def fork_pmd(folio: FolioOps, parent: Table, child: Table) -> Steps[None]:
    """Copy a PMD as a PMD. If it is exclusive and may be pinned, nothing is shared here."""
    count = yield from _begin_fork(parent)
    yield from child.lock()
    yield from parent.lock()
    entry = yield from parent.huge_entry()
    if entry in PRESENT:
        pinned = yield from _unmark_unless_pinned(folio, 0)
        if not pinned:
            yield from folio.get()
            yield Update(ENTIRE, add(1), "entire + 1")
            yield from folio.add_mappings(child.mm_id, 1, child.mm)
            yield from parent.set_pmd(READ)
            yield from child.set_pmd(READ)
    yield from parent.unlock()
    yield from child.unlock()
    yield Store(fork_count(parent.mm), count + 2, f"{parent.mm}'s fork is over")


def _unmark_unless_pinned(folio: FolioOps, page: int) -> Steps[bool]:
    """Clear the mark of a page that is to be shared. True, and nothing cleared, if it may be pinned."""
    mark = yield from folio.is_exclusive(page)
    if not mark:
        return False
    pins = yield Load(PINS, "pins?")
    if pins:
        return True
    yield from folio.unmark_exclusive(page)
    return False


def _begin_fork(parent: Table) -> Steps[int]:
    count = yield Load(fork_count(parent.mm), f"{parent.mm}'s forks?")
    yield Store(fork_count(parent.mm), count + 1, f"{parent.mm} forks")
    return int(count)
