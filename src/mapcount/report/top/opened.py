"""What is open: the regions of a process, its folios by size, and one region's folios one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mapcount.audit.census import FolioSize
from mapcount.audit.regions import AuditedRegion, MappedFolio, OpenedProcess
from mapcount.audit.smaps import Memory
from mapcount.live.snapshot import UNKNOWN
from mapcount.report.top.listing import Cell, Column, Listing
from mapcount.report.words import about, count, signed_about, size
from mapcount.scenario.syntax import visible
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, Flavour


@dataclass(frozen=True, slots=True)
class RegionLine:
    """One region."""

    region: AuditedRegion
    then: Memory | None
    """Under the kernel that is compared with; None where nothing could be predicted."""
    page_size: int

    @property
    def pss_change(self) -> int:
        """In KiB; 0 where it is not known."""
        return self.then.pss_kib - self.region.now.pss_kib if self.then else 0

    @property
    def uss_change(self) -> int:
        """In KiB; 0 where it is not known."""
        return self.then.uss_kib - self.region.now.uss_kib if self.then else 0

    @property
    def change(self) -> int:
        """The larger of the two, without its sign."""
        return max(abs(self.pss_change), abs(self.uss_change))

    @property
    def start(self) -> int:
        """The first page."""
        return self.region.region.start


REGION_ORDERS: Mapping[str, Callable[[RegionLine], Any]] = {
    "change": lambda line: (-line.change, -line.region.now.rss_kib, line.start),
    "mistaken": lambda line: (-line.region.mistaken_kib, -line.change, line.start),
    "rss": lambda line: (-line.region.now.rss_kib, line.start),
    "folios": lambda line: (-line.region.folios, line.start),
    "address": lambda line: line.start,
}


def compared_with(opened: OpenedProcess) -> Flavour:
    """The kernel that counts in the other way than the one that was read."""
    return NO_PAGE_MAPCOUNT if opened.machine.flavour.page_mapcounts else PAGE_MAPCOUNT


def region_lines(opened: OpenedProcess) -> list[RegionLine]:
    """Regions that have memory; the others have nothing to tell."""
    then = compared_with(opened).name
    return [
        RegionLine(region, region.under.get(then), opened.machine.page_size)
        for region in opened.regions
        if region.now.rss_kib or region.folios
    ]


def region_listing() -> Listing[RegionLine]:
    """An empty list of regions."""
    columns: list[Column[RegionLine]] = [
        Column("address", 12, _address, "address"),
        Column("perms", 5, lambda line: visible(line.region.region.perms), left=True, leave_out=1),
        Column("Rss", 5, lambda line: about(line.region.now.rss_kib), "rss"),
        Column("Pss", 5, lambda line: about(line.region.now.pss_kib), leave_out=3),
        Column("Pss +-", 6, lambda line: _signed(line.then, line.pss_change), "change"),
        Column("Uss", 5, lambda line: about(line.region.now.uss_kib), leave_out=2),
        Column("Uss +-", 6, lambda line: _signed(line.then, line.uss_change), "change"),
        Column("mistaken", 8, _mistaken, "mistaken"),
        Column("folios", 6, lambda line: count(line.region.folios), "folios"),
        Column("name", 16, _name, left=True, tail=True, most=200),
    ]
    return Listing(columns, REGION_ORDERS, lambda line: line.start, lambda line: _name(line))


def _address(line: RegionLine) -> str:
    return f"{line.start * line.page_size:x}"


def _name(line: RegionLine) -> str:
    return visible(line.region.region.name) or "anonymous"


def _signed(then: Memory | None, kib: int) -> str:
    return signed_about(kib) if then else "?"


def _mistaken(line: RegionLine) -> Cell:
    if line.then is None:
        return Cell("?")
    return Cell(about(line.region.mistaken_kib), bad=line.region.mistaken_kib > 0)


# -- folios by size -------------------------------------------------------------------------------------

SIZE_ORDERS: Mapping[str, Callable[[FolioSize], Any]] = {
    "mistaken": lambda row: (-row.mistaken_for_shared, row.kind, row.order),
    "memory": lambda row: (-row.folios * row.kib, row.kind),
    "size": lambda row: (row.order, row.kind),
    "kind": lambda row: (row.kind, row.order),
}


def size_listing() -> Listing[FolioSize]:
    """An empty list of large folios by kind and size."""
    columns: list[Column[FolioSize]] = [
        Column("size", 5, lambda row: size(row.kib), "size"),
        Column("kind", 7, lambda row: row.kind, "kind", left=True),
        Column("folios", 6, lambda row: count(row.folios)),
        Column("memory", 6, lambda row: about(row.folios * row.kib), "memory"),
        Column("PMD", 6, lambda row: count(row.by_pmd), leave_out=3),
        Column("PTE", 6, lambda row: count(row.by_pte), leave_out=2),
        Column("both", 4, lambda row: count(row.by_both), leave_out=4),
        Column("partly", 6, lambda row: count(row.partly_mapped), leave_out=1),
        Column("alone", 6, lambda row: count(row.exclusive)),
        Column("shared", 6, lambda row: count(row.shared)),
        Column("mistaken", 8, _wrong, "mistaken"),
    ]
    return Listing(columns, SIZE_ORDERS, lambda row: (row.kind, row.order), lambda row: row.kind, "memory")


def _wrong(row: FolioSize) -> Cell:
    unknown = "?" * (row.not_judged > 0)
    if row.not_judged == row.folios:
        return Cell(unknown)
    return Cell(count(row.mistaken_for_shared) + unknown, bad=row.mistaken_for_shared > 0)


# -- folios one by one ----------------------------------------------------------------------------------

FOLIO_ORDERS: Mapping[str, Callable[[MappedFolio], Any]] = {
    "mistaken": lambda folio: (not folio.mistaken, folio.page),
    "place": lambda folio: folio.page,
    "size": lambda folio: (-folio.order, folio.page),
}
ANSWERS = {UNKNOWN: "?", 0: "exclusive", 1: "shared"}


def folio_listing(page_kib: int) -> Listing[MappedFolio]:
    """An empty list of the folios of a region."""
    columns: list[Column[MappedFolio]] = [
        Column("place", 6, lambda folio: about(folio.page * page_kib), "place"),
        Column("size", 5, lambda folio: size(page_kib << folio.order), "size"),
        Column("kind", 5, lambda folio: folio.kind, left=True, leave_out=2),
        Column("by", 4, lambda folio: folio.levels or "?", left=True),
        Column("pages", 9, lambda folio: f"{folio.pages}/{1 << folio.order}", leave_out=4),
        Column("large", 5, lambda folio: _number(folio.large_mapcount), leave_out=1),
        Column("entire", 6, lambda folio: _number(folio.entire_mapcount), leave_out=1),
        Column("slot 0", 9, lambda folio: _slot(folio, 0), most=14),
        Column("slot 1", 9, lambda folio: _slot(folio, 1), most=14),
        Column("truth", 9, lambda folio: ANSWERS[folio.truth], left=True),
        Column("kernel", 9, _kernel, "mistaken", left=True),
    ]
    return Listing(columns, FOLIO_ORDERS, lambda folio: folio.page, lambda folio: folio.kind)


def _number(value: int) -> str:
    return "?" if value < 0 else count(value)


def _slot(folio: MappedFolio, slot: int) -> str:
    mm_id, mapcount = folio.slots[slot]
    if mm_id < 0:
        return "?"
    return f"{mm_id}: {mapcount}" if mm_id else "free"


def _kernel(folio: MappedFolio) -> Cell:
    return Cell(ANSWERS[folio.believed] + "!" * folio.mistaken, bad=folio.mistaken)
