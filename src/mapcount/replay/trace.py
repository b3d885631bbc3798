"""The trace format: what a `NAME.trace` directory holds, and its limits (docs/traces.md).

    meta.json          format version, flavour, bits, names of mms and phases
    folios.parquet     one row per folio, in order: folio u32 (the row's number), order u8, kind
    events-*.parquet   one row per event, in time order: folio, mm, op, page, nr, and perhaps phase

A row's number, counted over all event files, is its time. Writers and the reader share what is here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from mapcount.tracking.flavour import FLAVOURS, PMD_ORDER, PUD_ORDER, Flavour

VERSION = 1
MOST_ORDER = PUD_ORDER
MOST_MM = (1 << 22) - 1
"""The largest MM id. Ids are handed out lowest first, and Linux runs at most 2^22 processes."""
MOST_MAPPINGS = 1 << 30
"""The most mappings that one folio may have."""
FILE_EVENTS = 1 << 22
"""The most rows of one events file: what a reader needs in memory is bounded by it."""
MOST_FOLIOS = (1 << 32) - 1
MOST_PHASES = 32

ORDER_MASK, HUGETLB, ANON = 31, 1 << 5, 1 << 6
"""A folio's shape in one number: its order, and what it is as far as rules care."""

KINDS = ("anon", "shmem", "file", "hugetlb", "ksm")

EVENT_COLUMNS = {"folio": "UInt32", "mm": "UInt32", "op": "UInt8", "page": "UInt32", "nr": "UInt32"}
"""Columns of an events file and their types; `phase` UInt8 may follow."""


class Op(IntEnum):
    """What an event does. `nr` base pages from `page` on are covered by all of them."""

    NEW = 1
    """The first mapping of a new folio, whole: by one entry where one can map all of it, else by PTEs."""
    MAP_PTES = 2
    UNMAP_PTES = 3
    MAP_PMD = 4
    """One entry above the PTE level: a PMD (nr 512), a PUD (nr 2^18), or a hugetlb folio's."""
    UNMAP_PMD = 5
    DUP_PTES = 6
    """As MAP_PTES, by fork."""
    DUP_PMD = 7
    """As MAP_PMD, by fork."""


class TraceError(ValueError):
    """A trace that cannot be used; the message names the file, the row where there is one, and the reason."""

    row: int | None = None
    """The number, in the whole trace, of the event that cannot be."""


class NoCluster(RuntimeError):
    """There are no workers to be had; the message says why, and what would help."""


def one_entry(op: int, order: int, hugetlb: bool) -> bool:
    """Does the event concern one entry above the PTE level, rather than `nr` PTEs?"""
    if op == Op.NEW:
        return order in (PMD_ORDER, PUD_ORDER) or hugetlb
    return op in (Op.MAP_PMD, Op.UNMAP_PMD, Op.DUP_PMD)


@dataclass(frozen=True, slots=True)
class Meta:
    """What meta.json says."""

    flavour: Flavour
    """The kernel that the events come from; a trace may be replayed on another."""
    mms: Mapping[int, str] = field(default_factory=dict)
    """Names of mms by their id, as far as they have one."""
    phases: tuple[str, ...] = ()
    """Names of the workload's phases; the events' `phase` counts them from 0."""
    origin: str = ""
    """Where the trace comes from, for people."""

    def dumps(self) -> str:
        """The text of meta.json."""
        data = {
            "format": "mapcount trace",
            "version": VERSION,
            "flavour": self.flavour.name,
            "bits": self.flavour.bits,
            "origin": self.origin,
            "mms": {str(mm): name for mm, name in self.mms.items()},
            "phases": list(self.phases),
        }
        return json.dumps(data, indent=1) + "\n"


def parse_meta(text: str) -> Meta:
    """The `Meta` of a meta.json. Raises TraceError, with what is wrong and what would be right."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise TraceError("not JSON") from None
    if not isinstance(data, dict) or data.get("format") != "mapcount trace":
        raise TraceError('has no "format": "mapcount trace"')
    if data.get("version") != VERSION:
        raise TraceError(f"version {data.get('version')!r} of the format; this program reads {VERSION}")
    flavour = FLAVOURS.get(data["flavour"]) if isinstance(data.get("flavour"), str) else None
    if flavour is None or data.get("bits") not in (64, 32) or isinstance(data["bits"], bool):
        raise TraceError(f'"flavour" is one of {", ".join(FLAVOURS)}; "bits" is 64 or 32')
    phases = data.get("phases", [])
    if not _names(phases) or len(phases) > MOST_PHASES:
        raise TraceError(f'"phases" is a list of at most {MOST_PHASES} names')
    return Meta(
        flavour.on(data["bits"]), _mms(data.get("mms", {})), tuple(phases), _text(data.get("origin", ""))
    )


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TraceError('"origin" is a text')
    return value


def _mms(value: Any) -> dict[int, str]:
    if not isinstance(value, dict) or not _names(list(value.values())):
        raise TraceError('"mms" gives each MM id a name')
    bad = [mm for mm in value if not (mm.isascii() and mm.isdigit() and 1 <= len(mm) <= 7 and int(mm))]
    if bad:
        raise TraceError(f'"mms": {bad[0]!r} is no MM id')
    return {int(mm): name for mm, name in value.items()}
