"""Struct layouts: the declared facts, decoding and encoding, and the room check with its broken specimens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.tracking.flavour import (
    FLAVOURS,
    NO_PAGE_MAPCOUNT,
    PAGE_MAPCOUNT,
    TOTAL_MAPPED_PAGES,
    V6_14,
)
from mapcount.tracking.layout import (
    ChangeKind,
    Field,
    Layout,
    Only,
    Problem,
    ProblemKind,
    Source,
    changes,
    decode,
    decode_raw,
    encode,
    encode_raw,
    layout_of,
    page_mapcounts,
    problems,
    usable_bytes,
)

LAYOUTS = [layout_of(flavour.on(bits)) for flavour in FLAVOURS.values() for bits in (64, 32)]
EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: str(layout.flavour))

# Type information of Linux 6.18, x86-64, memcg on: offset and size of the whole member, in bytes.
BTF_6_18 = {
    "flags": (0, 8),
    "lru": (8, 16),
    "mapping": (24, 8),
    "index": (32, 8),
    "private": (40, 8),
    "_mapcount": (48, 4),
    "_refcount": (52, 4),
    "memcg_data": (56, 8),
    "_flags_1": (64, 8),
    "_head_1": (72, 8),
    "_large_mapcount": (80, 4),
    "_nr_pages_mapped": (84, 4),
    "_entire_mapcount": (88, 4),
    "_pincount": (92, 4),
    "_mm_id_mapcount": (96, 8),
    "_mm_id": (104, 8),
    "_mapcount_1": (112, 4),
    "_refcount_1": (116, 4),
    "_nr_pages": (120, 4),
    "_flags_2": (128, 8),
    "_head_2": (136, 8),
    "_deferred_list": (144, 16),
    "_flags_3": (192, 8),
    "_head_3": (200, 8),
    "_hugetlb_subpool": (208, 8),
    "_hugetlb_cgroup": (216, 8),
    "_hugetlb_cgroup_rsvd": (224, 8),
    "_hugetlb_hwpoison": (232, 8),
}


def own_words(layout: Layout) -> list[Field]:
    """The own words of all tail pages that `struct folio` covers."""
    return [word for page in range(1, layout.pages) for word in layout.own_words(page)]


# --- the facts -----------------------------------------------------------------------------------------


def test_page_mapcount_is_what_a_running_kernel_says() -> None:
    """Every member is where Linux 6.18's BTF has it (which names no counts of pages 2 and 3 apart)."""
    layout = layout_of(PAGE_MAPCOUNT)
    declared = {f.name: (f.offset, f.end - f.offset) for f in (*layout.fields, *own_words(layout))}
    unnamed = {f"_{what}_{page}" for what in ("mapcount", "refcount") for page in (2, 3)}
    assert {name: place for name, place in declared.items() if name not in unnamed} == BTF_6_18
    assert layout.sizeof_folio == 256
    assert {f.source for f in layout.fields} == {Source.BTF}


def test_no_page_mapcount_is_the_same_without_nr_pages_mapped() -> None:
    """The build without page mapcounts has the same places, and keeps no `_nr_pages_mapped`."""
    places = {f.name: f.offset for f in layout_of(NO_PAGE_MAPCOUNT).fields}
    assert {f.name: f.offset for f in layout_of(PAGE_MAPCOUNT).fields} == {**places, "_nr_pages_mapped": 84}


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("_large_mapcount", 80, 80),
        ("_entire_mapcount", 84, 88),
        ("_nr_pages_mapped", 88, 84),
        ("_pincount", 92, 92),
        ("_deferred_list", 144, 144),
        ("_hugetlb_subpool", 144, 208),
        ("_hugetlb_hwpoison", 168, 232),
    ],
)
def test_before_and_after_are_section_8s(name: str, before: int, after: int) -> None:
    """The offsets of mechanism section 8's table."""
    assert before == layout_of(V6_14).field(name).offset
    assert after == layout_of(PAGE_MAPCOUNT).field(name).offset


