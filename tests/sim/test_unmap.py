"""Section 6 of the mechanism: munmap, mprotect, mremap and mlock, of whole huge entries and of parts."""

from __future__ import annotations

import pytest

from mapcount.sim.errors import ActionError
from mapcount.sim.memory import Kind
from mapcount.tracking.flavour import (
    NO_PAGE_MAPCOUNT,
    PAGE_MAPCOUNT,
    PUD_ORDER,
    TOTAL_MAPPED_PAGES,
    V6_14,
    Flavour,
)

from .kernel import ANY_LEVEL, EVERYWHERE, PMD_SIZE_ONLY, WITH_PAGES, WITHOUT_PAGES, Kernel


def written(flavour: Flavour, size: int, order: int) -> Kernel:
    """P has written all of h."""
    k = Kernel(flavour)
    k.mmap("P", "h", size, orders=(order,) if order else ())
    k.write("P", "h")
    return k


@EVERYWHERE
@pytest.mark.parametrize("verb", ["munmap", "mprotect", "mremap", "mlock", "nohugepage"])
def test_a_part_of_a_pmd_splits_it(flavour: Flavour, verb: str) -> None:
    """What concerns a part of a PMD splits the PMD, not the folio: it has nr_pages - 1 mappings more."""
    k = written(flavour, 512, 9)
    if verb == "mremap":
        k.system.mremap("P", k.system.stretches("P", "h", 256, 512), "g", 0, None)
    elif verb == "nohugepage":
        k.do("madvise", "P", "h", 256, 512, advice="nohugepage")
    else:
        options = {"mprotect": {"prot": "r"}, "mlock": {"lock": True}}
        k.do(verb, "P", "h", 256, 512, **options.get(verb, {}))

    folio = k.folio("P", "h")
    assert (256 if verb == "munmap" else 512) == folio.large_mapcount
    assert (9, 0) == (folio.order, folio.entire_mapcount)
    assert folio.large_mapcount == k.run("P", "h").anon_exclusive.nonzero() or verb == "munmap"
    assert (1, 0) == (k.machine.events["thp_split_pmd"], k.machine.events["thp_split_page"])


@EVERYWHERE
def test_exclusive_mark_of_a_split_pmd(flavour: Flavour) -> None:
    """The PMD's one exclusive mark is carried over to every page, or to none after a fork."""
    k = written(flavour, 1024, 9)
    k.do("mprotect", "P", "h", 0, 1, prot="r")
    assert 512 == k.exclusive_marks("P", "h")
    k.fork("C")
    k.do("mprotect", "P", "h", 512, 513, prot="r")

    assert 0 == k.run("P", "h", 512).anon_exclusive.nonzero()


@EVERYWHERE
def test_a_part_of_a_files_pmd(flavour: Flavour) -> None:
    """A PMD of shared memory is dropped when a part of it is unmapped; pages fault in again by PTEs."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, kind=Kind.SHMEM, file="m", shared=True, orders=(9,))
    k.write("P", "h")
    k.do("munmap", "P", "h", 511, 512)
    assert [-1] * 512 == k.orders("P", "h")
    k.read("P", "h", 0, 1)

    assert [9] * 16 + [-1] * 496 == k.orders("P", "h")


@EVERYWHERE
@pytest.mark.parametrize("verb", ["mlock", "hugepage"])
def test_vmas_never_end_inside_a_huge_entry(flavour: Flavour, verb: str) -> None:
    """Splitting a VMA inside what a PMD maps splits the PMD, also where nothing is unmapped."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1024, shared=True, orders=(9,))
    k.write("P", "h")
    if verb == "mlock":
        k.do("mlock", "P", "h", 100, 101, lock=True)
    else:
        k.do("madvise", "P", "h", 100, 101, advice="nohugepage")

    assert 3 == len(k.system.process("P").mm.vmas)
    entry = k.entry("P", "h", 600)
    assert entry is not None
    assert 9 == entry.level


@EVERYWHERE
def test_vmas_with_nothing_new_are_not_split(flavour: Flavour) -> None:
    """Giving a part of a VMA the protection it has splits neither VMA nor PMD."""
    k = written(flavour, 512, 9)
    k.do("mprotect", "P", "h", 100, 200, prot="rw")

    assert 1 == len(k.system.process("P").mm.vmas)
    assert 0 == k.machine.events["thp_split_pmd"]


@WITH_PAGES
def test_unmapping_a_part_with_page_counts(flavour: Flavour) -> None:
    """With per-page counts AnonPages loses the pages that nobody maps, the folio is queued for a split."""
    k = written(flavour, 16, 4)
    k.fork("C")
    k.do("munmap", "C", "h", 0, 8)
    assert (16, False) == (k.machine.total("anon"), k.run("P", "h").partially_mapped)
    k.do("munmap", "P", "h", 0, 8)

    assert (8, True) == (k.machine.total("anon"), k.run("P", "h", 8).partially_mapped)


