"""One step of a recording as a machine to be audited: its processes, and what its kernel counted.

A recording says how often each page of the folio under test is mapped, while that is a large folio. After a
split its pages are small folios, and so are copies and pages swapped in: bit 56 tells whether one process
maps such a page; else those do that have one at the same place.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.live.fakes import LargeFolio, MemorySource, Run, block_of, machine, process, region

from mapcount.live.snapshot import UNKNOWN, Kind, MemoryStat
from mapcount.scenario.recording import Answer, Recording

FOLIO = 1
CGROUP = 7
KINDS = {"anon2m_pmd": Kind.ANON, "anon2m_pte": Kind.ANON, "anon64k": Kind.ANON} | dict.fromkeys(
    ("shmem2m", "shmem64k"), Kind.SHMEM
)
PLACES = ("rle", "rle_b")
Counts = list[tuple[int, int, int]]
"""How often pages of the folio are mapped: first page, pages, count."""


def decoded(rle: str) -> Iterator[tuple[int, int, str]]:
    """(first page, pages, word) of run-length text: `256*oe 256*-`."""
    at = 0
    for run in rle.split():
        nr, word = run.split("*")
        yield at, int(nr), word
        at += int(nr)


def source_of(recording: Recording, answer: Answer) -> MemorySource | None:
    """The machine after one step; None where the recording has no large folio to speak of (hugetlb)."""
    if answer["kind"] not in KINDS:
        return None
    kind, folio = KINDS[answer["kind"]], answer["folio"]
    order = answer["nr_pages"].bit_length() - 1
    counted = decoded(folio.get("kpagecount", {}).get("rle", ""))
    counts = [(at, nr, int(word)) for at, nr, word in counted]
    processes, mapped = [], {}
    for pid, actor in enumerate(answer["actors"], 1):
        regions = [
            region(1 << order, start=(place + 1) << 20, smaps=actor["smaps"] if not place else {})
            for place in range(len(PLACES))
        ]
        runs = [
            run
            for place, name in enumerate(PLACES)
            for run in _runs(answer, actor["pm"].get(name, ""), place, kind, order, counts)
        ]
        processes.append(process(pid, regions, comm=actor["name"], cgroup="/watched"))
        folios = [_large(recording, folio, order, kind)] if any(run.order for run in runs) else []
        mapped[pid] = [block_of(runs, folios)]
    charged = answer["charged_pages"]
    return MemorySource(
        processes,
        mapped,
        machine(
            flavour=recording.flavour,
            meminfo={"AnonPages": 4 * charged["anon"], "Mapped": 4 * charged["file_mapped"]},
        ),
        [MemoryStat("/watched", CGROUP, 4096 * charged["anon"], 4096 * charged["file_mapped"], 0)],
    )


def _runs(answer: Answer, rle: str, place: int, kind: Kind, order: int, counts: Counts) -> Iterator[Run]:
    """The runs of one region, cut wherever the recording's text is, and at every folio's end."""
    half = 1 << order >> 1
    for at, nr, word in decoded(rle):
        exclusive = "e" in word
        if word[0] == "o" and counts:
            # The only anonymous memory at a second place is the half that h_mremap moved there.
            moved = half if place and kind is Kind.ANON and at < half else 0
            for first, pages, mapcount in within(counts, at + moved, nr):
                yield Run(
                    page=first - moved, nr=pages, folio=FOLIO, first=first, order=order, kind=kind,
                    pmd=UNKNOWN, exclusive=exclusive, mapcount=mapcount, region=place,
                )  # fmt: skip
        elif word[0] in "ox":
            copied = kind if "f" in word else Kind.ANON
            for page in range(at, at + nr):
                mapcount = 1 if exclusive else _sharers(answer, page)
                yield Run(
                    page=page, folio=1 << 20 | page, kind=copied, exclusive=exclusive, mapcount=mapcount,
                    region=place,
                )  # fmt: skip


def within(counts: Counts, start: int, nr: int) -> Iterator[tuple[int, int, int]]:
    """(first page, pages, count) of pages [start, start + nr)."""
    for at, pages, count in counts:
        first, stop = max(at, start), min(at + pages, start + nr)
        if first < stop:
            yield first, stop - first, count


def _sharers(answer: Answer, page: int) -> int:
    """How many processes have a shared copy at this page."""
    words = (
        word
        for actor in answer["actors"]
        for at, nr, word in decoded(actor["pm"]["rle"])
        if at <= page < at + nr
    )
    return sum(word in ("x", "xf") for word in words)


def _large(recording: Recording, folio: Answer, order: int, kind: Kind) -> LargeFolio:
    """The folio under test as the kernel counted it."""
    pages = int(folio["nr_pages_mapped"], 16) if recording.flavour.page_mapcounts else UNKNOWN
    return LargeFolio(
        FOLIO,
        order,
        kind,
        mapped_pages=pages if pages < 0x800000 else 1 << order,
        cgroup=CGROUP,
        refcount=folio["refcount"],
        large_mapcount=folio["large_mapcount"],
        entire_mapcount=folio["entire_mapcount"],
        pincount=folio["pincount"],
        shared=folio["mm_ids_shared"],
        mm_id=tuple(folio["mm_id"]),
        mm_id_mapcount=tuple(folio["mm_id_mapcount"]),
        anon_exclusive=folio["anon_exclusive_pages"],
    )
