"""A table of which a part is on the screen: columns that fit, rows in order, rows that are filtered out.

Knows nothing of terminals but how many columns there are. Cells are made only for the rows that are looked
at, so a table of ten thousand rows costs little more than one of ten.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

R = TypeVar("R")

GAP = 2
"""Blank columns between two columns."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Some text that is safe to show, and whether it deserves attention."""

    text: str
    bad: bool = False
    """The kernel is mistaken here."""


@dataclass(frozen=True)
class Column(Generic[R]):
    """What is shown of each row, and how."""

    heading: str
    width: int
    cell: Callable[[R], Cell | str]
    sorts: str = ""
    """The order that this column stands for, if any; `pss-change` stands for `change` as well."""
    left: bool = False
    """Words begin at the left, numbers end at the right."""
    tail: bool = False
    """Of a text that is too long the end is shown: it tells paths apart."""
    most: int = 0
    """The width that it takes where there is room; 0: no more than `width`."""
    leave_out: int = 0
    """Where there is too little room, columns with the highest number are left out first; 0: never."""

    def sorts_by(self, order: str) -> bool:
        """Does it show what rows are sorted by?"""
        return bool(order) and (self.sorts == order or self.sorts.endswith(f"-{order}"))

    def of(self, row: R) -> Cell:
        """The cell of a row."""
        cell = self.cell(row)
        return Cell(cell) if isinstance(cell, str) else cell


@dataclass(slots=True)
class Listing(Generic[R]):
    """Rows, and how they are to be seen. The order of equal rows is that of `rows`."""

    columns: Sequence[Column[R]]
    orders: Mapping[str, Callable[[R], Any]]
    """What rows can be sorted by, smallest first. Unless `sort` says another, by the first."""
    name: Callable[[R], Hashable]
    """What makes a row the same row when it is read again."""
    words: Callable[[R], str]
    """What a filter is looked for in."""
    sort: str = ""
    filter: str = ""
    rows: Sequence[R] = ()
    shown: list[R] = field(default_factory=list)
    """Filtered and sorted: see `arrange`."""

    def __post_init__(self) -> None:
        self.sort = self.sort or next(iter(self.orders))

    def arrange(self) -> None:
        """Work out `shown`."""
        wanted = self.filter.casefold()
        rows = (row for row in self.rows if wanted in self.words(row).casefold()) if wanted else self.rows
        self.shown = sorted(rows, key=self.orders[self.sort])

    def sort_by_next(self) -> None:
        """Sort by the next thing that they can be sorted by."""
        names = list(self.orders)
        self.sort = names[(names.index(self.sort) + 1) % len(names)]
        self.arrange()


def fitted(columns: Sequence[Column[R]], width: int) -> list[tuple[Column[R], int]]:
    """The columns there is room for, each with its width. What is left over goes to those that take more."""
    kept = list(columns)

    def needed() -> int:
        return sum(column.width for column in kept) + GAP * (len(kept) - 1)

    while needed() > width and any(column.leave_out for column in kept):
        last = max(column.leave_out for column in kept)
        kept = [column for column in kept if column.leave_out != last]
    left_over = max(0, width - needed())
    widths = []
    for column in kept:
        more = min(left_over, max(0, column.most - column.width))
        left_over -= more
        widths.append((column, column.width + more))
    return widths
