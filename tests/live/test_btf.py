"""BTF: the kernel's types, and files that are none."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.live.btf import VMLINUX, Btf, BtfError, Member
from mapcount.live.btf_records import Kind
from mapcount.live.folio_layout import FolioLayout
from mapcount.tracking.flavour import FLAVOURS, PAGE_MAPCOUNT
from mapcount.tracking.layout import layout_of

from .btf_file import PAGE_FLAGS, BtfFile, btf_of

NEEDS_BTF = pytest.mark.skipif(not Path(VMLINUX).exists(), reason=f"this kernel has no {VMLINUX}")


def _file() -> BtfFile:
    """A file with one of each kind that counts."""
    file = BtfFile()
    long, number, byte = file.int("long unsigned int", 8), file.int("int", 4, True), file.int("char", 1)
    atomic = file.typedef("atomic_t", file.struct("", 4, [("counter", number, 0)]))
    inner = file.struct("", 8, [("low", number, 0), ("high", number, 32)])
    either = file.struct("", 8, [("word", long, 0), ("", inner, 0)], Kind.UNION)
    const = file.add("", Kind.CONST, 0, atomic)
    rows = file.array(file.array(byte, 3), 2)
    file.struct(
        "thing",
        40,
        [
            ("pointer", file.pointer(long), 0),
            ("", either, 64),
            ("count", const, 128),
            ("rows", rows, 160),
            ("last", file.array(long, 0), 320),
        ],
    )
    file.bit_fields("bits", 4, [("a", number, 0, 3), ("b", number, 3, 10), ("c", byte, 24, 0)])
    file.enum("pageflags", PAGE_FLAGS)
    file.enum("signs", {"MINUS": -1, "PLUS": 1}, signed=True)
    file.enum64("large", {"HUGE": 1 << 40, "BELOW": -(1 << 40)}, signed=True)
    file.add("", Kind.FLOAT, 0, 8)
    file.add("f", Kind.FUNC, 0, file.add("", Kind.FUNC_PROTO, 1, number, 0, number))
    file.add("v", Kind.VAR, 0, number, 1)
    file.add(".data", Kind.DATASEC, 1, 8, 1, 0, 8)
    return file


SMALL = _file().bytes()


def thing(data: bytes = SMALL) -> Btf:
    """The types in bytes."""
    return Btf(data, "small.btf")


def test_members_have_their_places() -> None:
    """Members of anonymous structures and unions are members of the structure around them."""
    found = thing().struct("thing")
    assert 40 == found.size
    assert [
        Member("pointer", 0, 8),
        Member("word", 64, 8),
        Member("low", 64, 4, signed=True),
        Member("high", 96, 4, signed=True),
        Member("count", 128, 4, signed=True),
        Member("rows", 160, 1, 6),
        Member("last", 320, 8, 0),
    ] == list(found.members.values())
    assert (16, 20, 26) == (found.offset("count"), found["count"].end, found["rows"].end)


def test_bit_fields_have_a_width() -> None:
    """A structure with bit fields gives each member's first bit and width, ordinary members none."""
    found = thing().struct("bits")
    assert [(0, 3), (3, 10), (24, 0)] == [(m.bit_offset, m.bits) for m in found.members.values()]
    assert [1, 2, 4] == [m.end for m in found.members.values()]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pageflags", PAGE_FLAGS),
        ("signs", {"MINUS": -1, "PLUS": 1}),
        ("large", {"HUGE": 1 << 40, "BELOW": -(1 << 40)}),
    ],
)
def test_enumerators(name: str, values: dict[str, int]) -> None:
    """Values of 32 and of 64 bits, signed ones too."""
    assert values == thing().enumerators(name)
    assert thing().has_enum(name)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda b: b.struct("nothing"), "small.btf: has no struct nothing"),
        (lambda b: b.struct("pageflags"), "small.btf: has no struct pageflags"),
        (lambda b: b.enumerators("thing"), "small.btf: has no enum thing"),
        (lambda b: b.struct("thing").offset("depth"), "small.btf: struct thing has no member depth"),
        (lambda b: b.struct("bits").dtype(["a"], 4), "small.btf: a of struct bits is no plain number"),
    ],
)
def test_what_is_not_there_is_named(ask: object, message: str) -> None:
    """An error names the file, the structure and the member that it lacks."""
    with pytest.raises(BtfError) as error:
        ask(thing())  # type: ignore[operator]
    assert message == str(error.value)


