"""Audits made of plain rows, for what is done with them afterwards."""

from __future__ import annotations

from dataclasses import replace

from tests.live.fakes import LargeFolio, MemorySource, Run, block_of, machine, process, region

from mapcount.audit.machine import Audit, audit
from mapcount.live.snapshot import MemoryStat

HOSTILE = "\x1b[2J\u202eevil\n"
"""A process's name that a terminal would obey."""


def mistaken(folio: int, pages: int = 16) -> LargeFolio:
    """A 64K folio that one mm maps, of which the kernel says that it may be shared."""
    return LargeFolio(
        folio, mapped_pages=pages, large_mapcount=pages, entire_mapcount=0, refcount=pages, shared=1,
        anon_exclusive=0, cgroup=20,
    )  # fmt: skip


def source(**changes: object) -> MemorySource:
    """`big` has 3 mistaken folios, `half` one that is half unmapped, `small` none, and one refuses."""

    def rss(kib: int) -> dict[str, int]:
        return {"Rss": kib, "Pss": kib, "Private_Dirty": kib}

    return MemorySource(
        [
            process(10, [region(64, smaps=rss(192))], comm="big", cgroup="/a"),
            process(9, [region(64, start=0x2000, smaps=rss(32))], comm="half", cgroup="/a"),
            process(11, [region(128, start=0x3000, smaps=rss(400))], comm=HOSTILE, cgroup="/b"),
        ],
        {
            10: [
                block_of(
                    [Run(16 * i, 16, folio=100 + i, order=4) for i in range(3)],
                    [mistaken(100 + i) for i in range(3)],
                )
            ],
            9: [block_of([Run(0, 8, folio=200, order=4)], [replace(mistaken(200, 8), shared=0)])],
            11: [block_of([Run(i, folio=1000 + i) for i in range(100)])],
        },
        machine(**changes),
        [
            MemoryStat("/", 10, 1 << 20, 1 << 19, 0),
            MemoryStat("/a", 20, 1 << 19, 1 << 18, 0, limit=1 << 30, current=1 << 29),
        ],
        {12: "permission denied"},
        name=str(changes.get("release", "memory")),
    )


def audited(**changes: object) -> Audit:
    """Its audit."""
    found = source(**changes)
    return audit(found, found.pids(), whole=True)
