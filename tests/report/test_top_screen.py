"""`mapcount top` as somebody sits in front of it: what is on the screen, and what keys do."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from tests.audit.audits import source
from tests.live.fakes import MemorySource, machine, process, region
from tests.report.top_screens import Shown, watched

from mapcount.live.snapshot import Source
from mapcount.report.top.grid import Grid
from mapcount.report.top.help import HELP
from mapcount.report.top.screens import KEYS, Prompt
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

HOSTILE = [
    "\x1b[31mred",
    "[red]bold[/red]",
    "[/]",
    "名前名前名",
    "a\nb\tc",
    "\u202eevil",
    "x" * 300,
    "[@click=app.quit]x",
]
READ = "large folios ("
"""On the screen as soon as everything was read."""


def hostile() -> Source:
    """Processes, regions and limits whose names a terminal, or Textual, would obey."""
    kib = {"Rss": 64, "Pss": 64, "Private_Dirty": 64}
    processes = [
        process(i, [region(16, name=name, smaps=kib)], comm=name, cgroup=f"/{name}")
        for i, name in enumerate(HOSTILE, 1)
    ]
    limits = ("\x1b[2J[red]run as root", "more")
    return MemorySource(processes, machine=machine(release="6\x1b[31m[b]", limits=limits), name="[i]\x1b]0;x")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 12), (20, 5)], ids=str)
def test_lines_fit_whatever_the_size(size: tuple[int, int]) -> None:
    """No line is wider than the screen, and no number is cut in two."""

    async def act(top: Shown) -> None:
        await top.until("left-alone" if size[0] >= 60 else "now")
        assert size[1] == len(top.lines())
        assert max(map(cell_len, top.lines())) <= size[0]
        for key in ("f", "escape", "enter", "enter", "escape", "escape", "n", "escape"):
            await top.press(key)
            assert max(map(cell_len, top.lines())) <= size[0]

    watched(act, size=size)


def test_names_are_inert() -> None:
    """Whatever a process calls itself or its memory, it is only text, everywhere on the screen."""

    async def act(top: Shown) -> None:
        await top.until(r"\x1b[31mred", "[red]bold[/red]", "名前名前名", r"a\nb\tc", "xxxxx", r"\u202eevil")
        assert all(line.isprintable() for line in top.lines())
        assert r"[i]\x1b]0;x: Linux 6\x1b[31m[b]" in top.text()
        for number in (1, 2, 5):
            await top.press("home", *["down"] * number, "enter")
            await top.until("1 region")
            await top.press("enter")
            await top.until("0 large folio")
            assert all(line.isprintable() for line in top.lines())
            await top.press("escape", "escape")
        await top.press("n")
        await top.until(r"\x1b[2J[red]run as root")

    watched(act, hostile(), size=(120, 40))


def test_a_process_opens_into_regions_and_those_into_folios() -> None:
    """And Escape leads back, to the row that was left."""

    async def act(top: Shown) -> None:
        await top.until("left-alone", READ)
        await top.press("enter")
        await top.until("14 (left-alone), control group", "[heap]")
        assert "d00000 rw-p 3M 0 -2.93M 2.93M 16 anonymous" == top.line("rw-p")
        await top.press("enter")
        await top.until("16 large folios; Rss 3M")
        assert "64K 64K PTE 16 0 free free exclusive shared!" == top.line("shared!")
        await top.press("escape")
        await top.until("[heap]")
        await top.press("escape")
        await top.until("web-worker")
        await top.press("down", "down", "enter")
        await top.until("15 (web-worker)")
        await top.press("escape", "enter")
        await top.until("15 (web-worker)")

    watched(act)


def test_sorting() -> None:
    """`s` goes round the orders, and says by what; a click on a heading does it, too."""

    async def act(top: Shown) -> None:
        await top.until("by change", "left-alone")
        for _ in range(2):
            await top.press("s")
        await top.until("by rss")
        names = [line.split()[1] for line in top.lines()[9:14]]
        assert ["web", "web-worker", "web-worker", "batch", "left-alone"] == names
        await top.pilot.click(Grid, offset=(12, 0))
        await top.until("by name")
        assert "batch" in top.lines()[9]

    watched(act)


def test_filtering() -> None:
    """Rows that do not contain what is typed are hidden while it is typed; Escape shows all again."""

    async def act(top: Shown) -> None:
        await top.until("left-alone", READ)
        await top.press("slash", *"WEB-w")
        await top.until("Show only", "WEB-w")
        assert "left-alone" not in top.text()
        await top.press("enter")
        await top.until('2 of 5 with "WEB-w"')
        await top.press("escape")
        await top.until("left-alone")
        await top.press("slash", *"q/s", "escape")
        await top.until("left-alone", "by change")

    watched(act)


def test_folios_by_size() -> None:
    """In the place of the processes on a small screen, below them on a tall one."""

    async def small(top: Shown) -> None:
        await top.until("left-alone", READ)
        assert "PTE" not in top.text()
        await top.press("f")
        await top.until("PTE")
        assert "64K anon 31 1.94M 0 31 16 31 0 15" == top.line("64K")
        assert "left-alone" not in top.text()
        await top.press("escape")
        await top.until("left-alone")

    async def tall(top: Shown) -> None:
        await top.until("left-alone", READ, "PTE", "64K")

    watched(small)
    watched(tall, size=(100, 40))


def test_notes_and_help() -> None:
    """What is not known here and why, and what the keys do."""

    async def act(top: Shown) -> None:
        await top.until(READ)
        await top.press("n")
        await top.until("the capture holds only the processes that were asked for")
        await top.press("escape", "question_mark")
        await top.until("Only reads, and stops no process.")
        await top.press("q")

    watched(act)


def test_every_key_is_explained() -> None:
    """What the last line names stands in the help and in docs/top.md as well."""
    document = (Path(__file__).parents[2] / "docs" / "top.md").read_text(encoding="utf-8")
    table = document.partition("| key | does |")[2].partition("## ")[0]
    for key, _ in KEYS:
        assert re.search(rf"(^|  ){re.escape(key)} +\w", HELP.plain, re.MULTILINE), key
        assert re.search(rf"^\|.*{re.escape(key)}\b.*\|.*\|$|`{re.escape(key)}`", table, re.MULTILINE), key


def test_a_kernel_without_page_mapcounts() -> None:
    """There it is the other way round: what it would be with them."""

    async def act(top: Shown) -> None:
        await top.until("under page-mapcount", "big", READ)
        await top.press("enter")
        await top.until("10 (big)", "under page-mapcount", "1000000")

    watched(act, source(flavour=NO_PAGE_MAPCOUNT), rollups={9: 32, 10: 192, 11: 400})


def test_a_machine_that_changes() -> None:
    """Sizes that are read often change on the screen; what everybody maps is read again when asked."""
    made = source()

    async def act(top: Shown) -> None:
        await top.until("big", "-192K", "1 process could not be read")
        (grown,) = (each for each in made.processes if each.pid == 10)
        more = replace(grown.regions[0], smaps={"Rss": 1192, "Pss": 1192, "Private_Dirty": 1192})
        made.processes = [
            replace(each, regions=(more,)) if each is grown else each for each in made.processes
        ]
        await top.press("r")
        await top.until("1.16M")
        await top.press("p")
        await top.until("PAUSED")
        await top.press("p")
        await top.until("by change")
        assert "PAUSED" not in top.text()

    watched(act, made, rollups={9: 32, 10: 192, 11: 400})


def test_a_process_that_exits_while_it_is_open() -> None:
    """Is said to have, above what was read last; Escape leads to those that are left."""
    made = source()
    rss = {9: 32, 10: 192, 11: 400}

    async def act(top: Shown) -> None:
        await top.until("big", READ)
        await top.press("enter")
        await top.until("10 (big)", "1000000")
        made.processes = [each for each in made.processes if each.pid != 10]
        del rss[10]
        await top.press("r")
        await top.until("10 (?): no such process: this is what was read last", "1000000")
        await top.press("escape")
        await top.until("half")
        assert "big" not in top.text()

    watched(act, made, rollups=rss)


def test_a_process_that_exits_before_it_is_opened() -> None:
    """There is nothing to show but why."""
    made = source()

    async def act(top: Shown) -> None:
        await top.until("big", READ)
        await top.press("enter")
        await top.until("1000000")
        await top.press("escape", "down")
        made.processes = [each for each in made.processes if each.pid == 10]
        await top.press("enter")
        await top.until("no such process")
        assert "1000000" not in top.text()

    watched(act, made, rollups={9: 32, 10: 192, 11: 400})


def test_nobody_is_left() -> None:
    """When every process has exited that is what the screen says."""
    made = source()
    made.refusing = {}

    async def act(top: Shown) -> None:
        await top.until("big", READ)
        made.processes = []
        await top.press("r")
        await top.until("no process fits what was asked for")

    watched(act, made, rollups={9: 1, 10: 1, 11: 1})


class Broken(MemorySource):
    """A machine that fails when its processes are listed."""

    def pids(self) -> list[int]:
        """Not possible."""
        raise OSError(5, "Input/output error", "/proc")


def test_what_cannot_go_on_ends_it() -> None:
    """With the error, which the command then says on an ordinary terminal."""

    async def act(top: Shown) -> None:
        while top.app.return_value is None:
            await top.pilot.pause(0.02)

    error = watched(act, Broken(), rollups={}).return_value
    assert isinstance(error, OSError)
    assert "/proc" == error.filename


def test_a_capture_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a name that is asked for, and never in place of something."""
    monkeypatch.chdir(tmp_path)

    async def act(top: Shown) -> None:
        await top.until("big", READ)
        await top.press("c")
        await top.until("Write a capture to this new directory")
        assert top.app.screen.query_one(Prompt).value.endswith(".capture")
        top.app.screen.query_one(Prompt).value = "mine.capture"
        await top.press("enter")
        await top.until("wrote mine.capture: 3 processes")
        await top.press("c")
        top.app.screen.query_one(Prompt).value = "mine.capture"
        await top.press("enter")
        await top.until("no capture was written: mine.capture: exists already")
        await top.press("c", "escape")
        await top.until("no capture was written")

    watched(act, source(), rollups={9: 1, 10: 1, 11: 1})
    assert ["mine.capture"] == os.listdir(tmp_path)


def test_a_capture_of_a_capture_makes_no_sense() -> None:
    """So it is not asked for."""

    async def act(top: Shown) -> None:
        await top.until(READ)
        await top.press("c")
        await top.until("this is a capture already")

    watched(act)


@pytest.mark.parametrize(
    ("before", "key"),
    [([], "q"), (["enter"], "ctrl+c"), (["question_mark"], "q"), (["slash", "q"], "ctrl+c")],
)
def test_it_ends_from_everywhere(before: list[str], key: str) -> None:
    """With nothing left running; a q that is typed into a prompt is only a q."""

    async def act(top: Shown) -> None:
        await top.until(READ)
        await top.press(*before)
        assert top.app.is_running
        await top.press(key)

    app = watched(act)
    assert not app.reader.running
    assert app.return_value is None
    assert 0 == app.return_code
