"""Which processes an option means."""

from __future__ import annotations

import pytest

from mapcount.live.selection import Selection, select

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
