"""Rules that were missing until real processes acted stories out and the kernel answered otherwise."""

from __future__ import annotations

import pytest

from mapcount.sim.errors import ActionError
from mapcount.sim.memory import Kind
from mapcount.tracking.flavour import PMD_ORDER, Flavour

from .kernel import EVERYWHERE, WITH_SLOTS, Kernel


def vmas(k: Kernel, process: str, region: str) -> int:
    """How many VMAs a region has."""
    where = k.system.process(process).regions[region]
    return len(k.system.process(process).mm.vmas.over(where.start, where.end))


def zero_pages(k: Kernel, process: str, region: str) -> int:
    """How many pages of a region map the zero page."""
    where = k.system.process(process).regions[region]
    return sum(e.n for e in k.system.process(process).mm.table.over(where.start, where.end) if e.zero)


# -- what was never written ---------------------------------------------------------------------------------


@EVERYWHERE
@pytest.mark.parametrize("order", [4, PMD_ORDER])
def test_a_split_drops_what_was_never_written(flavour: Flavour, order: int) -> None:
    """When a folio is split, the zero page takes the place of each page that was never written to."""
    k, size = Kernel(flavour), 1 << order
    k.mmap("P", "h", size, orders=(order,))
    k.write("P", "h", 3, 5)
    k.do("split", "P", "h", 0, size)

    assert size - 2 == zero_pages(k, "P", "h")
    assert [3, 4] == [page for page, found in enumerate(k.orders("P", "h")) if found == 0]
    assert 8 == k.smaps("P", "h").kib()["rss"]


@EVERYWHERE
def test_locked_memory_is_not_dropped(flavour: Flavour) -> None:
    """Locking faults memory in without writing to it; a split leaves it there all the same."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.do("mlock", "P", "h", lock=True)
    k.do("split", "P", "h")

    assert ([0] * 16, 0) == (k.orders("P", "h"), zero_pages(k, "P", "h"))
    assert k.run("P", "h").mlocked


@EVERYWHERE
def test_content_is_copied(flavour: Flavour) -> None:
    """Collapsing, copying and swapping keep what was written, and zeroes zeroes."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=(4,))
    k.write("P", "h", 16, 17)
    k.fork("C")
    k.do("madvise", "P", "h", advice="collapse")
    k.do("swapout", "C", "h")
    k.read("C", "h")
    for process in ("P", "C"):
        k.do("split", process, "h")

    assert (511, 511) == (zero_pages(k, "P", "h"), 511)
    assert [16] == [page for page, found in enumerate(k.orders("C", "h")) if found == 0]


@EVERYWHERE
def test_small_zero_pages_are_read_one_by_one(flavour: Flavour) -> None:
    """A read maps one zero page, whatever folios a write would get, unless the huge zero page fits."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64, orders=(4,))
    k.read("P", "h", 3, 4)
    one = zero_pages(k, "P", "h")
    k.write("P", "h", 0, 32)

    assert 1 == one
    assert [0] * 16 + [4] * 16 == k.orders("P", "h")[:32]  # where there was a zero page no large folio fits


# -- tables and VMAs ----------------------------------------------------------------------------------------


@EVERYWHERE
def test_an_empty_page_table_is_in_the_way(flavour: Flavour) -> None:
    """Where there is a table for PTEs no PMD maps a folio; it goes when all of its range goes at once."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=(PMD_ORDER,))
    k.write("P", "h")
    for half in ((0, 256), (256, 512)):
        k.do("madvise", "P", "h", *half, advice="dontneed")
    k.write("P", "h")
    small = k.orders("P", "h")
    k.do("madvise", "P", "h", advice="dontneed")
    k.write("P", "h")

    assert [0] * 512 == small
    assert [PMD_ORDER] * 512 == k.orders("P", "h")


@EVERYWHERE
def test_unmapping_takes_tables_along(flavour: Flavour) -> None:
    """A table of which no VMA is left is gone, so a new mapping can have its huge page."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512)
    k.write("P", "h")
    k.do("munmap", "P", "h", 0, 256)
    k.do("munmap", "P", "h", 256, 512)
    k.mmap("P", "h", None, start=0, stop=512, orders=(PMD_ORDER,))
    k.write("P", "h")

    assert [PMD_ORDER] * 512 == k.orders("P", "h")


@EVERYWHERE
def test_children_inherit_tables(flavour: Flavour) -> None:
    """Fork makes tables where the parent has them, even empty ones, if it copies that memory at all."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1024, orders=(PMD_ORDER,))
    k.write("P", "h")
    for half in ((0, 256), (256, 512)):
        k.do("madvise", "P", "h", *half, advice="dontneed")
    k.fork("C")
    k.write("C", "h", 0, 512)

    assert [0] * 512 == k.orders("C", "h")[:512]


