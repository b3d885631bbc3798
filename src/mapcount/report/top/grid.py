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


class Grid(ScrollView, Generic[R], can_focus=True):
    """Shows a listing. `refresh_rows` after each change of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "move_page(-1)", show=False),
        Binding("pagedown,space", "move_page(1)", show=False),
        Binding("home,g", "move_to(0)", show=False),
        Binding("end,G", "move_to(-1)", show=False),
        Binding("enter", "choose", "open"),
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
        self._fitted = fitted(self.listing.columns, self.scrollable_content_region.width)
        self.refresh_rows()
        self._show_chosen()

    # -- drawing ----------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the screen: the headings, or the row that is scrolled to there."""
        width = self.scrollable_content_region.width
        if y == 0:
            return self._headings(width)
        at = self.scroll_offset.y + y - HEADINGS
        if not 0 <= at < len(self.listing.shown):
            return Strip.blank(width, self.rich_style)
        row = self.listing.shown[at]
        line = self.rich_style
        if at == self._at and self.has_focus:
            line += self.get_component_rich_style("grid--chosen", partial=True)
        bad = line + self.get_component_rich_style("grid--bad", partial=True)
        segments = []
        for column, size in self._fitted:
            cell = column.of(row)
            segments += _placed(cell.text, size, bad if cell.bad else line, line, left=column.left)
        return Strip(segments).adjust_cell_length(width, line)

    def _headings(self, width: int) -> Strip:
        line = self.rich_style
        plain = line + self.get_component_rich_style("grid--heading", partial=True)
        chosen = line + self.get_component_rich_style("grid--sorted", partial=True)
        segments = []
        for column, size in self._fitted:
            style = chosen if column.sorts and column.sorts == self.listing.sort else plain
            segments += _placed(column.heading, size, style, line, left=column.left)
        return Strip(segments).adjust_cell_length(width, line)

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
        for column, size in self._fitted:
            if x < size + GAP:
                return column
            x -= size + GAP
        return None


def _placed(text: str, width: int, style: Style, between: Style, *, left: bool) -> list[Segment]:
    """Some text in its column, cut if it is too long, and the gap to the next one."""
    if cell_len(text) > width:
        text = set_cell_size(text, max(0, width - 3)) + "..."[:width]
    blank = Segment(" " * (width - cell_len(text)), between)
    gap = Segment(" " * GAP, between)
    return [Segment(text, style), blank, gap] if left else [blank, Segment(text, style), gap]
