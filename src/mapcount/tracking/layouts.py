"""Where each field of `struct folio` lies, in each flavour, on 64 and on 32 bits: the facts.

`struct folio` is not a structure of its own. It is laid over the `struct page`s of the folio's first
pages: page 0 (the head) and, in large folios, pages 1, 2 and 3 (tails). The rules of that game
(mechanism, section 8):

1. A folio of order N has 2^N pages, so whatever an order-1 folio needs must lie in pages 0 and 1.
2. A tail page keeps its *own words*: its flags (word 0), the pointer to its head (word 1), its
   4-byte `_mapcount` and its 4-byte `_refcount`. No field of the folio may lie on them.
3. Fields of folios that can never be the same folio may share bytes (hugetlb's and the split queue's).

Two machines are declared:

| bits | `struct page` | assumes |
|---|---|---|
| 64 | 64 bytes | x86-64, memcg on |
| 32 | 32 bytes | x86-32, memcg off: the tightest case, four free words in a tail page |

Each field says how we know its place (`Source`). All offsets and sizes are in bytes from the folio's
start; words are little-endian. `mapcount.tracking.layout` decodes, encodes and checks these tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from mapcount.tracking.flavour import Flavour


class Source(StrEnum):
    """How we know a field's place."""

    BTF = "btf"
    """Read from the type information of a running kernel: Linux 6.18, x86-64, memcg on."""
    MECHANISM = "mechanism"
    """Mechanism, section 8: gathered from a kernel that is not at hand."""
    DERIVED = "derived"
    """Follows from mechanism section 8's statements and the width of a word; not seen in a kernel."""
    PROPOSED = "proposed"
    """Mechanism, section 9: what is kept was proposed, the place is our choice; no kernel has it."""


class Only(Enum):
    """Which folios of the right order a field is for."""

    ANY = "any"
    NOT_HUGETLB = "not hugetlb"
    HUGETLB = "hugetlb"


ARRAY_OF_2 = ("[0]", "[1]")
LIST_HEAD = (".next", ".prev")
MM_IDS_BITS = ("mm_ids_lock", "mm_ids_shared")
"""The flags in the top bits of `_mm_id[0]` and `_mm_id[1]`: the slots' bit spinlock, and the shared flag."""


@dataclass(frozen=True, slots=True)
class Field:
    """One member of `struct folio`: where it is, how it is stored, and which folios have it.

    `offset`: bytes from the folio's start. `size`: bytes of one part. `parts`: suffixes of its parts,
    one after another (`("[0]", "[1]")` for an array), `("",)` for a plain field.
    `bias`: what storing adds, so stored = natural + bias: -1 for `_mapcount`, `_large_mapcount`,
    `_entire_mapcount` and `_mm_id_mapcount[]`, else 0 (mechanism, opening).
    `top_bits`: one name per part if the top bit of each part is a flag of that name (mechanism, section 3).
    `min_order`, `max_order`, `only`: the folios that have the field (`max_order` None: no upper limit).
    """

    name: str
    offset: int
    size: int
    source: Source
    parts: tuple[str, ...] = ("",)
    signed: bool = False
    bias: int = 0
    top_bits: tuple[str, ...] = ()
    min_order: int = 0
    max_order: int | None = None
    only: Only = Only.ANY

    @property
    def count(self) -> int:
        """How many parts: 2 for an array of two, 1 for a plain field."""
        return len(self.parts)

    @property
    def end(self) -> int:
        """The offset of the first byte after the field."""
        return self.offset + self.size * self.count

    @property
    def label(self) -> str:
        """The name as one declares it: `_mm_id[2]` for an array."""
        return f"{self.name}[{self.count}]" if self.parts == ARRAY_OF_2 else self.name

    @property
    def span(self) -> str:
        """The bytes it covers, first and last, for messages: `88-91`."""
        return f"{self.offset}-{self.end - 1}"

    def places(self) -> Iterator[tuple[str, int]]:
        """Each part's name and offset: `("_mm_id[0]", 104), ("_mm_id[1]", 108)`."""
        for i, part in enumerate(self.parts):
            yield self.name + part, self.offset + i * self.size

    def is_in(self, order: int, hugetlb: bool = False) -> bool:
        """Does a folio of this order have the field?"""
        if order < self.min_order or (self.max_order is not None and order > self.max_order):
            return False
        return self.only is Only.ANY or hugetlb == (self.only is Only.HUGETLB)

    def overlaps(self, other: Field) -> bool:
        """Do the two cover a common byte?"""
        return self.offset < other.end and other.offset < self.end

    def meets(self, other: Field) -> bool:
        """Can one folio have both fields?"""
        if self.only is not other.only and Only.ANY not in (self.only, other.only):
            return False
        lowest_end = min((f.max_order for f in (self, other) if f.max_order is not None), default=None)
        return lowest_end is None or max(self.min_order, other.min_order) <= lowest_end


