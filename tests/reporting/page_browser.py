"""Opening report pages in a real browser."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import psutil

from stdo.reporting.runs import Run

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
LIMIT = 90
"""Seconds that a test may take in the browser, many times what any takes."""


def changed(run: Run, **metrics: Any) -> Run:
    return replace(run, metrics=run.metrics | metrics)


class Opened:
    """A page that was opened, and what it complained of or asked for."""

    def __init__(self, page: Any) -> None:
        self.page, self.complaints = page, []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.complaints.append(url)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def wait_for_rows(self, count: int) -> None:
        """Wait until the table has so many rows: a search is done a moment after the typing."""
        from playwright.sync_api import expect

        expect(self.page.locator("#table tbody tr")).to_have_count(count)

    def column(self, number: int) -> list[str]:
        return list(self.page.locator(f"#table tbody tr > :nth-child({number})").all_inner_texts())


@contextmanager
def killed_after(seconds: float) -> Iterator[None]:
    """Kill every Chromium of this process when the block takes longer: what waits for it then fails
    at once.

    Playwright limits its waits for pages and elements, but not scripts in a page, nor the making
    and closing of pages.
    """

    def kill() -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if "chrom" in process.name():
                    process.kill()

    watch = threading.Timer(seconds, kill)
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
