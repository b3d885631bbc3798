"""Section 7 of the mechanism, row by row: what /proc says of the same memory on each kernel."""

from __future__ import annotations

import pytest

from mapcount.sim.memory import Kind
from mapcount.sim.proc import KPF, kpageflags, mapmax, pagemap
from mapcount.tracking.flavour import (
    FLAVOURS,
    NO_PAGE_MAPCOUNT,
    PAGE_MAPCOUNT,
    PUD_ORDER,
    TOTAL_MAPPED_PAGES,
    V6_14,
    Flavour,
)
from mapcount.tracking.questions import folio_average_page_mapcount

from .kernel import EVERYWHERE, WITH_PAGES, WITH_SLOTS, WITHOUT_PAGES, Kernel


def half_shared(flavour: Flavour, order: int = 4, unmapped: int = 8) -> Kernel:
    """P maps all pages of a folio, its child C all but the first few."""
    k = Kernel(flavour)
    k.mmap("P", "h", 1 << order, orders=(order,))
    k.write("P", "h")
    k.fork("C")
    if unmapped:
        k.do("munmap", "C", "h", 0, unmapped)
    return k


def bits_56(k: Kernel, process: str, region: str) -> int:
    """How many pages of a region pagemap calls exclusively mapped."""
    where = k.system.process(process).regions[region]
    runs = pagemap(k.machine, k.system.process(process).mm, where.start, where.end)
    return sum(run.n for run in runs if run.exclusive)


# -- how often is this page mapped? -------------------------------------------------------------------------


@WITH_PAGES
def test_own_mapcounts(flavour: Flavour) -> None:
    """With per-page counts kpagecount tells each page's own count."""
    assert [1] * 8 + [2] * 8 == half_shared(flavour).mapcounts("P", "h")


@WITH_PAGES
def test_own_mapcounts_include_the_entire_mapcount(flavour: Flavour) -> None:
    """A PMD mapping counts for every page, beside the PTEs of others."""
    assert [1] * 8 + [2] * 504 == half_shared(flavour, 9).mapcounts("P", "h")


@WITHOUT_PAGES
@pytest.mark.parametrize(
    ("unmapped", "average"),
    [(0, 2), (7, 2), (8, 2), (9, 1), (16, 1)],
)
def test_average_is_rounded_half_up(flavour: Flavour, unmapped: int, average: int) -> None:
    """Without, all pages of a folio have the average of 16 + 16 - `unmapped` mappings, rounded half up."""
    assert [average] * 16 == half_shared(flavour, 4, unmapped).mapcounts("P", "h")


@WITHOUT_PAGES
def test_average_is_at_least_1(flavour: Flavour) -> None:
    """A folio of which one page is mapped has the average 1; one of which none is, 0."""
    k = half_shared(flavour, 4, 16)
    k.do("munmap", "P", "h", 1, 16)
    folio = k.folio("P", "h")
    assert [1] * 16 == k.mapcounts("P", "h")
    k.do("pin", "P", "h", 0, 1, hold=True)
    k.do("munmap", "P", "h", 0, 1)
    assert 0 == folio.large_mapcount == folio_average_page_mapcount(folio)


@pytest.mark.parametrize(
    ("flavour", "unmapped", "average"),
    [
        (NO_PAGE_MAPCOUNT, 256, 2),
        (NO_PAGE_MAPCOUNT, 257, 1),
        (TOTAL_MAPPED_PAGES, 256, 2),
        (TOTAL_MAPPED_PAGES, 257, 1),
    ],
    ids=str,
)
def test_average_of_pmd_and_ptes(flavour: Flavour, unmapped: int, average: int) -> None:
    """A PMD counts as one for every page; what PTEs map beside it is averaged and rounded half up."""
    assert [average] * 512 == half_shared(flavour, 9, unmapped).mapcounts("P", "h")


@EVERYWHERE
def test_two_pmds(flavour: Flavour) -> None:
    """Two PMDs and nothing else map every page twice, on every kernel."""
    assert [2] * 512 == half_shared(flavour, 9, 0).mapcounts("P", "h")


@EVERYWHERE
@pytest.mark.parametrize("order", [10, PUD_ORDER])
def test_folios_larger_than_a_pmd(flavour: Flavour, order: int) -> None:
    """A folio larger than a PMD is mapped once by each process, by whatever entries."""
    k = half_shared(flavour, order, 0)

    assert [2] * (1 << order) == k.mapcounts("P", "h")
    assert (4 << order, 2 << order) == tuple(k.smaps("P", "h").kib()[name] for name in ("rss", "pss"))


