"""`mapcount check --races` as a user types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

import mapcount.check.races.choose as choosing
from mapcount.check.races.catalogue import RACES
from mapcount.check.races.compose import pairs
from mapcount.check.races.mutations import MUTATIONS
from mapcount.check.races.rules import Rules
from mapcount.cli import INTERRUPTED, mapcount


def call(*args: str, columns: int = 80) -> Result:
    """Call `mapcount check` in this process. Anything but an exit code is raised."""
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(mapcount, ["check", *args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_race_that_holds() -> None:
    """One race by its name: who does what, how many states, and exit code 0."""
    done = call("--races", "exit")
    assert 0 == done.exit_code
    states = RACES["exit"].explore(Rules()).states
    assert f"exit  A write-fault | B unmap     {states}" in done.output
    assert "holds: in every interleaving every property holds" in done.output


def test_json_has_what_the_text_has() -> None:
    """The same as data: states, interleavings, verdicts."""
    done = call("--races", "exit", "--json")
    data = json.loads(done.output)
    (race,) = data["races"]
    assert ("holds", "exit") == (data["result"], race["name"])
    assert RACES["exit"].explore(Rules()).states == race["states"]
    assert race["interleavings"] > 1_000_000
    assert all(one["holds"] for one in data["properties"])


def test_a_broken_rule_is_shown_step_by_step() -> None:
    """A mutation ends with 1, and shows its interleaving in a column for each thread."""
    done = call("--mutate", "no-recheck")
    assert 1 == done.exit_code
    assert "BROKEN  reuse" in done.output
    assert "reuse is broken: page 0 is marked exclusive, and A and B can read it" in done.output
    (flag,) = [line for line in done.output.splitlines() if "set the shared flag" in line]
    (look,) = [line for line in done.output.splitlines() if "mm_ids?" in line]
    assert flag.index("set") > look.index("mm_ids?")
    assert "mm_ids → A/B shared" in flag


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.parametrize("columns", [50, 80])
def test_every_interleaving_fits(name: str, columns: int) -> None:
    """No line is wider than the terminal."""
    done = call("--mutate", name, columns=columns)
    assert 1 == done.exit_code
    assert [] == [line for line in done.output.splitlines() if len(line) > columns]


def test_each_step_of_json_says_what_it_changed() -> None:
    """The steps of an interleaving as data: thread, step, what was read, what changed."""
    data = json.loads(call("--mutate", "early-assertion", "--json").output)
    (race,) = data["races"]
    assert ("early-assertion", "pmd-exit", "assertions") == (
        data["mutation"]["name"],
        race["name"],
        race["shown"],
    )
    last = race["interleaving"][-1]
    assert ("A", "assert: entire is 0", "1") == (last["thread"], last["step"], last["read"])
    assert [{"cell": "warned", "before": "no", "after": race["broken"][0]["message"]}] == last["changes"]


def test_a_mutation_that_needs_store_buffers() -> None:
    """A plain store is found out with store buffers, which are chosen for it, and not without."""
    assert "total store order" in call("--mutate", "plain-clear").output
    assert 1 == call("--mutate", "plain-clear").exit_code
    assert 0 == call("--mutate", "plain-clear", "--memory-model", "sc").exit_code


def test_races_of_ones_own() -> None:
    """A race put together on the command line is explored like any other."""
    done = call("--races", "A:write-fault,B:hold-fast,B:unmap")
    assert 0 == done.exit_code
    assert "A write-fault | B.1 hold-fast | B.2 unmap" in " ".join(done.output.split())


def test_many_broken_races_are_summed_up() -> None:
    """Of a group of many races those that are broken are listed, and one is shown."""
    done = call("--races", "pairs", "--mutate", "gup-no-recheck")
    assert 1 == done.exit_code
    (row,) = [line for line in done.output.splitlines() if line.startswith("pairs")]
    assert f"all {sum(1 for _ in pairs())}" in row
    assert row.endswith("BROKEN")


def test_the_list_has_everything() -> None:
    """--list names every race, program, mutation and property."""
    done = call("--list")
    assert 0 == done.exit_code
    assert [] == [name for name in (*RACES, *MUTATIONS) if name not in done.output]
    assert set(MUTATIONS) == {one["name"] for one in json.loads(call("--list", "--json").output)["mutations"]}


def test_a_bound_is_no_pass() -> None:
    """Too many states: exit code 3, and what would allow more."""
    done = call("--races", "exit", "--most-states", "100")
    assert 3 == done.exit_code
    assert "not exhausted" in done.output
    assert "holds   " not in done.output
    assert "so far  reuse" in done.output
    assert "--most-states" in done.output


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--races", "swapin"], "did you mean 'swap-in'"),
        (["--races", "A:sleep"], "no program 'sleep'"),
        (["--mutate", "nothing"], "no-recheck"),
        (["--races", "exit", "--flavour", "v6.14"], "page-mapcount or no-page-mapcount"),
        (["--races", "exit", "--mms", "4"], "leave --mms out"),
        (["--races", "exit", "--memory-model", "arm"], "tso"),
        (["--races", "\x1b[31m"], "there is no race"),
    ],
)
def test_mistakes_are_named(args: list[str], says: str) -> None:
    """Wrong usage ends with 2, and says what would be right."""
    done = call(*args)
    assert 2 == done.exit_code
    assert says in done.output
    assert "\x1b" not in done.output


def test_ctrl_c_shows_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted, what was explored is shown, and the exit code is no verdict."""
    real, calls = choosing.Race.explore, []

    def explore(self: object, *args: object, **kwargs: object) -> object:
        calls.append(self)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(choosing.Race, "explore", explore)
    done = call("--races", "stories")
    assert INTERRUPTED == done.exit_code
    assert f"interrupted: 2 of {len(RACES)} races" in done.output
    assert "holds: in every" not in done.output
