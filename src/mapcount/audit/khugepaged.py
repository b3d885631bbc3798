"""PMD ranges that khugepaged leaves alone only because the kernel is mistaken.

Before it puts a huge page in place of many small ones, it counts the pages in the range whose folios are
maybe shared, and gives up beyond `max_ptes_shared` (mechanism, section 6).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mapcount.live.snapshot import Bool, Kind, Machine, Region, Runs


def refused_collapses(
    machine: Machine, regions: Sequence[Region], runs: Runs, believed: Bool, mistaken: Bool
) -> int:
    """How many PMD ranges have too many pages believed to be shared, but not too many that are.

    `believed`, `mistaken`: of each run. What is true is taken from one block, so a folio whose mappings
    go on in another counts as shared, and a range that goes on there is not found.
    """
    if not mistaken.any():
        return 0
    allowed = np.array([_collapsible(region, machine) for region in regions], np.bool_)
    start = np.array([region.start for region in regions], np.int64)
    end = start + np.array([region.nr_pages for region in regions], np.int64)
    asked = np.flatnonzero(believed & (runs.kind == Kind.ANON) & (runs.pmd != 1) & allowed[runs.region])
    region, nr = runs.region[asked], runs.nr[asked]
    page = start[region] + runs.page[asked]
    size = 1 << machine.pmd_order
    # A run is of one folio of PMD size at most, so it lies in two ranges at most.
    first = np.minimum(nr, size - page % size)
    ranges, pages = np.r_[page // size, page // size + 1], np.r_[first, nr - first]
    region, wrong = np.r_[region, region], np.r_[mistaken[asked], mistaken[asked]]
    inside = (ranges * size >= start[region]) & ((ranges + 1) * size <= end[region])
    _, of = np.unique(ranges[inside], return_inverse=True)
    shared = np.bincount(of, pages[inside])
    truly = shared - np.bincount(of, pages[inside] * wrong[inside])
    return int(((shared > machine.max_ptes_shared) & (truly <= machine.max_ptes_shared)).sum())


def khugepaged_policy(machine: Machine) -> str:
    """`always`, `madvise` or `never`: which anonymous memory khugepaged may work on."""
    kib = (machine.page_size << machine.pmd_order) >> 10
    own = _chosen(machine.thp.get(f"hugepages-{kib}kB/enabled", "inherit"))
    return _chosen(machine.thp.get("enabled", "never")) if own == "inherit" else own


def _chosen(setting: str) -> str:
    """The word in brackets, or the only one: settings come either way."""
    found = re.search(r"\[(\w+)\]", setting)
    return found[1] if found else setting.strip()


def _collapsible(region: Region, machine: Machine) -> bool:
    """Is this private anonymous memory that khugepaged may work on?"""
    policy = khugepaged_policy(machine)
    return (
        region.perms.endswith("p")
        and not region.name.startswith("/")
        and "nh" not in region.flags
        and (policy == "always" or (policy == "madvise" and "hg" in region.flags))
    )
