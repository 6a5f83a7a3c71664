"""What the parts of a copy share: one folder's work, and the turn that makes all of them look again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bot.mail.errors import MailError
from bot.mail.ledger import FolderRecord
from bot.mail.names import DisplayName, WireName

ASK_SECONDS = 0.2

Result = TypeVar("Result")


class GivenUp(Exception):
    """Who wanted it wants it no more."""


def never() -> bool:
    return False


async def unless(give_up: Callable[[], bool], work: Coroutine[Any, Any, Result]) -> Result:
    """The work, asked every moment whether it is still wanted. Raises GivenUp as soon as it is not."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=ASK_SECONDS))[0]:
            if give_up():
                raise GivenUp
        return task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


class Renumbered(MailError):
    """A folder got a new UIDVALIDITY, or vanished, while we worked: what we know of it must be matched anew."""


class ServerBusy(MailError):
    """A folder was refused for the moment only."""


@dataclass(eq=False)
class Job:
    """One source folder on its way into one target folder."""

    record: FolderRecord
    source: WireName
    target: WireName
    name: DisplayName
    target_name: DisplayName
    permanent_flags: frozenset[str] | None
    fresh: bool  # the ledger has never seen it: nothing of ours can be in the target
    skipped: bool = False  # the source would not open it
    target_uidvalidity: int = 0  # as the target tells it now
    target_uidnext: int | None = None
    look_from: int | None = None  # also below the mark: the target has given new numbers in this call
    strangers: set[int] = field(default_factory=set)  # target UIDs looked at and found not to be ours
    deleted_flags: int = 0
    keywords_dropped: int = 0
