"""
The production bot in a process of its own, which ends without a word at a named point.

It is forked from one that has imported everything already, so that a life begins within a second.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config  # noqa: F401
import uvicorn

import handlers
from bot import jobs, work
from bot.app import build
from bot.callback import Callback
from bot.commands import configure_logs
from bot.delivery import Sender
from bot.dispatcher import Dispatcher
from bot.sandbox.run import HOST, SandboxSettings
from bot.scheduler import Scheduler
from bot.wecom import cards, contacts, exmail
from storage.models import JobState

SHIFT = "clock-shift"  # the file in the data folder that says how far the clock was moved on
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LEASE_SECONDS = 2.0  # so that another replica takes over soon
BEAT_SECONDS = 0.4
handlers.router()  # made once, before the fork


class ToldClock:
    """The organisation's clock, as it was last told."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SHIFT

    def now(self) -> datetime:
        """The machine's time, moved on."""
        shift = float(self._path.read_text("utf-8")) if self._path.exists() else 0.0
        return datetime.now(UTC) + timedelta(seconds=shift)


def die(*_: object) -> None:
    """As by `kill -9`: nothing is flushed, closed or told."""
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, when: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Die when the function is called."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def dying(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            die()
        return original(*args, **kwargs)

    setattr(owner, name, dying)


def after(owner: Any, name: str, when: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Die when the function has done its work and nobody knows its answer yet."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def dying(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        if when(*args, **kwargs):
            die()
        return answer

    setattr(owner, name, dying)


def in_turn(kind: str, stage: str, *, committed: bool) -> None:
    """Die in the transaction that moves a job on from a stage: before or after its commit."""
    original = work.JobContext.begin

    @contextmanager
    def dying(self: work.JobContext) -> Iterator[work.JobStep]:
        with original(self) as step:
            yield step
            moved = step.job.wakes != self.wakes or step.job.state is not JobState.DUE
            here = self.kind == kind and self.stage == stage and moved
            if here and not committed:
                step.tx.session.flush()
                die()
        if here and committed:
            die()

    work.JobContext.begin = dying  # type: ignore[method-assign]


def is_card(_client: object, _to: object, message: dict[str, Any]) -> bool:
    return message["msgtype"] == "template_card"


def is_text(_client: object, _to: object, message: dict[str, Any]) -> bool:
    return message["msgtype"] == "text"


POINTS: dict[str, Callable[[], None]] = {
    "never": lambda: None,
    "before the row is stored": lambda: before(Callback, "accept"),
    "stored, not acknowledged": lambda: after(Callback, "accept"),
    "acknowledged, not started": lambda: before(Callback, "begin"),
    "started, not decided": lambda: before(Dispatcher, "decide"),
    "decided, not committed": lambda: after(Dispatcher, "handle"),
    "committed, not started": lambda: after(Dispatcher, "decide"),
    "before a text is sent": lambda: before(cards, "_send", is_text),
    "text sent, answer not stored": lambda: after(cards, "_send", is_text),
    "before a card is sent": lambda: before(cards, "_send", is_card),
    "card sent, answer not stored": lambda: after(cards, "_send", is_card),
    "sent and stored, next not started": lambda: after(Sender, "over"),
    "minted, not stored": lambda: after(exmail, "mint_auth_code"),
    "deleted, not stored": lambda: after(exmail, "publicmail_delete"),
    "made, not stored": lambda: after(exmail, "publicmail_create"),
    "renamed, not stored": lambda: after(contacts, "update_member", lambda *_, **told: "address" in told),
    "before the card is redrawn": lambda: before(cards, "update_card"),
    "card redrawn, not stored": lambda: after(cards, "update_card"),
}
for _stage in ("start", "access", "preview", "copy", "verify", "receipt", "cleanup"):
    POINTS[f"in {_stage}, not committed"] = functools.partial(in_turn, "backup", _stage, committed=False)
    POINTS[f"in {_stage}, committed"] = functools.partial(in_turn, "backup", _stage, committed=True)
for _kind, _stages in (
    ("reassign", ("start", "prepare", "facts", "reclaim", "assign", "finish", "cleanup")),
    ("handover", ("check",)),
    ("rescue", ("start", "convert", "saving", "cleanup")),
    ("public", ("act",)),
    ("public-change", ("act",)),
    ("group", ("act",)),
    ("seats", ("act",)),
    ("freeze", ("act",)),
    ("rename", ("call", "alias")),
    ("deletion", ("start", "access", "check", "delete", "cleanup")),
):
    for _stage in _stages:
        for _when, _committed in (("not committed", False), ("committed", True)):
            POINTS[f"{_kind}: {_stage}, {_when}"] = functools.partial(in_turn, _kind, _stage, committed=_committed)


def run(values: dict[str, Any], port: int, point: str, log: str) -> None:
    """Run until killed, by the point or by the test."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with Path(log).open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    configure_logs()
    jobs.LEASE_SECONDS = LEASE_SECONDS
    Scheduler.__init__.__kwdefaults__["beat_seconds"] = BEAT_SECONDS  # type: ignore[index]
    POINTS[point]()
    settings = SandboxSettings(**values)
    bot = build(settings, clock=ToldClock(settings.bot_data_dir))
    uvicorn.run(bot.web, host=HOST, port=port, access_log=False, log_level="warning")
