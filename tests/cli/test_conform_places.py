"""Where `mapcount conform` writes is checked before it acts, and nothing found is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mapcount.cli import conform as command

FOUND: dict[str, Any] = {
    "kernel": "6.18",
    "flavour": "page-mapcount",
    "limits": [],
    "results": [],
    "summary": dict.fromkeys(
        ("agrees", "deviates", "skipped", "steps", "fields", "known", "deviations", "fleeting"), 0
    ),
}


@pytest.mark.parametrize("option", ["--record", "-o"])
def test_a_place_that_is_not_there(option: str, tmp_path: Path) -> None:
    """Without its directory, a file or directory is refused before anything is acted out."""
    ended = CliRunner().invoke(command.conform, ["--random", "1", option, str(tmp_path / "nope" / "x")])

    assert ended.exit_code == 2
    assert f"{tmp_path / 'nope'} is no directory" in ended.output


def test_a_report_outlives_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the recording cannot be written afterwards, the report is printed all the same."""
    gone = tmp_path / "gone"
    gone.mkdir()

    def here(*_: object, **__: object) -> tuple[dict[str, Any], str]:
        gone.rmdir()
        return FOUND, ""

    monkeypatch.setattr(command, "_here", here)
    args = ["--random", "1", "--record", str(gone / "x"), "-o", str(tmp_path / "d")]
    ended = CliRunner().invoke(command.conform, args)

    assert ended.exit_code == 3
    assert "0 acted out" in ended.output
    assert f"{gone / 'x'}: No such file or directory" in ended.output


def test_deviations_of_earlier_runs_stay(tmp_path: Path) -> None:
    """A second deviation of the same name gets a number; --force replaces the first."""
    data: dict[str, Any] = {
        "results": [{"scenario": "a", "shortest": {"text": "P mmap h 64K\n", "recording": []}}]
    }
    saved = []
    for force in (False, False, True):
        command._save(data, tmp_path, force=force)
        saved.append(Path(data["results"][0]["saved"][0]).name)

    assert saved == ["a.scn", "a.2.scn", "a.scn"]
