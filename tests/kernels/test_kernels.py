"""Two builds of one real kernel against the simulator, and against what the other's audit foretells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.kernels.guests import STORIES, Answers

from mapcount.scenario.compare import compare
from mapcount.scenario.parse import load

FLAVOURS = ("page-mapcount", "no-page-mapcount")
Ask = Callable[[str], Answers]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_kernel_finds_nothing_wrong_with_itself(answers_of: Ask, flavour: str) -> None:
    """No check of CONFIG_DEBUG_VM fails while the stories are acted out."""
    assert () == answers_of(flavour).guest.complaints


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_story_is_acted_out_or_has_a_reason(answers_of: Ask, flavour: str) -> None:
    """Of the recorded stories, the guest acts out all: it has swap, hugetlb pages, and every folio size."""
    answers = answers_of(flavour)
    assert set(STORIES) == set(answers.recordings) | set(answers.skipped)
    recorded = {name for name, path in STORIES.items() if path.parent.name == "recorded"}
    assert {} == {name: answers.skipped[name] for name in recorded & set(answers.skipped)}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_kernel_is_as_simulated(answers_of: Ask, flavour: str, story: str) -> None:
    """In every field of every step, the kernel answers as the simulator does, or deviates as documented."""
    answers = answers_of(flavour)
    if story in answers.skipped:
        pytest.skip(answers.skipped[story])
    assert flavour == answers.recordings[story].flavour.name
    comparison = compare(load(str(STORIES[story])), answers.recordings[story])
    assert [] == [(step.step.text, difference) for step, difference in comparison.unknown]


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_audit_foretells_the_other_kernel(answers_of: Ask, flavour: str, story: str) -> None:
    """What the audit of one kernel says of the other, the other says: Rss, Pss and Uss to the rounding."""
    (other,) = set(FLAVOURS) - {flavour}
    here, there = answers_of(flavour), answers_of(other)
    if story in here.skipped:
        pytest.skip(here.skipped[story])
    steps = zip(here.recordings[story].answers[story], there.recordings[story].answers[story], strict=True)
    wrong = [
        (step["text"], process["name"], saying, said)
        for foretold, step in steps
        for before, process in zip(foretold["processes"], step["processes"], strict=True)
        for said, rounding in [_smaps(process)]
        for saying in [before["audit"]["under"][other]]
        if not _equal(saying, said, rounding)
    ]
    assert [] == wrong


def _smaps(process: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """A process's regions under test in KiB, and by how much rounding may change Pss."""
    regions = process["regions"]
    total = (
        {name: sum(region["smaps"][name] for region in regions) for name in regions[0]["smaps"]}
        if regions
        else {}
    )
    uss = total.get("Private_Clean", 0) + total.get("Private_Dirty", 0)
    memory = {"rss_kib": total.get("Rss", 0), "pss_kib": total.get("Pss", 0), "uss_kib": uss}
    return memory, sum(region["vmas"] for region in regions)


def _equal(saying: Mapping[str, int], said: Mapping[str, int], rounding: int) -> bool:
    pss = abs(saying["pss_kib"] - said["pss_kib"])
    return pss <= rounding and all(saying[name] == said[name] for name in ("rss_kib", "uss_kib"))
