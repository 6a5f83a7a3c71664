"""
What the copy and the verification ask of the copy ledger, and the rules it must keep.

The ledger answers one question after any crash: which mails of the source are in the target for sure? `stored` is
written only after the target has confirmed an append. What a crash left unknown lies in the target at or above the
folder's mark, owned by no line, and is found again by its bytes.

All methods are sync and quick. `stored`, `refused` and `gone` are gathered (64 lines or 50 ms) and written by `flush`,
which every question does first. Whatever `flush` raises (a lost lease, a full disk) ends the copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol


class LineState(StrEnum):
    """What became of one mail of the source."""

    PLANNED = "planned"
    STORED = "stored"
    REFUSED = "refused"
    GONE = "gone"  # left the source before it was copied


class FolderRecord(Protocol):
    """One incarnation of a source folder (its UIDVALIDITY, RFC 3501 2.3.1.1) and where it goes."""

    @property
    def id(self) -> int: ...
    @property
    def source(self) -> str: ...  # wire name, as the server spells it
    @property
    def source_uidvalidity(self) -> int: ...
    @property
    def source_uidnext(self) -> int: ...  # of the last listing: mail from here on came later
    @property
    def target(self) -> str: ...  # wire name
    @property
    def target_uidvalidity(self) -> int: ...
    @property
    def target_mark(self) -> int: ...  # target's UIDNEXT before the first append
    @property
    def current(self) -> bool: ...  # False: the source has renumbered; its lines still own what they stored


class Line(Protocol):
    """One mail of the source."""

    @property
    def folder_id(self) -> int: ...
    @property
    def uid(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def internal_date(self) -> str: ...  # as sent in APPEND; empty when the source has none
    @property
    def flags(self) -> str: ...  # of the source, a space between
    @property
    def state(self) -> str: ...
    @property
    def target_uid(self) -> int | None: ...
    @property
    def target_flags(self) -> str | None: ...  # what was sent, when it is less than `flags`
    @property
    def sha256(self) -> bytes | None: ...  # of the source's bytes
    @property
    def identity(self) -> bytes | None: ...  # where the server changes bytes, or we say something around the mail
    @property
    def attempts(self) -> int: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def detail(self) -> str | None: ...
    @property
    def subject(self) -> str | None: ...
    @property
    def date(self) -> str | None: ...
    @property
    def wrapped(self) -> bool: ...  # sent as an attachment of a mail of ours; then `sha256` is of that mail


class Ledger(Protocol):
    """The ledger of one (source incarnation, target, root)."""

    @property
    def altered(self) -> bool:
        """The target changes the bytes of what is stored: bytes do not identify a mail there."""

    def set_altered(self) -> None: ...

    @property
    def unclean(self) -> bool:
        """Sessions of ours died not long ago, and what they had sent may still land."""

    def begin_run(self) -> float | None:
        """
        Note, before the first append, that a run is under way.

        Gives how many seconds ago sessions of ours last died with something under way, 0 when a run was killed (nobody
        knows when), None when none did: remembered until a run has ended that began long after.
        """

    def died(self) -> None:
        """A session died with something under way."""

    def end_run(self) -> None:
        """Every append of this run has been answered."""

    def folders(self) -> Sequence[FolderRecord]:
        """Every folder ever seen, superseded ones included."""

    def add_folder(
        self,
        source: str,
        *,
        source_uidvalidity: int,
        source_uidnext: int,
        target: str,
        target_uidvalidity: int,
        target_mark: int,
    ) -> FolderRecord: ...

    def set_uidnext(self, folder_id: int, source_uidnext: int) -> None: ...

    def renumbered(
        self, folder_id: int, *, source_uidvalidity: int, source_uidnext: int, uids: Mapping[int, int]
    ) -> FolderRecord:
        """The source folder has a new UIDVALIDITY: a new record, and the lines in `uids` (old to new) move to it."""

    def rematched(
        self, target: str, *, target_uidvalidity: int, target_mark: int, owned: Mapping[tuple[int, int], int]
    ) -> int:
        """
        The target folder has a new UIDVALIDITY: `owned` ((folder id, UID) to target UID) is stored, and what was
        stored but is not in it becomes planned again. Gives the number of those.
        """

    def forget_places(self, target: str) -> None:
        """The target has told wrong UIDs: what is stored there keeps its state and loses its place."""

    def plan(self, folder_id: int, lines: Iterable[tuple[int, int, str, str]]) -> int:
        """
        Add what is new of (UID, size in bytes, INTERNALDATE, flags), plan again what was gone; gives how many were new.
        """

    def lines(
        self, folder_id: int, *, state: str | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[Line]:
        """Lines with UIDs over `after`, ascending."""

    def equal_lines(self, target: str, size_bytes: int, sha256: bytes) -> Sequence[Line]:
        """The lines of these very bytes whose folder goes to `target`."""

    def unread_lines(self, target: str, size_bytes: int) -> Sequence[Line]:
        """The lines of that size of whose bytes nothing is known."""

    def unplaced(self, target: str) -> Sequence[Line]:
        """Stored lines of which the target never told the UID."""

    def has_unplaced(self, target: str) -> bool:
        """Whether there are any of those."""

    def owners(self, target: str, low: int, high: int) -> Mapping[int, Line]:
        """The stored lines by target UID, for UIDs from `low` to `high`."""

    def wrapped(self, target: str) -> Sequence[Line]:
        """The lines of which the mail goes as an attachment."""

    def owned(self, target: str, low: int, high: int) -> frozenset[int]:
        """The target UIDs from `low` to `high` that a stored line owns."""

    def known(self, folder_id: int, low: int, high: int) -> frozenset[int]:
        """The UIDs of a folder that have a line, from `low` to `high`."""

    def stored(
        self,
        folder_id: int,
        uid: int,
        *,
        target_uid: int | None,
        sha256: bytes,
        size_bytes: int | None = None,
        identity: bytes | None = None,
        target_flags: str | None = None,
    ) -> None:
        """The target has confirmed it; `size_bytes` is what was really read of the source."""

    def refused(
        self,
        folder_id: int,
        uid: int,
        *,
        reason: str,
        detail: str,
        subject: str | None,
        date: str | None,
    ) -> None:
        """It could not be copied, and why; counts an attempt."""

    def wrap(
        self, folder_id: int, uid: int, *, reason: str, detail: str, subject: str | None, date: str | None
    ) -> None:
        """It was refused for its bytes: from now on it goes as an attachment. Still planned."""

    def describe(self, folder_id: int, uid: int, *, subject: str, date: str) -> None:
        """Say later which mail was refused."""

    def gone(self, folder_id: int, uid: int) -> None: ...

    def retry_refused(
        self, *, attempts_max: int | None = None, reasons: Sequence[str] | None = None, wrapped: bool = False
    ) -> int:
        """
        Plan refused mails once more: those tried less than `attempts_max` times, for these reasons; how many.

        `wrapped`: as attachments.
        """

    def refusals(self) -> Sequence[Line]: ...

    def attached(self) -> Sequence[Line]:
        """Stored as attachments; `detail` says why."""

    def counts(self, folder_id: int) -> Mapping[str, tuple[int, int]]:
        """Number and bytes by state."""

    def flush(self, *, durable: bool = False) -> None:
        """Write what is gathered; `durable` waits for the disk (the mark must be there before the first append)."""
