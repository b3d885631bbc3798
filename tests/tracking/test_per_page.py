"""One number per page in runs of equal numbers: a list of numbers in every respect but its size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.tracking.per_page import PerPage

NR = 12


def listed(numbers: PerPage) -> list[int]:
    """The numbers, page by page."""
    return [numbers[page] for page in range(numbers.nr_pages)]


def runs_of(numbers: list[int]) -> str:
    """The text of the longest runs of equal numbers, found by looking at each page."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1][0] += 1
        else:
            runs.append([1, number])
    return " ".join(f"{n}*{number}" for n, number in runs)


def test_new() -> None:
    """All numbers are 0 at first, or all what was asked for."""
    assert [0, 0, 0] == listed(PerPage(3))
    assert [7, 7, 7] == listed(PerPage(3, 7))


def test_add_says_how_many_turned() -> None:
    """Adding says how many pages went between 0 and not 0, in either direction."""
    numbers = PerPage(NR)

    assert [6, 4, 0] == [numbers.add(0, 6, 1), numbers.add(4, 6, 1), numbers.add(4, 2, 1)]
    assert "4*1 2*3 4*1 2*0" == numbers.rle()
    assert [4, 0, 0, 2] == [numbers.add(*step) for step in ((0, 4, -1), (4, 2, -1), (4, 2, -1), (4, 2, -1))]


def test_add_too_little() -> None:
    """No number becomes negative; the attempt says where, and changes nothing."""
    numbers = PerPage(NR)
    numbers.add(0, 6, 1)
    with pytest.raises(ValueError, match=r"pages 3\.\.8 are not all mapped 1 time"):
        numbers.add(3, 6, -1)

    assert "6*1 6*0" == numbers.rle()


@pytest.mark.parametrize(("start", "n"), [(-1, 2), (0, 13), (12, 1), (3, 0), (3, -1)])
def test_add_to_other_pages(start: int, n: int) -> None:
    """Only pages of the folio can be added to; the attempt changes nothing."""
    numbers = PerPage(NR)
    with pytest.raises(ValueError, match="are not of a folio of 12 pages"):
        numbers.add(start, n, 1)

    assert PerPage(NR) == numbers


@pytest.mark.parametrize("page", [-1, 12])
def test_no_such_page(page: int) -> None:
    """Pages are counted from 0, and none before or after the folio has a number."""
    with pytest.raises(IndexError, match=f"page {page} of a folio of 12 pages"):
        PerPage(NR)[page]


def test_runs_of_a_range() -> None:
    """Runs of a range begin and end where it does."""
    numbers = PerPage(NR)
    numbers.add(4, 4, 2)

    assert [(0, 4, 0), (4, 4, 2), (8, 4, 0)] == list(numbers.runs())
    assert [(5, 3, 2), (8, 1, 0)] == list(numbers.runs(5, 9))
    assert [] == list(numbers.runs(5, 5))


def test_size_depends_on_distinct_runs() -> None:
    """A folio of a gibibyte costs no more than its distinct runs, and joins them again."""
    numbers = PerPage(2**18)
    for page in range(0, 1000, 2):
        numbers.add(page, 1, 1)
    for page in range(1, 1000, 2):
        numbers.add(page, 1, 1)

    assert "1000*1 261144*0" == numbers.rle()


def test_equality() -> None:
    """Equal numbers are equal, however they came about; other sizes and other things are not."""
    one, other = PerPage(NR), PerPage(NR)
    one.add(0, 12, 1)
    other.add(6, 6, 1)
    assert one != other
    other.add(0, 6, 1)

    assert one == other
    assert PerPage(3) != PerPage(4)
    assert PerPage(2) != [0, 0]


def test_repr() -> None:
    """The repr shows the runs."""
    assert "PerPage(12*0)" == repr(PerPage(NR))


def test_not_hashable() -> None:
    """Numbers that change cannot be keys."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(PerPage(NR))


RANGES = st.tuples(st.integers(0, NR - 1), st.integers(1, NR)).map(lambda r: (r[0], min(r[1], NR - r[0])))
STEPS = st.lists(st.tuples(st.sampled_from(["add", "set"]), RANGES, st.integers(-2, 3)), max_size=25)


@given(STEPS, RANGES)
def test_like_a_list(steps: list[tuple[str, tuple[int, int], int]], asked: tuple[int, int]) -> None:
    """Whatever happens to runs happens to a plain list, number by number, and all answers are the same."""
    numbers, plain = PerPage(NR), [0] * NR
    for what, (start, n), value in steps:
        here = range(start, start + n)
        if what == "set":
            numbers.set(start, n, abs(value))
            for page in here:
                plain[page] = abs(value)
        elif min(plain[page] + value for page in here) < 0:
            with pytest.raises(ValueError, match="are not all mapped"):
                numbers.add(start, n, value)
        else:
            turned = len([page for page in here if (plain[page] == 0) != (plain[page] + value == 0)])
            assert turned == numbers.add(start, n, value)
            for page in here:
                plain[page] += value
        assert plain == listed(numbers)
        assert runs_of(plain) == numbers.rle()
    start, stop = asked[0], asked[0] + asked[1]
    part = plain[start:stop]

    assert sum(part) == numbers.sum(start, stop)
    assert min(part) == numbers.min(start, stop)
    assert max(part) == numbers.max(start, stop)
    assert len([n for n in part if n]) == numbers.nonzero(start, stop)
    assert part == [value for _, n, value in numbers.runs(start, stop) for _ in range(n)]


@given(RANGES, RANGES)
def test_copy(first: tuple[int, int], then: tuple[int, int]) -> None:
    """A copy has the same numbers and goes its own way."""
    numbers = PerPage(NR)
    numbers.add(*first, 2)
    before = listed(numbers)
    twin = numbers.copy()
    assert numbers == twin
    twin.add(*then, 1)

    assert before == listed(numbers)
    assert numbers != twin
