"""From raw bytes to natural counts: what the core encodes, the live side decodes, whatever the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.live.btf import Btf, BtfError
from mapcount.live.folio_layout import FolioLayout
from mapcount.live.snapshot import UNKNOWN
from mapcount.tracking.flavour import FLAVOURS, PAGE_MAPCOUNT, V6_14
from mapcount.tracking.layout import encode, encode_raw, layout_of

from .btf_file import PAGE_FLAGS, BtfFile, btf_of
from .fake_memory import HEAD

LAYOUTS = [layout_of(flavour.on(bits)) for flavour in FLAVOURS.values() for bits in (64, 32)]


def _of(layout: Any, **types: Any) -> FolioLayout:
    return FolioLayout.of(Btf(btf_of(layout, **types), "fake.btf"))


def _decode(found: FolioLayout, data: bytes, readable: bool = True) -> dict[str, Any]:
    """One folio's counters by name."""
    raw = np.frombuffer(data.ljust(found.dtype.itemsize, b"\0")[: found.dtype.itemsize], np.uint8)
    columns = found.decode(raw[None, :].copy(), np.array([readable]))
    return {name: getattr(columns, name)[0].tolist() for name in columns.__slots__}


COUNTED = {
    "large_mapcount": "_large_mapcount",
    "entire_mapcount": "_entire_mapcount",
    "nr_pages_mapped": "_nr_pages_mapped",
    "total_mapped_pages": "_total_mapped_pages",
    "pincount": "_pincount",
    "refcount": "_refcount",
}
"""Columns that are one field each."""


@given(st.data())
def test_what_the_core_encodes(data: st.DataObject) -> None:
    """Every counter of every layout, 64 and 32 bits, decodes to the natural value that was encoded."""
    layout = data.draw(st.sampled_from(LAYOUTS))
    order = data.draw(st.integers(1, 10))
    names = {field.name for field in layout.fields_of(order)}
    small = st.integers(0, 0x7FFF)
    values = {field: data.draw(small) for field in COUNTED.values() if field in names}
    expected = {column: values.get(field, UNKNOWN) for column, field in COUNTED.items()}
    values["flags"] = HEAD
    if layout.flavour.owner_slots:
        ids, counts, shared = data.draw(
            st.tuples(st.tuples(small, small), st.tuples(small, small), st.booleans())
        )
        values |= {"_mm_id[0]": ids[0], "_mm_id[1]": ids[1], "mm_ids_shared": int(shared)}
        values |= {"_mm_id_mapcount[0]": counts[0], "_mm_id_mapcount[1]": counts[1]}
        values["mm_ids_lock"] = data.draw(st.integers(0, 1))
        expected |= {"mm_id": list(ids), "mm_id_mapcount": list(counts), "shared": int(shared)}
    else:
        expected |= {"mm_id": [UNKNOWN] * 2, "mm_id_mapcount": [UNKNOWN] * 2, "shared": UNKNOWN}
    values |= {name: 1 << order for name in ("_nr_pages", "_folio_nr_pages") if name in names}
    raw = bytearray(encode(layout, values, order=order))
    raw[layout.sizeof_page] = order  # the lowest byte of the second page's flags
    found = _decode(_of(layout), bytes(raw))
    assert {"ok": True, "order": order, "anon": 0, "hugetlb": 0, **expected} == {
        name: found[name] for name in ("ok", "order", "anon", "hugetlb", *expected)
    }


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: str(layout.flavour))
def test_a_new_folio_is_zero(layout: Any) -> None:
    """A folio that nobody maps has 0 everywhere it has a counter: the bias is gone."""
    raw = bytearray(encode(layout, {"flags": HEAD}, order=2))
    raw[layout.sizeof_page] = 2  # the order, where no field tells the size
    counts = _decode(_of(layout, without=["_nr_pages", "_folio_nr_pages"]), bytes(raw))
    names = {field.name for field in layout.fields_of(2)}
    assert {column: 0 if field in names else UNKNOWN for column, field in COUNTED.items()} == {
        column: counts[column] for column in COUNTED
    }


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: str(layout.flavour))
def test_small_folios(layout: Any) -> None:
    """A small folio has references and its page's own mapcount; what lies behind it is another's."""
    raw = encode(layout, {"_mapcount": 3, "_refcount": 5, "mapping": 0x1001}, order=0) + b"\x55" * 512
    counts = _decode(_of(layout), raw)
    assert (True, 0, 1, 5, 3) == tuple(
        counts[n] for n in ("ok", "order", "anon", "refcount", "large_mapcount")
    )
    large_only = (
        "entire_mapcount",
        "nr_pages_mapped",
        "entirely_mapped",
        "pincount",
        "shared",
        "partially_mapped",
    )
    assert {UNKNOWN} == {counts[name] for name in large_only}
    assert [UNKNOWN] * 2 == counts["mm_id"]


def test_entirely_mapped_shares_a_word() -> None:
    """The flag in `_nr_pages_mapped` comes apart from the pages."""
    layout = layout_of(PAGE_MAPCOUNT)
    values = {"flags": HEAD, "_nr_pages": 512, "_nr_pages_mapped": 0x800000 + 7}
    counts = _decode(_of(layout), encode(layout, values, order=9))
    assert (7, 1) == (counts["nr_pages_mapped"], counts["entirely_mapped"])


