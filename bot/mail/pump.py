"""
One pass of mail from the source's connections to the target's, with as much under way as both sides allow.

FETCHes are sent ahead in batches. APPENDs go by what the target offers: with LITERAL+ (RFC 7888) a window of them;
else the next one's command line rides behind the current literal, which is legal on any server and saves a round trip.
A literal is never sent before its "+" without LITERAL+: refused, its bytes would be run as commands, and mail is
written by strangers. A pass ends cleanly whatever happens; what it did not finish stays planned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bot.mail import names, wire
from bot.mail.digest import Digest
from bot.mail.errors import CommandRefused, ConnectionLost, MailError
from bot.mail.ledger import Line
from bot.mail.quirks import sendable_flags, strict_internaldate, system_flags
from bot.mail.session import Command, Done, Session, Stream, selected
from bot.mail.work import Job, Renumbered

BATCH_MAILS = 64
BATCH_BYTES = 512 * 1024
BATCHES_AHEAD = 3
WINDOW = 32
OVERHEAD_BYTES = 1_024  # what holding a mail costs beyond its bytes

Key = tuple[int, int]  # folder id, UID


@dataclass
class Trouble:
    """What a mail has been through in this call."""

    alone: bool = False  # to be asked for and sent by itself
    lost: int = 0  # connections that broke with it
    busy: int = 0
    flags_level: int = 0  # 1: without keywords, 2: without flags
    missed: int = 0  # asked for alone, and did not come


@dataclass(eq=False)
class Batch:
    """Mails asked for in one FETCH."""

    job: Job
    lines: dict[int, Line]
    alone: bool
    held: dict[int, int]  # bytes of the budget by UID
    opening: Command | None = None
    command: Command | None = None

    @property
    def size_bytes(self) -> int:
        return sum(self.held.values())


@dataclass(eq=False)
class Item:
    """A mail on its way."""

    job: Job
    line: Line
    body: bytes | Stream
    held_bytes: int
    alone: bool
    flags: str = ""
    digest: Digest = field(default_factory=Digest)

    @property
    def key(self) -> Key:
        return self.line.folder_id, self.line.uid

    @property
    def size(self) -> int:
        return self.body.size if isinstance(self.body, Stream) else len(self.body)

    @property
    def opening(self) -> bytes:
        """Enough of it to tell a person which mail it is."""
        return self.body.opening if isinstance(self.body, Stream) else self.body


class PassClosed(Exception):
    """The pass is over; nothing new is begun."""


class Budget:
    """Bytes that may be held at once. A mail larger than all of it passes alone."""

    def __init__(self, size_bytes: int) -> None:
        self._free = self._all = size_bytes
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def take(self, size_bytes: int) -> None:
        while self._free < min(size_bytes, self._all) and not self._closed:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        if self._closed:
            raise PassClosed
        self._free -= size_bytes

    def give(self, size_bytes: int) -> None:
        self._free += size_bytes
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)


class Channel:
    """Mails waiting for a writer. After `close` what waits is dropped; after `finish` it is still handed out."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._finished = False
        self.closed = False

    def put(self, item: Item) -> None:
        if self.closed:
            drop(item)
            return
        self._items.append(item)
        self._wake()

    def get_now(self) -> Item | None:
        return self._items.popleft() if self._items else None

    async def get(self) -> Item | None:
        """The next; None when there will be none."""
        while not self._items:
            if self._finished or self.closed:
                return None
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        return self._items.popleft()

    def finish(self) -> None:
        self._finished = True
        self._wake()

    def close(self) -> None:
        self.closed = True
        while self._items:
            drop(self._items.popleft())
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)


def drop(item: Item) -> None:
    """Nobody will send it in this pass."""
    if isinstance(item.body, Stream):
        item.body.abandon()


@dataclass(eq=False)
class Sent:
    """An APPEND in flight."""

    item: Item
    session: Session
    command: Command
    pipelined: bool = False


OnAnswer = Callable[["Pass", Sent, Done], None]
OnLost = Callable[["Pass", Item], None]


