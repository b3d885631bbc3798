"""Section 6 of the mechanism: fork duplicates mappings, and writes afterwards reuse memory or copy it."""

from __future__ import annotations

import pytest

from mapcount.sim.errors import ActionError
from mapcount.sim.memory import Kind
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, V6_14, Flavour

from .kernel import BEFORE_6_15, EVERYWHERE, WITH_SLOTS, Kernel


def split_pmd(k: Kernel) -> None:
    """Make P's PMD at the start of h 512 PTEs."""
    k.do("mprotect", "P", "h", 0, 1, prot="r")
    k.do("mprotect", "P", "h", 0, 1, prot="rw")


@EVERYWHERE
@pytest.mark.parametrize("order", [0, 4, 9])
def test_fork_shares_and_protects(flavour: Flavour, order: int) -> None:
    """After fork both map the folio once more, read-only, and no page is exclusive; statistics stay."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=(order,) if order else ())
    k.write("P", "h")
    before = {group: dict(stats) for group, stats in k.machine.stats.items()}
    k.fork("C")

    assert dict.fromkeys("PC", False) == {p: k.entry(p, "h").writable for p in "PC"}  # type: ignore[union-attr]
    assert 0 == k.exclusive_marks("P", "h")
    assert k.maybe_shared("P", "h")
    assert before == k.machine.stats


@pytest.mark.parametrize(
    ("flavour", "cost"),
    [(V6_14, (512, 0, 1)), (PAGE_MAPCOUNT, (512, 1, 0)), (NO_PAGE_MAPCOUNT, (0, 1, 0))],
    ids=str,
)
def test_cost_of_forking_a_pte_mapped_huge_page(flavour: Flavour, cost: tuple[int, int, int]) -> None:
    """Fork updates 512 page counters of a PTE-mapped huge page, or one counter under a lock without them."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=(9,))
    k.write("P", "h")
    split_pmd(k)
    k.cost()
    k.fork("C")

    assert cost == k.cost()


@WITH_SLOTS
def test_a_batch_ends_with_its_page_table(flavour: Flavour) -> None:
    """A folio that lies across the end of a page table is counted in two batches."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.write("P", "h")
    k.mmap("P", "to", 1024, reserved=True)
    k.system.mremap("P", k.system.stretches("P", "h"), "to", 504, None)
    k.cost()
    k.fork("C")

    assert 2 == k.cost()[1]


@EVERYWHERE
def test_look_alikes_that_lie_differently(flavour: Flavour) -> None:
    """Look-alike folios moved to an odd address are forked, swapped out, split and unmapped correctly."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1024, orders=(4,))
    k.write("P", "h")
    k.mmap("P", "to", 2048, reserved=True)
    k.system.mremap("P", k.system.stretches("P", "h"), "to", 3, None)
    k.fork("C")
    k.do("split", "C", "to", 3, 100)
    k.do("migrate", "C", "to", 100, 200)
    k.do("swapout", "P", "to", 200, 1027)
    k.exit("P")
    k.do("munmap", "C", "to", 500, 600)
    k.exit("C")

    assert [] == list(k.machine.memory.folios)


@EVERYWHERE
@pytest.mark.parametrize("kind", [Kind.FILE, Kind.SHMEM])
def test_files_are_not_copied(flavour: Flavour, kind: Kind) -> None:
    """A VMA without anonymous memory is not copied by fork, only its mapping is; the child faults again."""
    k = Kernel(flavour)
    k.mmap("P", "h", 32, kind=kind, file="f", orders=(4,))
    k.read("P", "h")
    k.fork("A")
    k.write("P", "h", 3, 4)
    k.fork("B")

    assert [-1] * 32 == k.orders("A", "h")
    assert [0 if page == 3 else 4 for page in range(32)] == k.orders("B", "h")