def test_partially_mapped_is_a_flag_of_the_second_page() -> None:
    """The mark of a folio on the split queue; UNKNOWN in kernels without it."""
    layout = layout_of(PAGE_MAPCOUNT)
    raw = bytearray(encode(layout, {"flags": HEAD, "_nr_pages": 512}, order=9))
    found = _of(layout)
    assert 0 == _decode(found, bytes(raw))["partially_mapped"]
    raw[layout.sizeof_page + 2] |= 1 << (PAGE_FLAGS["PG_partially_mapped"] - 16)
    assert 1 == _decode(found, bytes(raw))["partially_mapped"]
    del found.flags["PG_partially_mapped"]
    assert UNKNOWN == _decode(found, bytes(raw))["partially_mapped"]


def test_a_hugetlb_folio_has_its_type() -> None:
    """hugetlb is a page type, which is no mapcount."""
    layout = layout_of(PAGE_MAPCOUNT)
    raw = bytearray(encode(layout, {"flags": HEAD, "_nr_pages": 512, "_refcount": 1}, order=9, hugetlb=True))
    raw[48:52] = (0xF4000000).to_bytes(4, "little")
    found = _of(layout)
    assert (1, True) == tuple(_decode(found, bytes(raw))[name] for name in ("hugetlb", "ok"))
    found.types.clear()
    assert UNKNOWN == _decode(found, bytes(raw))["hugetlb"]


def test_a_typed_page_is_not_mapped() -> None:
    """A small page with a type, a page table say, has no mapcount: nobody maps it."""
    layout = layout_of(PAGE_MAPCOUNT)
    raw = encode_raw(layout, {"_mapcount": 0xF2000000 - (1 << 32)}, order=0)
    assert 0 == _decode(_of(layout), raw)["large_mapcount"]


@pytest.mark.parametrize("nr_pages", [0, 3, 1000, 0xFFFFFFFF])
def test_no_folio_of_a_strange_size(nr_pages: int) -> None:
    """A size that is no power of two belongs to no folio."""
    layout = layout_of(PAGE_MAPCOUNT)
    counts = _decode(_of(layout), encode_raw(layout, {"flags": HEAD, "_nr_pages": nr_pages}, order=9))
    assert not counts["ok"]
    assert {UNKNOWN} == {counts[name] for name in (*COUNTED, "order", "shared", "anon", "hugetlb")}


def test_unreadable_is_unknown() -> None:
    """What could not be read is UNKNOWN in every column."""
    counts = _decode(_of(layout_of(PAGE_MAPCOUNT)), bytes(128), readable=False)
    assert {"ok": False} == {k: v for k, v in counts.items() if v not in (UNKNOWN, [UNKNOWN] * 2)}


def test_order_one_on_32_bits_has_no_third_page() -> None:
    """An order-1 folio does not have the counters that lie in page 2."""
    layout = layout_of(PAGE_MAPCOUNT.on(32))
    raw = bytearray(encode(layout, {"flags": HEAD, "_large_mapcount": 2}, order=1) + b"\x22" * 64)
    raw[layout.sizeof_page] = 1
    counts = _decode(_of(layout), bytes(raw))
    assert (1, 2, 0) == tuple(counts[name] for name in ("order", "large_mapcount", "nr_pages_mapped"))
    assert (UNKNOWN, UNKNOWN) == tuple(counts[name] for name in ("entire_mapcount", "pincount"))


@pytest.mark.parametrize("missing", ["_refcount", "_mapcount", "flags", "_flags_1"])
def test_types_that_lack_what_is_needed(missing: str) -> None:
    """Without a field that every folio needs, the kernel's types are refused with its name."""
    with pytest.raises(BtfError, match=f"fake.btf: struct folio has no member {missing}"):
        _of(layout_of(V6_14), without=[missing])


@pytest.mark.parametrize("bit", [None, -1, 64])
def test_types_without_large_folios(monkeypatch: pytest.MonkeyPatch, bit: int | None) -> None:
    """Types without the mark of large folios, or with an impossible one, are refused."""
    monkeypatch.setitem(PAGE_FLAGS, "PG_head" if bit is not None else "PG_other", bit or 0)
    if bit is None:
        monkeypatch.delitem(PAGE_FLAGS, "PG_head")
    with pytest.raises(BtfError, match=r"fake.btf: enum pageflags has no PG_head"):
        _of(layout_of(PAGE_MAPCOUNT))


def test_types_of_another_shape() -> None:
    """Slots that are not two, or a counter that is many, are refused."""
    file = BtfFile()
    long, number = file.int("long unsigned int", 8), file.int("int", 4, True)
    words = [
        ("flags", long, 0),
        ("mapping", long, 64),
        ("_mapcount", number, 128),
        ("_refcount", number, 160),
    ]
    file.struct("folio", 64, [*words, ("_flags_1", long, 192), ("_mm_id", file.array(number, 3), 256)])
    file.struct("page", 64, [("flags", long, 0)])
    file.enum("pageflags", PAGE_FLAGS)
    with pytest.raises(BtfError, match=r"_mm_id of struct folio is not 2 number\(s\)"):
        FolioLayout.of(Btf(file.bytes(), "fake.btf"))
