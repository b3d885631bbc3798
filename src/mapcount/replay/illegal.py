"""Events that cannot be: the reasons, and how they are told."""

from __future__ import annotations

from enum import IntFlag

from mapcount.replay.reader import Window
from mapcount.replay.trace import (
    HUGETLB,
    MOST_MAPPINGS,
    MOST_MM,
    MOST_ORDER,
    ORDER_MASK,
    Op,
    TraceError,
    one_entry,
)


class Reason(IntFlag):
    """Why an event cannot be. Several may hold; the first one here is told."""

    RANGE = 1
    """The pages are not the folio's."""
    SHAPE = 2
    """No such entry maps such pages of such a folio."""
    USED = 4
    """A new folio is mapped already."""
    FEW = 8
    """More is unmapped than is mapped."""
    OTHERS = 16
    """More is unmapped than this mm has, since others have the rest for certain."""
    PAGE = 32
    """A page is unmapped that is not mapped."""
    STRANGER = 64
    """Some mm unmapped what it did not map: what is left adds up to nothing that could be."""
    MANY = 128
    """More than the engine can count."""
    SLOT = 256
    """More at once than an owner slot can hold."""


WORDS = {
    Reason.RANGE: "pages {page}..{last} are not of a folio of {nr_pages} pages",
    Reason.SHAPE: "no {entry} maps pages {page}..{last} of a {kind}folio of {nr_pages} pages on this flavour",
    Reason.USED: "the first mapping of a new folio, which has {total} mappings already",
    Reason.FEW: "unmaps {n} of that kind, of {total} mappings in all",
    Reason.OTHERS: "unmaps {n}, but of the folio's {total} mappings other mms have all but fewer",
    Reason.PAGE: "a page of {page}..{last} is unmapped that no PTE maps",
    Reason.STRANGER: "mm {mm}, or an mm before it, unmaps what it never mapped: what is left does not add up",
    Reason.MANY: f"more mappings than the engine counts: at most {MOST_MAPPINGS:,} of a folio, and the sum "
    "over mappings of mm*mm up to 2^53; number mms from 1 on",
    Reason.SLOT: "{n} mappings at once do not fit in an owner slot",
}


def unsound(window: Window, i: int, folios: int, most_mm: int) -> TraceError:
    """The error for event `i` of a window, whose numbers are out of any folio's range."""
    folio, mm, op = int(window.folio[i]), int(window.mm[i]), int(window.op[i])
    page, nr = int(window.page[i]), int(window.nr[i])
    if folio >= folios:
        reason = f"folio {folio}: there are {folios}, numbered from 0 on"
    elif not 1 <= mm <= most_mm:
        reason = f"mm {mm}: an mm that maps folios has an id from 1 to {most_mm}"
        reason += f" (a trace may have {MOST_MM})" if most_mm < MOST_MM and mm <= MOST_MM else ""
    elif op not in list(Op):
        reason = f"op {op}: an op is a number from 1 to 7"
    elif not nr:
        reason = "nr 0: an event covers 1 page or more"
    else:
        reason = f"page {page}, nr {nr}: a folio has at most {1 << MOST_ORDER} pages"
    return _error(window, window.row(i), reason)


def impossible(window: Window, row: int, why: int, after: int, shape: int, first: int) -> TraceError:
    """The error for the event in a row that contradicts what the folio, of this shape, is.

    `after`: the mappings there would be after it; `first`: the number of the window's folio 0.
    """
    reason = next(r for r in Reason if why & r)
    i = window.index(row)
    page, nr, op = int(window.page[i]), int(window.nr[i]), Op(int(window.op[i]))
    mm, folio = int(window.mm[i]), int(window.folio[i]) + first
    order, hugetlb = shape & ORDER_MASK, bool(shape & HUGETLB)
    n = 1 if one_entry(op, order, hugetlb) else nr
    text = WORDS[reason].format(
        page=page, last=page + nr - 1, nr_pages=1 << order, mm=mm, n=n,
        total=after + n if op in (Op.UNMAP_PTES, Op.UNMAP_PMD) else after - n,
        entry="PTE" if op in (Op.MAP_PTES, Op.UNMAP_PTES, Op.DUP_PTES) else "entry above the PTE level",
        kind="hugetlb " if hugetlb else "",
    )  # fmt: skip
    return _error(window, row, f"folio {folio}, mm {mm}, {op.name.lower().replace('_', ' ')}: {text}")


def _error(window: Window, row: int, reason: str) -> TraceError:
    file, at = window.place(row)
    error = TraceError(f"{file}: row {at} (event {window.first + row} of the trace): {reason}")
    error.row = window.first + row
    return error
