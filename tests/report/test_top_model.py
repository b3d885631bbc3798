"""What `mapcount top` knows and shows, without a terminal: pace, lists, and numbers of different ages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tests.audit.audits import HOSTILE, audited

from mapcount.audit.overview import Overview, Row
from mapcount.audit.smaps import Memory
from mapcount.live.snapshot import Identity, Unreadable
from mapcount.report.top.changes import Changes
from mapcount.report.top.head import ages, as_many_as_fit, draw_machine
from mapcount.report.top.listing import GAP, Column, Listing, fitted
from mapcount.report.top.pace import WINDOW, Meter, Pace
from mapcount.report.top.processes import ORDERS, age, process_listing
from mapcount.report.top.watch import Audited, Glanced, Line, Looked, Watch

# -- pace -----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), st.floats(0.5, 10), st.sampled_from([0.01, 0.05]))
def test_reading_never_takes_more_than_its_share(costs: list[float], interval: float, share: float) -> None:
    """From one beginning to the next, no more CPU time than the share, and at least the interval."""
    pace, now = Pace(interval, share), 0.0
    for cost in costs:
        began = now
        pace.done(began, cost)
        now = began + pace.wait(began)
        assert now - began >= interval - 1e-9
        assert cost <= (now - began) * share + 1e-9


def test_what_is_due_does_not_wait() -> None:
    """At first, and after the time has passed, there is nothing to wait for."""
    pace = Pace(2.0, 0.05)
    assert 0.0 == pace.wait(100.0)
    pace.done(100.0, 0.0)
    assert (1.5, 0.0) == (pace.wait(100.5), pace.wait(103.0))


def test_the_meter_looks_back_a_minute() -> None:
    """What was long ago does not count, and one number alone says nothing."""
    meter = Meter()
    meter.note(0.0, 0.0)
    assert meter.share() is None
    meter.note(1.0, 0.9)
    assert 0.9 == meter.share()
    for second in range(2, 200):
        meter.note(second, 0.9 + 0.05 * (second - 1))
    share = meter.share()
    assert share is not None
    assert 0.05 == pytest.approx(share)
    assert WINDOW > 0


# -- lists ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 30), st.integers(0, 4)), min_size=1, max_size=10),
    st.integers(1, 200),
)
def test_columns_fit(shapes: list[tuple[int, int, int]], width: int) -> None:
    """Columns that may be left out are, until the rest fits; no column is narrower than it says."""
    columns = [Column[int]("", w, str, most=m, leave_out=out) for w, m, out in shapes]
    found = fitted(columns, width)
    used = sum(size for _, size in found) + GAP * (len(found) - 1)
    assert used <= width or not any(column.leave_out for column, _ in found)
    assert all(column.width <= size <= max(column.width, column.most) for column, size in found)
    assert [column for column, _ in found] == [c for c in columns if c in [kept for kept, _ in found]]


def test_the_least_important_columns_are_left_out_first() -> None:
    """By the number each column has; those with the same number go together."""
    columns = [
        Column[int](name, 5, str, leave_out=out) for name, out in (("a", 0), ("b", 2), ("c", 1), ("d", 2))
    ]
    names = {width: [column.heading for column, _ in fitted(columns, width)] for width in (26, 25, 12, 11, 1)}
    assert {26: list("abcd"), 25: list("ac"), 12: list("ac"), 11: ["a"], 1: ["a"]} == names


def test_rows_are_sorted_and_filtered() -> None:
    """Case does not matter to a filter, and the next order follows the last one round and round."""
    listing = Listing[str](
        [], {"up": lambda word: word, "length": lambda word: (-len(word), word)}, hash, lambda word: word
    )
    listing.rows = ["beta", "Alphabet", "gamma"]
    listing.filter = "BET"
    listing.arrange()
    assert ["Alphabet", "beta"] == listing.shown
    listing.filter = ""
    listing.sort_by_next()
    assert ("length", ["Alphabet", "gamma", "beta"]) == (listing.sort, listing.shown)
    listing.sort_by_next()
    assert "up" == listing.sort


def test_every_order_of_processes_is_of_all_of_them() -> None:
    """Whatever they are sorted by, also before anything is known of them, none is lost."""
    listing = process_listing(lambda: 0.0)
    listing.rows = [*lines(), Line(99, "new", "/")]
    for listing.sort in ORDERS:
        listing.arrange()
        assert {9, 10, 11, 99} == {line.pid for line in listing.shown}


def test_the_largest_change_comes_first() -> None:
    """Which is what somebody opens this for."""
    listing = process_listing(lambda: 0.0)
    listing.rows = lines()
    listing.arrange()
    assert 10 == listing.shown[0].pid


def test_cells_of_a_process() -> None:
    """The numbers of the audit in its words; unknown is `?`, and names do nothing to a terminal."""
    listing = process_listing(lambda: 12.0)
    known = {line.pid: line for line in lines(at=7.0)}
    assert ["10", "big", "192K", "192K", "192K", "0", "192K", "0", "-192K", "192K", "5s", "/a"] == [
        column.of(known[10]).text for column in listing.columns
    ]
    assert [False] * 9 + [True] + [False] * 2 == [column.of(known[10]).bad for column in listing.columns]
    new = Line(99, HOSTILE, "/a\x1b[2J")
    texts = [column.of(new).text for column in listing.columns]
    assert ["?", "?", "?", "?", "?", ""] == [texts[i] for i in (4, 5, 7, 8, 9, 10)]
    assert all(text.isprintable() for text in texts)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0s"),
        (0.9, "0s"),
        (99, "99s"),
        (100, "1m"),
        (5999, "99m"),
        (6000, "1h"),
        (172800, "2d"),
        (1e9, "999d"),
    ],
)
def test_ages(seconds: float, words: str) -> None:
    """At most four characters, and never older than it is."""
    assert words == age(seconds)


# -- what is known --------------------------------------------------------------------------------------


def overview() -> Overview:
    """The audit of the made-up machine."""
    return Overview([audited()])


def lines(at: float = 0.0) -> list[Line]:
    """Its processes, all of them read."""
    watch = Watch()
    watch.audited(Audited(at, overview(), {}))
    return list(watch.lines.values())


def rollup(kib: int) -> dict[str, int]:
    """Of a process that shares nothing."""
    return {"Rss": kib, "Pss": kib, "Private_Clean": 0, "Private_Dirty": kib}


def names(*pids: int) -> dict[int, Identity]:
    """Who they are."""
    return {pid: Identity(pid, f"p{pid}", "/") for pid in pids}


def test_a_glance_comes_before_an_audit() -> None:
    """Sizes are known at once, what would be is not."""
    watch = Watch()
    watch.glanced(Glanced(1.0, {10: rollup(192)}, names(10)))
    line = watch.lines[10]
    assert ("p10", Memory(192, 192, 192), None, None) == (line.comm, line.now, line.then, line.read_at)
    assert watch.ages(3.0) is None


def test_sizes_move_on_from_what_smaps_said() -> None:
    """Rounding differs between smaps and smaps_rollup: only what changed since is added."""
    watch = Watch()
    off = rollup(192) | {"Pss": 195}
    watch.audited(Audited(1.0, overview(), {10: off}))
    assert 192 == watch.lines[10].now.pss_kib
    watch.glanced(Glanced(2.0, {10: off | {"Rss": 200, "Pss": 203}}, {}))
    line = watch.lines[10]
    assert Memory(200, 200, 192) == line.now
    assert Memory(200, 200, 0) == line.then
    assert -192 == line.row.uss_change if line.row else None


def test_who_is_gone_is_forgotten_and_who_is_new_is_there() -> None:
    """Each reading of everybody says who there is."""
    watch = Watch()
    watch.audited(Audited(1.0, overview(), {}))
    assert {9, 10, 11} == set(watch.lines)
    assert [12] == [who.pid for who in watch.unreadable]
    watch.glanced(Glanced(2.0, {10: rollup(1), 50: rollup(2)}, names(50)))
    assert {10, 50} == set(watch.lines)
    watch.gone("nobody fits")
    assert ({}, None) == (watch.lines, watch.overview)
    assert "nobody fits" in draw_machine(watch, "m", "6.18", "page-mapcount").plain


def test_a_look_is_at_one_process() -> None:
    """Its numbers are younger than the others'; if it cannot be read any more it is gone."""
    watch = Watch()
    watch.audited(Audited(1.0, overview(), {}))
    row = watch.lines[10].row
    assert row
    younger = replace(row, process=replace(row.process, comm="renamed"))
    watch.looked(Looked(5.0, 10, younger, rollup(192)))
    assert ("renamed", (1.0, 5.0)) == (watch.lines[10].comm, watch.ages(6.0))
    watch.looked(Looked(7.0, 10, None, {}, Unreadable(10, "big", "it exited")))
    assert 10 not in watch.lines


