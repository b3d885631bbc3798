"""A real kernel's recorded answers beside the simulated ones, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mapcount.scenario.compare import ComparedStep, Comparison, Difference
from mapcount.scenario.syntax import visible

MOST = 30
"""Columns that one value may fill."""
MOST_FOLIOS = 4
"""Folios of one region shown, where a recording has all of them."""
TELLING = (
    "folio.large_mapcount", "folio.mm_id_mapcount", "folio.mm_ids_shared", "folio.kpagecount",
    "folio.refcount", "charged_pages.anon", "charged_pages.file_mapped",
)  # fmt: skip
"""Folio and system fields shown when they change, besides each process's Rss, Pss and private memory."""


def draw_comparison(comparison: Comparison, *, every: bool = False) -> Iterator[RenderableType]:
    """Step by step the telling fields of both kernels, every deviation, and a verdict."""
    recording = comparison.recording
    yield Text.assemble(
        (visible(comparison.scenario.name), "bold"),
        f" on {visible(recording.path)}: a real {recording.flavour} kernel beside the simulated one",
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "real", "simulated", ""):
        table.add_column(name, no_wrap=True)
    shown: dict[str, object] = {}
    for step in comparison.steps:
        _add_rows(table, step, shown, every=every)
    yield table
    yield Text()
    yield verdict(comparison)


def _add_rows(table: Table, step: ComparedStep, shown: dict[str, object], *, every: bool) -> None:
    differing = {d.field: d for d in step.differences}
    real, simulated = _telling(step.real), _telling(step.simulated)
    rows: list[tuple[str, object, object, Difference | None]] = []
    for field in real:
        if every or shown.get(field) != real[field]:
            rows.append((field, real[field], simulated.get(field), None))
        shown[field] = real[field]
    rows += [(d.field, d.real, d.simulated, d) for d in differing.values()]
    table.add_row(Text(f"{step.step.line:>4}  {_clipped(step.step.text)}", "bold"))
    if not rows:
        table.add_row(Text("        (nothing changed)", "dim"))
    for field, a, b, difference in rows:
        mark = (
            "" if difference is None else f"known: {difference.known.id}" if difference.known else "DEVIATES"
        )
        style = "" if difference is None else "yellow" if difference.known else "bold red"
        same = "=" if str(a) == str(b) else _clipped(b)
        table.add_row(f"        {field}", _clipped(a), same, mark, style=style)


def _clipped(value: object) -> str:
    """A value that does not push the others off the line; JSON has it whole."""
    text = visible(str(value))
    return text if len(text) <= MOST else text[: MOST - 3] + "..."


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
                words = [f"{folio.get('count')} of order {folio.get('order')}"]
                for word, field in (("total", "large_mapcount"), ("slots", "mm_id_mapcount")):
                    words += [f"{word} {folio[field]}"] if field in folio else []
                yield f"{path}.folios[{i}]", " ".join(words)


def _sizes(smaps: Mapping[str, Any]) -> str:
    private = smaps.get("Private_Clean", 0) + smaps.get("Private_Dirty", 0)
    return f"Rss {smaps.get('Rss')} Pss {smaps.get('Pss')} Uss {private}"


def verdict(comparison: Comparison) -> Text:
    """How many fields agree, how many deviate and are documented, how many are findings."""
    unknown, known = len(comparison.unknown), len(comparison.known)
    text = Text(f"{comparison.fields:,} fields compared in {len(comparison.steps)} steps: ")
    agree = comparison.fields - unknown - known
    text.append(f"{agree:,} agree" if unknown or known else "all agree", "green")
    if known:
        ids = sorted({d.known.id for _, d in comparison.known if d.known})
        text.append(f", {known} differ as documented ({', '.join(ids)}; docs/kernel-deviations.md)", "yellow")
    if unknown:
        text.append(f", {unknown} DEVIATE", "bold red")
    return text
