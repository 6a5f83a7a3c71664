"""Bytes in and out of one connection: lines, literals, the slow line, room for others in the loop."""

from __future__ import annotations

import asyncio
import time

CHUNK_BYTES = 128 * 1024
LINE_MAX_BYTES = 256 * 1024
HOLD_LOOP_SECONDS = 0.002


class LineTooLong(Exception):
    """More than `LINE_MAX_BYTES` without a line end."""


class Inbound:
    """What the client sends, read ahead; what has been read and not taken can be thrown away."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader
        self.buffer = bytearray()

    async def more(self) -> None:
        data = await self.reader.read(CHUNK_BYTES)
        if not data:
            raise ConnectionResetError("the client hung up")
        self.buffer += data

    async def line(self) -> bytes:
        """The next line without its end; CRLF or a bare LF ends it. Raises ConnectionResetError at the end."""
        searched = 0
        while (end := self.buffer.find(b"\n", searched)) < 0:
            searched = len(self.buffer)
            if searched > LINE_MAX_BYTES:
                raise LineTooLong
            await self.more()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return line.removesuffix(b"\r")

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self.buffer) < size:
            await self.more()
        data = bytes(memoryview(self.buffer)[:size])
        del self.buffer[:size]
        return data

    def discard(self) -> None:
        self.buffer.clear()

    async def until_closed(self) -> None:
        """Read and forget until the client hangs up."""
        while await self.reader.read(CHUNK_BYTES):
            pass


class Outbound:
    """What the server sends: small answers are gathered, large ones leave in pieces, and the loop stays free."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.waiting = bytearray()
        self.bytes_per_second = 0
        self.since = time.perf_counter()

    def add(self, data: bytes) -> None:
        self.waiting += data

    async def breathe(self) -> None:
        """Give way to the loop's other work when this connection has held it for a while; send what has gathered."""
        if len(self.waiting) >= CHUNK_BYTES:
            await self.flush()
        if time.perf_counter() - self.since > HOLD_LOOP_SECONDS:
            await asyncio.sleep(0)
            self.since = time.perf_counter()

    async def send(self, data: bytes) -> None:
        """Send `data` behind what waits, in pieces if it is large."""
        if len(data) < CHUNK_BYTES:
            self.add(data)
            await self.breathe()
            return
        await self.flush()
        with memoryview(data) as view:
            for start in range(0, len(view), CHUNK_BYTES):
                await self.write(view[start : start + CHUNK_BYTES])

    async def flush(self) -> None:
        if self.waiting:
            data, self.waiting = self.waiting, bytearray()
            await self.write(data)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.bytes_per_second:
            step = max(1, self.bytes_per_second // 20)
            for start in range(0, len(data), step):
                self.writer.write(bytes(data[start : start + step]))
                await self.writer.drain()
                await asyncio.sleep(len(data[start : start + step]) / self.bytes_per_second)
            return
        self.writer.write(data)
        await self.writer.drain()
        await self.breathe()
