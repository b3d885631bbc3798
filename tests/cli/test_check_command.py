"""`mapcount check` as a user types it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mapcount.check.agreement import Difference, agree
from mapcount.check.exploration import Exploration, Stopped
from mapcount.check.explore import explore
from mapcount.check.world import World
from mapcount.cli import mapcount
from mapcount.report.check import draw_agreement, draw_check
from mapcount.report.check_data import agreement_as_data
from mapcount.tracking.flavour import PAGE_MAPCOUNT

ROOT = Path(__file__).parents[2]
BROKEN = f"{ROOT}/examples/broken/kept_count.py:KeptCount"
SMALL = ("--mms", "2", "--pages", "2", "--threads", "1", "--memory", "64M")


def call(*args: object) -> Result:
    """Call mapcount in this process. Anything but an exit code is raised."""
    result = CliRunner().invoke(mapcount, ["check", *map(str, args)], env={"COLUMNS": "80"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_world_in_which_all_holds() -> None:
    """Two mms on two slots: every invariant holds, nothing is wrongly shared, and the exit code is 0."""
    result = call(*SMALL)
    assert 0 == result.exit_code
    assert "holds: no reachable state of this world breaks an invariant" in result.output
    assert "wrongly shared" not in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_data_for_machines() -> None:
    """`--json` has the world, the counts and each invariant; unreduced states are at least as many."""
    data = json.loads(call(*SMALL, "--json").output)
    assert ("holds", 2, 2, "page-mapcount") == (
        data["result"], data["world"]["mms"], data["world"]["pages"], data["world"]["flavour"],
    )  # fmt: skip
    assert data["states"] <= data["unreduced_states"]
    assert sum(data["layers"]) == data["states"]
    assert all(one["holds"] for one in data["invariants"])
    assert data["wrongly_shared"] is None


def test_wrongly_shared_is_told(tmp_path: Path) -> None:
    """Being wrongly shared is no fault: exit 0, and `-o` writes a story of it that `run` accepts."""
    story = tmp_path / "shared.scn"
    result = call("--mms", 3, "--pages", 2, "--threads", 1, "-o", story)
    assert 0 == result.exit_code
    assert f"wrote {story}" in result.output
    assert story.read_text() in "".join(f"{line.strip()}\n" for line in result.stdout.splitlines())
    assert 0 == CliRunner().invoke(mapcount, ["run", str(story), "--flavour", "page-mapcount"]).exit_code


def test_a_broken_scheme(tmp_path: Path) -> None:
    """A broken scheme is exit 1, and the counterexample that `-o` writes shows it beside the kernel."""
    story = tmp_path / "found.scn"
    result = call("--scheme", BROKEN, "--pages", 2, "-o", story)
    assert 1 == result.exit_code
    assert "BROKEN: never-exclusive-when-shared" in result.output
    assert "1  A maps page 0" in result.output
    shown = CliRunner().invoke(
        mapcount, ["run", str(story), "--scheme", BROKEN, "--flavour", "page-mapcount"]
    )
    assert "exclusive <- WRONG" in shown.output
    again = call("--scheme", BROKEN, "-o", story)
    assert 2 == again.exit_code
    assert "exists: --force replaces it" in again.output


def test_not_exhausted_is_no_pass(tmp_path: Path) -> None:
    """A search that is stopped is exit 3, says how far it came, and goes on from where it was saved."""
    saved = tmp_path / "frontier"
    stopped = call("--pages", 2, "--most-states", 10, "--resume", saved, "--threads", 1)
    assert 3 == stopped.exit_code
    assert "holds: no reachable state" not in stopped.output
    assert "not exhausted" in stopped.output
    assert f"--resume {saved}" in " ".join(stopped.output.split())
    whole = json.loads(call("--pages", 2, "--resume", saved, "--threads", 1, "--json").output)
    at_once = json.loads(call("--pages", 2, "--threads", 1, "--json").output)
    assert ("holds", at_once["states"]) == (whole["result"], whole["states"])


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C what was covered is said, and the exit code is 130."""

    def interrupted(*args: Any, **options: Any) -> Exploration:
        found = explore(*args, **{**options, "most_states": 10})
        return dataclasses.replace(found, stopped=Stopped.INTERRUPTED)

    monkeypatch.setattr("mapcount.check.findings.explore", interrupted)
    result = call("--pages", 2, "--threads", 1)
    assert 130 == result.exit_code
    assert "not exhausted: interrupted; all states within" in " ".join(result.output.split())


