"""Each rule of section 6 of the mechanism as a story of a few steps, on every flavour and width."""

from __future__ import annotations

import pytest

from mapcount.scenario.parse import parse
from mapcount.scenario.run import run
from mapcount.tracking.flavour import FLAVOURS

RULES = {
    "a fault takes the largest folio that fits": """
        P mmap h 4M thp=2M,64K
        P write h[3p]
        P expect h folios=1 order=9 present=512
        P munmap h[2M:4M]
        P mmap g 96K thp=64K
        P write g
        P expect g large_folios=1 small_folios=8""",
    "a fault does not touch what is there": """
        P mmap h 64K thp=64K
        P mprotect h[3p] r
        P mprotect h[3p] rw
        P write h[3p]
        P madvise h[0p:3p] dontneed
        P write h
        P expect h large_folios=1 small_folios=3""",
    "a read of nothing maps the zero page, which nobody counts": """
        P mmap h 64K thp=64K
        P read h
        P expect h rss=0 present=16 folios=0
        P write h
        P expect h rss=64K""",
    "fork clears the exclusive marks, and a write after exit puts one back": """
        P mmap h 64K thp=64K
        P write h
        P expect h anon_exclusive=16
        P fork A
        P expect h anon_exclusive=0 total=32
        A exit
        P write h[3p]
        P expect h anon_exclusive=1 on=page-mapcount,no-page-mapcount,total-mapped-pages
        P expect h[3p] order=0 on=v6.14""",
    "fork copies no page tables of shared memory": """
        P mmap h 64K shmem=f shared thp=64K
        P write h
        P fork A
        A expect h present=0
        A read h[0p]
        A expect h present=16 truth=shared""",
    "a private file mapping is copied by fork once it has anonymous memory": """
        P mmap h 64K file=f thp=64K
        P read h
        P fork A
        A expect h present=0
        P write h[0p]
        P fork B
        B expect h present=16""",
    "partial munmap of a PMD splits the PMD, not the folio": """
        P mmap h 2M thp=2M
        P write h
        P munmap h[511p]
        P expect h[0p:511p] total=511 folios=1 anon_exclusive=511 partially_mapped=yes
        kernel expect thp_split_pmd=1 thp_split_page=0 deferred_split=1""",
    "a file's PMD is dropped when a part of it is unmapped": """
        P mmap h 2M shmem=f shared thp=2M
        P write h
        P munmap h[511p]
        P expect h present=0
        P read h[0p]
        P expect h present=16 entire=0""",
    "a write reuses an exclusive folio and copies a shared one": """
        P mmap h 64K thp=64K
        P write h
        P fork A
        P write h[0p]
        P expect h[0p] order=0
        A exit
        P write h[1p:16p]
        P expect h[1p:16p] order=4 on=page-mapcount,no-page-mapcount,total-mapped-pages""",
    "the last mapped page of a large folio is copied, so that the folio can go": """
        P mmap h 64K thp=64K
        P write h
        P fork A
        A exit
        P munmap h[1p:]
        P write h[0p]
        P expect h[0p] present=1 rss=4K
        P expect h[0p] order=0 on=page-mapcount,no-page-mapcount,total-mapped-pages""",
    "a PMD of which this is the only reference is reused whole": """
        P mmap h 2M thp=2M
        P write h
        P fork A
        A exit
        P write h[0p]
        P expect h entire=1 anon_huge_pages=2M on=v6.14,page-mapcount,no-page-mapcount
        P expect h anon_huge_pages=2M""",
    "a pin keeps fork from sharing the page, and migration and reclaim away": """
        P mmap h 64K thp=64K
        P pin h[3p]
        P fork A
        A expect h[3p] order=0 truth=exclusive
        P expect h[3p] order=4 pincount=1
        kernel migrate P.h
        kernel swapout P.h
        P expect h swap=0 pincount=1
        P unpin h[3p]
        kernel swapout P.h
        P expect h swap=16""",
    "PAGEOUT of a part splits the folio of a sole owner": """
        P mmap h 64K thp=64K
        P write h
        P madvise h[0p:8p] pageout
        P expect h swap=8 small_folios=8""",
    "PAGEOUT skips what may be shared": """
        P mmap h 64K thp=64K
        P write h
        P fork A
        P madvise h pageout
        P expect h swap=0 present=16""",
    "DONTNEED gives pages up at once": """
        P mmap h 64K thp=64K
        P write h
        P madvise h[0p:8p] dontneed
        P expect h present=8 partially_mapped=yes
        kernel expect anon_pages=8 on=v6.14,page-mapcount
        kernel expect anon_pages=16 on=no-page-mapcount,total-mapped-pages""",
    "memory given up with FREE is dropped, not written, unless written to again": """
        P mmap h 64K thp=64K
        P write h
        P madvise h free
        P expect h lazyfree=64K
        P write h[0p]
        kernel swapout P.h
        kernel expect pswpout=16
        P expect h swap=16""",
    "swapped pages are shared by fork and read back by each process": """
        P mmap h 64K small
        P write h
        kernel swapout P.h
        P fork A
        P expect h swap=16 swap_pss=32K
        A read h
        P expect h swap=16
        A expect h present=16
        A exit
        P read h
        P expect h present=16
        kernel expect pswpin=16""",
    "an exclusive page comes back exclusive from swap": """
        P mmap h 64K thp=64K
        P write h
        kernel swapout P.h
        P read h
        P expect h anon_exclusive=16 order=4""",
    "migration keeps counts, marks and sizes": """
        P mmap h 4M thp=2M
        P write h
        P fork A
        A munmap h[2M:]
        kernel migrate P.h
        P expect h[0:2M] total=2 anon_exclusive=0 truth=shared
        P expect h[2M:] total=1 truth=exclusive""",
    "split gives every small folio counters of its own and frees unmapped pages": """
        P mmap h 64K thp=64K
        P write h
        P fork A
        A munmap h[8p:]
        P munmap h[0p:4p]
        A munmap h[0p:4p]
        kernel split P.h
        P expect h small_folios=12 refcount<=2
        P expect h[8p:] truth=exclusive maybe_shared=no
        P expect h[4p:8p] truth=shared maybe_shared=yes
        kernel expect anon_pages=12""",
    "collapse replaces small pages by a huge one": """
        P mmap h 2M small
        P write h
        P madvise h collapse
        P expect h folios=1 order=9 anon_huge_pages=2M anon_exclusive=1""",
    "mremap moves entries and changes no count": """
        P mmap h 64K thp=64K
        P write h
        P mremap h[8p:] to=g
        P expect h[0p:8p] total=16 truth=exclusive maybe_shared=no
        P expect g total=16 present=8""",
    "an aligned PMD moves as a PMD": """
        P mmap h 4M thp=2M
        P write h
        P mremap h[2M:] to=g
        P expect g anon_huge_pages=2M
        kernel expect thp_split_pmd=0""",
    "exec gives everything back": """
        P mmap h 64K thp=64K
        P write h
        P fork A
        P exec
        A expect h truth=exclusive maybe_shared=no uss=64K
        kernel expect anon_pages=16""",
    "hugetlb is one entry, exact, and outside Rss": """
        P mmap h 4M hugetlb
        P write h
        P expect h rss=0 private_hugetlb=4M total=1
        P fork A
        P expect h shared_hugetlb=4M maybe_shared=yes
        A exit
        P expect h private_hugetlb=4M maybe_shared=no""",
    "a KSM page mapped twice counts as shared": """
        P mmap h 16K small
        P write h
        kernel ksm P.h
        P expect h total=4 truth=exclusive maybe_shared=yes folios=1
        P write h[0p]
        P expect h[0p] truth=exclusive maybe_shared=no
        P expect h[1p] total=3""",
    "mlock faults in and copies what is shared": """
        P mmap h 64K thp=64K
        P write h[0p]
        P fork A
        A mlock h
        A expect h small_folios=16 locked=64K
        P expect h maybe_shared=no""",
}


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str, flavour: str, bits: int) -> None:
    """The rule in the test's name holds on this kernel, and no invariant breaks on the way."""
    story = "\n".join(line.strip() for line in RULES[rule].strip().splitlines())
    result = run(parse(story), FLAVOURS[flavour].on(bits))
    assert [] == [str(failure) for failure in result.failures]
    assert [] == result.broken
    assert result.checked > 0
