"""What a scheme is: three small functions over a few integers, and what those would cost in memory.

A scheme keeps a vector of integers for each large folio. The total number of mappings is kept beside it, by
every kernel; a scheme is given it. A class with these names in it is a scheme:

    words            integers of state per folio: a number, or a function of the folio's number of pages
    state_bytes      bytes that a kernel would need for them: likewise
    locked           is an update made under the folio's lock? (unless said: yes)

    add(state, mm, page, pages, n, total)       `mm` maps `pages` pages from `page` on, by `n` entries more
    remove(state, mm, page, pages, n, total)    the same, for less
    maybe_shared(state, nr_pages, total)        the answer: may mappings belong to more than one mm?

`total` includes the event. `n` is 1 for a PMD, else `pages`. `add` and `remove` return how many counters
they changed outside the lock. The functions take no self. They are compiled by Numba: plain arithmetic,
comparisons and loops over the state, which is an array of int64, 0 at first.

A scheme that has `reset_every` is told who maps the folio now and then, as a walk over the page tables would:
`walked(state, owner, total)`, after every so many events of a folio; `owner` is the one mm that has all
mappings, or 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Change = Callable[[Any, int, int, int, int, int], int]
Answer = Callable[[Any, int, int], bool]
Walked = Callable[[Any, int, int], None]
Size = Callable[[int], int]


class SchemeError(ValueError):
    """A scheme that cannot be used; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to answer the question."""

    name: str
    story: str
    """What it does, in a line."""
    words: Size
    """Integers of state for a folio of so many pages."""
    state_bytes: Size
    """Bytes a kernel would need for them."""
    add: Change
    remove: Change
    maybe_shared: Answer
    locked: bool = True
    reset_every: int = 0
    walked: Walked | None = None


def scheme_of(found: Any, name: str | None = None) -> Scheme:
    """The scheme that a class describes. Raises SchemeError for what it lacks."""
    name = name or str(getattr(found, "__name__", found))
    if not inspect.isclass(found):
        raise SchemeError(f"{name} is no class")
    add, remove = (_function(found, name, what, 6) for what in ("add", "remove"))
    every = getattr(found, "reset_every", 0)
    if not isinstance(every, int) or every < 0:
        raise SchemeError(f"{name}.reset_every is {every!r}: a number of events, or 0 for never")
    return Scheme(
        name=name,
        story=(inspect.getdoc(found) or "").split("\n")[0],
        words=_size(found, name, "words", 0),
        state_bytes=_size(found, name, "state_bytes", 0),
        add=add,
        remove=remove,
        maybe_shared=_function(found, name, "maybe_shared", 3),
        locked=bool(getattr(found, "locked", True)),
        reset_every=every,
        walked=_function(found, name, "walked", 3) if every else None,
    )


def _function(found: type, name: str, what: str, arguments: int) -> Callable[..., Any]:
    function = getattr(found, what, None)
    if not inspect.isfunction(function):
        raise SchemeError(f"{name} has no function {what!r} (a plain one, without self)")
    takes = len(inspect.signature(function).parameters)
    if takes != arguments:
        raise SchemeError(f"{name}.{what} takes {takes} arguments, not {arguments}")
    return function


def _size(found: type, name: str, what: str, least: int) -> Size:
    """A size that is a number, or a function of the number of pages."""
    value = getattr(found, what, None)
    if inspect.isfunction(value):
        return value
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SchemeError(f"{name}.{what} is {value!r}: a number from {least} on, or a function of nr_pages")

    def constant(nr_pages: int) -> int:
        return value

    return constant
