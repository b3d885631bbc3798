"""Folios of kernels that a test made up, and real ones of processes that it started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.live import struct_folio
from mapcount.live.as_tracking import folio_of, layout_in
from mapcount.live.bpf_memory import BpfMemory
from mapcount.live.btf import VMLINUX, Btf
from mapcount.live.kernel import kernel_config, release, running_flavour
from mapcount.live.snapshot import I8, U64, UNKNOWN, CannotHere
from mapcount.live.struct_folio import FolioReader, open_folio_reader
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, PMD_ORDER, V6_14, Flavour
from mapcount.tracking.folio import Folio
from mapcount.tracking.invariants import violations
from mapcount.tracking.layout import layout_of
from mapcount.tracking.questions import folio_maybe_mapped_shared
from mapcount.tracking.truth import Truth

from .btf_file import PAGE_FLAGS, btf_of
from .core_file import write_core
from .fake_memory import BASE, HEAD, FakePages
from .machine import as_nobody, needs_bpf
from .puppets import Puppets

EXCLUSIVE = 1 << PAGE_FLAGS["PG_anon_exclusive"]
ANON = 0x1001
PMD_PAGES = 1 << PMD_ORDER


def _u64(*values: int) -> U64:
    return np.array(values, np.uint64)


def _orders(*values: int) -> I8:
    return np.array(values, np.int8)


# -- made up --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)
def test_folios_side_by_side(flavour: Flavour) -> None:
    """Each folio has its own counters, in the order asked for."""
    pages = FakePages(layout_of(flavour), 64)
    for order in range(1, 5):
        pages.put(1 << order, order, {"_refcount": 10 + order, "_large_mapcount": order, "mapping": ANON})
        pages.set((1 << order) + 1, 0, order, 1)
    reader = FolioReader(pages.vmemmap(), flavour)
    counters = reader.counters(reader.heads(_u64(31, 3, 0, 5, 8)))
    assert [4, 1, 0, 2, 3] == counters.order.tolist()
    assert [14, 11, 0, 12, 13] == counters.refcount.tolist()
    assert [4, 1, 0, 2, 3] == counters.large_mapcount.tolist()
    assert [1, 1, 0, 1, 1] == counters.anon.tolist()


def test_the_last_folio_of_memory() -> None:
    """A small folio whose page struct is the last is read; a large one that is cut off there is not."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 3)
    pages.put(2, 0, {"_refcount": 7, "_mapcount": 2})
    reader = FolioReader(pages.vmemmap(), PAGE_MAPCOUNT)
    last = reader.counters(_u64(1, 2, 3))
    assert [True, True, False] == last.ok.tolist()
    assert [0, 7, UNKNOWN] == last.refcount.tolist()
    pages.set(2, 0, HEAD, 8)
    assert [True, False] == reader.counters(_u64(1, 2)).ok.tolist()


