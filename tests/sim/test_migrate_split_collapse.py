"""Section 6 of the mechanism: folios move to other memory, become smaller ones, and become one."""

from __future__ import annotations

import pytest

from mapcount.sim.errors import ActionError
from mapcount.sim.memory import Kind
from mapcount.tracking.flavour import Flavour

from .kernel import ANY_LEVEL, EVERYWHERE, WITH_SLOTS, Kernel


def written(flavour: Flavour, size: int, order: int) -> Kernel:
    """P has written all of h."""
    k = Kernel(flavour)
    k.mmap("P", "h", size, orders=(order,) if order else ())
    k.write("P", "h")
    return k


def slots(k: Kernel, process: str) -> list[int]:
    """The MM ids in the two slots of the folio at the start of h."""
    found = k.folio(process, "h").slots
    assert found is not None
    return [found.mm_id(0), found.mm_id(1)]


@EVERYWHERE
@pytest.mark.parametrize("order", [0, 4, 9, 10])
def test_migration_keeps_everything(flavour: Flavour, order: int) -> None:
    """A migrated folio is elsewhere, with the same counts, marks and mappings."""
    k = written(flavour, 1024, order)
    k.fork("C")
    k.do("munmap", "C", "h", 100, 200)
    before, counters = k.pfn("P", "h"), k.folio("P", "h").counters()
    k.do("migrate", "P", "h")

    assert before != k.pfn("P", "h") == k.pfn("C", "h")
    assert counters == k.folio("P", "h").counters()


@WITH_SLOTS
def test_migration_gives_slots_anew(flavour: Flavour) -> None:
    """Mappings come back in rmap order: a process that found no slot gets one that has become free."""
    k = written(flavour, 16, 4)
    k.fork("A", "B")
    assert [1, 2] == slots(k, "P")
    k.exit("P")
    assert [0, 2] == slots(k, "A")
    k.do("migrate", "A", "h")
    assert [2, 3] == slots(k, "A")
    k.exit("A")

    assert not k.maybe_shared("B", "h")


@WITH_SLOTS
def test_migration_changes_who_owns(flavour: Flavour) -> None:
    """A parent whose VMA begins later than its child's comes after it, so the slots change places."""
    k = written(flavour, 16, 4)
    k.fork("A")
    k.do("munmap", "P", "h", 0, 8)
    assert [1, 2] == slots(k, "A")
    k.do("migrate", "P", "h", 8, 16)

    assert [2, 1] == slots(k, "A")
    assert k.maybe_shared("A", "h")


@EVERYWHERE
@pytest.mark.parametrize("verb", ["migrate", "split", "swapout"])
def test_pinned_folios_stay(flavour: Flavour, verb: str) -> None:
    """A folio with a pin is neither migrated nor split nor swapped out; its neighbours are."""
    k = written(flavour, 32, 4)
    k.do("pin", "P", "h", 3, 4, hold=True)
    before = k.pfn("P", "h"), k.pfn("P", "h", 16)
    k.do(verb, "P", "h")

    assert (before[0], 4) == (k.pfn("P", "h"), k.folio("P", "h").order)
    entry = k.entry("P", "h", 16)
    assert entry is not None
    assert {"migrate": (False, 4), "split": (False, 0), "swapout": (True, None)}[verb] == (
        entry.swapped,
        None if entry.swapped else k.folio("P", "h", 16).order,
    )


@EVERYWHERE
@pytest.mark.parametrize("order", [4, 9, 10])
def test_split(flavour: Flavour, order: int) -> None:
    """Each small folio has counters of its own: shared where it was mapped twice, freed where never."""
    k = written(flavour, 1024, order)
    k.fork("C")
    k.do("munmap", "C", "h", 4, 1024)
    k.do("munmap", "P", "h", 2, 4)
    k.do("munmap", "C", "h", 2, 3)
    k.do("split", "P", "h")

    assert [True, True] == [k.maybe_shared("P", "h", page) for page in (0, 1)]
    assert [False, False] == [k.maybe_shared("C", "h", 3), k.maybe_shared("P", "h", 4)]
    assert {0, -1} == set(k.orders("P", "h"))
    assert 1023 == k.machine.total("anon")


