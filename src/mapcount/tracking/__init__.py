"""How Linux tracks who maps a folio. Theory of operation.

A *folio* is 2^order contiguous pages managed as one: small is order 0, large is more. A *mapping* is one
page-table entry that points into it: a PTE maps one page, a PMD 512 pages at once. An *mm* is one address
space. Everything turns on one question: do all mappings of this folio belong to one mm (*exclusive*), or to
several (*shared*)? With one page, one count answers it. With many pages, mapped in parts, by entries of two
sizes, by several mms, a sum does not: 16 mappings of 16 pages may be one owner of all, or two of half each.

This package computes what the kernel would store, in every way Linux has done it, is doing it and may do it:

    flavour              | each page's _mapcount,  | owner | _entire_ | _total_       | which kernels
                         | _nr_pages_mapped        | slots | mapcount | mapped_pages  |
    v6.14                | yes                     | -     | yes      | -             | before 6.15
    page-mapcount        | yes                     | yes   | yes      | -             | 6.15 on, the default
    no-page-mapcount     | -                       | yes   | yes      | -             | 6.15 on, experimental
    total-mapped-pages   | -                       | yes   | -        | yes           | proposed in 2026

All of them keep `_large_mapcount`, the *total*: all mappings of any page, one per PTE, one per PMD. A small
folio is the same everywhere: its page's count is all there is. hugetlb folios, always mapped whole, need no
more than total and entire mapcount. All numbers here are *natural*: 0 means unmapped. (The kernel stores most
of them minus one; only `layout` knows.)

The two owner slots
-------------------
Each slot holds the MM id of one mm and how many mappings that mm has *as far as the slot saw*. Ids are small
numbers, the lowest free one first, 0 for "slot unused". Beside the slots is one flag: "mappings may belong to
more than one mm". Each row is one update under the folio's bit spinlock, for n mappings of an mm m.

    add n: total += n, then the first that fits    | remove n: total -= n, then
    slot 0 is m's   count += n; too large for it:  | 1. a slot is m's: count -= n; 1 or more left: done
                    free it, set the flag          |    otherwise the slot is free
    slot 1 is m's   the same                       | 2. m has no slot, or just lost it: clear the flag if
    slot 0 is free  (m, n); total != n: set flag   |    some slot's count == total (a free slot's is 0)
    slot 1 is free  (m, n); set flag               |
    none            untracked                      | an unmapped folio: slots free, flag clear

`folio_maybe_mapped_shared` is the flag, once the total is more than one. What follows:

- "Exclusive" is never said of a shared folio, since a slot's count never exceeds the truth.
- "Shared" may be said of an exclusive folio: a third mm finds no slot, and left alone it is not recognised.
  Nor is an mm that got its slot late and is undercounted. It costs speed, never correctness. The answer is
  right again when one mapping is left, the flag when none is.
- Parent and one child are exact in any order of their exits. With one slot they would not be.
- That an mm maps a page twice does not make it shared: one owner. Per-page counts said otherwise.

What mapping and unmapping do
-----------------------------
`nr`: the folio's pages; stat: AnonPages or Mapped; PMD stat: AnonHugePages and the like, of PMD-size folios.

    event       | with per-page counts                       | without
    add PTEs    | pages +1; stat += pages that went 0 -> 1,  | stat += nr if nothing was mapped before
                | unless a PMD maps the folio                |
    add PMD     | entire +1; the first: PMD stat += nr,      | the first: PMD stat += nr;
                | stat += nr - pages mapped by PTEs          | stat += nr if nothing was mapped before
    remove PTEs | pages -1; stat -= pages that went 1 -> 0,  | stat -= nr if nothing is mapped now, else
                | unless a PMD maps the folio; if there were | *partially mapped* if total < nr and no PMD
                | any, others remain: *partially mapped*     | maps the folio
    remove PMD  | entire -1; the last: PMD stat -= nr,       | the last: PMD stat -= nr; stat -= nr if
                | stat -= nr - pages mapped by PTEs, and     | nothing is mapped now, else *partially
                | *partially mapped* if that is some not all | mapped* if it was the last and total < nr

With `total-mapped-pages`, entries of any level may map any part of a folio. The total counts entries,
`_total_mapped_pages` the pages under them: two PMDs and a PTE are a total of 3 and 1025 mapped pages. So a
PMD-size folio has a PMD mapping iff mapped pages - total >= 511, and a folio is certainly *partially mapped*
if something is mapped and mapped pages < nr.

Without per-page counts, /proc has to do with averages, statistics count whole folios, and partially mapped
folios are noticed for certain only while one mm maps them. In return a fork of 512 PTEs updates one counter,
not 512. An illegal event raises ValueError and changes nothing.

Reading order
-------------
    flavour       which kernel keeps what; everything else asks this and never a version
    mm_id         which id an mm has
    owner_slots   the two slots: the heart, to be read first by those in a hurry
    per_page      one number per page, run-length encoded
    folio         the counters of one folio
    rmap          mapping and unmapping: the events above
    questions     what the kernel asks of the counters: estimates
    truth         who really maps the folio; knows no counter, and no counter knows it
    invariants    what must hold between the two: the only module that sees both
    layouts       where each counter lies in memory, per flavour and word width (not imported here)
    layout        decoding, encoding and checking such a layout (not imported here)

From the article (LWN, March 2025) to the code
----------------------------------------------
    mapping count of a page               `Folio.page_mapcount`: the `_mapcount` of each
    a folio's own mapping count           `Folio.large_mapcount`; `folio_mapcount` for folios of any size
    mapped as a whole, _entire_mapcount   `Folio.entire_mapcount`
    _nr_pages_mapped, _pincount           `Folio.nr_pages_mapped`, `Folio.pincount`
    PMD-size huge page, 512 base pages    `PMD_ORDER`, `Folio.pmd_mappable`
    mapped at the base-page level         the `level` of an event: `PTE_ORDER` or `PMD_ORDER`
    the cost of 512 counters              `Cost.page_updates` against `Cost.locked_updates`
    exclusive or shared: the truth        `Truth.word`
    exclusive or shared: the kernel's     `folio_maybe_mapped_shared`
    partially mapped folio                `Delta.partially_mapped`, `folio_certainly_partially_mapped`
    mm_struct, mm ID, the ID allocator    `MmIdAllocator`; `MM_ID_DUMMY` is an unused slot
    _mm_id[2], _mm_ids, mm_id_t           `OwnerSlots.mm_id`, `OwnerSlots.mm_ids`, `Flavour.max_mm_id`
    _mm_id_mapcount[2], mm_id_mapcount_t  `OwnerSlots.mm_id_mapcount`, `Flavour.max_slot_mapcount`
    searching for the id or a dummy one   `OwnerSlots.slot_of`, `OwnerSlots.add`
    clone(), then execve() in the child   `folio_add_rmap` for the child, then `folio_remove_rmap`;
                                          the calls: `mapcount.sim.fork`, `mapcount.sim.address_space`
    one, two, or many: a third process    `OwnerSlots.add`, the row "none"
    the special bit                       `OwnerSlots.shared`
    a count aligns with _large_mapcount   `OwnerSlots.remove`, rule 2
    worse performance, still correct      the invariant `never-exclusive-when-shared`
    why two slots and not one             a parent that leaves first; pageout and migration do the same:
                                          `mapcount.sim.rmap_walk`
    CONFIG_NO_PAGE_MAPCOUNT               `NO_PAGE_MAPCOUNT`, or not: `PAGE_MAPCOUNT`
    "the current scheme", of March 2025   `V6_14`
    AnonPages, Mapped: fuzzier statistics `Delta.stat`
    PSS by the per-folio average          `folio_average_page_mapcount`
    RSS, PSS and USS of a process         `mapcount.sim.proc`
    huge pages reused after fork          `folio_can_reuse_anon`; copy-on-write itself: `mapcount.sim.cow`
    folios larger than a single PMD       `TOTAL_MAPPED_PAGES`, `Flavour.any_level`
    32bit                                 `Flavour.on(32)`: 15-bit ids, 16-bit counts that overflow
    hugetlbfs                             `Folio(..., hugetlb=True)`
    make room! struct page, struct folio, `mapcount.tracking.layouts`: `Layout`, `layout_of`; drawn by
    tail pages, __page_1, order-1 folios  the command `mapcount layout`

Left out
--------
- Concurrency beyond the lock bit: an event is one step here. In the kernel pages, total and slots change one
  after another, readers take no lock, and may see any of it half done.
- Memory ordering, the spinning and the preemption rules of the bit spinlock, per-CPU batches of statistics.
- Page tables, VMAs, faults, fork, swap, migration, splitting, what queues a partially mapped folio, and the
  anonymous-exclusive mark of a page: `mapcount.sim` has them and calls what is here.
- Reference counting: `Folio.refcount` is a number that callers keep. Pins likewise.
- Detecting every illegal event: what the counters do not disprove passes, as in the kernel. Whoever has the
  page tables knows better.
- Page sizes other than 4 KiB, and PMDs of other than 512 pages but for `Flavour.scaled`, which shrinks a
  world until it can be exhausted; contiguous-PTE hints; shared hugetlb page
  tables; the 32-bit kernel's order-1 folios, which have neither entire mapcount nor pins.
"""

