"""`mapcount top` without a terminal: what stands on its screen, and keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from mapcount.live.capture_source import CaptureSource
from mapcount.live.selection import Selection
from mapcount.live.snapshot import Source, Unreadable
from mapcount.report.top.app import Top
from mapcount.report.top.still import lines_of

DEMO = Path(__file__).parents[2] / "captures" / "demo.capture"
PATIENCE = 20.0
"""Seconds after which something that should be on the screen never will be."""


@dataclass
class Shown:
    """The application while it runs."""

    app: Top
    pilot: Pilot[Any]

    def lines(self) -> list[str]:
        """The screen as text, without blanks at the ends."""
        return lines_of(self.app)

    def text(self) -> str:
        """The same in one."""
        return "\n".join(self.lines())

    def line(self, word: str) -> str:
        """The first line with a word, with one blank between words."""
        return next((" ".join(line.split()) for line in self.lines() if word in line), "")

    async def press(self, *keys: str) -> None:
        """Type."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, *words: str) -> None:
        """Wait until all of this is to be seen."""
        for _ in range(int(PATIENCE / 0.02)):
            await self.pilot.pause(0.02)
            if all(word in self.text() for word in words):
                return
        raise AssertionError(f"not on the screen: {words}\n{self.text()}")


def watched(
    act: Callable[[Shown], Awaitable[None]],
    source: Source | None = None,
    *,
    size: tuple[int, int] = (80, 24),
    rollups: Mapping[int, int] | None = None,
    selection: Selection | None = None,
    clock: Callable[[], float] = lambda: 0.0,
) -> Top:
    """Show a source (the demo capture), and act. `rollups`: KiB by process, where it is to look alive."""

    def rollup(pid: int) -> dict[str, int]:
        assert rollups is not None
        if pid not in rollups:
            raise Unreadable(pid, "?", "permission denied")
        return {"Rss": rollups[pid], "Pss": rollups[pid]}

    app = Top(
        source or CaptureSource(DEMO),
        selection or Selection(),
        rollup=None if rollups is None else rollup,
        interval=1000.0,
        clock=clock,
    )

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await act(Shown(app, pilot))

    asyncio.run(run())
    app.reader.end()
    return app
