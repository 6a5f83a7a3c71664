"""Mailboxes, folders and mails of the simulated server, without a word of IMAP."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from bot.clock import Clock
from bot.sandbox.mail import utf7
from bot.sandbox.mail.faults import Faults

INBOX = "INBOX"
SYSTEM_FOLDERS = (INBOX, "Sent Messages", "Drafts", "Deleted Messages", "Junk")
ROOT = "其他文件夹"
"""Exmail's parent of every folder people make; it cannot be opened (exmail-behaviour 7.4)."""

SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "\\Seen")
NOT_COUNTED_UNREAD = ("Sent Messages", "Drafts", "Deleted Messages", "Junk")
TROUBLES = {
    "ghost": "counted by EXISTS, never returned by FETCH",
    "refuse": "FETCH of its body answers NO",
    "empty": "its body comes back empty",
    "size": "RFC822.SIZE is seven bytes too many",
    "hang": "FETCH of its body never ends",
    "drop": "FETCH of its body closes the line",
}

GIB = 1 << 30


@dataclass(slots=True)
class Message:
    """One mail: its bytes as they came, held once; `trouble` is a name of `TROUBLES`."""

    uid: int
    raw: bytes
    flags: frozenset[str]
    date: datetime
    appended: bool = False
    trouble: str = ""

    @property
    def size_bytes(self) -> int:
        return len(self.raw)


class Watcher(Protocol):
    """A session that has a folder open and wants to hear of changes by others."""

    def added(self) -> None: ...
    def expunged(self, uid: int) -> None: ...
    def flags_changed(self, uid: int) -> None: ...
    def renumbered(self) -> None: ...


class Folder:
    """A folder: `messages` by UID, rising; change it through its methods, which keep the sums and tell the watchers."""

    def __init__(self, name: str, *, wire: str | None = None, uidvalidity: int) -> None:
        self.name = name
        self.wire = utf7.encode(name) if wire is None else wire
        self.uidvalidity = uidvalidity
        self.uidnext = 1
        self.messages: dict[int, Message] = {}
        self.size_bytes = 0
        self.unseen = 0
        self.deleted: set[int] = set()
        self.subscribed = True
        self.locked = False  # SELECT and EXAMINE of it end the session (imap-quirks 39)
        self.watchers: list[Watcher] = []

    @property
    def is_system(self) -> bool:
        return self.name in SYSTEM_FOLDERS

    def add(self, raw: bytes, when: datetime, flags: Iterable[str] = (), *, appended: bool = False) -> Message:
        """Store a mail under the next UID; `when` must be aware, and is kept to the second, as IMAP has it."""
        if when.tzinfo is None:
            raise ValueError("a mail's date needs a time zone")
        message = Message(self.uidnext, raw, frozenset(), when.replace(microsecond=0), appended)
        self.uidnext += 1
        self.messages[message.uid] = message
        self.size_bytes += len(raw)
        self.unseen += 1
        self.set_flags(message, flags)
        for watcher in self.watchers:
            watcher.added()
        return message

    def set_flags(self, message: Message, flags: Iterable[str], *, by: Watcher | None = None) -> None:
        """Replace a mail's flags; every watcher but `by` is told."""
        flags = frozenset(flags) - {"\\Recent"}
        self.unseen += ("\\Seen" in message.flags) - ("\\Seen" in flags)
        if "\\Deleted" in flags:
            self.deleted.add(message.uid)
        else:
            self.deleted.discard(message.uid)
        message.flags = flags
        for watcher in self.watchers:
            if watcher is not by:
                watcher.flags_changed(message.uid)

    def expunge(self, uid: int) -> None:
        """Remove a mail for good; one that is gone already is no error."""
        message = self.messages.pop(uid, None)
        if message is None:
            return
        self.size_bytes -= len(message.raw)
        self.unseen -= "\\Seen" not in message.flags
        self.deleted.discard(uid)
        for watcher in self.watchers:
            watcher.expunged(uid)

    def renumber(self) -> None:
        """A new UIDVALIDITY, and the same mails under new UIDs, as after a server's repair."""
        messages = list(self.messages.values())
        self.uidvalidity += 1
        self.deleted.clear()
        self.messages = {}
        self.uidnext = 1
        for message in messages:
            message.uid = self.uidnext
            self.messages[message.uid] = message
            if "\\Deleted" in message.flags:
                self.deleted.add(message.uid)
            self.uidnext += 1
        for watcher in self.watchers:
            watcher.renumbered()


