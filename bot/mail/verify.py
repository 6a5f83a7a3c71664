"""Whether the target holds what the ledger says, and the ledger what the source shows. Without SEARCH."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.mail.ledger import Ledger
from bot.mail.plan import Filter, Note
from bot.mail.session import MailAccount


@dataclass(frozen=True)
class FolderCheck:
    """One folder, compared."""

    name: str  # display
    target: str  # display
    stored: int  # by the ledger
    found: int  # of these, in the target
    hashed: int  # of these, read back and compared byte for byte
    missing: int  # stored, not found
    different: int  # size, flags, date or bytes
    not_copied: int  # in the source, planned or unknown to the ledger
    refused: int
    newer: int  # came to the source after the copy listed it
    foreign: int  # in the target folder, not ours

    @property
    def ok(self) -> bool:
        return not (self.missing or self.different or self.not_copied)


@dataclass(frozen=True)
class Verification:
    """`ok`: both sides agree for everything not refused; `refused` mails are the caller's to weigh."""

    ok: bool
    folders: list[FolderCheck] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)  # at most DIFFERENCES_MAX, for people
    refused: int = 0
    hashed: int = 0
    notes: list[Note] = field(default_factory=list)


async def verify_copy(
    source: MailAccount | None,
    target: MailAccount,
    *,
    ledger: Ledger,
    filter: Filter = Filter(),  # noqa: A002, B008 - the word people use; frozen
    sample: int = 20,
    silence_seconds: float = 120.0,
) -> Verification:
    """
    Compare per folder: UID, size, flags, date of all; the bytes of a sample (of all when the copy is small).

    With `source` also whether the source shows anything (within `filter`) that was not copied; without it, months
    later, the target against the ledger. Raises LoginRefused, ConnectionLost, MailError.
    """
    raise NotImplementedError
