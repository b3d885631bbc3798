"""A real kernel's recorded answers beside the simulated ones, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mapcount.report.lines import LEAST, hanging, parted
from mapcount.report.words import plural
from mapcount.scenario.compare import ComparedStep, Comparison, Difference
from mapcount.scenario.syntax import visible

INDENT = " " * 8
"""Left of a field: a step's line number and actor stand there."""
LINES = 3
"""Lines that one value may fill; of a longer one is shown where the kernels differ, and JSON has all."""
REAL, SIMULATED = "real       ", "simulated  "
MOST_FOLIOS = 4
"""Folios of one region shown, where a recording has all of them."""
TELLING = (
    "folio.large_mapcount", "folio.mm_id_mapcount", "folio.mm_ids_shared", "folio.kpagecount",
    "folio.refcount", "charged_pages.anon", "charged_pages.file_mapped",
)  # fmt: skip
"""Folio and system fields shown when they change, besides each process's Rss, Pss and private memory."""


def draw_comparison(
    comparison: Comparison, *, every: bool = False, width: int = 100
) -> Iterator[RenderableType]:
    """Step by step the telling fields of both kernels, every deviation, and a verdict.

    `every`: also those fields that a step has not changed.
    """
    recording = comparison.recording
    name = f"{visible(comparison.scenario.name)} on {visible(recording.path)}"
    yield from hanging(
        f"{name}: a real {recording.flavour} kernel beside the simulated one", width, 2, "bold"
    )
    yield Text("a value that stands alone is what both say", "dim")
    shown: dict[str, object] = {}
    steps = [(step, _rows(step, shown, every=every)) for step in comparison.steps]
    column = max((len(row.field) for _, rows in steps for row in rows), default=0) + 2
    for step, rows in steps:
        yield from hanging(f"{step.step.line:>4}  {visible(step.step.text)}", width, len(INDENT), "bold")
        if not rows:
            yield Text(f"{INDENT}(nothing changed)", "dim")
        for row in rows:
            yield from row.draw(column, width)
    yield Text()
    colour = "bold red" if comparison.unknown else "yellow" if comparison.known else "green"
    yield from hanging(_verdict(comparison), width, 2, colour)


@dataclass(frozen=True, slots=True)
class _Row:
    """One field after one step."""

    field: str
    real: object
    simulated: object
    difference: Difference | None = None

    def draw(self, column: int, width: int) -> Iterator[Text]:
        """The value that both have; or both values, one below the other, and what is known of that."""
        label = f"{INDENT}{self.field:<{column}}"
        real, simulated = visible(str(self.real)), visible(str(self.simulated))
        if self.difference is None and real == simulated:
            yield from hanging(f"{label}{real}", width, len(label))
            return
        value = len(label) + len(SIMULATED)
        real, simulated = parted(real, simulated, LINES * max(width - value, LEAST))
        known = self.difference.known if self.difference else None
        style = "" if self.difference is None else "yellow" if known else "bold red"
        yield from hanging(f"{label}{REAL}{real}", width, value, style)
        blank = " " * len(label)
        yield from hanging(f"{blank}{SIMULATED}{simulated}", width, value, style)
        if self.difference is not None:
            yield from hanging(f"{blank}{f'known: {known.id}' if known else 'DEVIATES'}", width, value, style)


def _rows(step: ComparedStep, shown: dict[str, object], *, every: bool) -> list[_Row]:
    """The telling fields that have changed, and all that differ. `shown`: what was last shown of each."""
    real, simulated = _telling(step.real), _telling(step.simulated)
    rows = [
        _Row(field, real[field], simulated.get(field))
        for field in real
        if every or shown.get(field) != real[field]
    ]
    shown |= real
    return rows + [_Row(d.field, d.real, d.simulated, d) for d in step.differences]


def _telling(answer: Mapping[str, Any]) -> dict[str, object]:
    """The fields worth a line, as text."""
    if "processes" in answer:
        return dict(_telling_regions(answer))
    out: dict[str, object] = {}
    for name in TELLING:
        part, field = name.split(".")
        value = answer[part].get(field)
        if value is not None:
            out[field] = value.get("rle") if isinstance(value, dict) else value
    for actor in answer["actors"]:
        out[actor["name"]] = _sizes(actor["smaps"])
    return out


def _telling_regions(answer: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The same of a recording of format 2: each region's sizes, and its folios' mappings."""
    for process in answer["processes"]:
        for region in process["regions"]:
            path = f"{process['name']}.{region['name']}"
            yield path, _sizes(region["smaps"])
            for i, folio in enumerate(region["folios"][:MOST_FOLIOS]):
                yield f"{path}.folios[{i}]", _mappings(folio)
            if len(region["folios"]) > MOST_FOLIOS:
                yield f"{path}.folios[{MOST_FOLIOS}:]", f"{len(region['folios']) - MOST_FOLIOS} more kinds"


def _mappings(folio: Mapping[str, Any]) -> str:
    """How many folios of a kind, and what of their mappings the kernel counts."""
    words = [f"{folio.get('count')} of order {folio.get('order')}"]
    for word, field in (("total", "large_mapcount"), ("slots", "mm_id_mapcount")):
        words += [f"{word} {folio[field]}".replace(", ", ",")] if field in folio else []
    return " ".join([*words, *["shared"] * bool(folio.get("mm_ids_shared"))])


def _sizes(smaps: Mapping[str, Any]) -> str:
    private = smaps.get("Private_Clean", 0) + smaps.get("Private_Dirty", 0)
    return f"Rss {smaps.get('Rss')} Pss {smaps.get('Pss')} Uss {private}"


def _verdict(comparison: Comparison) -> str:
    """How many fields agree, how many deviate and are documented, how many are findings."""
    unknown, known = len(comparison.unknown), len(comparison.known)
    agree = f"{comparison.fields - unknown - known:,}" if unknown or known else "all"
    fields, steps = plural(comparison.fields, "field"), plural(len(comparison.steps), "step")
    text = f"{fields} compared in {steps}: {agree} agree"
    if known:
        ids = sorted({d.known.id for _, d in comparison.known if d.known})
        differ = f"{known:,} differ{'s' * (known == 1)}"
        text += f", {differ} as documented ({', '.join(ids)}; docs/kernel-deviations.md)"
    return f"{text}, {unknown:,} DEVIATE" if unknown else text
