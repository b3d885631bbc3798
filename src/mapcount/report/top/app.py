"""The full-screen view: news from the reader goes into the model, keys go to the reader, and all is drawn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message

from mapcount.audit.regions import OpenedProcess
from mapcount.live.selection import Selection
from mapcount.live.snapshot import Source
from mapcount.report.top.head import (
    ages,
    as_many_as_fit,
    draw_machine,
    draw_process,
    draw_region,
    draw_unread,
)
from mapcount.report.top.help import HELP, draw_notes
from mapcount.report.top.opened import (
    RegionLine,
    folio_listing,
    region_lines,
    region_listing,
    size_listing,
)
from mapcount.report.top.pace import Meter
from mapcount.report.top.processes import age, process_listing
from mapcount.report.top.reader import Failed, News, Nobody, Opened, Progress, Reader, Saved, Wanted
from mapcount.report.top.screens import ListScreen, TextScreen
from mapcount.report.top.watch import Audited, Glanced, Line, Looked, Rollup, Watch
from mapcount.report.words import plural, size
from mapcount.scenario.syntax import visible

REDRAW = 2.0
"""Seconds between two times that the lists are drawn, unless a key or a full reading asks for it."""
NOTICE = 10.0
"""Seconds that a word about what happened stands in place of the state."""


class Told(Message):
    """News, on its way from the reader's thread."""

    def __init__(self, news: News) -> None:
        super().__init__()
        self.news = news