@EVERYWHERE
def test_zero_pages_across_vmas(flavour: Flavour) -> None:
    """A run of zero pages that spans VMAs is copied once, not once for each VMA."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64)
    k.write("P", "h", 0, 1)
    k.do("mprotect", "P", "h", prot="r")
    k.read("P", "h")
    k.do("mprotect", "P", "h", 20, 30, prot="rw")
    k.fork("C")

    entry = k.entry("C", "h", 40)
    assert entry is not None
    assert entry.zero


@EVERYWHERE
def test_zero_pages_alone_are_not_copied(flavour: Flavour) -> None:
    """Fork leaves out what holds no anonymous memory: the child maps the zero page when it reads."""
    k = Kernel(flavour)
    k.mmap("P", "h", 64)
    k.read("P", "h")
    k.fork("C")

    assert k.entry("P", "h", 40) is not None
    assert k.entry("C", "h", 40) is None


@EVERYWHERE
@pytest.mark.parametrize("order", [0, 4, 9])
def test_pinned_pages_are_copied_by_fork(flavour: Flavour, order: int) -> None:
    """Exclusive pages of a folio that may be pinned are copied for the child; the parent's stay exclusive."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=(order,) if order else ())
    k.write("P", "h")
    k.do("pin", "P", "h", 3, 4, hold=True)
    splits = k.machine.events["thp_split_pmd"]
    k.fork("C")

    assert k.pfn("P", "h", 3) != k.pfn("C", "h", 3)
    assert not k.maybe_shared("P", "h", 3)
    assert 0 == k.folio("C", "h", 3).order
    assert (order == 9) == k.machine.events["thp_split_pmd"] - splits


@EVERYWHERE
def test_pinned_hugetlb_is_copied_whole(flavour: Flavour) -> None:
    """A pinned hugetlb folio is copied by fork, those beside it are shared."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1024, kind=Kind.HUGETLB, orders=(9,))
    k.write("P", "h")
    k.do("pin", "P", "h", 600, 601, hold=True)
    k.fork("C")

    assert k.pfn("P", "h") == k.pfn("C", "h")
    assert k.pfn("P", "h", 512) != k.pfn("C", "h", 512)
    assert (True, False) == (k.maybe_shared("P", "h"), k.maybe_shared("P", "h", 512))


@EVERYWHERE
def test_copies_of_protected_pages(flavour: Flavour) -> None:
    """What fork copies because of a pin is mapped read-only where the VMA is."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16)
    k.do("pin", "P", "h", hold=True)
    k.do("mprotect", "P", "h", prot="r")
    k.fork("C")

    entry = k.entry("C", "h")
    assert entry is not None
    assert not entry.writable


@EVERYWHERE
def test_unpinned_folios_beside_pinned_ones(flavour: Flavour) -> None:
    """Only folios that may be pinned are copied; those beside them are shared and written to by nobody."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=(4,))
    k.write("P", "h")
    k.do("pin", "P", "h", 2, 100, hold=True)
    k.fork("C")

    assert [0] * 112 + [4] * 400 == k.orders("C", "h")
    entry = k.entry("P", "h", 300)
    assert entry is not None
    assert not entry.writable


@WITH_SLOTS
def test_reuse_after_exit(flavour: Flavour) -> None:
    """Once the child is gone, a write to a large folio reuses the page and marks it alone exclusive."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.write("P", "h")
    k.fork("C")
    k.exit("C")
    k.write("P", "h", 5, 6)

    assert [4] * 16 == k.orders("P", "h")
    assert 1 == k.exclusive_marks("P", "h")


@BEFORE_6_15
def test_no_reuse_before_6_15(flavour: Flavour) -> None:
    """Before 6.15 the only owner copies page by page, until one mapping is the only reference."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.write("P", "h")
    k.fork("C")
    k.exit("C")
    k.write("P", "h")

    assert [0] * 15 + [4] == k.orders("P", "h")


@WITH_SLOTS
def test_last_page_is_copied(flavour: Flavour) -> None:
    """With one page still mapped a large folio's page is copied, so that the folio can be freed."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.write("P", "h")
    k.fork("C")
    k.exit("C")
    k.do("munmap", "P", "h", 0, 15)
    k.write("P", "h", 15, 16)

    assert 0 == k.folio("P", "h", 15).order
    assert 1 == k.machine.total("anon")


@WITH_SLOTS
def test_third_process_copies(flavour: Flavour) -> None:
    """A third process that finds no slot stays "shared" when it is the last, and copies all it writes."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.write("P", "h")
    k.fork("A", "B")
    k.exit("P", "A")
    assert k.maybe_shared("B", "h")
    k.write("B", "h")

    assert [0] * 16 == k.orders("B", "h")


@WITH_SLOTS
@pytest.mark.parametrize("order_of_exits", ["AP", "PA"])
def test_one_child_is_exact(flavour: Flavour, order_of_exits: str) -> None:
    """Parent and one child are told apart in either order of exits: the one that is left reuses."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.write("P", "h")
    k.fork("A")
    k.exit(order_of_exits[0])
    (left,) = order_of_exits[1]
    assert not k.maybe_shared(left, "h")
    k.write(left, "h")

    assert [4] * 16 == k.orders(left, "h")


