"""`expect`: what a scenario demands of an observation, and whether it is so."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mapcount.scenario.observation import Observation
from mapcount.scenario.syntax import Action, Comparison, Scenario, visible
from mapcount.scenario.words import nearest
from mapcount.sim import proc
from mapcount.sim.memory import FolioRun, Piece
from mapcount.sim.mm import Process
from mapcount.sim.system import System
from mapcount.sim.truth import truth_of
from mapcount.tracking.folio import ENTIRELY_MAPPED
from mapcount.tracking.questions import folio_maybe_mapped_shared
from mapcount.tracking.rmap import folio_mapcount

Value = int | str
OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip
WORDS = {
    "truth": ("exclusive", "shared", "unmapped"), "maybe_shared": ("yes", "no"),
    "partially_mapped": ("yes", "no"),
}  # fmt: skip
"""What fields that are words can be."""
UNITS = {"": 1, "p": 4096, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
NUMBER = re.compile(r"(\d{1,18})([pKMGT]?)")


@dataclass(frozen=True, slots=True)
class Failure:
    """A demand that was not met: on which kernel, where, and what was found instead."""

    flavour: str
    path: str
    line: int
    demand: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: on {self.flavour}: expected {self.demand}, found {self.found}"


def check(system: System, scenario: Scenario, action: Action, seen: Observation) -> Iterator[Failure]:
    """The comparisons of an `expect` that do not hold. Raises ScenarioError for a value of the wrong kind.

    Folio fields must hold of every folio in the range; smaps fields are the range's own. Numbers with a
    unit are sizes; bare ones are KiB for smaps fields, and pages, mappings or events for the others.
    """
    flavour = system.machine.flavour
    for comparison in action.expects:
        found = list(_values(system, action, comparison.field, seen))
        met = found and all(_holds(scenario, comparison, value) for value in found)
        if not met:
            words = ", ".join(dict.fromkeys(str(value) for value in found)) or "nothing there"
            demand = f"{comparison.field}{comparison.op}{comparison.value}"
            yield Failure(str(flavour), scenario.path, action.loc.line, demand, words)


def _holds(scenario: Scenario, comparison: Comparison, found: Value) -> bool:
    if isinstance(found, str):
        if comparison.op not in ("=", "!="):
            raise scenario.error(comparison.loc, f"{comparison.field} is a word: compare it with = or !=")
        words = WORDS.get(comparison.field, ())
        if words and comparison.value not in words:
            hint = nearest(comparison.value, words)
            message = f'{comparison.field} is never "{visible(comparison.value)}"'
            raise scenario.error(comparison.loc, message, hint)
        return (found == comparison.value) == (comparison.op == "=")
    match = NUMBER.fullmatch(comparison.value)
    if match is None:
        raise scenario.error(
            comparison.loc, f'{comparison.field} is a number, not "{visible(comparison.value)}"'
        )
    number, unit = int(match[1]), match[2]
    if unit:
        number = number * UNITS[unit] // (1024 if comparison.field in KIB else 4096)
    return OPERATORS[comparison.op](found, number)


def _values(system: System, action: Action, field: str, seen: Observation) -> Iterator[Value]:
    """What a field is: one value, or one for each folio (or page) in question."""
    if action.actor == "kernel":
        yield seen.system[field]
        return
    owner = action.target.process if action.target and action.target.process else action.actor
    process = system.process(owner)
    stretches = [(r.start, r.end) for r in process.regions.values()]
    if action.target is not None:
        t = action.target
        stretches = system.stretches(owner, t.region, t.start, t.stop, t.step)
    if field in KIB:
        yield _smaps(system, process, stretches, field)
    elif field == "vmas":
        yield sum(len(process.mm.vmas.over(start, stop)) for start, stop in stretches)
    elif field == "mapmax":
        yield max((proc.mapmax(system.machine, process.mm, a, b) for a, b in stretches), default=0)
    elif field in PAGEMAP:
        runs = [run for a, b in stretches for run in proc.pagemap(system.machine, process.mm, a, b)]
        yield sum(run.n for run in runs if PAGEMAP[field](run))
    else:
        pieces = list(_pieces(system, process, stretches))
        if field in COUNTS:
            folios = {(piece.run.start, piece.first, piece.count): piece for piece in pieces}
            yield sum(piece.count for piece in folios.values() if COUNTS[field](piece.run))
        elif field == "kpagecount":
            for piece in pieces:
                for _, count in proc.page_mapcounts(piece.run.folio, piece.page, piece.nr):
                    yield count
        elif field == "anon_exclusive":
            yield sum(p.run.anon_exclusive.sum(p.page, p.page + p.nr) * p.count for p in pieces)
        elif field == "swapcached":
            yield sum(piece.pages for piece in pieces if piece.run.in_swap_cache)
        else:
            for piece in pieces:
                yield _folio(system, piece.run, field)


def _smaps(system: System, process: Process, stretches: list[tuple[int, int]], field: str) -> int:
    total = proc.Smaps()
    for start, stop in stretches:
        for vma in process.mm.vmas.over(start, stop):
            first, last = max(vma.start, start), min(vma.end, stop)
            total.add(proc.smaps(system.machine, process.mm, vma.twin(first, last - first, vma.index(first))))
    printed = total.kib()
    printed["uss"] = printed["private_clean"] + printed["private_dirty"]
    return printed["swap" if field == "swap_kb" else field]


def _pieces(system: System, process: Process, stretches: list[tuple[int, int]]) -> Iterator[Piece]:
    for start, stop in stretches:
        for entry in process.mm.table.over(start, stop):
            if not (entry.swapped or entry.zero):
                first, last = max(entry.start, start), min(entry.end, stop)
                yield from system.machine.memory.pieces(entry.target_of(first), last - first)


def _folio(system: System, run: FolioRun, field: str) -> Value:
    folio = run.folio
    if field == "truth":
        return truth_of(system.machine, run).word
    if field == "slots":
        slots = folio.slots
        return f"{slots.mm_id_mapcount[0]},{slots.mm_id_mapcount[1]}" if slots else "none"
    if field == "nr_pages_mapped":
        return folio.nr_pages_mapped & (ENTIRELY_MAPPED - 1)
    flags = {"maybe_shared": folio_maybe_mapped_shared(folio), "partially_mapped": run.partially_mapped}
    if field in flags:
        return "yes" if flags[field] else "no"
    numbers = {
        "total": folio_mapcount(folio),
        "entire": folio.entire_mapcount,
        "mapped_pages": folio.total_mapped_pages,
        "refcount": folio.refcount,
        "pincount": folio.pincount,
        "order": folio.order,
    }
    return numbers[field]


KIB = frozenset((*proc.Smaps().kib(), "uss", "swap_kb")) - {"swap", "size"}
"""Fields of smaps, in KiB."""
PAGEMAP: dict[str, Callable[[proc.PagemapRun], bool]] = {
    "present": lambda run: run.present,
    "swap": lambda run: run.swapped,
    "excl": lambda run: run.exclusive,
}
COUNTS: dict[str, Callable[[FolioRun], bool]] = {
    "folios": lambda run: True,
    "small_folios": lambda run: not run.folio.large,
    "large_folios": lambda run: run.folio.large,
}
