"""Stories on simulated kernels: the audit of one foretells the other, and mistakes cost what was said."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import astuple
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from mapcount.audit.machine import Audit, audit
from mapcount.scenario.generate import Menu, generate
from mapcount.scenario.parse import load
from mapcount.scenario.simulated import act
from mapcount.scenario.syntax import Scenario
from mapcount.sim.machine import Machine
from mapcount.sim.mm import Mm
from mapcount.sim.system import System
from mapcount.sim.truth import truth_of
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, V6_14, Flavour
from mapcount.tracking.questions import folio_maybe_mapped_shared

from .simulated import printed, source_of

MENU = Menu(anon=((), (4,), (9,), (9,), (2, 4, 9)), shmem=((), (4,), (9,)), pins=True, swap=True)
LIBRARY = {path.stem: path for path in sorted((Path(__file__).parents[2] / "scenarios").glob("*.scn"))}
STORIES = (*LIBRARY, *map(str, range(6)))
"""The library's by name, random ones by seed."""
MISTAKEN = (
    "collapse", "double-fork", "late-slot", "madvise-free", "madvise-pageout", "migration", "prefork",
    "third-process", "third-process-pmd", "third-process-recovers",
)  # fmt: skip
"""Stories in which the kernel errs."""
Stretch = tuple[int, int]
MOST_PAGES = 1 << 13
"""Steps at which more is mapped are not looked at: here every small page is a row."""


@cache
def story(name: str) -> Scenario:
    """A story by its name."""
    return load(LIBRARY[name]) if name in LIBRARY else generate(int(name), PAGE_MAPCOUNT, MENU, steps=16)


def told(name: str, *flavours: Flavour) -> Iterator[list[System]]:
    """A story told to several kernels at once: what they are after each step."""
    systems = [System(flavour) for flavour in flavours]
    for system in systems:
        system.spawn(story(name).first)
    for step in story(name).steps:
        for action in step.actions:
            for system in systems if action.verb != "expect" else ():
                act(system, story(name), action)
        processes = systems[0].machine.processes.values()
        if sum(entry.n for process in processes for entry in process.mm.table) <= MOST_PAGES:
            yield systems


def audited(m: Machine, *, struct_folio: bool = True) -> Audit:
    """The audit of a simulated machine, which must be found at rest."""
    source = source_of(m, struct_folio=struct_folio)
    found = audit(source, source.pids(), whole=True)
    assert printed(m) == [astuple(process.now) for process in found.processes]
    assert not any(process.estimated for process in found.processes)
    return found


def mistaken(m: Machine) -> list[int]:
    """First page frames of large folios that the kernel calls shared while one mm maps them."""
    return [
        run.start + nth * run.folio.nr_pages
        for run in m.memory.folios
        if run.folio.large and folio_maybe_mapped_shared(run.folio) and not truth_of(m, run).shared
        for nth in range(run.count)
    ]


@pytest.mark.parametrize("name", STORIES)
def test_kernels_foretell_each_other(name: str) -> None:
    """Kernels that differ in what they count foretell each other, and know where they are mistaken.

    But for one thing: with per-page counts and without struct folio, Uss of the other is at best.
    """
    for systems in told(name, PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT):
        machines = [system.machine for system in systems]
        for (here, there), struct_folio in product((machines, machines[::-1]), (True, False)):
            found = audited(here, struct_folio=struct_folio)
            flavour = there.memory.flavour.name
            exact = struct_folio or not here.memory.flavour.page_mapcounts
            for process, (rss, pss, uss) in zip(found.processes, printed(there), strict=True):
                then = process.under[flavour]
                assert (rss, pss) == (then.rss_kib, then.pss_kib)
                assert then.uss_kib - process.guessed_kib <= uss <= then.uss_kib
                assert 0 == process.guessed_kib or not exact
            totals = {"AnonPages": 4 * there.total("anon"), "Mapped": 4 * there.total("file_mapped")}
            assert totals == {field: s.under[flavour] for field, s in found.meminfo.items()}
            if exact:
                assert len(mistaken(here)) == sum(row.mistaken_for_shared for row in found.folios)