@WITH_SLOTS
def test_a_reference_prevents_reuse(flavour: Flavour) -> None:
    """A folio that is referred to by more than its mappings is copied: refcount and total differ."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.write("P", "h")
    k.fork("C")
    k.exit("C")
    k.run("P", "h").folio.refcount += 1
    k.system.touch("P", k.system.stretches("P", "h", 5, 6), write=True)
    k.run("P", "h").folio.refcount -= 1
    k.check()

    assert [4] * 5 + [0] + [4] * 10 == k.orders("P", "h")


@EVERYWHERE
def test_pmd_reuse(flavour: Flavour) -> None:
    """A PMD whose folio has no other reference is reused whole."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=(9,))
    k.write("P", "h")
    k.fork("C")
    k.exit("C")
    k.write("P", "h", 5, 6)

    entry = k.entry("P", "h")
    assert entry is not None
    assert (9, True) == (entry.level, entry.writable)


@EVERYWHERE
def test_pmd_of_a_shared_folio(flavour: Flavour) -> None:
    """A write through a PMD to a folio that others map splits the PMD and copies the one page."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, orders=(9,))
    k.write("P", "h")
    k.fork("C")
    k.write("P", "h", 5, 6)

    assert [9] * 5 + [0] + [9] * 506 == k.orders("P", "h")
    entry = k.entry("C", "h")
    assert entry is not None
    assert 9 == entry.level
    assert 512 == k.folio("C", "h").large_mapcount
    assert 513 == k.machine.total("anon")


@EVERYWHERE
def test_small_page_reuse(flavour: Flavour) -> None:
    """A small page is reused iff it has no other reference."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1)
    k.write("P", "h")
    old = k.pfn("P", "h")
    k.fork("C")
    k.write("C", "h")
    assert old != k.pfn("C", "h")
    k.write("P", "h")

    assert old == k.pfn("P", "h")


@EVERYWHERE
def test_hugetlb_copy_on_write(flavour: Flavour) -> None:
    """A write to a shared private hugetlb folio copies it whole."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, kind=Kind.HUGETLB, orders=(9,))
    k.write("P", "h")
    k.fork("C")
    k.write("C", "h", 5, 6)

    assert k.pfn("P", "h") != k.pfn("C", "h")
    assert (False, False) == (k.maybe_shared("P", "h"), k.maybe_shared("C", "h"))


@pytest.mark.parametrize("verb", ["fork", "exec", "spawn"])
def test_no_mm_id_left(verb: str) -> None:
    """A 32-bit kernel has 32767 MM ids; without one, fork and exec fail and change nothing."""
    k = Kernel(PAGE_MAPCOUNT.on(32))
    k.mmap("P", "h", 16)
    k.write("P", "h")
    taken = [k.machine.mm_ids.alloc() for _ in range(k.machine.flavour.max_mm_id - 1)]
    assert 32767 == max(taken)

    with pytest.raises(ActionError, match="MM ids are taken"):
        getattr(k.system, verb)(*{"fork": ("P", "C"), "exec": ("P",), "spawn": ("C",)}[verb])
    assert ["P"] == list(k.machine.processes)
    assert [0] * 16 == k.orders("P", "h")


@EVERYWHERE
def test_mm_ids_are_reused(flavour: Flavour) -> None:
    """The id of a process that exited goes to the next one: the lowest free id always does."""
    k = Kernel(flavour)
    k.fork("A", "B")
    k.exit("A")
    k.fork("C")

    assert {"P": 1, "B": 3, "C": 2} == {p.name: p.mm.mm_id for p in k.machine.processes.values()}


@EVERYWHERE
def test_exec_takes_the_new_id_first(flavour: Flavour) -> None:
    """For a moment exec holds two ids: the new mm cannot get the old one's."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.write("P", "h")
    k.system.exec("P")
    k.check()

    assert 2 == k.system.process("P").mm.mm_id
    assert [] == list(k.machine.memory.folios)
    assert 1 == k.machine.mm_ids.alloc()
