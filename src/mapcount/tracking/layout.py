"""What one does with a struct layout: decode raw bytes, encode them, check the room, compare two.

The tables themselves, and the rules they must keep, are in `mapcount.tracking.layouts`; import its names from
there or from here.

Two ways to name a value, everywhere in this package:

| | `_large_mapcount` of an unmapped folio | function |
|---|---|---|
| *raw*, as the kernel stores it | -1 | `decode_raw`, `encode_raw` |
| *natural*, 0 means unmapped | 0 | `decode`, `encode` |

The `_mm_ids` word has four natural values: `_mm_id[0]`, `_mm_id[1]` without their top bits, and the flags
`mm_ids_lock` and `mm_ids_shared` that live there (mechanism, section 3).

Left out: byte orders other than little-endian, reading a kernel's own type information, folio flags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from mapcount.tracking.flavour import Flavour
from mapcount.tracking.layouts import Field, Layout, Only, Source, layout_of

__all__ = [
    "RENAMED",
    "Change",
    "ChangeKind",
    "Field",
    "Layout",
    "Only",
    "Problem",
    "ProblemKind",
    "Source",
    "changes",
    "decode",
    "decode_raw",
    "encode",
    "encode_raw",
    "layout_of",
    "needs",
    "page_mapcounts",
    "problems",
    "usable_bytes",
]


# --- raw bytes -> values -> raw bytes ------------------------------------------------------------------


def decode_raw(layout: Layout, raw: bytes, *, order: int, hugetlb: bool = False) -> dict[str, int]:
    """What the kernel stored in each field that a folio of this order has, by the field's name.

    `raw` starts at the folio's head page and may be longer than needed; only fields of this order are read.
    Raises ValueError if it is too short.
    """
    _need(layout, raw, layout.size_of(order), f"an order-{order} folio")
    return {
        name: int.from_bytes(raw[at : at + field.size], "little", signed=field.signed)
        for field in layout.fields_of(order, hugetlb)
        for name, at in field.places()
    }


def decode(layout: Layout, raw: bytes, *, order: int, hugetlb: bool = False) -> dict[str, int]:
    """The natural values of a folio's fields: 0 means unmapped, ids without flags, flags by their own names.

    Raises ValueError as `decode_raw` does.
    """
    stored = decode_raw(layout, raw, order=order, hugetlb=hugetlb)
    natural: dict[str, int] = {}
    for field in layout.fields_of(order, hugetlb):
        for i, (name, _) in enumerate(field.places()):
            natural[name] = stored[name] - field.bias
            if field.top_bits:
                top = 8 * field.size - 1
                natural[name] &= (1 << top) - 1
                natural[field.top_bits[i]] = stored[name] >> top
    return natural


def encode_raw(layout: Layout, values: Mapping[str, int], *, order: int, hugetlb: bool = False) -> bytes:
    """The bytes of a folio whose fields store `values`, as `decode_raw` gives them.

    What is not named stores natural 0, tail pages' own `_mapcount` included: the state of a new folio.
    Raises ValueError for a name that such a folio does not have and for a value that does not fit.
    """
    fields = layout.fields_of(order, hugetlb)
    _known(layout, values, [name for field in fields for name, _ in field.places()], order, hugetlb)
    raw = bytearray(layout.size_of(order))
    for page in range(1, len(raw) // layout.sizeof_page):
        for word in layout.own_words(page):
            raw[word.offset : word.end] = word.bias.to_bytes(word.size, "little", signed=True)
    for field in fields:
        low, high = _stored_range(field)
        for name, at in field.places():
            value = values.get(name, field.bias)
            if not low <= value <= high:
                raise ValueError(f"{name} stores {low} to {high} ({field.size} bytes), so not {value}")
            raw[at : at + field.size] = value.to_bytes(field.size, "little", signed=field.signed)
    return bytes(raw)


def encode(layout: Layout, values: Mapping[str, int], *, order: int, hugetlb: bool = False) -> bytes:
    """The bytes of a folio with these natural values, as `decode` gives them; what is not named is 0.

    Raises ValueError as `encode_raw` does, in natural values.
    """
    fields = layout.fields_of(order, hugetlb)
    names = [name for field in fields for name, _ in field.places()]
    flags = [flag for field in fields for flag in field.top_bits]
    _known(layout, values, names + flags, order, hugetlb)
    stored: dict[str, int] = {}
    for field in fields:
        low, high = (bound - field.bias for bound in _stored_range(field))
        if field.top_bits:
            high >>= 1
        for i, (name, _) in enumerate(field.places()):
            value = values.get(name, 0)
            if not low <= value <= high:
                raise ValueError(f"{name} holds {low} to {high} ({field.size} bytes), so not {value}")
            stored[name] = value + field.bias
            if field.top_bits:
                flag = values.get(field.top_bits[i], 0)
                if flag not in (0, 1):
                    raise ValueError(f"{field.top_bits[i]} is one bit, so not {flag}")
                stored[name] |= flag << (8 * field.size - 1)
    return encode_raw(layout, stored, order=order, hugetlb=hugetlb)


def page_mapcounts(layout: Layout, raw: bytes, nr_pages: int) -> list[int]:
    """The natural `_mapcount` of each of the folio's `nr_pages` pages, from all its `struct page`s.

    Raises ValueError where pages keep none (large folios without PAGE_MAPCOUNT) and if `raw` is too short.
    """
    if nr_pages > 1 and not layout.flavour.page_mapcounts:
        raise ValueError(f"{layout.flavour} keeps no _mapcount for the pages of a large folio")
    _need(layout, raw, nr_pages * layout.sizeof_page, f"{nr_pages} pages")
    field = layout.field("_mapcount")
    starts = range(field.offset, nr_pages * layout.sizeof_page, layout.sizeof_page)
    return [int.from_bytes(raw[at : at + 4], "little", signed=True) - field.bias for at in starts]


def _need(layout: Layout, raw: bytes, needed: int, what: str) -> None:
    if len(raw) < needed:
        raise ValueError(
            f"{what} of {layout.flavour} needs {needed} bytes "
            f"({needed // layout.sizeof_page} x {layout.sizeof_page}-byte struct page), got {len(raw)}"
        )


def _known(layout: Layout, given: Mapping[str, int], names: Sequence[str], order: int, hugetlb: bool) -> None:
    for name in given:
        if name not in names:
            what = f"order-{order} hugetlb folio" if hugetlb else f"order-{order} folio"
            raise ValueError(f"an {what} of {layout.flavour} has no {name}; it has {', '.join(names)}")


def _stored_range(field: Field) -> tuple[int, int]:
    """The lowest and highest value one part of the field can store."""
    bits = 8 * field.size
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if field.signed else (0, (1 << bits) - 1)


# --- the room check ------------------------------------------------------------------------------------


class ProblemKind(StrEnum):
    """The ways a layout can be impossible."""

    OVERLAP = "overlap"
    """Two fields that one folio can have share bytes."""
    OWN_WORD = "own-word"
    """A field lies on a tail page's flags, head, `_mapcount` or `_refcount`."""
    ROOM = "room"
    """A field lies in a page that the smallest folio in need of it does not have."""
    BEYOND = "beyond"
    """A field ends after the end of `struct folio`."""
    MISALIGNED = "misaligned"
    """A field does not start at a multiple of its own size, so it cannot be updated atomically."""
    MISSING = "missing"
    """The flavour keeps a counter for which some folio has no field."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which a layout cannot work: which field, what it has, what it should have."""

    kind: ProblemKind
    field: str
    has: str
    should: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.field} has {self.has}; it should have {self.should}"


