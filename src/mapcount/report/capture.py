"""What `mapcount capture` has written, for people and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mapcount.live.capture_write import Hiding, Written
from mapcount.live.snapshot import Unreadable
from mapcount.report.words import plural, size
from mapcount.scenario.syntax import visible

MOST_NAMED = 8
"""Processes named for one reason why they could not be read; the capture has all of them."""


def draw_written(written: Written, hiding: Hiding) -> Iterator[str]:
    """Lines: what is in it, what is hidden, what could not be read and why."""
    rows = written.rows
    yield (
        f"wrote {visible(str(written.path))} ({size(-(-written.bytes // 1024))}): "
        f"{plural(rows['processes'], 'process', 'processes')}"
        f"{', this command among them' * written.itself}, "
        f"{plural(rows['regions'], 'region')}, {plural(rows['runs'], 'run of pages', 'runs of pages')}"
    )
    yield (
        "frame numbers and addresses are replaced by running numbers"
        if hiding.places
        else "it holds frame numbers and addresses, which are secret: give it to nobody you do not trust"
    )
    yield (
        "names of processes, files and control groups are replaced as well"
        if hiding.names
        else "names of processes, files and control groups are as they were (--anonymise hides them)"
    )
    for path in written.removed:
        yield f"removed what a capture that was killed had left behind: {visible(str(path))}"
    yield from draw_unreadable(written.unreadable)
    yield from (f"limit: {visible(limit)}" for limit in written.machine.limits)
    yield f"look at it anywhere: mapcount audit --from {visible(str(written.path))}"


def draw_unreadable(unreadable: Sequence[Unreadable]) -> Iterator[str]:
    """Who could not be read, by reason."""
    reasons: dict[str, list[str]] = {}
    for who in unreadable:
        reasons.setdefault(visible(who.reason), []).append(f"{who.pid} ({visible(who.comm)})")
    for reason, names in reasons.items():
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        yield f"not read, {reason}: {', '.join(names[:MOST_NAMED])}{more}"


def written_as_data(written: Written, hiding: Hiding) -> dict[str, object]:
    """The same as plain data."""
    return {
        "path": str(written.path),
        "rows": written.rows,
        "bytes": written.bytes,
        "raw": not hiding.places,
        "anonymised": hiding.names,
        "unreadable": [{"pid": u.pid, "comm": u.comm, "reason": u.reason} for u in written.unreadable],
        "removed": [str(path) for path in written.removed],
        "limits": list(written.machine.limits),
    }
