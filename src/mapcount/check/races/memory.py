"""Shared memory, and the single accesses that threads make to it.

A *cell* is a named integer that every thread sees. A thread program yields one access after another:

    value = yield Load("refcount", "references?")               one plain read
    yield Store("total", total + 2, "total + 2")                one plain write
    old = yield Update("refcount", add(1), "get a reference")   one atomic read-modify-write

Between two of them any other thread may run; within one nobody can. Two kinds of access are no step of
their own, but happen together with the one before them: `Protected` reads what a lock held by this thread
keeps still, so that it does not matter when it is read; `Note` writes down what is true, for the properties
to see, where the kernel itself stores nothing.

An `Update` whose `change` returns None cannot happen now: the thread waits. That is how locks are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

Change = Callable[[int], "int | None"]


@dataclass(frozen=True, slots=True)
class Load:
    """Read one cell; yields its value."""

    cell: str
    label: str


@dataclass(frozen=True, slots=True)
class Store:
    """Write one cell. With store buffering, other threads may see it later."""

    cell: str
    value: int
    label: str


@dataclass(frozen=True, slots=True)
class Update:
    """Read, change and write one cell at once; yields the *old* value. Drains the store buffer first."""

    cell: str
    change: Change
    label: str


@dataclass(frozen=True, slots=True)
class Protected:
    """Read cells that nobody else writes while this thread holds a lock; yields a tuple of values."""

    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Write down a truth that no kernel stores."""

    cell: str
    change: Callable[[int], int]


Access = Load | Store | Update | Protected | Note
Result = TypeVar("Result")
Steps = Generator[Access, Any, Result]
"""Accesses of a part of a program, which then returns a result."""


def add(n: int) -> Callable[[int], int]:
    """Add `n`, whatever was there."""
    return lambda value: value + n


def add_unless_zero(n: int) -> Change:
    """Add `n`, but leave 0 alone: how a reference is got to something that may be gone."""
    return lambda value: value + n if value else 0


def put(value: int) -> Callable[[int], int]:
    """Exchange what was there for `value`."""
    return lambda _: value


def when(expected: int, value: int) -> Change:
    """Compare and exchange: `value` where `expected` was, otherwise no change."""
    return lambda there: value if there == expected else there


def acquire(bit: int = 1) -> Change:
    """Set a lock's bit; wait while it is set."""
    return lambda value: None if value & bit else value | bit


def try_acquire(bit: int = 1) -> Change:
    """Set a lock's bit if it is clear; the old value says whether it was."""
    return lambda value: value | bit


def clear(bit: int) -> Change:
    """Clear a bit."""
    return lambda value: value & ~bit
