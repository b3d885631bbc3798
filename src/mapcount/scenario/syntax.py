"""What a `*.scn` file says: a scenario is steps, a step is actions, an action is an actor doing a verb.

    W1 munmap heap[0:1M]          # one step, one action
    P  fork W2 ; W2 exit          # one step, two actions

These are plain values. Places and sizes are counted in pages of 4 KiB. Two actions are equal when they say
the same thing, wherever they stand: a `Location` never takes part in comparisons.
A mistake in a file is a `ScenarioError`, which shows the line, marks the place and names the nearest word.
What the verbs mean is in `verbs`, how text becomes these values in `parse`, the way back in `printing`.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

KERNEL = "kernel"
"""The reserved actor: the kernel itself, which reclaims, migrates, splits and merges."""

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
"""How an `expect` compares a field with a value."""

MAX_LINE = 1_000
"""The longest line of a scenario, in characters."""


@dataclass(frozen=True, slots=True)
class Location:
    """A stretch of one source line; `line` and `column` count from 1, and line 0 is nowhere."""

    line: int
    column: int
    length: int


NOWHERE = Location(0, 0, 0)
"""Where values stand that no file holds."""


@dataclass(frozen=True, slots=True)
class Target:
    """Pages of a region: all of it, `start` up to `stop`, or single pages `step` apart.

    `stop` None is the region's end. `step` None is every page; otherwise one page at start, start+step, ...
    `process` is whose region it is, where the actor alone does not say (`W1.heap`).
    """

    region: str
    start: int = 0
    stop: int | None = None
    step: int | None = None
    process: str | None = None
    loc: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    @property
    def whole(self) -> bool:
        """Is this the whole region?"""
        return self.start == 0 and self.stop is None and self.step is None

    def pages(self, nr_pages: int) -> range:
        """The pages meant in a region of `nr_pages`; a `stop` beyond it is kept, for the caller to judge."""
        return range(self.start, nr_pages if self.stop is None else self.stop, self.step or 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing that an `expect` demands: `maybe_shared=yes`, `anon_pages>=16`."""

    field: str
    op: str
    value: str
    loc: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)


Value = str | int | tuple[int, ...] | tuple[str, ...] | Target
"""An option's value: a word or name, pages (a flag is True), several sizes in pages or names, or a place."""


@dataclass(frozen=True, slots=True)
class Action:
    """One actor doing one verb; which of the other fields are filled is declared in `verbs.VERBS`."""

    actor: str
    verb: str
    target: Target | None = None
    size: int | None = None
    word: str | None = None
    options: Mapping[str, Value] = dataclasses.field(default_factory=dict, hash=False)
    expects: tuple[Comparison, ...] = ()
    flavours: tuple[str, ...] = ()
    loc: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    @property
    def acting(self) -> tuple[str, ...]:
        """The processes that must be alive for this action: its actor and its target's owner."""
        owner = self.target.process if self.target else None
        return tuple(name for name in (self.actor, owner) if name not in (None, KERNEL))


@dataclass(frozen=True, slots=True)
class Step:
    """What happens between two observations, in this order; `text` and `comment` are the line as written."""

    actions: tuple[Action, ...]
    line: int = dataclasses.field(default=0, compare=False)
    text: str = dataclasses.field(default="", compare=False)
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole story. Scenarios are equal when title and steps are, whichever file they came from."""

    name: str = dataclasses.field(compare=False)
    path: str = dataclasses.field(compare=False)
    title: str
    steps: tuple[Step, ...]
    source: tuple[str, ...] = dataclasses.field(default=(), compare=False, repr=False)

    @property
    def first(self) -> str | None:
        """The process that exists at the start: the first one named. None if only the kernel acts."""
        return next((name for step in self.steps for action in step.actions for name in action.acting), None)

    @property
    def bits(self) -> int:
        """The machine the story is about: 32 when its leading comment has a line `bits: 32`, else 64."""
        return 32 if "bits: 32" in self.title.splitlines() else 64

    def error(self, loc: Location, message: str, hint: str = "") -> ScenarioError:
        """A mistake at `loc` that only showed when the scenario ran, to be raised."""
        source_line = self.source[loc.line - 1] if 0 < loc.line <= len(self.source) else ""
        return ScenarioError(message, self.path, loc.line, loc.column, loc.length, source_line, hint)


class ScenarioError(ValueError):
    """A mistake in a scenario; `str()` is safe to print on a terminal whatever the file held.

    `line` and `column` count from 1; line 0 means the file as a whole.
    """

    def __init__(
        self,
        message: str,
        path: str = "<string>",
        line: int = 0,
        column: int = 0,
        length: int = 0,
        source_line: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, path, line, column, length, source_line, hint)
        self.message = message
        self.path = path
        self.line = line
        self.column = column
        self.length = length
        self.source_line = source_line
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        rows = [f"{visible(place)}: {visible(self.message)}"]
        hint = visible(self.hint)
        if self.source_line.strip() and self.column:
            shown, marks = _window(self.source_line, self.column - 1, self.length)
            rows += [shown, f"{marks} {hint}" if hint else marks]
        elif hint:
            rows.append(hint)
        return "\n    ".join(rows)


def visible(text: str) -> str:
    r"""`text` with every character that a terminal might obey, or not show, spelled out: `\x1b`, `\u202e`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


WINDOW = 96
"""How many characters of a long source line an error shows, around the place it marks."""


def _window(source_line: str, start: int, length: int) -> tuple[str, str]:
    """What to show of a source line, and the row of marks below it, for the mistake at `start`."""
    first = 0 if len(source_line) <= WINDOW else max(0, min(start - WINDOW // 3, len(source_line) - WINDOW))
    last = min(len(source_line), first + WINDOW)
    before, marked, after = (
        visible(source_line[a:b].replace("\t", " "))
        for a, b in ((first, start), (start, min(start + length, last)), (min(start + length, last), last))
    )
    head, tail = "..." * (first > 0), "..." * (last < len(source_line))
    blanks = " " * (len(head) + _cells(before))
    return f"{head}{before}{marked}{after}{tail}".rstrip(), blanks + "^" + "~" * (_cells(marked) - 1)


def _cells(text: str) -> int:
    """How many terminal columns `text` fills."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )
