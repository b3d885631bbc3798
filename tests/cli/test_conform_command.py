"""`mapcount conform` as a user types it, on a kernel that only pretends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.conform.pretend import HOST, Falsify, PretendKernel, shared_pages_counted_once

from mapcount.cli import mapcount
from mapcount.conform import check, vng
from mapcount.conform.director import AgentLost
from mapcount.live.snapshot import CannotHere
from mapcount.scenario.parse import load
from mapcount.scenario.recording import load_recording

STORY = "# Three processes.\nP mmap heap 64K thp=64K\nP write heap\nP fork A\nP fork B\nA exit\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in, with one story; a pipe, whatever the terminal of whoever tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "story.scn").write_text(STORY)
    return tmp_path


def conform(monkeypatch: pytest.MonkeyPatch, *arguments: str, falsify: Falsify | None = None) -> Result:
    """Run the command on a kernel that falsifies its answers, or on one that is as simulated."""
    kernel = PretendKernel(falsify) if falsify else PretendKernel()

    @contextmanager
    def running_kernel(*, set_thp: bool = False) -> Iterator[tuple[PretendKernel, list[str]]]:
        yield kernel, ["something is not compared: it could not be read"]

    monkeypatch.setattr(check, "running_kernel", running_kernel)
    return CliRunner().invoke(mapcount, ["conform", *arguments])


def test_a_kernel_as_simulated(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """Exit 0: each scenario has a line, what is not compared is said, and nothing is written."""
    done = conform(monkeypatch, "story.scn")

    assert 0 == done.exit_code, done.output
    assert "story    5 steps" in done.output
    assert "note: something is not compared" in done.output
    assert "1 acted out, 0 skipped." in done.output
    assert ["story.scn"] == [path.name for path in here.iterdir()]


def test_a_deviation_is_shown_and_saved(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """Exit 1: the shortest scenario is printed with both answers, and saved as scenario and recording."""
    done = conform(monkeypatch, "story.scn", falsify=shared_pages_counted_once)

    assert 1 == done.exit_code, done.output
    assert "DEVIATE" in done.output
    assert "P mmap  heap 4K\n    P write heap\n    P fork  B\n" in done.output
    assert "line 4: P.heap.kpagecount\n      real       1*1\n      simulated  1*2" in done.output
    story = load(here / "deviations" / "story.scn")
    assert ["mmap", "write", "fork"] == [action.verb for step in story.steps for action in step.actions]
    recording = load_recording(str(here / "deviations" / "story.jsonl"))
    assert 3 == len(recording.of("story"))


def test_what_was_saved_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A saved deviation is there for `mapcount run` on any machine, and deviates there too."""
    conform(monkeypatch, "story.scn", "-o", "found", falsify=shared_pages_counted_once)
    done = CliRunner().invoke(mapcount, ["run", "found/story.scn", "--on", "recording:found/story.jsonl"])

    assert 1 == done.exit_code, done.output
    assert "DEVIATES" in done.output


def test_everything_can_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """--record writes what the kernel answered in all scenarios; compared with that, all agrees."""
    (Path("second.scn")).write_text("P mmap heap 64K\nP read heap\n")
    done = conform(monkeypatch, "story.scn", "second.scn", "--record", "all.jsonl")
    again = CliRunner().invoke(mapcount, ["run", "story.scn", "second.scn", "--on", "recording:all.jsonl"])

    assert (0, 0) == (done.exit_code, again.exit_code), done.output + again.output
    assert {"story", "second"} == set(load_recording("all.jsonl").answers)


def test_what_does_not_count_is_named(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """Exit 0: a field that differed once is named as not reproducible."""

    def once(answer: dict[str, Any], run: int) -> None:
        if not run and answer["step"] == 1:
            answer["processes"][0]["regions"][0]["folios"][0]["refcount"] += 1

    done = conform(monkeypatch, "story.scn", falsify=once)

    assert 0 == done.exit_code
    assert "not reproducible: P.heap.folios[0].refcount" in done.output
    assert not (here / "deviations").exists()


def test_much_that_does_not_count_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a whole run went otherwise a few fields are named, and how many more there are; JSON has all."""

    def once(answer: dict[str, Any], run: int) -> None:
        if not run and answer["step"] == 2:
            for process in answer["processes"]:
                process["regions"][0]["smaps"] = dict.fromkeys(process["regions"][0]["smaps"], 7)

    done = conform(monkeypatch, "story.scn", falsify=once)
    data = json.loads(conform(monkeypatch, "story.scn", "--json", falsify=once).stdout)

    fields = {difference["field"] for difference in data["results"][0]["fleeting"]}
    assert len(fields) > 10
    assert f"and {len(fields) - 3} more" in " ".join(done.output.split())


def test_what_cannot_be_acted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 if every scenario is skipped; a reason stands with each, and one that agrees is enough for 0."""
    Path("migrate.scn").write_text("P mmap heap 64K\nP write heap\nkernel migrate P.heap\n")
    alone = conform(monkeypatch, "migrate.scn")
    beside = conform(monkeypatch, "migrate.scn", "story.scn")

    assert (3, 0) == (alone.exit_code, beside.exit_code)
    assert "skipped: no process can ask the kernel for this step: kernel migrate" in alone.output
    assert "1 acted out, 1 skipped" in beside.output


@pytest.mark.parametrize("columns", [60, 80])
def test_long_reasons_hang(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """In a narrow terminal no line is too long, and what belongs to a story stands right of its name."""
    Path("a-story-with-a-name.scn").write_text("P mmap heap 64K\nP write heap\nkernel migrate P.heap\n")
    Path("wide.scn").write_text("P mmap heap 16T\n")
    monkeypatch.setenv("COLUMNS", str(columns))
    done = conform(monkeypatch, "a-story-with-a-name.scn", "wide.scn", "story.scn")

    lines = done.output.splitlines()
    assert max(map(len, lines)) <= columns
    at = next(i for i, line in enumerate(lines) if line.startswith("wide"))
    assert lines[at].index("skipped:") == len(lines[at + 1]) - len(lines[at + 1].lstrip())


def test_settings_that_would_let_more_be_acted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line says for how many stories folio sizes are all that is missing; none, no line."""
    Path("migrate.scn").write_text("P mmap heap 64K thp=16K\nP write heap\nkernel migrate P.heap\n")
    Path("mthp.scn").write_text("P mmap heap 64K thp=16K\nP write heap\n")
    monkeypatch.setattr("tests.conform.pretend.HOST", replace(HOST, set_thp=False))
    some = conform(monkeypatch, "mthp.scn", "migrate.scn")
    none = conform(monkeypatch, "migrate.scn")

    assert "--set-thp would act out 1 more" == some.output.splitlines()[-1]
    assert "--set-thp would" not in none.output


def test_what_differs_is_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of long values the part is shown in which they differ, whatever the width."""
    Path("long.scn").write_text("P mmap heap 2M small\nP write heap[0p::2p]\nP write heap[501p]\n")

    def last_page(answer: dict[str, Any], run: int) -> None:
        for region in answer["processes"][0]["regions"]:
            region["pages"] = region["pages"].removesuffix("1*none") + "1*swapped"

    monkeypatch.setenv("COLUMNS", "60")
    done = conform(monkeypatch, "long.scn", falsify=last_page)

    assert "DEVIATE" in done.output
    assert max(map(len, done.output.splitlines())) <= 60
    assert "swapped" in done.output


def test_random_scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed makes them the same again; without one, it is told."""
    first, second = (conform(monkeypatch, "--random", "3", "--seed", "9", "--json") for _ in range(2))
    other = conform(monkeypatch, "--random", "1")

    assert 0 == first.exit_code, first.output
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert ["random-9-0", "random-9-1", "random-9-2"] == [
        r["scenario"] for r in json.loads(first.stdout)["results"]
    ]
    assert "the random ones again: --seed " in other.output


def test_json_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """--json: kernel, flavour, each scenario with its deviations and the shortest one, and sums."""
    done = conform(monkeypatch, "story.scn", "--json", falsify=shared_pages_counted_once)
    data = json.loads(done.stdout)
    (result,) = data["results"]

    assert ("7.0-pretend", "page-mapcount") == (data["kernel"], data["flavour"])
    assert ("deviates", 5) == (result["status"], result["steps"])
    assert {"line": 4, "text": "P fork A", "field": "P.heap.kpagecount", "real": "16*1", "simulated": "16*2",
            "known": None} in result["deviations"]  # fmt: skip
    assert "P fork" in result["shortest"]["text"]
    assert 3 == len(result["shortest"]["recording"])
    assert {"agrees": 0, "deviates": 1, "skipped": 0} == {
        name: data["summary"][name] for name in ("agrees", "deviates", "skipped")
    }
    assert len(result["deviations"]) == data["summary"]["deviations"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name scenarios, or ask for random ones"),
        (["none.scn"], "none.scn: no such file"),
        (["story.scn", "./story.scn"], "have the same name: story"),
        (["story.scn", "--random", "0"], "--random"),
        (["story.scn", "--seed", "4"], "--seed is for random scenarios; --random N says how many of them"),
        (["wrong.scn"], "wrong.scn:2:10"),
    ],
)
def test_mistakes(monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    """Exit 2: what was wrong and where, before anything is acted out."""
    Path("wrong.scn").write_text("P mmap heap 64K prot=r\nP write  heap\n")
    done = conform(monkeypatch, *arguments)

    assert 2 == done.exit_code
    assert says in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--record", "story.scn"], "story.scn exists"), (["-o", "story.scn"], "story.scn is no directory")],
)
def test_no_file_is_overwritten(
    monkeypatch: pytest.MonkeyPatch, here: Path, arguments: list[str], says: str
) -> None:
    """Exit 2, before the work: a file that exists stays."""
    done = conform(monkeypatch, "story.scn", *arguments, falsify=shared_pages_counted_once)

    assert 2 == done.exit_code
    assert says in done.output
    assert (here / "story.scn").read_text() == STORY


def test_earlier_deviations_stay(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """A deviation found again is saved beside the earlier one, under a name with a number."""
    for _ in range(2):
        done = conform(monkeypatch, "story.scn", falsify=shared_pages_counted_once)

    names = {path.name for path in (here / "deviations").iterdir()}
    assert {"story.scn", "story.jsonl", "story.2.scn", "story.2.jsonl"} == names
    assert "saved: deviations/story.2.scn" in done.output


def test_force_overwrites(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """With --force what is there is replaced, and no temporary file stays."""
    (here / "deviations").mkdir()
    (here / "deviations" / "story.scn").write_text("old")
    done = conform(monkeypatch, "story.scn", "--force", falsify=shared_pages_counted_once)

    assert 1 == done.exit_code
    assert {"story.scn", "story.jsonl"} == {path.name for path in (here / "deviations").iterdir()}
    assert "P write" in (here / "deviations" / "story.scn").read_text()


@pytest.mark.parametrize(
    "error",
    [CannotHere("page frames are hidden; run as root"), AgentLost("P was killed"), OSError("no room")],
)
def test_a_machine_that_cannot(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Exit 3: one line says why, and no traceback is printed."""

    def falsify(answer: dict[str, Any], run: int) -> None:
        raise error

    done = conform(monkeypatch, "story.scn", falsify=falsify)

    assert (3, f"mapcount conform: {error}\n") == (done.exit_code, done.output)


def test_no_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 under a limit too small for the command itself; it is said which."""

    def falsify(answer: dict[str, Any], run: int) -> None:
        raise MemoryError

    done = conform(monkeypatch, "story.scn", falsify=falsify)

    assert (3, "mapcount conform: this process may have no more memory (ulimit -v)\n") == (
        done.exit_code, done.output,
    )  # fmt: skip


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it with a shell's exit code for that."""

    def falsify(answer: dict[str, Any], run: int) -> None:
        raise KeyboardInterrupt

    assert 130 == conform(monkeypatch, "story.scn", falsify=falsify).exit_code


def test_names_cannot_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control characters in what the kernel or a file says are spelled out."""

    def evil(answer: dict[str, Any], run: int) -> None:
        for process in answer["processes"]:
            for region in process["regions"]:
                region["file"] = "\x1b[2J"

    done = conform(monkeypatch, "story.scn", falsify=evil)

    assert "\x1b" not in done.output
    assert r"\x1b[2J" in done.output


def test_in_a_guest(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """--vng runs the same command in the guest; what that found is shown and saved here."""
    inside = json.loads(
        conform(monkeypatch, "story.scn", "--json", "-o", "inside", falsify=shared_pages_counted_once).stdout
    )
    inside["guest"] = {"image": "bzImage", "seconds": 61.5, "complaints": ["BUG: \x1b[1mbad"]}
    given: list[Any] = []

    def conform_in_guest(
        bzimage: Path, arguments: list[str], *, record: bool, timeout: float
    ) -> tuple[dict[str, Any], str]:
        given.append((bzimage, arguments, record))
        return inside, "recorded\n"

    monkeypatch.setattr(vng, "conform_in_guest", conform_in_guest)
    arguments = [
        "conform",
        "story.scn",
        "--random",
        "2",
        "--seed",
        "4",
        "--vng",
        "bzImage",
        "--record",
        "r.jsonl",
    ]
    done = CliRunner().invoke(mapcount, arguments)

    assert [(Path("bzImage"), ["story.scn", "--random", "2", "--seed", "4"], True)] == given
    assert 1 == done.exit_code, done.output
    assert "in a guest of bzImage, 62 s" in done.output
    assert r"the guest's kernel complained: BUG: \x1b[1mbad" in done.output
    assert "recorded\n" == (here / "r.jsonl").read_text()
    assert (here / "deviations" / "story.scn").exists()


def test_no_kernel_to_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2: the file that --vng names is no kernel."""
    done = conform(monkeypatch, "story.scn", "--vng", "story.scn")

    assert 2 == done.exit_code
    assert "not a bootable x86 kernel image" in done.output
