"""The pages in a real browser. Only `make test-browser` runs what is in this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = os.environ.get("MAPCOUNT_BROWSER", "")
"""The browser to drive: Debian's chromium. Empty: leave this folder out."""
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip

collect_ignore_glob = [] if CHROMIUM else ["test_*.py"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser for all tests. They are skipped if it is not there, and fail if it does not start."""
    from playwright.sync_api import sync_playwright

    path = shutil.which(CHROMIUM)
    if path is None:
        pytest.skip(f"there is no browser {CHROMIUM}: install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()
