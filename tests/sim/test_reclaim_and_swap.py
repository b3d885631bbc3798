"""Section 6 of the mechanism: madvise, paging out and swapping in."""

from __future__ import annotations

import pytest

from mapcount.sim.errors import ActionError
from mapcount.sim.memory import Kind
from mapcount.tracking.flavour import Flavour

from .kernel import BEFORE_6_15, EVERYWHERE, WITH_SLOTS, Kernel


def written(flavour: Flavour, size: int, order: int) -> Kernel:
    """P has written all of h."""
    k = Kernel(flavour)
    k.mmap("P", "h", size, orders=(order,) if order else ())
    k.write("P", "h")
    return k


@EVERYWHERE
@pytest.mark.parametrize("order", [0, 4, 9])
def test_swap_out_and_in(flavour: Flavour, order: int) -> None:
    """Every mapping becomes a swap entry that holds a slot, and the memory is free; reads bring it back."""
    k = written(flavour, 512, order)
    k.fork("C")
    k.do("swapout", "P", "h")
    assert (512, 512) == (k.swapped("P", "h"), k.swapped("C", "h"))
    assert ([], 512) == (list(k.machine.memory.folios), k.machine.swap.used)
    assert {2} == {slots.refs for slots in k.machine.swap.slots}
    k.read("P", "h")
    assert (0, 512) == (k.swapped("P", "h"), k.swapped("C", "h"))
    k.read("C", "h")

    assert k.pfn("P", "h", 100) == k.pfn("C", "h", 100)
    assert (0, 512) == (k.machine.swap.used, k.machine.total("anon"))


@EVERYWHERE
@pytest.mark.parametrize(("orders", "order"), [((), 0), ((4,), 4), ((9,), 0), ((4, 9), 4)])
def test_size_of_folios_read_from_swap(flavour: Flavour, orders: tuple[int, ...], order: int) -> None:
    """Memory comes back in folios of the largest enabled order below the PMD's."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=orders)
    k.write("P", "h")
    k.do("swapout", "P", "h")
    k.read("P", "h")

    assert [order] * 512 == k.orders("P", "h")


@EVERYWHERE
def test_exclusive_mark_survives_swap(flavour: Flavour) -> None:
    """A page that was exclusive comes back exclusive and is written in place; one that was not is checked."""
    k = written(flavour, 16, 4)
    k.do("swapout", "P", "h")
    k.read("P", "h")
    assert 16 == k.exclusive_marks("P", "h")
    before = k.pfn("P", "h")
    k.write("P", "h")

    assert before == k.pfn("P", "h")


@EVERYWHERE
def test_a_survivor_reads_back_pages_that_are_not_exclusive(flavour: Flavour) -> None:
    """Whoever is left after a fork reads back pages without the mark: a swap entry says what the page was."""
    k = written(flavour, 16, 4)
    k.fork("C")
    k.exit("P")
    k.do("swapout", "C", "h")
    k.read("C", "h")
    assert (16, 0) == (k.machine.total("anon"), k.exclusive_marks("C", "h"))


@EVERYWHERE
def test_fork_of_swapped_memory(flavour: Flavour) -> None:
    """Fork holds the slots once more and drops the exclusive mark; whoever writes gets a copy."""
    k = written(flavour, 16, 4)
    k.do("swapout", "P", "h")
    k.fork("C")
    k.write("C", "h")
    k.read("P", "h")

    assert k.pfn("P", "h") != k.pfn("C", "h")
    assert 0 == k.machine.swap.used


@EVERYWHERE
def test_folios_do_not_reach_over_a_vma(flavour: Flavour) -> None:
    """What two VMAs hold in consecutive slots comes back in folios that stay inside each."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64, orders=(4,))
    k.mmap("P", "h", None, start=17, stop=64, orders=(4,), prot="rwx")
    k.write("P", "h")
    k.do("swapout", "P", "h")
    k.write("P", "h")

    assert [4] * 16 == k.orders("P", "h")[32:48]
    assert [4, 0, 0] == [k.folio("P", "h", page).order for page in (0, 16, 17)]


