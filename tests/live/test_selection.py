"""Which processes an option means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mapcount.live.selection import NothingSelected, Selection, check_numbers, select
from mapcount.live.snapshot import MemoryStat

from .fakes import MemorySource, process

SOURCE = MemorySource(
    [
        process(1, comm="init"),
        process(2, comm="nginx", cgroup="/web"),
        process(3, comm="nginx", cgroup="/web/blue"),
        process(4, comm="php-fpm", cgroup="/web/blue"),
        process(5, comm="nginx", cgroup="/website"),
        process(6, comm="a-very-long-nam", cgroup="/"),
    ],
    refusing={7: "Permission denied"},
    stats=[MemoryStat(path, 1, 0, 0, 0) for path in ("/", "/web", "/empty", "/system.slice/db.service")],
)


@pytest.mark.parametrize(
    ("pids", "selection"),
    [
        ((1, 2, 3, 4, 5, 6, 7), Selection()),
        ((1, 4), Selection(pids=(4, 1, 4))),
        ((2, 3, 5), Selection(comms=("nginx",))),
        ((2, 3, 4, 5), Selection(comms=("nginx", "php-fpm"))),
        ((4,), Selection(comms=("php*",))),
        ((6,), Selection(comms=("a-very-long-name-indeed",))),
        ((2, 3, 4), Selection(cgroups=("/web",))),
        ((2, 3, 4), Selection(cgroups=("web/",))),
        ((2, 3, 4), Selection(cgroups=("/sys/fs/cgroup/web",))),
        ((2, 3, 4), Selection(cgroups=("/sys/fs/cgroup/memory/web/",))),
        ((3, 4), Selection(cgroups=("/sys/fs/cgroup/unified/web/blue", "//web//blue/"))),
        ((1, 2, 3, 4, 5, 6), Selection(cgroups=("/sys/fs/cgroup",))),
        ((1, 2, 3, 4, 5, 6), Selection(cgroups=("/sys/fs/cgroup/memory",))),
        ((), Selection(cgroups=("/empty",))),
        ((1, 2, 3, 4, 5, 6), Selection(cgroups=("/",))),
        ((2, 3), Selection(cgroups=("/web",), comms=("nginx",))),
        ((3,), Selection(pids=(3, 4), cgroups=("/web",), comms=("nginx",))),
        ((), Selection(comms=("ngin",))),
    ],
)
def test_what_is_selected(pids: tuple[int, ...], selection: Selection) -> None:
    """Values of one option widen the selection, different options narrow it."""
    assert pids == select(SOURCE, selection).pids


def test_a_process_that_refuses_is_named() -> None:
    """Who will not say its name may have been meant, and is named with its reason."""
    (refused,) = select(SOURCE, Selection(comms=("nginx",))).unreadable
    assert (7, "Permission denied") == (refused.pid, refused.reason)


def test_a_number_is_taken_as_it_is() -> None:
    """A process asked for by number that does not exist is not passed over silently."""
    assert (1, 99) == select(SOURCE, Selection(pids=(1, 99))).pids


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("/webs", "/web"),
        ("/web/green", "/web"),
        ("db.service", "/system.slice/db.service"),
        ("/sys/fs/cgroup/memory/db.service", "/system.slice/db.service"),
        ("/web/blue/x", "/web/blue"),
        ("/nothing/like/it", "/"),
    ],
)
def test_a_control_group_that_is_not_there(asked: str, nearest: str) -> None:
    """A group that does not exist is an error, which names the one that may have been meant."""
    message = f"no control group {asked}; the nearest there is: {nearest}$"
    with pytest.raises(NothingSelected, match=message):
        select(SOURCE, Selection(cgroups=(asked,)))


def test_a_number_that_is_no_process() -> None:
    """A number asked for must be a process somewhere; one that refuses is one."""
    other = MemorySource([process(8)], name="other")
    check_numbers([SOURCE, other], Selection(pids=(1, 7, 8)))
    check_numbers([SOURCE], Selection())
    with pytest.raises(NothingSelected, match=r"no such process: 9$"):
        check_numbers([SOURCE, other], Selection(pids=(1, 9)))


@pytest.mark.parametrize(
    ("selection", "pids", "itself"),
    [
        (Selection(), (1, 2, 4, 5, 6, 7), 3),
        (Selection(comms=("nginx",)), (2, 5), 3),
        (Selection(cgroups=("/web/blue",)), (4,), 3),
        (Selection(comms=("init",)), (1,), None),
        (Selection(pids=(3, 4)), (3, 4), None),
        (Selection(pids=(3, 4), comms=("nginx",)), (3,), None),
    ],
)
def test_whoever_reads_is_not_meant(selection: Selection, pids: tuple[int, ...], itself: int | None) -> None:
    """The reader's own process is left out, and said to be, unless its number was asked for."""
    source = replace(SOURCE, own_pid=3)
    selected = select(source, selection)
    assert (pids, itself) == (selected.pids, selected.itself)
    assert 3 in select(source, Selection(), itself=True).pids
