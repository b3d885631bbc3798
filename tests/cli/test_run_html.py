"""`mapcount run --html` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from mapcount.cli import mapcount

STORY = Path(__file__).parents[2] / "scenarios" / "prefork.scn"


def run(*words: object) -> Result:
    """Call `mapcount run` in this process."""
    return CliRunner().invoke(mapcount, ["run", *map(str, words)])


def test_a_page_is_written_and_said(tmp_path: Path) -> None:
    """The file is one page, what was written is said on standard error, and nothing else is printed."""
    page = tmp_path / "story.html"
    result = run(STORY, "--html", page)
    assert 0 == result.exit_code
    assert f"wrote {page}: " in result.stderr
    assert "" == result.stdout
    assert page.read_text().startswith("<!doctype html>")
    assert [page] == list(tmp_path.iterdir())


def test_a_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    """What is there stays, with exit code 2, unless --force is given."""
    page = tmp_path / "story.html"
    page.write_text("mine")
    result = run(STORY, "--html", page)
    assert 2 == result.exit_code
    assert "exists; name another file, or --force" in result.stderr
    assert "mine" == page.read_text()
    assert 0 == run(STORY, "--html", page, "--force").exit_code
    assert "mine" != page.read_text()


def test_places_and_options_that_cannot_be(tmp_path: Path) -> None:
    """A directory, a directory that is not there, two stories, and --step exit with 2 and say why."""
    for words, why in (
        ((STORY, "--html", tmp_path), "is a directory"),
        ((STORY, "--html", tmp_path / "no" / "x.html"), "is no directory"),
        ((STORY, STORY, "--html", tmp_path / "x.html"), "plays back one scenario"),
        ((STORY, "--step", "--html", tmp_path / "x.html"), "leave --on and --step out"),
    ):
        result = run(*words)
        assert 2 == result.exit_code
        assert why in " ".join(result.stderr.split())
    assert [] == list(tmp_path.iterdir())


def test_json_beside_the_page(tmp_path: Path) -> None:
    """With --json the numbers go to standard output as ever, and the page to its file."""
    result = run(STORY, "--html", tmp_path / "x.html", "--json")
    (story,) = json.loads(result.stdout)
    assert story == json.loads(run(STORY, "--json").stdout)[0]
    assert (tmp_path / "x.html").exists()


def test_a_finding_is_one_on_a_page_too(tmp_path: Path) -> None:
    """A failed expectation is on the page, and exits with 1; a mistake in the story exits with 2."""
    story, page = tmp_path / "wrong.scn", tmp_path / "wrong.html"
    story.write_text("P mmap heap 64K thp=64K\nP write heap\nP expect heap total=17\n")
    assert 1 == run(story, "--html", page).exit_code
    assert '"failures":[{"demand":"total=17","found":"16"}]' in page.read_text()
    story.write_text("P fly heap\n")
    assert 2 == run(story, "--html", tmp_path / "none.html").exit_code
    assert not (tmp_path / "none.html").exists()