from mapcount.tracking.flavour import (
    FLAVOURS,
    NO_PAGE_MAPCOUNT,
    PAGE_MAPCOUNT,
    PAGE_SIZE,
    PMD_ORDER,
    PTE_ORDER,
    PUD_ORDER,
    TOTAL_MAPPED_PAGES,
    V6_14,
    Flavour,
)
from mapcount.tracking.folio import ENTIRELY_MAPPED, GUP_PIN_COUNTING_BIAS, Folio
from mapcount.tracking.invariants import INVARIANTS, Invariant, violations
from mapcount.tracking.mm_id import MM_ID_DUMMY, MmIdAllocator, NoMmIdLeft
from mapcount.tracking.owner_slots import OwnerSlots
from mapcount.tracking.per_page import PerPage
from mapcount.tracking.questions import (
    folio_average_page_mapcount,
    folio_can_reuse_anon,
    folio_certainly_partially_mapped,
    folio_maybe_dma_pinned,
    folio_maybe_mapped_shared,
    folio_precise_page_mapcount,
)
from mapcount.tracking.rmap import (
    Cost,
    Delta,
    folio_add_new_anon_rmap,
    folio_add_rmap,
    folio_mapcount,
    folio_remove_rmap,
)
from mapcount.tracking.truth import Truth

__all__ = [
    "ENTIRELY_MAPPED",
    "FLAVOURS",
    "GUP_PIN_COUNTING_BIAS",
    "INVARIANTS",
    "MM_ID_DUMMY",
    "NO_PAGE_MAPCOUNT",
    "PAGE_MAPCOUNT",
    "PAGE_SIZE",
    "PMD_ORDER",
    "PTE_ORDER",
    "PUD_ORDER",
    "TOTAL_MAPPED_PAGES",
    "V6_14",
    "Cost",
    "Delta",
    "Flavour",
    "Folio",
    "Invariant",
    "MmIdAllocator",
    "NoMmIdLeft",
    "OwnerSlots",
    "PerPage",
    "Truth",
    "folio_add_new_anon_rmap",
    "folio_add_rmap",
    "folio_average_page_mapcount",
    "folio_can_reuse_anon",
    "folio_certainly_partially_mapped",
    "folio_mapcount",
    "folio_maybe_dma_pinned",
    "folio_maybe_mapped_shared",
    "folio_precise_page_mapcount",
    "folio_remove_rmap",
    "violations",
]