def test_32_bits_are_scaled_down() -> None:
    """On 32 bits a slot overflows in a small world, the report says so, and the story is of real size."""
    result = call("--bits", 32, "--mms", 1, "--no-pmd", "--threads", 1)
    assert 0 == result.exit_code
    assert "scaled down: a slot holds 2 mappings here, not 32,768" in result.output
    assert "# bits: 32" in result.output
    assert "256M" in result.output


def test_a_kernel_that_guesses() -> None:
    """Before 6.15 nothing was claimed about "shared": the report says so, and how to see it be wrong."""
    assert "--scheme first-page shows when it is wrong" in " ".join(
        call(*SMALL, "--flavour", "v6.14").output.split()
    )
    assert "guesses" not in call(*SMALL).output
    assert 1 == call("--mms", 2, "--pages", 2, "--scheme", "first-page").exit_code


def test_the_reference_beside_it() -> None:
    """`--agree` takes every transition twice, and counts as many states as there are without symmetry."""
    agreed = json.loads(call(*SMALL[:4], "--agree", "--json").output)
    explored = json.loads(call(*SMALL, "--json").output)
    assert ("holds", []) == (agreed["result"], agreed["differences"])
    assert explored["unreduced_states"] == agreed["states"]
    bounded = call("--agree", "--most-states", 10)
    assert 3 == bounded.exit_code
    assert "not exhausted" in bounded.output


def test_a_difference_is_reported() -> None:
    """A transition in which both differ is shown with the events that lead to it."""
    world = World(PAGE_MAPCOUNT, 1, 2)
    path = (world.events[0],)
    found = dataclasses.replace(agree(world), differences=(Difference(path, "flag 0", "flag 1"),))
    lines = [str(line) for line in draw_agreement(agreement_as_data(found), width=80)]
    assert "BROKEN: compiled code and the reference part" == lines[-1]
    assert ["1 A maps the folio by a PMD", "reference flag 0", "compiled flag 1"] == [
        " ".join(line.split()) for line in lines[-5:-2]
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--mms", 0), "a world has 1 to"),
        (("--pages", 3), "2, 4, 8"),
        (("--max-maps", 0), "an mm maps a page 1 to"),
        (("--slot-holds", 2), "--bits 32"),
        (("--slot-holds", 2, "--bits", 32, "--flavour", "v6.14"), "a kernel with owner slots"),
        (("--scheme", "two-slots", "--flavour", "v6.14"), "leave --flavour, --bits and --slot-holds out"),
        (("--scheme", "two-slots", "--threads", 2), "leave --threads and --resume out"),
        (("--scheme", "tow-slots"), "there are two-slots"),
        (("--scheme", "nowhere.py:It"), "nowhere.py: no such file"),
        (("--agree", "--memory", "1G"), "--agree steps one state at a time"),
        (("--memory", "plenty"), "write 500M or 4G"),
        (("--memory", "1K"), "at least 16M"),
        (("-o", "/nowhere/found.scn"), "cannot be a file"),
        (("--force",), "say -o FILE.scn"),
        (("--flavour", "v6.13"), "v6.14"),
    ],
)
def test_wrong_usage(arguments: tuple[object, ...], says: str) -> None:
    """What cannot be meant is exit 2, before any work, with what would be right."""
    result = call(*arguments)
    assert 2 == result.exit_code
    assert says in " ".join(result.output.split())


def test_nothing_to_write(tmp_path: Path) -> None:
    """Where nothing was found that a story would show, `-o` writes nothing and says so."""
    story = tmp_path / "none.scn"
    result = call(*SMALL, "-o", story)
    assert 0 == result.exit_code
    assert "is not written" in result.output
    assert not story.exists()


def test_names_are_made_visible() -> None:
    """Control characters in what comes from outside do not reach a terminal."""
    data = json.loads(call(*SMALL, "--json").output)
    data["scheme"], data["saved"], data["stopped"] = "a\x1b[31mb", "dir\x1b[2J", "memory"
    text = "\n".join(str(line) for line in draw_check(data, width=80))
    assert "\x1b" not in text