@EVERYWHERE
def test_vmas_with_memory_of_their_own_stay_apart(flavour: Flavour) -> None:
    """VMAs that were faulted in apart from each other are never merged; those that never were are."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64)
    k.mmap("P", "g", 64)
    for region in "hg":
        k.do("mprotect", "P", region, 16, 32, prot="r")
    k.do("mlock", "P", "h", 0, 16, lock=True)
    k.write("P", "h", 32, 33)
    k.do("mlock", "P", "h", 0, 16, lock=False)
    for region in "hg":
        k.do("mprotect", "P", region, 16, 32, prot="rw")

    assert (2, 1) == (vmas(k, "P", "h"), vmas(k, "P", "g"))


@EVERYWHERE
def test_a_childs_vmas_stay_apart(flavour: Flavour) -> None:
    """A child's VMAs each begin memory of their own: what is merged in the parent is not in the child."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64)
    k.write("P", "h")
    k.do("mprotect", "P", "h", 16, 32, prot="r")
    k.fork("C")
    for process in ("P", "C"):
        k.do("mprotect", process, "h", 16, 32, prot="rw")

    assert (1, 3) == (vmas(k, "P", "h"), vmas(k, "C", "h"))


@EVERYWHERE
def test_changing_nothing_merges_nothing(flavour: Flavour) -> None:
    """A protection that is there already is not a reason to merge VMAs."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64)
    k.do("mlock", "P", "h", 16, 32, lock=True)
    k.fork("C")  # locks are not inherited, so the child's three VMAs do not differ
    k.do("mprotect", "C", "h", prot="rw")

    assert 3 == vmas(k, "C", "h")


@EVERYWHERE
def test_memory_that_moves_before_it_is_touched(flavour: Flavour) -> None:
    """Untouched memory forgets where it was when it moves, and becomes part of its new neighbour."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64)
    k.mmap("P", "g", 32)
    k.do("mremap", "P", "h", 32, 48, to="g", at=16, stop=32)

    assert (2, 1) == (vmas(k, "P", "h"), vmas(k, "P", "g"))


@EVERYWHERE
def test_nohugepage_parts_a_vma(flavour: Flavour) -> None:
    """Advice against huge pages is remembered, also by memory that has small folios anyway."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64)
    k.do("madvise", "P", "h", 0, 16, advice="nohugepage")
    parted = vmas(k, "P", "h")
    k.do("madvise", "P", "h", 16, 64, advice="nohugepage")

    assert (2, 1) == (parted, vmas(k, "P", "h"))


# -- shared memory -----------------------------------------------------------------------------------------


@EVERYWHERE
def test_fault_around_maps_folios_whole(flavour: Flavour) -> None:
    """A read maps the whole folio that is cached there, not only 64K of it."""
    k = Kernel(flavour)
    k.mmap("P", "h", 128, kind=Kind.SHMEM, file="m", shared=True, orders=(7,))
    k.write("P", "h")
    k.fork("C")
    k.read("C", "h", 64, 65)

    assert 256 == k.folio("C", "h").large_mapcount


@EVERYWHERE
def test_fault_around_fills_gaps(flavour: Flavour) -> None:
    """What is mapped already in the window stays; everything else that is cached there is mapped."""
    k = Kernel(flavour)
    k.mmap("P", "h", 32, kind=Kind.SHMEM, file="m", shared=True)
    k.write("P", "h")
    k.do("madvise", "P", "h", 0, 4, advice="dontneed")
    k.do("madvise", "P", "h", 8, 12, advice="dontneed")
    k.read("P", "h", 9, 10)

    assert [0] * 32 == k.orders("P", "h")


@EVERYWHERE
def test_shared_folios_fit_the_vma_that_asks(flavour: Flavour) -> None:
    """Shared memory gets large folios only where the VMA could map them aligned."""
    k = Kernel(flavour)
    k.mmap("P", "h", 32, kind=Kind.SHMEM, file="m", shared=True, orders=(4,), offset=8)
    k.mmap("P", "g", 32, kind=Kind.SHMEM, file="n", shared=True, orders=(4,))
    k.write("P", "h")
    k.write("P", "g")

    assert ([0] * 32, [4] * 32) == (k.orders("P", "h"), k.orders("P", "g"))


@EVERYWHERE
def test_sizes_come_in_their_order(flavour: Flavour) -> None:
    """Beside a place for a huge page the smaller folios stop where the huge page begins."""
    k = Kernel(flavour)
    k.mmap("P", "a", 1024, orders=(1, PMD_ORDER))
    k.mmap("P", "s", 1024, kind=Kind.SHMEM, file="m", shared=True, orders=(1, PMD_ORDER))
    for region in "as":
        k.do("mprotect", "P", region, 0, 1, prot="r")
        k.write("P", region, 1, 1024)

        assert [0, *[1] * 510, *[PMD_ORDER] * 512] == k.orders("P", region)[1:]


# -- locks, pins and advice ----------------------------------------------------------------------------------


@EVERYWHERE
def test_whole_folios_of_locked_shared_memory_are_locked(flavour: Flavour) -> None:
    """A folio that a fault maps whole into locked memory is unevictable from then on, whatever its size."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, kind=Kind.SHMEM, file="m", shared=True, orders=(4,))
    k.do("mlock", "P", "h", lock=True)

    assert k.run("P", "h").mlocked