@dataclass(frozen=True, slots=True)
class Layout:
    """`struct folio` of one flavour: its fields, and the size of the structures in bytes."""

    flavour: Flavour
    sizeof_page: int
    sizeof_folio: int
    fields: tuple[Field, ...]
    assumes: str

    @property
    def word(self) -> int:
        """Bytes in one machine word: 8 or 4."""
        return self.flavour.bits // 8

    @property
    def pages(self) -> int:
        """How many `struct page`s a `struct folio` covers."""
        return self.sizeof_folio // self.sizeof_page

    def field(self, name: str) -> Field:
        """The field of that name. Raises KeyError if this flavour keeps none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"struct folio of {self.flavour} has no {name}")

    def fields_of(self, order: int, hugetlb: bool = False) -> tuple[Field, ...]:
        """The fields a folio of this order has, by offset."""
        return tuple(f for f in self.fields if f.is_in(order, hugetlb))

    def size_of(self, order: int) -> int:
        """Bytes of `struct folio` that belong to a folio of this order: no more pages than it has."""
        if order < 0:
            raise ValueError(f"a folio's order is 0 or more, not {order}")
        return min(self.sizeof_folio, self.sizeof_page << order)

    def own_words(self, page: int) -> tuple[Field, ...]:
        """The words of tail page `page` (1, 2, 3 …) that must stay the page's own (rule 2 above).

        Named as `struct folio` names page 1's: `_flags_1`, `_head_1`, `_mapcount_1`, `_refcount_1`.
        """
        base, word, mapcount = page * self.sizeof_page, self.word, 6 * self.word
        seen = Source.BTF if self.flavour.owner_slots else Source.MECHANISM
        source, order = seen if self.flavour.bits == 64 else Source.DERIVED, page.bit_length()
        return (
            Field(f"_flags_{page}", base, word, source, min_order=order),
            Field(f"_head_{page}", base + word, word, source, min_order=order),
            Field(f"_mapcount_{page}", base + mapcount, 4, source, signed=True, bias=-1, min_order=order),
            Field(f"_refcount_{page}", base + mapcount + 4, 4, source, signed=True, min_order=order),
        )


def _head_page(word: int, source: Source, page_mapcounts: bool) -> list[Field]:
    """Page 0. The members are the words of a plain `struct page`; each is one word except the counts.

    A large folio's head keeps its own `_mapcount` only where pages keep theirs (mechanism, section 2).
    """
    unsaid = Source.DERIVED if source is Source.MECHANISM else source  # section 8 names only the others
    return [
        Field("flags", 0, word, source),
        Field("lru", word, word, unsaid, LIST_HEAD),
        Field("mapping", 3 * word, word, unsaid),
        Field("index", 4 * word, word, unsaid),
        Field("private", 5 * word, word, unsaid),
        Field(
            "_mapcount",
            6 * word,
            4,
            source,
            signed=True,
            bias=-1,
            max_order=None if page_mapcounts else 0,
            only=Only.NOT_HUGETLB,
        ),
        Field("_refcount", 6 * word + 4, 4, source, signed=True),
    ]


def _counter(name: str, offset: int, source: Source, min_order: int = 1) -> Field:
    """A 4-byte counter of large folios, stored minus one."""
    return Field(name, offset, 4, source, signed=True, bias=-1, min_order=min_order)


def _plain(name: str, offset: int, source: Source, min_order: int = 1, only: Only = Only.ANY) -> Field:
    """A 4-byte counter of large folios, stored as it is."""
    return Field(name, offset, 4, source, signed=True, min_order=min_order, only=only)


def _slots(offset: int, size: int, source: Source) -> list[Field]:
    """The two owner slots: counts, then ids. The ids are one word together, `_mm_ids` (section 3)."""
    counts = Field("_mm_id_mapcount", offset, size, source, ARRAY_OF_2, signed=True, bias=-1)
    ids = Field("_mm_id", counts.end, size, source, ARRAY_OF_2, top_bits=MM_IDS_BITS)
    return [replace(field, min_order=1, only=Only.NOT_HUGETLB) for field in (counts, ids)]


def _list_and_hugetlb(deferred_list: int, hugetlb: int, word: int, source: Source) -> list[Field]:
    """The split queue's list head (never hugetlb) and hugetlb's four words, in pages 2 and up."""
    names = ("_hugetlb_subpool", "_hugetlb_cgroup", "_hugetlb_cgroup_rsvd", "_hugetlb_hwpoison")
    queue = Field(
        "_deferred_list", deferred_list, word, source, LIST_HEAD, min_order=2, only=Only.NOT_HUGETLB
    )
    return [queue] + [
        Field(name, hugetlb + i * word, word, source, min_order=2, only=Only.HUGETLB)
        for i, name in enumerate(names)
    ]


def _v6_14_64() -> list[Field]:
    s = Source.MECHANISM
    return [
        *_head_page(8, s, page_mapcounts=True),
        Field("memcg_data", 56, 8, Source.DERIVED),
        _counter("_large_mapcount", 80, s),
        _counter("_entire_mapcount", 84, s),
        _plain("_nr_pages_mapped", 88, s, only=Only.NOT_HUGETLB),
        _plain("_pincount", 92, s),
        Field("_folio_nr_pages", 96, 4, s, min_order=1),
        *_list_and_hugetlb(144, 144, 8, s),
    ]


def _v6_14_32() -> list[Field]:
    """Before 6.15 four counts fill page 1 to the last byte; `_folio_nr_pages` is 64-bit only (article)."""
    s = Source.DERIVED
    return [
        *_head_page(4, s, page_mapcounts=True),
        _counter("_large_mapcount", 40, s),
        _counter("_entire_mapcount", 44, s),
        _plain("_nr_pages_mapped", 48, s, only=Only.NOT_HUGETLB),
        _plain("_pincount", 52, s),
        *_list_and_hugetlb(72, 72, 4, s),
    ]


def _v6_15_64(flavour: Flavour) -> list[Field]:
    """Linux 6.15 and later. NO_PAGE_MAPCOUNT keeps no `_nr_pages_mapped`: bytes 84-87 go unused.

    `_total_mapped_pages` (section 9) is an unsigned long by its proposal's description, so 8 bytes here.
    With the slots, `_large_mapcount` and `_nr_pages` where they are, 88 is the only aligned place for it, and
    `_pincount` moves beside `_large_mapcount`: the two fields that go make exactly this room.
    """
    s = Source.BTF
    fields = [
        *_head_page(8, s, flavour.page_mapcounts),
        Field("memcg_data", 56, 8, s),
        _counter("_large_mapcount", 80, s),
        *_slots(96, 4, s),
        Field("_nr_pages", 120, 4, s, min_order=1),
        *_list_and_hugetlb(144, 208, 8, s),
    ]
    if flavour.page_mapcounts:
        fields.append(_plain("_nr_pages_mapped", 84, s, only=Only.NOT_HUGETLB))
    if flavour.total_mapped_pages:
        fields.append(_plain("_pincount", 84, Source.PROPOSED))
        fields.append(Field("_total_mapped_pages", 88, 8, Source.PROPOSED, min_order=1))
    else:
        fields.append(_counter("_entire_mapcount", 88, s))
        fields.append(_plain("_pincount", 92, s))
    return fields


def _v6_15_32(flavour: Flavour) -> list[Field]:
    """Linux 6.15 and later: order-1 folios gave up `_entire_mapcount` and `_pincount` for the slots.

    `_total_mapped_pages` (section 9), a 4-byte unsigned long, takes the place of `_nr_pages_mapped`.
    """
    s = Source.DERIVED
    fields = [
        *_head_page(4, s, flavour.page_mapcounts),
        _counter("_large_mapcount", 40, s),
        *_slots(48, 2, s),
        _plain("_pincount", 84, s, min_order=2),
        *_list_and_hugetlb(72, 104, 4, s),
    ]
    if flavour.page_mapcounts:
        fields.append(_plain("_nr_pages_mapped", 44, s, only=Only.NOT_HUGETLB))
    if flavour.total_mapped_pages:
        fields.append(Field("_total_mapped_pages", 44, 4, Source.PROPOSED, min_order=1))
    else:
        fields.append(_counter("_entire_mapcount", 80, s, min_order=2))
    return fields


def layout_of(flavour: Flavour) -> Layout:
    """`struct folio` as this flavour lays it out on its machine (`flavour.bits`), fields by offset."""
    wide = flavour.bits == 64
    if flavour.owner_slots:
        fields, pages = _v6_15_64(flavour) if wide else _v6_15_32(flavour), 4
    else:
        fields, pages = _v6_14_64() if wide else _v6_14_32(), 3
    sizeof_page, assumes = (64, "x86-64, memcg on") if wide else (32, "x86-32, memcg off")
    by_offset = tuple(sorted(fields, key=lambda f: (f.offset, f.name)))
    return Layout(flavour, sizeof_page, pages * sizeof_page, by_offset, assumes)