@EVERYWHERE
def test_split_keeps_the_exclusive_mark(flavour: Flavour) -> None:
    """The PMD's exclusive mark is each small folio's."""
    k = written(flavour, 512, 9)
    k.do("split", "P", "h")

    assert {1} == {run.anon_exclusive[0] for run in k.machine.memory.folios}
    assert (1, 1) == (k.machine.events["thp_split_page"], k.machine.events["thp_split_pmd"])


@EVERYWHERE
def test_split_of_look_alikes_at_an_odd_address(flavour: Flavour) -> None:
    """Folios that were moved to an odd place are all split."""
    k = written(flavour, 512, 1)
    k.mmap("P", "g", 600, reserved=True)
    k.system.mremap("P", k.system.stretches("P", "h"), "g", 15, None)
    k.do("split", "P", "g")

    assert [-1] * 15 + [0] * 512 + [-1] * 73 == k.orders("P", "g")


@EVERYWHERE
def test_split_of_a_cached_folio(flavour: Flavour) -> None:
    """Pages of a file are unmapped by a split and fault in again from the smaller folios in the cache."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, kind=Kind.SHMEM, file="m", shared=True, orders=(9,))
    k.write("P", "h")
    k.do("split", "P", "h")
    assert (512, 0, 0) == tuple(k.machine.total(name) for name in ("shmem", "shmem_thp", "file_mapped"))
    k.read("P", "h", 0, 1)

    assert [0] * 16 == k.orders("P", "h")[:16]


@EVERYWHERE
def test_look_alikes_that_part_are_all_told(flavour: Flavour) -> None:
    """When some of many look-alikes are migrated, both they and those that stay are seen to have changed."""
    k = written(flavour, 64, 0)
    k.do("migrate", "P", "h", 20, 30)
    k.machine.memory.touched.clear()
    k.system.migrate("P", k.system.stretches("P", "h", 40, 50))

    alive = {run for run in k.machine.memory.touched if k.machine.memory.folios.at(run.start) is run}
    assert [10, 10, 14] == sorted(run.n for run in alive)


@EVERYWHERE
@pytest.mark.parametrize("orders", [(), (4,)])
def test_collapse(flavour: Flavour, orders: tuple[int, ...]) -> None:
    """A new PMD-size folio replaces what was there, holes and swapped pages too, and is exclusive."""
    k = Kernel(flavour)
    k.mmap("P", "h", 600, orders=orders)
    k.write("P", "h", 0, 200)
    k.do("swapout", "P", "h", 50, 100)
    k.fork("C")
    k.do("madvise", "P", "h", advice="collapse")

    assert [9] * 512 + [-1] * 88 == k.orders("P", "h")
    assert (512, 1) == (k.machine.total("anon_thp"), k.exclusive_marks("P", "h"))
    assert not k.maybe_shared("P", "h")
    assert not k.maybe_shared("C", "h")


@EVERYWHERE
def test_collapse_of_a_huge_page(flavour: Flavour) -> None:
    """What a PMD maps already stays."""
    k = written(flavour, 512, 9)
    before = k.pfn("P", "h")
    k.do("madvise", "P", "h", advice="collapse")

    assert before == k.pfn("P", "h")


@EVERYWHERE
def test_collapse_of_pinned_memory(flavour: Flavour) -> None:
    """A page that something else holds keeps its range from being collapsed."""
    k = written(flavour, 512, 0)
    k.do("pin", "P", "h", 3, 4, hold=True)

    with pytest.raises(ActionError, match="cannot be collapsed"):
        k.do("madvise", "P", "h", advice="collapse")
    with pytest.raises(ActionError, match="no aligned range"):
        k.do("madvise", "P", "h", 3, 500, advice="collapse")
    assert [0] * 512 == k.orders("P", "h")


@ANY_LEVEL
def test_split_of_pmds_of_one_folio(flavour: Flavour) -> None:
    """A folio that two PMDs map becomes 1024 small ones, all still mapped."""
    k = written(flavour, 1024, 10)
    k.do("split", "P", "h")

    assert [0] * 1024 == k.orders("P", "h")
    assert 1024 == k.machine.total("anon")
