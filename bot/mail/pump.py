"""
One pass of mail from the source's connections to the target's.

FETCHes are sent ahead in batches; `append.Writer` sends what comes. Connections may be added and rested while it runs,
and a lost one costs only what was under way on it: those mails stay planned. A pass ends cleanly whatever happens.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol

from bot.mail import wire
from bot.mail.append import Sent, Writer
from bot.mail.connection import Command
from bot.mail.digest import Digest
from bot.mail.errors import CommandRefused, ConnectionLost, MailError
from bot.mail.flow import Batch, Budget, Channel, Item, Key, PassClosed, Trouble, drop, held_for
from bot.mail.ledger import Line
from bot.mail.pace import Throttle
from bot.mail.quirks import Refused, why_refused
from bot.mail.session import Session
from bot.mail.stream import Stream
from bot.mail.told import Done, selected
from bot.mail.work import Job, Renumbered
from bot.mail.wrap import Wrapping

BATCHES_AHEAD = 6  # at 40 ms three of half a megabyte keep a line busy for half of the time
APPENDUID = re.compile(r"\[APPENDUID (\d{1,20}) ([\d:,]{1,2000})\]", re.IGNORECASE | re.ASCII)
ABOUT_ALL = (Refused.QUOTA, Refused.NO_FOLDER, Refused.BUSY)  # refusals that one mail of a group did not cause


class Owner(Protocol):
    """Who a pass reports to, in the event loop's callbacks: none of these waits; what they raise ends the pass."""

    def answered(self, passing: Pass, item: Item, done: Done, target: tuple[int, int] | None) -> None:
        """The target's answer; `target` is the UIDVALIDITY and UID it told."""

    def blamed(self, passing: Pass, item: Item) -> None:
        """A connection broke, and this mail was the oldest under way on it."""

    def unsure(self, items: list[Item]) -> None:
        """A connection broke before these were answered: the target may have them, or still get them."""

    def doubted(self, items: list[Item]) -> None:
        """A group was refused: a part of it may be stored all the same."""

    def lost(self, passing: Pass, session: Session, error: MailError) -> None:
        """A connection is gone. Add another, or close the pass."""


