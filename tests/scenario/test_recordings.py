"""The simulator against what two real kernels answered, every field of every step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mapcount.scenario.compare import KNOWN_DEVIATIONS, MmIds, compare
from mapcount.scenario.parse import load
from mapcount.scenario.recording import Recording, RecordingError, load_recording

ROOT = Path(__file__).parents[2]
RECORDINGS = {
    name: load_recording(str(ROOT / "recordings" / f"{name}.jsonl"))
    for name in ("page-mapcount", "no-page-mapcount")
}
STORIES = sorted(path.stem for path in (ROOT / "scenarios" / "recorded").glob("*.scn"))


@pytest.fixture(params=RECORDINGS)
def recording(request: pytest.FixtureRequest) -> Recording:
    """Each of the two recorded kernels."""
    return RECORDINGS[request.param]


def test_every_recorded_scenario_is_written_down(recording: Recording) -> None:
    """There is one story for each scenario of each recording, and no other."""
    assert sorted(recording.answers) == STORIES


def test_flavour_is_read_from_the_answers() -> None:
    """Which kernel answered shows in what it counts."""
    assert {name: r.flavour.name for name, r in RECORDINGS.items()} == {name: name for name in RECORDINGS}


@pytest.mark.parametrize("name", STORIES)
def test_simulator_agrees_in_every_field(recording: Recording, name: str) -> None:
    """Whatever a real kernel answered, the simulated one answers, but for documented deviations."""
    comparison = compare(load(ROOT / "scenarios" / "recorded" / f"{name}.scn"), recording)
    assert [] == [(s.step.line, d.field, d.real, d.simulated) for s, d in comparison.unknown]
    assert comparison.fields > 30 * len(comparison.steps)


def test_known_deviations_are_seen_only_where_pages_are_counted() -> None:
    """The one known deviation is of kernels with per-page counts, and it does occur."""
    found = dict.fromkeys(RECORDINGS, 0)
    for name, recording in RECORDINGS.items():
        for story in STORIES:
            comparison = compare(load(ROOT / "scenarios" / "recorded" / f"{story}.scn"), recording)
            found[name] += len(comparison.known)
            assert {d.known.id for _, d in comparison.known if d.known} <= set(KNOWN_DEVIATIONS)
    assert found["page-mapcount"] > 0
    assert found["no-page-mapcount"] == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda a: a["folio"].update(large_mapcount=17), "folio.large_mapcount"),
        (lambda a: a["folio"].update(mm_id=[0, 3]), "folio.mm_id"),
        (lambda a: a["events"].update(pswpin=1), "events.pswpin"),
        (lambda a: a["actors"][0]["smaps"].update(Pss=1), "P.smaps.Pss"),
        (lambda a: a["actors"][0]["pm"].update(rle="16*x"), "P.pm.rle"),
        (lambda a: a["charged_pages"].update(anon=1), "charged_pages.anon"),
    ],
)
def test_a_changed_answer_is_a_deviation(tmp_path: Path, change: object, field: str) -> None:
    """A recording in which one field was falsified is found out, in that field and step alone."""
    answers = [dict(a) for a in RECORDINGS["page-mapcount"].of("c_2_fifo.anon64k")]
    falsified = json.loads(json.dumps(answers))
    change(falsified[1])  # type: ignore[operator]
    path = tmp_path / "falsified.jsonl"
    path.write_text("".join(json.dumps(answer) + "\n" for answer in falsified))
    story = load(ROOT / "scenarios" / "recorded" / "c_2_fifo.anon64k.scn")
    comparison = compare(story, load_recording(str(path)))
    assert [(4, field)] == [(s.step.line, d.field) for s, d in comparison.unknown]


def test_mm_ids_may_differ_but_not_change_meaning() -> None:
    """Recorded ids stand for simulated ones: any value will do, as long as it is always the same mm's."""
    ids = MmIds()
    assert ids.same(5, 1)
    assert ids.same(4, 2)
    assert not ids.same(5, 2)
    assert not ids.same(7, 1)
    assert ids.same(0, 0)
    assert not ids.same(0, 1)
    ids.forget({1})
    assert ids.same(9, 2)


GOOD = json.dumps(dict(RECORDINGS["page-mapcount"].of("a_fault.anon64k")[0]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{", ":1: not a JSON object"),
        ("[1]", ":1: not a JSON object"),
        ("{}", ":1: has no 'scenario'"),
        (GOOD.replace('"step": 0', '"step": 3'), ":1: step 3 where step 0 comes next"),
        (GOOD.replace('"actors": [', '"actors": [3, '), ":1: folio, charged_pages, events or actors"),
        ("[" * 100_000, ":1: not a JSON object"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """A file that is not a recording is refused with its name, the line and what is wrong."""
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(RecordingError) as caught:
        load_recording(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_story_that_was_not_recorded_is_refused(tmp_path: Path) -> None:
    """A story is matched by its file's name; the message says which there are."""
    path = tmp_path / "nobody.scn"
    path.write_text("P mmap heap 64K\n")
    with pytest.raises(RecordingError, match=r"holds no scenario 'nobody' \(it has a_fault"):
        compare(load(path), RECORDINGS["page-mapcount"])


def test_a_story_of_another_length_is_refused(tmp_path: Path) -> None:
    """Steps are compared one by one, so there must be as many."""
    path = tmp_path / "a_fault.anon64k.scn"
    path.write_text("P mmap heap 64K\n")
    with pytest.raises(RecordingError, match="was recorded in 8 steps"):
        compare(load(path), RECORDINGS["page-mapcount"])
