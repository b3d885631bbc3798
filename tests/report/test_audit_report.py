"""What people read of an audit."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console
from tests.audit.audits import HOSTILE, audited

from mapcount.audit.machine import Audit
from mapcount.audit.overview import Overview
from mapcount.report.audit import draw_audit
from mapcount.report.audit_data import audit_as_data
from mapcount.report.audit_files import TABLES
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, V6_14


def drawn(*audits: Audit, width: int = 100, limit: int = 20, min_change: int = 0) -> str:
    """The report as plain text."""
    overview = Overview(audits or [audited()])
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    console.print(
        *draw_audit(overview, overview.chosen(min_change=min_change), limit=limit, width=width), sep="\n"
    )
    return out.getvalue()


def line(text: str, start: str) -> str:
    """The first line that begins so, with one space between words."""
    return next(" ".join(found.split()) for found in text.splitlines() if found.startswith(start))


def test_the_summary_comes_first() -> None:
    """Each number with what it is, what it would be, and the change; then mistakes, and what stays."""
    text = drawn()
    assert "memory: Linux 6.18.0-test, page-mapcount" == text.splitlines()[0]
    assert "3 processes read, 1 could not be read" == text.splitlines()[1]
    assert "Rss 624K 624K none" == line(text, "  Rss")
    assert "Pss 624K 624K none" == line(text, "  Pss")
    assert "Uss 624K 432K -192K" == line(text, "  Uss")
    assert "Uss changes in 1 process: a page is private if its folio is." in text.splitlines()
    assert "Pss changes" not in text
    assert "3 of one process alone mistaken for shared: 192K in 1 process" in text
    assert "the OOM killer goes by Rss" in text
    assert text.index("Uss") < text.index("Processes") < text.index("Large folios by size")


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize(("machines", "of"), [(1, "whole machine"), (2, "2 whole machines")])
def test_the_summary_says_what_its_numbers_are_of(width: int, machines: int, of: str) -> None:
    """Rss, Pss and Uss stand under the sum of the processes that were chosen, the rest under the machine."""
    lines = drawn(*[audited(release=f"{i}.capture") for i in range(machines)], width=width).splitlines()
    starts = [row.strip() for row in lines]
    summed = starts.index(f"sum of {3 * machines} processes")
    assert ["Rss", "Pss", "Uss"] == [row.split()[0] for row in starts[summed + 1 : summed + 4]]
    assert starts[summed + 4].startswith(of)
    assert "(meminfo)" in " ".join(starts[summed + 4 : summed + 6])
    after = [row.split()[0] for row in starts[summed + 5 : summed + 8]]
    assert ["AnonPages", "Mapped"] == [name for name in after if name in ("AnonPages", "Mapped")]


def test_who_could_not_be_read_is_named() -> None:
    """A process that refused is named with its reason, and makes statistics lower bounds."""
    text = drawn()
    assert "not read, permission denied: 12 (refuses)" in text
    assert "AnonPages 1M 1.03M at least +32K" == line(text, "  AnonPages")
    assert "Mapped 512K 512K none seen" == line(text, "  Mapped")
    assert "processes that could not be read" in line(text, "at least:")


def test_processes_and_folios() -> None:
    """A row for each process, a row for each size of folios, and the groups that change."""
    text = drawn()
    assert line(text, "10 ") == "10 big 192K 192K 192K 0 192K 0 -192K 192K"
    assert line(text, "9 ") == "9 half 32K 32K 32K 0 32K 32K 0 0"
    assert line(text, "64K") == "64K anon 4 256K 0 4 0 1 4 0 3"
    assert line(text, "/ ") == "/ 1M +32K 512K 0 0 ? none"
    assert line(text, "/a") == "/a 512K +32K 256K 0 0 512M 1G"


def test_what_mistakes_lead_to() -> None:
    """Each part of the kernel that asks has a line, if a mistake matters to it."""
    text = drawn()
    assert "192K copied if every page is written" in line(text, "copy-on-write")
    assert "3 folios skipped when a part" in line(text, "MADV_COLD")
    assert "3 folios not moved" in line(text, "mbind")
    assert "khugepaged" not in text


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120])
@pytest.mark.parametrize("machines", [1, 2])
def test_lines_fit(width: int, machines: int) -> None:
    """No line is wider than the terminal, with long names too, no number is cut off, a row is a line."""
    audits = [audited(release=f"/a/very/long/path/to/a/capture-{i}.capture") for i in range(machines)]
    text = drawn(*audits, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    listed = text.splitlines()[
        text.splitlines().index(next(t for t in text.splitlines() if "Processes" in t)) :
    ]
    assert 3 * machines == listed.index("") - 2


def test_a_release_from_outside_is_shortened() -> None:
    """A kernel's release is shown once, escaped, and however long it is, on one line."""
    found = audited()
    odd = replace(found, machine=replace(found.machine, release="6.18\x1b[2J" + "9" * 5000))
    text = drawn(odd, width=80)
    release = "memory: Linux 6.18\\x1b[2J" + "9" * 26 + "..., page-mapcount"
    assert release == text.splitlines()[0]
    assert 1 == text.count("6.18")


def test_the_reader_is_left_out_and_named() -> None:
    """The process that did the reading counts for nothing, and a line says so; JSON has its number."""
    found = replace(audited(), itself=4711)
    assert "left out: mapcount itself, which did the reading (process 4711)" in drawn(found).splitlines()
    overview = Overview([found])
    assert 4711 == audit_as_data(overview, overview.chosen())["machines"][0]["left_out_pid"]
    assert "left out" not in drawn(audited())


