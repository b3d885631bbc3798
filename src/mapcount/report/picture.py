"""A moment of a story as one static SVG: who maps which pages, and beside it what each kernel believes.

The truth is drawn from page tables: a lane for each process, with its name, a colour and a texture, so that
none of them is needed alone. Estimates stand below, kernels that agree in one row; a wrong one is framed,
hatched and says so. The file follows the reader's light or dark scheme by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import escape

from mapcount.report.html.playback import Played
from mapcount.report.html.scene import FolioPicture, Stretch
from mapcount.report.moments import Moment, folio_at
from mapcount.report.picture_style import BACKGROUND, style
from mapcount.report.words import flavours_word, listed, plural, shortened, size
from mapcount.scenario.observation import FolioSeen
from mapcount.scenario.syntax import visible
from mapcount.tracking.flavour import FLAVOURS, PMD_ORDER, PUD_ORDER

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
LEVELS = {0: "PTE", PMD_ORDER: "PMD", PUD_ORDER: "PUD"}


@dataclass(frozen=True, slots=True)
class View:
    """One folio, as the page tables have it alike on some kernels, and what these believe."""

    kernels: tuple[str, ...]
    before: bool
    """Is this the folio that was at the page before the step, rather than the one that is now?"""
    drawn: FolioPicture
    beliefs: tuple[tuple[tuple[str, ...], FolioSeen], ...]
    """(kernels that agree, the folio as they see it)."""

    @property
    def folio(self) -> FolioSeen:
        """The folio as the first of these kernels sees it: owners and size are the same on all."""
        return self.beliefs[0][1]


def views(played: Sequence[Played], moment: Moment) -> list[View]:
    """The folio at the moment's page, and the one that was there before, if it still is somewhere.

    Kernels on which they are the same stand together.
    """
    found: dict[tuple[bool, object], list[tuple[str, FolioSeen, FolioPicture]]] = {}
    for one in played:
        for before, at in _folios_at(one, moment):
            folio = one.run.steps[moment.step].seen.folios[at]
            drawn = one.scenes[moment.step].folios[at]
            alike = folio.kind, folio.order, folio.count, drawn.lanes
            found.setdefault((before, alike), []).append((one.run.flavour.name, folio, drawn))
    return [
        View(tuple(name for name, _, _ in group), before, group[0][2], tuple(_beliefs(group)))
        for (before, _), group in found.items()
    ]


def _folios_at(one: Played, moment: Moment) -> Iterator[tuple[bool, int]]:
    """(was there before the step?, which folio it is after the step)."""
    now = one.scenes[moment.step]
    at = folio_at(now, moment.process, moment.page)
    if at is not None:
        yield False, at
    old = one.scenes[moment.step - 1] if moment.step else now
    was = folio_at(old, moment.process, moment.page)
    if was is None:
        return
    left = now.folio_at(old.folios[was].pfn)
    if left not in (None, at) and now.folios[left].lanes and _order(one, moment, left) > 0:
        yield True, left


def _order(one: Played, moment: Moment, at: int) -> int:
    return one.run.steps[moment.step].seen.folios[at].order


def _beliefs(
    group: Sequence[tuple[str, FolioSeen, FolioPicture]],
) -> Iterator[tuple[tuple[str, ...], FolioSeen]]:
    alike: dict[object, list[tuple[str, FolioSeen]]] = {}
    for name, folio, _ in group:
        alike.setdefault((folio.maybe_shared, *_slots(folio), _total(folio)), []).append((name, folio))
    for same in alike.values():
        yield tuple(name for name, _ in same), same[0][1]


def _slots(folio: FolioSeen) -> tuple[str | None, ...]:
    """What each slot holds, None if it is free; nothing where there are no slots."""
    ids, held = folio.counters.get("mm_id"), iter(folio.slots)
    if not isinstance(ids, list) or not folio.order:
        return ()
    return tuple(":".join(map(str, next(held))) if mm_id else None for mm_id in ids)


def _total(folio: FolioSeen) -> int:
    return sum(folio.owners.values())


def in_words(view: View) -> str:
    """The picture for somebody who cannot see it."""
    lanes = [
        f"{name} maps {listed([_stretch_in_words(one) for one in stretches[:4]])}"
        + f" and {len(stretches) - 4} more stretches" * (len(stretches) > 4)
        for name, stretches in view.drawn.lanes
    ]
    said = [
        f"{flavours_word(names, ())}: {_says(folio)}"
        + ", wrong" * folio.wrong
        + "".join(f", slot {i} {held or 'free'}" for i, held in enumerate(_slots(folio)))
        for names, folio in view.beliefs
    ]
    return f"{_what(view.folio)}. {'. '.join(lanes)}. Truth: {_truth(view.folio)}. {'. '.join(said)}."


def _stretch_in_words(stretch: Stretch) -> str:
    page, n, level, writable = stretch
    pages = f"page {page}" if n == 1 else f"pages {page} to {page + n - 1}"
    return f"{pages} by {LEVELS[level]}{'s' * (not level and n > 1)}{', read-only' * (not writable)}"


def _says(folio: FolioSeen) -> str:
    return "shared" if folio.maybe_shared else "exclusive"


def _truth(folio: FolioSeen) -> str:
    return f"{folio.truth}: {', '.join(f'{visible(name)} {n}' for name, n in folio.owners.items())}"


def _what(folio: FolioSeen) -> str:
    one = f"{folio.kind} {size(4 << folio.order)} folio"
    return (
        one
        if folio.count == 1
        else f"one of {folio.count} look-alike {folio.kind} folios of {one.split()[1]}"
    )


def picture(shown: Sequence[View], processes: Sequence[str], title: str) -> str:
    """The SVG. `processes`: all of the story, in an order that gives each its colour and texture."""
    drawing = _Drawing(list(processes))
    for view in shown:
        drawing.view(view, named=len(shown) > 1)
    if not shown:
        drawing.text(MARGIN, drawing.y + 16, "Nothing is mapped here any more.", "muted")
        drawing.y += 30
    words = " ".join(in_words(view) for view in shown) or "Nothing is mapped here any more."
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
        self.text(MARGIN, self.y + 14, _what(view.folio), "")
        truth = shortened(f"truth: {_truth(view.folio)}", 62)
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
        self.text(TRACK, self.y + 9, "page 0", "small")
        if pages > 1:
            self.text(TRACK + TRACK_WIDTH, self.y + 9, f"{pages - 1:,}", "small end")
        self.y += 18

    def _belief(self, names: Sequence[str], folio: FolioSeen) -> None:
        height = max(34, 16 * len(names) + 10)
        top, middle = self.y, self.y + height / 2 + 4
        self.rect(MARGIN, top, WIDTH - 2 * MARGIN, height, "wrong" if folio.wrong else "box")
        for i, name in enumerate(names):
            self.text(MARGIN + 10, middle + 16 * (i - (len(names) - 1) / 2), name, "")
        slots = _slots(folio)
        for i, held in enumerate(slots):
            self._slot(178 + 118 * i, middle - 17, f"slot {i}", held)
        if not slots:
            why = "small: the count answers" if not folio.order else "no owner slots"
            self.text(178, middle, why, "muted")
        self.text(420, middle, f"total {_total(folio)}", "")
        if slots:
            flag = "flag set" if folio.counters.get("mm_ids_shared") else "flag clear"
            self.text(516, middle, flag, "")
        self.text(598, middle, _says(folio), "strong")
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
