"""Draws `struct folio`: one layout, or two beside each other, word by word; and gives them as plain data.

The picture is made of the declared tables alone (`mapcount.tracking.layouts`). One line is one machine word.
It is 79 columns wide, and 98 with a column of notes where the terminal has 100.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from mapcount.tracking.layout import (
    Change,
    ChangeKind,
    Field,
    Layout,
    ProblemKind,
    Source,
    changes,
    problems,
    usable_bytes,
)

if TYPE_CHECKING:
    from rich.text import Text

Span = tuple[str, str]
"""A piece of a line and its style's name, a key of `STYLES`."""

STYLES = {
    "": "",
    "frame": "dim",
    "own": "dim",
    "free": "dim",
    "new": "bold green",
    "moved": "yellow",
    "gone": "red",
    "head": "bold",
    "problem": "bold red",
}
"""What each kind of piece looks like on a terminal with colours; the marks below say the same without."""

MARKS = {"": " ", "own": "=", "new": "+", "moved": ">", "gone": "-"}
CELL, NOTE, OFFSET, LABEL = 35, 18, 3, 10
NO_BREAK = "\u00a0"
WITH_NOTES = 100
"""From this many columns on, a column of notes says where moved fields were."""


def draw_layouts(layouts: Sequence[Layout], width: int = 80) -> Text:
    """One layout, or two as before beside after, as text for a terminal `width` columns wide.

    Below the picture: what moved, what an order-1 folio has, how full page 1 is, how the places are
    known, and the verdict of the room check. Raises ValueError for other numbers of layouts and for two
    of different machines, whose words do not lie beside each other.
    """
    from rich.text import Text

    if len(layouts) not in (1, 2) or len({layout.sizeof_page for layout in layouts}) != 1:
        raise ValueError("draw one layout, or two of the same number of bits")
    text = Text()
    for line in _lines(layouts, width >= WITH_NOTES):
        for piece, style in _trimmed(line):
            text.append(piece, STYLES[style])
        text.append("\n")
    text.right_crop(1)
    return text


def layouts_as_data(layouts: Sequence[Layout]) -> dict[str, Any]:
    """The same layouts as plain data for JSON; offsets and sizes in bytes from the folio's start."""
    data: dict[str, Any] = {"layouts": [_layout_as_data(layout) for layout in layouts]}
    if len(layouts) == 2:
        data["changes"] = [
            {
                "kind": str(change.kind),
                "before": _place_as_data(change.before),
                "after": _place_as_data(change.after),
            }
            for change in changes(*layouts)
        ]
    return data


def _layout_as_data(layout: Layout) -> dict[str, Any]:
    used, usable = usable_bytes(layout)
    return {
        "flavour": layout.flavour.name,
        "bits": layout.flavour.bits,
        "since": layout.flavour.since,
        "assumes": layout.assumes,
        "sizeof_page": layout.sizeof_page,
        "sizeof_folio": layout.sizeof_folio,
        "page_1": {"used": used, "usable": usable},
        "fields": [
            {
                "name": field.name,
                "offset": field.offset,
                "size": field.size,
                "count": field.count,
                "signed": field.signed,
                "bias": field.bias,
                "top_bits": list(field.top_bits),
                "min_order": field.min_order,
                "max_order": field.max_order,
                "only": field.only.value,
                "source": str(field.source),
            }
            for field in layout.fields
        ],
        "own_words": [
            {"name": word.name, "offset": word.offset, "size": word.size}
            for page in range(1, layout.pages)
            for word in layout.own_words(page)
        ],
        "problems": [
            {"kind": str(p.kind), "field": p.field, "has": p.has, "should": p.should}
            for p in problems(layout)
        ],
    }


def _place_as_data(field: Field | None) -> dict[str, Any] | None:
    return None if field is None else {"name": field.name, "offset": field.offset}


# --- the picture ---------------------------------------------------------------------------------------


def _lines(layouts: Sequence[Layout], notes: bool) -> list[list[Span]]:
    """Every line of the drawing, as pieces with styles."""
    found = changes(*layouts) if len(layouts) == 2 else []
    marks = [_marks(found, side) for side in range(len(layouts))]
    lines = [*_titles(layouts), *_rule(layouts, 0)]
    for page in range(max(layout.pages for layout in layouts)):
        if page:
            lines += _rule(layouts, page)
        for offset in range(
            page * layouts[0].sizeof_page, (page + 1) * layouts[0].sizeof_page, layouts[0].word
        ):
            line = [(f"{offset:>{OFFSET}} ", "frame")]
            for layout, marked in zip(layouts, marks, strict=True):
                line += _cell(layout, marked, offset)
            lines.append(line + (_note(found, offset, layouts[0].word) if notes else []))
    lines += _rule(layouts, max(layout.pages for layout in layouts))
    return [*lines, *_legend(layouts), [], *_summary(layouts, found, 79 if not notes else 98)]


