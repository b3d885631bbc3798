"""Finding page structs, proving it, and finding the head of each page's folio."""

from __future__ import annotations

import platform
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapcount.live import find_vmemmap as find
from mapcount.live.bpf_memory import BpfMemory
from mapcount.live.btf import Btf, BtfError
from mapcount.live.drgn_memory import DrgnMemory
from mapcount.live.find_vmemmap import find_vmemmap
from mapcount.live.snapshot import U64, CannotHere
from mapcount.live.vmemmap import Vmemmap
from mapcount.tracking.flavour import FLAVOURS, PAGE_MAPCOUNT
from mapcount.tracking.layout import layout_of

from .btf_file import BtfFile, btf_of
from .core_file import write_core
from .fake_memory import BASE, HEAD, FakeMemory, FakePages
from .machine import as_nobody, needs_bpf


def _frames(*frames: int) -> U64:
    return np.array(frames, np.uint64)


# -- heads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLAVOURS)
@pytest.mark.parametrize("masks", [False, True])
def test_each_page_leads_to_its_head(name: str, masks: bool) -> None:
    """Pages of folios of all orders lead to the first, by pointers as by masks; small ones to themselves."""
    pages = FakePages(layout_of(FLAVOURS[name]), 2048, masks=masks)
    expected = list(range(2048))
    for order in range(1, 11):
        first = 1 << order if order < 10 else 1024
        pages.put(first, order, {})
        expected[first : first + (1 << order)] = [first] * (1 << order)
    assert expected == pages.vmemmap().heads(np.arange(2048, dtype=np.uint64)).tolist()


def test_an_unreadable_page_is_its_own_head() -> None:
    """Where no page struct is, the frame itself is the answer."""
    found = FakePages(layout_of(PAGE_MAPCOUNT), 4).vmemmap().heads(_frames(3, 4, 1 << 40))
    assert [3, 4, 1 << 40] == found.tolist()


def test_hugetlb_shows_its_head_again_and_again() -> None:
    """hugetlb may show its first 64 page structs in place of the others too: those lead to the true head."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 1024)
    pages.put(512, 9, {}, hugetlb=True)
    shown = bytes(pages.raw[512 * 64 : 576 * 64])
    for again in range(576, 1024, 64):
        pages.raw[again * 64 : again * 64 + len(shown)] = shown
    vmemmap = pages.vmemmap()
    assert {512} == set(vmemmap.heads(np.arange(512, 1024, dtype=np.uint64)).tolist())


def test_a_head_at_the_start_of_a_unit_is_itself() -> None:
    """A true head whose page struct begins such a unit is not taken for a repeated one."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 192)
    pages.put(64, 2, {})
    pages.set(128, 0, HEAD, 8)  # the last folio that there is: nothing readable behind it
    pages.raw[129 * 64 :] = b""
    assert [64, 64, 128] == pages.vmemmap().heads(_frames(64, 67, 128)).tolist()


def test_frames_and_addresses() -> None:
    """Each frame has 64 bytes from the base on."""
    vmemmap = FakePages(layout_of(PAGE_MAPCOUNT), 1).vmemmap()
    assert [BASE, BASE + 640] == vmemmap.addresses(_frames(0, 10)).tolist()
    assert [0, 10] == vmemmap.frames(vmemmap.addresses(_frames(0, 10))).tolist()


def test_a_page_struct_of_no_size() -> None:
    """Types that say page structs have no bytes are refused."""
    file = BtfFile()
    file.struct("page", 0, [])
    with pytest.raises(BtfError, match=r"fake.btf: struct page has 0 bytes"):
        _ = Vmemmap(FakeMemory(b""), Btf(file.bytes(), "fake.btf"), BASE).sizeof_page


def test_ctrl_c_while_what_was_found_is_put_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C that comes when a way has done its work, while its files are closed, is not lost."""
    vmemmap = FakePages(layout_of(PAGE_MAPCOUNT), 1).vmemmap()

    def way(*_: object) -> Generator[int, None, None]:
        try:
            yield BASE
        finally:
            raise KeyboardInterrupt

    monkeypatch.setattr(find, "_WAYS", {"a way": way})
    monkeypatch.setattr(find, "_fits_large_folios", lambda vmemmap: True)
    with pytest.raises(KeyboardInterrupt):
        find_vmemmap(vmemmap.memory, vmemmap.btf)


# -- the running kernel's -------------------------------------------------------------------------------


@needs_bpf
def test_a_files_page_tells(running: tuple[BpfMemory, Btf]) -> None:
    """What our own file's page tells fits our own pages, and so does what was found in the end."""
    (told,) = find._from_file_page(*running)
    assert told == find_vmemmap(*running).base


@needs_bpf
@pytest.mark.parametrize("off", [64, -64, 64 << 9, 64 << 18, 1 << 40])
def test_a_wrong_base_does_not_fit(running: tuple[BpfMemory, Btf], off: int) -> None:
    """A base that is one page off, one folio off, or anywhere else, is not trusted."""
    memory, btf = running
    base = find_vmemmap(memory, btf).base
    assert find._fits_own_pages(Vmemmap(memory, btf, base))
    assert not find._fits_own_pages(Vmemmap(memory, btf, base + off))


