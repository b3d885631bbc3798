"""Which control group a path means: paths are copied from /proc/PID/cgroup, from systemd-cgls, and from /sys.

`/web`, `web/` and `/sys/fs/cgroup/web` are one group; with version 1, `/sys/fs/cgroup/memory/web` is, too.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Collection, Iterator

MOUNT = "/sys/fs/cgroup"
HIERARCHIES = ("memory", "unified")
"""Directories below it that are hierarchies of their own (version 1, and version 2 beside it)."""
ALIKE = 0.75
"""How alike a path has to be to be worth mentioning, as difflib counts: 1 is the same."""


def group_meant(asked: str, groups: Collection[str]) -> str | None:
    """The group of `groups` that a path means; None if it means none of them."""
    return next((path for path in _readings(asked) if path in groups), None)


def nearest_group(asked: str, groups: Collection[str]) -> str:
    """What may have been meant: a group of that name elsewhere, one spelled alike, or the nearest above."""
    path = list(_readings(asked))[-1]
    of_that_name = [group for group in groups if posixpath.basename(group) == posixpath.basename(path)]
    if of_that_name:
        return min(of_that_name, key=lambda group: (len(group), group))
    if alike := difflib.get_close_matches(path, sorted(groups), 1, ALIKE):
        return alike[0]
    while path != "/" and path not in groups:
        path = posixpath.dirname(path)
    return path


def with_parents(path: str) -> Iterator[str]:
    """`/a/b`, `/a`, `/`."""
    while path not in ("/", ""):
        yield path
        path = posixpath.dirname(path)
    yield "/"


def _readings(asked: str) -> Iterator[str]:
    """What a path can mean, the most literal first."""
    path = posixpath.normpath("/" + asked.lstrip("/"))
    if not f"{path}/".startswith(MOUNT + "/"):
        yield path
        return
    path = path.removeprefix(MOUNT) or "/"
    yield path
    for hierarchy in HIERARCHIES:
        if f"{path}/".startswith(f"/{hierarchy}/"):
            yield path.removeprefix(f"/{hierarchy}") or "/"
