"""The words in which recordings of format 2 describe every region of every process, page by page.

Both kernels are described by the functions here, so that the words cannot differ where the kernels do not.
What a region's pages are is run-length text: `256*large 256*none`. Folios come in the order in which the
region shows them, and neighbours that are alike in everything stand there once, with a count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mapcount.tracking.folio import Folio

NONE, SWAPPED, ZERO, SMALL, LARGE = "none", "swapped", "zero", "small", "large"
"""What a page of a region is: not there, in swap, the zero page, a small folio, or of a large folio."""

FLAGS = {
    "REFERENCED": 2, "UPTODATE": 3, "DIRTY": 4, "LRU": 5, "ACTIVE": 6, "MMAP": 11, "ANON": 12,
    "SWAPCACHE": 13, "SWAPBACKED": 14, "HUGE": 17, "UNEVICTABLE": 18, "KSM": 21, "THP": 22, "MLOCKED": 33,
}  # fmt: skip
"""The bits of /proc/kpageflags that are compared; others depend on the kernel's version."""

MOVING = ("REFERENCED", "ACTIVE")
"""Flags that say how lately a page was used; where something else watches that, they move by themselves."""

Described = Mapping[str, Any]
"""One folio's fields."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Pages [at, at + n) of a region map pages [first, first + n) of the folio of that name."""

    at: int
    n: int
    folio: int
    first: int


def rle(runs: Iterable[tuple[int, object]]) -> str:
    """Run-length text of (pages, value) runs: `256*1 256*2`; neighbours of one value are joined."""
    return " ".join(f"{sum(n for n, _ in same)}*{value}" for value, same in groupby(runs, lambda run: run[1]))


def flag_words(bits: int, read: Collection[str]) -> str:
    """The names of a page's flags, by bit.

    Those that say how lately it was used only where that was read, and never DIRTY of a hugetlb page, which
    may be from whoever had the page before.
    """
    left_out: tuple[str, ...] = () if "referenced" in read else MOVING
    if bits >> FLAGS["HUGE"] & 1:
        left_out = (*left_out, "DIRTY")
    return " ".join(name for name, bit in FLAGS.items() if bits >> bit & 1 and name not in left_out)


def kind_of(bits: int) -> str:
    """What a page holds, as its flags tell."""
    for name, kind in (("HUGE", "hugetlb"), ("KSM", "ksm"), ("ANON", "anon"), ("SWAPBACKED", "shmem")):
        if bits >> FLAGS[name] & 1:
            return kind
    return "file"


def counter_words(folio: Folio, *, anon_exclusive: int, partially_mapped: bool) -> dict[str, Any]:
    """What only `struct folio` tells: counters and slots. Per-page counts where they are kept."""
    words: dict[str, Any] = {"refcount": folio.refcount}
    if not folio.hugetlb:
        words["anon_exclusive"] = anon_exclusive
    if folio.large:
        words["large_mapcount"] = folio.large_mapcount
        words["entire_mapcount"] = folio.entire_mapcount
        words["pincount"] = folio.pincount
        words["partially_mapped"] = int(partially_mapped)
    if folio.large and folio.page_mapcount is not None:
        words["nr_pages_mapped"] = folio.nr_pages_mapped
        words["page_mapcount"] = folio.page_mapcount.rle()
    if folio.slots is not None:
        words["mm_id"] = [folio.slots.mm_id(0), folio.slots.mm_id(1)]
        words["mm_id_mapcount"] = list(folio.slots.mm_id_mapcount)
        words["mm_ids_shared"] = int(folio.slots.shared)
    return words


def folio_words(stretches: Iterable[Stretch], describe: Callable[[int], Described]) -> list[dict[str, Any]]:
    """Every folio that the stretches of one region map: where first, which pages, and what it is.

    `describe` gives a folio's fields by its name.
    """
    mapped: dict[int, list[Stretch]] = {}
    for stretch in stretches:
        mapped.setdefault(stretch.folio, []).append(stretch)
    words: list[dict[str, Any]] = []
    for folio, parts in mapped.items():
        found = {"maps": _ranges((part.first, part.n) for part in parts), **describe(folio)}
        if words and words[-1].items() >= found.items():
            words[-1]["count"] += 1
        else:
            words.append({"at": parts[0].at, "count": 1, **found})
    return words


def _ranges(parts: Iterable[tuple[int, int]]) -> str:
    """(first page, pages) of a folio as text: `0+16`; equal ones at equal distances `256x1+1/2`."""
    joined: list[tuple[int, int]] = []
    for first, n in parts:
        if joined and joined[-1][0] + joined[-1][1] == first:
            joined[-1] = (joined[-1][0], joined[-1][1] + n)
        else:
            joined.append((first, n))
    return " ".join(_strides(joined))


def _strides(parts: list[tuple[int, int]]) -> Iterator[str]:
    i = 0
    while i < len(parts):
        first, n = parts[i]
        j = i + 1
        step = parts[j][0] - first if j < len(parts) else 0
        while j < len(parts) and parts[j] == (parts[j - 1][0] + step, n):
            j += 1
        if j - i > 2:
            yield f"{j - i}x{first}+{n}/{step}"
            i = j
        else:
            yield f"{first}+{n}"
            i += 1


def fields(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(path, value) of every field of a step's object that is compared: `P.heap.folios[0].refcount`."""
    yield "errors", answer["errors"]
    yield "processes", [process["name"] for process in answer["processes"]]
    for process in answer["processes"]:
        name = process["name"]
        yield f"{name}.regions", [region["name"] for region in process["regions"]]
        for region in process["regions"]:
            yield from _region_fields(f"{name}.{region['name']}", region)


def _region_fields(path: str, region: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in region.items():
        if name == "folios":
            for i, folio in enumerate(value):
                yield from ((f"{path}.folios[{i}].{field}", found) for field, found in folio.items())
        elif isinstance(value, Mapping):
            yield from ((f"{path}.{name}.{field}", found) for field, found in value.items())
        elif name != "name":
            yield f"{path}.{name}", value
