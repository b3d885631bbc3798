"""Programs that act on the folio as a whole, under its lock: leaving the swap cache, page-out, migration.

They find the tables that map it by the rmap, one after the other, and hold a reference of their own. At the
end they *freeze* the folio: the reference count goes from exactly what is expected to 0 at once, and if it is
anything else, somebody uses the folio and all is put back.
"""

from __future__ import annotations

from mapcount.check.races.folio import (
    PINS,
    REFCOUNT,
    SWAP_CACHE,
    SWAP_USERS,
    TOTAL,
    FolioOps,
)
from mapcount.check.races.mapping import Pages, split_pmd
from mapcount.check.races.memory import Load, Steps, Update, add, put, when
from mapcount.check.races.tables import (
    ELSEWHERE,
    MIGRATING,
    MIGRATION,
    MIGRATION_EXCLUSIVE,
    PRESENT,
    READ,
    SWAP,
    SWAP_EXCLUSIVE,
    WRITE,
    Table,
)


def free_swap(folio: FolioOps) -> Steps[None]:
    """Take the folio out of the swap cache, if nothing refers to its swap any more."""
    locked = yield from folio.trylock()
    if locked:
        yield from folio.free_swap()
        yield from folio.unlock()


def page_out(folio: FolioOps, tables: tuple[Table, ...], pages: Pages) -> Steps[None]:
    """Add the folio to the swap cache, put swap entries where it is mapped, and free it."""
    locked = yield from folio.trylock()
    if not locked:
        return
    got = yield from folio.try_get()
    pins = 0
    if got:
        pins = yield Load(PINS, "pins?")
    if pins or not got:
        yield from folio.unlock()
        if got:
            yield from folio.put()
        return
    cached = yield from folio.cached()
    if not cached:
        yield from folio.get(folio.nr_pages)
        yield Update(SWAP_CACHE, put(1), "enter the swap cache")
    for table in tables:
        yield from _unmap_table(folio, table, pages, SWAP, SWAP_EXCLUSIVE)
    total = yield Load(TOTAL, "total?")
    gone = False
    if total == 0:
        gone = yield from _freeze(folio, 1 + folio.nr_pages)
    if gone:
        yield Update(SWAP_CACHE, put(0), "leave the swap cache")
    yield from folio.unlock()
    if not gone:
        yield from folio.put()


def migrate(folio: FolioOps, tables: tuple[Table, ...], pages: Pages) -> Steps[None]:
    """Put migration entries where the folio is mapped, and move it if nobody else uses it; else undo that."""
    locked = yield from folio.trylock()
    if not locked:
        return
    got = yield from folio.try_get()
    moved = False
    if got:
        for table in tables:
            yield from _unmap_table(folio, table, pages, MIGRATION, MIGRATION_EXCLUSIVE)
        cached = yield from folio.cached()
        moved = yield from _freeze(folio, 1 + (folio.nr_pages if cached else 0))
        if moved and cached:
            yield Update(SWAP_CACHE, put(0), "the new folio is in the swap cache")
        for table in tables:
            yield from remove_migration_ptes(folio, table, pages, elsewhere=moved)
    yield from folio.unlock()
    if got and not moved:
        yield from folio.put()


def migrate_in(folio: FolioOps, tables: tuple[Table, ...], pages: Pages) -> Steps[None]:
    """The other end of a migration: this folio, locked and with one reference, is the new one."""
    for table in tables:
        yield from remove_migration_ptes(folio, table, pages)
    yield from folio.unlock()
    yield from folio.put()


def remove_migration_ptes(
    folio: FolioOps, table: Table, pages: Pages, *, elsewhere: bool = False
) -> Steps[None]:
    """Map the folio where migration entries are, page by page; or the new folio, which is not modelled."""
    yield from table.lock()
    for page in pages:
        entry = yield from table.entry(page)
        if entry not in MIGRATING:
            continue
        if elsewhere:
            yield from table.set_pte(page, ELSEWHERE)
            continue
        yield from folio.get()
        if entry == MIGRATION_EXCLUSIVE:
            yield from folio.mark_exclusive(page)
        yield from folio.add_mappings(table.mm_id, 1, table.mm)
        yield from table.set_pte(page, WRITE if entry == MIGRATION_EXCLUSIVE else READ)
    yield from table.unlock()


def _unmap_table(folio: FolioOps, table: Table, pages: Pages, entry: int, if_exclusive: int) -> Steps[None]:
    """Unmap the folio from one table, leaving an entry for each page; pages that are pinned stay."""
    rules = folio.rules
    yield from table.lock()
    huge = yield from table.huge_entry()
    if huge in PRESENT:
        yield from split_pmd(folio, table)
    for page in pages:
        there = yield from table.entry(page)
        if there not in PRESENT:
            continue
        pins = 0
        mark = yield from folio.is_exclusive(page)
        if mark and not rules.pins_checked_after_clear:
            pins = yield Load(PINS, "pins?")
        yield from table.clear_pte(page, atomically=rules.clear_pte_atomically)
        if mark and rules.pins_checked_after_clear:
            pins = yield Load(PINS, "pins?")
        if pins:
            yield from table.set_pte(page, there)
            continue
        if mark:
            yield from folio.unmark_exclusive(page)
        if entry == SWAP:
            yield Update(SWAP_USERS, add(1), "a swap entry more")
        yield from table.set_pte(page, if_exclusive if mark else entry)
        if not rules.mapcount_before_reference:
            yield from folio.put()
        yield from folio.remove_mappings(table.mm_id, 1, table.mm)
        if rules.mapcount_before_reference:
            yield from folio.put()
    yield from table.unlock()


def _freeze(folio: FolioOps, expected: int) -> Steps[bool]:
    """Free the folio's references, if there are exactly as many as expected."""
    old = yield Update(REFCOUNT, when(expected, 0), f"freeze, if refs are {expected}")
    return bool(old == expected)