def needs(flavour: Flavour) -> dict[str, int]:
    """What this flavour must be able to keep, by name: the smallest order of a folio that needs it.

    From mechanism, section 2: what counts mappings is needed from order 1 on. PMD mappings and pins must be
    counted from order 2 on (section 8: order-1 folios on 32-bit have neither count).
    """
    kept = {"_refcount": 0, "_mapcount": 0, "_large_mapcount": 1, "_pincount": 2}
    if flavour.page_mapcounts:
        kept["_nr_pages_mapped"] = 1
    if flavour.owner_slots:
        kept |= {"_mm_id_mapcount": 1, "_mm_id": 1}
    if flavour.entire_mapcount:
        kept["_entire_mapcount"] = 2
    if flavour.total_mapped_pages:
        kept["_total_mapped_pages"] = 1
    return kept


def problems(layout: Layout) -> list[Problem]:
    """Everything that makes this layout impossible, by kind; an empty list means that it can work.

    The rules are those of `mapcount.tracking.layouts`; no layout that comes with this package breaks one.
    """
    return [
        *_overlaps(layout),
        *_own_words(layout),
        *_out_of_room(layout),
        *_misaligned(layout),
        *_missing(layout),
    ]


def _overlaps(layout: Layout) -> Iterator[Problem]:
    for a, b in combinations(layout.fields, 2):
        if a.overlaps(b) and a.meets(b):
            has = f"bytes {b.span}, and {a.name} of the same folio has {a.span}"
            yield Problem(ProblemKind.OVERLAP, b.name, has, "bytes of its own")


