"""A logged-in IMAP connection: its login, what the server can do, and the commands about folders."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from bot.mail import wire
from bot.mail.account import MailAccount, trusting
from bot.mail.connection import Command, Connection
from bot.mail.errors import ConnectionLost, LoginRefused, NotReachable
from bot.mail.names import Folder, quoted
from bot.mail.quirks import Refused, why_refused
from bot.mail.told import Done, Selected, announced, checked, folders_of, selected

__all__ = ["MailAccount", "Session", "append_limit", "both", "open_session"]

SILENCE_SECONDS = 120.0
COMMAND_SECONDS = 900.0  # for any command, and a second more for each kilobyte that moves
IDLE_SECONDS = 120.0  # then a NOOP: servers hang up on who says nothing for long
CONNECT_SECONDS = 30.0
# NetEase lets nobody in without it. What follows comes after it, so its answer is not waited for; a refusal means
# nothing.
IDENTITY = b'ID ("name" "exmail-bot")'

IN_TURN: set[tuple[str, int]] = set()  # servers that refuse what is sent behind an EXAMINE; known while we run

One = TypeVar("One")
Two = TypeVar("Two")


class Session(Connection):
    """A connection that logs in, and the commands it takes then."""

    def __init__(
        self,
        account: MailAccount,
        *,
        silence_seconds: float = SILENCE_SECONDS,
        command_seconds: float = COMMAND_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        super().__init__(
            account, silence_seconds=silence_seconds, command_seconds=command_seconds, idle_seconds=idle_seconds
        )
        self.capabilities: frozenset[str] = frozenset()
        self.greeting = ""
        self.folder: str | None = None  # of the last EXAMINE or SELECT sent
        self.shut: Mapping[str, str] = {}  # folders that end a session, and its last words: they are not asked for
        self._probe: Command | None = None  # whether LITERAL+ works as announced

    async def login(self) -> None:
        """Log in, learn what the server can do now, tell it who we are. Raises LoginRefused, never tried again."""
        self.greeting = await self._greeted
        let_in = self.greeting
        if not let_in.upper().startswith("PREAUTH"):
            let_in = (await self._authenticate()).text
        # What came with the OK need not be asked for again (RFC 3501 6.2.3).
        self.capabilities = announced(let_in)
        identify = "ID" in self.capabilities | announced(self.greeting)
        asked = self.send(b"CAPABILITY", collect=True) if "IMAP4REV1" not in self.capabilities else None
        if identify:
            self.send(IDENTITY)
        if asked is not None:
            answer = checked(await asked.done, self.account.user)
            words = [line.line.split()[2:] for line in answer.lines if line.line.upper().startswith(b"* CAPABILITY ")]
            self.capabilities = frozenset(word.decode("latin-1").upper() for line in words for word in line)
            if not identify and "ID" in self.capabilities:
                self.send(IDENTITY)
        self.logged_in = True

    def probe_literals(self) -> None:
        """Send a harmless literal as LITERAL+ has it, if that is announced; `takes_literals` tells what came of it."""
        if "LITERAL+" in self.capabilities and self._probe is None and self.lost is None:
            self._probe = self.send(b"STATUS {5+}\r\nINBOX (UIDNEXT)")

    async def takes_literals(self) -> bool:
        """
        Does LITERAL+ (RFC 7888) do what it says? Seen once before any mail goes that way: where it does not, the bytes
        of a mail would be run as commands, and mail is written by strangers. Raises ConnectionLost.
        """
        self.probe_literals()
        return self._probe is not None and (await self._probe.done).ok

    @property
    def ended_by_probe(self) -> bool:
        """It was lost before that was answered."""
        return self._probe is not None and self._probe.done.done() and self._probe.done.exception() is not None

    async def _authenticate(self) -> Done:
        user, password = self.account.user, self.account.password
        if re.search(r"[\r\n\0]", user + password):
            raise LoginRefused("a line end in the user name or password", mailbox=user)
        if (user + password).isascii():
            line = b"LOGIN " + quoted(user) + b" " + quoted(password)
            answer = await self.send(line).done
            if answer.ok:
                return answer
            if answer.status == "NO":
                raise LoginRefused(answer.text, mailbox=user)
        command = self.send(b"AUTHENTICATE PLAIN", go=True)
        assert command.go is not None  # noqa: S101 - asked for
        if await command.go:
            self.write(base64.b64encode(f"\0{user}\0{password}".encode()) + b"\r\n")
        answer = await command.done
        if not answer.ok:
            raise LoginRefused(answer.text, mailbox=user)
        return answer

    def open_folder(self, name: str, *, writable: bool = False) -> Command:
        """Send EXAMINE (SELECT when `writable`) without waiting; read its answer with `selected`."""
        if name in self.shut:
            return self._answered_no(self.shut[name])
        self.folder = name
        return self._about(name, (b"SELECT " if writable else b"EXAMINE ") + quoted(name))

    def _about(self, name: str, line: bytes) -> Command:
        command = self.send(line, collect=True)
        command.opens = name
        return command

    def _answered_no(self, text: str) -> Command:
        """In the server's place."""
        command = Command(b"", self._loop.create_future())
        command.done.set_result(Done("NO", text, []))
        return command

    async def examine(self, name: str) -> Selected:
        """Open for reading. Raises CommandRefused."""
        return selected(await self.open_folder(name).done, self.account.user)

    async def select(self, name: str) -> Selected:
        """Open for writing. Raises CommandRefused."""
        return selected(await self.open_folder(name, writable=True).done, self.account.user)

    async def list_folders(self) -> list[Folder]:
        """Every folder the server shows; malformed lines are left out."""
        return folders_of(await self.run(b'LIST "" "*"'))

    def ask_namespace(self) -> Command | None:
        """Send NAMESPACE without waiting, if the server knows it; read its answer with `personal_prefix`."""
        return self.send(b"NAMESPACE", collect=True) if "NAMESPACE" in self.capabilities else None

    async def personal_prefix(self, asked: Command | None) -> str:
        """What the names of own folders begin with (RFC 2342), mostly nothing."""
        if asked is None:
            return ""
        for line in (await asked.done).lines:
            match wire.values(line.parts):
                case [_, b"NAMESPACE", [[bytes() as prefix, *_], *_], *_]:
                    return prefix.decode("latin-1")
        return ""

    def ask_status(self, name: str) -> Command:
        """Send STATUS without waiting; read its answer with `status_of`."""
        if name in self.shut:
            return self._answered_no(self.shut[name])
        return self._about(name, b"STATUS " + quoted(name) + b" (UIDVALIDITY UIDNEXT MESSAGES)")

    @property
    def in_turn(self) -> bool:
        """Is every answer of this server to be waited for before a folder is read?"""
        return (self.account.host, self.account.port) in IN_TURN

    def refused_ahead(self, done: Done) -> bool:
        """Was this refused because it was sent before the folder was open? Then nobody does so here again."""
        if done.status != "BAD" or why_refused(done.text) is Refused.BUSY:
            return False
        IN_TURN.add((self.account.host, self.account.port))
        return True


