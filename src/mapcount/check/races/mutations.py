"""Rules broken on purpose, each with the race that shows what the rule is for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mapcount.check.races.rules import Rules


@dataclass(frozen=True, slots=True)
class Mutation:
    """One rule broken: in which race that shows, as which property, and in which memory model."""

    name: str
    sentence: str
    rule: str
    """The field of `Rules` that is turned around."""
    race: str
    property: str
    memory_model: str = "sc"

    def of(self, rules: Rules) -> Rules:
        """These rules, but for this one."""
        changed: dict[str, Any] = {self.rule: not getattr(rules, self.rule)}
        return replace(rules, **changed)


MUTATIONS: dict[str, Mutation] = {
    m.name: m
    for m in (
        Mutation(
            "no-recheck",
            "The decision is not made again under the mapcount lock.",
            "recheck_under_lock",
            "swap-in",
            "reuse",
        ),
        Mutation(
            "mapcount-first",
            "Mapping raises the mapcounts before the references.",
            "reference_before_mapcount",
            "map-beside",
            "reuse",
        ),
        Mutation(
            "reference-first",
            "Unmapping drops the references before the mapcounts.",
            "mapcount_before_reference",
            "unmap-beside",
            "reuse",
        ),
        Mutation(
            "late-flag",
            "The shared flag is set after the mapcount lock is released.",
            "shared_flag_under_lock",
            "swap-in",
            "reuse",
        ),
        Mutation(
            "late-free",
            "A slot is freed after the mapcount lock is released.",
            "slot_freed_under_lock",
            "exits",
            "lock",
        ),
        Mutation(
            "compare-first",
            "Removing compares the counts with the total before the slot is freed.",
            "compare_after_free",
            "untracked",
            "reuse",
        ),
        Mutation(
            "early-assertion",
            "The decision asserts that no PMD is left before it knows that total and references agree.",
            "assert_when_stable",
            "pmd-exit",
            "assertions",
        ),
        Mutation(
            "swap-cache-allowance",
            "The decision allows for the swap cache's references instead of waiting until they are gone.",
            "wait_for_swap_cache",
            "swap-cache",
            "reuse",
        ),
        Mutation(
            "no-references",
            "The decision looks at mapcounts and flag only, not at references.",
            "compare_references",
            "vmsplice",
            "reuse",
        ),
        Mutation(
            "gup-no-recheck",
            "GUP-fast does not look at the PTE again once it has its reference.",
            "gup_rechecks_pte",
            "gup-fast",
            "reuse",
        ),
        Mutation(
            "gup-blind",
            "GUP-fast does not see that its mm forks.",
            "gup_sees_fork",
            "pin-fork",
            "pins",
        ),
        Mutation(
            "pins-first",
            "Page-out looks for pins before it clears the PTE.",
            "pins_checked_after_clear",
            "pin-page-out",
            "pins",
        ),
        Mutation(
            "plain-clear",
            "Page-out clears the PTE by a plain store, which is no barrier.",
            "clear_pte_atomically",
            "pin-page-out",
            "pins",
            memory_model="tso",
        ),
    )
}
"""Every mutation by its name."""
