"""`mapcount layout`: the drawing, its width, JSON, exit codes, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

import mapcount.cli.layout
from mapcount.cli.layout import layout
from mapcount.report.layout import draw_layouts
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, V6_14, Flavour
from mapcount.tracking.layout import Layout, layout_of


def run(*arguments: str, columns: int = 80) -> Result:
    """The command's result on a pipe, at that width."""
    return CliRunner().invoke(layout, arguments, env={"COLUMNS": str(columns)})


def line_at(output: str, offset: int) -> str:
    """The drawing's line of the word at that offset."""
    return next(line for line in output.splitlines() if line.startswith(f"{offset:>3} "))


def broken(flavour: Flavour) -> Layout:
    """A layout whose pin count lies on the whole-folio count."""
    good = layout_of(flavour)
    clash = good.field("_entire_mapcount").offset
    fields = tuple(replace(f, offset=clash) if f.name == "_pincount" else f for f in good.fields)
    return replace(good, fields=fields)


def test_default_is_before_beside_after() -> None:
    """Without arguments: v6.14 beside page-mapcount, with what moved and what is new marked."""
    result = run()
    assert result.exit_code == 0
    assert "v6.14" in result.output
    assert "page-mapcount" in result.output
    assert (
        line_at(result.output, 80)
        == " 80 │ _large_mapcount ╎>_entire_mapcount│ │ _large_mapcount ╎>_nr_pages_mapped│"
    )
    assert (
        line_at(result.output, 104)
        == "104 │ ·                                 │ │+_mm_id[2]                         │"
    )
    assert (
        line_at(result.output, 112)
        == "112 │=_mapcount_1     ╎=_refcount_1     │ │=_mapcount_1     ╎=_refcount_1     │"
    )


def test_what_is_gone_is_marked() -> None:
    """Between two flavours of one's choice, what the second no longer keeps is marked in the first."""
    result = run("--flavour", "page-mapcount", "--flavour", "total-mapped-pages")
    assert "-_entire_mapcount" in line_at(result.output, 88)
    assert "+_total_mapped_pages" in line_at(result.output, 88)
    assert "proposed" in result.output


def test_v6_14_alone_is_drawn_by_itself() -> None:
    """`--flavour v6.14` has nothing to stand beside: one column, no marks of change."""
    result = run("--flavour", "v6.14")
    assert line_at(result.output, 88) == " 88 │ _nr_pages_mapped╎ _pincount       │"
    assert "moved" not in result.output


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
@pytest.mark.parametrize("bits", ["64", "32"])
@pytest.mark.parametrize("name", FLAVOURS)
def test_fits_and_is_plain(name: str, bits: str, columns: int) -> None:
    """The picture fits 80 columns, never passes 100, has no escape codes in a pipe and shows every field."""
    result = run("--flavour", name, "--bits", bits, columns=columns)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= (80 if columns < 100 else 100)
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in result.output
    assert "…" not in result.output
    for field in layout_of(FLAVOURS[name].on(int(bits))).fields:
        assert field.label in line_at(result.output, field.offset // (int(bits) // 8) * (int(bits) // 8))


def test_wide_terminals_get_notes() -> None:
    """From 100 columns on, a note says where a moved field was."""
    assert line_at(run(columns=100).output, 88).endswith("│ from 84")
    assert line_at(run(columns=99).output, 88).endswith("│")


def test_32_bits_say_that_they_are_derived() -> None:
    """Places that no kernel confirmed are not shown as if one had."""
    assert "derived, not seen in a kernel" in run("--bits", "32").output


def test_json_has_layouts_changes_and_problems() -> None:
    """`--json` carries the same tables, offsets in bytes."""
    data = json.loads(run("--json").output)
    before, after = data["layouts"]
    assert ("v6.14", "page-mapcount") == (before["flavour"], after["flavour"])
    places = {f["name"]: (f["offset"], f["bias"], f["source"]) for f in after["fields"]}
    assert places["_large_mapcount"] == (80, -1, "btf")
    assert [] == before["problems"] == after["problems"]
    moved = {c["before"]["name"]: c["after"]["offset"] for c in data["changes"] if c["kind"] == "moved"}
    assert moved["_folio_nr_pages"] == 120
    assert "changes" not in json.loads(run("--json", "--flavour", "v6.14").output)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_problem_is_shown_and_exits_with_1(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """A layout that cannot work is drawn, its problem is said, and the exit code is 1."""
    monkeypatch.setattr(mapcount.cli.layout, "layout_of", broken)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "overlap" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--flavour", "v7"],
        ["--bits", "16"],
        ["--flavour", "v6.14", "--flavour", "v6.14"],
        ["--flavour", "v6.14", "--flavour", "page-mapcount", "--flavour", "no-page-mapcount"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    """Unknown flavours and widths, one flavour twice and three of them are wrong usage."""
    assert run(*arguments).exit_code == 2


def test_help_has_an_example() -> None:
    """`--help` shows how to call it."""
    result = run("--help")
    assert result.exit_code == 0
    assert "mapcount layout --flavour no-page-mapcount --bits 32" in result.output


def test_importing_the_command_does_not_import_rich() -> None:
    """Start-up stays fast: the drawing's library is imported when there is something to draw."""
    code = "import sys, mapcount.cli.layout; sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_draw_refuses_what_cannot_stand_side_by_side() -> None:
    """Words of different widths, no layout and three layouts are errors."""
    wide, narrow = layout_of(PAGE_MAPCOUNT), layout_of(PAGE_MAPCOUNT.on(32))
    for layouts in ([wide, narrow], [], [layout_of(V6_14), wide, layout_of(NO_PAGE_MAPCOUNT)]):
        with pytest.raises(ValueError, match="one layout, or two of the same number of bits"):
            draw_layouts(layouts)
