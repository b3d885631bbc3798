"""Programs that get references to pages by their addresses (GUP): pins, and vmsplice()'s plain references.

The slow way holds the page table lock. The fast way holds nothing: it reads the entry, gets its reference,
and looks again whether the entry is still there, whether the page is still exclusive (of pins), and whether
a fork of the same mm came between. Otherwise it gives the reference back.
"""

from __future__ import annotations

from mapcount.check.races.folio import PINS, REFCOUNT, FolioOps, exclusive
from mapcount.check.races.mapping import fork_count
from mapcount.check.races.memory import Load, Note, Steps, Update, add
from mapcount.check.races.tables import PRESENT, WRITE, Table, hold_of, pin_of


def pin(folio: FolioOps, table: Table, page: int) -> Steps[None]:
    """Pin a page under the page table lock, if it is exclusive; others would be copied first."""
    yield from table.lock()
    entry = yield from table.entry(page)
    mark = yield from folio.is_exclusive(page)
    if entry in PRESENT and mark:
        yield from folio.get()
        yield Update(PINS, add(1), "pins + 1")
        yield Note(pin_of(table.mm, page), add(1))
    yield from table.unlock()


def pin_fast(folio: FolioOps, table: Table, page: int) -> Steps[None]:
    """Pin a page for writing without any lock (GUP-fast with FOLL_PIN)."""
    forks = yield Load(fork_count(table.mm), f"{table.mm}'s forks?")
    if forks % 2:
        return
    entry = yield Load(table.pte(page), f"{table.name} PTE {page}?")
    if entry != WRITE:
        return
    got = yield from folio.try_get()
    if not got:
        return
    yield Update(PINS, add(1), "pins + 1")
    sure = True
    if folio.rules.gup_rechecks_pte:
        again = yield Load(table.pte(page), f"{table.name} PTE {page} again?")
        sure = again == entry
    if sure:
        mark = yield Load(exclusive(page), f"page {page} exclusive?")
        sure = bool(mark)
    if sure and folio.rules.gup_sees_fork:
        again = yield Load(fork_count(table.mm), f"{table.mm}'s forks again?")
        sure = again == forks
    if sure:
        yield Note(pin_of(table.mm, page), add(1))
        return
    yield Update(PINS, add(-1), "pins - 1")
    yield from folio.put()


def unpin(folio: FolioOps, table: Table, page: int) -> Steps[None]:
    """Give a pin back."""
    yield Update(PINS, add(-1), "pins - 1")
    yield Note(pin_of(table.mm, page), add(-1))
    yield from folio.put()


def hold_fast(folio: FolioOps, table: Table, page: int) -> Steps[None]:
    """Get a reference to read by, without any lock, as vmsplice() does (GUP-fast with FOLL_GET)."""
    entry = yield Load(table.pte(page), f"{table.name} PTE {page}?")
    if entry not in PRESENT:
        return
    got = yield from folio.try_get()
    if not got:
        return
    sure = True
    if folio.rules.gup_rechecks_pte:
        again = yield Load(table.pte(page), f"{table.name} PTE {page} again?")
        sure = again == entry
    if sure:
        yield Note(hold_of(table.mm, page), add(1))
        return
    yield from folio.put()


def let_go(folio: FolioOps, mm: str, page: int) -> Steps[None]:
    """Give back a reference that was read by."""
    yield Update(REFCOUNT, add(-1), "put 1 ref")
    yield Note(hold_of(mm, page), add(-1))
