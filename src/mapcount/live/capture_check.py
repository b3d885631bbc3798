"""Does what a capture says hang together? Captures come from outside: nothing in them is believed unseen.

Every check names the file and the row, what is there, and what would be right. What only races of a
living machine make odd (a count that no other count explains) is not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mapcount.live.capture_format import CaptureError
from mapcount.live.snapshot import UNKNOWN, Bool, Folios, Kind, Machine, MemoryStat, Process, Region, Runs

MOST_PAGES = 1 << 52
"""Pages of a 64-bit address space at 4 KiB each."""
MOST_KIB = 1 << 53
MOST_PIDS = 1 << 22
"""The kernel's own limit for process numbers."""
LONGEST_NAME = 1 << 15
"""Characters: a path has at most 4096 bytes, and the kernel spells some of them with four characters."""
MAX_ORDER = 30
"""Larger than any folio: 16 GiB are order 22 of 4 KiB pages."""

Place = Callable[[int], str]
"""Where a row stands: file and row, for people."""
Rule = tuple[str, Bool, str]
"""A column, which of its rows are wrong, and what would be right."""

COUNTS = (
    "mapped_pages",
    "sum_mapcount",
    "refcount",
    "large_mapcount",
    "entire_mapcount",
    "pincount",
    "mm_id",
    "mm_id_mapcount",
    "anon_exclusive",
)
"""Columns of `Folios` that are natural numbers or UNKNOWN."""


def check_machine(where: str, machine: Machine) -> None:
    """Sizes and settings that others compute with. Raises CaptureError."""
    size = machine.page_size
    if size & (size - 1) or not 1 << 10 <= size <= 1 << 20:
        raise CaptureError(f"{where}: page_size is {size}, it should be a power of two from 1 KiB to 1 MiB")
    if not 1 <= machine.pmd_order <= MAX_ORDER:
        raise CaptureError(f"{where}: pmd_order is {machine.pmd_order}, it should be from 1 to {MAX_ORDER}")
    for name, kib in machine.meminfo.items():
        if not 0 <= kib <= MOST_KIB:
            raise CaptureError(f"{where}: meminfo {name!r} is {kib}, it should be a size in KiB")
    setting = machine.thp.get("khugepaged/max_ptes_shared", "0")
    if not re.fullmatch(r"[0-9]{1,9}", setting):
        raise CaptureError(f"{where}: khugepaged/max_ptes_shared is {setting!r}, it should be a number")


def check_pid(where: str, pid: int) -> None:
    """A process's number. Raises CaptureError."""
    if not 0 < pid <= MOST_PIDS:
        raise CaptureError(f"{where}: {pid} is no process number, they go from 1 to {MOST_PIDS}")


def check_process(where: str, process: Process) -> None:
    """Its names and numbers, without its regions. Raises CaptureError."""
    for pid in (process.pid, *process.sharing):
        check_pid(where, pid)
    if max(len(process.comm), len(process.cgroup)) > LONGEST_NAME:
        raise CaptureError(f"{where}: a name has more than {LONGEST_NAME} characters")
    if not process.cgroup.startswith("/"):
        raise CaptureError(f"{where}: cgroup is {process.cgroup[:80]!r}, it should be a path from /")


def check_regions(place: Place, regions: Iterable[Region]) -> None:
    """Regions by address, none over another, and what smaps says. Raises CaptureError."""
    free = 0
    for row, region in enumerate(regions):
        if not free <= region.start < region.start + region.nr_pages <= MOST_PAGES:
            raise CaptureError(
                f"{place(row)}: {region.nr_pages} pages from {region.start} are no region behind page {free}"
            )
        free = region.start + region.nr_pages
        if not re.fullmatch(r"[r-][w-][x-][ps]", region.perms):
            raise CaptureError(f"{place(row)}: perms is {region.perms[:8]!r}, it should be like 'rw-p'")
        if len(region.name) > LONGEST_NAME or any(len(flag) != 2 for flag in region.flags):
            raise CaptureError(f"{place(row)}: the name is too long, or a flag has not two letters")
        for name, kib in region.smaps.items():
            if not 0 <= kib <= MOST_KIB or not re.fullmatch(r"[A-Za-z0-9_()]{1,40}", name):
                raise CaptureError(f"{place(row)}: smaps {name[:40]!r} is {kib}, it should be a size in KiB")


