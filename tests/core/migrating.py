"""What each of several processes does that start at once on one database; imports nothing of the tests."""

from __future__ import annotations

from bot.clock import SystemClock
from storage.store import Store


def migrate(url: str) -> None:
    """Bring the tables up to date, as a start does."""
    store = Store(url, SystemClock().now)
    store.migrate()
    store.close()
