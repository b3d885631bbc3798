"""Schemes beside the kernel in a scenario (`mapcount run --scheme`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mapcount.cli import mapcount
from mapcount.replay.beside import SchemesBeside
from mapcount.scenario.parse import load
from mapcount.scenario.run import run
from mapcount.schemes.registry import find
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, V6_14

ROOT = Path(__file__).parents[2]
STORIES = sorted((ROOT / "scenarios").glob("*.scn"))
LAST_MAPPER = ROOT / "examples" / "last_mapper.py"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_schemes_that_are_a_kernels_or_the_truth(path: Path) -> None:
    """In every story `two-slots` and `first-page` say what those kernels say, and `exact` the truth."""
    story = load(path)
    for flavour, name in ((NO_PAGE_MAPCOUNT, "two-slots"), (V6_14, "first-page")):
        beside = SchemesBeside([find(name), find("exact")])
        for step in run(story, flavour.on(64), watcher=beside).steps:
            for folio in step.seen.folios:
                if folio.schemes:
                    assert folio.maybe_shared == folio.schemes[name], (step.step.line, folio.place)
                    assert (folio.truth == "shared") == folio.schemes["exact"], (step.step.line, folio.place)


def test_a_walk_sets_it_right() -> None:
    """A scheme with walks is told of a sole owner, after every so many events of the folio."""
    story = load(ROOT / "scenarios" / "prefork.scn")
    schemes = [find(name) for name in ("two-slots", "two-slots+reset:5")]
    steps = run(story, NO_PAGE_MAPCOUNT, watcher=SchemesBeside(schemes)).acted
    wrong = {
        s.name: sum(s.name in f.wrong_schemes for step in steps for f in step.seen.folios) for s in schemes
    }
    assert {"two-slots": 2, "two-slots+reset:5": 0} == wrong


def cli(*arguments: object) -> Result:
    """Call `mapcount run` on the pre-fork story."""
    words = ["run", str(ROOT / "scenarios" / "prefork.scn"), *map(str, arguments)]
    return CliRunner().invoke(mapcount, words, env={"COLUMNS": "80"})


def test_the_report_has_each_schemes_answer_and_how_often_it_was_wrong() -> None:
    """Beside the kernels there is a line for each scheme, from a file too, and one in the summary."""
    lines = cli("--scheme", "one-slot", "--scheme", f"{LAST_MAPPER}:LastMapper").output.splitlines()
    assert "        one-slot           shared <- WRONG" in lines
    assert "        LastMapper         exclusive" in lines
    assert ["one-slot: steps wrong", "2", "2"] == next(
        [line[:21], *line[21:].split()] for line in lines if line.startswith("one-slot: ")
    )
    assert not [line for line in lines if line.startswith("LastMapper: ") and line.split()[-1] != "0"]


def test_json_has_each_schemes_answer() -> None:
    """With `--json`, every folio has what each scheme says of it."""
    (story,) = json.loads(cli("--scheme", "exact", "--json").output)
    steps = story["flavours"]["no-page-mapcount"]["steps"]
    told = [(f["truth"] == "shared", f["schemes"]) for step in steps for f in step["folios"] if f["order"]]
    assert told
    assert [(shared, {"exact": shared}) for shared, _ in told] == told


def test_a_scheme_that_is_unsafe_is_marked(tmp_path: Path) -> None:
    """A scheme that calls a shared folio exclusive has a row of its own in the summary."""
    nobody = tmp_path / "nobody.py"
    functions = "def add(s, m, p, n, k, t): return 0\n def remove(s, m, p, n, k, t): return 0\n"
    nobody.write_text(
        f"class Never:\n words = state_bytes = 0\n {functions} def maybe_shared(s, n, t): return False\n"
    )
    output = cli("--scheme", f"{nobody}:Never").output
    assert "exclusive <- WRONG" in output
    assert ["falsely", "exclusive", "3", "3"] in [line.split() for line in output.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scheme", "nix"), "no scheme 'nix'; there are two-slots"),
        (("--scheme", "exact", "--on", "recording:x"), "leave --scheme out"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments: tuple[str, ...], message: str) -> None:
    """An unknown scheme, and a recorded kernel beside a scheme, are wrong usage."""
    result = cli(*arguments)
    assert 2 == result.exit_code
    assert message in result.output


def test_a_scheme_that_fails_is_named(tmp_path: Path) -> None:
    """A scheme whose function raises ends the run with its name and the error, and exit code 2."""
    text = LAST_MAPPER.read_text().replace("state[1] += n", "state[9] += n")
    (tmp_path / "broken.py").write_text(text)
    result = cli("--scheme", f"{tmp_path}/broken.py:LastMapper")
    assert 2 == result.exit_code
    assert "LastMapper: IndexError: index 9 is out of bounds" in result.output