def test_number_of_pages_changed_its_name() -> None:
    """`_folio_nr_pages` at 96 became `_nr_pages` at 120; 32 bits without memcg have room for neither."""
    assert layout_of(V6_14).field("_folio_nr_pages").offset == 96
    assert layout_of(PAGE_MAPCOUNT).field("_nr_pages").offset == 120
    for flavour in (V6_14, PAGE_MAPCOUNT):
        assert not [f for f in layout_of(flavour.on(32)).fields if f.name.endswith("_nr_pages")]


@EVERY_LAYOUT
def test_own_words_follow_the_head_pages(layout: Layout) -> None:
    """A tail page keeps its flags, head, `_mapcount` and `_refcount` where any struct page has them."""
    for page in range(1, layout.pages):
        flags, head, mapcount, refcount = (
            w.offset - page * layout.sizeof_page for w in layout.own_words(page)
        )
        assert (0, layout.word) == (flags, head)
        assert (mapcount, refcount) == tuple(layout.field(n).offset for n in ("_mapcount", "_refcount"))


@EVERY_LAYOUT
def test_places_nobody_has_seen_say_so(layout: Layout) -> None:
    """32-bit places are derived, proposed ones are proposed, and neither claims a kernel's BTF."""
    sources = {f.source for f in layout.fields}
    if layout.flavour.bits == 32:
        assert sources <= {Source.DERIVED, Source.PROPOSED}
    assert (Source.PROPOSED in sources) == layout.flavour.total_mapped_pages


def test_order_1_on_32_bits_has_neither_entire_mapcount_nor_pincount() -> None:
    """Since 6.15, 32-bit order-1 folios have neither; order-2 folios have both, after the list head."""
    layout = layout_of(PAGE_MAPCOUNT.on(32))
    order_1 = {f.name for f in layout.fields_of(1)}
    assert not order_1 & {"_entire_mapcount", "_pincount"}
    assert layout.field("_entire_mapcount").offset == layout.field("_deferred_list").end
    assert {"_entire_mapcount", "_pincount"} <= {f.name for f in layout.fields_of(2)}
    assert {"_entire_mapcount", "_pincount"} <= {f.name for f in layout_of(V6_14.on(32)).fields_of(1)}


@pytest.mark.parametrize(("bits", "size"), [(64, 8), (32, 4)])
def test_total_mapped_pages_takes_the_room_of_the_two_that_go(bits: int, size: int) -> None:
    """`_total_mapped_pages` is a word that is stored as it is; the two counters it replaces are gone."""
    layout = layout_of(TOTAL_MAPPED_PAGES.on(bits))
    total = layout.field("_total_mapped_pages")
    assert (size, 0, False, 1) == (total.size, total.bias, total.signed, total.min_order)
    assert not {"_entire_mapcount", "_nr_pages_mapped"} & {f.name for f in layout.fields}


@EVERY_LAYOUT
def test_hugetlb_folios_have_no_slots(layout: Layout) -> None:
    """Folios of hugetlb have their own fields, but neither slots, `_nr_pages_mapped` nor a split queue."""
    names = {f.name for f in layout.fields_of(9, hugetlb=True)}
    assert "_hugetlb_cgroup" in names
    assert not names & {"_mm_id", "_mm_id_mapcount", "_nr_pages_mapped", "_deferred_list"}
    assert "_large_mapcount" in names


def test_field_says_which_name_is_unknown() -> None:
    """Asking for a field that the flavour does not keep names the field and the flavour."""
    with pytest.raises(KeyError, match=r"v6\.14/32 has no _mm_id"):
        layout_of(V6_14.on(32)).field("_mm_id")


# --- raw bytes and values ------------------------------------------------------------------------------


@st.composite
def folios(draw: st.DrawFn) -> tuple[Layout, int, bool, bytes]:
    """A layout, an order, hugetlb or not, and any bytes that are long enough for it."""
    layout, order, hugetlb = draw(st.sampled_from(LAYOUTS)), draw(st.integers(0, 10)), draw(st.booleans())
    size = layout.size_of(order)
    return layout, order, hugetlb, draw(st.binary(min_size=size, max_size=size + 9))