class Pass:
    """
    Reads `batches`, sends what comes, tells the owner about every answer.

    `on_answer` and `on_lost` are called in the event loop's callbacks and must not wait; what they raise closes the
    pass and is raised by `run`.
    """

    def __init__(
        self,
        sources: list[Session],
        targets: list[Session],
        batches: Iterator[Batch],
        troubles: dict[Key, Trouble],
        *,
        budget_bytes: int,
        pipelining: bool,
        on_answer: OnAnswer,
        on_lost: OnLost,
    ) -> None:
        self.sources = sources
        self.targets = targets
        self.batches = batches
        self.troubles = troubles
        self.budget = Budget(budget_bytes)
        self.channel = Channel()
        self.pipelining = pipelining
        self.pipelining_proven = False
        self.error: BaseException | None = None
        self.unread: list[tuple[Job, Line, str]] = []  # asked for alone, and did not come
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._blamed: set[Session] = set()

    @property
    def closed(self) -> bool:
        return self.channel.closed

    def close(self, error: BaseException | None = None) -> None:
        """Begin nothing new; what is in flight is still answered. The first error is the one raised."""
        if error is not None and self.error is None:
            self.error = error
        self.channel.close()
        self.budget.close()

    def trouble(self, key: Key) -> Trouble:
        return self.troubles.setdefault(key, Trouble())

    async def run(self) -> None:
        """Until the batches are done or something closed the pass. Raises what closed it."""
        readers = [asyncio.create_task(self._guard(self._read(each))) for each in self.sources]
        writers = [asyncio.create_task(self._guard(self._write(each))) for each in self.targets]
        try:
            await asyncio.gather(*readers)
            self.channel.finish()
            await asyncio.gather(*writers)
            await asyncio.sleep(0)  # the callbacks of the last answers
        finally:
            self.close()
            for task in (*readers, *writers):
                task.cancel()
            await asyncio.gather(*readers, *writers, return_exceptions=True)
        if self.error is not None:
            raise self.error

    async def _guard(self, work: object) -> None:
        try:
            await work  # type: ignore[misc]
        except PassClosed:
            pass
        except Exception as error:
            self.close(error)

    # Reading

    async def _read(self, session: Session) -> None:
        ahead: deque[Batch] = deque()
        opening: Command | None = None
        job: Job | None = None
        try:
            for batch in self.batches:
                if self.closed:
                    break
                await self.budget.take(batch.size_bytes)
                if batch.job.skipped:
                    self.budget.give(batch.size_bytes)
                    continue
                if opening is None or job is not batch.job:
                    job, opening = batch.job, session.open_folder(batch.job.source)
                batch.opening = opening
                line = b"UID FETCH " + wire.uid_set(list(batch.lines)) + b" (UID FLAGS INTERNALDATE BODY.PEEK[])"
                batch.command = session.send(line, on_fetch=self._taker(batch))
                ahead.append(batch)
                await session.drain()
                while len(ahead) >= BATCHES_AHEAD:
                    await self._settle(ahead)
            while ahead:
                await self._settle(ahead)
        except ConnectionLost:
            if ahead:  # the server works in order: the oldest mail that has not come is the one to blame
                for uid in list(ahead[0].lines)[:1]:
                    self._lose(ahead[0].job, ahead[0].lines[uid])
                for uid in list(ahead[0].lines)[1:]:
                    self.trouble((ahead[0].job.record.id, uid)).alone = True
            raise

    def _lose(self, job: Job, line: Line) -> None:
        trouble = self.trouble((job.record.id, line.uid))
        trouble.lost += 1
        trouble.alone = True
        self._on_lost(self, Item(job, line, b"", 0, True))

    def _taker(self, batch: Batch) -> Callable[[wire.Fetched, Stream | None], bool]:
        def take(told: wire.Fetched, stream: Stream | None) -> bool:
            opening = batch.opening
            if opening is None or not opening.done.done() or not opening.done.result().ok:
                return False
            uid = told.uid
            if uid is None and len(batch.lines) == 1 and batch.alone:
                uid = next(iter(batch.lines))
            if uid is None or uid not in batch.lines:
                return False
            body = stream if stream is not None else told.body
            if not isinstance(body, (bytes, Stream)):
                return True  # news about its flags
            line = batch.lines[uid]
            if isinstance(body, bytes) and not body and line.size_bytes:
                return True  # void: it counts as not come
            del batch.lines[uid]
            self.channel.put(Item(batch.job, line, body, batch.held.pop(uid), batch.alone))
            return True

        return take

    async def _settle(self, ahead: deque[Batch]) -> None:
        """Wait for the oldest batch and see what did not come."""
        batch = ahead[0]
        assert batch.opening is not None  # noqa: S101 - set before it was put there
        assert batch.command is not None  # noqa: S101
        try:
            opened = selected(await batch.opening.done, "")
        except CommandRefused as error:
            await batch.command.done
            ahead.popleft()
            self.budget.give(batch.size_bytes)
            batch.job.skipped = True
            raise Renumbered(f"the source does not open {batch.job.name}: {error.text}") from None
        if opened.uidvalidity != batch.job.record.source_uidvalidity:
            raise Renumbered("the source folder has a new UIDVALIDITY")
        done = await batch.command.done
        ahead.popleft()
        for uid, line in batch.lines.items():
            trouble = self.trouble((batch.job.record.id, uid))
            if batch.alone:
                trouble.missed += 1
                self.unread.append((batch.job, line, "" if done.ok else done.text))
            trouble.alone = True
        self.budget.give(batch.size_bytes)

    # Writing

    async def _write(self, session: Session) -> None:
        if "LITERAL+" in session.capabilities:
            await self._write_window(session)
        else:
            await self._write_in_turn(session)

    def _head(self, session: Session, item: Item, *, plus: bool) -> tuple[Sent, bytes]:
        """The APPEND of a mail up to its literal, and the command now in flight."""
        flags, _ = sendable_flags(item.line.flags, item.job.permanent_flags)
        level = self.trouble(item.key).flags_level if item.key in self.troubles else 0
        if level:
            flags = system_flags(flags) if level == 1 else ""
        item.flags = flags
        date = strict_internaldate(item.line.internal_date)
        command = session.command(go=not plus)
        sent = Sent(item, session, command)
        command.done.add_done_callback(lambda future: self._answered(sent, future))
        text = b"%s APPEND %s (%s)%s {%d%s}\r\n" % (
            command.tag,
            names.quoted(item.job.target),
            flags.encode("latin-1"),
            b' "%s"' % date.encode("ascii") if date else b"",
            item.size,
            b"+" if plus else b"",
        )
        return sent, text

    def _answered(self, sent: Sent, future: asyncio.Future[Done]) -> None:
        item = sent.item
        try:
            self.budget.give(item.held_bytes)
            if future.cancelled():
                return
            if (error := future.exception()) is not None:
                if sent.session not in self._blamed:  # in order here too: only the oldest is to blame
                    self._blamed.add(sent.session)
                    trouble = self.trouble(item.key)
                    trouble.lost += 1
                    trouble.alone = True
                    self._on_lost(self, item)
                self.close(error)
                return
            done = future.result()
            if not done.ok and isinstance(item.body, Stream):
                item.body.abandon()
            if sent.pipelined:
                if done.status == "BAD":
                    self.pipelining = False
                    self.trouble(item.key).alone = True
                    return
                self.pipelining_proven = True
            self._on_answer(self, sent, done)
        except BaseException as error:
            self.close(error)

    async def _body(self, session: Session, item: Item, tail: bytes) -> None:
        """The literal, then `tail`; a source that breaks in the middle takes this connection with it."""
        if isinstance(item.body, bytes):
            item.digest.update(item.body)
            session.write(item.body + tail)
        else:
            try:
                async for chunk in item.body.chunks():
                    item.digest.update(chunk)
                    session.write(chunk)
                    await session.drain()
            except MailError:
                if session.lost is None:
                    self._blamed.add(session)
                    session.fail(ConnectionLost("the source broke in the middle of a mail"))
                raise
            session.write(tail)
        await session.drain()

    async def _write_window(self, session: Session) -> None:
        flight: set[asyncio.Future[Done]] = set()
        while (item := await self.channel.get()) is not None:
            try:
                if flight and (item.alone or len(flight) >= WINDOW):
                    when = asyncio.ALL_COMPLETED if item.alone else asyncio.FIRST_COMPLETED
                    await asyncio.wait(flight, return_when=when)
                sent, head = self._head(session, item, plus=True)
                session.write(head)
                flight.add(sent.command.done)
                await self._body(session, item, b"\r\n")
                if item.alone:
                    await asyncio.wait(flight)
            finally:
                drop(item)  # nothing more to take of it, or nobody to take it
            flight = {each for each in flight if not each.done()}
        if flight:
            await asyncio.wait(flight)

    async def _write_in_turn(self, session: Session) -> None:
        item = await self.channel.get()
        sent: Sent | None = None
        following: Item | None = None
        try:
            while item is not None:
                if sent is None:
                    sent, head = self._head(session, item, plus=False)
                    session.write(head)
                following, following_sent = None, None
                if await self._may_send(sent):
                    tail = b"\r\n"
                    if self.pipelining and not item.alone:
                        following = self.channel.get_now()
                    if following is not None and not following.alone:
                        following_sent, head = self._head(session, following, plus=False)
                        following_sent.pipelined = True
                        tail += head
                    await self._body(session, item, tail)
                drop(item)
                if following_sent is None:
                    await asyncio.wait([sent.command.done])
                    following = following or await self.channel.get()
                item, sent = following, following_sent
        finally:
            for each in (item, following):
                if each is not None:
                    drop(each)

    async def _may_send(self, sent: Sent) -> bool:
        """Wait for the server's "+"; False when it refused instead."""
        assert sent.command.go is not None  # noqa: S101 - asked for
        try:
            return await sent.command.go
        except ConnectionLost:
            if sent.pipelined and not self.pipelining_proven:
                self.pipelining = False  # it may have lost the line that rode behind the literal
            raise
