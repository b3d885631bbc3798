"""The generated parts of docs/what-is-exact.md: every cell computed, every witness acted out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import combinations

from doc_parts import table
from mapcount.check.exactness import PAGES, SETTINGS, Cell, Table
from mapcount.check.exactness import table as exactness
from mapcount.check.questions import QUESTIONS, Question, Side
from mapcount.check.witness import Witness, in_words, witnesses
from mapcount.report.words import share
from mapcount.tracking.flavour import FLAVOURS

PARTS: dict[str, Callable[[], str]] = {}


def _part(make: Callable[[], str]) -> Callable[[], str]:
    PARTS[make.__name__.replace("_", "-")] = make
    return make


@cache
def _computed() -> tuple[Table, list[Witness]]:
    found = exactness()
    return found, witnesses(found.cells)


def _of(question: Question, flavour: str) -> list[Cell]:
    return [
        cell for cell in _computed()[0].cells if cell.question is question and cell.flavour.name == flavour
    ]


@_part
def exactness_worlds() -> str:
    """The columns: which worlds were explored."""
    rows = []
    for setting in SETTINGS:
        maps = "once" if setting.max_maps == 1 else f"up to {setting.max_maps} times"
        slot = f"{setting.slot_holds}, of 32 bits" if setting.slot_holds else "any"
        rows.append((setting.words, setting.mms, PAGES, maps, slot))
    return table(("", "mms", "pages", "each mm maps a page", "a slot counts to"), rows)


@_part
def exactness_summary() -> str:
    """One line for each question, one column for each flavour: the worst over all worlds."""
    rows = [
        (f"[{question.id}](#{question.id})", *(_worst(_of(question, name)) for name in FLAVOURS))
        for question in QUESTIONS.values()
    ]
    return table(("question", *(f"`{name}`" for name in FLAVOURS)), rows)


def _worst(cells: Sequence[Cell]) -> str:
    sides = {side for cell in cells for side in cell.mistakes}
    if not sides:
        return "exact"
    how = "conservative" if all(cell.exact or cell.conservative for cell in cells) else "**wrong**"
    return f"{how}: {_sides(sides)}"


def _sides(sides: set[Side]) -> str:
    return " and ".join(side.value for side in Side if side in sides)


@_part
def exactness_against() -> str:
    """The flavours against each other: which answer a question differently anywhere, and how soon."""
    pairs = list(combinations(FLAVOURS, 2))
    parting = _computed()[0].parting
    rows = []
    for id_ in QUESTIONS:
        soonest = [parting.get((id_, a, b)) for a, b in pairs]
        rows.append((id_, *("same" if n is None else f"differ ({n})" for n in soonest)))
    return table(("question", *(f"`{a}` / `{b}`" for a, b in pairs)), rows)


@_part
def exactness_questions() -> str:
    """Each question with its table, and the witnesses of its mistakes."""
    return "\n\n".join("\n\n".join(_section(question)) for question in QUESTIONS.values())


def _section(question: Question) -> Iterator[str]:
    numbered = {id(one): number for number, one in enumerate(_computed()[1], 1)}
    mine = [one for one in _computed()[1] if one.question is question]
    yield f"### {question.id}\n\n**{question.asks}** {question.truth}"
    yield question.why + (f" Harmless: {question.harmless.value}." if question.harmless else "")
    header = ("", *(setting.words for setting in SETTINGS))
    rows = []
    for name in FLAVOURS:
        cells = [
            _cell(cell, [one for one in mine if cell in one.cells], numbered) for cell in _of(question, name)
        ]
        rows.append((f"`{name}`", *cells))
    yield table(header, rows)
    for one in mine:
        yield _witness(one, numbered[id(one)])


def _cell(cell: Cell, its: Sequence[Witness], numbered: dict[int, int]) -> str:
    if not cell.asked:
        return "-"
    if cell.exact:
        return "exact"
    said = []
    for side in Side:
        for one in its:
            if one.side is side:
                word = side.value if cell.conservative else f"**{side.value}**"
                pmds = " with PMDs" if side in cell.pmds_only else ""
                said.append(f"{word}{pmds} [{numbered[id(one)]}](#w{numbered[id(one)]})")
    return f"{', '.join(said)}: {share(cell.mistaken / cell.asked)}"


def _witness(one: Witness, number: int) -> str:
    answer, question = one.mistake.answer, one.question
    on = ", ".join(f"`{flavour.name}`" for flavour in one.flavours)
    head = f'<a id="w{number}"></a>{number}. {on}: said {in_words(question, answer.said)}, '
    head += f"true {in_words(question, answer.true)}."
    if one.story is None:
        return f"{head} No scenario shows it."
    unit = one.story.unit
    if unit > 1:
        head += f" A page of the world is {unit:,} pages here."
    lines = [line for line in one.story.text.splitlines() if not line.startswith("#") or "bits:" in line]
    return "\n".join([head, "", "```scn", *lines, "```"])
