"""A thread program, unrolled: every place where the thread can be, and how its results lead on.

Programs are Python generators, which read like the code they model but cannot be copied in the middle. So a
*place* remembers the results that led there, and the generator is run again with them when a new place is
needed. Two histories that leave the generator at the same instruction with the same local variables are
the same place, if they are equally long: whatever the thread does next is the same.

That asks one thing of programs: results are given names. What is held only in the middle of an expression,
like the left side of `(yield a) != (yield b)`, is no local variable and would be overlooked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

from mapcount.check.races.memory import Access, Note, Protected, Steps

Make = Callable[[], Steps[Any]]


class Place:
    """Where a thread can be: the access that comes next, None at the end."""

    __slots__ = ("access", "cells", "following", "history", "quiet")

    def __init__(self, access: Access | None, history: tuple[Any, ...], cells: tuple[int, ...]) -> None:
        self.access = access
        self.history = history
        self.cells = cells
        """The cells of the access by number."""
        self.quiet = isinstance(access, Protected | Note)
        """Does the access happen together with the one before it?"""
        self.following: dict[Any, Place] = {}


class Program:
    """One thread's program: `make()` starts its generator anew. `merge=False` keeps histories apart."""

    def __init__(self, name: str, make: Make, cells: dict[str, int], *, merge: bool = True) -> None:
        self.name = name
        self._make = make
        self._cells = cells
        self._merge = merge
        self._places: dict[Hashable, Place] = {}
        self.start = self._arrive(())
        if self.start.quiet:
            raise ValueError(f"the program of {name} begins with an access that is no step of its own")

    def follow(self, place: Place, result: Any) -> Place:
        """Where the thread is after the access at `place` had this result."""
        found = place.following.get(result)
        if found is None:
            found = place.following[result] = self._arrive((*place.history, result))
        return found

    def _arrive(self, history: tuple[Any, ...]) -> Place:
        steps = self._make()
        access: Access | None = None
        try:
            access = next(steps)
            for result in history:
                access = steps.send(result)
        except StopIteration:
            access = None
        key = (len(history), tuple(_locals(steps))) if self._merge else history
        place = self._places.get(key)
        if place is None:
            cells = tuple(self._cells[name] for name in _cells(access))
            place = self._places[key] = Place(access, history, cells)
        return place


def _cells(access: Access | None) -> tuple[str, ...]:
    if access is None:
        return ()
    return access.cells if isinstance(access, Protected) else (access.cell,)


def _locals(steps: Any) -> Iterator[Hashable]:
    """The instruction and the local variables of a suspended generator, and of those it waits for."""
    while steps is not None:
        frame = getattr(steps, "gi_frame", None)
        if frame is not None:
            yield id(frame.f_code), frame.f_lasti, tuple(frame.f_locals.items())
        steps = getattr(steps, "gi_yieldfrom", None)
