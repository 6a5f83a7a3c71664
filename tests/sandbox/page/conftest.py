"""Sandboxes and a page of somebody who looks at them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.sandbox.page.world import DESKTOP, Served, opened
from tests.servers.chromium import browsing


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One for all tests of the page that come one after another; see tests/servers/chromium.py why not for more."""
    with browsing() as browser:
        yield browser


@pytest.fixture
def served() -> Iterator[Served]:
    """A sandbox with empty mailboxes."""
    served = Served()
    yield served
    served.stop()


@pytest.fixture
def seeded() -> Iterator[Served]:
    """A sandbox with the sample mail."""
    served = Served(seeded=True)
    yield served
    served.stop()


@pytest.fixture
def english(chromium: Browser) -> Iterator[Page]:
    """A page of somebody whose browser speaks English; it fails on script errors and on anything the policy stopped."""
    yield from opened(chromium, "en-GB", DESKTOP)