@given(folios())
def test_encode_gives_back_what_decode_read(folio: tuple[Layout, int, bool, bytes]) -> None:
    """Natural values and raw values both survive encoding and decoding."""
    layout, order, hugetlb, raw = folio
    natural = decode(layout, raw, order=order, hugetlb=hugetlb)
    assert natural == decode(
        layout, encode(layout, natural, order=order, hugetlb=hugetlb), order=order, hugetlb=hugetlb
    )
    stored = decode_raw(layout, raw, order=order, hugetlb=hugetlb)
    again = encode_raw(layout, stored, order=order, hugetlb=hugetlb)
    for field in layout.fields_of(order, hugetlb):
        assert raw[field.offset : field.end] == again[field.offset : field.end]


@given(folios(), st.data())
def test_only_a_folios_own_fields_are_looked_at(
    folio: tuple[Layout, int, bool, bytes], data: st.DataObject
) -> None:
    """Bytes outside the fields of its order change nothing."""
    layout, order, hugetlb, raw = folio
    used = {b for f in layout.fields_of(order, hugetlb) for b in range(f.offset, f.end)}
    noise = data.draw(st.binary(min_size=len(raw), max_size=len(raw)))
    other = bytes(raw[i] if i in used else noise[i] for i in range(len(raw)))
    assert decode(layout, raw, order=order, hugetlb=hugetlb) == decode(
        layout, other, order=order, hugetlb=hugetlb
    )


@EVERY_LAYOUT
@pytest.mark.parametrize("order", [0, 1, 2, 9])
def test_a_new_folio_is_all_zero(layout: Layout, order: int) -> None:
    """Nothing named encodes an unmapped folio: 0 in natural values, -1 stored in the biased counters."""
    raw = encode(layout, {}, order=order)
    assert set(decode(layout, raw, order=order).values()) == {0}
    biased = {"_mapcount", "_large_mapcount", "_entire_mapcount", "_mm_id_mapcount[0]", "_mm_id_mapcount[1]"}
    stored = decode_raw(layout, raw, order=order)
    assert {name: -1 if name in biased else 0 for name in stored} == stored


def test_decode_reads_bytes_as_a_kernel_stores_them() -> None:
    """A 16-page folio, mapped 16 times by mm 5 in slot 1 and 3 times unseen, as section 8 lays it out."""
    raw = bytearray(256)
    for offset, value in [(80, 18), (84, 16), (88, -1), (92, 0), (96, -1), (100, 15), (104, 0), (120, 16)]:
        raw[offset : offset + 4] = value.to_bytes(4, "little", signed=True)
    raw[108:112] = (5 | 1 << 31).to_bytes(4, "little")
    values = decode(layout_of(PAGE_MAPCOUNT), bytes(raw), order=4)
    expected = {
        "_large_mapcount": 19,
        "_nr_pages_mapped": 16,
        "_entire_mapcount": 0,
        "_pincount": 0,
        "_mm_id_mapcount[0]": 0,
        "_mm_id_mapcount[1]": 16,
        "_mm_id[0]": 0,
        "_mm_id[1]": 5,
        "mm_ids_lock": 0,
        "mm_ids_shared": 1,
        "_nr_pages": 16,
    }
    assert expected == {name: values[name] for name in expected}
    assert decode_raw(layout_of(PAGE_MAPCOUNT), bytes(raw), order=4)["_mm_id[1]"] == 5 | 1 << 31


@pytest.mark.parametrize(("bits", "lock", "shared"), [(64, 31, 63), (32, 15, 31)])
def test_flags_are_the_top_bits_of_the_ids(bits: int, lock: int, shared: int) -> None:
    """Of the word `_mm_ids`, bit 31 is the lock and bit 63 the shared flag; bits 15 and 31 on 32-bit."""
    layout = layout_of(NO_PAGE_MAPCOUNT.on(bits))
    ids = layout.field("_mm_id")
    for flag, bit in (("mm_ids_lock", lock), ("mm_ids_shared", shared)):
        raw = encode(layout, {flag: 1}, order=1)
        assert 1 << bit == int.from_bytes(raw[ids.offset : ids.end], "little")


