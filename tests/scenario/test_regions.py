"""The words of recordings of format 2: the same for every kernel, whoever speaks."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mapcount.scenario.regions import (
    FLAGS,
    Stretch,
    counter_words,
    fields,
    flag_words,
    folio_words,
    kind_of,
    rle,
)
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT
from mapcount.tracking.folio import Folio
from mapcount.tracking.rmap import folio_add_rmap

RUNS = st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["none", "small", "7"])))


def _expanded(text: str) -> list[str]:
    return [value for word in text.split() for n, value in [word.split("*")] for _ in range(int(n))]


@given(RUNS)
def test_run_length_text_says_every_page(runs: list[tuple[int, str]]) -> None:
    """Expanding the text gives every page's value back, and neighbours in it differ."""
    text = rle(runs)
    values = [word.partition("*")[2] for word in text.split()]

    assert [value for n, value in runs for _ in range(n)] == _expanded(text)
    assert all(a != b for a, b in pairwise(values))


def _pages(maps: str) -> list[int]:
    """The pages of a folio that a text of ranges names, in order."""
    pages: list[int] = []
    for word in maps.split():
        found = re.fullmatch(r"(?:(\d+)x)?(\d+)\+(\d+)(?:/(-?\d+))?", word)
        assert found is not None
        times, first, n, step = found.groups(default="1")
        for i in range(int(times)):
            pages += range(int(first) + i * int(step), int(first) + i * int(step) + int(n))
    return pages


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4)), min_size=1))
def test_ranges_say_every_page(parts: list[tuple[int, int]]) -> None:
    """`maps` names the pages of the folio that a region maps, in the region's order."""
    stretches = [Stretch(100 * i, n, 7, first) for i, (first, n) in enumerate(parts)]
    (folio,) = folio_words(stretches, lambda head: {})

    assert [page for first, n in parts for page in range(first, first + n)] == _pages(folio["maps"])


def test_every_second_page_is_one_range() -> None:
    """Alternating pages of a huge page do not make hundreds of words."""
    stretches = [Stretch(i, 1, 7, 2 * i + 1) for i in range(256)]

    assert "256x1+1/2" == folio_words(stretches, lambda head: {})[0]["maps"]


def test_neighbours_that_are_alike_stand_there_once() -> None:
    """Folios that differ in nothing but their place are one with a count; a different one stands apart."""
    stretches = [Stretch(16 * i, 16, 64 * i, 0) for i in range(5)]
    words = folio_words(stretches, lambda head: {"refcount": 17 if head == 192 else 16})

    assert [(0, 3, 16), (48, 1, 17), (64, 1, 16)] == [(w["at"], w["count"], w["refcount"]) for w in words]


def test_flags_by_name() -> None:
    """Flags that say how lately a page was used are left out where something else moves them."""
    bits = sum(1 << FLAGS[name] for name in ("REFERENCED", "LRU", "ANON", "THP")) | 1 << 63

    assert "REFERENCED LRU ANON THP" == flag_words(bits, ["referenced"])
    assert "LRU ANON THP" == flag_words(bits, ["smaps"])


def test_a_hugetlb_page_keeps_a_dirty_mark_of_others() -> None:
    """DIRTY of a hugetlb page is left out: it may be from whoever had the page before."""
    bits = 1 << FLAGS["DIRTY"] | 1 << FLAGS["ANON"]

    assert "DIRTY ANON" == flag_words(bits, ["smaps"])
    assert "ANON HUGE" == flag_words(bits | 1 << FLAGS["HUGE"], ["smaps"])


def test_kinds_by_flags() -> None:
    """A hugetlb or KSM page is not called anonymous; shared memory is what is swap-backed otherwise."""
    kinds = {
        ("HUGE", "ANON"): "hugetlb", ("KSM", "ANON"): "ksm", ("ANON", "SWAPBACKED"): "anon",
        ("SWAPBACKED",): "shmem", ("UPTODATE",): "file",
    }  # fmt: skip
    assert kinds == {names: kind_of(sum(1 << FLAGS[name] for name in names)) for names in kinds}


def test_counters_are_those_that_the_flavour_keeps() -> None:
    """Per-page counts are said only of kernels that keep them, slots only of folios that have them."""
    words = {}
    for flavour in (PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT):
        folio = Folio(flavour, 4)
        folio_add_rmap(folio, 0, 16, 3)
        words[flavour.name] = counter_words(folio, anon_exclusive=2, partially_mapped=False)
    small = counter_words(Folio(PAGE_MAPCOUNT, 0), anon_exclusive=1, partially_mapped=False)

    assert {"nr_pages_mapped", "page_mapcount"} == words["page-mapcount"].keys() - words[
        "no-page-mapcount"
    ].keys()
    assert ([3, 0], [16, 0], 16) == tuple(
        words["page-mapcount"][name] for name in ("mm_id", "mm_id_mapcount", "large_mapcount")
    )
    assert {"refcount": 0, "anon_exclusive": 1} == small


def test_every_field_has_a_path() -> None:
    """A field's name says whose, of which region and, for folios, which of them."""
    region: dict[str, Any] = {
        "name": "heap", "vmas": 1, "smaps": {"Rss": 4}, "pages": "1*small", "folios": [{"refcount": 1}]
    }  # fmt: skip
    answer = {"errors": [], "processes": [{"name": "P", "regions": [region]}]}

    assert {
        "errors": [], "processes": ["P"], "P.regions": ["heap"], "P.heap.vmas": 1, "P.heap.smaps.Rss": 4,
        "P.heap.pages": "1*small", "P.heap.folios[0].refcount": 1,
    } == dict(fields(answer))  # fmt: skip
