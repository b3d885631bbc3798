"""One large anonymous folio as threads see it: its cells, its lock, and adding and removing mappings.

The cells, by the names that the interleavings show:

    refcount, total, entire, pins     `_refcount`, `_large_mapcount`, `_entire_mapcount`, `_pincount`
    mm_ids                            the machine word: both ids, the lock bit, the shared flag
    slot 0, slot 1                    `_mm_id_mapcount[0]` and `[1]`
    folio lock                        the lock of the folio itself, under which the swap cache changes
    swap cache, swap users            is the folio in the swap cache; how many swap entries refer to it
    exclusive N                       the mark "anon exclusive" of page N
    warned                            which of the kernel's own assertions failed

The total and the slots change under the bit spinlock alone, with plain stores; everything else that several
threads change is changed by atomic read-modify-writes. (Mechanism, sections 2 to 4, and the ordering rule in
section 6.) Counts are natural.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapcount.check.races.memory import (
    Load,
    Note,
    Protected,
    Steps,
    Store,
    Update,
    acquire,
    add,
    add_unless_zero,
    clear,
    put,
    try_acquire,
)
from mapcount.check.races.rules import Rules

REFCOUNT, TOTAL, ENTIRE, PINS, MM_IDS = "refcount", "total", "entire", "pins", "mm_ids"
SLOTS = ("slot 0", "slot 1")
FOLIO_LOCK, SWAP_CACHE, SWAP_USERS, WARNED = "folio lock", "swap cache", "swap users", "warned"

LOCK, SHARED = 1, 2
"""The two flag bits of the word `mm_ids`; the ids stand above them, three bits each."""
ID_BITS, ID_SHIFTS = 0b111, (2, 5)

WARNINGS = (
    "",
    "more mappings than references",
    "PMD mappings of a folio that is mapped by PTEs of one mm",
    "more mappings than pages",
    "no owner slot is the faulting mm's",
    "a page is reused while its folio is in the swap cache",
)
"""What is wrong in a reuse decision, by the value of `warned`; all but the last the kernel itself asserts."""
TOO_FEW_REFERENCES, STILL_ENTIRE, TOO_MANY_MAPPINGS, NO_SLOT, IN_SWAP_CACHE = range(1, 6)


def exclusive(page: int) -> str:
    """The cell of a page's mark "anon exclusive"."""
    return f"exclusive {page}"


def mm_id(word: int, slot: int) -> int:
    """The id in a slot; 0 when it is free."""
    return word >> ID_SHIFTS[slot] & ID_BITS


def with_mm_id(word: int, slot: int, of: int) -> int:
    """The word with another id in a slot."""
    return word & ~(ID_BITS << ID_SHIFTS[slot]) | of << ID_SHIFTS[slot]


