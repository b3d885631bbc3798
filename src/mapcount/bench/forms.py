"""Which forms of memory can be had here, and what would have to be written to have the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mapcount.bench.story import PAGE_KIB, PMD_KIB, Form
from mapcount.live.thp import Thp


@dataclass(frozen=True, slots=True)
class NotEnabled:
    """A folio size that no fault uses here as things are set."""

    kib: int
    writes: Mapping[Path, str]
    """What would enable it."""


def forms_of(kib: int) -> tuple[Form, ...]:
    """The forms in which folios of a size come: those of the PMD size are mapped by PTEs or by PMDs."""
    return (Form(kib), Form(kib, by_pmd=True)) if kib == PMD_KIB else (Form(kib),)


def choose(
    wanted: Collection[int] | None, thp: Thp, *, may_write: bool
) -> tuple[list[Form], list[NotEnabled]]:
    """Forms to measure, smallest first, and the sizes left out.

    `wanted`: sizes in KiB, or None for all there are. `may_write`: settings may be written to have them.
    Raises CannotHere for a size that this kernel does not have.
    """
    forms: list[Form] = []
    left_out: list[NotEnabled] = []
    for kib in sorted(wanted if wanted is not None else {PAGE_KIB, *thp.anon}):
        writes = writes_for(kib, thp)
        if writes and not may_write:
            left_out.append(NotEnabled(kib, writes))
        else:
            forms += forms_of(kib)
    return forms, left_out


def writes_for(kib: int, thp: Thp) -> Mapping[Path, str]:
    """The settings to write so that advised memory gets folios of this size; small ones need none."""
    return {} if kib == PAGE_KIB else thp.writes_for(kib)
