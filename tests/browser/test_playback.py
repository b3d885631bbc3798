"""A story played back in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.browser.visits import DESK, PHONE, WIDE, command, visit

from mapcount.report.words import size

ROOT = Path(__file__).parents[2]
STORY = ROOT / "scenarios" / "prefork.scn"
STORIES = sorted((ROOT / "scenarios").glob("*.scn"))

PROC = """() => [...document.querySelectorAll("#proc td[data-process] [data-field]")].map((cell) => {
    const old = cell.querySelector(".old"), label = cell.querySelector("small").textContent;
    const text = cell.textContent.slice(label.length + 1 + (old ? old.textContent.length : 0)).trim();
    const place = cell.closest("td").dataset;
    return [place.kernel, place.process, cell.dataset.field, text];
})"""
"""What is to be read in the table of processes: kernel, process, field, size."""

BELIEFS = """() => [...document.querySelectorAll(".belief")].map((box) => {
    const now = (node) => node && [...node.childNodes].filter((child) => child.className !== "old")
        .map((child) => child.textContent).join("");
    const field = (name) => now(box.querySelector(`[data-field=${name}] > span`));
    const truth = box.closest(".card").querySelector(".truth b").textContent;
    return [box.dataset.kernel, truth, now(box.querySelector(".verdict b > span")),
            Boolean(box.querySelector(".wrong-tag")), field("large_mapcount"), field("refcount")];
})"""
"""What is to be read of folios: kernel, truth, what the kernel says, marked as wrong?, total, references."""

PLAY = """() => {
    const said = [];
    for (let i = 0; i < steps.length; i++) {
        const sideways = document.documentElement.scrollWidth > innerWidth;
        said.push([document.getElementById("at").textContent, sideways]);
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    }
    return said;
}"""
"""Step by step to the end: what step it says it is, and whether the page is wider than the screen."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page of the pre-fork story, and what `--json` says of it."""
    path = tmp_path_factory.mktemp("pages") / "prefork.html"
    (story,) = json.loads(command("run", STORY, "--json", "--html", path))
    return path, story


def _proc(story: dict[str, Any], step: int) -> set[tuple[str, str, str, str]]:
    return {
        (kernel, process, field, size(roll[field]))
        for kernel, run in story["flavours"].items()
        for process, roll in run["steps"][step]["rollup"].items()
        for field in ("rss", "pss", "uss")
    }


def _beliefs(story: dict[str, Any], step: int) -> set[tuple[object, ...]]:
    return {
        (
            kernel,
            folio["truth"],
            "shared" if folio["maybe_shared"] else "exclusive",
            folio["wrong"],
            str(total) if (total := folio["counters"].get("large_mapcount")) is not None else None,
            str(folio["counters"]["refcount"]),
        )
        for kernel, run in story["flavours"].items()
        for folio in run["steps"][step]["folios"]
    }


def test_every_step_shows_the_numbers_of_the_json(
    browser: Browser, told: tuple[Path, dict[str, Any]]
) -> None:
    """Going through a story by the right arrow shows in each step what `run --json` says of it."""
    path, story = told
    with visit(browser, path) as seen:
        for i, step in enumerate(story["steps"]):
            assert f"step {i + 1} of {len(story['steps'])}" == seen.text("#at")
            assert " ".join(step["text"].split()) in seen.text("#now")
            assert _proc(story, i) == {
                tuple(row) for row in seen.page.evaluate(PROC) if row[2] in ("rss", "pss", "uss")
            }
            assert _beliefs(story, i) == {tuple(row) for row in seen.page.evaluate(BELIEFS)}
            seen.page.keyboard.press("ArrowRight")
        assert [] == seen.complaints


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_every_story_plays_to_its_end_without_a_complaint(
    browser: Browser, story: Path, tmp_path: Path
) -> None:
    """Every step of every story can be shown, on all kernels, its tables open, and nothing is asked for."""
    path = tmp_path / "story.html"
    command("run", story, "--html", path, "--flavour", "all")
    assert path.stat().st_size < 1_000_000
    with visit(browser, path, PHONE) as seen:
        seen.page.click("#numbers summary")
        for box in seen.page.query_selector_all("#kernels input"):
            box.check()
        steps = int(seen.page.get_attribute("#slider", "max") or 0)
        assert [[f"step {i + 1} of {steps}", False] for i in range(steps)] == seen.page.evaluate(PLAY)
        assert [] == seen.complaints


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("screen", [PHONE, DESK, WIDE])
def test_it_fits_the_screen_and_its_text_can_be_read(
    browser: Browser, told: tuple[Path, dict[str, Any]], screen: tuple[int, int], dark: bool
) -> None:
    """No screen scrolls sideways, and text differs from its ground, in light and in dark."""
    with visit(browser, told[0], screen, dark=dark, at="#step=8") as seen:
        assert not seen.scrolls_sideways()
        paper, ink = seen.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        assert (_brightness(paper) < 60) == dark
        assert abs(_brightness(paper) - _brightness(ink)) > 150
        seen.page.click("#theme")
        assert (
            _brightness(seen.page.evaluate("getComputedStyle(document.body).backgroundColor")) < 60
        ) != dark
        assert [] == seen.complaints


