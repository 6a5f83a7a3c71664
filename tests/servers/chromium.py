"""A page in the installed Chromium, for tests that look at what a person sees."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
WAIT_SECONDS_MAX = 15.0


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """
    One for all tests of a file.

    Playwright keeps an event loop running in this thread as long as it lives: `asyncio.run` works in other files, but
    in none whose tests hold a page (put the server in a thread or a process of its own).
    """
    with browsing() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page without a past; it fails the test on a script error and on a request to anything but loopback."""
    with looking(chromium) as page:
        yield page


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser of its own."""
    with sync_playwright() as playwright:
        arguments = ARGUMENTS + (["--no-sandbox"] if os.geteuid() == 0 else [])
        browser = playwright.chromium.launch(executable_path=executable(), args=arguments)
        yield browser
        browser.close()


@contextmanager
def looking(browser: Browser) -> Iterator[Page]:
    """A page, watched."""
    errors: list[str] = []
    with browser.new_context(locale="zh-CN", timezone_id="Asia/Shanghai") as context:
        page = context.new_page()
        page.set_default_timeout(WAIT_SECONDS_MAX * 1000)
        page.on("pageerror", lambda error: errors.append(f"script error: {error}"))
        page.on("request", lambda request: errors.extend(outside(request.url)))
        yield page
    assert not errors, "; ".join(errors)


def outside(url: str) -> list[str]:
    """The complaint about a URL that leads off this machine, if it does."""
    parts = urlsplit(url)
    if parts.scheme in {"data", "blob", "about"} or parts.hostname in LOOPBACK:
        return []
    return [f"request to {url}"]


def executable() -> str:
    """The installed Chromium: `CHROMIUM`, or what is on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.fail("Chromium is missing. On Debian: sudo apt-get install chromium", pytrace=False)
    return path
