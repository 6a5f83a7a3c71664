"""What the answers of a server tell: of a command, of a folder, of all folders."""

from __future__ import annotations

import re
from typing import NamedTuple

from bot.mail import wire
from bot.mail.errors import CommandRefused
from bot.mail.names import Folder, WireName


class Done(NamedTuple):
    """The tagged answer to a command, and the untagged responses that came with it if they were wanted."""

    status: str  # OK, NO, BAD
    text: str
    lines: list[wire.Response]

    @property
    def ok(self) -> bool:
        return self.status == "OK"


class Selected(NamedTuple):
    """What EXAMINE or SELECT told."""

    uidvalidity: int
    uidnext: int | None
    exists: int
    permanent_flags: frozenset[str] | None  # lower case; None when not told


class Status(NamedTuple):
    """What STATUS told."""

    uidvalidity: int
    uidnext: int
    messages: int


def checked(done: Done, mailbox: str) -> Done:
    """The answer if it was OK. Raises CommandRefused."""
    if not done.ok:
        raise CommandRefused(done.status, done.text, mailbox=mailbox)
    return done


def announced(text: str) -> frozenset[str]:
    """The capabilities in a greeting or an OK; none when it tells none."""
    found = re.search(r"\[CAPABILITY ([^\]]*)\]", text, re.IGNORECASE)
    return frozenset(found[1].upper().split()) if found else frozenset()


def selected(done: Done, mailbox: str) -> Selected:
    """The answer to EXAMINE or SELECT. Raises CommandRefused, also when there is no UIDVALIDITY to rely on."""
    checked(done, mailbox)
    text = b"\r\n".join(line.line for line in done.lines) + b"\r\n" + done.text.encode("utf-8", "replace")
    uidvalidity = re.search(rb"\[UIDVALIDITY (\d{1,20})\b", text, re.IGNORECASE)
    uidnext = re.search(rb"\[UIDNEXT (\d{1,20})\b", text, re.IGNORECASE)
    exists = re.search(rb"(?m)^\* (\d{1,20}) EXISTS", text, re.IGNORECASE)
    permanent = re.search(rb"\[PERMANENTFLAGS \(([^)]*)\)", text, re.IGNORECASE)
    if uidvalidity is None:
        raise CommandRefused("NO", "the folder has no UIDVALIDITY", mailbox=mailbox)
    return Selected(
        int(uidvalidity[1]),
        int(uidnext[1]) if uidnext else None,
        int(exists[1]) if exists else 0,
        frozenset(permanent[1].decode("latin-1").casefold().split()) if permanent else None,
    )


def folders_of(answer: Done) -> list[Folder]:
    """The answer to LIST."""
    return [folder for line in answer.lines if (folder := listed(line)) is not None]


def listed(line: wire.Response) -> Folder | None:
    """A LIST response as a folder."""
    match wire.values(line.parts):
        case [_, bytes() as word, [*flags], delimiter, bytes() as name] if word.upper() in (b"LIST", b"XLIST"):
            return Folder(
                WireName(name.decode("latin-1")),
                delimiter.decode("latin-1") if isinstance(delimiter, bytes) else "",
                frozenset(flag.decode("latin-1").casefold() for flag in flags if isinstance(flag, bytes)),
            )
    return None


def status_of(done: Done) -> Status | None:
    """The answer to STATUS; None when it was refused or lacks something."""
    found = (status_in(line) for line in (done.lines if done.ok else ()))
    return next((each[1] for each in found if each is not None), None)


def status_in(line: wire.Response) -> tuple[WireName, Status] | None:
    """A STATUS response: of which folder, and what; None when it is something else or lacks something."""
    match wire.values(line.parts):
        case [_, bytes() as word, name, [*pairs]] if word.upper() == b"STATUS":
            told = {
                name.upper(): int(value)
                for name, value in zip(pairs[::2], pairs[1::2], strict=False)
                if isinstance(name, bytes) and isinstance(value, bytes) and wire.is_number(value)
            }
            if {b"UIDVALIDITY", b"UIDNEXT", b"MESSAGES"} <= told.keys():
                status = Status(told[b"UIDVALIDITY"], told[b"UIDNEXT"], told[b"MESSAGES"])
                return WireName(name.decode("latin-1") if isinstance(name, bytes) else ""), status
    return None
