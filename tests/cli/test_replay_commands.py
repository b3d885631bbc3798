"""`mapcount replay`, `mapcount compare` and `mapcount run --trace` as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from mapcount.cli import mapcount

ROOT = Path(__file__).parents[2]
STORY = ROOT / "scenarios" / "prefork.scn"


def call(*args: object) -> Result:
    """Call mapcount in this process. Anything but an exit code is raised."""
    result = CliRunner().invoke(mapcount, [*map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The trace of a pre-fork server."""
    path = tmp_path / "prefork.trace"
    made = call("run", STORY, "--flavour", "no-page-mapcount", "--trace", path)
    assert 0 == made.exit_code
    assert "wrote" in made.stderr
    return path


def test_a_story_is_replayed(trace: Path) -> None:
    """The trace of a story ends as the story does: one folio alone, and the kernel mistaken."""
    data = json.loads(call("replay", trace, "--json").output)
    assert (2, 0, 1) == (data["mapped"], data["truly_shared"], data["falsely_shared"])
    text = call("replay", trace, "--every-event").output
    assert "falsely called shared                1  <- WRONG" in text
    assert "25.00 %" in text or "28.57 %" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_result_is_a_table(trace: Path, tmp_path: Path) -> None:
    """`-o` writes a row for each folio, with the columns of the design, and never overwrites unasked."""
    result = tmp_path / "result.parquet"
    assert f"wrote {result}" in call("replay", trace, "-o", result).output
    table = pl.read_parquet(result)
    assert [
        "folio", "large_mapcount", "entire_mapcount", "nr_pages_mapped", "slot0_mm", "slot0_mapcount",
        "slot1_mm", "slot1_mapcount", "shared_flag", "maybe_shared", "truly_shared",
    ] == table.columns  # fmt: skip
    (large,) = table.filter(pl.col("maybe_shared")).to_dicts()
    assert (True, True, False) == (large["shared_flag"], large["maybe_shared"], large["truly_shared"])
    again = call("replay", trace, "-o", result)
    assert (2, f"{result}: exists already; --force replaces it\n") == (again.exit_code, again.stderr)
    assert 0 == call("replay", trace, "-o", result, "--force", "--flavour", "total-mapped-pages").exit_code
    assert "total_mapped_pages" in pl.read_parquet(result).columns


def test_a_kernel_before_6_15_is_no_finding(tmp_path: Path) -> None:
    """Exit 1 is for owner slots that call a shared folio exclusive, which the older guess just does."""
    path = tmp_path / "wrong.trace"
    story = ROOT / "scenarios" / "wrongly-exclusive.scn"
    assert 0 == call("run", story, "--flavour", "v6.14", "--trace", path).exit_code
    replayed = call("replay", path, "--every-event", "--json")
    accuracy, *_ = json.loads(replayed.output)["accuracy"]
    assert accuracy["events"]["falsely_exclusive"] > 0
    assert 0 == replayed.exit_code


def test_schemes_side_by_side(trace: Path) -> None:
    """`compare` shows a line per scheme; `--json` has a Pareto front; `--detail` phases and sizes."""
    text = call("compare", trace, "--scheme", "two-slots", "--scheme", "exact", "--detail").output
    assert "least wrong for its bytes: two-slots, exact" in text or "least wrong for its bytes: exact" in text
    assert "  fork " in text
    assert "  64K " in text
    assert max(map(len, text.splitlines())) <= 100
    data = json.loads(call("compare", trace, "--scheme", "two-slots", "--scheme", "exact", "--json").output)
    assert ["two-slots", "exact"] == [scheme["scheme"] for scheme in data["schemes"]]
    assert [False, True] == [point["on_front"] for point in data["pareto"]["bytes"]]
    assert "two-slots" in call("replay", trace, "--scheme", "two-slots").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay"], "give a trace to replay, or --synthetic KIND"),
        (["replay", "x.trace", "--synthetic", "prefork"], "give a trace to replay, or --synthetic KIND"),
        (["replay", "--synthetic", "prefork"], "say where, with -o NAME.trace"),
        (["replay", "--synthetic", "x", "-o", "y.trace"], "'x' is none of fork-exec-storm"),
        (["replay", "--synthetic", "prefork", "-o", "y"], "a trace is called NAME.trace"),
        (["replay", "nowhere.trace"], "nowhere.trace: is no trace"),
        (["replay", "nowhere.trace", "--scheme", "exact", "--bits", "32"], "--scheme judges a scheme"),
        (["compare", "nowhere.trace"], "nowhere.trace: is no trace"),
        (["run", str(STORY), "--trace", "x.trace"], "say --flavour NAME"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    """Wrong usage and input exit with 2 and say what would be right."""
    result = call(*arguments)
    assert 2 == result.exit_code
    assert message in result.stderr


def test_no_scheduler(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no scheduler answers, the exit code is 3."""
    pytest.importorskip("distributed", reason="Dask is an extra: pip install 'mapcount[dask]'")
    monkeypatch.setattr("mapcount.replay.distributed.ANSWER_WITHIN", 1)
    result = call("replay", trace, "--dask", "tcp://127.0.0.1:1")
    assert 3 == result.exit_code
    assert "no Dask scheduler answers" in result.stderr


def test_a_tiny_trace_starts_at_once(trace: Path) -> None:
    """Compiled code is found on disk: a tiny trace takes no compiler."""
    command = [sys.executable, "-m", "mapcount", "replay", str(trace)]
    subprocess.run(command, check=True, capture_output=True)
    before = os.times().children_user
    subprocess.run(command, check=True, capture_output=True)
    assert os.times().children_user - before < 3
