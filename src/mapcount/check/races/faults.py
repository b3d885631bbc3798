"""Programs that faults run: a write to a page that may be shared, and a page that is still in the swap cache.

The decision of the write fault, `can_reuse`, is what most races are about (mechanism, section 6): a look at
the counters without a lock, and if that says yes, another one under the folio's bit spinlock.
"""

from __future__ import annotations

from mapcount.check.races.folio import (
    ENTIRE,
    MM_IDS,
    NO_SLOT,
    REFCOUNT,
    SHARED,
    STILL_ENTIRE,
    SWAP_CACHE,
    SWAP_USERS,
    TOO_FEW_REFERENCES,
    TOO_MANY_MAPPINGS,
    TOTAL,
    FolioOps,
    mm_id,
)
from mapcount.check.races.mapping import Pages, split_pmd
from mapcount.check.races.memory import Load, Protected, Steps, Update, add
from mapcount.check.races.tables import (
    ELSEWHERE,
    READ,
    SWAP_EXCLUSIVE,
    SWAPPED,
    WRITE,
    Table,
)


def write_fault(folio: FolioOps, table: Table, page: int) -> Steps[None]:
    """Write to a page that is mapped read-only: reuse it if nobody else has it, otherwise copy it."""
    yield from table.lock()
    entry = yield from table.entry(page)
    if entry == READ:
        mark = yield from folio.is_exclusive(page)
        reuse = mark
        if not mark:
            reuse = yield from can_reuse(folio, table)
        if reuse:
            if not mark:
                yield from folio.mark_exclusive(page)
            yield from table.set_pte(page, WRITE)
        else:
            yield from _copy(folio, table, page)
    yield from table.unlock()


def can_reuse(folio: FolioOps, table: Table) -> Steps[bool]:
    """May the faulting mm reuse a page of this folio? Asked without a lock first, then again under it."""
    total = yield Load(TOTAL, "total?")
    if total <= 1:
        return False
    word = yield Load(MM_IDS, "mm_ids?")
    if word & SHARED:
        return False
    if not folio.rules.assert_when_stable:
        entire = yield Load(ENTIRE, "assert: entire is 0")
        yield from folio.warn_unless(entire == 0, STILL_ENTIRE)
    cached = yield Load(SWAP_CACHE, "in the swap cache?")
    allowed = folio.nr_pages if cached and not folio.rules.wait_for_swap_cache else 0
    if cached and folio.rules.wait_for_swap_cache:
        locked = yield from folio.trylock()
        if not locked:
            return False
        yield from folio.free_swap()
        yield from folio.unlock()
    total = yield Load(TOTAL, "total?")
    if folio.rules.compare_references:
        references = yield Load(REFCOUNT, "references?")
        if references != total + allowed:
            return False
    if not folio.rules.recheck_under_lock:
        yield from folio.note_reuse()
        return True
    return (yield from _recheck(folio, table, allowed))


def _recheck(folio: FolioOps, table: Table, allowed: int) -> Steps[bool]:
    """The decision under the mapcount lock, where neither total nor flag can change."""
    yield from folio.lock_large_mapcount()
    word, total = yield Protected((MM_IDS, TOTAL))
    references = yield Load(REFCOUNT, "references?")
    yield from folio.warn_unless(total <= references, TOO_FEW_REFERENCES)
    same = references == total + allowed or not folio.rules.compare_references
    reuse = same and not word & SHARED
    if reuse:
        yield from folio.note_reuse()
        yield from folio.warn_unless(total <= folio.nr_pages, TOO_MANY_MAPPINGS)
        yield from folio.warn_unless(table.mm_id in (mm_id(word, 0), mm_id(word, 1)), NO_SLOT)
        if folio.rules.assert_when_stable:
            entire = yield Load(ENTIRE, "assert: entire is 0")
            yield from folio.warn_unless(entire == 0, STILL_ENTIRE)
    yield from folio.unlock_large_mapcount(word)
    return reuse


def _copy(folio: FolioOps, table: Table, page: int) -> Steps[None]:
    """Copy the page while the page table is unlocked; if it is still mapped then, the copy replaces it."""
    yield from folio.get()
    yield from table.unlock()
    yield from table.lock()
    entry = yield from table.entry(page)
    same = entry == READ
    if same:
        yield from table.clear_pte(page)
        yield from table.set_pte(page, ELSEWHERE)
        if not folio.rules.mapcount_before_reference:
            yield from folio.put()
        yield from folio.remove_mappings(table.mm_id, 1, table.mm)
        if folio.rules.mapcount_before_reference:
            yield from folio.put()
    yield from folio.put()


def write_fault_pmd(folio: FolioOps, table: Table) -> Steps[None]:
    """Write to a folio that a PMD maps read-only: reuse it whole if this is its one reference, else split."""
    yield from table.lock()
    entry = yield from table.huge_entry()
    if entry == READ:
        mark = yield from folio.is_exclusive(0)
        reuse = mark
        if not mark:
            reuse = yield from _can_reuse_whole(folio)
        if reuse:
            if not mark:
                yield from folio.mark_exclusive(0)
            yield from table.set_pmd(WRITE)
        else:
            yield from split_pmd(folio, table)
            yield from table.unlock()
            yield from write_fault(folio, table, 0)
            return
    yield from table.unlock()


def _can_reuse_whole(folio: FolioOps) -> Steps[bool]:
    locked = yield from folio.trylock()
    if not locked:
        return False
    yield from folio.free_swap()
    references = yield Load(REFCOUNT, "references?")
    alone = bool(references == 1)
    if alone:
        yield from folio.note_reuse()
    yield from folio.unlock()
    return alone


def swap_in(folio: FolioOps, table: Table, pages: Pages) -> Steps[None]:
    """Fault pages back in that are still in the swap cache. Its own entries gone, it may leave that."""
    cached = yield Load(SWAP_CACHE, "in the swap cache?")
    got = False
    if cached:
        got = yield from folio.try_get()
    if not got:
        return
    yield from folio.lock()
    cached = yield from folio.cached()
    mapped = 0
    if cached:
        yield from table.lock()
        mapped = yield from _map_swapped(folio, table, pages)
        yield from table.unlock()
    yield from folio.unlock()
    if not mapped:
        yield from folio.put()


def _map_swapped(folio: FolioOps, table: Table, pages: Pages) -> Steps[int]:
    """Map what is still a swap entry; the reference that the caller has becomes that of a PTE."""
    found: tuple[tuple[int, int], ...] = ()
    for page in pages:
        entry = yield from table.entry(page)
        if entry in SWAPPED:
            found = (*found, (page, entry))
    n = len(found)
    if not n:
        return 0
    yield Update(SWAP_USERS, add(-n), f"{n} swap entr{'ies' if n > 1 else 'y'} less")
    yield from folio.free_swap()
    if n > 1 and folio.rules.reference_before_mapcount:
        yield from folio.get(n - 1)
    yield from folio.add_mappings(table.mm_id, n, table.mm)
    if n > 1 and not folio.rules.reference_before_mapcount:
        yield from folio.get(n - 1)
    for page, entry in found:
        if entry == SWAP_EXCLUSIVE:
            yield from folio.mark_exclusive(page)
        yield from table.set_pte(page, WRITE if entry == SWAP_EXCLUSIVE else READ)
    return n
