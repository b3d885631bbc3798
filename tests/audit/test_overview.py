"""Audits together: order, filter, totals, names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mapcount.audit.overview import SORT_KEYS, Overview
from mapcount.cli.audit import SORT
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

from .audits import HOSTILE, audited

BIG, HALF, SMALL = 10, 9, 11


@pytest.mark.parametrize(
    ("sort", "pids"),
    [
        ("change", [BIG, SMALL, HALF]),
        ("uss-change", [BIG, HALF, SMALL]),
        ("pss-change", [HALF, BIG, SMALL]),
        ("rss", [SMALL, BIG, HALF]),
        ("pss", [SMALL, BIG, HALF]),
        ("uss", [SMALL, BIG, HALF]),
        ("mistaken", [BIG, HALF, SMALL]),
        ("copied", [BIG, HALF, SMALL]),
        ("name", [SMALL, BIG, HALF]),
        ("pid", [HALF, BIG, SMALL]),
    ],
)
def test_order(sort: str, pids: list[int]) -> None:
    """Sizes are sorted from large to small, the rest from small to large; equal ones by number."""
    assert pids == [row.process.pid for row in Overview([audited()]).chosen(sort)]


def test_the_command_offers_every_order() -> None:
    """What can be sorted by can be asked for."""
    assert tuple(SORT_KEYS) == SORT


def test_small_changes_are_left_out() -> None:
    """`min_change` lists only processes whose Pss or Uss changes by so much."""
    overview = Overview([audited()])
    assert [3, 1, 1, 0] == [len(overview.chosen(min_change=kib)) for kib in (0, 1, 192, 193)]


def test_totals_are_sums() -> None:
    """All processes together: what is, what would be, and what the kernel is mistaken about."""
    overview = Overview([audited()])
    assert (624, 624, 624) == (overview.now.rss_kib, overview.now.pss_kib, overview.now.uss_kib)
    assert (624, 624 - 192) == (
        overview.under(NO_PAGE_MAPCOUNT).pss_kib,
        overview.under(NO_PAGE_MAPCOUNT).uss_kib,
    )
    assert (192, 3) == (overview.mistaken_kib, overview.mistakes.folios)
    assert 32 == overview.meminfo["AnonPages"].under["no-page-mapcount"] - 1024


def test_machines_are_told_apart() -> None:
    """Several machines add up; their processes carry the machine's name, numbered where it is needed."""
    one, two = audited(release="/x/one.capture"), audited(release="/x/two.capture")
    overview = Overview([one, two])
    assert ["one", "two"] == overview.names
    assert ["one", "one", "one", "two", "two", "two"] == [row.machine for row in overview.chosen("pid")]
    assert 2 * 624 == overview.now.rss_kib
    assert 2 * 1024 == overview.meminfo["AnonPages"].now_kib
    assert [replace(row, **{n: 2 * getattr(row, n) for n in COUNTS}) for row in one.folios] == list(
        overview.folios
    )
    assert ["one", "one (2)"] == Overview([one, audited(release="/y/one.capture")]).names
    assert [""] == Overview([one]).names


COUNTS = (
    "folios", "by_pmd", "by_pte", "by_both", "partly_mapped", "exclusive", "shared", "mistaken_for_shared",
    "mistaken_for_exclusive", "not_judged",
)  # fmt: skip


def test_nothing_to_predict() -> None:
    """Without page frames nothing is predicted, and what is stays what it is."""
    overview = Overview([audited(frames=False)])
    assert not overview.predicted
    assert 624 == overview.under(NO_PAGE_MAPCOUNT).uss_kib
    assert {HOSTILE, "big", "half"} == {row.process.comm for row in overview.rows}
