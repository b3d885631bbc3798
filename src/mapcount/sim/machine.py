"""The machine that everything happens on: memory, statistics, and the primitives of mapping.

Everything that makes a mapping come or go passes through `map_pages` and `unmap_entry`, which keep the
kernel's order: references go up before mapcounts, mapcounts go down before references (mechanism,
section 6). The page tables are the truth; the counters in each `Folio` never look at them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from mapcount.sim.memory import FolioRun, Kind, Memory, Piece
from mapcount.sim.mm import Mm, Process
from mapcount.sim.page_table import PTRS_PER_TABLE, Entry
from mapcount.sim.swap import Swap
from mapcount.sim.vma import File, Vma
from mapcount.tracking.flavour import PMD_ORDER, PTE_ORDER, Flavour
from mapcount.tracking.mm_id import MmIdAllocator
from mapcount.tracking.rmap import (
    Delta,
    folio_add_new_anon_rmap,
    folio_add_rmap,
    folio_mapcount,
    folio_remove_rmap,
)

LRU_BATCH = 31
"""Small folios that a per-CPU batch collects before their change of list takes effect."""

MappingEvent = Callable[[FolioRun, str, int, int, int, int], None]
"""Called after each mapping event: the look-alike folios, "new", "map", "dup" or "unmap", MM id, page, number
of pages, level."""

PMD_STAT = {Kind.ANON: "anon_thp", Kind.SHMEM: "shmem_pmd_mapped", Kind.FILE: "file_pmd_mapped"}


class Machine:
    """One simulated machine running one flavour of kernel."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.memory = Memory(flavour)
        self.mm_ids = MmIdAllocator(flavour)
        self.swap = Swap()
        self.processes: dict[str, Process] = {}
        self.files: dict[str, File] = {}
        self.memcg = "all"
        """The control group that new folios are charged to."""
        self.stats: dict[str, Counter[str]] = {}
        """Statistics in pages by control group: anon, file_mapped, anon_thp, file, shmem, …"""
        self.events: Counter[str] = Counter()
        """What vmstat counts since boot: thp_split_pmd, thp_deferred_split_page, pswpin, …"""
        self.cost: Counter[str] = Counter()
        """Counter updates since boot: page_updates, locked_updates, atomic_updates."""
        self.on_event: MappingEvent | None = None
        """Whoever wants to hear of every mapping that comes or goes."""
        self.lazyfree: list[tuple[int, int]] = []
        """(page frame, pages) of small folios waiting in the per-CPU batch for MADV_FREE to take effect."""

    def stat(self, memcg: str, key: str, pages: int) -> None:
        """Change a statistic of a control group by so many pages."""
        if pages:
            self.stats.setdefault(memcg, Counter())[key] += pages

    def total(self, key: str) -> int:
        """A statistic summed over all control groups, in pages."""
        return sum(group[key] for group in self.stats.values())

    # -- mapping ---------------------------------------------------------------------------------------

    def map_pages(
        self,
        mm: Mm,
        entry: Entry,
        *,
        new: bool = False,
        dup: bool = False,
        exclusive: bool = False,
        batch: int = PTRS_PER_TABLE,
        locked: bool = False,
    ) -> None:
        """Put `entry`, which maps frames nothing else of `mm` maps there, into the page table.

        `new`: these are new anonymous folios, mapped whole. `dup`: fork does it. `exclusive`: mark the pages
        anonymous-exclusive. `batch`: how many PTEs at most are handled by one counter update. `locked`: the
        VMA is; folios that are mapped whole by one update become unevictable.
        """
        mm.table.insert(entry)
        if entry.zero:
            return
        for piece in self.memory.pieces(entry.target, entry.n, cut=True):
            vpn = entry.start + piece.pfn - entry.target
            if exclusive:
                self.mark_exclusive(piece, entry.level)
            if new and piece.nr == piece.run.folio.nr_pages <= 1 << max(entry.level, PMD_ORDER):
                piece.run.folio.refcount += piece.nr >> entry.level
                self._add_rmap(piece.run, "new", 0, piece.nr, mm, entry.level)
                continue
            for run, page, nr in self._batches(piece, vpn, entry.level, batch):
                run.folio.refcount += nr >> entry.level
                self._add_rmap(run, "dup" if dup else "map", page, nr, mm, entry.level)
                if locked and nr == run.folio.nr_pages:
                    self.mlock(run)

    def unmap_entry(self, mm: Mm, vma: Vma, entry: Entry, *, batch: int = PTRS_PER_TABLE) -> None:
        """`entry`, already taken out of the page table, no longer maps its frames."""
        if entry.zero:
            return
        for piece in self.memory.pieces(entry.target, entry.n, cut=True):
            self.unmap_piece(mm, vma, piece, entry.start + piece.pfn - entry.target, entry, batch=batch)

    def unmap_piece(
        self, mm: Mm, vma: Vma, piece: Piece, vpn: int, entry: Entry, *, batch: int = PTRS_PER_TABLE
    ) -> None:
        """Entries like `entry` no longer map these pages of look-alike folios, the first one at `vpn`."""
        for run, page, nr in self._batches(piece, vpn, entry.level, batch):
            if not run.anon:
                run.dirty |= entry.dirty
                if entry.young:
                    self.mark_accessed(run)
            self._remove_rmap(run, page, nr, mm, entry.level)
            if vma.locked:
                self.munlock(run)
            self.put(run, nr >> entry.level)

    @staticmethod
    def mark_exclusive(piece: Piece, level: int, value: int = 1) -> None:
        """Set or clear the exclusive mark of a piece's pages: of the first one only, for each huge entry."""
        if level == PTE_ORDER:
            piece.run.anon_exclusive.set(piece.page, piece.nr, value)
        else:
            for page in range(piece.page, piece.page + piece.nr, 1 << level):
                piece.run.anon_exclusive.set(page, 1, value)

    def _batches(self, piece: Piece, vpn: int, level: int, batch: int) -> Iterator[tuple[FolioRun, int, int]]:
        """(run, page, number of pages) of each counter update that maps or unmaps this piece at `vpn`.

        Entries above the PTE level are updated one by one. PTEs are batched, but never across the end of
        a page table; look-alike folios that lie differently in their page tables must part here.
        """
        size = piece.run.folio.nr_pages
        parting = level == PTE_ORDER and batch > 1 and piece.count > 1 and piece.nr > 1
        if parting and vpn % min(size, PTRS_PER_TABLE):
            for i in range(piece.count):
                for single in list(self.memory.pieces(piece.pfn + i * size, size, cut=True)):
                    yield from self._batches(single, vpn + i * size, level, batch)
            return
        page, end, step = piece.page, piece.page + piece.nr, 1 << level if level else batch
        while page < end:
            nr = min(end - page, step - (vpn + page - piece.page) % step)
            yield piece.run, page, nr
            page += nr

    def _add_rmap(self, run: FolioRun, what: str, page: int, nr: int, mm: Mm, level: int) -> None:
        """Count mappings that came, in each of the look-alike folios."""
        new = what == "new"
        self._account(
            run,
            folio_add_new_anon_rmap(run.folio, mm.mm_id, level)
            if new
            else folio_add_rmap(run.folio, page, nr, mm.mm_id, level),
        )
        if self.on_event is not None:
            self.on_event(run, what, mm.mm_id, page, nr, level)

    def _remove_rmap(self, run: FolioRun, page: int, nr: int, mm: Mm, level: int) -> None:
        """Count mappings that went, in each of the look-alike folios."""
        self._account(run, folio_remove_rmap(run.folio, page, nr, mm.mm_id, level))
        if self.on_event is not None:
            self.on_event(run, "unmap", mm.mm_id, page, nr, level)

    def _account(self, run: FolioRun, delta: Delta) -> None:
        count = run.count
        self.stat(run.memcg, "anon" if run.anon else "file_mapped", delta.stat * count)
        if delta.pmd_stat:
            self.stat(run.memcg, PMD_STAT[run.kind], delta.pmd_stat * count)
        self.cost["page_updates"] += delta.cost.page_updates * count
        self.cost["locked_updates"] += delta.cost.locked_updates * count
        self.cost["atomic_updates"] += delta.cost.atomic_updates * count
        if delta.partially_mapped and run.anon:
            self._deferred_split(run)

    def _deferred_split(self, run: FolioRun) -> None:
        """Queue partially mapped anonymous folios for splitting, once. Order 1 has no room for the queue."""
        if run.partially_mapped or run.in_swap_cache or run.folio.order < 2:
            return
        run.partially_mapped = True
        if run.folio.pmd_mappable:
            self.events["thp_deferred_split_page"] += run.count

    # -- splitting huge entries --------------------------------------------------------------------------

    def isolate(self, mm: Mm, start: int, stop: int) -> list[Entry]:
        """The entries inside [start, stop), none reaching outside: huge ones that do are split first."""
        for at in (start, stop):
            entry = mm.table.at(at)
            while entry is not None and (at - entry.start) % (1 << entry.level):
                self.split_entries(mm, at, at + 1)
                entry = mm.table.at(at)
        return mm.table.isolate(start, stop)

    def split_entries(self, mm: Mm, start: int, stop: int) -> None:
        """Replace huge entries over [start, stop): by the next level's (anonymous), or by none (file).

        An anonymous PMD becomes PTEs, its exclusive mark is carried over to each page, and the folio is
        mapped nr_pages - 1 times more. Pages of a file fault in again (mechanism, section 6).
        """
        for entry in mm.table.over(start, stop):
            if not entry.level:
                continue
            span = 1 << entry.level
            first = entry.start + (max(start, entry.start) - entry.start) // span * span
            last = entry.start + -(-(min(stop, entry.end) - entry.start) // span) * span
            (huge,) = mm.table.remove(first, last)
            self.events["thp_split_pmd"] += huge.entries if huge.level == PMD_ORDER else 0
            below = huge.twin(first, huge.n, huge.target)
            below.level = PMD_ORDER if huge.level > PMD_ORDER and not huge.zero else PTE_ORDER
            if huge.zero:
                mm.table.insert(below)
                continue
            pieces = list(self.memory.pieces(huge.target, huge.n, cut=True))
            if pieces[0].run.anon:
                mm.table.insert(below)
            for piece in pieces:
                for page in range(piece.page, piece.page + piece.nr, span):
                    part = Piece(piece.run, 0, piece.count, page, span)
                    self._split(mm, huge, part, below.level, huge.start + part.pfn - huge.target)

    def _split(self, mm: Mm, huge: Entry, part: Piece, level: int, vpn: int) -> None:
        """Account for one huge entry's split, in each of the look-alike folios."""
        run, folio, vma = part.run, part.run.folio, mm.vmas.at(vpn)
        assert vma is not None
        run.dirty |= huge.dirty
        if run.anon:
            self.mark_exclusive(part, level, run.anon_exclusive[part.page])
            folio.refcount += part.nr >> level
            for _, page, nr in self._batches(part, vpn, level, PTRS_PER_TABLE):
                self._add_rmap(run, "map", page, nr, mm, level)
                if vma.locked and nr == folio.nr_pages:
                    self.mlock(run)
        else:
            run.referenced |= huge.young
        self._remove_rmap(run, part.page, part.nr, mm, huge.level)
        if vma.locked:
            self.munlock(run)
        self.put(run, 1)

    # -- references and the LRU's marks -------------------------------------------------------------------

    def put(self, run: FolioRun, refs: int) -> None:
        """Drop references; folios without any are freed, and so is swap that only they still hold."""
        folio = run.folio
        folio.refcount -= refs
        if run.in_swap_cache and not folio_mapcount(folio):
            self.try_to_free_swap(run)
        if not folio.refcount:
            self.memory.free(run)

    def try_to_free_swap(self, run: FolioRun) -> bool:
        """Take folios out of the swap cache when no page table refers to their swap any more."""
        if not run.in_swap_cache or self.swap.referenced(run.swap, run.n):
            return False
        self.swap.release(run.swap, run.n)
        run.in_swap_cache = False
        run.dirty = True
        self.stat(run.memcg, "swapcached", -run.n)
        run.folio.refcount -= run.folio.nr_pages
        return True

    def swap_put(self, start: int, n: int) -> None:
        """Swap entries for these slots are gone; slots and cached folios that nobody needs go too."""
        self.swap.hold(start, n, -1)
        for slots in list(self.swap.over(start, n)):
            if slots.pfn is not None and not slots.refs:
                for piece in list(self.memory.pieces(slots.pfn, slots.n, cut=True)):
                    if not folio_mapcount(piece.run.folio) and self.try_to_free_swap(piece.run):
                        self.put(piece.run, 0)

    def mark_lazyfree(self, run: FolioRun) -> None:
        """MADV_FREE gives folios up. Small ones wait in a batch of 31 before it takes effect."""
        if run.folio.large:
            self._lazyfree(run)
            return
        self.lazyfree.append((run.start, run.n))
        waiting = sum(n for _, n in self.lazyfree)
        self._flush_lazyfree(waiting - waiting % LRU_BATCH)

    def lru_add_drain(self) -> None:
        """Unmapping empties the per-CPU batches."""
        self._flush_lazyfree(sum(n for _, n in self.lazyfree))

    def _flush_lazyfree(self, count: int) -> None:
        while count:
            start, n = self.lazyfree.pop(0)
            if n > count:
                self.lazyfree.insert(0, (start + count, n - count))
                n = count
            count -= n
            self.memory.cut(start)
            self.memory.cut(start + n)
            for run in self.memory.folios.over(start, start + n):
                self.memory.touched.add(run)
                self._lazyfree(run)

    @staticmethod
    def _lazyfree(run: FolioRun) -> None:
        if run.anon and not run.in_swap_cache and not run.mlocked:
            run.swapbacked = run.referenced = run.active = False

    @staticmethod
    def mark_accessed(run: FolioRun) -> None:
        """Used: unreferenced becomes referenced, referenced becomes active."""
        if not run.referenced:
            run.referenced = True
        elif not run.active and not run.mlocked:
            run.active, run.referenced = True, False

    @staticmethod
    def mlock(run: FolioRun) -> None:
        """One more locked VMA maps the folio as a whole."""
        run.mlock_count += 1
        run.mlocked = True

    @staticmethod
    def munlock(run: FolioRun) -> None:
        """A mapping in a locked VMA went. The kernel does not check whether others stay; reclaim would."""
        if run.mlocked:
            run.mlock_count -= 1
            run.mlocked = run.mlock_count > 0