def _titles(layouts: Sequence[Layout]) -> list[list[Span]]:
    names: list[Span] = [(" " * (OFFSET + 1), "")]
    since: list[Span] = [(" " * (OFFSET + 1), "")]
    for layout in layouts:
        size = f"{layout.sizeof_folio} bytes"
        names.append((f"{layout.flavour.name:<{CELL + 2 - len(size)}}{size} ", "head"))
        when = layout.flavour.since.split(" (")[0]
        when = when if len(when) <= CELL + 2 else when.split(",")[0]
        since.append((f"{_fit(when, CELL + 2)} ", "frame"))
    first = layouts[0]
    title = (
        f"struct folio, {first.flavour.bits} bits ({first.assumes}: struct page is {first.sizeof_page} bytes)"
    )
    return [[(title, "head")], [], names, since]


def _rule(layouts: Sequence[Layout], page: int) -> list[list[Span]]:
    """The line above page `page` in every column, or the last line of the columns that end there."""
    line: list[Span] = [(" " * (OFFSET + 1), "")]
    for layout in layouts:
        if page > layout.pages:
            line.append((" " * (CELL + 3), ""))
        elif page == layout.pages:
            line.append(("└" + "─" * CELL + "┘ ", "frame"))
        else:
            order = page.bit_length()
            whose = f" page {page} " + (f"· order {order} and larger " if page else "· every folio ")
            left, right = "├┤" if page else "┌┐"
            line.append((left + "─" + f"{whose:─<{CELL - 1}}" + right + " ", "frame"))
    return [line]


def _marks(found: Sequence[Change], side: int) -> dict[str, str]:
    """The mark of each field in the column before (side 0) or after (side 1)."""
    fields = [(c.after if side else c.before, c.kind) for c in found]
    return {f.name: str(kind) for f, kind in fields if f is not None and kind is not ChangeKind.SAME}


def _cell(layout: Layout, marked: dict[str, str], offset: int) -> list[Span]:
    """One word of one column: the fields that lie in it, or the page's own word, or nothing."""
    if offset >= layout.sizeof_folio:
        return [(" " * (CELL + 3), "")]
    page, word = offset // layout.sizeof_page, layout.word
    own = list(layout.own_words(page)) if page else []
    here = [(f, "own" if f in own else marked.get(f.name, "")) for f in [*layout.fields, *own]]
    here = [(f, mark) for f, mark in here if f.offset < offset + word and offset < f.end]
    middle = offset + word // 2
    left = [piece for piece in here if piece[0].end <= middle]
    right = [piece for piece in here if piece[0].offset >= middle]
    if here and len(left) + len(right) < len(here):
        spans = _piece(here, offset, CELL)
    elif here:
        half = CELL // 2
        spans = [*_piece(left, offset, half), ("╎", "frame"), *_piece(right, offset, CELL - half - 1)]
    else:
        spans = [(_fit(" ·", CELL), "free")]
    return [("│", "frame"), *spans, ("│ ", "frame")]


def _piece(fields: Sequence[tuple[Field, str]], offset: int, width: int) -> list[Span]:
    """Fields on the same bytes, side by side; those of folios that cannot be the same are parted by `/`."""
    if not fields:
        return [(_fit(" ·", width), "free")]
    spans: list[Span] = []
    for field, mark in fields:
        name = field.label if field.offset >= offset else "┊"
        spans.append((("/" if spans else "") + MARKS[mark] + name, mark))
    return _fill(spans, width)


def _fill(spans: list[Span], width: int) -> list[Span]:
    """The pieces cut or padded to `width` columns together."""
    filled: list[Span] = []
    for text, style in spans:
        if width:
            filled.append((_fit(text, min(len(text), width)), style))
            width -= len(filled[-1][0])
    return [*filled, (" " * width, "")]


def _note(found: Sequence[Change], offset: int, word: int) -> list[Span]:
    """What became of the fields that the column after has in this word."""
    said = [
        f"from {c.before.offset}" if c.before is not None else "new"
        for c in found
        if c.after is not None and c.kind is not ChangeKind.SAME and offset <= c.after.offset < offset + word
    ]
    return [(_fit(", ".join(dict.fromkeys(said)), NOTE), "frame")]


def _legend(layouts: Sequence[Layout]) -> list[list[Span]]:
    indent: Span = (" " * (OFFSET + 1), "")
    legend = [indent]
    if len(layouts) == 2:
        legend += [("+ new   ", "new"), ("> moved   ", "moved"), ("- gone   ", "gone")]
    lines = [[*legend, ("= the page's own word, must stay free   · unused", "own")]]
    if any(a.overlaps(b) for layout in layouts for a, b in combinations(layout.fields, 2)):
        kinds = {p.kind for layout in layouts for p in problems(layout)}
        both = "" if ProblemKind.OVERLAP in kinds else "; no folio has both"
        lines.append([indent, (f"a/b on the same bytes{both}", "own")])
    return lines