@EVERYWHERE
def test_look_alikes_at_odd_addresses(flavour: Flavour) -> None:
    """Folios that were moved to an unaligned place are swapped out whole, all of them."""
    k = written(flavour, 592, 4)
    k.mmap("P", "g", 640, reserved=True)
    k.system.mremap("P", k.system.stretches("P", "h"), "g", 3, None)
    k.do("swapout", "P", "g")

    assert (592, []) == (k.swapped("P", "g"), list(k.machine.memory.folios))


@EVERYWHERE
def test_shared_memory_in_swap(flavour: Flavour) -> None:
    """Shared memory's slots are its file's: entries go, smaps counts the swap per VMA, faults read it."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, shared=True, orders=(4,))
    k.write("P", "h")
    k.fork("C")
    k.do("swapout", "P", "h")
    assert (16, 0) == (k.machine.swap.used, k.machine.total("shmem"))
    assert 64 == k.smaps("C", "h").kib()["swap"]
    k.read("C", "h", 0, 1)

    assert (0, 16) == (k.machine.swap.used, k.machine.events["pswpin"])


@EVERYWHERE
def test_file_pages_are_dropped(flavour: Flavour) -> None:
    """Pages of a file are simply dropped and read again."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, kind=Kind.FILE, file="f", orders=(4,))
    k.read("P", "h")
    k.do("swapout", "P", "h")

    assert (0, 0, []) == (k.machine.swap.used, k.machine.total("file"), list(k.machine.memory.folios))


@EVERYWHERE
@pytest.mark.parametrize("order", [0, 4, 9])
@pytest.mark.parametrize("advice", ["pageout", "cold"])
def test_advice_for_a_sole_owner(flavour: Flavour, order: int, advice: str) -> None:
    """The folios of a sole owner are paged out, or marked cold."""
    k = written(flavour, 512, order)
    k.do("madvise", "P", "h", advice=advice)

    entry = k.entry("P", "h")
    assert entry is not None
    assert (advice == "pageout", False) == (entry.swapped, entry.young)


@EVERYWHERE
@pytest.mark.parametrize("order", [0, 4, 9])
@pytest.mark.parametrize("stop", [256, 512])
def test_pageout_skips_shared_folios(flavour: Flavour, order: int, stop: int) -> None:
    """Folios that two processes map are skipped in silence, whole or in part."""
    k = written(flavour, 512, order)
    k.fork("C")
    k.do("madvise", "P", "h", 0, stop, advice="pageout")

    assert 0 == k.swapped("P", "h")
    assert [order] * 512 == k.orders("P", "h")


@EVERYWHERE
@pytest.mark.parametrize("order", [4, 9])
def test_pageout_of_a_part_splits(flavour: Flavour, order: int) -> None:
    """If only a part of a sole owner's folio is meant, the folio is split, and that part is paged out."""
    k = written(flavour, 512, order)
    k.do("madvise", "P", "h", 0, 8, advice="pageout")

    assert 8 == k.swapped("P", "h")
    assert [0] * 8 == k.orders("P", "h")[8 : 1 << 4]


@WITH_SLOTS
def test_pageout_by_one_mistaken_for_shared(flavour: Flavour) -> None:
    """A sole owner mistaken for shared can page out the whole folio, but not a part of it."""
    k = written(flavour, 16, 4)
    k.fork("A", "B")
    k.exit("P", "A")
    assert k.maybe_shared("B", "h")
    k.do("madvise", "B", "h", 0, 8, advice="pageout")
    assert 0 == k.swapped("B", "h")
    k.do("madvise", "B", "h", advice="pageout")

    assert 16 == k.swapped("B", "h")