@EVERYWHERE
def test_hugetlb_mapcounts(flavour: Flavour) -> None:
    """Every page of a hugetlb folio is mapped as often as the folio."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, kind=Kind.HUGETLB, orders=(9,))
    k.write("P", "h")
    k.fork("C")

    assert [2] * 512 == k.mapcounts("P", "h")


# -- smaps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 4, 9, 10])
def test_rss_never_changes(order: int) -> None:
    """Rss is the pages present, on every kernel."""
    for flavour in FLAVOURS.values():
        k = Kernel(flavour)
        k.mmap("P", "h", 1024, orders=(order,) if order else ())
        k.write("P", "h")
        k.fork("C")
        k.do("munmap", "C", "h", 100, 300)

        assert (4096, 3296) == tuple(k.smaps(p, "h").kib()["rss"] for p in "PC")


@pytest.mark.parametrize(
    ("flavour", "pss"),
    [(V6_14, 32 + 16), (PAGE_MAPCOUNT, 32 + 16), (NO_PAGE_MAPCOUNT, 32), (TOTAL_MAPPED_PAGES, 32)],
    ids=str,
)
def test_pss(flavour: Flavour, pss: int) -> None:
    """Pss divides each page by its own count, or by the folio's average."""
    assert pss == half_shared(flavour).smaps("P", "h").kib()["pss"]