@pytest.mark.parametrize("bits", [64, 32])
def test_slots_hold_what_the_flavour_says(bits: int) -> None:
    """The largest id and the largest slot count fit to the last value, and not one more."""
    flavour = PAGE_MAPCOUNT.on(bits)
    layout = layout_of(flavour)
    most = {"_mm_id[1]": flavour.max_mm_id, "_mm_id_mapcount[0]": flavour.max_slot_mapcount}
    assert most.items() <= decode(layout, encode(layout, most, order=1), order=1).items()
    for name, value in most.items():
        with pytest.raises(ValueError, match=rf"_mm_id.* holds .* to {value} .* not {value + 1}"):
            encode(layout, {name: value + 1}, order=1)


@pytest.mark.parametrize(
    ("bits", "order", "message"),
    [
        (64, 0, r"an order-0 folio of page-mapcount needs 64 bytes \(1 x 64-byte struct page\), got 63"),
        (64, 1, r"an order-1 folio of page-mapcount needs 128 bytes \(2 x 64-byte struct page\), got 127"),
        (64, 9, r"an order-9 folio of page-mapcount needs 256 bytes \(4 x 64-byte struct page\), got 255"),
        (32, 2, r"an order-2 folio of page-mapcount/32 needs 128 bytes \(4 x 32-byte struct page\), got 127"),
    ],
)
def test_short_input_is_refused(bits: int, order: int, message: str) -> None:
    """Too few bytes: the error says how many are needed and how many were given."""
    layout = layout_of(PAGE_MAPCOUNT.on(bits))
    with pytest.raises(ValueError, match=message):
        decode(layout, bytes(layout.size_of(order) - 1), order=order)


def test_encode_refuses_what_a_folio_does_not_have() -> None:
    """A name that no such folio has, a flag that is not a bit and an order below 0 are errors."""
    layout = layout_of(PAGE_MAPCOUNT.on(32))
    with pytest.raises(
        ValueError, match="an order-1 folio of page-mapcount/32 has no _pincount; it has flags"
    ):
        encode(layout, {"_pincount": 1}, order=1)
    with pytest.raises(ValueError, match=r"an order-9 hugetlb folio .* has no _mm_id\[0\]"):
        encode_raw(layout, {"_mm_id[0]": 1}, order=9, hugetlb=True)
    with pytest.raises(ValueError, match="mm_ids_shared is one bit, so not 2"):
        encode(layout, {"mm_ids_shared": 2}, order=1)
    with pytest.raises(ValueError, match="_pincount stores -2147483648 to 2147483647"):
        encode_raw(layout, {"_pincount": 1 << 31}, order=2)
    with pytest.raises(ValueError, match="0 or more, not -1"):
        encode(layout, {}, order=-1)


def test_page_mapcounts_reads_every_struct_page() -> None:
    """Each page's own natural count comes from its own struct page."""
    layout = layout_of(PAGE_MAPCOUNT)
    raw = bytearray(4 * 64)
    for page, stored in enumerate([-1, 0, 1, 6]):
        raw[page * 64 + 48 : page * 64 + 52] = stored.to_bytes(4, "little", signed=True)
    assert [0, 1, 2, 7] == page_mapcounts(layout, bytes(raw), 4)
    assert [0, 0, 0, 0] == page_mapcounts(layout, encode(layout, {}, order=2), 4)
    with pytest.raises(ValueError, match="8 pages of page-mapcount needs 512 bytes"):
        page_mapcounts(layout, bytes(raw), 8)


def test_page_mapcounts_are_not_kept_without_the_option() -> None:
    """NO_PAGE_MAPCOUNT keeps the count of a small folio's page, and none in large folios."""
    layout = layout_of(NO_PAGE_MAPCOUNT)
    assert [3] == page_mapcounts(layout, encode(layout, {"_mapcount": 3}, order=0), 1)
    assert "_mapcount" not in decode(layout, encode(layout, {}, order=1), order=1)
    with pytest.raises(ValueError, match="no-page-mapcount keeps no _mapcount"):
        page_mapcounts(layout, bytes(128), 2)


# --- the room check ------------------------------------------------------------------------------------


def with_field(layout: Layout, name: str, **changed: object) -> Layout:
    """The layout with one field changed."""
    fields = tuple(replace(f, **changed) if f.name == name else f for f in layout.fields)  # type: ignore[arg-type]
    return replace(layout, fields=fields)


