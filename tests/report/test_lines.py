"""Lines that keep to a width, and values of which the difference is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.report.lines import hanging, parted

WORDS = st.lists(st.text("ab,=/", min_size=1, max_size=12), min_size=1, max_size=30).map(" ".join)
RUNS = st.lists(st.sampled_from(["1*0", "16*1", "256*none", "3*large"]), max_size=40).map(" ".join)


@given(WORDS, st.integers(20, 100), st.integers(0, 30))
def test_lines_keep_to_the_width(text: str, width: int, indent: int) -> None:
    """Every word is there, whole and in order, in no line that is wider than asked."""
    lines = [str(line) for line in hanging(text, width, indent)]

    assert text.split() == " ".join(lines).split()
    assert max(map(len, lines)) <= width
    assert [line.rstrip() for line in lines] == lines


@pytest.mark.parametrize(("asked", "indent"), [(16, 16), (17, 4)])
def test_what_follows_hangs_under_what_was_said(asked: int, indent: int) -> None:
    """The second line begins where the first has its words; where that leaves little room, near the left."""
    text = f"{'name':<16}one and another two three four"

    assert [f"{'name':<16}one and another two", " " * indent + "three four"] == [
        str(line) for line in hanging(text, 40, asked)
    ]


def test_a_word_longer_than_the_line_stays_whole() -> None:
    """A path can be copied, whatever the width."""
    path = "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled"

    assert path in [str(line).strip() for line in hanging(f"it is {path} that says so", 40, 4)]


@given(RUNS, RUNS, st.integers(24, 80))
def test_where_two_values_part_is_shown(a: str, b: str, most: int) -> None:
    """In the columns allowed, different values look different, and equal ones alike; short ones are whole."""
    first, second = parted(a, b, most)

    assert max(len(first), len(second)) <= most
    assert (a == b) == (first == second)
    if max(len(a), len(b)) <= most:
        assert (a, b) == (first, second)


def test_what_is_alike_is_what_is_left_out() -> None:
    """Of two long values the common beginning goes first."""
    alike = " ".join(["16*1"] * 50)
    first, second = parted(f"{alike} 1*2 5*3", f"{alike} 1*7 5*3", 40)

    assert first.startswith("... 16*1")
    assert first.endswith("16*1 1*2 5*3")
    assert second.endswith("16*1 1*7 5*3")
