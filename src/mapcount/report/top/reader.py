"""Reading a machine again and again, in a thread of its own, so that the screen answers keys meanwhile.

What is read is what the screen shows: the machine, or the one process that is open. What the thread has to
say goes to one function, as news. It owns the source, which nobody else may ask.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mapcount.audit.asking import ask
from mapcount.audit.reading import Reading
from mapcount.audit.regions import OpenedProcess, open_process
from mapcount.live.capture_write import Written, write_capture
from mapcount.live.selection import NothingSelected, Selection, select
from mapcount.live.snapshot import CannotHere, Identity, Source, Unreadable
from mapcount.report.top.changes import Changes
from mapcount.report.top.interruptible import Interruptible, Stopped
from mapcount.report.top.pace import Pace
from mapcount.report.top.watch import Audited, Glanced, Looked, Rollup

GLANCE_SHARE, LOOK_SHARE, AUDIT_SHARE, OPEN_SHARE = 0.01, 0.01, 0.015, 0.035
"""Of one core, at most. The first three together leave 1.5 of 5 % to the screen, and so does the last."""
PROGRESS_EVERY = 0.2
"""Seconds between two words about progress."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the screen shows: the machine, or a process and maybe the region that starts at a page."""

    pid: int | None = None
    start: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The process that was asked for, or why it cannot be read."""

    at: float
    wanted: Wanted
    opened: OpenedProcess | None
    unreadable: Unreadable | None = None
    gone: bool = False
    """It is not there any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reading has come. Nothing to do any more: `done` is `of`."""

    what: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A capture was written, or why not."""

    written: Written | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Nobody:
    """No process is left of those that were asked for."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing more can be read. The error is what the command ends with."""

    error: Exception


News = Glanced | Audited | Looked | Opened | Progress | Saved | Nobody | Failed


