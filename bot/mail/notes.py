"""What a person should know about a copy beyond its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.words import Words, say


class NoteKind(StrEnum):
    """What a person should know; each has a sentence in the catalogue (`mail.note_<kind>`)."""

    WINDOW = "window"  # nothing older than 31 days anywhere
    HIDDEN_FOLDERS = "hidden_folders"  # only the system folders are visible
    TARGET_HIDES = "target_hides"  # what was stored cannot be seen in the target
    NAME_CHANGED = "name_changed"
    OWN_BACKUP = "own_backup"  # a backup root inside the source, left out
    FOLDER_UNREADABLE = "folder_unreadable"
    FOLDER_REFUSED = "folder_refused"  # could not be made in the target; its mail is not copied
    FOLDER_UNKNOWN = "folder_unknown"  # asked for by the filter, not there
    TOO_BIG = "too_big"  # larger than the target says it takes
    DELETED_FLAG = "deleted_flag"  # copied without \Deleted
    KEYWORDS_DROPPED = "keywords_dropped"
    DATES_IGNORED = "dates_ignored"
    BYTES_CHANGED = "bytes_changed"
    NOT_COMPARED = "not_compared"  # the target changes bytes, and the source's mail is not there to compare
    FEWER_SHOWN = "fewer_shown"  # the source counts more mails in a folder than it shows
    DOUBLE_LISTED = "double_listed"  # a second copy, left where it is


@dataclass(frozen=True)
class Note:
    """One thing to know; `folder` is a display name, or empty when it is about the mailbox."""

    kind: NoteKind
    folder: str = ""
    detail: str = ""

    def words(self) -> Words:
        return say(f"mail.note_{self.kind}", folder=self.folder, detail=self.detail)
