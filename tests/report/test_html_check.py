"""Small worlds and races as data for their pages, and the options that write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.check.explore import explore
from mapcount.check.findings import WRONGLY_SHARED, explored, stories
from mapcount.check.world import World
from mapcount.cli import mapcount
from mapcount.report.check_data import check_as_data
from mapcount.report.html.check_page import check_page_data
from mapcount.report.html.races_page import races_page_data
from mapcount.schemes.registry import find
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

SCHEME = f"{Path(__file__).parents[2]}/examples/broken/clears_on_free.py:ClearsOnFree"
SMALL = ("--mms", "3", "--pages", "2", "--threads", "1", "--memory", "64M")
MUTATED = ("--mutate", "no-recheck")


def call(*words: object) -> Result:
    """`mapcount check` with these words; anything but an exit code is raised."""
    result = CliRunner().invoke(mapcount, ["check", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def page_of(path: Path) -> dict[str, Any]:
    """The data in a page."""
    text = path.read_text()
    _, _, rest = text.partition('<script type="application/json" id="data">')
    data: dict[str, Any] = json.loads(rest.partition("</script>")[0])
    return data


def test_a_world_that_holds_has_the_json_and_one_story() -> None:
    """The page has all of `--json`, and the story of being wrongly shared ends with a wrong answer."""
    found = explore(World(NO_PAGE_MAPCOUNT, 3, 2), threads=1, memory=64 << 20)
    told = stories(found, None, None)
    data = check_page_data(found, told)
    assert check_as_data(found, told) == data["check"]
    (story,) = data["stories"]
    assert (WRONGLY_SHARED, ["no-page-mapcount"]) == (story["finding"], [k["name"] for k in story["kernels"]])
    example = told[WRONGLY_SHARED]
    assert example is not None
    steps = [line for line in example.text.splitlines() if not line.startswith("#")]
    assert steps == [line for _, line, _ in story["lines"]]
    assert story["kernels"][0]["steps"][-1]["wrong"] == 1


def test_a_broken_scheme_answers_in_its_story() -> None:
    """A broken scheme's story comes first, and in its last step the scheme is wrong, the kernel is not."""
    scheme = find(SCHEME)
    found = explored(World(NO_PAGE_MAPCOUNT, 3, 2), scheme, memory=64 << 20)
    told = stories(found, scheme, SCHEME)
    data = check_page_data(found, told, scheme)
    assert [one for one in told if told[one]] == [story["finding"] for story in data["stories"]]
    story = data["stories"][0]
    assert "never-exclusive-when-shared" == story["finding"]
    last = story["kernels"][0]["steps"][-1]
    answers = [story["store"][record]["schemes"] for record, _ in last["folios"]]
    assert ([{"ClearsOnFree": False}], 0) == (answers, last["wrong"])


def test_a_world_without_anything_to_tell_has_no_story(tmp_path: Path) -> None:
    """Two mms are never wrong: the page has verdicts and counts, and no player."""
    page = tmp_path / "page.html"
    result = call("--mms", 2, "--pages", 2, "--threads", 1, "--memory", "64M", "--html", page)
    assert (0, "") == (result.exit_code, result.stdout)
    assert [] == page_of(page)["stories"]
    assert "holds: no reachable state of this world breaks an invariant" in page.read_text()
    assert 'id="player"' not in page.read_text()


def test_every_sentence_of_the_terminal_is_on_the_page(tmp_path: Path) -> None:
    """Invariants, counts, paths and verdict are in the text of the page, as on a terminal."""
    page = tmp_path / "page.html"
    data = json.loads(call(*SMALL, "--json", "--html", page).stdout)
    text = page.read_text().replace("&#39;", "'")
    assert data["world"]["words"] in text
    for one in data["invariants"]:
        assert one["id"] in text
        assert one["sentence"] in text
    for event in data["wrongly_shared"]["path"]:
        assert f"<li>{event}</li>" in text
    assert f"{data['transitions']:,}" in text
    assert page_of(page)["check"]["layers"] == data["layers"]
    assert page.stat().st_size < 1_000_000


@pytest.mark.parametrize("command", [SMALL, ("--races", "exit")])
def test_a_page_replaces_no_file(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A file that is there stays, exit 2, unless --force is said."""
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert 2 == call(*command, "--html", page).exit_code
    assert "mine" == page.read_text()
    assert 0 == call(*command, "--html", page, "--force").exit_code
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--agree", "--html", "a.html"), "leave --threads, --memory, --resume, -o and --html out"),
        (("--list", "--html", "a.html"), "--list is no exploration"),
        (("--races", "--force"), "--force replaces what --html names"),
        (("--html", "nowhere/a.html"), "nowhere is no directory"),
        (("--races", "exit", "--html", "nowhere/a.html"), "nowhere is no directory"),
    ],
)
def test_wrong_combinations_say_what_would_be_right(words: tuple[str, ...], says: str) -> None:
    """Exit 2, before anything is explored."""
    result = call(*words)
    assert 2 == result.exit_code
    assert says in " ".join(result.output.split())


def test_races_on_the_page_are_those_of_the_json(tmp_path: Path) -> None:
    """Each race is a row; the broken one has its steps, and memory that follows from its changes."""
    page = tmp_path / "page.html"
    result = call(*MUTATED, "--json", "--html", page)
    assert 1 == result.exit_code
    check, data = json.loads(result.stdout), page_of(page)
    assert [(race["name"], race["states"]) for race in check["races"]] == [
        (row["name"], row["states"]) for row in data["races"]
    ]
    (race,), (shown,) = check["races"], data["shown"]
    assert ("reuse", race["broken"][0]["message"]) == (shown["property"], shown["message"])
    memory = dict(shown["cells"])
    for step, drawn in zip(race["interleaving"], shown["steps"], strict=True):
        assert (step["thread"], step["step"], step["read"]) == (drawn["thread"], drawn["step"], drawn["read"])
        for change in step["changes"]:
            assert change["before"] == memory[change["cell"]]
        memory |= drawn["after"]
    assert memory["exclusive 0"] == "yes"


def test_races_that_hold_show_no_interleaving(tmp_path: Path) -> None:
    """A single race is told with its start and its threads; nothing is broken."""
    page = tmp_path / "page.html"
    assert 0 == call("--races", "exit", "--html", page).exit_code
    data = page_of(page)
    assert ([], "exit", "holds") == (data["shown"], data["alone"]["name"], data["races"][0]["verdict"])
    assert "holds: in every interleaving every property holds" in page.read_text()


@settings(max_examples=20)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_of_many_broken_races_the_shortest_are_shown(lengths: list[int]) -> None:
    """At most forty, the shortest first."""
    step: dict[str, Any] = {"thread": "A", "step": "x", "read": None, "changes": [], "buffered": False}
    races = [
        {
            "name": f"race {i}", "group": "own", "story": "", "start": [], "result": "broken", "states": 1,
            "threads": [{"name": "A", "does": "x", "words": "x"}], "steps": 1, "depth": 1, "interleavings": 1,
            "broken": [{"property": "reuse", "message": "", "steps": n}], "shown": "reuse",
            "interleaving": [step] * n,
        }
        for i, n in enumerate(lengths)
    ]  # fmt: skip
    data = races_page_data({"races": races, "mutation": None})
    assert sorted(lengths)[:40] == [len(race["steps"]) for race in data["shown"]]
    assert len(lengths) == len(data["races"])
