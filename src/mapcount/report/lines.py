"""Text in lines that keep to a width. Words are never cut, so that paths and names can be copied."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.text import Text

LEAST = 24
"""Columns that text has beside what it hangs from; where that leaves fewer, it hangs from the left."""
NARROW = 4
"""How far in from the left, then."""
MORE = "..."
"""There is more, which is not shown."""


def whole(text: str, style: str = "") -> Text:
    """One line, however long: for what is to be searched for, or copied."""
    return Text(text, style, no_wrap=True, overflow="ignore")


def hanging(text: str, width: int, indent: int = 0, style: str = "") -> Iterator[Text]:
    """A text in lines, no blanks at their ends; all but the first begin `indent` columns from the left."""
    if width - indent < LEAST:
        indent = min(indent, NARROW)
    lines = textwrap.wrap(
        text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    yield from (whole(line, style) for line in lines)


def parted(a: str, b: str, most: int) -> tuple[str, str]:
    """Two texts in at most `most` columns each, cut so that the place where they part is seen in both."""
    if max(len(a), len(b)) <= most:
        return a, b
    alike = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    room = len(MORE) + 1
    start = min(alike - most // 2, max(len(a), len(b)) - most) + room
    word = a.rfind(" ", 0, alike) + 1  # the first that differs
    if start <= room:
        start = 0
    elif start < word:
        start = a.find(" ", start - 1) + 1
    return _window(a, start, most), _window(b, start, most)


def _window(text: str, start: int, most: int) -> str:
    shown = f"{MORE} {text[start:]}" if start else text
    return shown if len(shown) <= most else f"{shown[: most - len(MORE) - 1]} {MORE}"