def test_a_name_inside_of_another_is_not_taken() -> None:
    """Names are compared whole, and may share their end in the file."""
    file = BtfFile()
    file.struct("my_page", 4, [("a", file.int("int", 4), 0)])
    data = bytearray(file.bytes())
    with pytest.raises(BtfError, match="has no struct page"):
        thing(bytes(data)).struct("page")
    second = 24 + 4 * 4
    data[second : second + 4] = (file.name("my_page") + len("my_")).to_bytes(4, "little")
    assert ["a"] == list(thing(bytes(data)).struct("page").members)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is 0 bytes long, too short for BTF"),
        (b"\x7fELF" + bytes(60), "is no BTF (it begins with 0x457f, not 0xeb9f)"),
        (b"\xeb\x9f" + SMALL[2:], "is big-endian BTF; only little-endian is read here"),
        (_file().bytes(version=2), "is BTF version 2; only version 1 is known"),
        (SMALL[:-1], f"is truncated: it has {len(SMALL) - 1} bytes and promises more"),
        (SMALL[:-1] + b"x", "is corrupt: its sections are not where the header says"),
        (SMALL[:24] + b"\0\0\0\0\0\0\0\x1e" + SMALL[32:], "is corrupt: type 1 is of the unknown kind 30"),
        (SMALL[:24] + b"\0\0\0\0\xff\xff\0\x04" + SMALL[32:], "is corrupt: type 1 ends after the last byte"),
    ],
)
def test_files_that_are_none(data: bytes, message: str) -> None:
    """A file that is empty, foreign, truncated or corrupt is refused with its name and the reason."""
    with pytest.raises(BtfError) as error:
        thing(data)
    assert f"small.btf: {message}" == str(error.value)


def _in_circles() -> dict[str, BtfFile]:
    """Files whose types refer to themselves."""
    alias, array, inside, number, outside, func = (BtfFile() for _ in range(6))
    alias.struct("s", 8, [("m", 2, 0)])
    alias.typedef("t", 2)
    array.struct("s", 8, [("m", 2, 0)])
    array.array(2, 1)
    inside.struct("s", 8, [("", 1, 0)])
    number.struct("s", 8, [("m", 2, 0)])
    number.struct("t", 8, [("n", 2, 0)])
    outside.struct("s", 8, [("m", 99, 0)])
    func.struct("s", 8, [("m", 2, 0)])
    func.add("f", Kind.FUNC, 0, 1)
    return {
        "type 2 is an alias of itself": alias,
        "type 2 is an array of itself": array,
        "type 1 is inside itself": inside,
        "type 2 is inside itself": number,
        "it has no type 99": outside,
        "type 2 is a member, but a FUNC has no size": func,
    }


@pytest.mark.parametrize(("message", "file"), _in_circles().items())
def test_types_in_circles(message: str, file: BtfFile) -> None:
    """Types that refer to themselves are reported."""
    with pytest.raises(BtfError) as error:
        thing(file.bytes()).struct("s")
    assert f"small.btf: is corrupt: {message}" == str(error.value)


@pytest.mark.parametrize("name", ["m", ""])
def test_types_that_multiply(name: str) -> None:
    """Forty structures that each hold the next one twice are refused, with members inside or without."""
    file = BtfFile()
    for i in range(40):
        file.struct("s" if not i else "", 8, [("", i + 2, 0), ("", i + 2, 0)])
    file.struct("", 8, [(name, 42, 0)])
    file.int("int", 4)
    with pytest.raises(BtfError, match=r"has, all in all, more than \d+ members"):
        thing(file.bytes()).struct("s")


