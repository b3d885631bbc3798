"""Which processes were asked for: by number, by name, by control group, or all of them.

Several values of one option widen the selection, different options narrow it, as with pgrep:
`--cgroup /web --comm nginx --comm php` is every nginx and every php in /web.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

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


def select(source: Source, selection: Selection) -> Selected:
    """The processes of `source` that were asked for.

    A number asked for is not looked up: if it is no process, whoever reads it will hear so.
    """
    candidates = tuple(sorted(set(selection.pids))) or tuple(source.pids())
    if not (selection.comms or selection.cgroups):
        return Selected(candidates, ())
    pids: list[int] = []
    unreadable: list[Unreadable] = []
    for pid in candidates:
        try:
            if selection.wants(source.identity(pid)):
                pids.append(pid)
        except Unreadable as reason:
            unreadable.append(reason)
    return Selected(tuple(pids), tuple(unreadable))


def _named(comm: str, wanted: str) -> bool:
    """Is this the name, cut as the kernel cuts it, or does it fit the pattern?"""
    cut = wanted.encode(errors="surrogateescape")[:TASK_COMM_LEN]
    return comm.encode(errors="surrogateescape") == cut or fnmatchcase(comm, wanted)


def _below(cgroup: str, path: str) -> bool:
    """Is this the control group at `path`, or one below it?"""
    wanted = "/" + path.strip("/")
    return wanted == "/" or cgroup == wanted or cgroup.startswith(wanted + "/")
