"""The screens: lists with a head above and a line about their state below, and text to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Input, Static

from mapcount.report.top.grid import Grid
from mapcount.report.top.listing import Listing

TALL = 34
"""From so many lines on, there is room for both lists of a screen."""
MOST_BELOW = 10
"""Lines of the second list, where both are to be seen."""


class Commands(Protocol):
    """What a screen asks of whoever shows it."""

    def draw(self) -> None:
        """Something else is to be seen now."""

    def open(self, row: object) -> None:
        """Look into this row."""

    def back(self) -> None:
        """To where this was opened from."""

    def capture_name(self) -> str:
        """A name for a capture; nothing if there is none to be made."""

    def save(self, name: str) -> None:
        """Write a capture."""


KEYS = (
    *(("Enter", "open"), ("/", "filter"), ("s", "sort"), ("f", "folios"), ("p", "pause"), ("r", "now")),
    *(("c", "save"), ("n", "notes"), ("?", "help"), ("q", "quit")),
)
DEEPER = (("Enter", "open"), ("f", "folios"))
"""Keys that mean nothing where there is nothing deeper."""
TEXT_KEYS = (("Esc", "back"), ("q", "quit"))


class Keys(Static):
    """The keys, in the last line. Textual's own Footer makes a widget of each, anew for each screen."""

    DEFAULT_CSS = "Keys { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        """`keys`: what each is called, and what it does."""
        super().__init__(
            Text(" ").join(Text.assemble((key, "bold reverse"), " ", what) for key, what in keys)
        )


class Prompt(Input):
    """A line to type in, at the bottom; Enter and Escape end it."""

    DEFAULT_CSS = """
    Prompt { display: none; border: none; height: 1; padding: 0; background: transparent; }
    Prompt:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "screen.end_prompt")]


class ListScreen(Screen[None]):
    """A head, one list or two, a line about their state, and keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", priority=True),
        Binding("s", "sort"),
        Binding("f", "other"),
        Binding("p", "app.pause"),
        Binding("r", "app.now"),
        Binding("c", "save"),
        Binding("n", "app.notes"),
        Binding("question_mark", "app.help"),
        Binding("escape", "back"),
        Binding("q", "app.quit"),
    ]
    DEFAULT_CSS = """
    ListScreen { background: transparent; }
    ListScreen #head { height: auto; text-wrap: nowrap; text-overflow: ellipsis; margin-bottom: 1; }
    ListScreen #below { margin-top: 1; }
    ListScreen #state { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, commands: Commands, listing: Listing[Any], below: Listing[Any] | None = None) -> None:
        super().__init__()
        self._commands = commands
        self._grids = [Grid(listing, id="list")] + ([Grid(below, id="below")] if below else [])
        self._other = False
        """Was the second list asked for, in the place of the first?"""
        self._saving = False
        self._above = Static("", markup=False, id="head")
        self._state = Static("", markup=False, id="state")
        self._prompt = Prompt(id="prompt")
        self._question = ""
        """What is being asked, while somebody types."""
        self._head = Text()
        self._below = -1
        """Lines of the second list; 0: all that are free."""

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield self._above
        yield from self._grids
        yield self._state
        yield self._prompt
        yield Keys(KEYS if len(self._grids) > 1 else [key for key in KEYS if key not in DEEPER])

    def on_mount(self) -> None:
        """Show what is known already."""
        self._commands.draw()

    @property
    def listing(self) -> Listing[Any]:
        """The list that keys are about."""
        return next((grid for grid in self._grids if grid.has_focus), self._grids[0]).listing

    def show(self, head: Text, *rows: Sequence[Any]) -> None:
        """The head, and the rows of each list."""
        if not self._above.is_attached:
            return
        if head != self._head:
            self._head = head
            self._above.update(head)
        for grid, now in zip(self._grids, rows, strict=True):
            grid.listing.rows = now
            grid.listing.arrange()
            grid.refresh_rows()
        self._lay_out()

    def tell(self, state: str) -> None:
        """The line below the lists."""
        if self._state.is_attached:
            self._state.update(Text(self._question or state), layout=False)

    def on_resize(self) -> None:
        """There may be room for both lists now."""
        self._lay_out()

    def _lay_out(self) -> None:
        if len(self._grids) == 1:
            return
        tall = self.size.height >= TALL
        first, second = self._grids
        first.display, second.display = tall or not self._other, tall or self._other
        # Setting a height lays the screen out anew, even if it is the same.
        height = min(MOST_BELOW, 1 + len(second.listing.rows)) if tall else 0
        if height != self._below:
            self._below = height
            second.styles.height = height or "1fr"
        if not (self.focused and self.focused.display):
            (second if self._other else first).focus()

    # -- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The key for the filter comes before all others, so that what is typed next is typed into it."""
        return action != "filter" or not self._prompt.display

    def action_sort(self) -> None:
        """Sort by the next thing."""
        self.listing.sort_by_next()
        self._redraw()

    def action_other(self) -> None:
        """To the other list."""
        if len(self._grids) > 1:
            self._other = not self._other
            self._lay_out()
            self._grids[self._other].focus()
            self._redraw()

    def on_grid_resorted(self) -> None:
        """A click on a heading."""
        self._redraw()

    def on_grid_chosen(self, message: Grid.Chosen) -> None:
        """A row is to be opened."""
        self._commands.open(message.row)

    def action_back(self) -> None:
        """All rows again; if there were all, to where this was opened from."""
        if self.listing.filter:
            self._filter("")
        elif self._other:
            self.action_other()
        else:
            self._commands.back()

    def _redraw(self) -> None:
        for grid in self._grids:
            grid.refresh_rows()
        self._commands.draw()

    # -- typing -----------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Ask what rows have to contain."""
        self._ask(
            self.listing.filter, "Show only what contains this. Enter keeps it so, Esc shows all again."
        )

    def action_save(self) -> None:
        """Ask for the name of a capture."""
        if suggestion := self._commands.capture_name():
            self._saving = True
            self._ask(suggestion, "Write a capture to this new directory. Enter writes it, Esc does not.")

    def _ask(self, value: str, question: str) -> None:
        self._prompt.value, self._prompt.display, self._question = value, True, question
        self.set_focus(self._prompt)
        self.tell("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Rows are filtered while one types."""
        if event.input.display and not self._saving:
            self._filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """What was typed is meant."""
        if self._saving:
            self._commands.save(event.value)
        self._close_prompt()

    def action_end_prompt(self) -> None:
        """What was typed is not meant."""
        if not self._saving:
            self._filter("")
        self._close_prompt()

    def _close_prompt(self) -> None:
        self._saving, self._question = False, ""
        self._prompt.display = False
        self._grids[self._other].focus()
        self._commands.draw()

    def _filter(self, text: str) -> None:
        listing = self._grids[self._other].listing
        listing.filter = text
        listing.arrange()
        self._redraw()


class TextScreen(Screen[None]):
    """Something to read."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,question_mark,n", "app.pop_screen"),
        Binding("q", "app.quit"),
    ]
    DEFAULT_CSS = "TextScreen { background: transparent; }"

    def __init__(self, text: Text) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """The text, which may be longer than the screen."""
        with VerticalScroll():
            yield Static(self._text, markup=False)
        yield Keys(TEXT_KEYS)
