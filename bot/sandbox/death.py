"""A bot's death within a process that lives on: from one moment on it reaches nothing and nobody any more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import event

from bot.app import Bot

END_SECONDS = 10.0
JOB_THREADS = "dbos-executor-"
COMPLAIN = ("dbos", "apscheduler.executors.default")


class Dead(BaseException):
    """The database of a bot that has died; nothing that catches errors is to go on."""


def die(bot: Bot) -> list[threading.Thread]:
    """
    Nothing that its threads still do is written or told: no workflow ends, no transaction is committed.

    What was committed stays, as on a disk. Gives the threads that have to find out, for `bury`; the mail server's
    lines are cut by the caller.
    """
    threads = [each for each in threading.enumerate() if each.name.startswith(JOB_THREADS)]
    bot.ready = False
    quiet(True)
    bot.workflows.stop(wait_seconds=0)
    quiet(True)  # DBOS sets its logger up again
    for moment in ("before_cursor_execute", "commit"):
        event.listen(bot.store.engine, moment, refuse)
    bot.services.stopping.set()
    return threads


def refuse(*_: Any) -> None:
    """Instead of a statement."""
    raise Dead("this bot has died")


def bury(bot: Bot, threads: Sequence[threading.Thread]) -> None:
    """Give back what the system would take from a dead process, once its threads have found out, or after a while."""
    bot.scheduler.stop()
    until = time.monotonic() + END_SECONDS
    for each in threads:
        each.join(max(0.0, until - time.monotonic()))
    bot.services.client.close()
    bot.store.close()
    bot.lock.give_back()
    quiet(False)


def quiet(on: bool) -> None:
    """Whether what a dead bot's threads run into is kept out of the log."""
    for name in COMPLAIN:
        logging.getLogger(name).disabled = on
