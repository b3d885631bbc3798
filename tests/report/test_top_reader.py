"""The thread that reads: what it tells, in which order, and how it is paused and stopped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from tests.audit.audits import source
from tests.live.fakes import MemorySource

from mapcount.live.selection import Selection
from mapcount.live.snapshot import Block, Process, Unreadable
from mapcount.report.top.reader import Failed, News, Nobody, Opened, Progress, Reader, Saved, Wanted
from mapcount.report.top.watch import Audited, Glanced, Looked
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

PATIENCE = 20.0
"""Seconds after which something that should have been said never will be."""

N = TypeVar("N")


@dataclass
class Talk:
    """A reader of a made-up machine, and what it says."""

    source: MemorySource = field(default_factory=source)
    selection: Selection = field(default_factory=Selection)
    live: bool = True
    rss: dict[int, int] = field(default_factory=lambda: {9: 32, 10: 192, 11: 400})
    now: float = 0.0
    said: queue.Queue[News] = field(default_factory=queue.Queue)

    def rollup(self, pid: int) -> dict[str, int]:
        """What smaps_rollup of a process would say."""
        if pid not in self.rss:
            raise Unreadable(pid, "?", "permission denied")
        return {"Rss": self.rss[pid], "Pss": self.rss[pid]}

    def next(self, kind: type[N]) -> N:
        """The next news of this kind; others are passed over."""
        while True:
            news = self.said.get(timeout=PATIENCE)
            if isinstance(news, kind):
                return news
            assert not isinstance(news, Failed), news


@pytest.fixture
def begin() -> Iterator[Callable[[Talk], Reader]]:
    """Starts a reader whose clock is the talk's; all of them end with the test."""
    readers: list[Reader] = []

    def started(talk: Talk) -> Reader:
        reader = Reader(
            talk.source,
            talk.selection,
            talk.said.put,
            rollup=talk.rollup if talk.live else None,
            interval=2.0,
            clock=lambda: talk.now,
        )
        readers.append(reader)
        reader.start()
        return reader

    yield started
    for reader in readers:
        reader.end()


Begin = Callable[[Talk], Reader]


def later(talk: Talk, reader: Reader, seconds: float) -> None:
    """The clock goes on, and the reader notices."""
    talk.now += seconds
    reader.pause(False)


def test_sizes_first_then_everything(begin: Begin) -> None:
    """The screen has something to show before what everybody maps was read."""
    talk = Talk()
    begin(talk)
    glanced, audited = talk.next(Glanced), talk.next(Audited)
    assert {9: 32, 10: 192, 11: 400} == {pid: fields["Rss"] for pid, fields in glanced.rollups.items()}
    assert "big" == glanced.names[10].comm
    assert [9, 10, 11] == sorted(row.process.pid for row in audited.overview.rows)
    assert glanced.rollups == audited.rollups


def test_who_refuses_is_named(begin: Begin) -> None:
    """Somebody whose sizes cannot be read is not among them."""
    talk = Talk()
    begin(talk)
    later_on = talk.next(Audited)
    assert [12] == [who.pid for who in later_on.overview.audits[0].unreadable]


def test_a_capture_is_read_once(begin: Begin) -> None:
    """What does not change is not read again, and sizes are not asked for."""
    talk = Talk(live=False)
    reader = begin(talk)
    assert {} == talk.next(Audited).rollups
    later(talk, reader, 1e6)
    reader.now()
    talk.next(Audited)
    assert not [news for news in list(talk.said.queue) if isinstance(news, (Glanced, Looked, Audited))]


def test_only_who_has_changed_is_looked_at(begin: Begin) -> None:
    """Between two audits, a process whose sizes are what they were is left alone."""
    talk = Talk()
    reader = begin(talk)
    talk.next(Audited)
    reader.audits.due = 1e9
    talk.rss[10] = 196
    later(talk, reader, 3.0)
    talk.next(Glanced)
    looked = talk.next(Looked)
    assert (10, 196) == (looked.pid, looked.rollup["Rss"])
    assert looked.row
    assert "big" == looked.row.process.comm
    later(talk, reader, 3.0)
    talk.next(Glanced)
    assert talk.said.empty()


def test_without_page_mapcounts_one_process_tells_nothing(begin: Begin) -> None:
    """There, what others map has to be read as well: only audits answer."""
    talk = Talk(source(flavour=NO_PAGE_MAPCOUNT))
    reader = begin(talk)
    talk.next(Audited)
    reader.audits.due = 1e9
    talk.rss[10] = 196
    later(talk, reader, 3.0)
    talk.next(Glanced)
    later(talk, reader, 3.0)
    talk.next(Glanced)
    assert not [news for news in list(talk.said.queue) if isinstance(news, Looked)]


