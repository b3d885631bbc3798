"""Running scenarios: observations, broken schemes found out, and size."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from click.testing import CliRunner

from mapcount.cli import mapcount
from mapcount.scenario.parse import parse
from mapcount.scenario.run import run
from mapcount.tracking.flavour import FLAVOURS, Flavour
from mapcount.tracking.owner_slots import OwnerSlots

FORK = "P mmap heap 64K thp=64K\nP write heap\nP fork A\n"


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Each of the four flavours."""
    return FLAVOURS[request.param]


def test_a_scheme_that_forgets_the_flag_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A rule that calls a shared folio exclusive breaks an invariant, in the very step, and exits with 1."""
    rule = OwnerSlots.add

    def forgetful(self: OwnerSlots, total: int, mm_id: int, n: int) -> None:
        rule(self, total, mm_id, n)
        self.shared = False

    monkeypatch.setattr(OwnerSlots, "add", forgetful)
    result = run(parse(FORK), FLAVOURS["no-page-mapcount"])
    assert [(3, "never-exclusive-when-shared")] == [(s.step.line, i.id) for s, _, i in result.broken]
    story = tmp_path / "forgetful.scn"
    story.write_text(FORK)
    shown = CliRunner().invoke(mapcount, ["run", str(story)])
    assert shown.exit_code == 1
    assert "BROKEN" in shown.output


def test_rss_is_the_same_on_every_kernel() -> None:
    """Whatever a kernel counts, Rss never changes."""
    text = FORK + "A munmap heap[8p:]\nP fork B\nA exit\nB write heap[0p]\nP madvise heap[0p] dontneed\n"
    rss = [
        [{name: roll["rss"] for name, roll in step.seen.rollup.items()} for step in run(parse(text), f).steps]
        for f in FLAVOURS.values()
    ]
    assert rss[0] == rss[1] == rss[2] == rss[3]


def test_rollup_adds_before_it_rounds() -> None:
    """smaps_rollup rounds once; the VMAs of smaps each by themselves."""
    text = FORK + "P fork B\nP mprotect heap[0p] r\nP mprotect heap[2p] r\n"
    seen = run(parse(text), FLAVOURS["page-mapcount"], regions=True).steps[-1].seen
    (heap,) = [region for region in seen.regions if region.process == "P"]
    assert heap.vmas == 4
    assert seen.rollup["P"]["pss"] == 21
    assert heap.smaps["pss"] == 1 + 1 + 1 + 17


def test_an_expectation_in_mid_step_sees_that_moment() -> None:
    """An `expect` between two actions of one step judges what is then."""
    text = FORK + "A munmap heap[8p:] ; P expect heap total=24 ; A exit ; P expect heap total=16\n"
    assert [] == run(parse(text), FLAVOURS["page-mapcount"]).failures


def test_a_quarter_terabyte_fits_in_a_few_megabytes(flavour: Flavour) -> None:
    """State grows with distinct runs of mappings: 256 GiB of 64 KiB folios, four forks, halves unmapped."""
    text = "P mmap heap 256G thp=64K\nP write heap\n" + "".join(f"P fork {c}\n" for c in "ABCD")
    text += "".join(f"{c} munmap heap[128G:]\n" for c in "ABCDP") + "".join(f"{c} exit\n" for c in "ABCDP")
    scenario = parse(text)
    tracemalloc.start()
    try:
        result = run(scenario, flavour)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [] == result.broken
    assert peak < 8 << 20
    assert result.steps[5].seen.system["anon_pages"] == 256 << 18
    assert result.steps[-1].seen.system["anon_pages"] == 0


def test_costs_say_what_the_article_says(flavour: Flavour) -> None:
    """A fork of a PTE-mapped huge page updates 512 page counters, or one locked word per batch."""
    text = "P mmap heap 2M thp=2M\nP write heap\nP mprotect heap[0p] r ; P mprotect heap[0p] rw\nP fork A\n"
    steps = run(parse(text), flavour).steps
    before, after = steps[2].seen.cost, steps[3].seen.cost
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["page_updates"] == (512 if flavour.page_mapcounts else 0)
    assert grown["locked_updates"] == (1 if flavour.owner_slots else 0)