@WITH_SLOTS
@pytest.mark.parametrize("order", [4, 8])
def test_a_folio_mapped_whole_by_unlike_entries_is_locked(flavour: Flavour, order: int) -> None:
    """One page is writable and its neighbours are not, after a fork: the folio is locked all the same."""
    k, size = Kernel(flavour), 1 << order
    k.mmap("P", "h", 2 * size, orders=(order,))
    k.write("P", "h")
    k.fork("C")
    k.exit("P")
    k.write("C", "h", 3, 4)
    k.do("mlock", "C", "h", lock=True)

    assert [True, True] == [k.run("C", "h", page).mlocked for page in (0, size)]
    k.write("C", "h", 5, 6)
    k.do("mlock", "C", "h", lock=False)
    assert [False, False] == [k.run("C", "h", page).mlocked for page in (0, size)]


@EVERYWHERE
def test_locking_what_may_not_be_accessed(flavour: Flavour) -> None:
    """Memory without access rights cannot be locked."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, prot="none")
    with pytest.raises(ActionError, match="cannot be locked"):
        k.do("mlock", "P", "h", lock=True)


@WITH_SLOTS
def test_after_the_first_pin_pages_are_copied(flavour: Flavour) -> None:
    """The first page of a folio that is exclusive again is reused and pinned; then its others are copied."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.write("P", "h")
    k.fork("C")
    k.exit("C")
    k.do("pin", "P", "h", hold=True)

    assert [4, *[0] * 15] == k.orders("P", "h")


@EVERYWHERE
def test_pinning_what_is_there_marks_nothing(flavour: Flavour) -> None:
    """A pin of writable memory needs no fault, and does not make clean memory dirty."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, kind=Kind.SHMEM, file="m", shared=True)
    k.read("P", "h")
    k.do("pin", "P", "h", hold=True)

    assert (64, 0) == tuple(k.smaps("P", "h").kib()[name] for name in ("private_clean", "private_dirty"))


@EVERYWHERE
def test_free_asks_only_for_dirty_folios(flavour: Flavour) -> None:
    """MADV_FREE treats memory that others map too, unless the folio itself is dirty."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16)
    k.mmap("P", "dirty", 16, orders=(4,))
    k.write("P", "h")
    k.write("P", "dirty")
    k.do("split", "P", "dirty")  # which leaves the mark of dirty entries on the small folios
    k.fork("C")
    for region in ("h", "dirty"):
        k.do("madvise", "P", region, advice="free")
    k.machine.lru_add_drain()

    assert (64, 0) == tuple(k.smaps("P", region).kib()["lazyfree"] for region in ("h", "dirty"))
    assert 0 == k.smaps("C", "h").kib()["lazyfree"]


@EVERYWHERE
def test_locked_memory_is_not_freed(flavour: Flavour) -> None:
    """MADV_FREE of locked memory is refused, as MADV_DONTNEED is."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16)
    k.do("mlock", "P", "h", lock=True)
    with pytest.raises(ActionError, match="locked memory"):
        k.do("madvise", "P", "h", advice="free")