def test_what_is_open_is_read_instead(begin: Begin) -> None:
    """A process, then a region of it, then everybody again."""
    talk = Talk()
    reader = begin(talk)
    talk.next(Audited)
    reader.want(Wanted(10))
    opened = talk.next(Opened)
    assert opened.opened
    assert (10, ()) == (opened.opened.process.pid, opened.opened.folios)
    reader.want(Wanted(10, 0x1000))
    inside = talk.next(Opened)
    assert inside.opened
    assert [0, 16, 32] == [folio.page for folio in inside.opened.folios]
    reader.want(Wanted())
    reader.now()
    talk.next(Audited)


def test_who_exits_while_open_is_said_to(begin: Begin) -> None:
    """With the reason, and that it is gone for good."""
    talk = Talk()
    reader = begin(talk)
    talk.next(Audited)
    talk.source.processes = [p for p in talk.source.processes if p.pid != 10]
    reader.want(Wanted(10))
    opened = talk.next(Opened)
    assert (None, True) == (opened.opened, opened.gone)
    assert "no such process" in str(opened.unreadable)


def test_nothing_is_read_while_paused(begin: Begin) -> None:
    """Until it is asked for once, or goes on."""
    talk = Talk()
    reader = begin(talk)
    talk.next(Audited)
    reader.pause(True)
    talk.now += 1e6
    reader.now()
    talk.next(Audited)
    talk.now += 1e6
    reader.pause(True)  # so that it notices
    with pytest.raises(queue.Empty):
        talk.said.get(timeout=0.1)
    reader.pause(False)
    talk.next(Audited)


def test_nobody_is_left(begin: Begin) -> None:
    """When all that were asked for are gone that is said, and when they are back they are read."""
    talk = Talk(selection=Selection(comms=("big",)))
    reader = begin(talk)
    talk.next(Audited)
    everybody, talk.source.processes = talk.source.processes, ()
    reader.now()
    assert "no process fits" in talk.next(Nobody).reason
    talk.source.processes = everybody
    reader.now()
    assert [10] == [row.process.pid for row in talk.next(Audited).overview.rows]


def test_all_that_were_asked_for_by_number_have_exited(begin: Begin) -> None:
    """Then that is said; a number does not come back as the same process."""
    talk = Talk(selection=Selection(pids=(10, 9)))
    reader = begin(talk)
    talk.next(Audited)
    talk.source.processes = [each for each in talk.source.processes if each.pid == 11]
    reader.now()
    assert "every process that was asked for has exited" == talk.next(Nobody).reason


def test_a_capture_is_written(begin: Begin, tmp_path: Path) -> None:
    """While reading goes on afterwards; what is there already stays."""
    talk = Talk()
    reader = begin(talk)
    talk.next(Audited)
    reader.save(tmp_path / "x.capture")
    written = talk.next(Saved).written
    assert written
    assert (3, tmp_path / "x.capture") == (written.rows["processes"], written.path)
    reader.save(tmp_path / "x.capture")
    assert "exists already" in talk.next(Saved).reason
    reader.save(tmp_path / "nowhere" / "x.capture")
    assert "is no directory" in talk.next(Saved).reason
    reader.now()
    talk.next(Audited)


class Slow(MemorySource):
    """A machine whose reading takes as long as it is told to."""

    def __init__(self) -> None:
        made = source()
        super().__init__(made.processes, made.mapped, made.machine, made.stats, made.refusing)
        self.reached, self.go_on = threading.Event(), threading.Event()

    def blocks(self, process: Process) -> Iterator[Block]:
        """The same, once it may go on."""
        for block in super().blocks(process):
            self.reached.set()
            assert self.go_on.wait(PATIENCE)
            yield block


@pytest.mark.parametrize("how", ["end", "pause", "open"])
def test_what_is_being_read_is_given_up(begin: Begin, how: str) -> None:
    """An audit that nobody waits for any more ends at the next block, and tells nothing."""
    slow = Slow()
    talk = Talk(slow)
    reader = begin(talk)
    assert slow.reached.wait(PATIENCE)
    if how == "end":
        threading.Timer(0.05, slow.go_on.set).start()
        reader.end()
        assert not reader.running
    elif how == "pause":
        reader.pause(True)
        slow.go_on.set()
        while talk.next(Progress).of:
            pass
    else:
        reader.want(Wanted(9))
        slow.go_on.set()
        talk.next(Opened)
    assert not [news for news in list(talk.said.queue) if isinstance(news, Audited)]


class Broken(MemorySource):
    """A machine that fails when its processes are listed."""

    def pids(self) -> Sequence[int]:
        """Not possible."""
        raise OSError(5, "Input/output error", "/proc")


def test_what_cannot_go_on_ends_the_reading(begin: Begin) -> None:
    """With the error, for the command to say."""
    talk = Talk(Broken())
    reader = begin(talk)
    news = talk.said.get(timeout=PATIENCE)
    assert isinstance(news, Failed)
    assert isinstance(news.error, OSError)
    reader.end()
    assert not reader.running
