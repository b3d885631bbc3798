"""`mapcount audit --html` in a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.audit.audits import audited
from tests.browser.visits import DESK, PHONE, WIDE, command, visit

from mapcount.audit.overview import Overview
from mapcount.report.html.audit_page import audit_page

CAPTURE = Path(__file__).parents[2] / "captures" / "demo.capture"
HOSTILE = "</script><img src=x onerror=alert(1)>"

TABLE = """(id) => [...document.querySelectorAll(`#${id} tbody tr`)].map(
    (row) => [...row.cells].map((cell) => cell.textContent))"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page of the demo capture, and what `--json` says of it."""
    path = tmp_path_factory.mktemp("pages") / "audit.html"
    return path, json.loads(command("audit", "--from", CAPTURE, "--json", "--html", path))


def _csv(seen: Any, name: str) -> list[dict[str, str]]:
    with seen.page.expect_download() as waiting:
        seen.page.click(f"text={name}")
    head, *rows = Path(waiting.value.path()).read_text().splitlines()
    return [dict(zip(head.split(","), row.split(","), strict=True)) for row in rows]


def test_the_numbers_are_those_of_the_json(browser: Browser, told: tuple[Path, dict[str, Any]]) -> None:
    """Each process's memory now and then, and each size's folios, in the table's file as in the JSON."""
    path, audit = told
    with visit(browser, path) as seen:
        processes = {int(row["pid"]): row for row in _csv(seen, "processes.csv")}
        folios = _csv(seen, "folios.csv")
        for process in audit["machines"][0]["processes"]:
            row = processes.pop(process["pid"])
            assert process["now"]["uss_kib"] == int(row["uss_kib"])
            assert process["under"]["no-page-mapcount"]["uss_kib"] == int(row["uss_then_kib"])
            assert process["mistakes"]["mapped_kib"] == int(row["mistaken_kib"])
        assert {} == processes
        assert [
            row["mistaken_for_shared"] for row in sorted(audit["total"]["folios"], key=lambda row: row["kib"])
        ] == [int(row["mistaken_for_shared"]) for row in sorted(folios, key=lambda row: int(row["kib"]))]
        assert "2.93M 16 large folios of one process alone" in seen.text(".figure.wrong")
        assert [] == seen.complaints


def test_rows_are_sorted_and_filtered_by_keys_alone(
    browser: Browser, told: tuple[Path, dict[str, Any]]
) -> None:
    """A head sorts when it is pressed, the other way when pressed again, and words filter."""
    with visit(browser, told[0]) as seen:
        seen.page.focus("#processes th:nth-child(1) button")
        for direction, pids in (
            ("descending", ["16", "15", "14", "12", "10"]),
            ("ascending", ["10", "12", "14", "15", "16"]),
        ):
            seen.page.keyboard.press("Enter")
            assert direction == seen.page.get_attribute("#processes th:nth-child(1)", "aria-sort")
            assert pids == [row[0] for row in seen.page.evaluate(TABLE, "processes")]
        seen.page.fill("#processes input", "worker")
        assert ["15", "16"] == [row[0] for row in seen.page.evaluate(TABLE, "processes")]
        assert "2 rows of 5" in seen.text("#processes .count")


def test_another_kernel_is_compared_with(browser: Browser, told: tuple[Path, dict[str, Any]]) -> None:
    """Under the kernel that runs nothing changes."""
    with visit(browser, told[0]) as seen:
        seen.page.check("input[value=page-mapcount]")
        assert {"0"} == {row[8] for row in seen.page.evaluate(TABLE, "processes")}
        assert "11.4M now 11.4M no change" in seen.text(".cards")


def test_hostile_names_are_only_text(browser: Browser, tmp_path: Path) -> None:
    """A process may call itself what it likes: it is shown as it is written, and does nothing."""
    audit = audited()
    processes = tuple(replace(process, comm=HOSTILE, cgroup=HOSTILE) for process in audit.processes)
    overview = Overview([replace(audit, processes=processes, name=HOSTILE)])
    path = tmp_path / "audit.html"
    path.write_bytes(audit_page(overview, overview.chosen()))
    with visit(browser, path) as seen:
        assert HOSTILE in seen.text("#processes")
        assert 0 == seen.page.locator("img").count()
        assert [] == seen.complaints


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("screen", [PHONE, DESK, WIDE])
def test_it_fits_the_screen(
    browser: Browser, told: tuple[Path, dict[str, Any]], screen: tuple[int, int], dark: bool
) -> None:
    """No screen scrolls sideways: wide tables scroll in a box of their own."""
    with visit(browser, told[0], screen, dark=dark) as seen:
        assert not seen.scrolls_sideways()
        assert [] == seen.complaints