def test_names_from_outside_do_nothing() -> None:
    """A process's name cannot move the cursor, begin a line or turn the text around."""
    overview = Overview([audited()])
    assert "\x1b" not in drawn()
    assert "\u202e" not in drawn()
    assert "\\x1b[2J\\u202eev..." in drawn()
    data = audit_as_data(overview, overview.chosen())
    assert HOSTILE in [process["comm"] for process in data["machines"][0]["processes"]]
    assert "\x1b" not in json.dumps(data)
    assert "\x1b" not in str(TABLES["processes"](overview, overview.chosen()).rows)


def test_rows_are_limited() -> None:
    """`limit` shortens every table and says so; 0 is all."""
    assert "Processes (the first 1 of 3; --limit 0 shows all)" in drawn(limit=1)
    assert "half" not in drawn(limit=1)
    assert "--limit" not in drawn(limit=0)


def test_a_filter_that_leaves_nothing() -> None:
    """If no process changes by so much, that is said."""
    assert "No process changes by so much." in drawn(min_change=1000)


def test_moving_and_guessed_figures_are_marked() -> None:
    """What moved, and what is at best, has a mark at the number and a line that says why."""
    found = audited()
    first, *rest = found.processes
    moved = replace(found, processes=(replace(first, off_kib=40), *rest))
    text = drawn(moved)
    assert line(text, f"{first.pid} ") == "9 half 32K 32K 32K ~0 32K 32K ~0 0"
    assert line(text, "~").startswith(
        "~ 1 process moved while being read: pages and smaps differ by up to 40K"
    )
    odd = replace(found, processes=(replace(first, miscounted=2), *rest))
    assert "do not add up to what the kernel counts for 2 folios" in " ".join(drawn(odd).split())
    guessed = replace(found, processes=(replace(first, guessed_kib=24), *rest))
    assert "it may be lower by up to 24K" in " ".join(drawn(guessed).split())


def test_the_other_direction() -> None:
    """On a kernel without per-page counts, it is compared with one that has them."""
    text = drawn(audited(flavour=NO_PAGE_MAPCOUNT))
    assert "page-mapcount" == text.splitlines()[4].split()[1]
    assert "page tables of 1 process could not be read" in " ".join(text.split())
    assert "AnonPages 1M 992K at least -32K" == line(text, "  AnonPages")


def test_what_could_not_be_judged_is_counted() -> None:
    """Folios of which flag or truth is not known are counted, beside those that are known to be mistaken."""
    found = audited()
    row = replace(found.folios[0], not_judged=2)
    text = " ".join(drawn(replace(found, folios=(row,))).split())
    assert (
        "mistaken for shared: 192K in 1 process; of 2 it is not known whether the kernel is mistaken" in text
    )
    assert line(drawn(replace(found, folios=(row,))), "64K").endswith("3?")


def test_both_kinds_of_mistakes() -> None:
    """Before 6.15 the kernel may also take shared folios for exclusive ones."""
    found = audited(flavour=V6_14)
    row = replace(found.folios[0], mistaken_for_exclusive=2)
    assert "2 shared folios mistaken for exclusive" in drawn(replace(found, folios=(row,)))


def test_nothing_to_predict() -> None:
    """Without page frames there are no columns of guesses, but question marks and the reason."""
    text = drawn(audited(frames=False, folios=False, limits=("page frames are hidden: run as root",)))
    assert "page frames are hidden: run as root" in text
    assert line(text, "10 ") == "10 big 192K 192K ? ? 192K ? ? ?"
    assert "under" not in text


def test_several_machines() -> None:
    """A table has a row for each machine, and processes say where they are."""
    text = drawn(audited(release="/x/one.capture"), audited(release="/x/two.capture"))
    assert "2 machines" == text.splitlines()[0]
    assert line(text, "one ").startswith("one /x/one.capture 3 624K 0 624K -192K at least +32K 192K")
    assert line(text, "two:10").startswith("two:10 big")
    assert "one: not read, permission denied: 12 (refuses)" in text


def test_data_has_everything() -> None:
    """Plain data holds every number, and its names end in units."""
    overview = Overview([audited()])
    data = audit_as_data(overview, overview.chosen("pid"))
    machine = data["machines"][0]
    big = next(process for process in machine["processes"] if process["pid"] == 10)
    assert {"rss_kib": 192, "pss_kib": 192, "uss_kib": 192} == big["now"]
    assert 0 == big["under"]["no-page-mapcount"]["uss_kib"]
    assert 192 == big["mistakes"]["copied_kib"]
    assert [{"pid": 12, "comm": "refuses", "reason": "permission denied"}] == machine["unreadable"]
    assert (False, True) == (machine["complete"], machine["whole"])
    assert 1056 == data["total"]["meminfo"]["AnonPages"]["under"]["total-mapped-pages"]
    assert 192 == data["total"]["mistaken_kib"]


@pytest.mark.parametrize(("name", "rows"), [("processes", 3), ("folios", 1), ("cgroups", 2)])
def test_tables_for_files(name: str, rows: int) -> None:
    """Each table has a cell for each column in each row, of the column's type."""
    overview = Overview([audited()])
    table = TABLES[name](overview, overview.chosen())
    assert rows == len(table.rows)
    for row in table.rows:
        assert len(table.names) == len(row)
        for column, cell in zip(table.names, row, strict=True):
            assert cell is None or isinstance(cell, str if column in table.texts else int)


def test_captures_of_one_name() -> None:
    """Two captures of the same name are counted apart, and told apart in narrow tables too."""
    same = audited(release="/x/a-long-name.capture")
    text = drawn(same, same, width=80)
    assert line(text, "...-name ").startswith("...-name 3 624K")
    assert line(text, "...e (2) ").startswith("...e (2) 3 624K")
    assert line(text, "...e (2):10").startswith("...e (2):10 big")
