"""Comparisons of schemes and benchmarks as data for their pages, and the options that write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.bench.rows import on_a_line
from tests.report.comparisons import compared

from mapcount.bench.measured import Measured
from mapcount.cli import mapcount
from mapcount.report.bench_data import bench_as_data
from mapcount.report.compare import comparison_as_data
from mapcount.report.html.bench_page import bench_page_data
from mapcount.report.html.compare_page import compare_page_data

STORY = Path(__file__).parents[2] / "scenarios" / "prefork.scn"


def test_a_comparison_has_its_shares_worked_out() -> None:
    """Each scheme has a row of all folios, and one by folio size and by phase, without times."""
    data = compare_page_data(compared())
    assert comparison_as_data(compared())["pareto"] == data["pareto"]
    rows = {(row["scheme"], row["part"]): row for row in data["rows"]}
    assert {"all", "64K folios", "phase fork"} == {part for _, part in rows}
    wrong = rows["two-slots", "all"]
    assert (16, 2.0, 0.25, 0.1, 30.0) == (
        wrong["bytes"],
        wrong["updates"],
        wrong["falsely_shared_events"],
        wrong["falsely_shared_time"],
        wrong["copies"],
    )
    assert 0.1 == rows["two-slots", "64K folios"]["falsely_shared_time"]
    assert rows["two-slots", "phase fork"]["falsely_shared_time"] is None


def test_a_benchmark_has_the_published_curves_beside_it() -> None:
    """Everything of `bench --json`, and the published change of each folio size."""
    data = bench_page_data(on_a_line())
    assert bench_as_data(on_a_line()).items() <= data.items()
    published = {story["name"]: story["points"] for story in data["published"]}
    assert {"folio_kib": 2048, "owner-tracking": 0, "no-page-mapcount": -31} == published["munmap"][-1]
    assert [16, 32, 64, 128, 256, 512, 1024, 2048] == [point["folio_kib"] for point in published["fork"]]


def test_bench_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bench --html` writes the page in place of the text, and refuses to replace a file before measuring."""
    measured: list[Measured] = []

    def measure(*_: object, **__: object) -> Measured:
        measured.append(on_a_line())
        return measured[-1]

    monkeypatch.setattr("mapcount.cli.bench._measure", measure)
    words = ["bench", "munmap", "--html", str(tmp_path / "bench.html")]
    result = CliRunner().invoke(mapcount, words)
    assert (0, "") == (result.exit_code, result.stdout)
    assert "munmap on Linux 6.18.0-test" in (tmp_path / "bench.html").read_text()
    assert 2 == CliRunner().invoke(mapcount, words).exit_code
    assert 1 == len(measured)


def test_compare_writes_a_page(tmp_path: Path) -> None:
    """`compare --html` writes the page in place of the text."""
    trace, page = tmp_path / "a.trace", tmp_path / "compare.html"
    words = ["run", str(STORY), "--flavour", "no-page-mapcount", "--trace", str(trace)]
    assert 0 == CliRunner().invoke(mapcount, words).exit_code
    words = ["compare", str(trace), "--scheme", "two-slots", "--threads", "1", "--html", str(page)]
    result = CliRunner().invoke(mapcount, words)
    assert (0, "") == (result.exit_code, result.stdout)
    assert "Schemes compared on a.trace" in page.read_text()
    assert 2 == CliRunner().invoke(mapcount, words).exit_code
