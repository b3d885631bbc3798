"""Races: every interleaving of small thread programs over one folio. Theory of operation.

The counters of a folio change in an order, one access at a time, while other CPUs look on; the write fault
decides with no lock first, then under the folio's bit spinlock. This package writes the kernel's programs
down access by access, lets two to four of them run over one folio in every possible order, and asks in each
state what must hold.

    memory      cells and the single accesses to them
    program     a program unrolled: where a thread can be
    machine     threads over memory: sequentially consistent, or with store buffers (TSO)
    search      every reachable state, the shortest way to a broken one
    rules       the rules that the order of accesses follows, each of which can be broken
    folio       the cells of a folio; its lock, references, adding and removing mappings
    tables      page tables, and who can read a page: the truth
    mapping     programs: unmap, fork, splitting a PMD
    faults      programs: the write fault and its decision, swap-in
    gup         programs: pins and references by GUP
    reclaim     programs: leaving the swap cache, page-out, migration
    start       how a race begins, counted by `mapcount.tracking`
    properties  what must hold
    acts, race  programs by name; threads over a start
    catalogue   races with a story
    compose     races put together from programs: every pair, every triple with a write fault
    mutations   rules broken on purpose, with the race that shows it
    interleaving  the steps to a broken state, retold

Left out
--------
- Per-page counts, statistics, dirty and accessed bits, the TLB, LRU lists, hugetlb, files and shared memory.
- What a fault does before it has the page table lock, memory for the copy that cannot be had, retries.
- mmap_lock: programs of one mm run against each other here even where the kernel would not let them. What
  holds so holds with it, too.
- Folios of more than a few pages: a PMD maps two pages here. One step still changes one counter by n.
- Memory models weaker than TSO (arm64, POWER); the kernel has barriers for them that cannot be seen here.
"""
