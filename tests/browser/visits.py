"""Looking at a page as somebody would, and at what it did meanwhile that nobody should see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner
from playwright.sync_api import Browser, Page, Request, Route

from mapcount.cli import mapcount

PHONE, DESK, WIDE = (360, 640), (1280, 800), (1600, 900)
"""Screens, in CSS pixels."""


@dataclass
class Visit:
    """A page that is open, and everything it should not have done."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Messages on the console, exceptions, dialogs, and requests for anything but the file itself."""

    def text(self, selector: str) -> str:
        """What is written there, blanks joined."""
        return re.sub(r"\s+", " ", self.page.inner_text(selector)).strip()

    def scrolls_sideways(self) -> bool:
        """Is the page wider than the screen?"""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))


@contextmanager
def visit(
    browser: Browser, path: Path, screen: tuple[int, int] = DESK, *, dark: bool = False, at: str = ""
) -> Iterator[Visit]:
    """Open the file in a fresh profile."""
    width, height = screen
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    visit = Visit(page)

    def route(route: Route, request: Request) -> None:
        if request.url.split("#")[0] == path.as_uri():
            route.continue_()
        else:
            visit.complaints.append(f"asked for {request.url}")
            route.abort()

    page.route("**/*", route)
    page.on("console", lambda message: visit.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (visit.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.goto(path.as_uri() + at)
    yield visit
    context.close()


def command(*words: object, code: int = 0) -> str:
    """What `mapcount` prints, having ended with this exit code."""
    result = CliRunner().invoke(mapcount, [str(word) for word in words])
    assert code == result.exit_code, result.output
    return result.stdout
