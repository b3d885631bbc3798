"""What is known of a machine's processes, from readings of different ages, and how old each number is.

There are three readings. A *glance* costs little: smaps_rollup of everybody. An *audit* reads what everybody
maps, and is the only one that says something of the machine. A *look* is an audit of one process. A number
is always the latest one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mapcount.audit.overview import Overview, Row
from mapcount.audit.smaps import Memory
from mapcount.live.snapshot import Identity, Unreadable

NOTHING = Memory(0, 0, 0)

Rollup = Mapping[str, int]
"""The fields of smaps_rollup, in KiB."""


@dataclass(frozen=True, slots=True)
class Glanced:
    """Everybody's smaps_rollup."""

    at: float
    rollups: Mapping[int, Rollup]
    names: Mapping[int, Identity]
    """At least of those that were not there the last time."""
    unreadable: Sequence[Unreadable] = ()


@dataclass(frozen=True, slots=True)
class Audited:
    """What everybody maps. `rollups` are of the moment before."""

    at: float
    overview: Overview
    rollups: Mapping[int, Rollup]


@dataclass(frozen=True, slots=True)
class Looked:
    """What one process maps, or why that cannot be read. `rollup` is of the moment before."""

    at: float
    pid: int
    row: Row | None
    rollup: Rollup
    unreadable: Unreadable | None = None


@dataclass(slots=True)
class Line:
    """One process."""

    pid: int
    comm: str
    """Comes from outside, as `cgroup` does: escape it."""
    cgroup: str
    rollup: Rollup | None = None
    """The latest; None from a capture."""
    row: Row | None = None
    """What the last audit or look found; None before the first."""
    read_with: Rollup | None = None
    """smaps_rollup when that was read."""
    read_at: float | None = None
    now: Memory = NOTHING
    """The kernel's own words: what smaps said, moved on by what smaps_rollup has changed by since.

    So Pss does not jump by what rounding makes between the two.
    """

    def glanced(self, rollup: Rollup) -> None:
        """What smaps_rollup says has changed."""
        self.rollup = rollup
        seen = memory_of(rollup)
        if self.row and self.read_with:
            read, before = self.row.process.now, memory_of(self.read_with)
            seen = Memory(
                read.rss_kib + seen.rss_kib - before.rss_kib,
                read.pss_kib + seen.pss_kib - before.pss_kib,
                read.uss_kib + seen.uss_kib - before.uss_kib,
            )
        self.now = seen

    def read(self, at: float, row: Row, rollup: Rollup | None) -> None:
        """What it maps was read, and this is what smaps_rollup said before."""
        self.comm, self.cgroup = row.process.comm, row.process.cgroup
        self.row, self.read_at, self.rollup, self.read_with = row, at, rollup, rollup
        self.now = row.process.now

    @property
    def predicted(self) -> Row | None:
        """The row, if it says what would be under another kernel."""
        return self.row if self.row and self.row.then else None

    @property
    def then(self) -> Memory | None:
        """What would be: what is, and the change that was predicted last."""
        row, now = self.predicted, self.now
        if row is None:
            return None
        return Memory(now.rss_kib, now.pss_kib + row.pss_change, now.uss_kib + row.uss_change)

    @property
    def change(self) -> int:
        """The larger change of the two, Pss and Uss, without its sign; 0 where it is not known."""
        return self.row.change if self.row else 0

    @property
    def mistaken_kib(self) -> int:
        """Memory in folios mistaken for shared; 0 where that is not known."""
        return self.row.mistaken_kib if self.row else 0


@dataclass(slots=True)
class Watch:
    """Everything that is known. News goes in; lines, sums and ages come out."""

    lines: dict[int, Line] = field(default_factory=dict)
    """By PID."""
    overview: Overview | None = None
    """The last audit."""
    audited_at: float | None = None
    glanced_at: float | None = None
    unreadable: Sequence[Unreadable] = ()
    nobody: str = ""
    """Why there is no process at all."""

    def gone(self, reason: str) -> None:
        """No process is left of those that were asked for."""
        self.lines.clear()
        self.overview, self.nobody, self.unreadable = None, reason, ()

    def glanced(self, news: Glanced) -> None:
        """Who is there no longer is forgotten, who is new is known by what they say themselves."""
        self.nobody = ""
        for pid in self.lines.keys() - news.rollups.keys():
            del self.lines[pid]
        for pid, rollup in news.rollups.items():
            if pid not in self.lines:
                who = news.names.get(pid) or Identity(pid, "?", "/")
                self.lines[pid] = Line(pid, who.comm, who.cgroup)
            self.lines[pid].glanced(rollup)
        self.glanced_at, self.unreadable = news.at, news.unreadable

    def audited(self, news: Audited) -> None:
        """Everybody that was read; all others are gone, or could not be read."""
        self.overview, self.audited_at = news.overview, news.at
        self.unreadable = [who for audit in news.overview.audits for who in audit.unreadable]
        read = {row.process.pid: row for row in news.overview.rows}
        for pid in self.lines.keys() - read.keys():
            del self.lines[pid]
        for pid, row in read.items():
            self._read(news.at, row, news.rollups.get(pid))
        if news.rollups:
            self.glanced_at = news.at

    def looked(self, news: Looked) -> None:
        """One process was read, or is gone."""
        if news.row:
            self._read(news.at, news.row, news.rollup)
        else:
            self.lines.pop(news.pid, None)

    def _read(self, at: float, row: Row, rollup: Rollup | None) -> None:
        process = row.process
        line = self.lines.setdefault(process.pid, Line(process.pid, process.comm, process.cgroup))
        line.read(at, row, rollup)

    @property
    def now(self) -> Memory:
        """All processes together."""
        return _sum([line.now for line in self.lines.values()])

    @property
    def then(self) -> Memory:
        """All processes together on the other kernel; those not predicted stay as they are."""
        return _sum([line.then or line.now for line in self.lines.values()])

    def ages(self, now: float) -> tuple[float, float] | None:
        """Seconds since the predictions were made: of the youngest and of the oldest; None without any."""
        at = [line.read_at for line in self.lines.values() if line.read_at is not None]
        return (now - max(at), now - min(at)) if at else None


def memory_of(rollup: Rollup) -> Memory:
    """Rss, Pss and Uss of smaps_rollup."""
    private = rollup.get("Private_Clean", 0) + rollup.get("Private_Dirty", 0)
    return Memory(rollup.get("Rss", 0), rollup.get("Pss", 0), private)


def _sum(memories: Sequence[Memory]) -> Memory:
    return Memory(
        sum(memory.rss_kib for memory in memories),
        sum(memory.pss_kib for memory in memories),
        sum(memory.uss_kib for memory in memories),
    )