@dataclass(frozen=True, slots=True)
class FolioOps:
    """What kernel code does to the folio, under the rules to be checked. `nr_pages` is its size."""

    nr_pages: int
    rules: Rules

    # -- references and the folio lock ---------------------------------------------------------------------

    def get(self, n: int = 1) -> Steps[None]:
        """Take references; the caller knows that the folio is alive."""
        yield Update(REFCOUNT, add(n), f"get {n} ref{'s' * (n > 1)}")

    def try_get(self) -> Steps[bool]:
        """Take a reference unless the folio is being freed."""
        old = yield Update(REFCOUNT, add_unless_zero(1), "get a ref, unless 0")
        return bool(old)

    def put(self, n: int = 1) -> Steps[None]:
        """Give references back."""
        yield Update(REFCOUNT, add(-n), f"put {n} ref{'s' * (n > 1)}")

    def lock(self) -> Steps[None]:
        """Wait for the folio lock."""
        yield Update(FOLIO_LOCK, acquire(), "lock the folio")

    def trylock(self) -> Steps[bool]:
        """Take the folio lock if it is free."""
        old = yield Update(FOLIO_LOCK, try_acquire(), "try to lock the folio")
        return not old

    def unlock(self) -> Steps[None]:
        """Release the folio lock."""
        yield Update(FOLIO_LOCK, put(0), "unlock the folio")

    def warn_unless(self, holds: bool, warning: int) -> Steps[None]:
        """One of the kernel's own assertions."""
        if not holds:
            yield Note(WARNED, put(warning))

    def note_reuse(self) -> Steps[None]:
        """The decision is made, with the step before this one: the swap cache must be out of it."""
        (cached,) = yield Protected((SWAP_CACHE,))
        yield from self.warn_unless(not cached, IN_SWAP_CACHE)

    # -- the bit spinlock, and what it protects ------------------------------------------------------------

    def lock_large_mapcount(self) -> Steps[None]:
        """Wait for the bit spinlock."""
        yield Update(MM_IDS, acquire(LOCK), "take the mapcount lock")

    def unlock_large_mapcount(self, word: int) -> Steps[None]:
        """Release it, by a plain store of the word that only its holder changes."""
        yield Store(MM_IDS, word & ~LOCK, "release the mapcount lock")

    def add_mappings(self, of: int, n: int, who: str) -> Steps[None]:
        """Add `n` mappings of the mm with id `of`: the table in section 4 of the mechanism, by stores."""
        yield from self.lock_large_mapcount()
        word, total, first, second = yield Protected((MM_IDS, TOTAL, *SLOTS))
        total, counts = total + n, (first, second)
        yield Store(TOTAL, total, f"total + {n}")
        mine = tuple(slot for slot in (0, 1) if mm_id(word, slot) == of)
        free = tuple(slot for slot in (0, 1) if mm_id(word, slot) == 0)
        share = False
        if mine:
            slot = mine[0]
            yield Store(SLOTS[slot], counts[slot] + n, f"slot {slot}: {who} has {counts[slot] + n}")
        elif free:
            slot = free[0]
            yield Store(SLOTS[slot], n, f"slot {slot}: {who} has {n}")
            word = with_mm_id(word, slot, of)
            yield Store(MM_IDS, word, f"slot {slot} is {who}'s")
            share = slot == 1 or total != n
        if share and not word & SHARED and self.rules.shared_flag_under_lock:
            word |= SHARED
            yield Store(MM_IDS, word, "set the shared flag")
        yield from self.unlock_large_mapcount(word)
        if share and not self.rules.shared_flag_under_lock:
            word = yield Load(MM_IDS, "mm_ids?")
            yield Store(MM_IDS, word | SHARED, "set the shared flag")

    def remove_mappings(self, of: int, n: int, who: str) -> Steps[None]:
        """Remove `n` mappings of the mm with id `of`: rules 1 and 2 of section 4."""
        yield from self.lock_large_mapcount()
        word, total, first, second = yield Protected((MM_IDS, TOTAL, *SLOTS))
        total, counts = total - n, (first, second)
        yield Store(TOTAL, total, f"total - {n}")
        lost: tuple[int, ...] = ()
        for slot in (0, 1):
            if mm_id(word, slot) == of:
                left = max(counts[slot] - n, 0)
                yield Store(SLOTS[slot], left, f"slot {slot}: {who} has {left}")
                if left:
                    yield from self.unlock_large_mapcount(word)
                    return
                lost = (slot,)
        if lost and self.rules.slot_freed_under_lock:
            word = with_mm_id(word, lost[0], 0)
            yield Store(MM_IDS, word, f"slot {lost[0]} is free")
        if lost and self.rules.compare_after_free:
            counts = (0, second) if lost == (0,) else (first, 0)
        if word & SHARED and total in counts:
            word &= ~SHARED
            yield Store(MM_IDS, word, "clear the shared flag")
        yield from self.unlock_large_mapcount(word)
        if lost and not self.rules.slot_freed_under_lock:
            word = yield Load(MM_IDS, "mm_ids?")
            yield Store(MM_IDS, with_mm_id(word, lost[0], 0), f"slot {lost[0]} is free")

    def remove_pmd_mapping(self, of: int, who: str) -> Steps[None]:
        """Remove one PMD mapping. Which of the two counters goes first differs (mechanism, section 5)."""
        if self.rules.entire_before_total:
            yield Update(ENTIRE, add(-1), "entire - 1")
        yield from self.remove_mappings(of, 1, who)
        if not self.rules.entire_before_total:
            yield Update(ENTIRE, add(-1), "entire - 1")

    # -- the swap cache ------------------------------------------------------------------------------------

    def cached(self) -> Steps[bool]:
        """Is the folio, which is locked, in the swap cache?"""
        (cached,) = yield Protected((SWAP_CACHE,))
        return bool(cached)

    def free_swap(self) -> Steps[None]:
        """Take the folio, which is locked, out of the swap cache if no swap entry refers to it."""
        cached = yield from self.cached()
        if not cached:
            return
        users = yield Load(SWAP_USERS, "swap users?")
        if users == 0:
            yield Update(SWAP_CACHE, put(0), "leave the swap cache")
            yield from self.put(self.nr_pages)

    # -- marks ---------------------------------------------------------------------------------------------

    def is_exclusive(self, page: int) -> Steps[bool]:
        """Is a page marked "anon exclusive"? Its page table is locked."""
        (mark,) = yield Protected((exclusive(page),))
        return bool(mark)

    def mark_exclusive(self, page: int) -> Steps[None]:
        """Set a page's mark "anon exclusive"."""
        yield Update(exclusive(page), put(1), f"mark page {page} exclusive")

    def unmark_exclusive(self, page: int) -> Steps[None]:
        """Clear it."""
        yield Update(exclusive(page), clear(1), f"unmark page {page}")