@pytest.mark.parametrize("name", LIBRARY)
def test_before_owner_tracking(name: str) -> None:
    """On a kernel before 6.15 both kinds of mistakes of its guess are found, where it can be judged."""
    for (system,) in told(name, V6_14):
        m = system.machine
        rows = audited(m).folios
        wrong = {True: 0, False: 0}
        for run in m.memory.folios:
            truth = truth_of(m, run) if run.folio.large else None
            if truth and truth.entries and folio_maybe_mapped_shared(run.folio) != truth.shared:
                wrong[truth.shared] += run.count
        unknown = sum(row.not_judged for row in rows)
        for_shared = sum(row.mistaken_for_shared for row in rows)
        for_exclusive = sum(row.mistaken_for_exclusive for row in rows)
        assert for_shared <= wrong[False] <= for_shared + unknown
        assert for_exclusive <= wrong[True] <= for_exclusive + unknown


def mapped(mm: Mm, heads: list[int], nr_pages: int) -> int:
    """How many pages of these folios an address space maps."""
    return sum(
        max(0, min(entry.target + entry.n, head + nr_pages) - max(entry.target, head))
        for entry in mm.table
        if not (entry.swapped or entry.zero)
        for head in heads
    )


def owners(system: System) -> Iterator[tuple[str, int, list[int], int]]:
    """(process, its index, its mistaken folios, pages of each) where these are anonymous and of one size."""
    heads = mistaken(system.machine)
    folios = {head: system.machine.memory.folio_of(head) for head in heads}
    for i, process in enumerate(system.machine.processes.values()):
        mine = [head for head in heads if mapped(process.mm, [head], folios[head].folio.nr_pages)]
        sizes = {folios[head].folio.nr_pages for head in mine}
        if len(sizes) == 1 and all(folios[head].anon for head in mine):
            yield process.name, i, mine, sizes.pop()


def acted(
    system: System, who: str, verb: str, *args: str, where: list[Stretch] | None = None, **options: bool
) -> Mm:
    """The address space after a copy of the system was told something, about all of it unless said."""
    other = copy.deepcopy(system)
    mm = other.process(who).mm
    for start, stop in where or [(vma.start, vma.end) for vma in mm.vmas]:
        getattr(other, verb)(who, [(start, stop)], *args, **options)
    return mm


@pytest.mark.parametrize("name", MISTAKEN)
def test_what_is_to_be_copied_is_copied(name: str) -> None:
    """An owner that writes to all of its memory copies as many pages of mistaken folios as was said."""
    asked = 0
    for (system,) in told(name, PAGE_MAPCOUNT):
        processes = audited(system.machine).processes
        for who, i, heads, nr_pages in owners(system):
            asked += 1
            before = mapped(system.process(who).mm, heads, nr_pages)
            mistakes = processes[i].mistakes
            assert (len(heads), before) == (mistakes.folios, mistakes.pages)
            copied = before - mapped(acted(system, who, "touch", write=True), heads, nr_pages)
            assert mistakes.copied <= copied <= mistakes.copied_at_most
    assert asked > 0


@pytest.mark.parametrize("name", MISTAKEN)
def test_advice_is_not_taken(name: str) -> None:
    """MADV_PAGEOUT of everything, and of one page of each folio, leaves those mapped that were said."""
    for (system,) in told(name, PAGE_MAPCOUNT):
        processes = audited(system.machine).processes
        for who, i, heads, nr_pages in owners(system):
            mistakes = processes[i].mistakes
            after = acted(system, who, "madvise", "pageout")
            assert mistakes.advice_always == sum(mapped(after, [head], nr_pages) > 0 for head in heads)
            before = mapped(system.process(who).mm, heads, nr_pages)
            first = [
                (entry.start, entry.start + 1)
                for head in heads
                for entry in system.process(who).mm.table
                if not entry.swapped and head <= entry.target < head + nr_pages
            ]
            after = acted(system, who, "madvise", "pageout", where=first)
            assert before == mapped(after, heads, nr_pages)
            assert len(heads) == mistakes.advice_always + mistakes.advice_partly