def test_a_member_after_the_end_is_refused() -> None:
    """A structure's members lie inside it."""
    file = BtfFile()
    file.struct("s", 8, [("m", 2, 40)])
    file.int("int", 4)
    with pytest.raises(BtfError, match="type 1 ends before its member 'm'"):
        thing(file.bytes()).struct("s")


def _ask_everything(data: bytes) -> None:
    try:
        types = thing(data)
        for name in ("thing", "bits", "folio", "page"):
            if types.has_struct(name):
                types.struct(name)
        types.enumerators("pageflags")
        FolioLayout.of(types)
    except BtfError as error:
        assert str(error).startswith("small.btf: ")  # noqa: PT017 - any error is fine that says where


FOLIOS = btf_of(layout_of(PAGE_MAPCOUNT))
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8)


@given(st.sampled_from([SMALL, FOLIOS]), CHANGES)
def test_any_bytes_changed_are_survived(file: bytes, changes: list[tuple[int, int]]) -> None:
    """Whatever bytes of a file are changed, the answer is an answer or a BtfError."""
    data = bytearray(file)
    for at, value in changes:
        data[at % len(data)] = value
    _ask_everything(bytes(data))


@given(st.integers(0, len(SMALL)), st.binary(max_size=64))
def test_any_cut_is_survived(end: int, more: bytes) -> None:
    """A file that ends early, or goes on as something else, is an answer or a BtfError."""
    _ask_everything(SMALL[:end] + more)


@pytest.mark.parametrize("name", FLAVOURS)
@pytest.mark.parametrize("bits", [64, 32])
def test_a_declared_layout_reads_back(name: str, bits: int) -> None:
    """The types written for a declared layout give each of its fields' places."""
    layout = layout_of(FLAVOURS[name].on(bits))
    folio = thing(btf_of(layout)).struct("folio")
    assert {f.name: (f.offset, f.end) for f in layout.fields} == {
        f.name: (folio[f.name].offset, folio[f.name].end) for f in layout.fields
    }


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing, or is a directory or a pipe, is named."""
    for path in (tmp_path, tmp_path / "none", Path("/dev/zero"), Path("a\0b")):
        with pytest.raises(BtfError, match="no such file"):
            Btf.read(str(path))


# -- the running kernel's -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vmlinux() -> bytes:
    """The running kernel's file."""
    return Path(VMLINUX).read_bytes()


@NEEDS_BTF
def test_the_kernels_own_types(vmlinux: bytes) -> None:
    """The running kernel's folio has what every kernel since 5.16 has, and page structs fit into it."""
    types = Btf(vmlinux, VMLINUX)
    folio, page = types.struct("folio"), types.struct("page")
    assert 8 == types.word
    assert 0 == folio.size % page.size
    assert page.offset("_mapcount") == folio.offset("_mapcount")
    assert types.enumerators("pageflags")["PG_head"] < 64


@NEEDS_BTF
def test_indexing_is_quick(vmlinux: bytes) -> None:
    """The whole kernel's types are ready in a fraction of a second, the best of three."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        Btf(vmlinux, VMLINUX).struct("folio")
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5


@NEEDS_BTF
@settings(max_examples=25)
@given(st.integers(0, 1 << 32))
def test_a_damaged_kernel_file_is_survived(seed: int) -> None:
    """The kernel's own file with some bytes changed, and cut somewhere, is an answer or a BtfError."""
    chance = random.Random(seed)
    data = bytearray(Path(VMLINUX).read_bytes())
    for _ in range(chance.choice([1, 10, 10_000])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    _ask_everything(bytes(data))
    _ask_everything(bytes(data[: chance.randrange(len(data))]))


def test_dtype_looks_at_raw_bytes() -> None:
    """A dtype reads members, arrays and signs from where they are."""
    dtype = thing(btf_of(layout_of(PAGE_MAPCOUNT))).struct("folio").dtype(["_mm_id_mapcount", "flags"], 128)
    assert 128 == dtype.itemsize
    assert dtype.fields is not None
    assert ((2,), "int32", 96) == (
        dtype.fields["_mm_id_mapcount"][0].shape,
        dtype.fields["_mm_id_mapcount"][0].base.name,
        dtype.fields["_mm_id_mapcount"][1],
    )
