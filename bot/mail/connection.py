"""
One connection over asyncio: bytes in and out, deadlines, commands in flight and who hears their answers.

Commands may be sent before earlier ones are answered. Answers are routed by tag, mails by UID, never by position:
Dovecot runs pipelined UID FETCHes side by side and mixes their answers. Only EXAMINE and SELECT are barriers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.mail import wire
from bot.mail.account import MailAccount
from bot.mail.errors import CommandRefused, ConnectionLost, MailError
from bot.mail.quirks import COMMAND_BYTES_MAX
from bot.mail.stream import Stream
from bot.mail.told import Done, checked

BYTES_PER_SECOND_MIN = 1024
STREAM_OVER_BYTES = 512 * 1024
WRITE_BUFFER_BYTES = 1024 * 1024
TOGETHER_BYTES = 256 * 1024  # sent in one piece, of what is written in one turn of the event loop

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
    ok: bool = False  # it was answered so by now
    lines: list[wire.Response] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """After `lost` is set nothing more happens on it; every wait on it ends with that error."""

    def __init__(
        self, account: MailAccount, *, silence_seconds: float, command_seconds: float, idle_seconds: float
    ) -> None:
        self.account = account
        self.silence_seconds = silence_seconds
        self.command_seconds = command_seconds
        self.idle_seconds = idle_seconds
        self.logged_in = False
        self.lost: Exception | None = None  # a MailError, or what went wrong in whoever was told something
        self.ended_at: str | None = None  # the folder whose opening was answered BYE
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
        command.ok = done.ok
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