class Reader:
    """Reads `source`, of which `rollup` gives smaps_rollup of a process; None: it never changes (a capture).

    `tell` is called in the reader's thread. Everything else may be called from any other.
    """

    def __init__(
        self,
        source: Source,
        selection: Selection,
        tell: Callable[[News], None],
        *,
        rollup: Callable[[int], Rollup] | None,
        interval: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._selection, self._tell, self._rollup = source, selection, tell, rollup
        self._clock = clock
        every = interval if rollup else math.inf
        self.glances = Pace(every, GLANCE_SHARE)
        self.looks = Pace(every, LOOK_SHARE)
        self.audits = Pace(every, AUDIT_SHARE)
        self.openings = Pace(every, OPEN_SHARE)
        self._changes = Changes()
        self._names: dict[int, Identity] = {}
        self._told_at = 0.0
        self._changed = threading.Condition()
        # Guarded by it; the thread itself changes only the last two.
        self._ended = False
        self._paused = False
        self._wanted = Wanted()
        self._round = 0
        """Goes up when what is being read may not be wanted any more."""
        self._once = False
        self._target: Path | None = None
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    # -- from other threads -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def end(self, patience: float = 2.0) -> None:
        """Give up whatever is being read; returns when the thread is done, or after so many seconds."""
        self._order(_ended=True)
        if self._thread.ident is not None:
            self._thread.join(patience)

    @property
    def running(self) -> bool:
        """Has it begun, and not ended?"""
        return self._thread.is_alive()

    def want(self, wanted: Wanted) -> None:
        """Read this from now on: at once, if it is a process."""
        if wanted.pid is not None:
            self.openings.due = 0.0
        self._order(_wanted=wanted, _once=wanted.pid is not None)

    def pause(self, paused: bool) -> None:
        """Read nothing, or go on."""
        self._order(_paused=paused)

    def now(self) -> None:
        """Read what is wanted at once, all of it, even while paused."""
        self.audits.due = self.openings.due = 0.0
        self._order(_once=True)

    def save(self, target: Path) -> None:
        """Write a capture of the processes that were chosen."""
        self._order(_target=target)

    def _order(self, **changes: object) -> None:
        with self._changed:
            for name, value in changes.items():
                setattr(self, name, value)
            self._round += 1
            self._changed.notify_all()

    # -- the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while job := self._next_job():
            try:
                job()
            except Stopped:
                self._tell(Progress("", 0, 0))
            except Exception as error:  # whoever shows the screen ends it, and raises this
                self._tell(Failed(error))
                return

    def _next_job(self) -> Callable[[], None] | None:
        """Wait until there is something to do; None: the end."""
        with self._changed:
            while not self._ended:
                self._began_in = self._round
                if self._target:
                    return self._save
                job, wait = self._due()
                if self._paused and not self._once:
                    wait = math.inf
                if wait <= 0:
                    self._once = False
                    return job
                self._changed.wait(None if math.isinf(wait) else wait)
            return None

    def _due(self) -> tuple[Callable[[], None], float]:
        """What is to be read next, and in how many seconds."""
        now = self._clock()
        if self._wanted.pid is not None:
            return self._open, self.openings.wait(now)
        audit = self.audits.wait(now)
        if audit <= 0 or self._rollup is None:
            return self._audit, audit
        glance, look = self.glances.wait(now), self.looks.wait(now)
        # One process alone says what it would under a kernel without per-page counts, not the reverse.
        alone = self._source.machine.flavour.page_mapcounts and audit > self.audits.interval
        if alone and look <= glance and self._changes.next() is not None:
            return self._look, look
        return (self._glance, glance) if glance < audit else (self._audit, audit)

    def _check(self) -> None:
        if self._ended or (self._began_in != self._round and self._target is None):
            raise Stopped

    def _glance(self) -> None:
        began, cpu = self._clock(), time.thread_time()
        try:
            rollups, unreadable = self._rollups()
        except NothingSelected as reason:
            self._tell(Nobody(str(reason)))
        else:
            self._changes.seen(rollups)
            self._tell(Glanced(began, rollups, dict(self._names), unreadable))
        self.glances.done(began, time.thread_time() - cpu)

    def _rollups(self) -> tuple[Mapping[int, Rollup], list[Unreadable]]:
        """smaps_rollup of everybody who is meant. Raises NothingSelected."""
        assert self._rollup
        source = Interruptible(self._source, self._check)
        if (asked := self._selection.pids) and all(source.absent(pid) for pid in asked):
            raise NothingSelected("every process that was asked for has exited")
        selected = select(source, self._selection)
        rollups: dict[int, Rollup] = {}
        unreadable = list(selected.unreadable)
        for pid in selected.pids:
            self._check()
            try:
                rollups[pid] = self._rollup(pid)
                if pid not in self._names:
                    self._names[pid] = source.identity(pid)
            except Unreadable as reason:
                unreadable.append(reason)
        self._names = {pid: who for pid, who in self._names.items() if pid in rollups}
        return rollups, unreadable

    def _audit(self) -> None:
        began, cpu = self._clock(), time.thread_time()
        try:
            rollups, unreadable = self._rollups() if self._rollup else ({}, [])
            if rollups:
                self._tell(Glanced(began, rollups, dict(self._names), unreadable))
            overview = ask([Interruptible(self._source, self._check)], self._selection, self._progress)
        except NothingSelected as reason:
            self._tell(Nobody(str(reason)))
        else:
            self._changes.seen(rollups)
            for pid, rollup in rollups.items():
                self._changes.read(pid, rollup, began)
            self._tell(Audited(began, overview, rollups))
        cost = time.thread_time() - cpu
        self.audits.done(began, cost)
        self.glances.done(began, 0.0)

    def _look(self) -> None:
        pid = self._changes.next()
        if pid is None or self._rollup is None:
            return
        began, cpu = self._clock(), time.thread_time()
        one = Interruptible(self._source, self._check, only=[pid])
        try:
            rollup = self._rollup(pid)
            overview = ask([one], Selection(pids=(pid,)))
        except Unreadable as reason:
            self._changes.read(pid, {}, began)
            self._tell(Looked(began, pid, None, {}, reason))
        else:
            self._changes.read(pid, rollup, began)
            refused = next(iter(overview.audits[0].unreadable), None)
            self._tell(Looked(began, pid, next(iter(overview.rows), None), rollup, refused))
        self.looks.done(began, time.thread_time() - cpu)

    def _open(self) -> None:
        wanted = self._wanted
        assert wanted.pid is not None
        began, cpu = self._clock(), time.thread_time()
        try:
            opened = open_process(Interruptible(self._source, self._check), wanted.pid, wanted.start)
        except Unreadable as reason:
            gone = self._source.absent(wanted.pid) is not None
            self._tell(Opened(began, wanted, None, reason, gone))
        else:
            self._tell(Opened(began, wanted, opened))
        self.openings.done(began, time.thread_time() - cpu)

    def _save(self) -> None:
        target = self._target
        assert target is not None
        try:
            written = write_capture(
                Interruptible(self._source, self._check),
                self._selection,
                target,
                reading=Reading,
                progress=lambda done, of: self._progress("capture", done, of),
            )
        except (CannotHere, ValueError, FileExistsError, NotADirectoryError) as error:
            self._tell(Saved(None, str(error)))
        except OSError as error:
            self._tell(Saved(None, f"{error.filename or target}: {error.strerror}"))
        else:
            self._tell(Saved(written))
        finally:
            with self._changed:
                self._target = None

    def _progress(self, what: str, done: int, of: int) -> None:
        self._check()
        now = self._clock()
        if done == of or now - self._told_at >= PROGRESS_EVERY:
            self._told_at = now
            self._tell(Progress(what, done, of))
