"""Sizes and counts as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.report.words import about, count, listed, plural, signed_about


@pytest.mark.parametrize(
    ("kib", "words"),
    [(0, "0"), (1, "1K"), (999, "999K"), (1000, "0.98M"), (1024, "1M"), (46568, "45.5M"), (-46568, "-45.5M"),
     (1234567, "1.18G"), (1 << 20, "1G"), (13 << 30, "13T"), (1023 * 1024, "1G")],
)  # fmt: skip
def test_about(kib: int, words: str) -> None:
    """Three digits and a unit."""
    assert words == about(kib)


@given(st.integers(-(1 << 50), 1 << 50))
def test_about_is_about(kib: int) -> None:
    """What is said is within a percent of what is, and in at most six characters and a sign."""
    text = about(kib)
    number = float(text[:-1]) if text != "0" else 0.0
    factor = 1024 ** "KMGTPE".index(text[-1]) if text != "0" else 1
    assert abs(number * factor - kib) <= abs(kib) / 100
    assert len(text.removeprefix("-")) <= 6
    assert signed_about(kib) == ("+" if kib > 0 else "") + text


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (99_999, "99,999"), (100_000, "100k"), (999_499, "999k"), (999_500, "1.00M"),
     (-123_456, "-123k"), (9_996_000, "10.0M"), (12_345_678, "12.3M"), (10**9, "1.00G")],
)  # fmt: skip
def test_count(number: int, words: str) -> None:
    """Exact while it is short."""
    assert words == count(number)


def test_plural() -> None:
    """One is one, and how many there are is exact: a sum that is off by some hundreds looks wrong."""
    assert ["0 folios", "1 folio", "2 processes", "99,999 fields", "123,456 fields", "1,000,001 fields"] == [
        plural(0, "folio"),
        plural(1, "folio"),
        plural(2, "process", "processes"),
        *(plural(number, "field") for number in (99_999, 123_456, 1_000_001)),
    ]


@pytest.mark.parametrize(
    ("words", "sentence"), [(["A"], "A"), (["A", "B"], "A and B"), (["A", "B", "C"], "A, B and C")]
)
def test_listed(words: list[str], sentence: str) -> None:
    """As in a sentence."""
    assert sentence == listed(words)
