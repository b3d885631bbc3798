"""What another kernel would say, according to the audit, is what it said: two real ones, the same stories."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from mapcount.audit.machine import Audit, audit
from mapcount.audit.smaps import Memory
from mapcount.scenario.parse import load
from mapcount.scenario.recording import Answer, load_recording
from mapcount.scenario.run import run
from mapcount.tracking.flavour import FLAVOURS

from .recorded import source_of

ROOT = Path(__file__).parents[2]
RECORDINGS = {
    name: load_recording(str(ROOT / "recordings" / f"{name}.jsonl"))
    for name in ("page-mapcount", "no-page-mapcount")
}


@cache
def audited(name: str, story: str) -> list[tuple[Answer, Audit]]:
    """Each step of a recorded story, and its audit."""
    sources = [(answer, source_of(RECORDINGS[name], answer)) for answer in RECORDINGS[name].of(story)]
    return [(answer, audit(source, source.pids(), whole=True)) for answer, source in sources if source]


def printed(answer: Answer) -> list[Memory]:
    """What the recorded kernel's smaps said, process by process."""
    return [
        Memory(s["Rss"], s["Pss"], s["Private_Clean"] + s["Private_Dirty"])
        for s in (actor["smaps"] for actor in answer["actors"])
    ]


@pytest.mark.parametrize("story", RECORDINGS["page-mapcount"].answers)
@pytest.mark.parametrize(
    ("here", "there"), [("page-mapcount", "no-page-mapcount"), ("no-page-mapcount", "page-mapcount")]
)
def test_every_prediction_is_what_the_other_kernel_said(here: str, there: str, story: str) -> None:
    """From one kernel's counters follow the other's Rss, Pss, Uss and statistics, without exception."""
    others = RECORDINGS[there].of(story)
    for (answer, found), other in zip(audited(here, story), others, strict=False):
        assert printed(other) == [process.under[there] for process in found.processes]
        assert printed(other) == [process.under["total-mapped-pages"] for process in found.processes] or (
            there == "page-mapcount"
        )
        charged = other["charged_pages"]
        assert {"AnonPages": 4 * charged["anon"], "Mapped": 4 * charged["file_mapped"]} == {
            name: statistic.under[there] for name, statistic in found.meminfo.items()
        }
        (group,) = found.cgroups
        assert (4 * charged["anon"], 4 * charged["file_mapped"]) == tuple(
            statistic.under[there] for statistic in (group.anon, group.file_mapped) if statistic
        )
        assert answer["step"] == other["step"]


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_running_kernel_is_understood(name: str) -> None:
    """What is computed from pages is what the same kernel's smaps says, in each of 1510 cases; 318 change."""
    processes = [
        process
        for story in RECORDINGS[name].answers
        for _, a in audited(name, story)
        for process in a.processes
    ]
    (other,) = set(RECORDINGS) - {name}
    assert {(0, 0)} == {(process.off_kib, process.guessed_kib) for process in processes}
    assert all(process.now == process.under[name] for process in processes)
    assert 1510 == len(processes)
    assert 318 == sum(process.now != process.under[other] for process in processes)


@pytest.mark.parametrize("story", RECORDINGS["page-mapcount"].answers)
@pytest.mark.parametrize("name", RECORDINGS)
def test_mistakes_are_those_of_the_simulated_kernel(name: str, story: str) -> None:
    """The folio under test is called mistaken in exactly those steps in which the simulation says so."""
    acted = run(load(ROOT / "scenarios" / "recorded" / f"{story}.scn"), FLAVOURS[name]).steps
    for answer, found in audited(name, story):
        expected = sum(folio.order > 0 and folio.wrong for folio in acted[answer["step"]].seen.folios)
        assert expected == sum(row.mistaken_for_shared for row in found.folios)
        assert 0 == sum(row.mistaken_for_exclusive + row.not_judged for row in found.folios)
