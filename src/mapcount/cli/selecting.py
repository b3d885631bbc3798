"""The options by which `audit` and `capture` are told which processes are meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mapcount.live.selection import Selection

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--pid",
        "pids",
        type=click.IntRange(min=1),
        multiple=True,
        metavar="P",
        help="This process. May be repeated.",
    ),
    click.option(
        "--cgroup",
        "cgroups",
        multiple=True,
        metavar="PATH",
        help="Processes in this control group and those below it: a path as in /proc/PID/cgroup, or below "
        "/sys/fs/cgroup. May be repeated.",
    ),
    click.option(
        "--comm",
        "comms",
        multiple=True,
        metavar="NAME",
        help="Processes of this name; * and ? stand for any characters, for one. May be repeated. "
        "Different options narrow each other.",
    ),
    click.option("--all", "everything", is_flag=True, help="Every process but this command itself."),
)


def selection_options(command: Command) -> Command:
    """Give a command the options, as `pids`, `cgroups`, `comms` and `everything`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def selection_of(
    pids: Sequence[int], cgroups: Sequence[str], comms: Sequence[str], *, everything: bool
) -> Selection:
    """What the options mean. Raises UsageError if they mean nothing, or all and some at once."""
    from mapcount.live.selection import Selection

    some = bool(pids or cgroups or comms)
    if everything and some:
        raise click.UsageError("--all is every process: leave --pid, --cgroup and --comm out, or --all")
    if not everything and not some:
        raise click.UsageError("which processes? say --pid P, --cgroup PATH, --comm NAME or --all")
    return Selection(pids=tuple(pids), cgroups=tuple(cgroups), comms=tuple(comms))
