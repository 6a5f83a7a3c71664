"""What would be copied, and what a person must know before he says yes. Reads both sides, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from bot.mail.session import MailAccount
from bot.words import Words, say


@dataclass(frozen=True)
class Filter:
    """Which mail is meant; the default is all of it."""

    since: date | None = None  # by INTERNALDATE, as the server dates it
    folders: tuple[str, ...] = ()  # display names, last parts, or Inbox, Sent, Drafts, Trash, Junk
    without_junk: bool = False


class NoteKind(StrEnum):
    """What a person should know; each has a sentence in the catalogue (`mail.note_<kind>`)."""

    WINDOW = "window"  # nothing older than 31 days anywhere
    HIDDEN_FOLDERS = "hidden_folders"  # only the system folders are visible
    TARGET_HIDES = "target_hides"  # what was stored cannot be seen in the target
    NAME_CHANGED = "name_changed"
    OWN_BACKUP = "own_backup"  # a backup root inside the source, left out
    FOLDER_UNREADABLE = "folder_unreadable"
    FOLDER_UNKNOWN = "folder_unknown"  # asked for by the filter, not there
    TOO_BIG = "too_big"  # larger than the target says it takes
    DELETED_FLAG = "deleted_flag"  # copied without \Deleted
    KEYWORDS_DROPPED = "keywords_dropped"
    DATES_IGNORED = "dates_ignored"
    BYTES_CHANGED = "bytes_changed"
    DOUBLE_LISTED = "double_listed"  # a second copy, left where it is


@dataclass(frozen=True)
class Note:
    """One thing to know; `folder` is a display name, or empty when it is about the mailbox."""

    kind: NoteKind
    folder: str = ""
    detail: str = ""

    def words(self) -> Words:
        return say(f"mail.note_{self.kind}", folder=self.folder, detail=self.detail)


@dataclass(frozen=True)
class FolderPlan:
    """A folder of the source and where it would go."""

    name: str  # display
    wire: str
    target: str  # display
    messages: int
    size_bytes: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class Plan:
    """Folders in the server's order; `target_size_bytes` is the target's own mail, None when it was not looked at."""

    folders: list[FolderPlan] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    target_size_bytes: int | None = None
    target_quota_bytes: int | None = None  # only when the server tells it (RFC 2087)

    @property
    def messages(self) -> int:
        return sum(each.messages for each in self.folders)

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.folders)

    @property
    def oldest(self) -> datetime | None:
        return min((each.oldest for each in self.folders if each.oldest), default=None)

    @property
    def newest(self) -> datetime | None:
        return max((each.newest for each in self.folders if each.newest), default=None)


async def make_plan(
    source: MailAccount,
    target: MailAccount | None,
    *,
    into: str,
    filter: Filter,  # noqa: A002 - the word people use
    now: datetime,
    exclude_roots: tuple[str, ...] = (),
    silence_seconds: float = 120.0,
) -> Plan:
    """
    Look at both sides and say what `copy_mail` with the same arguments would copy.

    Raises LoginRefused, NotReachable, ConnectionLost, MailError.
    """
    raise NotImplementedError
