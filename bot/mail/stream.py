"""A mail too large to be held, passed on while it arrives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

STREAM_HELD_BYTES = 2_000_000  # of a passed-on literal, before the reader is paused and all behind it waits
OPENING_BYTES = 16 * 1024  # kept of a passed-on literal, to tell a person which mail it was


class Reader(Protocol):
    """The connection it comes from."""

    def pause_reading(self, whose: object = None, /) -> None: ...
    def resume_reading(self, whose: object = None, /) -> None: ...


class Stream:
    """A literal passed on while it arrives; the connection stops reading while nobody takes it."""

    def __init__(self, session: Reader, size: int) -> None:
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