def test_what_is_no_head_is_no_folio() -> None:
    """The counters of a page inside a folio are UNKNOWN, not nonsense."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 64)
    pages.put(32, 4, {"_refcount": 1})
    counters = FolioReader(pages.vmemmap(), PAGE_MAPCOUNT).counters(_u64(32, 33, 47))
    assert [True, False, False] == counters.ok.tolist()
    assert [1, UNKNOWN, UNKNOWN] == counters.refcount.tolist()


def test_no_folios_at_all() -> None:
    """Nothing asked, nothing answered."""
    reader = FolioReader(FakePages(layout_of(PAGE_MAPCOUNT), 4).vmemmap(), PAGE_MAPCOUNT)
    assert 0 == len(reader.counters(_u64()))
    assert [] == reader.heads(_u64()).tolist()
    assert [] == reader.anon_exclusive(_u64(), _orders()).tolist()
    assert [] == reader.page_mapcounts(0, 0).tolist()


@given(st.sets(st.integers(0, 511)), st.integers(1, 600))
def test_marked_pages_are_counted(marked: set[int], at_once: int) -> None:
    """Each folio's marked pages are counted, however many pages are looked at in one go."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 512)
    folios = [(0, 0), (1, 0), (2, 1), (4, 2), (64, 6), (128, 7), (256, 8)]
    for frame, order in folios:
        pages.put(frame, order, {"mapping": ANON})
    for page in marked:
        pages.set(page, 0, EXCLUSIVE | (HEAD if any(page == f and o for f, o in folios) else 0), 8)
    reader = FolioReader(pages.vmemmap(), PAGE_MAPCOUNT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(struct_folio, "PAGES_AT_ONCE", at_once)
        counted = reader.anon_exclusive(_u64(*(f for f, _ in folios)), _orders(*(o for _, o in folios)))
    expected = [sum(frame <= page < frame + (1 << order) for page in marked) for frame, order in folios]
    assert expected == counted.tolist()


def test_marks_that_mean_nothing() -> None:
    """What is not anonymous has no marked pages; what is unreadable or of no order is UNKNOWN."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 4)
    for page in range(4):
        pages.set(page, 0, EXCLUSIVE, 8)
    pages.set(3, 24, ANON, 8)
    reader = FolioReader(pages.vmemmap(), PAGE_MAPCOUNT)
    found = reader.anon_exclusive(_u64(0, 3, 3, 9, 2), _orders(0, 0, 1, 0, UNKNOWN))
    assert [0, 1, UNKNOWN, UNKNOWN, UNKNOWN] == found.tolist()


def test_a_kernel_without_the_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pages cannot be marked, nothing is known."""
    monkeypatch.delitem(PAGE_FLAGS, "PG_anon_exclusive")
    reader = FolioReader(FakePages(layout_of(PAGE_MAPCOUNT), 4).vmemmap(), PAGE_MAPCOUNT)
    assert [UNKNOWN] == reader.anon_exclusive(_u64(1), _orders(0)).tolist()


def test_page_mapcounts() -> None:
    """Each page's own count; a page with a type has none, and where nothing is readable it is UNKNOWN."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 3)
    for page, raw in enumerate([-1, 4, 0xF2000000 - (1 << 32)]):
        pages.set(page, 48, raw)
    reader = FolioReader(pages.vmemmap(), PAGE_MAPCOUNT)
    assert [0, 5, 0, UNKNOWN] == reader.page_mapcounts(0, 4).tolist()


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)
def test_a_folio_as_tracking_knows_it(flavour: Flavour) -> None:
    """A folio of any kernel becomes one of the core with the same counters."""
    layout = layout_of(flavour)
    pages = FakePages(layout, 8)
    names = {field.name for field in layout.fields_of(2)}
    said = {"_refcount": 9, "_large_mapcount": 8, "_pincount": 1, "_entire_mapcount": 1}
    said |= {"_nr_pages_mapped": 0x800003, "_total_mapped_pages": 11}
    if flavour.owner_slots:
        said |= {"_mm_id[0]": 5, "_mm_id_mapcount[0]": 3, "_mm_id[1]": 6, "_mm_id_mapcount[1]": 2}
        said |= {"mm_ids_shared": 1}
    values = {k: v for k, v in said.items() if k.partition("[")[0] in names or k == "mm_ids_shared"}
    pages.put(4, 2, values)
    for page in (0, 1, 2) if flavour.page_mapcounts else ():
        pages.set(4 + page, 48, 1)
    expected: dict[str, object] = {"order": 2, "refcount": 9, "large_mapcount": 8, "pincount": 1}
    if flavour.entire_mapcount:
        expected["entire_mapcount"] = 1
    if flavour.total_mapped_pages:
        expected["total_mapped_pages"] = 11
    if flavour.page_mapcounts:
        expected |= {"nr_pages_mapped": 0x800003, "page_mapcount": "3*2 1*0"}
    if flavour.owner_slots:
        expected |= {"mm_id": [5, 6], "mm_id_mapcount": [3, 2], "mm_ids_shared": True}
    folio = folio_of(FolioReader(pages.vmemmap(), flavour), 4)
    assert isinstance(folio, Folio)
    assert expected == folio.counters()


def test_a_small_folio_as_tracking_knows_it() -> None:
    """A small folio has its page's count, also without per-page counts in large ones; a tail is none."""
    pages = FakePages(layout_of(NO_PAGE_MAPCOUNT), 8)
    pages.put(1, 0, {"_refcount": 2, "_mapcount": 2})
    pages.put(4, 2, {})
    reader = FolioReader(pages.vmemmap(), NO_PAGE_MAPCOUNT)
    folio = folio_of(reader, 1)
    assert folio is not None
    assert {"order": 0, "refcount": 2, "page_mapcount": "1*2"} == folio.counters()
    assert folio_of(reader, 5) is None


def test_a_kernel_that_counted_otherwise() -> None:
    """Before 6.10 folios had no total: counts that are there are read, and none is made up."""
    pages = FakePages(layout_of(V6_14), 8)
    pages.put(4, 2, {"_refcount": 3, "_pincount": 1})
    reader = FolioReader(pages.vmemmap(without=["_large_mapcount", "_nr_pages_mapped"]), V6_14)
    counters = reader.counters(_u64(4))
    assert (2, 3, 1) == (counters.order[0], counters.refcount[0], counters.pincount[0])
    assert (UNKNOWN, UNKNOWN) == (counters.large_mapcount[0], counters.nr_pages_mapped[0])
    assert folio_of(reader, 4) is None


@pytest.mark.parametrize("name", FLAVOURS)
@pytest.mark.parametrize("bits", [64, 32])
def test_a_layout_comes_back_from_types(name: str, bits: int) -> None:
    """The layout in a kernel's types is the declared one, where the types were made from it."""
    declared = layout_of(FLAVOURS[name].on(bits))
    found = layout_in(Btf(btf_of(declared), "fake.btf"), declared.flavour)
    assert [(f.name, f.offset, f.size, f.parts) for f in declared.fields] == [
        (f.name, f.offset, f.size, f.parts) for f in found.fields
    ]
    assert (declared.sizeof_page, declared.sizeof_folio) == (found.sizeof_page, found.sizeof_folio)


# -- dumps ----------------------------------------------------------------------------------------------


def _dump(path: Path, info_release: str) -> tuple[str, str]:
    """A dump with one folio of order 6 at frame 64, and its kernel's types."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 1024)
    pages.put(64, 6, {"_refcount": 64, "_large_mapcount": 64, "mapping": ANON})
    info = f"OSRELEASE={info_release}\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82000000\n"
    types = path / "types.btf"
    types.write_bytes(btf_of(layout_of(PAGE_MAPCOUNT)))
    return write_core(path / "core", [(BASE, bytes(pages.raw))], info), str(types)


def test_folios_of_a_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead kernel's folios are read from its dump, with its own types and configuration."""
    core, types = _dump(tmp_path, "6.18.0-test")
    (tmp_path / "config-6.18.0-test").write_text("CONFIG_PAGE_MAPCOUNT=y\n")
    monkeypatch.setattr("mapcount.live.kernel.CONFIGS", ("/proc/config.gz", f"{tmp_path}/config-{{release}}"))
    with open_folio_reader(core, types) as reader:
        counters = reader.counters(reader.heads(_u64(70)))
        assert ([6], [64], [1]) == (
            counters.order.tolist(),
            counters.large_mapcount.tolist(),
            counters.anon.tolist(),
        )
        assert PAGE_MAPCOUNT == reader.flavour


def test_a_dump_of_another_kernel(tmp_path: Path) -> None:
    """Without its types, or without its configuration, a dump of another kernel is not guessed at."""
    core, types = _dump(tmp_path, "6.18.0-test")
    with (
        pytest.raises(
            CannotHere, match=r"core: is of Linux 6.18.0-test, and this is .* types of that kernel"
        ),
        open_folio_reader(core),
    ):
        pass
    with (
        pytest.raises(CannotHere, match=r"core: .* per-page counts; /boot/config-6.18.0-test would tell"),
        open_folio_reader(core, types),
    ):
        pass


# -- the running kernel ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader() -> Iterator[FolioReader]:
    """The running kernel's folios."""
    with open_folio_reader() as opened:
        yield opened


class Family:
    """Puppets that share one PMD-size folio, what is known of its mappings, and what the kernel counts."""

    def __init__(self, reader: FolioReader, puppets: Puppets) -> None:
        self.reader, self.puppets = reader, puppets
        frames = puppets.frames()
        self.head = int(reader.heads(_u64(frames[0]))[0])
        whole = reader.counters(_u64(self.head)).order[0] == PMD_ORDER
        if not whole or frames != list(range(self.head, self.head + PMD_PAGES)):
            pytest.skip("the kernel gave no huge page: transparent huge pages are off, or memory is short")

    def folio(self) -> Folio:
        """The folio now."""
        found = folio_of(self.reader, self.head)
        assert found is not None
        return found

    def broken(self, *mappings: tuple[int, int, int, int]) -> list[str]:
        """Invariants that the folio breaks, when (mm id, first page, pages, level) are all mappings."""
        truth = Truth(PMD_PAGES)
        for mapping in mappings:
            truth.add(*mapping)
        return [invariant.id for invariant in violations(self.folio(), truth)]


@pytest.fixture
def family(reader: FolioReader) -> Iterator[Family]:
    """A first process with one huge page, mapped by a PMD."""
    with Puppets(PMD_PAGES * 4096) as puppets:
        yield Family(reader, puppets)


needs_slots = pytest.mark.skipif(
    not Path(VMLINUX).exists() or "_mm_id" not in Btf.read().struct("folio"),
    reason="this kernel has no owner slots (before 6.15)",
)
UNSEEN = 1 << 30
"""An MM id that no process here has: for the one that got no slot."""


@needs_bpf
@needs_slots
def test_a_third_process(family: Family) -> None:
    """Two owners have slots and a third has none; each step's counters are what the mappings demand."""
    puppets, all_, half = family.puppets, (0, PMD_PAGES, PMD_ORDER), (256, 256, 0)
    slots = family.folio().slots
    assert slots is not None
    p = slots.mm_id(0)
    assert (False, [1, 0]) == (slots.shared, slots.mm_id_mapcount)
    assert [] == family.broken((p, *all_))

    puppets.fork("A")
    slots = family.folio().slots
    assert slots is not None
    a = slots.mm_id(1)
    assert (True, [1, 1], False) == (slots.shared, slots.mm_id_mapcount, a in (0, p))
    assert [] == family.broken((p, *all_), (a, *all_))

    puppets.fork("B")
    assert f"{p}:1 {a}:1 shared" == str(family.folio().slots)
    assert [] == family.broken((p, *all_), (a, *all_), (UNSEEN, *all_))

    puppets.unmap("A", 0, 256)
    assert f"{p}:1 {a}:256 shared" == str(family.folio().slots)
    assert [] == family.broken((p, *all_), (a, *half), (UNSEEN, *all_))

    puppets.unmap("B", 0, 256)
    assert 1 + 256 + 256 == family.folio().large_mapcount
    assert [] == family.broken((p, *all_), (a, *half), (UNSEEN, *half))

    puppets.exit("A")
    assert f"{p}:1 - shared" == str(family.folio().slots)
    assert [] == family.broken((p, *all_), (UNSEEN, *half))

    puppets.unmap("P", 0, PMD_PAGES)
    assert "- - shared" == str(family.folio().slots)
    assert folio_maybe_mapped_shared(family.folio())  # mistaken: one process is left
    assert [] == family.broken((UNSEEN, *half))

    puppets.unmap("B", 257, 255)
    assert not folio_maybe_mapped_shared(
        family.folio()
    )  # a single mapping cannot be shared, whatever the flag
    assert [] == family.broken((UNSEEN, 256, 1, 0))


@needs_bpf
def test_marks_and_the_split_queue(family: Family) -> None:
    """Fork takes the exclusive mark away, writing gives it back; partial unmapping queues for splitting."""
    reader, head = family.reader, _u64(family.head)
    order = _orders(PMD_ORDER)

    def marks() -> tuple[int, int]:
        return int(reader.anon_exclusive(head, order)[0]), int(reader.counters(head).partially_mapped[0])

    assert (1, 0) == marks()
    family.puppets.fork("A")
    assert (0, 0) == marks()
    family.puppets.exit("A")
    family.puppets.write("P", 7)
    assert (1, 0) == marks()
    family.puppets.protect("P", 0, 256)
    assert (PMD_PAGES, 0) == marks()
    family.puppets.unmap("P", 500, 12)
    assert (PMD_PAGES, 1) == marks()


@needs_bpf
def test_small_folios_of_a_family(reader: FolioReader) -> None:
    """Small pages count one mapping per process, and no slots."""
    with Puppets(64 * 4096, huge=False) as puppets:
        frames = _u64(*puppets.frames())
        assert frames.tolist() == reader.heads(frames).tolist()
        for child in ("A", "B"):
            puppets.fork(child)
        puppets.unmap("A", 0, 32)
        counters = reader.counters(frames)
        assert [2] * 32 + [3] * 32 == counters.large_mapcount.tolist()
        assert {0} == set(counters.order.tolist())
        assert {1} == set(counters.anon.tolist())
        assert {UNKNOWN} == set(counters.shared.tolist())
        assert (counters.refcount >= counters.large_mapcount).all()
        assert [2, 3] == [reader.page_mapcounts(int(frame), 1)[0] for frame in frames[[0, 63]]]


@needs_bpf
def test_counts_agree_with_kpagecount(family: Family) -> None:
    """The page mapcounts that are read equal what /proc/kpagecount says, with per-page counts."""
    if not family.reader.flavour.page_mapcounts:
        pytest.skip("this kernel keeps no per-page counts")
    family.puppets.fork("A")
    family.puppets.unmap("A", 100, 50)
    with open("/proc/kpagecount", "rb") as file:
        file.seek(8 * family.head)
        said = np.frombuffer(file.read(8 * PMD_PAGES), np.uint64).astype(int)
    entire = family.folio().entire_mapcount
    assert said.tolist() == (family.reader.page_mapcounts(family.head, PMD_PAGES) + entire).tolist()
    assert {1, 2} == set(said.tolist())


@pytest.mark.skipif(not Path(VMLINUX).exists(), reason=f"this kernel has no {VMLINUX}")
def test_the_running_kernels_layout_is_the_declared_one() -> None:
    """On x86-64 with memcg, the layout in the running kernel's types is the one declared for its flavour."""
    btf = Btf.read()
    if btf.struct("page").size != 64 or "memcg_data" not in btf.struct("folio"):
        pytest.skip("the declared layouts are for 64-byte page structs with memcg")
    flavour = running_flavour(btf, kernel_config(release()))
    declared, found = layout_of(flavour), layout_in(btf, flavour)
    assert [(f.name, f.offset, f.size) for f in declared.fields] == [
        (f.name, f.offset, f.size) for f in found.fields
    ]
    assert (declared.sizeof_page, declared.sizeof_folio) == (found.sizeof_page, found.sizeof_folio)


# -- why not --------------------------------------------------------------------------------------------


@needs_bpf
def test_without_privilege_both_ways_are_named() -> None:
    """Who is not root is told why neither BPF nor drgn can read."""
    code = (
        "from mapcount.live.struct_folio import open_folio_reader\n"
        "try:\n"
        "    with open_folio_reader(): pass\n"
        "except mapcount.live.snapshot.CannotHere as error: print(error)\n"
    )
    said = as_nobody(code)
    assert said.startswith("the kernel's memory cannot be read: BPF: creating a map: Operation not permitted")
    assert "it needs root" in said
    assert "; /proc/kcore: " in said or "; drgn is not installed" in said


@needs_bpf
def test_without_types(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel that gives no types away, or broken ones, is told so."""
    broken = tmp_path / "vmlinux"
    broken.write_bytes(b"no types" * 10)
    for path, reason in ((tmp_path / "none", "no such file"), (broken, "is no BTF")):
        monkeypatch.setattr(struct_folio, "VMLINUX", str(path))
        with (
            pytest.raises(
                CannotHere, match=f"{path}: {reason}.*; a kernel with CONFIG_DEBUG_INFO_BTF has them"
            ),
            open_folio_reader(),
        ):
            pass


def test_types_without_folios() -> None:
    """Types that lack what a folio needs are refused in the kernel's name."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 1)
    with pytest.raises(
        CannotHere, match=r"this kernel's folios cannot be read: fake.btf: .* no member _refcount"
    ):
        FolioReader(pages.vmemmap(without=["_refcount"]), PAGE_MAPCOUNT)


@needs_bpf
def test_memory_is_closed_when_opening_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """When types are missing after memory was opened, nothing stays open."""
    closed = []
    close = BpfMemory.close
    monkeypatch.setattr(BpfMemory, "close", lambda self: closed.append(close(self)))
    monkeypatch.setattr(struct_folio, "VMLINUX", "/nonexistent")
    with pytest.raises(CannotHere), open_folio_reader():
        pass
    assert [None] == closed
