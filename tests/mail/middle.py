"""A man in the middle of an IMAP connection: hears every client command, answers in the server's place, cuts lines."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable

CUT = b"cut"  # an answer that means: drop the connection here
ACCEPTING_TURNS = 10  # of the event loop, from the accepted socket to the first line of `_serve`


class Middle:
    """
    Forwards to a server on loopback.

    `on_command(line)` gets each command line without its tag and gives None to pass it on, bytes to answer instead
    (`tag` is replaced), or CUT. `cut_after` drops a connection once so many bytes went to the client or the server.
    """

    def __init__(self, port: int) -> None:
        self.server_port = port
        self.port = 0
        self.on_command: Callable[[bytes], bytes | None] = lambda line: None
        self.on_answer: Callable[[bytes], bytes] = lambda data: data
        self.cut_after_received: list[int] = []  # one number for each connection to come; then none is cut
        self.cut_after_sent: list[int] = []
        self.commands: list[bytes] = []
        self.silent = self._ending = False
        self.connections = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Middle]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        tasks = self._tasks = set[asyncio.Task[None]]()
        serving = self._serving = set[asyncio.Task[None]]()
        self._ending = False
        try:
            yield self
        finally:
            self._ending = True
            for _ in range(ACCEPTING_TURNS):  # who was let in a moment ago is served by now, and can be ended
                await asyncio.sleep(0)
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, *serving, return_exceptions=True)
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if (me := asyncio.current_task()) is not None:
            self._serving.add(me)
            me.add_done_callback(self._serving.discard)
        down = self.cut_after_received.pop(0) if self.cut_after_received else None
        up = self.cut_after_sent.pop(0) if self.cut_after_sent else None
        ends, works = [writer], list[asyncio.Task[None]]()
        try:
            other, out = await asyncio.open_connection("127.0.0.1", self.server_port, limit=1 << 20)
            ends.append(out)
            if self._ending:
                return
            works.append(asyncio.create_task(self._answers(other, writer, down)))
            works.append(asyncio.create_task(self._commands(reader, out, writer, up)))
            self._tasks.update(works)
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            self._tasks.difference_update(works)
            for each in ends:
                each.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        while data := await reader.read(65536):
            if self.silent:
                continue
            if limit is not None:
                data, limit = data[:limit], limit - len(data)
            writer.write(self.on_answer(data))
            await writer.drain()
            if limit is not None and limit <= 0:
                return

    async def _commands(
        self, reader: asyncio.StreamReader, out: asyncio.StreamWriter, back: asyncio.StreamWriter, limit: int | None
    ) -> None:
        sent = 0
        while line := await reader.readline():
            literal = re.search(rb"\{(\d+)(\+?)\}\r\n$", line)
            tag, _, rest = line.rstrip(b"\r\n").partition(b" ")
            if rest:
                self.commands.append(rest)
            answer = self.on_command(rest) if rest else None
            if answer == CUT:
                return
            if answer is not None:
                if literal and literal[2]:
                    await reader.readexactly(int(literal[1]) + 2)
                back.write(answer.replace(b"tag", tag) + b"\r\n")
                await back.drain()
                continue
            out.write(line)
            sent += len(line)
            left = int(literal[1]) if literal else 0
            while left:
                data = await reader.read(min(left, 65536))
                if not data:
                    return
                left -= len(data)
                sent += len(data)
                out.write(data)
                await out.drain()
                if limit is not None and sent >= limit:
                    return
            await out.drain()
            if limit is not None and sent >= limit:
                return