@WITHOUT_PAGES
def test_unmapping_a_part_without_page_counts(flavour: Flavour) -> None:
    """Without, AnonPages keeps the whole folio, and what two processes unmap in part goes unnoticed."""
    k = written(flavour, 16, 4)
    k.fork("C")
    k.do("munmap", "C", "h", 0, 8)
    k.do("munmap", "P", "h", 0, 8)
    assert (16, False) == (k.machine.total("anon"), k.run("P", "h", 8).partially_mapped)
    k.exit("C")

    assert (16, True) == (k.machine.total("anon"), k.run("P", "h", 8).partially_mapped)


@EVERYWHERE
def test_order_1_is_never_queued(flavour: Flavour) -> None:
    """A folio of two pages has no room for the deferred-split list."""
    k = written(flavour, 2, 1)
    k.do("munmap", "P", "h", 0, 1)

    assert not k.run("P", "h", 1).partially_mapped


@pytest.mark.parametrize(
    ("flavour", "cost"),
    [(V6_14, (512, 0, 2)), (PAGE_MAPCOUNT, (512, 1, 1)), (NO_PAGE_MAPCOUNT, (0, 1, 0))],
    ids=str,
)
def test_cost_of_unmapping(flavour: Flavour, cost: tuple[int, int, int]) -> None:
    """munmap of a PTE-mapped huge page is one batch, whatever its permissions are."""
    k = written(flavour, 512, 9)
    k.do("mprotect", "P", "h", 100, 200, prot="r")
    k.do("mprotect", "P", "h", 100, 200, prot="rw")
    k.fork("C")
    k.exit("C")
    k.cost()
    k.do("munmap", "P", "h")

    assert cost == k.cost()


@ANY_LEVEL
def test_a_part_of_a_pud(flavour: Flavour) -> None:
    """A part of a PUD splits it to PMDs, and the PMD in question to PTEs: other pages stay under PMDs."""
    k = written(flavour, 1 << PUD_ORDER, PUD_ORDER)
    k.do("munmap", "P", "h", 1000, 1001)

    folio = k.folio("P", "h")
    assert 511 + 511 == folio.large_mapcount
    assert (1 << PUD_ORDER) - 1 == folio.total_mapped_pages
    assert k.run("P", "h").partially_mapped
    assert not k.maybe_shared("P", "h")


@PMD_SIZE_ONLY
def test_a_part_of_a_folio_larger_than_a_pmd(flavour: Flavour) -> None:
    """Of a PTE-mapped folio larger than a PMD, single pages are unmapped like those of any other."""
    k = written(flavour, 1024, 10)
    k.do("munmap", "P", "h", 1000, 1001)

    assert 1023 == k.folio("P", "h").large_mapcount
    assert k.run("P", "h").partially_mapped


@ANY_LEVEL
@pytest.mark.parametrize(("stop", "total"), [(512, 1), (1, 512)])
def test_a_part_of_a_folio_of_two_pmds(flavour: Flavour, stop: int, total: int) -> None:
    """One PMD of two goes whole, or is split: 511 PTEs and the other PMD are left."""
    k = written(flavour, 1024, 10)
    k.do("munmap", "P", "h", 0, stop)

    folio = k.folio("P", "h", 1023)
    assert (total, 1024 - stop) == (folio.large_mapcount, folio.total_mapped_pages)
    assert k.run("P", "h", 1023).partially_mapped


@EVERYWHERE
def test_mremap_changes_no_mapping(flavour: Flavour) -> None:
    """Moved pages are the same pages, mapped as often as before by the same mm; aligned PMDs stay PMDs."""
    k = written(flavour, 1024, 9)
    before = k.pfn("P", "h", 512)
    k.system.mremap("P", k.system.stretches("P", "h", 512, 1024), "g", 0, None)
    k.check()

    assert before == k.pfn("P", "g")
    entry = k.entry("P", "g")
    assert entry is not None
    assert 9 == entry.level
    assert 1 == k.folio("P", "g").large_mapcount
    assert 0 == k.machine.events["thp_split_pmd"]


@EVERYWHERE
def test_mremap_to_an_unaligned_place(flavour: Flavour) -> None:
    """A PMD that moves to where no PMD can be is split; what lay there is unmapped."""
    k = written(flavour, 512, 9)
    k.mmap("P", "g", 1024)
    k.write("P", "g")
    k.system.mremap("P", k.system.stretches("P", "h"), "g", 3, None)
    k.check()

    assert [0] * 3 + [9] * 512 + [0] * 509 == k.orders("P", "g")
    assert 512 == k.folio("P", "g", 3).large_mapcount


@EVERYWHERE
def test_mremap_back(flavour: Flavour) -> None:
    """Memory moved away and back is one VMA again."""
    k = written(flavour, 64, 4)
    k.system.mremap("P", k.system.stretches("P", "h", 20, 40), "g", 0, None)
    assert 3 == len(k.system.process("P").mm.vmas)
    k.system.mremap("P", k.system.stretches("P", "g"), "h", 20, None)
    k.check()

    assert 1 == len(k.system.process("P").mm.vmas)
    assert [4] * 64 == k.orders("P", "h")


