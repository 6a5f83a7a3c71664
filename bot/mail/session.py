"""
A logged-in IMAP connection over asyncio: transport, deadlines, commands in flight.

Commands may be sent before earlier ones are answered. Answers are routed by tag, mails by UID, never by position:
Dovecot runs pipelined UID FETCHes side by side and mixes their answers. Only EXAMINE and SELECT are barriers.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from bot.mail import wire
from bot.mail.errors import CommandRefused, ConnectionLost, LoginRefused, MailError, NotReachable
from bot.mail.names import Folder, WireName, quoted
from bot.mail.quirks import COMMAND_BYTES_MAX, Refused, why_refused

SILENCE_SECONDS = 120.0
COMMAND_SECONDS = 900.0  # for any command, and a second more for each kilobyte that moves
BYTES_PER_SECOND_MIN = 1024
IDLE_SECONDS = 120.0  # then a NOOP: servers hang up on who says nothing for long
CONNECT_SECONDS = 30.0
STREAM_OVER_BYTES = 512 * 1024
STREAM_HELD_BYTES = 2_000_000  # of a passed-on literal, before the reader is paused and all behind it waits
OPENING_BYTES = 16 * 1024  # kept of a passed-on literal, to tell a person which mail it was
WRITE_BUFFER_BYTES = 1024 * 1024
TOGETHER_BYTES = 256 * 1024  # sent in one piece, of what is written in one turn of the event loop
# NetEase lets nobody in without it. What follows comes after it, so its answer is not waited for; a refusal means
# nothing.
IDENTITY = b'ID ("name" "exmail-bot")'

IN_TURN: set[tuple[str, int]] = set()  # servers that refuse what is sent behind an EXAMINE; known while we run

One = TypeVar("One")
Two = TypeVar("Two")


@dataclass(frozen=True)
class MailAccount:
    """Where a mailbox is and how to get in."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: bool = True
    ca_file: str | None = None


class Done(NamedTuple):
    """The tagged answer to a command, and the untagged responses that came with it if they were wanted."""

    status: str  # OK, NO, BAD
    text: str
    lines: list[wire.Response]

    @property
    def ok(self) -> bool:
        return self.status == "OK"


OnFetch = Callable[[wire.Fetched, "Stream | None"], bool]
"""Says whether the mail was asked for by its command."""


@dataclass(eq=False)
class Command:
    """A command in flight. `go` is answered when the server wants the literal (True) or refuses first (False)."""

    tag: bytes
    done: asyncio.Future[Done]
    go: asyncio.Future[bool] | None = None
    collect: bool = False
    opens: str | None = None  # the folder it opens or asks about
    until: float = 0.0  # its deadline, if not a byte more moves
    lines: list[wire.Response] = field(default_factory=list)

    @property
    def opened(self) -> bool:
        """It was answered OK by now."""
        return self.done.done() and self.done.exception() is None and self.done.result().ok


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


