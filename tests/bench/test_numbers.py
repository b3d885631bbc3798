"""Numbers made of samples: spread, cost per page, the fit, and whether to believe it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.bench import published
from mapcount.bench.fit import Fit, fit
from mapcount.bench.measured import Spread
from mapcount.bench.story import BENCHMARKS, Form

from .rows import BASE, BY_PMD, BY_PTES, MTHP, NR_PAGES, SMALL, measured, on_a_line, row

(MUNMAP, *_) = BENCHMARKS["munmap"]
GONE, THIRD, SHARED = BENCHMARKS["cow"]
COSTS = st.floats(1, 1e4)


@given(per_page=COSTS, per_batch=COSTS, orders=st.sets(st.integers(1, 9), min_size=3))
def test_a_line_is_found_again(per_page: float, per_batch: float, orders: set[int]) -> None:
    """Times that are a cost per page and one per batch give exactly these two, whatever the sizes."""
    found = fit({1 << order: per_page + per_batch / (1 << order) for order in orders})
    assert found is not None
    assert pytest.approx((per_page, per_batch), rel=1e-6) == (found.per_page, found.per_batch)
    assert pytest.approx(0, abs=1e-9) == found.residual
    assert None is found.meaningless


def test_noise_shows_as_a_residual() -> None:
    """Times that are off by a tenth, up and down, are missed by about a tenth."""
    exact = {1 << order: 20 + 500 / (1 << order) for order in range(2, 10)}
    found = fit({nr: ns * (1.1 if i % 2 else 0.9) for i, (nr, ns) in enumerate(exact.items())})
    assert found is not None
    assert 0.05 < found.residual < 0.12
    assert None is found.meaningless


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Fit(20, 500, 0.0, 2), "2 sizes of large folios"),
        (Fit(20, 500, 0.2, 8), "miss it by 20%"),
        (Fit(-1, 500, 0.01, 8), "below zero"),
        (Fit(20, -5, 0.01, 8), "below zero"),
    ],
)
def test_a_fit_that_says_nothing_says_why(found: Fit, why: str) -> None:
    """Too few sizes, times off the line, and negative costs make it meaningless."""
    assert found.meaningless is not None
    assert why in found.meaningless


def test_fewer_than_two_sizes_give_no_line() -> None:
    """Through one point goes any line; a time of nothing has no relative error."""
    assert None is fit({})
    assert None is fit({16: 20.0})
    with pytest.raises(ValueError, match="not above zero"):
        fit({16: 20.0, 32: 0.0})


def test_the_fit_is_made_of_large_folios_mapped_by_ptes() -> None:
    """Small folios and PMDs are off the line by far, and do not disturb it."""
    found = on_a_line(per_page=20, per_batch=500).fit(MUNMAP)
    assert found is not None
    assert (8, pytest.approx(20, rel=1e-3), pytest.approx(500, rel=1e-3)) == (
        found.sizes, found.per_page, found.per_batch,
    )  # fmt: skip


def test_a_row_leaves_out_what_the_call_itself_costs() -> None:
    """Median, extremes and cost per page are those of the pages alone."""
    times = row(MUNMAP, MTHP, [3, 1, 2])
    assert Spread(NR_PAGES, 2 * NR_PAGES, 3 * NR_PAGES) == times.ns
    assert 2 == times.ns_per_page
    assert BASE == times.samples[0].base_ns


@pytest.mark.parametrize("ns_per_page", [-0.01, 0])
def test_a_cost_below_the_call_itself_is_none(ns_per_page: float) -> None:
    """Noise does not make a page cost less than nothing, nor nothing: it is not known what it costs."""
    found = row(MUNMAP, BY_PMD, ns_per_page)
    assert (True, None) == (found.below_noise, found.ns_per_page)


def test_noise_is_what_the_call_itself_varies_by() -> None:
    """A cost counts only where it is more than the runs of the call alone differ."""
    found = row(MUNMAP, BY_PMD, [1, 1, 1])
    bases = (BASE, BASE + NR_PAGES - 1, BASE)
    noisy = replace(
        found, samples=tuple(replace(s, base_ns=ns) for s, ns in zip(found.samples, bases, strict=True))
    )
    assert (NR_PAGES - 1, BASE, 1) == (noisy.noise_ns, noisy.base_ns, noisy.ns_per_page)
    worse = replace(noisy, samples=(replace(noisy.samples[0], base_ns=BASE - 1), *noisy.samples[1:]))
    assert (NR_PAGES, None) == (worse.noise_ns, worse.ns_per_page)


def test_the_worst_share_counts() -> None:
    """One run that did not get its folios is told, whatever the others got."""
    good, bad = row(MUNMAP, MTHP, 1), row(MUNMAP, MTHP, 1, share=0.25)
    assert 0.25 == replace(good, samples=good.samples + bad.samples).share
    assert None is row(MUNMAP, MTHP, 1, share=None).share


@pytest.mark.parametrize(
    ("form", "copied", "share", "deviates"),
    [
        (MTHP, 1.0, 1.0, False),
        (MTHP, 0.995, 1.0, False),
        (MTHP, 0.5, 1.0, True),
        (MTHP, 0.0, 1.0, True),
        (SMALL, 0.0, 1.0, False),
        (SMALL, 1.0, 1.0, True),
        (MTHP, 0.5, 0.5, False),
        (MTHP, None, None, False),
    ],
)
def test_other_copies_than_simulated_are_a_deviation(
    form: Form, copied: float | None, share: float | None, deviates: bool
) -> None:
    """It is one where the memory had its form and other pages were copied; what was not seen is none."""
    third = row(THIRD, form, 1, copied=copied, share=share)
    assert deviates == third.deviates
    assert [third] * deviates == measured("cow", [third]).deviations


def test_rows_are_found_by_story() -> None:
    """Stories come in the order of the rows, each once."""
    rows = [row(story, form, 1, copied=0) for story in (GONE, SHARED) for form in (SMALL, MTHP)]
    assert [GONE, SHARED] == measured("cow", rows).stories
    assert rows[2:] == measured("cow", rows).of(SHARED)


def test_published_figures_are_by_story_and_size() -> None:
    """They are of large folios mapped by PTEs; of others nothing was published."""
    assert (-31, -21) == (published.change("munmap", BY_PTES), published.change("fork", BY_PTES))
    assert 4 == published.change("munmap", MTHP, published.TRACKING_ALONE)
    assert [None] * 3 == [
        published.change(*of) for of in (("munmap", BY_PMD), ("munmap", SMALL), ("exit shared", MTHP))
    ]