@EVERYWHERE
def test_impossible_mremaps(flavour: Flavour) -> None:
    """Overlaps, places too small, several VMAs and parts of hugetlb folios cannot be moved."""
    k = written(flavour, 64, 0)
    k.mmap("P", "t", 512, kind=Kind.HUGETLB, orders=(9,))
    k.do("mprotect", "P", "h", 60, 64, prot="r")

    for start, stop, to, at, message in (
        (0, 10, "h", 5, "overlap"),
        (0, 10, "h", 60, "do not fit"),
        (50, 64, "g", 0, "more than one VMA"),
        (0, 10, "g", 3, "no region"),
        (0, 10, "t", 0, "whole folios"),
    ):
        with pytest.raises(ActionError, match=message):
            k.system.mremap("P", k.system.stretches("P", "h", start, stop), to, at, None)
    with pytest.raises(ActionError, match="whole folios"):
        k.system.mremap("P", k.system.stretches("P", "t", 0, 5), "g", 0, None)
    assert ["h", "t"] == list(k.system.process("P").regions)


@EVERYWHERE
def test_mlock(flavour: Flavour) -> None:
    """mlock faults all in, copies what is still shared, and keeps the folios from reclaim until munlock."""
    k = written(flavour, 16, 4)
    k.fork("C")
    k.do("mlock", "C", "h", lock=True)
    assert [0] * 16 == k.orders("C", "h")
    k.do("swapout", "C", "h")
    assert 0 == k.swapped("C", "h")
    k.do("mlock", "C", "h", lock=False)
    k.do("swapout", "C", "h")

    assert 16 == k.swapped("C", "h")


@EVERYWHERE
def test_mlock_of_single_pages_after_fork(flavour: Flavour) -> None:
    """A child's VMAs, cut where the parent's locks were, are joined and found again by reverse mapping."""
    k = written(flavour, 64, 0)
    for page in (3, 35):
        k.do("mlock", "P", "h", page, page + 1, lock=True)
    k.fork("C")
    for page in (3, 35):
        k.do("mlock", "C", "h", page, page + 1, lock=True)
    k.do("swapout", "C", "h")

    assert 62 == k.swapped("C", "h") == k.swapped("P", "h")


@EVERYWHERE
def test_unnamed_memory_goes_with_its_last_vma(flavour: Flavour) -> None:
    """Shared anonymous memory is freed when nobody maps it any more, whatever unmapped it."""
    k = Kernel(flavour)
    for unmap in ("munmap", "mmap", "mremap", "exec"):
        k.mmap("P", "h", 16, shared=True) if unmap == "munmap" else k.mmap("P", "h", None, shared=True)
        k.write("P", "h")
        if unmap == "mmap":
            k.mmap("P", "h", None)
        elif unmap == "mremap":
            k.mmap("P", "g", 16)
            k.system.mremap("P", k.system.stretches("P", "g"), "h", 0, None)
        elif unmap == "exec":
            k.system.exec("P")
        else:
            k.do("munmap", "P", "h")
        k.check()

        assert {} == k.machine.files, unmap
        assert 0 == k.machine.total("shmem"), unmap


@EVERYWHERE
def test_pinned_memory_outlives_its_file(flavour: Flavour) -> None:
    """Pages pinned when their file goes are out of the page cache, and freed when they are unpinned."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, shared=True)
    k.do("pin", "P", "h", 3, 4, hold=True)
    k.do("munmap", "P", "h")
    assert 1 == sum(run.n for run in k.machine.memory.folios)
    k.do("pin", "P", "h", 3, 4, hold=False)

    assert [] == list(k.machine.memory.folios)


@EVERYWHERE
def test_what_is_not_mapped(flavour: Flavour) -> None:
    """Ranges that nothing maps, or that are mapped in part, are errors for every verb."""
    k = written(flavour, 16, 4)
    k.do("munmap", "P", "h", 8, 16)
    for verb, options in (
        ("munmap", {}),
        ("touch", {"write": False}),
        ("mprotect", {"prot": "r"}),
        ("madvise", {"advice": "cold"}),
        ("mlock", {"lock": True}),
        ("pin", {"hold": True}),
    ):
        for start, message in ((0, "not all of it is mapped"), (8, "nothing is mapped")):
            with pytest.raises(ActionError, match=message):
                k.do(verb, "P", "h", start, 16, **options)
    with pytest.raises(ActionError, match="no process Q"):
        k.write("Q", "h")
    with pytest.raises(ActionError, match='no region "x"'):
        k.write("P", "x")
    with pytest.raises(ActionError, match='outside "h"'):
        k.write("P", "h", 3, 17)


def test_total_mapped_pages_of_any_mix() -> None:
    """Section 9's example: two PMDs and one PTE over a PMD-size folio are 3 mappings of 1025 pages."""
    k = Kernel(TOTAL_MAPPED_PAGES)
    for name, size in (("a", 512), ("b", 512), ("c", 1)):
        k.mmap("P", name, size, kind=Kind.SHMEM, file="m", shared=True, orders=(9,))
        k.write("P", name)

    assert (3, 1025) == (k.folio("P", "a").large_mapcount, k.folio("P", "a").total_mapped_pages)
