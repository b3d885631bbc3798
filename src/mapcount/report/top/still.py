"""The screen as text, for documents and tests."""

from __future__ import annotations

import asyncio

from textual.geometry import Size

from mapcount.live.selection import Selection
from mapcount.live.snapshot import Source
from mapcount.report.top.app import Top

EVERY = 0.02
"""Seconds between two looks at whether everything was read."""


def lines_of(app: Top) -> list[str]:
    """What stands on the screen now, line by line, without blanks at the ends."""
    strips = app.screen._compositor.render_strips(Size(*app.size))
    return [strip.text.rstrip() for strip in strips]


def still(source: Source, width: int, height: int) -> list[str]:
    """What `mapcount top --from CAPTURE` shows first, of a capture that has already been opened."""
    app = Top(source, Selection(), rollup=None)

    async def shown() -> list[str]:
        async with app.run_test(size=(width, height)) as pilot:
            while app.known.overview is None:
                await pilot.pause(EVERY)
            await pilot.pause()
            return lines_of(app)

    return asyncio.run(shown())
