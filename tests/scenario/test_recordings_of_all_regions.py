"""Recordings of format 2: what is one, and that comparing with them finds every falsified field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mapcount.scenario.compare import KNOWN_DEVIATIONS, compare
from mapcount.scenario.parse import load, parse
from mapcount.scenario.recording import Recording, RecordingError, load_recording
from mapcount.scenario.regions import fields
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, Flavour

from .recorder import READ, recorded

ROOT = Path(__file__).parents[2]
STORIES = sorted((ROOT / "scenarios").glob("*.scn"))


def reread(recording: Recording, path: Path) -> Recording:
    """Written to a file and read again."""
    path.write_text(recording.lines())
    return load_recording(str(path))


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)
@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_kernel_as_simulated_does_not_deviate(tmp_path: Path, path: Path, flavour: Flavour) -> None:
    """Written, read again and compared, every field of every story agrees."""
    scenario = load(path)
    if scenario.bits != flavour.bits:
        pytest.skip("the story is about a 32-bit machine")
    if sum(action.size or 0 for step in scenario.steps for action in step.actions) > 1 << 16:
        pytest.skip("page by page this takes too long")
    comparison = compare(scenario, reread(recorded(scenario, flavour), tmp_path / "recording.jsonl"))

    assert [] == [(step.step.line, d) for step in comparison.steps for d in step.differences]
    assert comparison.fields > 5 * len(comparison.steps)


STORY = parse(
    "P mmap heap 64K thp=64K\nP write heap\nP expect heap rss=64K\nP fork A\nA munmap heap[1p:]\n",
    "story.scn",
)
MADE = recorded(STORY, PAGE_MAPCOUNT)
EVERY_FIELD = sorted(dict(fields(MADE.of("story")[-1])))


def test_steps_that_only_expect_are_not_recorded() -> None:
    """There is an object for each step in which something happens."""
    assert ["P mmap heap 64K thp=64K", "P write heap", "P fork A", "A munmap heap[1p:]"] == [
        answer["text"] for answer in MADE.of("story")
    ]


def _falsify(answer: Any, path: str) -> None:
    """Change one field of an answer to something it is not."""
    whole = dict(fields(answer))
    assert path in whole
    if path in ("errors", "processes"):
        answer[path] = [] if path == "processes" else ["P munmap: EINVAL"]
        return
    name, *rest = path.split(".")
    process = next(p for p in answer["processes"] if p["name"] == name)
    if rest == ["regions"]:
        process["regions"] = []
        return
    holder: Any = next(r for r in process["regions"] if r["name"] == rest[0])
    for part in rest[1:-1]:
        holder = (
            holder[part.partition("[")[0]][int(part[:-1].partition("[")[2])] if "[" in part else holder[part]
        )
    value = holder[rest[-1]]
    if isinstance(value, int):
        holder[rest[-1]] = value + 1
    elif isinstance(value, str):
        holder[rest[-1]] = f"{value}x"
    elif isinstance(value, dict):
        holder[rest[-1]] = {**value, "X": 1}
    else:
        holder[rest[-1]] = [77, *value[1:]]


@pytest.mark.parametrize("path", EVERY_FIELD)
def test_a_changed_answer_is_a_deviation(tmp_path: Path, path: str) -> None:
    """Whichever field of the last step is falsified, that field is found, and no other step."""
    answers = json.loads(json.dumps([dict(answer) for answer in MADE.of("story")]))
    _falsify(answers[-1], path)
    changed = reread(Recording("", PAGE_MAPCOUNT, {"story": answers}, 2), tmp_path / "changed.jsonl")
    found = compare(STORY, changed).unknown

    assert {5} == {step.step.line for step, _ in found}
    assert path in {difference.field for _, difference in found}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("P mmap h 2M thp=2M\nP write h\nP fork A\nA munmap h[:1M]\n", "pagemap-pmd-exclusive"),
        ("P mmap h 2M thp=2M\nP write h\nP fork A\nA munmap h[:1M]\n", "numa-maps-pmd-mapmax"),
        ("P mmap h 2M thp=2M\nP read h\n", "pagemap-huge-zero-file"),
    ],
)
def test_known_deviations_are_predicted(text: str, name: str) -> None:
    """A kernel that deviates in the ways that are known differs, as documented and in nothing else."""
    scenario = parse(text, "known.scn")
    comparison = compare(scenario, recorded(scenario, PAGE_MAPCOUNT, deviating=True))

    assert [] == comparison.unknown
    assert KNOWN_DEVIATIONS[name] in {difference.known for _, difference in comparison.known}


def test_without_per_page_counts_the_head_speaks_for_all_anyway() -> None:
    """Kernels without per-page counts cannot deviate by asking only the first page."""
    scenario = parse("P mmap h 2M thp=2M\nP write h\nP fork A\nA munmap h[:1M]\n", "known.scn")

    assert [] == compare(scenario, recorded(scenario, NO_PAGE_MAPCOUNT, deviating=True)).known


@pytest.mark.parametrize(
    ("left_out", "gone"),
    [("folio", ".refcount"), ("numa_maps", ".mapmax"), ("referenced", ".Referenced")],
)
def test_what_was_not_read_is_not_compared(left_out: str, gone: str) -> None:
    """A recording without one of its sources lacks those fields, and is compared without them."""
    partial = recorded(STORY, PAGE_MAPCOUNT, [source for source in READ if source != left_out])
    comparison = compare(STORY, partial)

    assert [] == comparison.unknown
    assert comparison.fields < compare(STORY, MADE).fields
    assert not any(field.endswith(gone) for answer in partial.of("story") for field, _ in fields(answer))


def test_an_error_ends_a_recording() -> None:
    """After a failed system call nothing is known: that step differs in its errors, and no more follow."""
    answers = list(MADE.of("story")[:2])
    answers[1] = {**answers[1], "errors": ["P touch: killed"], "processes": []}
    comparison = compare(STORY, Recording("", PAGE_MAPCOUNT, {"story": tuple(answers)}, 2))

    assert [(2, "errors", ["P touch: killed"])] == [
        (s.step.line, d.field, d.real) for s, d in comparison.unknown
    ]


def test_a_recording_that_ends_early_is_refused() -> None:
    """Without an error every step must be there."""
    short = Recording("short.jsonl", PAGE_MAPCOUNT, {"story": MADE.of("story")[:2]}, 2)
    with pytest.raises(RecordingError, match=r"was recorded in 2 steps, story\.scn has 4"):
        compare(STORY, short)


LINES = MADE.lines().splitlines()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LINES[0].replace('"format": 2', '"format": 3'), ":1: format 3; this program reads formats 1 and 2"),
        (LINES[0].replace('"read":', '"raed":'), ":1: has no 'read'"),
        (LINES[0].replace("page-mapcount", "bogus"), ":1: flavour, read, errors or processes"),
        (LINES[0].replace('"flavour": "page-mapcount"', '"flavour": ["x"]'), ":1: flavour, read, errors"),
        (LINES[0].replace('"smaps": {', '"smaps": 3, "x": {'), ":1: flavour, read, errors or processes"),
        (LINES[1].replace('"folios": [{', '"folios": [7, {'), ":1: flavour, read, errors or processes"),
        (
            LINES[0] + "\n" + LINES[1].replace('"kernel": "7"', '"kernel": "8"'),
            ":2: another format or kernel",
        ),
        (LINES[0] + "\n" + LINES[2], ":2: step 2 where step 1 comes next"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """A file that is not a recording is refused with its name, the line and what is wrong."""
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(RecordingError) as caught:
        load_recording(str(path))
    assert f"{path}{message}" in str(caught.value)
