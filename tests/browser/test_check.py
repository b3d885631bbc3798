"""`mapcount check --html`, of a world and of races, in a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.browser.visits import DESK, PHONE, WIDE, command, visit

BROKEN = f"{Path(__file__).parents[2]}/examples/broken/clears_on_free.py:ClearsOnFree"
WORLD = ("check", "--pages", 2, "--threads", 1, "--memory", "64M")
TABLE = """() => [...document.querySelectorAll("#layers tbody tr")].map(
    (row) => [...row.cells].map((cell) => cell.textContent))"""
MEMORY = """() => Object.fromEntries([...document.querySelectorAll("[data-cell]")].map(
    (box) => [box.dataset.cell, box.querySelector("dd").lastChild.textContent]))"""
"""What each cell of memory is said to hold."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A world that holds, a broken scheme, races that hold, a broken race; and the JSON beside each."""
    folder = tmp_path_factory.mktemp("pages")
    asked = {
        "holds": (0, WORLD),
        "broken": (1, ("check", "--pages", 2, "--memory", "64M", "--scheme", BROKEN)),
        "races": (0, ("check", "--races", "stories")),
        "race": (1, ("check", "--mutate", "no-recheck")),
    }
    for name, (code, words) in asked.items():
        told = command(*words, "--json", "--html", folder / f"{name}.html", code=code)
        (folder / f"{name}.json").write_text(told)
    return {name: folder / f"{name}.html" for name in asked}


def test_states_by_distance_are_those_of_the_json(browser: Browser, pages: dict[str, Path]) -> None:
    """The chart has a bar for each distance, and its table the numbers."""
    layers = json.loads(pages["holds"].with_suffix(".json").read_text())["layers"]
    with visit(browser, pages["holds"]) as seen:
        seen.page.click("text=States by distance as a table")
        rows = [(row[0], row[1].replace(",", "")) for row in seen.page.evaluate(TABLE)]
        assert [(str(depth), str(states)) for depth, states in enumerate(layers)] == rows
        assert len(layers) == seen.page.locator("rect.bar-of").count()
        words = seen.page.get_attribute(".chart [role=img]", "aria-label") or ""
        assert f"{layers[1]} states at 1 event," in words
        assert [] == seen.complaints


def test_being_wrongly_shared_is_played_back(browser: Browser, pages: dict[str, Path]) -> None:
    """The End key leads to the last step, in which the kernel is marked as wrong; before, it is not."""
    with visit(browser, pages["holds"]) as seen:
        assert 0 == seen.page.locator(".belief .wrong-tag").count()
        seen.page.keyboard.press("End")
        assert "page-mapcount says shared ✗ WRONG" == seen.text(".belief.wrong .head")
        assert "wrong, it is exclusive to C" in seen.text("#now")
        assert not seen.page.is_visible("#stories")
        assert [] == seen.complaints


def test_a_broken_schemes_stories_are_played_back(browser: Browser, pages: dict[str, Path]) -> None:
    """Each story is a choice away; the scheme's answer is framed as wrong, the kernel's is not."""
    with visit(browser, pages["broken"]) as seen:
        assert "BROKEN: never-exclusive-when-shared" == seen.text(".outcome")
        seen.page.keyboard.press("End")
        assert "ClearsOnFree says heap[0:4p] is exclusive: wrong, it is shared." in seen.text("#now")
        assert ["scheme ClearsOnFree"] == seen.page.locator(".belief.wrong .kernel").all_inner_texts()
        first = seen.text("#source")
        seen.page.check("input[value='wrongly-shared']")
        assert seen.text("#at").startswith("step 1 of ")
        assert first != seen.text("#source")
        seen.page.click("#last")
        assert "wrong, it is exclusive" in seen.text("#now")
        assert [] == seen.complaints


def test_an_interleaving_is_gone_through_step_by_step(browser: Browser, pages: dict[str, Path]) -> None:
    """In each step memory holds what the changes of the JSON so far left there; the last says what breaks."""
    (race,) = json.loads(pages["race"].with_suffix(".json").read_text())["races"]
    changes = [step["changes"] for step in race["interleaving"]]
    expected = {one["cell"]: one["before"] for step in reversed(changes) for one in reversed(step)}
    with visit(browser, pages["race"]) as seen:
        for i, step in enumerate(changes):
            expected |= {one["cell"]: one["after"] for one in step}
            assert expected == seen.page.evaluate(MEMORY)
            assert str(i + 1) == seen.text(".threads tr[aria-current] td")
            seen.page.keyboard.press("ArrowRight")
        assert f"reuse is broken: {race['broken'][0]['message']}" == seen.text(".end")
        assert seen.page.is_disabled("#next")
        assert [] == seen.complaints


def test_races_that_hold_are_a_table(browser: Browser, pages: dict[str, Path]) -> None:
    """Each race of the JSON is a row, and no interleaving is shown."""
    races = json.loads(pages["races"].with_suffix(".json").read_text())["races"]
    with visit(browser, pages["races"]) as seen:
        assert not seen.page.is_visible("#interleaving")
        names = seen.page.locator("#races tbody tr td:nth-child(2)").all_inner_texts()
        assert [race["name"] for race in races] == names
        assert [] == seen.complaints


@pytest.mark.parametrize("name", ["holds", "broken", "race"])
@pytest.mark.parametrize("screen", [PHONE, DESK, WIDE])
def test_the_pages_fit_the_screen(
    browser: Browser, pages: dict[str, Path], name: str, screen: tuple[int, int]
) -> None:
    """No screen scrolls sideways, in the first step and in the last, in dark on a phone."""
    with visit(browser, pages[name], screen, dark=screen == PHONE) as seen:
        assert not seen.scrolls_sideways()
        seen.page.keyboard.press("End")
        assert not seen.scrolls_sideways()
        assert [] == seen.complaints
