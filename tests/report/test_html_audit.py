"""An audit as data for its page, and the option that writes it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from tests.audit.audits import HOSTILE, audited

from mapcount.audit.overview import Overview
from mapcount.cli import mapcount
from mapcount.report.audit_data import audit_as_data
from mapcount.report.html.audit_page import audit_page, audit_page_data
from mapcount.scenario.syntax import visible

CAPTURE = Path(__file__).parents[2] / "captures" / "demo.capture"


def test_a_page_has_what_the_json_has() -> None:
    """All numbers of `audit --json` are there, names with control characters spelled out."""
    overview = Overview([audited()])
    page, told = audit_page_data(overview, overview.chosen()), audit_as_data(overview, overview.chosen())
    assert told["total"] == page["total"]
    (ours,), (theirs,) = page["machines"], told["machines"]
    for process in theirs["processes"]:
        process["comm"] = visible(process["comm"])
    assert theirs["processes"] == ours["processes"]
    assert visible(HOSTILE) in [process["comm"] for process in ours["processes"]]
    assert "no-page-mapcount" in page["kernels"]


def test_what_is_not_known_is_said() -> None:
    """Processes that refused, and why sums are lower bounds, are on the page."""
    page = audit_page(Overview([audited()]), []).decode()
    assert "1 process could not be read" in page
    assert "permission denied" in page


def test_a_capture_becomes_a_page(tmp_path: Path) -> None:
    """`audit --from --html` writes the page instead of text; with --json the numbers are printed as well."""
    words = ["audit", "--from", str(CAPTURE), "--html", str(tmp_path / "audit.html")]
    result = CliRunner().invoke(mapcount, words)
    assert (0, "") == (result.exit_code, result.stdout)
    assert "left-alone" in (tmp_path / "audit.html").read_text()
    assert 2 == CliRunner().invoke(mapcount, words).exit_code
    again = CliRunner().invoke(mapcount, [*words, "--force", "--json"])
    assert 5 == json.loads(again.stdout)["total"]["processes"]
    watched = CliRunner().invoke(mapcount, ["audit", "--watch", "1", "--html", str(tmp_path / "x.html")])
    assert (2, True) == (watched.exit_code, "a page shows one moment" in watched.stderr)