AFTER = layout_of(PAGE_MAPCOUNT)
SPECIMENS = {
    "two counters on the same bytes": (
        with_field(AFTER, "_pincount", offset=88),
        Problem(
            ProblemKind.OVERLAP,
            "_pincount",
            "bytes 88-91, and _entire_mapcount of the same folio has 88-91",
            "bytes of its own",
        ),
    ),
    "the number of pages on page 1's _mapcount": (
        with_field(AFTER, "_nr_pages", offset=112),
        Problem(
            ProblemKind.OWN_WORD,
            "_nr_pages",
            "bytes 112-115, on page 1's own _mapcount_1 (112-115)",
            "bytes that page leaves free",
        ),
    ),
    "hugetlb on page 2's _refcount": (
        with_field(AFTER, "_hugetlb_cgroup", offset=180, size=4),
        Problem(
            ProblemKind.OWN_WORD,
            "_hugetlb_cgroup",
            "bytes 180-183, on page 2's own _refcount_2 (180-183)",
            "bytes that page leaves free",
        ),
    ),
    "hugetlb on page 3's flags": (
        with_field(AFTER, "_hugetlb_cgroup", offset=192),
        Problem(
            ProblemKind.OWN_WORD,
            "_hugetlb_cgroup",
            "bytes 192-199, on page 3's own _flags_3 (192-199)",
            "bytes that page leaves free",
        ),
    ),
    "the split queue on page 2's head": (
        with_field(AFTER, "_deferred_list", offset=136, parts=("",)),
        Problem(
            ProblemKind.OWN_WORD,
            "_deferred_list",
            "bytes 136-143, on page 2's own _head_2 (136-143)",
            "bytes that page leaves free",
        ),
    ),
    "the ids beyond an order-1 folio": (
        with_field(AFTER, "_mm_id", offset=160),
        Problem(
            ProblemKind.ROOM,
            "_mm_id",
            "bytes 160-167, in page 2",
            "bytes in pages 0-1, all that order 1 has",
        ),
    ),
    "the same, and said to be for order 2": (
        with_field(AFTER, "_mm_id", offset=160, min_order=2),
        Problem(
            ProblemKind.ROOM,
            "_mm_id",
            "bytes 160-167, in page 2",
            "bytes in pages 0-1, all that order 1 has",
        ),
    ),
    "a small folio's count in page 1": (
        with_field(AFTER, "memcg_data", offset=104, only=Only.HUGETLB),
        Problem(
            ProblemKind.ROOM,
            "memcg_data",
            "bytes 104-111, in page 1",
            "bytes in page 0, all that order 0 has",
        ),
    ),
    "hugetlb after the end": (
        with_field(AFTER, "_hugetlb_hwpoison", offset=256),
        Problem(
            ProblemKind.BEYOND,
            "_hugetlb_hwpoison",
            "bytes 256-263 of a struct folio of 256",
            "its end at 256 or before",
        ),
    ),
    "an odd half word": (
        with_field(AFTER, "_nr_pages", offset=122),
        Problem(ProblemKind.MISALIGNED, "_nr_pages", "4 bytes at 122", "an offset that 4 divides"),
    ),
    "no slots": (
        replace(AFTER, fields=tuple(f for f in AFTER.fields if f.name != "_mm_id_mapcount")),
        Problem(
            ProblemKind.MISSING,
            "_mm_id_mapcount",
            "no field in an order-1 folio",
            "one, because page-mapcount keeps it",
        ),
    ),
    "slots for order 2 only": (
        with_field(AFTER, "_mm_id_mapcount", min_order=2),
        Problem(
            ProblemKind.MISSING,
            "_mm_id_mapcount",
            "no field in an order-1 folio",
            "one, because page-mapcount keeps it",
        ),
    ),
}


@EVERY_LAYOUT
def test_every_layout_has_room(layout: Layout) -> None:
    """No layout that comes with the package has a problem."""
    assert [] == problems(layout)


@pytest.mark.parametrize("specimen", SPECIMENS)
def test_a_broken_layout_has_exactly_its_problem(specimen: str) -> None:
    """Each specimen is broken in one way, and the check reports that and nothing else."""
    layout, problem = SPECIMENS[specimen]
    assert [problem] == problems(layout)


