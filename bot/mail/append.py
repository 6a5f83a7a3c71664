"""
Mail into one connection of the target, with as much under way as it allows.

With LITERAL+ (RFC 7888) a window of APPENDs, with MULTIAPPEND (RFC 3502) groups in each; else the next one's command
line rides behind the current literal, which is legal on any server and saves a round trip. A literal is never sent
before its "+" without LITERAL+: refused, its bytes would be run as commands, and mail is written by strangers.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import Protocol

from bot.mail import names
from bot.mail.connection import Command
from bot.mail.errors import ConnectionLost, MailError
from bot.mail.flow import Channel, Item, Trouble, drop
from bot.mail.pace import Throttle
from bot.mail.quirks import sendable_flags, strict_internaldate, system_flags
from bot.mail.session import Session
from bot.mail.stream import Stream
from bot.mail.told import Done

WINDOW = 64  # mails under way with LITERAL+
GROUP_MAILS = 16  # in one APPEND with MULTIAPPEND
GROUP_BYTES = 1_000_000


@dataclass(eq=False)
class Sent:
    """An APPEND in flight, of one mail or a group."""

    items: list[Item]
    session: Session
    command: Command
    pipelined: bool = False


class Sending(Protocol):
    """What a writer knows of the pass it belongs to."""

    channel: Channel
    throttle: Throttle
    pipelining: bool
    pipelining_proven: bool
    grouping: bool
    retired: set[Session]
    blamed: set[Session]

    def known_trouble(self, item: Item) -> Trouble | None: ...
    def forget(self, item: Item) -> None: ...
    def sent(self, item: Item) -> None: ...
    def answered(self, sent: Sent, future: asyncio.Future[Done]) -> None: ...


class Writer:
    """Takes mails from the channel until there are none, or its connection is to rest. Raises ConnectionLost."""

    def __init__(self, passing: Sending, session: Session) -> None:
        self._pass = passing
        self._session = session
        self._flight: set[asyncio.Future[Done]] = set()
        self._landed: asyncio.Future[None] | None = None  # told at every answer, when somebody waits
        self._quoted = functools.lru_cache(maxsize=16)(names.quoted)

    async def run(self) -> None:
        if await self._session.takes_literals():
            await self._window()
        else:
            await self._in_turn()
        await self._in_flight(at_most=0)
        if self._session.lost is not None:
            raise self._session.lost

    async def _next(self) -> Item | None:
        """The next mail, when it is its turn; none for a connection that is to rest."""
        channel = self._pass.channel
        item = channel.get_now() or await channel.get()
        while item is not None and isinstance(item.body, Stream) and item.body.broken:
            self._pass.forget(item)
            item = await channel.get()
        if item is None:
            return None
        if self._session in self._pass.retired or self._session.lost is not None:
            channel.put_back(item)
            return None
        # The wait comes before the command: no server waits that long for the literal of one it has begun.
        throttle = self._pass.throttle
        if not throttle.take_now(item.size) and not await throttle.take(item.size, stop=self._over):
            channel.put_back(item)
            return None
        if self._over():
            channel.put_back(item)
            return None
        return item

    def _over(self) -> bool:
        """Nothing is to be begun here any more."""
        return self._pass.channel.closed or self._session.lost is not None

    def _begin(self, items: list[Item], *, go: bool, pipelined: bool = False) -> Sent:
        """The command, in flight from now on."""
        command = self._session.command(go=go)
        for item in items:
            item.begun = True
        sent = Sent(items, self._session, command, pipelined)
        command.done.add_done_callback(functools.partial(self._answered, sent))
        return sent

    def _head(self, item: Item, *, plus: bool) -> bytes:
        """A mail's flags, date and size."""
        flags, _ = sendable_flags(item.line.flags, item.job.permanent_flags)
        trouble = self._pass.known_trouble(item)
        if trouble is not None and trouble.flags_level:
            flags = system_flags(flags) if trouble.flags_level == 1 else ""
        item.flags = flags
        date = strict_internaldate(item.line.internal_date)
        return b" (%s)%s {%d%s}\r\n" % (
            flags.encode("latin-1"),
            b' "%s"' % date.encode("ascii") if date else b"",
            item.size,
            b"+" if plus else b"",
        )

    def _line(self, sent: Sent, *, plus: bool) -> bytes:
        """The APPEND up to the first literal."""
        item = sent.items[0]
        return sent.command.tag + b" APPEND " + self._quoted(item.job.target) + self._head(item, plus=plus)

    async def _body(self, item: Item, tail: bytes) -> None:
        """The literal, then `tail`; a source that breaks in the middle takes this connection with it."""
        session, wrapping = self._session, item.wrapping

        def write(data: bytes) -> None:
            item.digest.update(data)
            session.write(data)

        try:
            if wrapping is not None:
                write(wrapping.head)
            if isinstance(item.body, Stream):
                async for chunk in item.body.chunks():
                    write(chunk if wrapping is None else wrapping.encode(chunk))
                    await session.drain()
            elif wrapping is not None:
                write(wrapping.encode(item.body))
            else:
                write(item.body)
            if wrapping is not None:
                write(wrapping.finish())
        except MailError:
            if session.lost is None:
                self._pass.blamed.add(session)
                session.fail(ConnectionLost("the source broke in the middle of a mail"))
            raise
        if tail:
            session.write(tail)
        self._pass.sent(item)
        if session.full:
            await session.drain()

    async def _window(self) -> None:
        while (item := await self._next()) is not None:
            group = [item]
            try:
                at_most = 0 if item.alone else self._window_size - 1
                if len(self._flight) > at_most:
                    await self._in_flight(at_most=at_most)
                if self._groups and item.small:
                    self._gather(group)
                if self._over():
                    return
                sent = self._begin(group, go=False)
                self._flight.add(sent.command.done)
                await self._whole(sent)
                if item.alone:
                    await self._in_flight(at_most=0)
            finally:
                for each in reversed(group):
                    self._leave(each)

    async def _in_flight(self, *, at_most: int) -> None:
        """Wait until no more are unanswered."""
        while len(self._flight) > at_most:
            self._landed = asyncio.get_running_loop().create_future()
            await self._landed

    def _answered(self, sent: Sent, future: asyncio.Future[Done]) -> None:
        self._flight.discard(future)
        if self._landed is not None and not self._landed.done():
            self._landed.set_result(None)
        self._pass.answered(sent, future)

    async def _whole(self, sent: Sent) -> None:
        """An APPEND with everything in it."""
        session = self._session
        last = len(sent.items) - 1
        for number, item in enumerate(sent.items):
            head = self._head(item, plus=True) if number else self._line(sent, plus=True)
            tail = b"" if number < last else b"\r\n"
            if isinstance(item.body, bytes) and item.wrapping is None:
                item.digest.update(item.body)
                session.write(head, item.body, tail)
            else:
                session.write(head)
                await self._body(item, tail)
        for item in sent.items:
            self._pass.sent(item)
        if session.full:
            await session.drain()

    @property
    def _groups(self) -> bool:
        return self._pass.grouping and "MULTIAPPEND" in self._session.capabilities

    @property
    def _window_size(self) -> int:
        return max(2, WINDOW // GROUP_MAILS) if self._groups else WINDOW

    def _gather(self, group: list[Item]) -> None:
        """What else is there for the same folder."""
        first, size = group[0], group[0].size
        while len(group) < GROUP_MAILS and size < GROUP_BYTES:
            item = self._pass.channel.get_now(lambda each: each.small and each.job.target == first.job.target)
            if item is None:
                return
            if not self._pass.throttle.take_now(item.size):
                self._pass.channel.put_back(item)
                return
            group.append(item)
            size += item.size

    async def _in_turn(self) -> None:
        channel = self._pass.channel
        item = await self._next()
        sent: Sent | None = None
        following: Item | None = None
        try:
            while item is not None:
                following, following_sent = None, None  # also where it cannot be begun: it goes back once
                if sent is None:
                    sent = self._begin([item], go=True)
                    self._session.write(self._line(sent, plus=False))
                if await self._may_send(sent):
                    tail = b"\r\n"
                    resting = self._session in self._pass.retired
                    if self._pass.pipelining and not item.alone and not resting:
                        following = channel.get_now(lambda each: not each.alone)
                    if following is not None and not self._pass.throttle.take_now(following.size):
                        channel.put_back(following)
                        following = None
                    if following is not None:
                        following_sent = self._begin([following], go=True, pipelined=True)
                        tail += self._line(following_sent, plus=False)
                    await self._body(item, tail)
                drop(item)
                if following_sent is None:
                    await asyncio.wait([sent.command.done])
                    following = await self._next()
                item, sent = following, following_sent
        finally:
            for each in (following, item):
                if each is not None:
                    self._leave(each)

    def _leave(self, item: Item) -> None:
        """Nothing more to take of it; if it was not begun, another may."""
        if item.begun:
            drop(item)
        else:
            self._pass.channel.put_back(item)

    async def _may_send(self, sent: Sent) -> bool:
        """Wait for the server's "+"; False when it refused instead."""
        assert sent.command.go is not None  # noqa: S101 - asked for
        try:
            return await sent.command.go
        except ConnectionLost:
            if sent.pipelined and not self._pass.pipelining_proven:
                self._pass.pipelining = False  # it may have lost the line that rode behind the literal
            raise
