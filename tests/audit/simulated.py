"""A simulated kernel as a machine to be audited: what its page tables map, and what it counts about it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.live.fakes import LargeFolio, MemorySource, Run, block_of, machine, process, region

from mapcount.live.snapshot import UNKNOWN, Kind, Process, Region
from mapcount.sim import proc
from mapcount.sim.machine import Machine
from mapcount.sim.memory import Memory, Piece
from mapcount.sim.mm import Mm
from mapcount.sim.page_table import Entry
from mapcount.sim.vma import Vma

FIELDS = {
    "Rss": "rss", "Pss": "pss", "Private_Clean": "private_clean", "Private_Dirty": "private_dirty",
}  # fmt: skip


def source_of(m: Machine, *, struct_folio: bool = True) -> MemorySource:
    """The machine as it is. Without `struct_folio`, only what /proc says of its folios is known."""
    processes, mapped = [], {}
    for pid, simulated in enumerate(m.processes.values(), 1):
        mm = simulated.mm
        vmas = list(mm.vmas)
        processes.append(process(pid, [_region(m, mm, vma) for vma in vmas], comm=simulated.name))
        runs = [run for i, vma in enumerate(vmas) for run in _runs(m.memory, mm, vma, i)]
        heads = sorted({run.folio for run in runs if run.order})
        folios = [_large(m, head, struct_folio=struct_folio) for head in heads]
        mapped[pid] = [block_of(runs, folios)]
    meminfo = {"AnonPages": 4 * m.total("anon"), "Mapped": 4 * m.total("file_mapped")}
    known = machine(flavour=m.memory.flavour, meminfo=meminfo, folios=struct_folio)
    return MemorySource(processes, mapped, known)


def _region(m: Machine, mm: Mm, vma: Vma) -> Region:
    printed = proc.smaps(m, mm, vma).kib()
    smaps = {field: printed[name] for field, name in FIELDS.items()}
    return region(vma.n, start=vma.start, perms="rw-s" if vma.shared else "rw-p", smaps=smaps)


def _runs(memory: Memory, mm: Mm, vma: Vma, index: int) -> Iterator[Run]:
    for entry in mm.table.over(vma.start, vma.end):
        if entry.swapped or entry.zero:
            continue
        start, stop = max(entry.start, vma.start), min(entry.end, vma.end)
        page = start - vma.start
        for piece in memory.pieces(entry.target_of(start), stop - start):
            for nth in range(piece.count):
                yield from _of_one_folio(piece, nth, entry, page, index)
                page += piece.nr


def _of_one_folio(piece: Piece, nth: int, entry: Entry, page: int, index: int) -> Iterator[Run]:
    """The pages of one of a piece's look-alikes, cut where their counts change."""
    folio = piece.run.folio
    first = piece.page
    for nr, mapcount in proc.page_mapcounts(folio, piece.page, piece.nr):
        yield Run(
            page=page + first - piece.page,
            nr=nr,
            folio=piece.run.start + (piece.first + nth << folio.order),
            first=first,
            order=folio.order,
            kind=Kind[piece.run.kind.upper()],
            pmd=int(entry.level > 0),
            exclusive=proc.page_mapped_exclusively(folio, mapcount),
            mapcount=mapcount,
            region=index,
        )
        first += nr


def _large(m: Machine, head: int, *, struct_folio: bool) -> LargeFolio:
    run = m.memory.folio_of(head)
    folio = run.folio
    mapped = total = UNKNOWN
    if m.memory.flavour.page_mapcounts or run.kind.value == "hugetlb":
        counts = list(proc.page_mapcounts(folio, 0, folio.nr_pages))
        mapped, total = sum(nr for nr, count in counts if count), sum(nr * count for nr, count in counts)
    known = LargeFolio(head, folio.order, Kind[run.kind.upper()], mapped_pages=mapped, sum_mapcount=total)
    if not struct_folio:
        return known
    return LargeFolio(
        head,
        folio.order,
        known.kind,
        mapped_pages=mapped,
        refcount=folio.refcount,
        large_mapcount=folio.large_mapcount,
        entire_mapcount=folio.entire_mapcount,
        pincount=folio.pincount,
        shared=int(folio.slots.shared) if folio.slots else UNKNOWN,
        anon_exclusive=run.anon_exclusive.sum(),
    )


def printed(m: Machine) -> list[tuple[int, int, int]]:
    """Rss, Pss and Uss of each process in KiB, each region rounded down."""
    sums = []
    for simulated in m.processes.values():
        regions = [proc.smaps(m, simulated.mm, vma).kib() for vma in simulated.mm.vmas]
        total = {field: sum(kib[name] for kib in regions) for field, name in FIELDS.items()}
        sums.append((total["Rss"], total["Pss"], total["Private_Clean"] + total["Private_Dirty"]))
    return sums


def named(source: MemorySource) -> list[Process]:
    """Its processes."""
    return list(source.processes)