@EVERYWHERE
def test_pss_is_truncated_at_the_end(flavour: Flavour) -> None:
    """A page that three map is 4096 / 3 bytes with 12 more bits for each, truncated when printed."""
    k = Kernel(flavour)
    k.mmap("P", "h", 3)
    k.write("P", "h")
    k.fork("A", "B")

    assert 3 * ((4096 << 12) // 3) == k.smaps("P", "h").pss
    assert 3 == k.smaps("P", "h").kib()["pss"]


@pytest.mark.parametrize(
    ("flavour", "private"),
    [(V6_14, 32), (PAGE_MAPCOUNT, 32), (NO_PAGE_MAPCOUNT, 0), (TOTAL_MAPPED_PAGES, 0)],
    ids=str,
)
def test_private_and_shared(flavour: Flavour, private: int) -> None:
    """Private is the pages mapped once, or all of a folio that is not maybe mapped shared."""
    seen = half_shared(flavour).smaps("P", "h").kib()

    assert (private, 64 - private) == (seen["private_dirty"], seen["shared_dirty"])
    assert (0, 0) == (seen["private_clean"], seen["shared_clean"])


@pytest.mark.parametrize(
    ("flavour", "private"),
    [(V6_14, 0), (PAGE_MAPCOUNT, 0), (NO_PAGE_MAPCOUNT, 64), (TOTAL_MAPPED_PAGES, 64)],
    ids=str,
)
def test_two_vmas_of_one_process(flavour: Flavour, private: int) -> None:
    """What one process maps twice is shared by the pages' counts, and private by its one owner."""
    k = Kernel(flavour)
    for name in ("a", "b"):
        k.mmap("P", name, 16, kind=Kind.SHMEM, file="m", shared=True, orders=(4,))
        k.write("P", name)

    assert (private, 64 - private) == tuple(
        k.smaps("P", "a").kib()[f"{word}_dirty"] for word in ("private", "shared")
    )


@pytest.mark.parametrize(
    ("flavour", "private"),
    [(V6_14, 64), (PAGE_MAPCOUNT, 64), (NO_PAGE_MAPCOUNT, 0), (TOTAL_MAPPED_PAGES, 0)],
    ids=str,
)
def test_sole_owner_mistaken_for_shared(flavour: Flavour, private: int) -> None:
    """The last of three processes, without a slot, owns its memory alone: only page counts say so."""
    k = half_shared(flavour, 4, 0)
    k.fork("B")
    k.exit("P", "C")

    assert private == k.smaps("B", "h").kib()["private_dirty"]
    assert 64 == k.smaps("B", "h").kib()["pss"]
    assert private // 4 == bits_56(k, "B", "h")


@EVERYWHERE
def test_one_reference(flavour: Flavour) -> None:
    """A folio with one reference is private and counted in full without a look at its counts."""
    k = half_shared(flavour, 9, 0)
    k.exit("C")
    seen = k.smaps("P", "h").kib()

    assert 1 == k.folio("P", "h").refcount
    assert (2048, 2048) == (seen["pss"], seen["private_dirty"])


@EVERYWHERE
def test_clean_and_dirty(flavour: Flavour) -> None:
    """Pages of a file and of shared memory are clean when read, dirty when written."""
    k = Kernel(flavour)
    k.mmap("P", "f", 32, kind=Kind.FILE, file="f", shared=True, orders=(4,))
    k.mmap("P", "m", 16, kind=Kind.SHMEM, file="m", shared=True)
    k.read("P", "f")
    k.write("P", "f", 20, 21)
    k.read("P", "m")
    k.write("P", "m", 3, 4)

    seen = k.smaps("P", "f").kib()
    assert (124, 4, 4) == (seen["private_clean"], seen["private_dirty"], seen["pss_dirty"])
    seen = k.smaps("P", "m").kib()
    assert (60, 4, 4) == (seen["private_clean"], seen["private_dirty"], seen["pss_dirty"])


@EVERYWHERE
def test_huge_entries(flavour: Flavour) -> None:
    """AnonHugePages and the like are what PMDs map, for this VMA, and are gone when the PMD is split."""
    k = half_shared(flavour, 9, 8)
    k.mmap("P", "m", 512, kind=Kind.SHMEM, file="m", shared=True, orders=(9,))
    k.write("P", "m")
    k.mmap("P", "f", 512, kind=Kind.FILE, file="f", orders=(9,))
    k.read("P", "f")

    assert [2048, 0] == [k.smaps(p, "h").kib()["anon_huge_pages"] for p in "PC"]
    assert 2048 == k.smaps("P", "m").kib()["shmem_pmd_mapped"]
    assert 2048 == k.smaps("P", "f").kib()["file_pmd_mapped"]


@EVERYWHERE
def test_swap_fields(flavour: Flavour) -> None:
    """Swap is the swapped pages, SwapPss divides each by those who hold its slot."""
    k = half_shared(flavour, 4, 8)
    k.do("swapout", "P", "h")

    seen = k.smaps("P", "h").kib()
    assert (64, 32 + 16, 0) == (seen["swap"], seen["swap_pss"], seen["rss"])


@EVERYWHERE
def test_hugetlb_fields(flavour: Flavour) -> None:
    """Hugetlb memory is outside Rss and Pss, private or shared as a whole."""
    k = Kernel(flavour)
    k.mmap("P", "h", 512, kind=Kind.HUGETLB, orders=(9,))
    k.write("P", "h")
    assert 2048 == k.smaps("P", "h").kib()["private_hugetlb"]
    k.fork("C")

    seen = k.smaps("P", "h").kib()
    assert (0, 2048, 0, 0) == tuple(seen[n] for n in ("private_hugetlb", "shared_hugetlb", "rss", "pss"))


@EVERYWHERE
def test_locked_referenced_anonymous_and_ksm(flavour: Flavour) -> None:
    """Locked is Pss in locked VMAs, Referenced what was touched, Anonymous and KSM what is such."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16)
    k.write("P", "h")
    k.fork("C")
    k.do("mlock", "P", "h", 0, 4, lock=True)
    k.system.ksm([("C", *k.system.stretches("C", "h", 8, 16)[0])])
    k.check()

    seen, child = k.smaps("P", "h").kib(), k.smaps("C", "h").kib()
    assert (16, 64, 64, 0) == (seen["locked"], seen["referenced"], seen["anonymous"], seen["ksm"])
    assert (32, 64) == (child["ksm"], child["anonymous"])


@EVERYWHERE
def test_a_rollup_adds_before_it_rounds(flavour: Flavour) -> None:
    """VMAs are added with their extra bits, so that a rollup loses less than its parts."""
    k = Kernel(flavour)
    k.mmap("P", "h", 3)
    k.write("P", "h")
    k.fork("A", "B")
    k.do("mprotect", "P", "h", 1, 2, prot="r")

    assert 3 == len(k.system.process("P").mm.vmas)
    assert 3 == k.smaps("P", "h").kib()["pss"]


# -- pagemap, numa_maps, kpageflags, meminfo ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "exclusive"),
    [(V6_14, 8), (PAGE_MAPCOUNT, 8), (NO_PAGE_MAPCOUNT, 0), (TOTAL_MAPPED_PAGES, 0)],
    ids=str,
)
def test_pagemap_bit_56(flavour: Flavour, exclusive: int) -> None:
    """A page is exclusively mapped if its own count is 1, or if its folio is not maybe mapped shared."""
    k = half_shared(flavour)
    assert exclusive == bits_56(k, "P", "h")
    k.exit("C")

    assert 16 == bits_56(k, "P", "h")


@EVERYWHERE
def test_the_other_bits_of_pagemap(flavour: Flavour) -> None:
    """Present, swapped, of a file or shared, and where: page by page, and nothing for holes."""
    k = Kernel(flavour)
    k.mmap("P", "h", 12)
    k.write("P", "h", 0, 8)
    k.do("swapout", "P", "h", 4, 6)
    k.read("P", "h", 8, 10)
    k.mmap("P", "m", 4, shared=True)
    k.read("P", "m")

    def seen(region: str) -> str:
        where = k.system.process("P").regions[region]
        runs = pagemap(k.machine, k.system.process("P").mm, where.start, where.end)
        words = (("s" if r.swapped else "f" if r.file else "." if not r.present else "p") * r.n for r in runs)
        return "".join(words)

    assert "ppppsspppp.." == seen("h")
    assert "ffff" == seen("m")


@pytest.mark.parametrize(
    ("flavour", "as_documented", "as_it_is"),
    [(PAGE_MAPCOUNT, 8, 512), (NO_PAGE_MAPCOUNT, 0, 0)],
    ids=str,
)
def test_bit_56_under_a_pmd(flavour: Flavour, as_documented: int, as_it_is: int) -> None:
    """Real kernels let the first page's bit 56 speak for all pages that a PMD maps."""
    k = half_shared(flavour, 9)
    where = k.system.process("P").regions["h"]
    mm = k.system.process("P").mm

    runs = pagemap(k.machine, mm, where.start, where.end, deviating=True)
    assert as_documented == bits_56(k, "P", "h")
    assert as_it_is == sum(run.n for run in runs if run.exclusive)


@pytest.mark.parametrize(
    ("flavour", "most"),
    [(V6_14, 2), (PAGE_MAPCOUNT, 2), (NO_PAGE_MAPCOUNT, 1), (TOTAL_MAPPED_PAGES, 1)],
    ids=str,
)
def test_mapmax(flavour: Flavour, most: int) -> None:
    """numa_maps tells the largest page mapcount, or the largest average: 17 mappings of 16 pages are 1."""
    k = half_shared(flavour, 4, 15)
    where = k.system.process("P").regions["h"]

    assert most == mapmax(k.machine, k.system.process("P").mm, where.start, where.end)


@pytest.mark.parametrize(
    ("flavour", "pages"),
    [(V6_14, 4), (PAGE_MAPCOUNT, 4), (NO_PAGE_MAPCOUNT, 16), (TOTAL_MAPPED_PAGES, 16)],
    ids=str,
)
def test_anon_pages_and_mapped(flavour: Flavour, pages: int) -> None:
    """AnonPages and Mapped count pages really mapped, or whole folios from first mapping to last."""
    k = Kernel(flavour)
    k.mmap("P", "h", 16, orders=(4,))
    k.mmap("P", "f", 16, kind=Kind.FILE, file="f", shared=True, orders=(4,))
    for region in ("h", "f"):
        k.write("P", region)
        k.do("munmap", "P", region, 0, 12)
    assert (pages, pages) == (k.machine.total("anon"), k.machine.total("file_mapped"))
    for region in ("h", "f"):
        k.do("munmap", "P", region, 12, 16)

    assert (0, 0) == (k.machine.total("anon"), k.machine.total("file_mapped"))


@EVERYWHERE
def test_anon_huge_pages(flavour: Flavour) -> None:
    """AnonHugePages counts folios with a PMD mapping, on every kernel, until the last PMD is gone."""
    k = half_shared(flavour, 9, 8)
    assert 512 == k.machine.total("anon_thp")
    k.do("munmap", "P", "h", 0, 1)

    assert 0 == k.machine.total("anon_thp")


@EVERYWHERE
def test_kpageflags(flavour: Flavour) -> None:
    """kpageflags tells what kind of folio a page is in, and where in it."""
    k = half_shared(flavour)
    k.mmap("P", "s", 1, shared=True)
    k.write("P", "s")

    def flags(region: str, page: int = 0) -> set[str]:
        bits = kpageflags(k.run("P", region), page)
        return {name for name, bit in KPF.items() if bits >> bit & 1}

    large = {"UPTODATE", "LRU", "MMAP", "ANON", "SWAPBACKED", "THP"}
    assert large | {"COMPOUND_HEAD"} == flags("h") - {"REFERENCED", "ACTIVE", "DIRTY"}
    assert large | {"COMPOUND_TAIL"} == flags("h", 3) - {"REFERENCED", "ACTIVE", "DIRTY"}
    assert {"UPTODATE", "LRU", "MMAP", "SWAPBACKED", "DIRTY"} == flags("s") - {"REFERENCED", "ACTIVE"}


@WITH_SLOTS
def test_word_size_makes_no_difference(flavour: Flavour) -> None:
    """What 32-bit kernels say of folios that fit their slots is what 64-bit kernels say."""
    one, other = half_shared(flavour.on(32), 9), half_shared(flavour.on(64), 9)

    assert one.smaps("P", "h").kib() == other.smaps("P", "h").kib()
