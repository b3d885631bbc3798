"""A widget that shows a listing: a line for each row, one of which is chosen.

Textual's own DataTable draws cell by cell: to refresh 40 rows of 9 columns took it a tenth of a second of CPU
time, more than reading the machine. Here a line is one strip, and only lines on the screen are made at all.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mapcount.report.top.listing import GAP, Column, Listing, fitted

R = TypeVar("R")

HEADINGS = 1
"""Lines above the rows."""
PLAIN, CHOSEN, BAD, HEADING, SORTED = 0, 1, 2, 4, 8
"""What a text looks like; a bad cell may be in the chosen row."""

Content = tuple[tuple[str, int], ...]
"""A line: texts, and what each looks like."""


class Grid(ScrollView, Generic[R], can_focus=True):
    """Shows a listing. `refresh_rows` after each change of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "move_page(-1)"),
        Binding("pagedown,space", "move_page(1)"),
        Binding("home,g", "move_to(0)"),
        Binding("end,G", "move_to(-1)"),
        Binding("enter", "choose"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--heading", "grid--sorted", "grid--chosen", "grid--bad"}
    DEFAULT_CSS = """
    Grid {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        & .grid--heading { text-style: bold; }
        & .grid--sorted { text-style: bold underline; }
        & .grid--chosen { text-style: reverse; }
        & .grid--bad { text-style: bold; color: $error; }
    }
    """

    class Chosen(Message):
        """Enter, or a click on the row that was chosen already."""

        def __init__(self, grid: Grid[Any], row: object) -> None:
            super().__init__()
            self.grid, self.row = grid, row

    class Resorted(Message):
        """A click on a heading has changed the order."""

    def __init__(self, listing: Listing[R], **options: Any) -> None:
        super().__init__(**options)
        self.listing = listing
        self._at = 0
        """Index of the chosen row."""
        self._followed: Hashable | None = None
        """Who that is, once somebody moved there: then it is followed when rows change places."""
        self._fitted: list[tuple[Column[R], int]] = []
        self._fitted_to = -1
        self._looks: dict[int, Style] | None = None

    @property
    def row(self) -> R | None:
        """The chosen row; None if there is none."""
        return self.listing.shown[self._at] if self._at < len(self.listing.shown) else None

    def refresh_rows(self) -> None:
        """The listing has changed."""
        shown = self.listing.shown
        if self._followed is not None:
            names = [self.listing.name(row) for row in shown]
            if self._followed in names:
                self._at = names.index(self._followed)
        self._at = max(0, min(self._at, len(shown) - 1))
        self.virtual_size = Size(self.size.width, HEADINGS + len(shown))
        self.refresh()

    def on_resize(self) -> None:
        """Columns are chosen anew."""
        self.refresh_rows()
        self._show_chosen()

    # -- drawing ----------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the screen: the headings, or the row that is scrolled to there."""
        return self._strip(self._content(y))

    def _content(self, y: int) -> Content:
        """Texts of a line with what each is to look like, those that look alike in one."""
        if y == 0:
            return self._headings()
        at = self.scroll_offset.y + y - HEADINGS
        if not 0 <= at < len(self.listing.shown):
            return ()
        row = self.listing.shown[at]
        plain = CHOSEN if at == self._at and self.has_focus else PLAIN
        cells = [(column.of(row), column, width) for column, width in self._columns()]
        return _joined(
            [
                (
                    _placed(cell.text, width, left=column.left, tail=column.tail),
                    plain | BAD if cell.bad else plain,
                )
                for cell, column, width in cells
            ],
            plain,
        )

    def _headings(self) -> Content:
        sort = self.listing.sort
        return _joined(
            [
                (
                    _placed(column.heading, width, left=column.left),
                    SORTED if column.sorts_by(sort) else HEADING,
                )
                for column, width in self._columns()
            ],
            HEADING,
        )

    def _columns(self) -> list[tuple[Column[R], int]]:
        """Those that there is room for."""
        width = self.scrollable_content_region.width
        if width != self._fitted_to:
            self._fitted, self._fitted_to = fitted(self.listing.columns, width), width
        return self._fitted

    def _strip(self, content: Content) -> Strip:
        styles = self._styles()
        width = self.scrollable_content_region.width
        segments = [Segment(text, styles[look]) for text, look in content]
        used = sum(cell_len(text) for text, _ in content)
        rest = content[-1][1] & CHOSEN if content else PLAIN
        if used < width:
            segments.append(Segment(" " * (width - used), styles[rest]))
        strip = Strip(segments, max(used, width))
        return strip if used <= width else strip.crop(0, width)

    def _styles(self) -> dict[int, Style]:
        if self._looks is None:
            plain = self.rich_style
            named = {
                look: self.get_component_rich_style(f"grid--{name}", partial=True)
                for look, name in ((CHOSEN, "chosen"), (BAD, "bad"), (HEADING, "heading"), (SORTED, "sorted"))
            }
            self._looks = {look: plain + style for look, style in named.items()}
            self._looks |= {PLAIN: plain, CHOSEN | BAD: plain + named[CHOSEN] + named[BAD]}
        return self._looks

    def notify_style_update(self) -> None:
        """Colours have changed."""
        super().notify_style_update()
        self._looks = None

    # -- moving -----------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Choose another row."""
        self._choose(self._at + by)

    def action_move_page(self, by: int) -> None:
        """A screen further."""
        self._choose(self._at + by * max(1, self.size.height - HEADINGS - 1))

    def action_move_to(self, at: int) -> None:
        """The first row, or the last."""
        self._choose(at if at >= 0 else len(self.listing.shown) - 1)

    def action_choose(self) -> None:
        """The chosen row is meant."""
        if self.row is not None:
            self.post_message(self.Chosen(self, self.row))

    def _choose(self, at: int) -> None:
        self._at = max(0, min(at, len(self.listing.shown) - 1))
        self._followed = self.listing.name(self.row) if self.row is not None and self._at else None
        self._show_chosen()
        self.refresh()

    def _show_chosen(self) -> None:
        """Scroll so that the chosen row can be seen, below the headings."""
        rows = self.size.height - HEADINGS
        top = min(self._at, max(self.scroll_offset.y, self._at - rows + 1))
        self.scroll_to(y=top, animate=False, immediate=True)

    def on_click(self, event: events.Click) -> None:
        """A heading sorts, a row is chosen, and the chosen row is opened."""
        if event.y == 0:
            column = self._column_at(event.x)
            if column and column.sorts in self.listing.orders:
                self.listing.sort = column.sorts
                self.listing.arrange()
                self.refresh_rows()
                self.post_message(self.Resorted())
            return
        at = self.scroll_offset.y + event.y - HEADINGS
        if at < len(self.listing.shown):
            if at == self._at and self.has_focus:
                self.action_choose()
            self._choose(at)

    def _column_at(self, x: int) -> Column[R] | None:
        for column, size in self._columns():
            if x < size + GAP:
                return column
            x -= size + GAP
        return None


def _placed(text: str, width: int, *, left: bool, tail: bool = False) -> str:
    """Some text in its column, cut if it is too long."""
    if cell_len(text) > width:
        room, dots = max(0, width - 3), "..."[:width]
        text = dots + _end(text, room) if tail else set_cell_size(text, room) + dots
    blank = " " * (width - cell_len(text))
    return text + blank if left else blank + text


def _end(text: str, width: int) -> str:
    """The end of a text, as far as there is room."""
    end = text[-width:] if width else ""
    while cell_len(end) > width:
        end = end[1:]
    return end


def _joined(cells: list[tuple[str, int]], between: int) -> Content:
    """Cells with gaps, those that look alike put together."""
    joined: list[tuple[str, int]] = []
    for i, (text, look) in enumerate(cells):
        for more, its in ((" " * GAP * (i > 0), between), (text, look)):
            if joined and joined[-1][1] == its:
                joined[-1] = joined[-1][0] + more, its
            elif more:
                joined.append((more, its))
    return tuple(joined)
