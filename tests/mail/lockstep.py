"""
A line to a mail server on which time passes in round trips.

Whatever the server answers is held until every command that was sent has been answered, then all of it is let through
at once: what a client sends without waiting for an answer counts as one round trip, on however many connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

QUIET_TURNS = 200  # of the event loop, in which the client, which runs in the same loop, has sent nothing
CLIENT_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\Z")
SERVER_LITERAL = re.compile(rb"\{(\d+)\}\Z")


class Text:
    """The lines of one direction, without the bytes of literals."""

    def __init__(self, literal: re.Pattern[bytes]) -> None:
        self._literal = literal
        self._rest = b""
        self._skip = 0

    def feed(self, data: bytes) -> list[bytes]:
        lines = []
        data, self._rest = self._rest + data, b""
        while data:
            if self._skip:
                taken = min(self._skip, len(data))
                data, self._skip = data[taken:], self._skip - taken
                continue
            line, end, data = data.partition(b"\r\n")
            if not end:
                self._rest = line
                break
            lines.append(line)
            if match := self._literal.search(line):
                self._skip = int(match[1])
        return lines


class Lockstep:
    """`rounds` holds the commands of each round trip, without their tags; the greeting is none."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self.rounds: list[list[bytes]] = [[]]
        self._ends: list[End] = []
        self._moved = asyncio.Event()
        self._sent = 0  # by the client, in all

    def before(self, word: bytes) -> int:
        """The round trips that were over when the first command with this word was sent."""
        return next(
            number for number, commands in enumerate(self.rounds) if any(each.startswith(word) for each in commands)
        )

    def after(self, word: bytes) -> int:
        """The round trips that came after the one with the last such command; leaving is none."""
        rounds = [[each for each in commands if each != b"LOGOUT"] for commands in self.rounds]
        last = max(number for number, some in enumerate(rounds) if any(each.startswith(word) for each in some))
        return sum(bool(each) for each in rounds[last + 1 :])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Lockstep]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._accepted, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        turning = asyncio.create_task(self._turn())
        try:
            yield self
        finally:
            turning.cancel()
            for end in self._ends:
                end.close()
            server.close()
            await server.wait_closed()

    def _accepted(self) -> End:
        end = End(self)
        self._ends.append(end)
        return end

    def heard(self, data: int) -> None:
        self._sent += data
        self._moved.set()

    async def _turn(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            quiet, sent = 0, self._sent
            while quiet < QUIET_TURNS:  # bounded by what the client has to say
                await asyncio.sleep(0)
                quiet, sent = (quiet + 1, sent) if sent == self._sent else (0, self._sent)
            if any(end.waits for end in self._ends):
                continue  # `_moved` tells when more has come
            told = [end.let_through() for end in self._ends]
            if any(told):
                self.rounds.append([])


class End(asyncio.Protocol):
    """The client's end of a connection."""

    def __init__(self, line: Lockstep) -> None:
        self._line = line
        self._client: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._early, self._held = b"", b""
        self._sent, self._came = Text(CLIENT_LITERAL), Text(SERVER_LITERAL)
        self._open: set[bytes] = set()  # tags
        self._greeted = self._gone = False

    @property
    def waits(self) -> bool:
        """The server has not answered everything."""
        return bool(self._open) and not self._gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._client = transport
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, far = await loop.create_connection(lambda: Far(self), "127.0.0.1", self._line.server_port)
        assert far.transport is not None
        self._server = far.transport
        self._server.write(self._early)

    def data_received(self, data: bytes) -> None:
        for line in self._sent.feed(data):
            tag, _, command = line.partition(b" ")
            if re.fullmatch(rb"A\d+", tag) and command:
                self._line.rounds[-1].append(command)
                self._open.add(tag)
        if self._server is None:
            self._early += data
        else:
            self._server.write(data)
        self._line.heard(len(data))

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        self._line.heard(0)
        if self._server is not None:
            self._server.close()

    def answered(self, data: bytes) -> None:
        """From the server."""
        for line in self._came.feed(data):
            self._open.discard(line.split(b" ", 1)[0])
            if line.startswith(b"+"):
                self._open.clear()  # it wants the literal first
        if not self._greeted and self._client is not None:
            self._greeted = True
            self._client.write(data)
        else:
            self._held += data
        self._line.heard(0)

    def let_through(self) -> bool:
        held, self._held = self._held, b""
        if held and self._client is not None and not self._gone:
            self._client.write(held)
        return bool(held)

    def close(self) -> None:
        self._connecting.cancel()
        for each in (self._client, self._server):
            if each is not None:
                each.abort()


class Far(asyncio.Protocol):
    """The server's end."""

    def __init__(self, end: End) -> None:
        self._end = end
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._end.answered(data)
