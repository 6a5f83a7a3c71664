"""One connection's state: who is logged in, what it may see, which folder is open; and how it speaks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from bot.clock import Clock
from bot.sandbox.mail.boxes import Folder, Mailbox, Message, OnLine
from bot.sandbox.mail.faults import Faults, size_of, trips
from bot.sandbox.mail.stream import Inbound, Outbound

NOT_FOUND = "Folder not exist!"
BUSY = "System busy!"
LOGIN_FAIL = (
    "Login fail. Account is abnormal, service is not open, password is incorrect, "
    "login frequency limited, or system is busy"
)
LOGGED_CHARACTERS_MAX = 400


class No(Exception):
    """The command is refused with this text (a response code may lead it)."""


class Bad(Exception):
    """The command is not understood."""


class Drop(Exception):
    """The line closes now; what has been sent before still arrives."""


class Silence(Exception):
    """No tagged answer."""


class House(Protocol):
    """What a connection needs of the server."""

    clock: Clock
    faults: Faults
    on_line: OnLine | None

    def mailbox(self, address: str) -> Mailbox | None: ...


class Selected:
    """An open folder: `view` holds the UIDs this session has been told of, rising; its index + 1 is the number."""

    def __init__(self, folder: Folder, *, read_only: bool, since: datetime | None, wake: Callable[[], None]) -> None:
        self.folder = folder
        self.read_only = read_only
        self.since = since
        self.wake = wake
        self.view = [uid for uid, message in folder.messages.items() if self.shows(message)]
        self.last_uid = folder.uidnext - 1
        self.gone: list[int] = []
        self.changed: set[int] = set()
        self.void = False
        folder.watchers.append(self)

    def shows(self, message: Message) -> bool:
        return self.since is None or message.date >= self.since

    def close(self) -> None:
        if self in self.folder.watchers:
            self.folder.watchers.remove(self)

    def number(self, uid: int) -> int | None:
        """The sequence number of a UID, None when this session does not know it."""
        index = bisect_left(self.view, uid)
        return index + 1 if index < len(self.view) and self.view[index] == uid else None

    def take_new(self) -> int:
        """Add what has arrived to the view; how many."""
        found = []
        for uid in reversed(self.folder.messages):
            if uid <= self.last_uid:
                break
            if self.shows(self.folder.messages[uid]):
                found.append(uid)
        self.view.extend(reversed(found))
        self.last_uid = self.folder.uidnext - 1
        return len(found)

    # what the folder tells

    def added(self) -> None:
        self.wake()

    def expunged(self, uid: int) -> None:
        self.gone.append(uid)
        self.wake()

    def flags_changed(self, uid: int) -> None:
        self.changed.add(uid)
        self.wake()

    def renumbered(self) -> None:
        self.void = True
        self.wake()


class Session:
    """What the commands work on."""

    def __init__(self, house: House, inbound: Inbound, outbound: Outbound) -> None:
        self.house = house
        self.inbound = inbound
        self.outbound = outbound
        self.mailbox: Mailbox | None = None
        self.window_days: int | None = None
        self.show_custom = True
        self.selected: Selected | None = None
        self.command = ""
        self.identified = False
        self.woken: Callable[[], None] = lambda: None

    # the account

    @property
    def box(self) -> Mailbox:
        assert self.mailbox is not None  # noqa: S101 -- the dispatcher has checked the state
        return self.mailbox

    @property
    def open_folder(self) -> Selected:
        if self.selected is None:
            raise No("No folder selected!")
        return self.selected

    def visible(self, folder: Folder) -> bool:
        """Whether this session may see the folder at all: custom ones hide behind the mailbox's own setting."""
        return folder.is_system or self.show_custom

    def folder(self, wire: str, text: str = NOT_FOUND) -> Folder:
        """The folder of that wire name; No(text) when there is none or it is hidden."""
        folder = self.box.find(wire)
        if folder is None or not self.visible(folder):
            raise No(text)
        return folder

    def log_out(self) -> None:
        """Let go of folder and mailbox."""
        self.close_folder()
        if self.mailbox is not None:
            self.mailbox.sessions -= 1
            self.mailbox = None

    def close_folder(self) -> None:
        if self.selected is not None:
            self.selected.close()
            self.selected = None

    def select(self, folder: Folder, *, read_only: bool) -> Selected:
        self.close_folder()
        since = self.box.since(self.window_days)
        self.selected = Selected(folder, read_only=read_only, since=since, wake=lambda: self.woken())
        return self.selected

    # the switches

    @property
    def layers(self) -> tuple[Faults, ...]:
        return (self.house.faults,) if self.mailbox is None else (self.mailbox.faults, self.house.faults)

    def trips(self, fault: str) -> bool:
        """Whether a fault strikes this command, counting it down."""
        return trips(fault, self.command, *self.layers)

    def armed(self, fault: str) -> bool:
        """Whether a fault could strike; nothing is counted."""
        return any(fault in layer for layer in self.layers)

    def size_of(self, fault: str) -> int:
        """The number a switch is set to, 0 when it is off."""
        return size_of(fault, *self.layers)

    # speech

    def log(self, direction: str, line: str) -> None:
        if self.house.on_line is not None:
            user = self.mailbox.address if self.mailbox else ""
            self.house.on_line(user, direction, line[:LOGGED_CHARACTERS_MAX])

    def say(self, line: str) -> None:
        """Put an answer's line into what is sent next."""
        if self.house.on_line is not None:
            self.log("server", line)
        self.outbound.add(line.encode("utf-8") + b"\r\n")

    async def ask_for_more(self, text: str = "+ Ready for additional command text") -> None:
        """The continuation a literal waits for."""
        self.say(text)
        await self.outbound.flush()

    def tell_changes(self, *, expunged: bool) -> None:
        """Untagged news of the open folder; sequence numbers may only change where RFC 3501 lets them."""
        selected = self.selected
        if selected is None:
            return
        if expunged and selected.gone:
            gone, selected.gone = selected.gone, []
            for uid in gone:
                number = selected.number(uid)
                if number is not None:
                    self.say(f"* {number} EXPUNGE")
                    del selected.view[number - 1]
        if selected.changed:
            changed, selected.changed = selected.changed, set()
            for uid in sorted(changed):
                number, message = selected.number(uid), selected.folder.messages.get(uid)
                if number is not None and message is not None:
                    self.say(f"* {number} FETCH (UID {uid} FLAGS {self.flag_list(message.flags)})")
        if selected.take_new():
            self.say(f"* {self.exists(selected)} EXISTS")

    def exists(self, selected: Selected) -> int:
        return len(selected.view) + self.size_of("exists_larger")

    def flag_list(self, flags: frozenset[str]) -> str:
        text = " ".join(sorted(flags))
        return f"({text.upper() if self.trips('flags_upper') else text})"
