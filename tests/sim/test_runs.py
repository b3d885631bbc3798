"""The container of runs against a plain dict from page to what is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.sim.runs import Runs

QUICK = settings(database=None, max_examples=150)

END = 24
"""Pages are 0 … 23 here."""

ranges = st.tuples(st.integers(0, END - 1), st.integers(1, 8)).map(lambda r: (r[0], min(sum(r), END)))
steps = st.lists(
    st.tuples(st.sampled_from(["insert", "remove", "isolate", "cut", "heal"]), ranges, st.integers(0, 1)),
    max_size=25,
)


class Stretch:
    """A run of pages of one colour."""

    def __init__(self, start: int, n: int, colour: int) -> None:
        self.start, self.n, self.colour = start, n, colour

    def cut(self, at: int) -> Stretch:
        """Keep what is before `at`, return the rest."""
        rest = Stretch(at, self.start + self.n - at, self.colour)
        self.n = at - self.start
        return rest

    def joins(self, after: Stretch) -> bool:
        """The same colour?"""
        return self.colour == after.colour

    def pages(self) -> Iterator[tuple[int, int]]:
        """(page, colour) of each page."""
        return ((page, self.colour) for page in range(self.start, self.start + self.n))


def told(script: list[tuple[str, tuple[int, int], int]]) -> tuple[Runs[Stretch], dict[int, int]]:
    """The same steps done to a container and to a dict."""
    runs: Runs[Stretch] = Runs()
    cells: dict[int, int] = {}
    for what, (start, stop), colour in script:
        inside = {page: cells[page] for page in range(start, stop) if page in cells}
        if what == "insert":
            stretch = Stretch(start, stop - start, colour)
            if inside:
                with pytest.raises(ValueError, match="is taken"):
                    runs.insert(stretch)
            else:
                runs.insert(stretch)
                cells.update(stretch.pages())
        elif what == "remove":
            assert inside == dict(pair for run in runs.remove(start, stop) for pair in run.pages())
            for page in inside:
                del cells[page]
        elif what == "isolate":
            assert inside == dict(pair for run in runs.isolate(start, stop) for pair in run.pages())
        elif what == "cut":
            runs.cut(start)
            assert all(not run.start < start < run.start + run.n for run in runs)
        else:
            runs.heal(start, stop)
    return runs, cells


@QUICK
@given(script=steps)
def test_same_contents(script: list[tuple[str, tuple[int, int], int]]) -> None:
    """Whatever was done, every page has the colour it has in the dict, and runs are in order."""
    runs, cells = told(script)

    assert cells == dict(pair for run in runs for pair in run.pages())
    assert sorted(cells) == [page for run in runs for page, _ in run.pages()]
    assert len(runs) == len(list(runs))
    assert max(cells, default=-1) + 1 == runs.last_end()


@QUICK
@given(script=steps, where=ranges)
def test_questions(script: list[tuple[str, tuple[int, int], int]], where: tuple[int, int]) -> None:
    """What is at, over, missing in and beside a range follows from the dict."""
    runs, cells = told(script)
    start, stop = where

    at = runs.at(start)
    assert cells.get(start) == (at.colour if at else None)
    over = runs.over(start, stop)
    assert {page for page in cells if start <= page < stop} == {
        page for run in over for page, _ in run.pages() if start <= page < stop
    }
    assert all(run.start < stop and start < run.start + run.n for run in over)
    missing = [page for low, high in runs.gaps(start, stop) for page in range(low, high)]
    assert [page for page in range(start, stop) if page not in cells] == missing
    if at is None:
        before, after = runs.neighbours(start)
        assert max((p for p in cells if p < start), default=-1) + 1 == (
            before.start + before.n if before else 0
        )
        assert min((p for p in cells if p > start), default=END) == (after.start if after else END)


@QUICK
@given(script=steps, where=ranges)
def test_heal_joins_what_meets_in_the_range(
    script: list[tuple[str, tuple[int, int], int]], where: tuple[int, int]
) -> None:
    """Neighbours of one colour that meet in the range, its ends included, are one run; no others change."""
    runs, cells = told(script)
    start, stop = where
    before = {run.start for run in runs}
    runs.heal(start, stop)

    meet = {at for at in before if start <= at <= stop and cells.get(at - 1) == cells[at]}
    assert before - meet == {run.start for run in runs}


def test_heal_leaves_runs_beyond_the_range_alone() -> None:
    """A joined run does not go on to swallow a neighbour that it meets behind the range."""
    runs: Runs[Stretch] = Runs()
    for start in (0, 4, 8):
        runs.insert(Stretch(start, 4, 1))
    runs.heal(0, 4)

    assert [(0, 8), (8, 4)] == [(run.start, run.n) for run in runs]