@needs_bpf
@pytest.mark.parametrize("way", ["a file's page", "the default"])
def test_ways_that_fail_are_passed_over(
    running: tuple[BpfMemory, Btf], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A way that errs, or tells a wrong base, does not matter when another tells the right one."""
    memory, btf = running
    base = find_vmemmap(memory, btf).base

    def wrong(*_: Any) -> Any:
        yield base + 64
        raise LookupError("nothing is at 0x0")

    monkeypatch.setattr(find, "_WAYS", {"wrong": wrong, way: lambda *_: (at for at in (base,))})
    assert base == find_vmemmap(memory, btf).base


@needs_bpf
def test_what_was_tried_is_named(running: tuple[BpfMemory, Btf], monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing fits, each way and what it said is named."""

    def wrong(*_: Any) -> Any:
        yield 0x1000
        raise LookupError("nothing is at 0x0")

    monkeypatch.setattr(find, "_WAYS", {"a wrong way": wrong})
    with pytest.raises(CannotHere) as error:
        find_vmemmap(*running)
    assert (
        "the kernel's page structs were not found: a wrong way says 0x1000, where they are not; "
        "a wrong way: nothing is at 0x0"
    ) == str(error.value)


@needs_bpf
def test_hidden_frames_are_the_reason() -> None:
    """Without CAP_SYS_ADMIN pagemap hides frames, and that is what is said."""
    code = (
        "import mmap; from mapcount.live import find_vmemmap as find\n"
        "own = mmap.mmap(-1, 4096); own[0] = 1\n"
        "try: find._own_frames(find._address(own), 1)\n"
        "except LookupError as error: print(error)\n"
    )
    assert "/proc/self/pagemap hides frame numbers; it needs CAP_SYS_ADMIN to show them" == as_nobody(code)


@pytest.fixture
def running() -> Any:
    """The running kernel's memory and types."""
    with BpfMemory() as memory:
        yield memory, Btf.read()


# -- dumps ----------------------------------------------------------------------------------------------

SECTIONS = 0xFFFF_8880_0000_0000
"""Where the made-up kernel has its memory sections."""
INFO = (
    "OSRELEASE=6.18.0-test\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82000000\n"
    f"SYMBOL(mem_section)={SECTIONS:x}\nLENGTH(mem_section)=4\n"
)


def _dump(path: Path, pages: FakePages, base: int = BASE, info: str = INFO) -> DrgnMemory:
    """A dump whose second root has the first section that exists."""
    words = np.zeros(1024, np.uint64)
    words[1] = SECTIONS + 8192  # the second root's sections
    sections = np.zeros(512, np.uint64)
    sections[6] = base | 0x1F  # the fourth section: where the array starts, and flags
    data = words.tobytes() + sections.tobytes()
    return DrgnMemory(write_core(path / "core", [(BASE, bytes(pages.raw)), (SECTIONS, data)], info))


def _btf() -> Btf:
    return Btf(btf_of(layout_of(PAGE_MAPCOUNT)), "fake.btf")


def test_a_dump_tells_by_its_sections(tmp_path: Path) -> None:
    """In a dump the first memory section tells where page structs start, and large folios prove it."""
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 1024)
    pages.put(64, 6, {})
    assert BASE == find_vmemmap(_dump(tmp_path, pages), _btf()).base


@pytest.mark.parametrize(("off", "folios"), [(-4096, [(512, 9)]), (0, [])])
def test_a_dump_that_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: int, folios: list[tuple[int, int]]
) -> None:
    """Where large folios would start at odd frames, or where none is found, nothing is trusted."""
    monkeypatch.setitem(find.DEFAULT_BASES, platform.machine(), ())
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 1024)
    for frame, order in folios:
        pages.put(frame, order, {})
    with pytest.raises(CannotHere, match=f"vmcoreinfo says {BASE + off:#x}, where they are not"):
        find_vmemmap(_dump(tmp_path, pages, BASE + off), _btf())


def test_a_dump_whose_notes_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump whose notes lead to a wrong place is read where page structs are without KASLR."""
    monkeypatch.setitem(find.DEFAULT_BASES, platform.machine(), (BASE,))
    pages = FakePages(layout_of(PAGE_MAPCOUNT), 1024)
    pages.put(512, 9, {})
    assert BASE == find_vmemmap(_dump(tmp_path, pages, BASE - 4096), _btf()).base


def test_a_dump_without_sections(tmp_path: Path) -> None:
    """A dump of a machine without any memory is told so."""
    info = INFO.replace("LENGTH(mem_section)=4", "LENGTH(mem_section)=1")
    with pytest.raises(CannotHere, match=r"vmcoreinfo: no memory section exists"):
        find_vmemmap(_dump(tmp_path, FakePages(layout_of(PAGE_MAPCOUNT), 64), info=info), _btf())


def test_a_dump_without_notes(tmp_path: Path) -> None:
    """A dump whose note lacks the sections is told so."""
    info = INFO.replace("LENGTH(mem_section)", "LENGTH(x)")
    with pytest.raises(CannotHere, match=r"vmcoreinfo: it has no LENGTH\(mem_section\)"):
        find_vmemmap(_dump(tmp_path, FakePages(layout_of(PAGE_MAPCOUNT), 64), info=info), _btf())
