"""Pins that hold memory whatever page tables do, and pages merged by KSM."""

from __future__ import annotations

import pytest

from mapcount.sim.errors import ActionError
from mapcount.sim.memory import Kind
from mapcount.tracking.flavour import Flavour

from .kernel import EVERYWHERE, Kernel


def written(flavour: Flavour, size: int, order: int) -> Kernel:
    """P has written all of h."""
    k = Kernel(flavour)
    k.mmap("P", "h", size, orders=(order,) if order else ())
    k.write("P", "h")
    return k


@EVERYWHERE
def test_pins_of_large_and_small_folios(flavour: Flavour) -> None:
    """A pin of a large folio is a pin count and a reference; of a small one, 1024 references."""
    k = written(flavour, 17, 4)
    k.do("pin", "P", "h", hold=True)

    large, small = k.folio("P", "h"), k.folio("P", "h", 16)
    assert (16, 16 + 16) == (large.pincount, large.refcount)
    assert (0, 1 + 1024) == (small.pincount, small.refcount)
    k.do("pin", "P", "h", hold=False)
    assert (0, 16, 1) == (large.pincount, large.refcount, small.refcount)


@EVERYWHERE
def test_pin_copies_what_is_shared(flavour: Flavour) -> None:
    """A pin faults for writing: it holds memory that is exclusively the process's own."""
    k = written(flavour, 16, 4)
    k.fork("C")
    k.do("pin", "P", "h", 3, 4, hold=True)

    assert k.pfn("P", "h", 3) != k.pfn("C", "h", 3)
    assert 1 == k.run("P", "h", 3).anon_exclusive[0]


@EVERYWHERE
def test_pinned_memory_survives_munmap(flavour: Flavour) -> None:
    """Unmapped pages that are pinned stay in memory until they are unpinned."""
    k = written(flavour, 16, 4)
    k.do("pin", "P", "h", 3, 4, hold=True)
    k.do("munmap", "P", "h")
    (run,) = k.machine.memory.folios
    assert (0, 1, 0) == (run.folio.large_mapcount, run.folio.refcount, k.machine.total("anon"))
    k.do("pin", "P", "h", 3, 4, hold=False)

    assert [] == list(k.machine.memory.folios)


@EVERYWHERE
@pytest.mark.parametrize("end", ["exit", "exec"])
def test_pins_go_with_their_process(flavour: Flavour, end: str) -> None:
    """Pins are released by exit, after the memory is unmapped; exec keeps them, so does a child's exit."""
    k = written(flavour, 16, 4)
    k.do("pin", "P", "h", 3, 4, hold=True)
    k.fork("C")
    k.exit("C")
    assert 1 == k.folio("P", "h").pincount
    getattr(k.system, end)("P")
    k.check()

    assert (1 if end == "exec" else 0) == len(k.machine.memory.folios)


@EVERYWHERE
def test_impossible_pins(flavour: Flavour) -> None:
    """What is pinned cannot be pinned again, nor unpinned twice, nor what may not be written."""
    k = written(flavour, 16, 4)
    k.do("pin", "P", "h", 3, 5, hold=True)
    with pytest.raises(ActionError, match="pinned already"):
        k.do("pin", "P", "h", 4, 8, hold=True)
    with pytest.raises(ActionError, match="not all of it is pinned"):
        k.do("pin", "P", "h", 4, 8, hold=False)
    k.do("mprotect", "P", "h", 8, 16, prot="r")
    with pytest.raises(ActionError, match="may not be written"):
        k.do("pin", "P", "h", 6, 10, hold=True)

    assert 2 == k.folio("P", "h").pincount


@EVERYWHERE
def test_ksm(flavour: Flavour) -> None:
    """All small anonymous pages become one that each maps read-only; a write gets its own page again."""
    k = written(flavour, 8, 0)
    k.fork("C")
    k.write("C", "h", 0, 4)
    k.system.ksm([(p, *k.system.stretches(p, "h")[0]) for p in "PC"])
    k.check()
    assert ([k.pfn("P", "h")] * 8, 1) == ([k.pfn("C", "h", i) for i in range(8)], k.machine.total("anon"))
    assert 16 == k.folio("P", "h").refcount
    k.write("P", "h", 3, 4)

    assert Kind.ANON is k.run("P", "h", 3).kind
    assert (15, 2) == (k.folio("P", "h").refcount, k.machine.total("anon"))


@EVERYWHERE
def test_ksm_page_is_never_reused(flavour: Flavour) -> None:
    """A KSM page is copied even by the last who maps it, and is then gone."""
    k = written(flavour, 1, 0)
    k.system.ksm([("P", *k.system.stretches("P", "h")[0])])
    before = k.pfn("P", "h")
    k.write("P", "h")

    assert before != k.pfn("P", "h")
    assert 1 == len(k.machine.memory.folios)


@EVERYWHERE
def test_ksm_leaves_large_and_held_folios(flavour: Flavour) -> None:
    """Large and pinned folios are not merged; if there is nothing else, it is an error and splits no PMD."""
    k = written(flavour, 520, 9)
    k.do("pin", "P", "h", 512, 520, hold=True)

    with pytest.raises(ActionError, match="no small anonymous page"):
        k.system.ksm([("P", *k.system.stretches("P", "h", 3, 520)[0])])
    entry = k.entry("P", "h")
    assert entry is not None
    assert 9 == entry.level


@EVERYWHERE
def test_ksm_is_limited(flavour: Flavour) -> None:
    """Every merged page is an entry of its own, so one step merges 65536 at most."""
    k = Kernel(flavour)
    k.mmap("P", "h", (1 << 16) + 1)

    with pytest.raises(ActionError, match="at most 65536 pages"):
        k.system.ksm([("P", *k.system.stretches("P", "h")[0])])