def test_there_is_a_specimen_of_every_kind() -> None:
    """No kind of problem goes untested."""
    assert set(ProblemKind) == {problem.kind for _, problem in SPECIMENS.values()}


def test_a_problem_reads_as_a_sentence() -> None:
    """What is wrong with which field, what it has, what it should have."""
    _, problem = SPECIMENS["an odd half word"]
    assert "misaligned: _nr_pages has 4 bytes at 122; it should have an offset that 4 divides" == str(problem)


def test_the_order_1_room_is_why_fields_had_to_move() -> None:
    """With the slots put where 6.14 leaves room, and nothing moved, the order-1 folio does not fit."""
    before = layout_of(V6_14)
    slots = [AFTER.field("_mm_id_mapcount"), AFTER.field("_mm_id")]
    crowded = replace(before, flavour=PAGE_MAPCOUNT, fields=(*before.fields, *slots))
    assert {("overlap", "_mm_id_mapcount")} == {(p.kind, p.field) for p in problems(crowded)}


@given(
    st.sampled_from(LAYOUTS),
    st.integers(0, 30),
    st.integers(0, 300),
    st.sampled_from([Only.ANY, Only.HUGETLB, Only.NOT_HUGETLB]),
)
def test_the_check_agrees_with_a_look_at_every_byte(
    layout: Layout, which: int, offset: int, only: Only
) -> None:
    """Move any field anywhere: overlaps and own words are those that a map of bytes shows."""
    moved = layout.fields[which % len(layout.fields)]
    broken = with_field(layout, moved.name, offset=offset, only=only)
    by_kind = {kind: {p.field for p in problems(broken) if p.kind is kind} for kind in ProblemKind}

    own = {byte for word in own_words(layout) for byte in range(word.offset, word.end)}
    on_own = {f.name for f in broken.fields if own & set(range(f.offset, f.end))}
    assert on_own == by_kind[ProblemKind.OWN_WORD]

    crowded = False
    for order in range(4):
        for hugetlb in (False, True):
            covered = [b for f in broken.fields_of(order, hugetlb) for b in range(f.offset, f.end)]
            crowded |= len(covered) != len(set(covered))
    assert crowded == bool(by_kind[ProblemKind.OVERLAP])


# --- before and after ----------------------------------------------------------------------------------


def test_changes_names_what_became_of_each_field() -> None:
    """From 6.14 to 6.15 the slots are new, nothing is gone, and the rest moved or stayed."""
    found = changes(layout_of(V6_14), layout_of(PAGE_MAPCOUNT))
    by_kind = {kind: [(c.before or c.after).name for c in found if c.kind is kind] for kind in ChangeKind}  # type: ignore[union-attr]
    assert ["_mm_id_mapcount", "_mm_id"] == by_kind[ChangeKind.NEW]
    assert [] == by_kind[ChangeKind.GONE]
    assert {"_entire_mapcount", "_nr_pages_mapped", "_folio_nr_pages"} < set(by_kind[ChangeKind.MOVED])
    assert "_large_mapcount" in by_kind[ChangeKind.SAME]


def test_the_next_step_frees_two_and_adds_one() -> None:
    """From 6.15 to the proposal two counters go and one comes; only `_pincount` moves."""
    found = changes(layout_of(PAGE_MAPCOUNT), layout_of(TOTAL_MAPPED_PAGES))
    names = {(str(c.kind), (c.before or c.after).name) for c in found if c.kind is not ChangeKind.SAME}  # type: ignore[union-attr]
    assert names == {
        ("gone", "_entire_mapcount"),
        ("gone", "_nr_pages_mapped"),
        ("new", "_total_mapped_pages"),
        ("moved", "_pincount"),
    }


@pytest.mark.parametrize(("bits", "before", "after"), [(64, (20, 40), (36, 40)), (32, (16, 16), (16, 16))])
def test_how_full_page_1_is(bits: int, before: tuple[int, int], after: tuple[int, int]) -> None:
    """On 32 bits page 1 was full already, so as many bytes had to leave as the slots brought."""
    assert before == usable_bytes(layout_of(V6_14.on(bits)))
    assert after == usable_bytes(layout_of(PAGE_MAPCOUNT.on(bits)))
