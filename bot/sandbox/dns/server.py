"""The simulated DNS on loopback: one port where every zone's own server answers, three where resolvers do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from bot.sandbox.dns.world import DnsWorld, Result

HOST = "127.0.0.1"
BIND_TRIES = 20
TCP_SECONDS = 10.0

Resolve = Callable[[str, str], Result]


class Datagrams(asyncio.DatagramProtocol):
    """Answers over UDP."""

    def __init__(self, answer: Callable[[bytes, bool], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answer(data, False)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


class Endpoint:
    """One server, over UDP and TCP at the same port."""

    def __init__(self, resolve: Resolve, *, own: bool) -> None:
        self._resolve = resolve
        self._own = own
        self.port = 0
        self._udp: asyncio.BaseTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen at a free port."""
        loop = asyncio.get_running_loop()
        for _ in range(BIND_TRIES):
            stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                stream.bind((HOST, 0))
                datagram.bind((HOST, stream.getsockname()[1]))
            except OSError:
                stream.close()
                datagram.close()
                continue
            self.port = int(stream.getsockname()[1])
            self._udp, _ = await loop.create_datagram_endpoint(lambda: Datagrams(self.answer), sock=datagram)
            self._tcp = await asyncio.start_server(self._stream, sock=stream)
            return
        raise OSError("no free port for a name server")

    async def stop(self) -> None:
        """Close everything."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
            await self._tcp.wait_closed()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            async with asyncio.timeout(TCP_SECONDS):
                size = int.from_bytes(await reader.readexactly(2), "big")
                answer = self.answer(await reader.readexactly(size), True)
                if answer is not None:
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        writer.close()

    def answer(self, wire: bytes, stream: bool) -> bytes | None:
        """The bytes of an answer; too long for UDP, it comes cut, with TC."""
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return None
        message = dns.message.make_response(query, recursion_available=not self._own)
        name = question.name.to_text(omit_final_dot=True).lower()
        result = self._resolve("" if name == "." else name, dns.rdatatype.to_text(question.rdtype))
        message.set_rcode(result.rcode)
        if self._own:
            message.flags |= dns.flags.AA
        message.answer.extend(result.answer)
        message.authority.extend(result.authority)
        if stream:
            return message.to_wire(max_size=65535)
        try:
            return message.to_wire(max_size=query.payload or 512)
        except dns.exception.TooBig:
            short = dns.message.make_response(query, recursion_available=not self._own)
            short.flags |= dns.flags.TC
            return short.to_wire()


class DnsServers:
    """All of them."""

    def __init__(self, world: DnsWorld) -> None:
        self._own = Endpoint(world.resolve, own=True)
        self._others = [Endpoint(each.resolve, own=False) for each in world.resolvers]

    async def start(self) -> None:
        """Listen."""
        for each in (self._own, *self._others):
            await each.start()

    async def stop(self) -> None:
        """Close."""
        for each in (self._own, *self._others):
            await each.stop()

    @property
    def port(self) -> int:
        """Where zones' own servers listen."""
        return self._own.port

    @property
    def resolvers(self) -> tuple[str, ...]:
        """Where resolvers listen, as BOT_DNS_SERVERS names them."""
        return tuple(f"{HOST}:{each.port}" for each in self._others)