@dataclass(eq=False)
class Mailbox:
    """
    An account: its folders, its client passwords, and the settings its owner has in webmail.

    `window_days` and `show_custom` are what a session sees from its login on; `imap_on` and `disabled` count at once.
    """

    address: str
    clock: Clock
    quota_bytes: int = GIB
    aliases: set[str] = field(default_factory=set)
    passwords: dict[int, str] = field(default_factory=dict, repr=False)
    last_used: dict[int, datetime] = field(default_factory=dict)  # of a password, by its id
    imap_on: bool = True
    disabled: bool = False
    window_days: int | None = None
    show_custom: bool = True
    folders: dict[str, Folder] = field(default_factory=dict, repr=False)
    faults: Faults = field(default_factory=Faults, repr=False)
    removed: bool = False
    logins: list[datetime] = field(default_factory=list, repr=False)
    sessions: int = 0
    minted: int = 0

    def __post_init__(self) -> None:
        self.uidvalidity = 1_700_000_000
        for name in SYSTEM_FOLDERS:
            self.add_folder(name)

    @property
    def open(self) -> bool:
        """Whether the service is open: not frozen, not gone, IMAP switched on."""
        return self.imap_on and not self.disabled and not self.removed

    def mint(self) -> tuple[int, str]:
        """A new client password and its id: 16 letters, valid at once, as many as one likes."""
        self.minted += 1
        password = "".join(secrets.choice(string.ascii_letters) for _ in range(16))
        self.passwords[self.minted] = password
        return self.minted, password

    def used(self, password: str) -> bool:
        """Whether it is one of the client passwords; then it is used now."""
        number = next((each for each, known in self.passwords.items() if known == password), None)
        if number is None:
            return False
        self.last_used[number] = self.clock.now()
        return True

    def revoke(self, number: int) -> bool:
        """Forget a client password; False when there is none with that id. Open sessions go on."""
        self.last_used.pop(number, None)
        return self.passwords.pop(number, None) is not None

    def add_folder(self, name: str, *, wire: str | None = None) -> Folder:
        """
        The folder of that display name, made with its parents if it is not there.

        `wire` is what it is called over IMAP when that is not the name's modified UTF-7 (broken names of old servers).
        """
        name = canonical(name)
        if not name or name == ROOT:
            raise ValueError(f"no folder can be called {name!r}")
        if name in self.folders:
            return self.folders[name]
        parent = name.rpartition("/")[0]
        if parent and parent != ROOT:
            self.add_folder(parent)
        self.uidvalidity += 7
        folder = Folder(name, wire=wire, uidvalidity=self.uidvalidity)
        self.folders[name] = folder
        return folder

    def remove_folder(self, folder: Folder) -> None:
        """A folder is gone with its mails; who has it open finds it renumbered, and is let go."""
        del self.folders[folder.name]
        for watcher in list(folder.watchers):
            watcher.renumbered()

    def put(self, folder: str, raw: bytes, when: datetime, flags: Iterable[str] = ()) -> int:
        """The UID of a mail put into a folder (made if need be), past quota and window; `raw` is kept as it is."""
        return self.add_folder(folder).add(raw, when, flags).uid

    def message(self, folder: str, uid: int) -> Message:
        """One mail; KeyError when there is none."""
        return self.folders[folder].messages[uid]

    def counts(self) -> dict[str, int]:
        """How many mails each folder holds, whatever IMAP may show of them."""
        return {name: len(folder.messages) for name, folder in self.folders.items()}

    @property
    def used_bytes(self) -> int:
        return sum(folder.size_bytes for folder in self.folders.values())

    def unread(self) -> int:
        """How many mails are unread, drafts, sent, deleted and junk left out."""
        return sum(folder.unseen for name, folder in self.folders.items() if name not in NOT_COUNTED_UNREAD)

    def since(self, window_days: int | None) -> datetime | None:
        """The moment a window of so many days opens, seen from now."""
        return None if window_days is None else self.clock.now() - timedelta(days=window_days)

    def find(self, wire: str) -> Folder | None:
        """The folder called so over IMAP; INBOX in any case."""
        if wire.upper() == INBOX:
            return self.folders[INBOX]
        try:
            by_name = self.folders.get(utf7.decode(wire))
        except ValueError:
            by_name = None
        if by_name is not None and by_name.wire == wire:
            return by_name
        return next((folder for folder in self.folders.values() if folder.wire == wire), None)


def canonical(name: str) -> str:
    return INBOX if name.upper() == INBOX else name


OnLine = Callable[[str, str, str], None]
"""(user or "" before login, "client" or "server", line without its end); never a password, never a mail's bytes."""
