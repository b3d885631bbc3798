"""Random machines for hypothesis: any that a `Source` may give, most of them stranger than real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hypothesis import strategies as st

from mapcount.live.snapshot import UNKNOWN, Block, Kind, Machine, MemoryStat, Process, Region
from mapcount.tracking.flavour import FLAVOURS

from .fakes import LargeFolio, MemorySource, Run, block_of, machine

PAGES = 1 << 10
"""Pages of the largest region."""

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
"""Names from outside: anything that UTF-8 can hold, control characters too."""
KIB = st.integers(0, 1 << 30)
FIELDS = ("Rss", "Pss", "Shared_Clean", "Private_Dirty", "AnonHugePages")

LARGE = st.builds(
    LargeFolio,
    folio=st.integers(1, (1 << 64) - 1),
    order=st.integers(1, 10),
    kind=st.sampled_from([Kind.ANON, Kind.FILE, Kind.SHMEM, Kind.HUGETLB]),
    mapped_pages=st.integers(UNKNOWN, 2),
    sum_mapcount=st.integers(UNKNOWN, (1 << 63) - 1),
    cgroup=st.integers(0, (1 << 64) - 1),
    refcount=st.integers(UNKNOWN, (1 << 31) - 1),
    large_mapcount=st.integers(UNKNOWN, (1 << 31) - 1),
    entire_mapcount=st.integers(UNKNOWN, (1 << 31) - 1),
    pincount=st.integers(UNKNOWN, (1 << 31) - 1),
    shared=st.integers(UNKNOWN, 1),
    mm_id=st.tuples(st.integers(UNKNOWN, (1 << 31) - 1), st.integers(UNKNOWN, (1 << 31) - 1)),
    mm_id_mapcount=st.tuples(st.integers(UNKNOWN, 1 << 31), st.integers(UNKNOWN, 1 << 31)),
    anon_exclusive=st.integers(UNKNOWN, 2),
)


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """A kernel of any flavour, width and page size."""
    page_size, pmd_order = draw(st.sampled_from([(4096, 9), (16384, 11), (65536, 13)]))
    flavour = draw(st.sampled_from(list(FLAVOURS.values()))).on(draw(st.sampled_from([32, 64])))
    return machine(
        release=draw(TEXT),
        flavour=flavour,
        page_size=page_size,
        pmd_order=pmd_order,
        meminfo=draw(st.dictionaries(TEXT, KIB, max_size=3)),
        thp=draw(st.dictionaries(TEXT, TEXT, max_size=2)) | {"khugepaged/max_ptes_shared": "256"},
        frames=draw(st.booleans()),
        levels=draw(st.booleans()),
        folios=draw(st.booleans()),
        limits=tuple(draw(st.lists(TEXT, max_size=2))),
    )


@st.composite
def regions(draw: st.DrawFn) -> tuple[Region, ...]:
    """Regions by address, with and without holes between them."""
    found: list[Region] = []
    free = 0
    for _ in range(draw(st.integers(0, 3))):
        region = Region(
            start=free + draw(st.integers(0, 1 << 36)),
            nr_pages=draw(st.integers(1, PAGES)),
            perms=draw(st.sampled_from(["rw-p", "r--s", "---p", "r-xp"])),
            name=draw(TEXT),
            flags=draw(st.frozensets(st.sampled_from(["rd", "wr", "ht", "pf"]))),
            smaps=draw(st.dictionaries(st.sampled_from(FIELDS), KIB)),
        )
        found.append(region)
        free = region.start + region.nr_pages
    return tuple(found)


@st.composite
def runs(draw: st.DrawFn, regions: Sequence[Region], large: Sequence[LargeFolio]) -> list[Run]:
    """Runs by address of pages of these large folios, of small ones, and of what is no folio."""
    found: list[Run] = []
    for number, region in enumerate(regions):
        page = draw(st.integers(0, 3))
        while page < region.nr_pages and draw(st.booleans()):
            some = Run(page, region=number, exclusive=draw(st.booleans()), mapcount=draw(st.integers(-1, 3)))
            if large and draw(st.booleans()):
                folio = draw(st.sampled_from(large))
                first = draw(st.integers(0, (1 << folio.order) - 1))
                nr = draw(st.integers(1, min((1 << folio.order) - first, region.nr_pages - page)))
                pmd = draw(st.integers(UNKNOWN, 1))
                some = replace(
                    some, folio=folio.folio, order=folio.order, kind=folio.kind, first=first, nr=nr, pmd=pmd
                )
            else:
                small = [Kind.ANON, Kind.FILE, Kind.KSM, Kind.ZERO, Kind.OTHER]
                frame = draw(st.integers(0, (1 << 64) - 1))
                some = replace(some, folio=frame, kind=draw(st.sampled_from(small)))
            found.append(some)
            page += some.nr + draw(st.integers(0, 3))
    return found


@st.composite
def blocks(draw: st.DrawFn, regions: Sequence[Region], large: Sequence[LargeFolio]) -> list[Block]:
    """Runs cut into blocks anywhere, each with the large folios that it maps."""
    rows = draw(runs(regions, large))
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    found: list[Block] = []
    for start, stop in pairwise([0, *cuts, len(rows)]):
        mapped = {run.folio for run in rows[start:stop] if run.order}
        of_block = [folio for folio in large if folio.folio in mapped]
        found.append(block_of(rows[start:stop], sorted(of_block, key=lambda folio: folio.folio)))
    return found


@st.composite
def sources(draw: st.DrawFn) -> MemorySource:
    """A whole machine: processes that share folios or not, some of them unreadable, and control groups."""
    large = draw(st.lists(LARGE, max_size=4, unique_by=lambda folio: folio.folio))
    pids = draw(st.lists(st.integers(1, 1 << 22), min_size=1, max_size=4, unique=True))
    processes: list[Process] = []
    mapped: dict[int, list[Block]] = {}
    for pid in pids:
        mine = draw(regions())
        processes.append(Process(pid, draw(TEXT), "/" + draw(TEXT), mine))
        mapped[pid] = draw(blocks(mine, large))
    refusing = draw(
        st.dictionaries(st.integers(1, 1 << 22).filter(lambda pid: pid not in pids), TEXT, max_size=2)
    )
    some = st.none() | st.integers(0, (1 << 63) - 1)
    inode = st.integers(0, (1 << 64) - 1)
    stats = draw(
        st.lists(
            st.builds(MemoryStat, TEXT.map("/".__add__), inode, some, some, some, some, some), max_size=3
        )
    )
    return MemorySource(processes, mapped, draw(machines()), stats, refusing)