def test_sums_are_of_the_lines() -> None:
    """Now and then, over all processes; those not predicted stay as they are."""
    watch = Watch()
    watch.audited(Audited(1.0, overview(), {pid: rollup(0) for pid in (9, 10, 11)}))
    watch.glanced(Glanced(2.0, {pid: rollup(0) for pid in (9, 10, 11)} | {50: rollup(100)}, names(50)))
    assert Memory(724, 724, 724) == watch.now
    assert Memory(724, 724, 532) == watch.then


# -- changes --------------------------------------------------------------------------------------------


def test_new_ones_first_then_the_longest_unread() -> None:
    """Of those that say something else than when they were read; a reference alone is no change."""
    changes = Changes()
    assert changes.next() is None
    changes.seen({1: rollup(1), 2: rollup(2), 3: rollup(3)})
    changes.read(1, rollup(1), 10.0)
    changes.read(2, rollup(0), 12.0)
    assert 3 == changes.next()
    changes.read(3, rollup(0), 11.0)
    assert 3 == changes.next()
    changes.seen({1: rollup(1), 2: rollup(2), 3: rollup(3) | {"Referenced": 9}})
    changes.read(3, rollup(3) | {"Referenced": 5}, 13.0)
    assert 2 == changes.next()
    changes.read(2, rollup(2), 14.0)
    assert changes.next() is None