@BEFORE_6_15
def test_pageout_of_what_is_mistaken_for_exclusive(flavour: Flavour) -> None:
    """Before 6.15 a folio was paged out under a sharer of any but the first page: the guess said so."""
    k = written(flavour, 16, 4)
    k.fork("C")
    k.do("munmap", "C", "h", 0, 8)
    k.do("munmap", "P", "h", 12, 16)
    k.do("munmap", "P", "h", 4, 8)
    assert not k.maybe_shared("P", "h")
    k.do("madvise", "P", "h", 0, 4, advice="pageout")

    assert 4 == k.swapped("P", "h")
    assert 0 == k.folio("C", "h", 8).order


@EVERYWHERE
def test_free(flavour: Flavour) -> None:
    """Memory given up by MADV_FREE is dropped by reclaim, unless it was written to again."""
    k = written(flavour, 32, 4)
    k.do("madvise", "P", "h", advice="free")
    assert 128 == k.smaps("P", "h").kib()["lazyfree"]
    k.write("P", "h", 0, 1)
    k.do("swapout", "P", "h")

    assert (16, 16) == (k.swapped("P", "h"), k.machine.swap.used)


@EVERYWHERE
def test_free_of_small_folios_waits(flavour: Flavour) -> None:
    """Small folios wait in a batch of 31 before MADV_FREE takes effect; unmapping anything empties it."""
    k = written(flavour, 40, 0)
    k.mmap("P", "g", 1)
    k.do("madvise", "P", "h", advice="free")
    assert 31 * 4 == k.smaps("P", "h").kib()["lazyfree"]
    k.do("munmap", "P", "g")

    assert 40 * 4 == k.smaps("P", "h").kib()["lazyfree"]


@EVERYWHERE
def test_free_of_small_folios_that_part_while_waiting(flavour: Flavour) -> None:
    """Folios that wait together and are treated apart meanwhile all still take effect."""
    k = written(flavour, 20, 0)
    k.mmap("P", "g", 1)
    k.do("madvise", "P", "h", advice="free")
    k.do("migrate", "P", "h", 5, 6)
    k.do("munmap", "P", "g")

    assert 19 * 4 == k.smaps("P", "h").kib()["lazyfree"]


@EVERYWHERE
def test_free_of_swapped_memory(flavour: Flavour) -> None:
    """MADV_FREE and MADV_DONTNEED of swapped memory free the slots."""
    k = written(flavour, 32, 4)
    k.do("swapout", "P", "h")
    k.do("madvise", "P", "h", 0, 16, advice="free")
    k.do("madvise", "P", "h", 16, 32, advice="dontneed")

    assert (0, 0) == (k.swapped("P", "h"), k.machine.swap.used)


@EVERYWHERE
def test_advice_that_is_not_for_such_memory(flavour: Flavour) -> None:
    """Locked, hugetlb and shared memory refuse some advice, and then nothing of the range is changed."""
    k = written(flavour, 64, 4)
    k.do("mlock", "P", "h", 32, 48, lock=True)
    k.mmap("P", "t", 512, kind=Kind.HUGETLB, orders=(9,))
    k.write("P", "t")
    k.mmap("P", "s", 16, shared=True)
    before = k.orders("P", "h")

    for region, advice in (
        ("h", "dontneed"),
        ("h", "pageout"),
        ("h", "cold"),
        ("t", "pageout"),
        ("t", "cold"),
        ("t", "hugepage"),
        ("t", "free"),
        ("s", "free"),
        ("s", "collapse"),
        ("h", "collapse"),
    ):
        with pytest.raises(ActionError):
            k.do("madvise", "P", region, advice=advice)
    with pytest.raises(ActionError, match="whole folios"):
        k.do("madvise", "P", "t", 0, 100, advice="dontneed")
    assert before == k.orders("P", "h")


@EVERYWHERE
def test_hugetlb_cannot_be_reclaimed(flavour: Flavour) -> None:
    """Hugetlb folios are neither swapped nor split."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, kind=Kind.HUGETLB, orders=(9,), shared=True)
    k.write("P", "h")
    for verb in ("swapout", "split"):
        k.do(verb, "P", "h")

    assert [9] * 512 == k.orders("P", "h")
