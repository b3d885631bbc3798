"""Which processes were asked for: by number, by name, by control group, or all of them.

Several values of one option widen the selection, different options narrow it, as with pgrep:
`--cgroup /web --comm nginx --comm php` is every nginx and every php in /web.

Whoever reads is a process too, and its memory changes by the reading. It is not meant, unless by its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from mapcount.live.cgroup_paths import group_meant, nearest_group, with_parents
from mapcount.live.snapshot import Identity, Source, Unreadable

TASK_COMM_LEN = 15
"""Bytes of a process's name that the kernel keeps."""


class NothingSelected(ValueError):
    """No process is what was asked for."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for. Nothing asked for is every process."""

    pids: tuple[int, ...] = ()
    comms: tuple[str, ...] = ()
    """Names, or patterns with `*`, `?` and `[...]` as a shell has them."""
    cgroups: tuple[str, ...] = ()
    """Paths below the memory hierarchy's root; groups below a path belong to it."""

    def wants(self, who: Identity) -> bool:
        """Was this process asked for?"""
        return (
            (not self.pids or who.pid in self.pids)
            and (not self.comms or any(_named(who.comm, comm) for comm in self.comms))
            and (not self.cgroups or any(_below(who.cgroup, path) for path in self.cgroups))
        )


@dataclass(frozen=True, slots=True)
class Selected:
    """The processes asked for, in the order of their numbers, and those that would not say who they are."""

    pids: tuple[int, ...]
    unreadable: tuple[Unreadable, ...]
    itself: int | None = None
    """The reader's own number, if the selection fits it and it was left out."""


def check_numbers(sources: Sequence[Source], selection: Selection) -> None:
    """Raise NothingSelected for a number asked for that is no process in any source."""
    for pid in selection.pids:
        reasons = [source.absent(pid) for source in sources]
        if all(reasons):
            raise NothingSelected(str(reasons[0]))


def select(source: Source, selection: Selection, *, itself: bool = False) -> Selected:
    """The processes of `source` that were asked for; `itself`: whoever reads, too.

    A number asked for is not looked up: if it is no process, whoever reads it will hear so. Raises
    NothingSelected for a control group that does not exist.
    """
    candidates = tuple(sorted(set(selection.pids))) or tuple(source.pids())
    unasked = None if itself or selection.pids else source.own_pid
    if not (selection.comms or selection.cgroups):
        others = tuple(pid for pid in candidates if pid != unasked)
        return Selected(others, (), unasked if len(others) < len(candidates) else None)
    known: dict[int, Identity] = {}
    unreadable: list[Unreadable] = []
    for pid in candidates:
        try:
            known[pid] = source.identity(pid)
        except Unreadable as reason:
            unreadable.append(reason)
    meant = replace(selection, cgroups=_existing(source, selection.cgroups, known.values()))
    wanted = [pid for pid, who in known.items() if meant.wants(who)]
    others = tuple(pid for pid in wanted if pid != unasked)
    return Selected(others, tuple(unreadable), unasked if len(others) < len(wanted) else None)


def _existing(source: Source, asked: Sequence[str], known: Iterable[Identity]) -> tuple[str, ...]:
    """The control groups that are meant. Raises NothingSelected for one that does not exist."""
    groups = {path for who in known for path in with_parents(who.cgroup)} if asked else set()
    found = []
    for path in asked:
        group = group_meant(path, groups)
        if group is None:  # one without processes, perhaps
            groups |= {stat.path for stat in source.memory_stats()}
            group = group_meant(path, groups)
        if group is None:
            raise NothingSelected(
                f"no control group {path}; the nearest there is: {nearest_group(path, groups)}"
            )
        found.append(group)
    return tuple(found)


def _named(comm: str, wanted: str) -> bool:
    """Is this the name, cut as the kernel cuts it, or does it fit the pattern?"""
    cut = wanted.encode(errors="surrogateescape")[:TASK_COMM_LEN]
    return comm.encode(errors="surrogateescape") == cut or fnmatchcase(comm, wanted)


def _below(cgroup: str, path: str) -> bool:
    """Is this the control group at `path`, or one below it?"""
    return path in with_parents(cgroup)