def _own_words(layout: Layout) -> Iterator[Problem]:
    for page in range(1, layout.pages):
        for word in layout.own_words(page):
            for field in layout.fields:
                if field.overlaps(word):
                    has = f"bytes {field.span}, on page {page}'s own {word.name} ({word.span})"
                    yield Problem(ProblemKind.OWN_WORD, field.name, has, "bytes that page leaves free")


def _out_of_room(layout: Layout) -> Iterator[Problem]:
    needed = needs(layout.flavour)
    for field in layout.fields:
        order = min(field.min_order, needed.get(field.name, field.min_order))
        if field.end > layout.sizeof_folio:
            has = f"bytes {field.span} of a struct folio of {layout.sizeof_folio}"
            yield Problem(ProblemKind.BEYOND, field.name, has, f"its end at {layout.sizeof_folio} or before")
        elif field.end > layout.size_of(order):
            has = f"bytes {field.span}, in page {(field.end - 1) // layout.sizeof_page}"
            pages = "page 0" if order == 0 else f"pages 0-{(1 << order) - 1}"
            yield Problem(ProblemKind.ROOM, field.name, has, f"bytes in {pages}, all that order {order} has")


def _misaligned(layout: Layout) -> Iterator[Problem]:
    for field in layout.fields:
        if field.offset % field.size:
            has = f"{field.size} bytes at {field.offset}"
            yield Problem(ProblemKind.MISALIGNED, field.name, has, f"an offset that {field.size} divides")


def _missing(layout: Layout) -> Iterator[Problem]:
    for name, order in needs(layout.flavour).items():
        fields = [f for f in layout.fields if f.name == name]
        misplaced = any(f.end > layout.size_of(order) for f in fields)  # the room check's to report
        if not misplaced and not any(f.is_in(order) for f in fields):
            has = f"no field in an order-{order} folio"
            yield Problem(ProblemKind.MISSING, name, has, f"one, because {layout.flavour} keeps it")


# --- before and after ----------------------------------------------------------------------------------


class ChangeKind(StrEnum):
    """What became of a field from one layout to another."""

    SAME = "same"
    MOVED = "moved"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one field. `before` and `after` are the field in each layout, None where it has none."""

    kind: ChangeKind
    before: Field | None
    after: Field | None


RENAMED = {"_folio_nr_pages": "_nr_pages"}
"""Fields that kept their meaning and changed their name (mechanism, section 8)."""


def changes(before: Layout, after: Layout) -> list[Change]:
    """What became of every field from `before` to `after`: first those of `before`, then the new ones."""
    new = {f.name: f for f in after.fields}
    found = []
    for old in before.fields:
        now = new.pop(old.name, None) or new.pop(RENAMED.get(old.name, ""), None)
        if now is None:
            kind = ChangeKind.GONE
        else:
            kind = ChangeKind.SAME if now.offset == old.offset else ChangeKind.MOVED
        found.append(Change(kind, old, now))
    return found + [Change(ChangeKind.NEW, None, field) for field in new.values()]


def usable_bytes(layout: Layout, page: int = 1) -> tuple[int, int]:
    """How many bytes of tail page `page` fields use, and how many there are beside the page's own words."""
    start = page * layout.sizeof_page
    used = {
        b for f in layout.fields for b in range(f.offset, f.end) if start <= b < start + layout.sizeof_page
    }
    return len(used), layout.sizeof_page - sum(word.size for word in layout.own_words(page))
