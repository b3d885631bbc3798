"""A moment of a story as one static SVG: who maps which pages, and beside it what each kernel believes.

The truth is drawn from page tables: a lane for each process, with its name, a colour and a texture, so that
none of them is needed alone. Estimates stand below, kernels that agree in one row; a wrong one is framed,
hatched and says so. The file follows the reader's light or dark scheme by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import escape

from mapcount.report.html.scene import Stretch
from mapcount.report.picture_style import BACKGROUND, style
from mapcount.report.picture_views import (
    LEVELS,
    View,
    in_words,
    says,
    slots_of,
    total_of,
    truth_of,
    what_it_is,
)
from mapcount.report.words import flavours_word, plural, shortened
from mapcount.scenario.observation import FolioSeen
from mapcount.scenario.syntax import visible
from mapcount.tracking.flavour import FLAVOURS

WIDTH, MARGIN = 760, 16
TRACK, TRACK_WIDTH = 116, WIDTH - 116 - MARGIN
"""Where lanes begin, and how long they are."""
LETTER = 7.3
"""About the width of a letter of the fixed-width font at 12 px."""
MOST_STRETCHES = 64
"""In a row; more of them are drawn as one."""
MOST_ROWS = 4
"""Of one process, which maps a page so many times."""
MOST_CELLS = 64
"""Pages that are still drawn one by one."""


def picture(shown: Sequence[View], notes: Sequence[str], processes: Sequence[str], title: str) -> str:
    """The SVG. `processes`: all of the story, in an order that gives each its colour and texture.

    `notes` stand below the folios, a line each.
    """
    drawing = _Drawing(list(processes))
    for view in shown:
        drawing.view(view, named=len(shown) > 1 or bool(notes))
    for note in notes:
        drawing.text(MARGIN, drawing.y + 14, note, "muted")
        drawing.y += 22
    words = in_words(shown, notes)
    height = drawing.y + 4
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
            f'aria-labelledby="t d" width="{WIDTH}" height="{height:g}">',
            f'<title id="t">{escape(visible(title))}</title>',
            f'<desc id="d">{escape(visible(words))}</desc>',
            style(drawing.used),
            BACKGROUND.format(width=WIDTH - 1, height=f"{height - 1:g}"),
            *drawing.parts,
            "</svg>\n",
        ]
    )


Box = tuple[float, float, float, float]
"""(x, y, width, height)."""


class _Drawing:
    """Parts of an SVG, from top to bottom."""

    def __init__(self, processes: list[str]) -> None:
        self.processes = processes
        self.parts: list[str] = []
        self.used: set[int] = set()
        self.y = 10.0

    def rect(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        at = f'x="{x:g}" y="{y:g}" width="{round(width, 1):g}" height="{height:g}"'
        self.parts.append(f'<rect {at} class="{kind}"/>')

    def text(self, x: float, y: float, words: str, kind: str) -> None:
        self.parts.append(f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(visible(words))}</text>')

    def fill(self, boxes: Sequence[Box], process: str, *, pale: bool = False) -> None:
        """Boxes in a process's colour and texture."""
        at = self._place(process)
        self.used.add(at % 4)
        path = "".join(f"M{x:g} {y:g}h{width:g}v{height:g}h{-width:g}z" for x, y, width, height in boxes)
        kinds = [f"p{at % 6}{' ro' * pale}", *([f"t{at % 4}"] if at % 4 else [])]
        self.parts += [f'<path d="{path}" class="{kind}"/>' for kind in kinds]

    def _place(self, process: str) -> int:
        return self.processes.index(process) if process in self.processes else 0

    def view(self, view: View, *, named: bool) -> None:
        """A folio: what it is, its lanes, and what is believed of it."""
        if self.parts:
            self.rect(MARGIN, self.y, WIDTH - 2 * MARGIN, 1, "line")
            self.y += 8
        if named:
            which = "left of the folio that was here, " * view.before
            kernels = flavours_word(view.kernels, FLAVOURS)
            self.text(MARGIN, self.y + 14, f"{which}on {kernels}", "strong")
            self.y += 20
        self.text(MARGIN, self.y + 14, what_it_is(view.folio), "")
        truth = shortened(f"truth: {truth_of(view.folio)}", 62)
        self.text(WIDTH - MARGIN, self.y + 14, truth, "strong end")
        self.y += 26
        for name, stretches in view.drawn.lanes:
            self._lane(name, stretches, 1 << view.folio.order)
        self._axis(1 << view.folio.order)
        for names, folio in view.beliefs:
            self._belief(names, folio)

    def _lane(self, name: str, stretches: Sequence[Stretch], pages: int) -> None:
        self.fill([(MARGIN, self.y + 3, 14, 14)], name)
        self.text(MARGIN + 20, self.y + 14, shortened(name, 10), "strong")
        rows = _rows(stretches)
        for row in rows[:MOST_ROWS]:
            height = 24 if row[0][2] else 18
            self.rect(TRACK, self.y, TRACK_WIDTH, height, "sunken")
            for pale in {not one[3] for one in row}:
                boxes = [self._box(one, pages, height) for one in row if one[3] != pale]
                self.fill(boxes, name, pale=pale)
            for one in row:
                self._stretch(name, one, pages, height)
            self.y += height + 3
        if len(rows) > MOST_ROWS:
            self.text(TRACK, self.y + 10, f"and {len(rows) - MOST_ROWS} more mappings like these", "small")
            self.y += 16

    def _box(self, one: Stretch, pages: int, height: float) -> Box:
        scale = TRACK_WIDTH / pages
        return round(TRACK + one[0] * scale, 1), self.y, round(max(1.0, one[1] * scale), 1), height

    def _stretch(self, name: str, one: Stretch, pages: int, height: float) -> None:
        """The lines between pages, and words where there is room for them."""
        _, n, level, writable = one
        x, _, width, _ = self._box(one, pages, height)
        scale = TRACK_WIDTH / pages
        if not level and 1 < n and pages <= MOST_CELLS:
            cuts = "".join(f"M{x + i * scale:g} {self.y:g}v{height}" for i in range(1, n))
            self.parts.append(f'<path d="{cuts}" class="cells"/>')
        entries = f"{LEVELS[level]}, {n} pages" if level else plural(n, "PTE")
        words = next(
            (w for w in (entries + ", read-only" * (not writable), entries) if (len(w) + 2) * LETTER < width),
            "",
        )
        if words:
            room, middle = len(words) * LETTER + 8, x + width / 2
            label = f"p{self._place(name) % 6}{' ro' * (not writable)}"
            self.rect(round(middle - room / 2, 1), self.y + 2, room, height - 4, label)
            self.text(round(middle, 1), self.y + height / 2 + 4, words, "on middle")

    def _axis(self, pages: int) -> None:
        self.text(TRACK, self.y + 11, "page 0", "small")
        if pages > 1:
            self.text(TRACK + TRACK_WIDTH, self.y + 11, f"{pages - 1:,}", "small end")
        self.y += 19

    def _belief(self, names: Sequence[str], folio: FolioSeen) -> None:
        height = max(34, 16 * len(names) + 10)
        top, middle = self.y, self.y + height / 2 + 4
        self.rect(MARGIN, top, WIDTH - 2 * MARGIN, height, "wrong" if folio.wrong else "box")
        for i, name in enumerate(names):
            self.text(MARGIN + 10, middle + 16 * (i - (len(names) - 1) / 2), name, "")
        slots = slots_of(folio)
        for i, held in enumerate(slots):
            self._slot(178 + 118 * i, middle - 17, f"slot {i}", held)
        if not slots:
            why = "small: the count answers" if not folio.order else "no owner slots"
            self.text(178, middle, why, "muted")
        self.text(420, middle, f"total {total_of(folio)}", "")
        if slots:
            flag = "flag set" if folio.counters.get("mm_ids_shared") else "flag clear"
            self.text(516, middle, flag, "")
        self.text(598, middle, says(folio), "strong")
        if folio.wrong:
            self.rect(676, middle - 15, 60, 21, "tag")
            self.text(706, middle, "WRONG", "tagged middle")
        self.y += height + 6

    def _slot(self, x: float, y: float, label: str, held: str | None) -> None:
        self.rect(x, y, 112, 25, "slot")
        self.text(x + 5, y + 17, label.removeprefix("slot "), "small")
        if held is None:
            self.text(x + 18, y + 17, "free", "muted")
            return
        self.fill([(x + 18, y + 7, 11, 11)], held.rpartition(":")[0])
        self.text(x + 34, y + 17, shortened(held, 10), "strong")


def _rows(stretches: Sequence[Stretch]) -> list[list[Stretch]]:
    """PMDs above PTEs, and what overlaps (two VMAs over one page) in rows of its own."""
    rows: list[list[Stretch]] = []
    for one in sorted(stretches, key=lambda s: (-s[2], s[0])):
        for row in rows:
            if row[0][2] == one[2] and row[-1][0] + row[-1][1] <= one[0]:
                row.append(one)
                break
        else:
            rows.append([one])
    return [row if len(row) <= MOST_STRETCHES else list(_merged(row)) for row in rows]


def _merged(row: Sequence[Stretch]) -> Iterator[Stretch]:
    """Stretches of one kind, with the gaps between them."""
    for (level, writable), group in groupby(row, key=lambda s: s[2:]):
        some = list(group)
        yield some[0][0], some[-1][0] + some[-1][1] - some[0][0], level, writable