class Stream:
    """A literal passed on while it arrives; the connection stops reading while nobody takes it."""

    def __init__(self, session: Session, size: int) -> None:
        self.size = size
        self.opening = b""
        self.abandoned = False
        self.tap: Callable[[bytes], object] | None = None  # takes every chunk at once: nothing is held
        self.at_begin: Callable[[], object] = lambda: None  # called when somebody takes it, or lets it be
        self.at_end: Callable[[], object] = lambda: None  # called when all of it has come
        self._session = session
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._left = size
        self._event = asyncio.Event()
        self._error: Exception | None = None

    def feed(self, chunk: bytes) -> None:
        """From the connection."""
        self._left -= len(chunk)
        if len(self.opening) < OPENING_BYTES:
            self.opening += chunk[: OPENING_BYTES - len(self.opening)]
        if self.tap:
            self.tap(chunk)
            return
        if self.abandoned:
            return
        self._chunks.append(chunk)
        self._held += len(chunk)
        self._event.set()
        if self._held > STREAM_HELD_BYTES:
            self._session.pause_reading(self)
        if not self._left:
            self.at_end()

    @property
    def broken(self) -> bool:
        """Its end will not come."""
        return self._error is not None

    def fail(self, error: Exception) -> None:
        """The connection broke before the end."""
        if self._left:
            self._error = error
            self._event.set()

    def abandon(self) -> None:
        """Nobody wants the rest; it is read and dropped so that what follows can be."""
        self.abandoned = True
        self._chunks.clear()
        self._held = 0
        self._session.resume_reading(self)
        self.at_begin()

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it, once. Raises ConnectionLost when the source breaks first."""
        taken = 0
        self.at_begin()
        while taken < self.size:
            while not self._chunks:
                if self._error:
                    raise self._error
                self._event.clear()
                await self._event.wait()
            chunk = self._chunks.popleft()
            self._held -= len(chunk)
            taken += len(chunk)
            if self._held < STREAM_HELD_BYTES // 4:
                self._session.resume_reading(self)
            yield chunk


class Session(asyncio.Protocol):
    """One connection. After `lost` is set nothing more happens on it; every wait on it ends with that error."""

    def __init__(
        self,
        account: MailAccount,
        *,
        silence_seconds: float = SILENCE_SECONDS,
        command_seconds: float = COMMAND_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.account = account
        self.silence_seconds = silence_seconds
        self.command_seconds = command_seconds
        self.idle_seconds = idle_seconds
        self.logged_in = False
        self.capabilities: frozenset[str] = frozenset()
        self.greeting = ""
        self.lost: Exception | None = None  # a MailError, or what went wrong in whoever was told something
        self.folder: str | None = None  # of the last EXAMINE or SELECT sent
        self.shut: Mapping[str, str] = {}  # folders that end a session, and its last words: they are not asked for
        self.ended_at: str | None = None  # the folder whose opening was answered BYE
        self._probe: Command | None = None  # whether LITERAL+ works as announced
        self.pending: dict[bytes, Command] = {}
        self._takers: dict[bytes, OnFetch] = {}  # of those that wait for mails
        self._took = b""  # whose was the last one
        self._loop = asyncio.get_running_loop()
        self._greeted: asyncio.Future[str] = self._loop.create_future()
        self._parser = wire.Parser(stream_over=STREAM_OVER_BYTES)
        self._stream: Stream | None = None
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._unsent: list[bytes] = []  # written in this turn of the event loop
        self._unsent_bytes = 0
        self._paused = False
        self._pausing: set[object] = set()
        self._number = 0
        self._received = self._written = 0
        self._moved = -1
        self._watched_at = self._loop.time()
        self._moved_at = self._loop.time()
        self._watcher: asyncio.TimerHandle | None = None
        self._closing = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's promise for stream sockets
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        try:
            for event in self._parser.feed(data):
                if self.lost:  # what begins now would have no end
                    return
                if isinstance(event, wire.Fetched):
                    if not isinstance(event.body, wire.Big):  # that one was delivered when it began
                        self._deliver(event, None)
                elif isinstance(event, wire.Response):
                    self._response(event)
                else:
                    self._passed_on(event)
        except wire.WireError as error:
            self.fail(self._loss(f"not IMAP: {error}"))
        except Exception as error:  # of whoever took a mail: it ends his wait as what it is, no lost connection
            self.fail(error)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(self._loss(str(exc) if exc else "the server closed the connection"))

    # What comes in

    def _passed_on(self, event: wire.BigStart | wire.BigChunk | wire.BigEnd) -> None:
        """A literal while it arrives."""
        match event:
            case wire.BigStart(head, size):
                stream = Stream(self, size)
                told = wire.fetched((*head, wire.Big(size)))
                if told is not None and told.body is not None and self._deliver(told, stream):
                    self._stream = stream
            case wire.BigChunk(data):
                if self._stream:
                    self._stream.feed(data)
            case wire.BigEnd():
                self._stream = None

    def _response(self, response: wire.Response) -> None:
        line = response.line
        if line.startswith(b"* "):
            self._untagged(line, response)
        elif line.startswith(b"+"):
            for command in self.pending.values():
                if command.go and not command.go.done():
                    command.go.set_result(True)
                    break
        else:
            tag, _, rest = line.partition(b" ")
            if answered := self.pending.pop(tag, None):
                self._takers.pop(tag, None)
                status, _, text = rest.decode("utf-8", "replace").partition(" ")
                self._finish(answered, Done(status.upper(), text, answered.lines))

    def _untagged(self, line: bytes, response: wire.Response) -> None:
        word = line[2:].split(b" ", 1)[0].upper()
        if not self._greeted.done():
            text = line[2:].decode("utf-8", "replace")
            if word in (b"OK", b"PREAUTH"):
                self._greeted.set_result(text)
            else:
                self.fail(self._loss(text))
        elif word == b"BAD" or (word == b"BYE" and not self._closing):
            # QQ sends an untagged BAD instead of the tagged answer, which then never comes.
            oldest = next(iter(self.pending.values()), None)  # a server works in order
            self.ended_at = oldest.opens if oldest is not None and word == b"BYE" else None
            self.fail(self._loss(line[2:].decode("utf-8", "replace")))
        elif word.isdigit() and b" FETCH " in line[:40].upper():
            told = wire.fetched(response.parts)
            if told is not None and not isinstance(told.body, wire.Big):
                self._deliver(told, None)
        else:
            # These may come while an earlier FETCH still runs; all else is of the oldest command, or of none.
            passing = word in (b"STATUS", b"LIST")
            for command in self.pending.values():
                if command.collect:
                    command.lines.append(response)
                if command.collect or not passing:
                    break

    def _deliver(self, told: wire.Fetched, stream: Stream | None) -> bool:
        """To the command that asked for it: mostly the one that took the mail before it."""
        if self._took in self._takers and self._takers[self._took](told, stream):
            return True
        for tag, taker in tuple(self._takers.items()):
            if taker(told, stream):
                self._took = tag
                return True
        return False

    def _finish(self, command: Command, done: Done) -> None:
        if command.go and not command.go.done():
            command.go.set_result(False)
        if not command.done.done():
            command.done.set_result(done)

    # Life and death

    def _loss(self, text: str) -> ConnectionLost:
        return ConnectionLost(text, mailbox=self.account.user)

    def fail(self, error: Exception) -> None:
        """Give the connection up: everybody who waits on it gets `error`."""
        if self.lost:
            return
        self.lost = error
        if self._watcher:
            self._watcher.cancel()
        if self._transport and not (self._closing and self._transport.is_closing()):
            self._transport.abort()
        self._writable.set()
        if self._stream:
            self._stream.fail(error)
        waiting: list[asyncio.Future[Done] | asyncio.Future[bool] | asyncio.Future[str]] = [self._greeted]
        for command in self.pending.values():
            waiting += [command.done] if command.go is None else [command.go, command.done]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody has to look

    def _watch(self) -> None:
        """
        The deadlines. One is renewed by bytes that came or left, never by the clock, or silence would last for ever;
        one is a command's own, which bytes prolong only if there are enough of them: a drip holds nothing up.
        """
        if self.lost or self._transport is None:
            return
        now = self._loop.time()
        every = min(5.0, self.silence_seconds / 8, self.command_seconds / 8)
        if (stood_still := now - self._watched_at - every) > every:  # we did, not the server
            self._moved_at += stood_still
            for command in self.pending.values():
                command.until += stood_still
        moved = self._received + self._written - self._unsent_bytes - self._transport.get_write_buffer_size()
        waiting = bool(self.pending) or not self._greeted.done()
        gained = (moved - max(self._moved, 0)) / BYTES_PER_SECOND_MIN
        if self._paused:  # we do not read, for a writer that is behind
            gained = max(gained, now - self._watched_at)
        for command in self.pending.values():
            command.until += gained
        self._watched_at = now
        if moved != self._moved or self._paused:
            self._moved, self._moved_at = moved, now
        elif waiting and now - self._moved_at > self.silence_seconds:
            self.fail(self._loss(f"no byte for {self.silence_seconds:g} s"))
            return
        elif not waiting and self.logged_in and now - self._moved_at > self.idle_seconds:
            self.send(b"NOOP")
        oldest = next(iter(self.pending.values()), None)
        if oldest is not None and now > oldest.until:
            self.fail(self._loss(f"a command took more than {self.command_seconds:g} s"))
            return
        self._watcher = self._loop.call_later(every, self._watch)

    def pause_reading(self, whose: object = None) -> None:
        """Nothing more is read until everybody who wanted that has resumed it."""
        if self._transport and not self.lost:
            self._pausing.add(whose)
            if not self._paused:
                self._paused = True
                self._transport.pause_reading()

    def resume_reading(self, whose: object = None) -> None:
        self._pausing.discard(whose)
        if self._transport and self._paused and not self._pausing and not self.lost:
            self._paused = False
            self._moved_at = self._loop.time()
            self._transport.resume_reading()

    async def close(self) -> None:
        """LOGOUT, its answer not waited for when nothing else is under way, then gone."""
        if self.lost is None and self._transport is not None and not self._stream:
            self._closing = True
            idle = not self.pending
            try:
                leaving = self.send(b"LOGOUT").done
                if idle:
                    self._send()
                    self._transport.close()  # after what is still to be sent
                else:
                    async with asyncio.timeout(1):
                        await leaving
            except (TimeoutError, MailError):
                pass
        self.fail(self._loss("closed"))

    # What goes out

    def write(self, *pieces: bytes) -> None:
        """Raw bytes, for literals. They leave before the event loop waits, with all else that is written till then."""
        if self.lost:
            raise self.lost
        if not self._unsent:
            self._loop.call_soon(self._send)
        size = sum(map(len, pieces))
        self._written += size
        self._unsent += pieces
        self._unsent_bytes += size
        if self._unsent_bytes >= TOGETHER_BYTES:
            self._send()

    def _send(self) -> None:
        if self._unsent and not self.lost:
            assert self._transport is not None  # noqa: S101 - set before anybody has the session
            data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
            self._unsent, self._unsent_bytes = [], 0
            self._transport.write(data)

    @property
    def full(self) -> bool:
        """The send buffer has no room: `drain` before more is written."""
        return not self._writable.is_set()

    async def drain(self) -> None:
        """Wait until the send buffer has room."""
        await self._writable.wait()
        if self.lost:
            raise self.lost

    def command(self, *, go: bool = False, on_fetch: OnFetch | None = None, collect: bool = False) -> Command:
        """A tag and its futures; the caller writes the line."""
        self._number += 1
        command = Command(b"A%d" % self._number, self._loop.create_future(), collect=collect)
        if go:
            command.go = self._loop.create_future()
        if not self.pending:
            self._moved_at = self._loop.time()
        if self.lost:
            raise self.lost
        command.until = self._loop.time() + self.command_seconds
        self.pending[command.tag] = command
        if on_fetch is not None:
            self._takers[command.tag] = on_fetch
        return command

    def send(self, line: bytes, *, go: bool = False, on_fetch: OnFetch | None = None, collect: bool = False) -> Command:
        """Send a command line; its answer is `await command.done`, which raises ConnectionLost."""
        if len(line) > COMMAND_BYTES_MAX + 100:
            raise CommandRefused("BAD", "the command line would be too long", mailbox=self.account.user)
        command = self.command(go=go, on_fetch=on_fetch, collect=collect)
        self.write(command.tag + b" " + line + b"\r\n")
        return command

    async def run(self, line: bytes, *, on_fetch: OnFetch | None = None) -> Done:
        """Send and wait. Raises CommandRefused for NO and BAD, ConnectionLost."""
        return checked(await self.send(line, on_fetch=on_fetch, collect=True).done, self.account.user)

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

    # Commands

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


def append_limit(target: Session) -> int | None:
    """APPENDLIMIT in bytes, when announced."""
    for word in target.capabilities:
        if word.startswith("APPENDLIMIT=") and word[12:].isdigit() and len(word) < 32:
            return int(word[12:])
    return None


def same_mailbox(source: MailAccount, target: MailAccount) -> bool:
    """As far as the accounts tell: aliases are the caller's to know."""
    return (source.host.casefold(), source.port, source.user.casefold()) == (
        target.host.casefold(),
        target.port,
        target.user.casefold(),
    )


@functools.lru_cache(maxsize=16)
def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Certificates are read once, not for every connection: that takes longer than the handshake."""
    return ssl.create_default_context(cafile=ca_file)


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
