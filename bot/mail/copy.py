"""Mail from one mailbox into another: byte for byte, with flags and dates, each mail once, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from bot.mail.ledger import Ledger
from bot.mail.plan import Filter, Note
from bot.mail.session import MailAccount
from bot.words import Words, say


@dataclass(frozen=True)
class Limits:
    """How hard to work, and for how long at a time."""

    connections: int = 1  # to the target
    source_connections: int = 1
    budget_bytes: int = 8_000_000  # mail held in memory
    mails_max: int | None = None
    seconds_max: float | None = None
    silence_seconds: float = 120.0  # without a byte: the connection is lost


class RefusalReason(StrEnum):
    """Why a mail was not copied; each has a sentence in the catalogue (`mail.refusal_<reason>`)."""

    TOO_BIG = "too_big"
    CONTENT = "content"  # NUL, 8-bit header, long line: the target does not take such bytes
    BUSY = "busy"  # the target stayed busy
    LOST = "lost"  # the connection broke each time with this mail
    UNREADABLE = "unreadable"  # the source lists it but does not give it
    OTHER = "other"


@dataclass(frozen=True)
class Refusal:
    """A mail that was not copied, so that a person can find it; `detail` is the server's own text."""

    folder: str  # display
    uid: int
    size_bytes: int
    subject: str
    date: str  # the Date header, else INTERNALDATE
    reason: RefusalReason
    detail: str

    def words(self) -> Words:
        return say(f"mail.refusal_{self.reason}", detail=self.detail)


@dataclass(frozen=True)
class Progress:
    """How far a copy is; counts are of the whole ledger, the rate of this call."""

    done: int  # stored in all
    planned: int  # still to come
    refused: int
    size_bytes: int  # of what is stored
    planned_bytes: int
    folder: str  # display
    seconds: float
    stored: int  # by this call


@dataclass(frozen=True)
class FolderOutcome:
    """What the ledger says about a folder after this call."""

    name: str  # display
    target: str  # display
    stored: int
    planned: int
    refused: int
    gone: int
    size_bytes: int  # stored


@dataclass(frozen=True)
class CopyOutcome:
    """
    What one call did. `finished` is False when a limit or `should_stop` ended it: call again.

    `stored` and `size_bytes` are this call's, `already` what an earlier one had stored; `refused` and `folders` are of
    the whole ledger.
    """

    finished: bool
    stored: int
    already: int
    size_bytes: int
    seconds: float
    refused: list[Refusal] = field(default_factory=list)
    folders: list[FolderOutcome] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    adopted: int = 0  # stored by a run that was killed before it could write it down
    removed: int = 0  # second copies such a run had left
    reconnects: int = 0


async def copy_mail(
    source: MailAccount,
    target: MailAccount,
    *,
    into: str,
    filter: Filter,  # noqa: A002 - the word people use
    ledger: Ledger,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    exclude_roots: tuple[str, ...] = (),
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> CopyOutcome:
    """
    Copy what the ledger lacks: source folder X into `into`/X (display names, "/" between parts).

    Safe to run again after a crash at any point; two runs at once on one ledger are the caller's to prevent. Raises
    QuotaFull, LoginRefused, ConnectionLost (reconnecting was tried), FolderRefused (the root cannot be made),
    MailError; the ledger then holds what was done. A single refused mail is a line in the outcome.
    """
    raise NotImplementedError
