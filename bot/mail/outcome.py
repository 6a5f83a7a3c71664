"""The values a copy is asked with and answers with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, tzinfo
from enum import StrEnum

from bot.mail.notes import Note
from bot.mail.pace import Hours
from bot.words import Words, say


@dataclass(frozen=True)
class Filter:
    """Which mail is meant; the default is all of it."""

    since: date | None = None  # by INTERNALDATE, as the server dates it
    folders: tuple[str, ...] = ()  # display names, last parts, or Inbox, Sent, Drafts, Trash, Junk
    without_junk: bool = False


@dataclass(frozen=True)
class Limits:
    """How hard to work, and for how long at a time."""

    connections: int = 1  # to the target
    source_connections: int = 1
    budget_bytes: int = 8_000_000  # mail held in memory
    mails_max: int | None = None
    seconds_max: float | None = None  # of the whole call; but a call with something to copy copies something
    silence_seconds: float = 120.0  # without a byte: the connection is lost
    command_seconds: float = 900.0  # for any command, and a second more for each kilobyte that moves
    adaptive: bool = False  # begin with one connection where that is wise, add more while they help
    mails_per_second: float | None = None
    bytes_per_second: float | None = None
    hours: Hours | None = None  # outside of these a call ends unfinished
    zone: tzinfo | None = None  # of the hours; None is the machine's own
    wrap_refused: bool = False  # what the target refuses for its bytes goes as an attachment


class RefusalReason(StrEnum):
    """Why a mail was not copied; each has a sentence in the catalogue (`mail.refusal_<reason>`)."""

    TOO_BIG = "too_big"
    CONTENT = "content"  # NUL, 8-bit header, long line: the target does not take such bytes
    BUSY = "busy"  # the target stayed busy
    LOST = "lost"  # the connection broke each time with this mail
    UNREADABLE = "unreadable"  # the source lists it but does not give it
    OTHER = "other"


RETRIED = (RefusalReason.BUSY, RefusalReason.LOST, RefusalReason.UNREADABLE)  # by the next call


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

    def kept_words(self) -> Words:
        """When it was stored as an attachment."""
        return say("mail.kept_wrapped", detail=self.detail)


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
    wrapped: list[Refusal] = field(default_factory=list)  # stored as attachments, and why; of the whole ledger
    waits_seconds: float = 0.0  # until the hours in which copying is allowed
    connections: int = 1  # to the target, at the end