def check_cgroups(place: Place, stats: Iterable[MemoryStat]) -> None:
    """Paths, and sizes in bytes. Raises CaptureError."""
    for row, stat in enumerate(stats):
        if not stat.path.startswith("/") or len(stat.path) > LONGEST_NAME:
            raise CaptureError(f"{place(row)}: path is {stat.path[:80]!r}, it should be a path from /")
        sizes = (stat.anon, stat.file_mapped, stat.shmem, stat.limit, stat.current)
        if any(size is not None and size < 0 for size in sizes):
            raise CaptureError(f"{place(row)}: a size is negative")


def check_runs(place: Place, runs: Runs, regions: Sequence[Region], folios: Folios) -> None:
    """Runs by address within their regions, of pages that their folio has. Raises CaptureError."""
    if len(runs):
        _apply(place, runs, _single_values(runs, len(regions)))
        _apply(place, runs, _by_address(runs, regions) + _of_folios(runs, folios))


def _single_values(runs: Runs, nr_regions: int) -> list[Rule]:
    return [
        ("region", (runs.region < 0) | (runs.region >= nr_regions), f"one of {nr_regions} regions"),
        ("page", (runs.page < 0) | (runs.page >= MOST_PAGES), "a page of a region"),
        ("nr", runs.nr < 1, "at least 1"),
        ("first", runs.first < 0, "at least 0"),
        ("order", (runs.order < 0) | (runs.order > MAX_ORDER), f"from 0 to {MAX_ORDER}"),
        ("kind", (runs.kind < 0) | (runs.kind > max(Kind)), f"from 0 to {max(Kind):d}"),
        ("pmd", (runs.pmd < UNKNOWN) | (runs.pmd > 1), "0, 1 or -1 (unknown)"),
        ("mapcount", runs.mapcount < UNKNOWN, "at least 0, or -1 (unknown)"),
    ]


def _by_address(runs: Runs, regions: Sequence[Region]) -> list[Rule]:
    nr_pages = np.array([region.nr_pages for region in regions], np.int64)[runs.region]
    end = runs.page + runs.nr
    step = np.diff(runs.region)
    last = np.array([False])
    return [
        ("region", np.append(step < 0, last), "that of the next row or one before it"),
        ("page", end > nr_pages, "so that the run lies within its region"),
        (
            "nr",
            np.append((step == 0) & (end[:-1] > runs.page[1:]), last),
            "so that the run ends before the next",
        ),
    ]


def _of_folios(runs: Runs, folios: Folios) -> list[Rule]:
    # The zero page and pages without a struct page are no folios that anybody asks about.
    counted = ~np.isin(runs.kind, (Kind.ZERO, Kind.OTHER))
    size = np.int64(1) << runs.order.astype(np.int64)
    row = np.minimum(np.searchsorted(folios.folio, runs.folio), max(0, len(folios) - 1))
    found = folios.folio[row] == runs.folio if len(folios) else np.zeros(len(runs), np.bool_)
    same_order = folios.order[row] == runs.order if len(folios) else found
    return [
        (
            "first",
            counted & (runs.first > size - runs.nr),
            "a page with all of the run behind it in the folio",
        ),
        (
            "folio",
            counted & (runs.order > 0) & ~(found & same_order),
            "a large folio of the same block, and of the same order there",
        ),
    ]


def check_folios(place: Place, folios: Folios) -> None:
    """Large folios in the order of their numbers, with counts that are counts. Raises CaptureError."""
    not_ascending = np.append(folios.folio[:-1] >= folios.folio[1:], False)[: len(folios)]
    size = np.int64(1) << np.clip(folios.order, 0, MAX_ORDER).astype(np.int64)
    rules: list[Rule] = [
        ("folio", not_ascending, "less than the next row's"),
        ("order", (folios.order < 1) | (folios.order > MAX_ORDER), f"from 1 to {MAX_ORDER}"),
        ("kind", (folios.kind < 0) | (folios.kind > max(Kind)), f"from 0 to {max(Kind):d}"),
        ("shared", (folios.shared < UNKNOWN) | (folios.shared > 1), "0, 1 or -1 (unknown)"),
        ("mapped_pages", folios.mapped_pages > size, "at most the folio's pages"),
        ("anon_exclusive", folios.anon_exclusive > size, "at most the folio's pages"),
    ]
    for name in COUNTS:
        wrong = getattr(folios, name) < UNKNOWN
        rules.append((name, wrong.any(axis=1) if wrong.ndim > 1 else wrong, "at least 0, or -1 (unknown)"))
    _apply(place, folios, rules)


def _apply(place: Place, table: Runs | Folios, rules: list[Rule]) -> None:
    for column, wrong, right in rules:
        if wrong.any():
            row = int(np.argmax(wrong))
            value: NDArray[np.generic] = getattr(table, column)[row]
            raise CaptureError(f"{place(row)}: {column} is {value}, it should be {right}")