def _brightness(colour: str) -> float:
    red, green, blue = (int(word) for word in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_a_mistake_is_marked_in_words_shape_and_colour(
    browser: Browser, told: tuple[Path, dict[str, Any]]
) -> None:
    """A wrong "shared" has a word, a reason, a thick frame, a place in the timeline and in the story."""
    with visit(browser, told[0], at="#step=8") as seen:
        assert "✗ WRONG" == seen.text(".belief.wrong .wrong-tag")
        assert "It says shared, but only W2 maps it." == seen.text(".belief.wrong .because")
        assert "wrong, it is exclusive to W2" in seen.text("#now")
        assert "✗" == seen.text(".source li[aria-current] .sign")
        assert "3px" == seen.page.evaluate(
            "getComputedStyle(document.querySelector('.belief.wrong')).borderTopWidth"
        )
        assert "M7 0" in (seen.page.get_attribute(".strip .bad", "d") or "")


def test_keys_alone_are_enough(browser: Browser, told: tuple[Path, dict[str, Any]]) -> None:
    """Home, End, Page Up, Page Down, arrows, Tab and Space reach every step and every control."""
    with visit(browser, told[0]) as seen:
        press = seen.page.keyboard.press
        press("End")
        assert "step 18 of 18" == seen.text("#at")
        press("Home")
        press("PageDown")
        assert "step 8 of 18" == seen.text("#at")
        press("ArrowLeft")
        assert "step 7 of 18" == seen.text("#at")
        press("PageUp")
        assert "step 1 of 18" == seen.text("#at")
        reached = set()
        for _ in range(40):
            press("Tab")
            reached.add(seen.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
            ring = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none" or seen.page.evaluate("document.activeElement === document.body")
        assert {"theme", "next", "last", "play", "slider", "source", "INPUT", "SUMMARY"} <= reached
        seen.page.focus("#slider")
        press("ArrowRight")
        assert "step 2 of 18" == seen.text("#at")
        seen.page.focus("#next")
        press("Enter")
        assert "step 3 of 18" == seen.text("#at")


def test_a_screen_reader_hears_each_step(browser: Browser, told: tuple[Path, dict[str, Any]]) -> None:
    """The step's line and verdict are announced, and each picture has its words."""
    with visit(browser, told[0], at="#step=7") as seen:
        assert "polite" == seen.page.get_attribute("#now", "aria-live")
        assert "P exit Every kernel shown is right about every folio." == seen.text("#now")
        assert "W1 maps pages 0 to 15 by PTE; W2 maps pages 0 to 15 by PTE" == seen.page.get_attribute(
            ".lanes", "aria-label"
        )
        assert "Truly mapped: W1 16, W2 16. Seen by the slots: W1 16; unseen: 16." == seen.page.get_attribute(
            ".bars", "aria-label"
        )
        assert "step 7 of 18, P exit" == " ".join(
            (seen.page.get_attribute("#slider", "aria-valuetext") or "").split()
        )


def test_a_line_of_the_story_leads_to_its_step(browser: Browser, told: tuple[Path, dict[str, Any]]) -> None:
    """A click on a line shows its step, and a page asked for a step opens there."""
    with visit(browser, told[0], at="#step=13") as seen:
        assert "step 13 of 18" == seen.text("#at")
        seen.page.click(".source li[data-step='3']")
        assert "step 4 of 18" == seen.text("#at")
        assert "no slot is free" in seen.text("#told")
        seen.page.wait_for_url("**#step=4")


def test_kernels_are_shown_or_not(browser: Browser, told: tuple[Path, dict[str, Any]]) -> None:
    """Only the kernels that are ticked have a box, a column and a timeline."""
    with visit(browser, told[0], at="#step=8") as seen:
        seen.page.uncheck("input[value=page-mapcount]")
        assert {"no-page-mapcount"} == {row[0] for row in seen.page.evaluate(BELIEFS)}
        assert {"no-page-mapcount"} == {row[0] for row in seen.page.evaluate(PROC)}
        assert 1 == seen.page.locator(".strip").count()
        seen.page.uncheck("input[value=no-page-mapcount]")
        assert "No kernel is chosen." == seen.text("#proc")
        assert [] == seen.complaints


def test_the_numbers_can_be_taken_away(browser: Browser, told: tuple[Path, dict[str, Any]]) -> None:
    """The CSV of processes holds what the JSON holds, for every step, kernel and process."""
    path, story = told
    with visit(browser, path) as seen:
        seen.page.click("#numbers summary")
        with seen.page.expect_download() as waiting:
            seen.page.click("text=processes.csv")
        head, *rows = Path(waiting.value.path()).read_text().splitlines()
    names = head.split(",")
    found = {
        (row["kernel"], int(row["step"]), row["process"]): int(row["pss"])
        for row in (dict(zip(names, line.split(","), strict=True)) for line in rows)
    }
    assert {
        (kernel, i + 1, process): roll["pss"]
        for kernel, run in story["flavours"].items()
        for i, step in enumerate(run["steps"])
        for process, roll in step["rollup"].items()
    } == found


def test_averages_are_seen_beside_exact_counts(browser: Browser, tmp_path: Path) -> None:
    """Where every second page is shared, per-page counts go up and down, and the average is level."""
    path = tmp_path / "stripes.html"
    command("run", ROOT / "scenarios" / "alternating-pages.scn", "--html", path)
    with visit(browser, path, at="#step=5") as seen:
        drawn = {
            kernel: seen.page.get_attribute(f".belief[data-kernel={kernel}] .profile .over", "d") or ""
            for kernel in ("page-mapcount", "no-page-mapcount")
        }
        assert 15 == drawn["page-mapcount"].count("V")
        assert 0 == drawn["no-page-mapcount"].count("V")
        seen.page.keyboard.press("Home")
        assert 0 == seen.page.locator(".profile").count()
        assert [] == seen.complaints


def test_of_many_folios_those_that_changed_come_first(browser: Browser, tmp_path: Path) -> None:
    """With many different folios, the one that the step touched is on top, marked, with its old numbers."""
    story, path = tmp_path / "many.scn", tmp_path / "many.html"
    cuts = [f"P munmap heap[{16 * i}p:{16 * i + 1 + i % 14}p]" for i in range(30)]
    story.write_text("\n".join(["P mmap heap 4M thp=64K ; P write heap", *cuts]) + "\n")
    command("run", story, "--html", path)
    with visit(browser, path, at="#step=30") as seen:
        assert 15 == seen.page.locator(".card").count()
        assert "heap[1p:64K], heap[225p:960K], heap[449p:1856K]" in seen.text(".card")
        assert 1 == seen.page.locator(".card.changed").count()
        assert "Not touched in this step:" == seen.text(".card.changed + p")
        assert "1615" == seen.page.text_content(".card.changed [data-field=large_mapcount]")
        assert "slot 0, was P:16" in seen.text(".card.changed .slots")
        assert [] == seen.complaints


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} &amp; <!--"


def test_hostile_text_is_only_text(browser: Browser, tmp_path: Path) -> None:
    """Markup in a story's title, comments and file name is shown as it is written, and does nothing."""
    story, path = tmp_path / "<img src=x onerror=alert(3)>.scn", tmp_path / "page.html"
    story.write_text(f"# {HOSTILE}\n# more {HOSTILE}\nP mmap heap 64K # {HOSTILE}\nP write heap\n")
    command("run", story, "--html", path)
    with visit(browser, path) as seen:
        seen.page.keyboard.press("ArrowRight")
        seen.page.keyboard.press("ArrowLeft")
        assert "</script><script>alert(1)</script>" in seen.text("h1")
        assert "<img src=x onerror=alert(2)> {{ 7*7 }}" in seen.text("#now")
        assert "run <img src=x onerror=alert(3)>" in seen.text(".brand")
        assert 0 == seen.page.locator("img").count()
        assert 2 == seen.page.locator("script").count()
        assert [] == seen.complaints


def test_a_thousand_steps_are_painted_at_once(
    browser: Browser, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    """A story of a thousand steps is painted, and ready for keys, soon after it is opened."""
    story, path = tmp_path / "long.scn", tmp_path / "long.html"
    lines = ["P mmap heap 1M thp=64K", "P write heap"]
    for i in range(333):
        lines += [f"P fork C{i}", f"C{i} write heap[{i % 16 * 16}p]", f"C{i} exit"]
    story.write_text("\n".join(lines[:1000]) + "\n")
    command("run", story, "--html", path)
    with visit(browser, path) as seen:
        painted = seen.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        ready = seen.page.evaluate("performance.getEntriesByName('ready')[0].startTime")
        seen.page.keyboard.press("End")
        assert "step 1000 of 1000" == seen.text("#at")
        assert [] == seen.complaints
    record_property("first paint, ms", painted)
    print(f"{path.stat().st_size:,} bytes; first paint {painted:.0f} ms, ready {ready:.0f} ms")
    assert painted < 5000
    assert ready < 5000