class Top(App[Exception]):
    """`mapcount top`. Its result is the error that ended it, if one did."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit", priority=True)]
    TITLE = "mapcount top"

    def __init__(
        self,
        source: Source,
        selection: Selection,
        *,
        rollup: Callable[[int], Rollup] | None,
        interval: float = 2.0,
        sort: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rollup` gives smaps_rollup of a process; None: `source` is a capture, and never changes."""
        super().__init__(ansi_color=True)  # the terminal's own colours, and with NO_COLOR none at all
        self.theme = "ansi-dark"
        self._source, self._live, self._clock = source, rollup is not None, clock
        self.reader = Reader(source, selection, self._hear, rollup=rollup, interval=interval, clock=clock)
        self.known = Watch()
        self.opened: OpenedProcess | None = None
        self._opened_at = clock()
        self._gone = ""
        """Why what is open cannot be read any more."""
        self._meter = Meter()
        self._progress: Progress | None = None
        self._notice = ("", 0.0)
        listing = process_listing(clock if self._live else None, sort)
        self._machine = ListScreen(self, listing, size_listing())
        self._process: ListScreen | None = None
        self._region: ListScreen | None = None
        self._wanted = Wanted()
        self.paused = False
        self._fresh, self._drawn_at = False, clock()
        """Is something known that was not drawn yet, and when was the last time?"""

    def on_mount(self) -> None:
        """Begin."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError, RuntimeError):  # not the main thread
                asyncio.get_running_loop().add_signal_handler(number, self._asked_to_end, number)
        self.push_screen(self._machine)
        self.set_interval(1.0, self._tick)
        self.reader.start()

    def _asked_to_end(self, number: int) -> None:
        """Leave the terminal as it was, as after any other end."""
        self.exit(return_code=128 + number)

    async def on_unmount(self) -> None:
        """Tell the reader to stop; whoever runs this waits for it once the terminal is as it was."""
        self.reader.end(patience=0.0)

    # -- news -------------------------------------------------------------------------------------------

    def _hear(self, news: News) -> None:
        self.post_message(Told(news))

    def on_told(self, message: Told) -> None:
        """What the reader has to say."""
        news = message.news
        if isinstance(news, Failed):
            self.exit(news.error)
        elif isinstance(news, Progress):
            self._progress = news if news.done < news.of else None
            self._draw_state()
        elif isinstance(news, Saved):
            self._note(_saved(news))
        else:
            self._learn(news)
            self._fresh = True
            if self._told_all(news):
                self.draw()

    def _told_all(self, news: News) -> bool:
        """Is there something to see at once?"""
        return not isinstance(news, (Glanced, Looked)) or self.known.overview is None

    def _learn(self, news: Glanced | Audited | Looked | Opened | Nobody) -> None:
        if isinstance(news, Glanced):
            self.known.glanced(news)
        elif isinstance(news, Audited):
            self.known.audited(news)
            self._meter.note(self._clock(), time.process_time())
        elif isinstance(news, Looked):
            self.known.looked(news)
        elif isinstance(news, Nobody):
            self.known.gone(news.reason)
        elif news.wanted == self._wanted:
            self._gone = str(news.unreadable) if news.unreadable else ""
            if news.opened:
                self.opened, self._opened_at = news.opened, news.at
            if news.gone:
                self.reader.want(Wanted())

    def _note(self, words: str) -> None:
        self._notice = words, self._clock()
        self._draw_state()

    # -- drawing ----------------------------------------------------------------------------------------

    def draw(self) -> None:
        """The screen in front, as things are."""
        screen, opened, start = self.screen, self.opened, self._wanted.start
        if screen is self._machine:
            machine = self._source.machine
            overview = self.known.overview
            self._machine.show(
                draw_machine(self.known, self._source.name, machine.release, str(machine.flavour)),
                list(self.known.lines.values()),
                overview.folios if overview else (),
            )
        elif self._process and screen is self._process:
            if opened:
                self._process.show(draw_process(opened, self._gone), region_lines(opened), opened.sizes)
            else:
                self._process.show(draw_unread(self._gone), (), ())
        elif self._region and screen is self._region and opened and start is not None:
            self._region.show(draw_region(opened, start, self._gone), opened.folios)
        self._fresh, self._drawn_at = False, self._clock()
        self._draw_state()

    def _tick(self) -> None:
        """Ages go on."""
        if self.known.audited_at is not None:
            self._meter.note(self._clock(), time.process_time())
        if self._fresh and self._clock() - self._drawn_at >= REDRAW - 0.1:
            self.draw()
        else:
            self._draw_state()

    def _draw_state(self) -> None:
        if isinstance(self.screen, ListScreen):
            self.screen.tell(as_many_as_fit(self._state(self.screen), self.size.width))

    def _state(self, screen: ListScreen) -> list[str]:
        """Words about what is on the screen, the most important first."""
        now = self._clock()
        words, said = self._notice
        if words and now - said < NOTICE:
            return [words]
        listing = screen.listing
        parts = []
        if self.paused:
            parts.append("PAUSED")
        if self._progress:
            parts.append(f"reading {self._progress.what}: {self._progress.done} of {self._progress.of}")
        if listing.filter:
            parts.append(f'{len(listing.shown)} of {len(listing.rows)} with "{visible(listing.filter)}"')
        parts.append(f"by {listing.sort}")
        if not self._live:
            return [*parts, "a capture: it does not change"]
        if self._wanted.pid is None:
            wait = None if self.paused else self.reader.audits.wait(now)
            parts += ages(self.known, now, wait)
        elif self.opened:
            parts.append(f"read {age(now - self._opened_at)} ago")
        share = self._meter.share()
        if share is not None:
            parts.append(f"{100 * share:.1f} % of a core")
        return parts

    # -- keys -------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Nothing is read until it is pressed again."""
        self.paused = not self.paused
        self.reader.pause(self.paused)
        self._draw_state()

    def action_now(self) -> None:
        """Read what is on the screen, whatever it costs."""
        self.reader.now()

    def action_help(self) -> None:
        """What there is to know."""
        self.push_screen(TextScreen(HELP))

    def action_notes(self) -> None:
        """What is inexact or missing, and why."""
        self.push_screen(TextScreen(draw_notes(self.known)))

    def open(self, row: object) -> None:
        """A process, or a region of the open one."""
        if isinstance(row, Line):
            self._process, self.opened = ListScreen(self, region_listing(), size_listing()), None
            self._want(Wanted(row.pid), self._process)
        elif isinstance(row, RegionLine) and self.opened:
            self._region = ListScreen(self, folio_listing(self.opened.machine.page_size >> 10))
            self._want(Wanted(self.opened.process.pid, row.start), self._region)

    def _want(self, wanted: Wanted, screen: ListScreen) -> None:
        self._wanted, self._gone = wanted, ""
        self.reader.want(wanted)
        self.push_screen(screen)

    def back(self) -> None:
        """From a region to its process, from there to all of them."""
        if self.screen is self._machine:
            return
        self.pop_screen()
        self._wanted = Wanted() if self.screen is self._machine else Wanted(self._wanted.pid)
        self.reader.want(self._wanted)
        self.draw()

    def capture_name(self) -> str:
        """Where a capture might go."""
        if self._live:
            return f"{datetime.now():%Y-%m-%d-%H%M%S}.capture"
        self._note("this is a capture already")
        return ""

    def save(self, name: str) -> None:
        """Write one."""
        if name.strip():
            self.reader.save(Path(os.path.expanduser(name.strip())))
            self._note("writing a capture ...")


def _saved(news: Saved) -> str:
    if news.written is None:
        return f"no capture was written: {visible(news.reason)}"
    written = news.written
    processes = plural(written.rows["processes"], "process", "processes")
    return f"wrote {visible(str(written.path))}: {processes}, {size(-(-written.bytes // 1024))}"
