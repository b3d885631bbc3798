"""Replaying a trace: windows of events, brought into folio order, applied by all cores.

Folios are independent of each other. However threads share a window (`waves.py`, `blocks.py`), its events
are laid out in groups of folios and replayed in cache (`grouping.py`, `groups.py`, `rules.py`). What this
keeps in memory is the folios' state, one window, and with many folios copies of its events.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mapcount.replay.blocks import Blocks
from mapcount.replay.desk import Tally
from mapcount.replay.folios import VERDICT_SHIFT, Folios
from mapcount.replay.grouping import block_bits
from mapcount.replay.illegal import impossible, unsound
from mapcount.replay.job import NO_ROWS, Job, Way
from mapcount.replay.reader import Window, merged
from mapcount.replay.waves import Waves
from mapcount.tracking.flavour import Flavour

if TYPE_CHECKING:
    from mapcount.replay.schemes import SchemeReplay

EVENTS_PER_FOLIO, MOST_EVENTS = 4, 1 << 23
"""A window has so many events for each folio, on average, unless that is more than this in all."""


class Engine:
    """Replays windows of events on folios, by the rules of one flavour.

    `every`: judge the kernel's answer after every event (`tally`). `schemes`: replay these as well. To be
    closed, or used by `with`.
    """

    def __init__(
        self,
        folios: Folios,
        flavour: Flavour,
        *,
        every: bool = False,
        threads: int | None = None,
        schemes: Sequence[SchemeReplay] = (),
    ) -> None:
        self.schemes = schemes
        self.folios = folios
        self.flavour = flavour
        self.events = 0
        """How many events were replayed."""
        threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(threads)
        self._job = Job(folios, flavour, every, schemes, self._pool.map if threads > 1 else map)
        self.pages = self._job.pages
        bits = block_bits(len(folios))
        self._way: Way = Blocks(self._job, threads, bits) if bits else Waves(self._job, threads)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()

    def replay(self, window: Window) -> None:
        """Apply a window's events. Raises TraceError at the first that cannot be, with row and reason."""
        *columns, phase = (_frozen(column) for column in window.columns)
        rows = _frozen(NO_ROWS if window.rows is None else window.rows)
        sound, illegal = self._way.apply(tuple(columns), (rows, window.first, phase))
        if illegal:
            i, why, after = min(illegal)
            f = int(window.folio[i])
            shape = int(self.folios.shapes(f, f + 1)[0])
            raise impossible(window, window.row(i), why, after, shape, self.folios.first)
        if sound < len(window):
            raise unsound(window, sound, len(self.folios), self._job.most_mm)
        self.events += len(window)

    def tally(self, events: int | None = None) -> Tally:
        """Verdicts after every event so far, and the time that each lasted, to the end of `events` events.

        Unless said, those replayed: others may have happened to other folios.
        """
        tally: Tally = np.sum([desk.tally for desk in self._way.desks], axis=0)
        size = 1 << 16
        for low in range(0, len(self.folios), size):
            high = min(low + size, len(self.folios))
            verdicts = self.folios.owner1[low:high] >> np.uint32(VERDICT_SHIFT) & np.uint32(7)
            where: Any = (self.folios.order(low, high), 1, verdicts)
            np.add.at(tally, where, self.events if events is None else events)
        return tally


def _frozen(column: NDArray[Any]) -> NDArray[Any]:
    """The column, contiguous and read-only: so that each loop is compiled for one kind of arrays only.

    (Processes that compile one function for different kinds at a time confuse Numba's files on disk.)
    """
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


def at_once(folios: int) -> int:
    """How many events a window is to have, at least, for so many folios."""
    return min(EVENTS_PER_FOLIO * folios, MOST_EVENTS)


def replay(engine: Engine, windows: Iterator[Window]) -> None:
    """Replay windows one after the other, reading the next one while the cores are busy.

    With many folios, some windows are taken together, so that a folio that is brought into cache has more
    than one event to apply there.
    """
    larger = merged(windows, at_once(len(engine.folios)))
    with ThreadPoolExecutor(1) as reading:
        coming = reading.submit(next, larger, None)
        while (window := coming.result()) is not None:
            coming = reading.submit(next, larger, None)
            engine.replay(window)
