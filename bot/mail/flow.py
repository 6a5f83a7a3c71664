"""What flows from a source to a target, and what holds it back: mails in batches, a budget of bytes, a queue."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.mail.connection import Command
from bot.mail.digest import Digest
from bot.mail.ledger import Line
from bot.mail.session import Session
from bot.mail.stream import OPENING_BYTES, STREAM_HELD_BYTES, Stream
from bot.mail.work import Job
from bot.mail.wrap import Wrapping

OVERHEAD_BYTES = 1_024  # what holding a mail costs beyond its bytes


def held_for(size_bytes: int) -> int:
    """What a mail of that size takes of the budget."""
    return OVERHEAD_BYTES + min(size_bytes, STREAM_HELD_BYTES)


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
    taken: bool = False  # its bytes are taken from the budget
    opening: Command | None = None
    command: Command | None = None
    in_turn: bool = False  # asked for once its folder was open, not behind the command that opens it

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
    begun: bool = False  # its APPEND was sent
    wrapping: Wrapping | None = None  # it goes as an attachment
    read_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.read_bytes = self.body.size if isinstance(self.body, Stream) else len(self.body)

    def let_go(self) -> int:
        """It is on its way: hold no more of it than tells a person which mail it was. Gives the bytes that frees."""
        if isinstance(self.body, bytes) and len(self.body) > OPENING_BYTES:
            self.body = self.body[:OPENING_BYTES]
        kept = min(self.held_bytes, OVERHEAD_BYTES + OPENING_BYTES)
        freed, self.held_bytes = self.held_bytes - kept, kept
        return freed

    @property
    def key(self) -> Key:
        return self.line.folder_id, self.line.uid

    @property
    def size(self) -> int:
        """Of what is sent."""
        return self.read_bytes if self.wrapping is None else self.wrapping.size

    @property
    def small(self) -> bool:
        """Held whole, and to be sent like any other."""
        return not self.alone and isinstance(self.body, bytes)

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
        self._owing: set[Session] = set()
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
        if self._free >= 0:
            self._read_on(*self._owing)
        self._wake()

    def owe(self, size_bytes: int, session: Session, body: bytes | Stream) -> None:
        """
        A mail is larger than its source had told: with nothing left, nothing more is read from that connection until
        some is given back, or until somebody waits for the rest of this mail.
        """
        self._free -= size_bytes
        if isinstance(body, Stream):
            body.at_begin = functools.partial(self._read_on, session)
            body.at_end = functools.partial(self._hold, session)
        self._hold(session)

    def _hold(self, session: Session) -> None:
        if self._free < 0 and not self._closed:
            self._owing.add(session)
            session.pause_reading(self)

    def _read_on(self, *sessions: Session) -> None:
        for session in sessions:
            self._owing.discard(session)
            session.resume_reading(self)

    def close(self) -> None:
        self._closed = True
        self._read_on(*self._owing)
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

    def put_back(self, item: Item) -> None:
        """For another writer."""
        if self.closed:
            drop(item)
            return
        self._items.appendleft(item)
        self._wake()

    def get_now(self, fits: Callable[[Item], bool] = lambda item: True) -> Item | None:
        """The next if it is there and fits."""
        return self._items.popleft() if self._items and fits(self._items[0]) else None

    @property
    def empty(self) -> bool:
        return not self._items

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