def append_limit(target: Session) -> int | None:
    """APPENDLIMIT in bytes, when announced."""
    for word in target.capabilities:
        if word.startswith("APPENDLIMIT=") and word[12:].isdigit() and len(word) < 32:
            return int(word[12:])
    return None


async def open_session(
    account: MailAccount,
    *,
    silence_seconds: float = SILENCE_SECONDS,
    command_seconds: float = COMMAND_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
) -> Session:
    """A logged-in connection. Raises NotReachable, LoginRefused, ConnectionLost."""
    loop = asyncio.get_running_loop()
    context = trusting(account.ca_file) if account.tls else None
    try:
        async with asyncio.timeout(min(CONNECT_SECONDS, silence_seconds)):
            _, session = await loop.create_connection(
                lambda: Session(
                    account,
                    silence_seconds=silence_seconds,
                    command_seconds=command_seconds,
                    idle_seconds=idle_seconds,
                ),
                account.host,
                account.port,
                ssl=context,
                server_hostname=account.host if context else None,
            )
    except ssl.SSLCertVerificationError as error:
        raise NotReachable(f"certificate: {error.verify_message}", mailbox=account.user) from None
    except TimeoutError:
        raise NotReachable("no answer in time", mailbox=account.user) from None
    except OSError as error:
        raise NotReachable(str(error), mailbox=account.user) from None
    try:
        await session.login()
    except BaseException:
        session.fail(ConnectionLost("login did not succeed", mailbox=account.user))
        raise
    return session


async def both(one: Coroutine[Any, Any, One], two: Coroutine[Any, Any, Two]) -> tuple[One, Two]:
    """Work on both sides at once; an error is raised only when neither is still using its connection."""
    first, second = await asyncio.gather(one, two, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, BaseException):
        raise second
    return first, second
