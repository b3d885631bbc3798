"""The rules that the order of accesses follows, each of which can be broken to see what it is for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """The true kernel, unless said otherwise. `entire_before_total` is a property of the flavour."""

    entire_before_total: bool = False
    """Does removing a PMD lower the entire mapcount first? `no-page-mapcount`: yes, `page-mapcount`: no."""
    recheck_under_lock: bool = True
    """Is the reuse decision made once more under the mapcount lock?"""
    reference_before_mapcount: bool = True
    """Mapping: are references up before mapcounts?"""
    mapcount_before_reference: bool = True
    """Unmapping: are mapcounts down before references?"""
    shared_flag_under_lock: bool = True
    """Is the shared flag set before the mapcount lock is released?"""
    slot_freed_under_lock: bool = True
    """Is a slot freed before the mapcount lock is released?"""
    compare_after_free: bool = True
    """Rule 2 of removing: are the counts compared after the slot was freed?"""
    assert_when_stable: bool = True
    """Does the decision look at the entire mapcount only when total and references are known to agree?"""
    wait_for_swap_cache: bool = True
    """Do references of the swap cache have to be gone, rather than be allowed for?"""
    compare_references: bool = True
    """Does the reuse decision compare references with mappings at all?"""
    gup_rechecks_pte: bool = True
    """Does GUP-fast look at the PTE again once it has its reference?"""
    gup_sees_fork: bool = True
    """Does GUP-fast give its pin back if a fork of the same mm came between?"""
    clear_pte_atomically: bool = True
    """Do page-out and migration clear a PTE by an atomic exchange, a full barrier, and not a plain store?"""
    pins_checked_after_clear: bool = True
    """Do page-out and migration look for pins only after the PTE is cleared?"""
