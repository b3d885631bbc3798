"""Section 6 of the mechanism: what a fault maps, for each kind of memory."""

from __future__ import annotations

import pytest

from mapcount.sim.errors import ActionError
from mapcount.sim.memory import Kind
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PMD_ORDER, PUD_ORDER, V6_14, Flavour

from .kernel import ANY_LEVEL, EVERYWHERE, PMD_SIZE_ONLY, WITH_SLOTS, Kernel


@EVERYWHERE
@pytest.mark.parametrize(("orders", "order"), [((), 0), ((4,), 4), ((2, 4), 4), ((2, 4, 9), 9)])
def test_largest_folio_that_fits(flavour: Flavour, orders: tuple[int, ...], order: int) -> None:
    """A write to empty anonymous memory maps a folio of the largest enabled order, whole and exclusive."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=orders)
    k.write("P", "h", 3, 4)

    run = k.run("P", "h", 3)
    assert order == run.folio.order
    assert 1 << order == sum(o >= 0 for o in k.orders("P", "h"))
    assert (1 if order == PMD_ORDER else 1 << order) == run.anon_exclusive.nonzero()
    assert not k.maybe_shared("P", "h", 3)


@EVERYWHERE
def test_folio_that_does_not_fit_in_the_vma(flavour: Flavour) -> None:
    """Where the aligned range of an order leaves the VMA, the next smaller enabled order is used."""
    k = Kernel(flavour)
    k.mmap("P", "h", 22, orders=(2, 4))
    k.write("P", "h")

    assert [4] * 16 + [2] * 4 + [0] * 2 == k.orders("P", "h")


@EVERYWHERE
def test_folio_that_would_cover_what_is_mapped(flavour: Flavour) -> None:
    """Where part of the aligned range is mapped already, the next smaller enabled order is used."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.read("P", "h")
    k.write("P", "h", 5, 6)
    k.do("madvise", "P", "h", 6, 16, advice="dontneed")
    k.write("P", "h")

    assert [0] * 16 == k.orders("P", "h")


@EVERYWHERE
def test_pmd_fault(flavour: Flavour) -> None:
    """A PMD-size folio is mapped by one entry; the folio has one mapping, all its pages count as mapped."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1024, orders=(9,))
    k.write("P", "h")

    assert (1, 1) == (k.folio("P", "h").large_mapcount, k.folio("P", "h").refcount)
    assert 2 == k.run("P", "h").count
    assert (1024, 1024) == (k.machine.total("anon"), k.machine.total("anon_thp"))


@PMD_SIZE_ONLY
@pytest.mark.parametrize("order", [10, PUD_ORDER])
def test_folio_larger_than_a_pmd(flavour: Flavour, order: int) -> None:
    """Folios larger than a PMD are mapped by PTEs only, and are no AnonHugePages."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1 << order, orders=(order,))
    k.write("P", "h", 0, 1)

    folio = k.folio("P", "h")
    assert (order, 1 << order, 0) == (folio.order, folio.large_mapcount, folio.entire_mapcount)
    assert (1 << order, 0) == (k.machine.total("anon"), k.machine.total("anon_thp"))


@ANY_LEVEL
@pytest.mark.parametrize(("order", "entries", "level"), [(10, 2, 9), (11, 4, 9), (PUD_ORDER, 1, 18)])
def test_folio_larger_than_a_pmd_by_pmds(flavour: Flavour, order: int, entries: int, level: int) -> None:
    """The April 2026 proposal maps folios larger than a PMD by PMDs, or by a PUD, and counts every page."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1 << order, orders=(order,))
    k.write("P", "h", 0, 1)

    folio = k.folio("P", "h")
    assert (entries, 1 << order) == (folio.large_mapcount, folio.total_mapped_pages)
    entry = k.entry("P", "h")
    assert entry is not None
    assert (level, entries) == (entry.level, entry.entries)
    assert (1 << order, 0) == (k.machine.total("anon"), k.machine.total("anon_thp"))


def test_slot_overflow_on_32_bit() -> None:
    """A folio that one mm maps by more PTEs than a 16-bit slot counts is mistaken for shared."""
    order = 16
    narrow, wide = Kernel(NO_PAGE_MAPCOUNT.on(32)), Kernel(NO_PAGE_MAPCOUNT)
    for k in (narrow, wide):
        k.mmap("P", "h", 1 << order, orders=(order,))
        k.write("P", "h", 0, 1)

    assert not wide.maybe_shared("P", "h")
    assert narrow.maybe_shared("P", "h")


@EVERYWHERE
def test_read_maps_the_zero_page(flavour: Flavour) -> None:
    """A read of empty anonymous memory maps the zero page: no folio, no Rss, until it is written."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=(9,))
    k.read("P", "h")
    entry = k.entry("P", "h")
    assert entry is not None
    assert (True, PMD_ORDER) == (entry.zero, entry.level)
    assert [] == list(k.machine.memory.folios)
    k.write("P", "h", 7, 8)

    assert [9] * 512 == k.orders("P", "h")


@EVERYWHERE
def test_protection(flavour: Flavour) -> None:
    """What a process would be killed for is an error, and nothing is touched before it."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16)
    k.do("mprotect", "P", "h", 8, 12, prot="r")
    k.do("mprotect", "P", "h", 12, 16, prot="none")

    with pytest.raises(ActionError, match="may not be written"):
        k.write("P", "h")
    with pytest.raises(ActionError, match="may not be accessed"):
        k.read("P", "h")
    assert [-1] * 16 == k.orders("P", "h")


@EVERYWHERE
@pytest.mark.parametrize("kind", [Kind.FILE, Kind.SHMEM])
def test_fault_around(flavour: Flavour, kind: Kind) -> None:
    """A read of what the page cache has maps the cached pages of the aligned 64K around it."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64, kind=kind, file="f", shared=True, orders=(4,))
    k.read("P", "h", 0, 48)
    k.fork("C")
    k.read("C", "h", 20, 21)

    assert [-1] * 16 + [4] * 16 + [-1] * 32 == k.orders("C", "h")
    assert 32 == k.folio("C", "h", 20).large_mapcount