def _fit(text: str, width: int) -> str:
    return f"{text:<{width}}" if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _trimmed(line: list[Span]) -> list[Span]:
    """The line without the blanks at its end."""
    pieces = list(line)
    while pieces and not pieces[-1][0].rstrip():
        pieces.pop()
    return [*pieces[:-1], (pieces[-1][0].rstrip(), pieces[-1][1])] if pieces else []


# --- below the picture ---------------------------------------------------------------------------------


def _summary(layouts: Sequence[Layout], found: Sequence[Change], width: int) -> list[list[Span]]:
    """What moved, what an order-1 folio has, how full page 1 is, how we know, does it fit."""
    lines: list[list[Span]] = []
    for kind in (ChangeKind.MOVED, ChangeKind.NEW, ChangeKind.GONE):
        said = ", ".join(_change(c).replace(" ", NO_BREAK) for c in found if c.kind is kind)
        if said:
            lines += _entry(str(kind), said, width, str(kind))
    lines += _each("order 1", layouts, _order_1, width)
    lines += _each("_mapcount", layouts, _page_counts, width)
    lines += _each("page 1", layouts, _page_1, width)
    flags = [f for layout in layouts for f in layout.fields if f.top_bits][:1]
    for bits in (8 * f.size for f in flags):
        said = f"_mm_id[2] as one word: bit {bits - 1} locks the slots, bit {2 * bits - 1}: shared flag"
        lines += _entry("_mm_ids", said, width)
    lines += _each("known by", layouts, _known_by, width)
    return [*lines, *_each("room", layouts, _verdict, width)]


def _entry(label: str, said: str, width: int, style: str = "") -> list[list[Span]]:
    """A label and its text, broken at blanks into lines."""
    wrapped = wrap(said, width - LABEL, break_long_words=False, break_on_hyphens=False)
    return [
        [(f"{'' if i else label:<{LABEL}}", "head"), (text.replace(NO_BREAK, " "), style)]
        for i, text in enumerate(wrapped)
    ]


def _each(
    label: str, layouts: Sequence[Layout], say: Callable[[Layout], Span], width: int
) -> list[list[Span]]:
    """The same question to every layout; asked once if the answers are equal."""
    answers = {layout.flavour.name: say(layout) for layout in layouts}
    if len(set(answers.values())) == 1 < len(answers):
        answers = {" and ".join(answers): say(layouts[0])}
    lines: list[list[Span]] = []
    for name, (answer, style) in answers.items():
        lines += _entry("" if lines else label, f"{name}: {answer}", width, style)
    return lines


def _change(change: Change) -> str:
    """`_pincount 92 → 84`, with both names if the field was renamed; one place if it is new or gone."""
    if change.before is None or change.after is None:
        field = change.before or change.after
        return f"{field.label} {field.offset}" if field else ""
    renamed = "" if change.before.name == change.after.name else f"{change.after.label} "
    return f"{change.before.label} {change.before.offset} → {renamed}{change.after.offset}"


def _page_counts(layout: Layout) -> Span:
    every = layout.flavour.page_mapcounts
    return f"each page's own is kept {'in every folio but hugetlb' if every else 'in small folios only'}", ""


def _order_1(layout: Layout) -> Span:
    return ", ".join(f.label for f in layout.fields_of(1) if f.min_order == 1), ""


def _page_1(layout: Layout) -> Span:
    used, usable = usable_bytes(layout)
    return f"{used} of the {usable} bytes beside its own words are used", ""


def _verdict(layout: Layout) -> Span:
    broken = problems(layout)
    if broken:
        return "; ".join(map(str, broken)), "problem"
    return "all fits: no two fields of a folio on the same bytes, no page's own word covered", ""


KNOWN_BY = {
    Source.BTF: "the BTF of a running kernel (Linux 6.18, x86-64)",
    Source.MECHANISM: "mechanism, section 8",
    Source.DERIVED: "derived, not seen in a kernel",
    Source.PROPOSED: "proposed (section 9), the place is our choice",
}


def _known_by(layout: Layout) -> Span:
    """How the places are known: the most usual way first, then the exceptions by name."""
    names = {s: [f.label for f in layout.fields if f.source is s] for s in Source}
    usual, *others = sorted((s for s in Source if names[s]), key=lambda s: -len(names[s]))
    return "; ".join([KNOWN_BY[usual], *(f"{', '.join(names[s])}: {KNOWN_BY[s]}" for s in others)]), ""