def test_who_is_gone_is_not_read() -> None:
    """And if the number comes back, it is somebody new."""
    changes = Changes()
    changes.seen({1: rollup(1)})
    changes.read(1, rollup(1), 10.0)
    changes.seen({})
    assert changes.next() is None
    changes.seen({1: rollup(1)})
    assert 1 == changes.next()


# -- head -----------------------------------------------------------------------------------------------


def test_the_head_in_eighty_columns() -> None:
    """Sums now, then, and the change; what is at least is marked so; who could not be read is counted."""
    watch = Watch()
    watch.audited(Audited(1.0, overview(), {}))
    drawn = draw_machine(watch, "memory\x1b", "6.18.0\x1b", "page-mapcount").plain.splitlines()
    assert [
        r"memory\x1b: Linux 6.18.0\x1b, page-mapcount; 1 process could not be read",
        "3 processes                Rss     Pss     Uss  machine:  AnonPages     Mapped",
        "now                       624K    624K    624K                   1M       512K",
        "under no-page-mapcount    624K    624K    432K                1.03M       512K",
        "change                    none    none   -192K               >=+32K  none seen",
        "4 large folios (256K), 3 of one process alone mistaken for shared: 192K",
    ] == [line.rstrip() for line in drawn]
    assert max(map(cell_len, drawn)) <= 80


def test_without_frames_nothing_is_claimed() -> None:
    """Where nothing can be predicted there are question marks, and the first reason."""
    watch = Watch()
    found = audited()
    blind = replace(
        found,
        processes=tuple(replace(each, under={}) for each in found.processes),
        folios=(),
        meminfo={},
        machine=replace(found.machine, limits=("run as root", "and more")),
    )
    watch.audited(Audited(1.0, Overview([blind]), {}))
    drawn = draw_machine(watch, "m", "6.18", "page-mapcount").plain
    assert "under no-page-mapcount       ?       ?       ?" in drawn
    assert "whether there are large folios is not known" in drawn
    assert "(2 things are not known here, n tells) run as root" in drawn
    assert ["read 2s ago"] == ages(watch, 3.0, None)


def test_ages_of_all_readings() -> None:
    """Predictions, sizes, and when everything is read again."""
    watch = Watch()
    watch.audited(Audited(1.0, overview(), {9: rollup(1)}))
    assert ["predicted 10s ago", "sizes 10s ago", "all in 4s"] == ages(watch, 11.0, 4.2)
    row: Row | None = watch.lines[10].row
    watch.looked(Looked(9.0, 10, row, rollup(192)))
    assert ["predicted 2s-10s ago", "sizes 10s ago", "reading all"] == ages(watch, 11.0, 0.0)


@given(st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=6), st.integers(9, 60))
def test_a_line_of_what_fits(parts: list[str], width: int) -> None:
    """What comes first is there, in order, and no more than there is room for."""
    line = as_many_as_fit(parts, width)
    assert len(line) <= width
    assert " | ".join(parts).startswith(line)