@EVERYWHERE
def test_writes_to_files_and_to_shared_memory(flavour: Flavour) -> None:
    """A write fault maps one page of a file; of shared memory it maps the whole folio."""
    k = Kernel(flavour)
    k.mmap("P", "f", 16, kind=Kind.FILE, file="f", shared=True, orders=(4,))
    k.mmap("P", "m", 16, kind=Kind.SHMEM, file="m", shared=True, orders=(4,))
    k.write("P", "f", 5, 6)
    k.write("P", "m", 5, 6)

    assert [1, 16] == [k.folio("P", name, 5).large_mapcount for name in ("f", "m")]
    assert (17 if flavour.page_mapcounts else 32) == k.machine.total("file_mapped")


@EVERYWHERE
def test_write_to_a_private_file(flavour: Flavour) -> None:
    """A write to private file memory makes an anonymous copy; the cached folio is not mapped by it."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, kind=Kind.FILE, file="f", orders=(4,))
    k.write("P", "h", 5, 6)

    assert Kind.ANON is k.run("P", "h", 5).kind
    assert (1, 0) == (k.machine.total("anon"), k.machine.total("file_mapped"))
    assert 16 == k.machine.total("file")


@EVERYWHERE
def test_pmd_of_shared_memory(flavour: Flavour) -> None:
    """Shared memory in PMD-size folios is mapped by PMDs, by each process, and twice by two VMAs of one."""
    k = Kernel(flavour)
    for name in ("a", "b"):
        k.mmap("P", name, 512, kind=Kind.SHMEM, file="m", shared=True, orders=(9,))
        k.write("P", name)

    assert 2 == k.folio("P", "a").large_mapcount
    assert 512 == k.machine.total("file_mapped") == k.machine.total("shmem_pmd_mapped")
    assert (flavour.name == V6_14.name) == k.maybe_shared("P", "a")


@WITH_SLOTS
def test_two_vmas_are_one_owner(flavour: Flavour) -> None:
    """Two VMAs of one mm over one folio fill one slot: the folio is mapped exclusively, though twice."""
    k = Kernel(flavour)
    for name in ("a", "b"):
        k.mmap("P", name, 16, kind=Kind.SHMEM, file="m", shared=True, orders=(4,))
        k.write("P", name)

    slots = k.folio("P", "a").slots
    assert slots is not None
    assert [32, 0] == slots.mm_id_mapcount
    assert not k.maybe_shared("P", "a")


@EVERYWHERE
def test_unaligned_file_offset(flavour: Flavour) -> None:
    """A folio whose pages lie unaligned in the address space is mapped by PTEs, in up to two batches."""
    k = Kernel(flavour)
    k.mmap("P", "aligned", 1024, kind=Kind.SHMEM, file="m", shared=True, orders=(9,))
    k.write("P", "aligned")
    k.mmap("P", "h", 640, kind=Kind.SHMEM, file="m", shared=True, orders=(9,), offset=3)
    k.write("P", "h", 0, 640)

    entry = k.entry("P", "h")
    assert entry is not None
    assert 0 == entry.level
    assert [9] * 509 == k.orders("P", "h")[:509]


@EVERYWHERE
@pytest.mark.parametrize("shared", [False, True])
def test_hugetlb(flavour: Flavour, shared: bool) -> None:
    """A hugetlb folio is mapped by one entry and is in no statistics; a part of it cannot be mapped."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1024, kind=Kind.HUGETLB, orders=(9,), shared=shared)
    k.write("P", "h", 5, 6)

    assert (1, 1 + 512 * shared) == (k.folio("P", "h").large_mapcount, k.folio("P", "h").refcount)
    assert {0} == {value for group in k.machine.stats.values() for value in group.values()} | {0}
    with pytest.raises(ActionError, match="whole folios"):
        k.system.mmap("P", "h", 0, 100, kind=Kind.HUGETLB, orders=(9,))
    with pytest.raises(ActionError, match="whole folios"):
        k.system.mmap("P", "g", size=100, kind=Kind.HUGETLB, orders=(9,))


@EVERYWHERE
def test_read_only_hugetlb(flavour: Flavour) -> None:
    """Hugetlb memory that may only be read is mapped read-only."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, kind=Kind.HUGETLB, orders=(9,), prot="r")
    k.read("P", "h")

    entry = k.entry("P", "h")
    assert entry is not None
    assert not entry.writable


@EVERYWHERE
def test_failed_mmap_names_no_region(flavour: Flavour) -> None:
    """A file of another kind cannot be mapped, and the region that was to hold it does not come to be."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, kind=Kind.FILE, file="f")

    with pytest.raises(ActionError, match="another kind"):
        k.system.mmap("P", "g", size=16, kind=Kind.SHMEM, file="f")
    assert ["h"] == list(k.system.process("P").regions)


@EVERYWHERE
def test_unnamed_memory_is_never_confused(flavour: Flavour) -> None:
    """Shared anonymous mappings have a file of their own each, also after an earlier one was unmapped."""
    k = Kernel(flavour)
    for name in ("a", "b"):
        k.mmap("P", name, 16, shared=True)
    k.do("munmap", "P", "a")
    k.mmap("P", "c", 16, shared=True)
    k.write("P", "b")
    k.write("P", "c")

    assert k.pfn("P", "b") != k.pfn("P", "c")
