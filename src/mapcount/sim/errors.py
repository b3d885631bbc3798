"""What a simulated process is told when it asks for what cannot be."""

from __future__ import annotations

from collections.abc import Iterable


class ActionError(ValueError):
    """A step that no kernel could carry out: a dead process, an unknown region, a page not mapped.

    `got` is the word at fault, `known` the words that would have been right (for a suggestion).
    """

    def __init__(self, message: str, got: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.got = got
        self.known = tuple(known)