class Pass:
    """Reads `batches`, sends what comes, tells `owner` about every answer."""

    def __init__(
        self,
        owner: Owner,
        batches: Iterator[Batch],
        troubles: dict[Key, Trouble],
        *,
        budget_bytes: int,
        throttle: Throttle,
        pipelining: bool,
        grouping: bool,
        identify: bool = False,
    ) -> None:
        self.batches = batches
        self.troubles = troubles
        self.budget = Budget(budget_bytes)
        self.channel = Channel()
        self.throttle = throttle
        self.pipelining, self.pipelining_proven = pipelining, False
        self.grouping = grouping
        self.identify = identify
        self.retired: set[Session] = set()
        self.blamed: set[Session] = set()
        self.error: BaseException | None = None
        self.unread: list[tuple[Job, Line, str]] = []  # asked for alone, and did not come
        self._owner = owner
        self._exhausted = False
        self._readers: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.Task[None]] = set()
        self._writing: set[Session] = set()
        self._changed = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self.channel.closed

    @property
    def all_read(self) -> bool:
        """Nothing more is asked of the source."""
        return self._exhausted

    def close(self, error: BaseException | None = None) -> None:
        """Begin nothing new; what is in flight is still answered. The first error is the one raised."""
        if error is not None and self.error is None:
            self.error = error
        self.channel.close()
        self.budget.close()
        self._changed.set()

    def trouble(self, key: Key) -> Trouble:
        return self.troubles.setdefault(key, Trouble())

    def known_trouble(self, item: Item) -> Trouble | None:
        return self.troubles.get(item.key)

    def add_source(self, session: Session) -> None:
        self._start(self._readers, session, self._read(session))

    def add_target(self, session: Session) -> None:
        self._writing.add(session)
        self._start(self._writers, session, self._write(session))

    async def _write(self, session: Session) -> None:
        try:
            await Writer(self, session).run()
        finally:
            self._writing.discard(session)

    def work(self, session: Session) -> None:
        """This connection to the target is needed, also if it was to rest."""
        self.retired.discard(session)
        if session not in self._writing and session.lost is None and not self.closed:
            self.add_target(session)

    def rest(self, session: Session) -> None:
        """This connection to the target begins nothing new."""
        self.retired.add(session)

    def is_idle(self, session: Session) -> bool:
        """Nothing of it is under way on this connection to the target."""
        return session not in self._writing and not session.pending

    def _start(self, tasks: set[asyncio.Task[None]], session: Session, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guard(session, work))
        tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            self._changed.set()

        task.add_done_callback(ended)

    async def run(self) -> None:
        """Until the batches are done or something closed the pass. Raises what closed it."""
        try:
            await self._until(lambda: self._exhausted and not self._readers)
            # A writer that has lost its connection may leave mail behind for the next one.
            await self._until(lambda: self.channel.empty)
            self.channel.finish()
            await self._until(lambda: not self._writers, closed=False)
            await asyncio.sleep(0)  # the callbacks of the last answers
        finally:
            self.close()
            await self._end()
        if self.error is not None:
            raise self.error

    async def _end(self) -> None:
        """Those that are closed wait for the answers to what is in flight; who cancels us does not."""
        try:
            await asyncio.gather(*self._readers, *self._writers, return_exceptions=True)
        finally:
            for task in (*self._readers, *self._writers):
                task.cancel()

    async def _until(self, ready: Callable[[], bool], *, closed: bool = True) -> None:
        while not ready() and not (closed and self.closed):
            self._changed.clear()
            await self._changed.wait()

    async def _guard(self, session: Session, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except PassClosed:
            pass
        except MailError as error:
            if not isinstance(session.lost, MailError):
                self.close(session.lost or error)
            elif not self.closed:
                self._tell_lost(session, session.lost)
        except Exception as error:
            self.close(error)

    def _tell_lost(self, session: Session, error: MailError) -> None:
        try:
            self._owner.lost(self, session, error)
        except Exception as found:
            self.close(found)

    def forget(self, item: Item) -> None:
        """It is not sent in this pass."""
        self.budget.give(item.held_bytes)
        drop(item)
        self._changed.set()

    def sent(self, item: Item) -> None:
        """All of it has been handed to the network; the answer is still to come."""
        self.budget.give(item.let_go())

    # Reading

    async def _read(self, session: Session) -> None:
        ahead: deque[Batch] = deque()
        opening: Command | None = None
        job: Job | None = None
        try:
            for batch in self.batches:
                if self.closed:
                    break
                ahead.append(batch)
                await self.budget.take(batch.size_bytes)
                batch.taken = True
                if batch.job.skipped:
                    self._give_back(ahead.pop())
                    continue
                if opening is None or job is not batch.job:
                    while len(ahead) > 1 and session.in_turn:
                        await self._settle(session, ahead)
                    job, opening = batch.job, session.open_folder(batch.job.source)
                if session.in_turn:
                    await opening.done
                batch.in_turn = opening.done.done()
                batch.opening = opening
                line = b"UID FETCH " + wire.uid_set(list(batch.lines)) + b" (UID FLAGS INTERNALDATE BODY.PEEK[])"
                batch.command = session.send(line, on_fetch=self._taker(session, batch))
                await session.drain()
                while len(ahead) >= BATCHES_AHEAD:
                    await self._settle(session, ahead)
            else:
                self._exhausted = True
            while ahead:
                await self._settle(session, ahead)
        except ConnectionLost:
            if ahead and ahead[0].command is not None and ahead[0].lines:
                # The server works in order: the oldest mail that has not come is the one to blame.
                for number, (uid, mail) in enumerate(ahead[0].lines.items()):
                    self.trouble((ahead[0].job.record.id, uid)).alone = True
                    if not number:
                        self._blame(Item(ahead[0].job, mail, b"", 0, True))
            raise
        finally:
            for batch in ahead:
                self._give_back(batch)

    def _give_back(self, batch: Batch) -> None:
        """The budget of what did not come."""
        if batch.taken:
            self.budget.give(batch.size_bytes)
        batch.lines, batch.held = {}, {}

    def _blame(self, item: Item) -> None:
        trouble = self.trouble(item.key)
        trouble.lost += 1
        trouble.alone = True
        self._owner.blamed(self, item)

    def _taker(self, session: Session, batch: Batch) -> Callable[[wire.Fetched, Stream | None], bool]:
        def take(told: wire.Fetched, stream: Stream | None) -> bool:
            if batch.opening is None or not batch.opening.ok:
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
            held = batch.held.pop(uid)
            digest = Digest(identify=self.identify or line.wrapped)
            item = Item(batch.job, line, body, held, batch.alone, digest=digest)
            if (beyond := held_for(item.read_bytes) - held) > 0:  # what the source has told was untrue
                item.held_bytes += beyond
                self.budget.owe(beyond, session, body)
            if line.wrapped:
                item.wrapping = Wrapping(line, item.read_bytes)
            self.channel.put(item)
            return True

        return take

    async def _settle(self, session: Session, ahead: deque[Batch]) -> None:
        """Wait for the oldest batch and see what did not come."""
        batch = ahead[0]
        assert batch.opening is not None  # noqa: S101 - set before it was sent
        assert batch.command is not None  # noqa: S101
        try:
            opened = selected(await batch.opening.done, "")
        except CommandRefused as error:
            await batch.command.done
            batch.job.skipped = True
            raise Renumbered(f"the source does not open {batch.job.name}: {error.text}") from None
        if opened.uidvalidity != batch.job.record.source_uidvalidity:
            raise Renumbered("the source folder has a new UIDVALIDITY")
        done = await batch.command.done
        ahead.popleft()
        if not batch.in_turn and session.refused_ahead(done):
            self._give_back(batch)  # still planned: the next pass asks in turn
            return
        for uid, line in batch.lines.items():
            trouble = self.trouble((batch.job.record.id, uid))
            if batch.alone:
                trouble.missed += 1
                self.unread.append((batch.job, line, "" if done.ok else done.text))
            trouble.alone = True
        self._give_back(batch)

    # Answers

    def answered(self, sent: Sent, future: asyncio.Future[Done]) -> None:
        """Called by the event loop when an APPEND is answered or its connection lost."""
        try:
            for item in sent.items:
                self.budget.give(item.held_bytes)
            if not future.cancelled():
                if future.exception() is not None:
                    self._unanswered(sent)
                else:
                    self._answered(sent, future.result())
        except BaseException as error:
            self.close(error)
        self._changed.set()

    def _unanswered(self, sent: Sent) -> None:
        if sent.session not in self.blamed:  # in order here too: only the oldest is to blame
            self.blamed.add(sent.session)
            for item in sent.items[1:]:
                self.trouble(item.key).alone = True
            self._blame(sent.items[0])
        self._owner.unsure(sent.items)

    def _answered(self, sent: Sent, done: Done) -> None:
        for item in sent.items:
            if not done.ok and isinstance(item.body, Stream):
                item.body.abandon()
        if sent.pipelined:
            if done.status == "BAD":
                self.pipelining = False
                self.trouble(sent.items[0].key).alone = True
                return
            self.pipelining_proven = True
        if len(sent.items) > 1 and not done.ok:
            if done.status == "BAD":
                self.grouping = False
            elif why_refused(done.text) in ABOUT_ALL:
                self._owner.answered(self, sent.items[0], done, None)
            for item in sent.items:
                self.trouble(item.key).alone = True
            self._owner.doubted(sent.items)
            return
        places = appended(done.text, len(sent.items))
        for item, place in zip(sent.items, places, strict=True):
            self._owner.answered(self, item, done, place)


def appended(text: str, count: int) -> list[tuple[int, int] | None]:
    """UIDVALIDITY and UID of each mail as APPENDUID tells them (RFC 4315); none when they do not fit."""
    match = APPENDUID.search(text)
    if match is not None and count == 1 and match[2].isdecimal() and len(match[2]) <= 20:
        return [(int(match[1]), int(match[2]))]
    uids = wire.uids_of(match[2]) if match else []
    if match is None or len(uids) != count:
        return [None] * count
    return [(int(match[1]), uid) for uid in uids]
