"""A bot that dies within a living process: nothing it was doing comes to anything."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text

from bot.app import Bot
from bot.clock import SystemClock
from bot.sandbox.death import COMPLAIN, Dead, bury, die
from storage.base import Base
from storage.store import Store


class Standing:
    """What a death touches of a bot, on a database of its own; `done` is what it was asked to do."""

    def __init__(self, url: str) -> None:
        self.done: list[str] = []
        self.ready, self.store = True, Store(url, SystemClock().now)
        stopping = threading.Event()
        self.workflows = SimpleNamespace(stop=lambda wait_seconds: self.done.append(f"stopped in {wait_seconds}"))
        self.scheduler = SimpleNamespace(stop=lambda: self.done.append("scheduler"))
        self.services = SimpleNamespace(
            stopping=stopping, client=SimpleNamespace(close=lambda: self.done.append("client"))
        )
        self.lock = SimpleNamespace(give_back=lambda: self.done.append("lock"))


@pytest.mark.parametrize("error", [ValueError("a bug"), None])
def test_what_was_committed_stays_and_no_more_comes_to_it(tmp_path: Path, error: Exception | None) -> None:
    """Not what a thread had written before the death, nor what it writes after it, however it catches errors."""
    url = f"sqlite:///{tmp_path / 'bot.sqlite'}"
    standing: Any = Standing(url)
    Base.metadata.create_all(standing.store.engine)
    with standing.store.begin() as tx:
        tx.moments.happened("before")

    def dying() -> None:
        with standing.store.begin() as tx:
            tx.moments.happened("under way")
            tx.session.flush()
            die(cast(Bot, standing))
            if error is not None:
                raise error

    with pytest.raises(BaseException, match="a bug" if error is not None else "has died"):
        dying()
    with pytest.raises(Dead), standing.store.begin() as tx:
        tx.moments.happened("after")
    with pytest.raises(Dead), suppress(Exception), standing.store.engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # not even a look, and no handler of errors goes on
    assert (standing.ready, standing.services.stopping.is_set()) == (False, True)
    assert standing.done == ["stopped in 0"], "a dead process waits for nobody"

    bury(cast(Bot, standing), [])
    assert standing.done[1:] == ["scheduler", "client", "lock"]
    assert not any(logging.getLogger(name).disabled for name in COMPLAIN), "the next bot's log is read again"
    next_one = Store(url, SystemClock().now)
    with next_one.begin() as tx:
        assert [tx.moments.last(each) is not None for each in ("before", "under way", "after")] == [True, False, False]
    next_one.close()
