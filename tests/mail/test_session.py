"""One connection: what a server may send on it, and how long it may take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.mail import wire
from bot.mail.account import MailAccount
from bot.mail.connection import Command
from bot.mail.errors import ConnectionLost, MailError
from bot.mail.session import Session, open_session
from bot.mail.told import listed, selected, status_of
from tests.servers.dovecot import Dovecot

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, list[bytes]], Awaitable[None]]


async def with_server(talk: Talk, work: Callable[[MailAccount, list[bytes]], Awaitable[None]]) -> None:
    """A server that lets everybody in, then does as `talk` says."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK hello\r\n")
        try:
            while line := await reader.readline():
                tag, _, rest = line.rstrip().partition(b" ")
                heard.append(rest)
                if rest.startswith((b"LOGIN", b"CAPABILITY", b"NOOP", b"LOGOUT")):
                    writer.write(tag + b" OK done\r\n")
                    continue
                await talk(reader, writer, heard)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(20):
            account = MailAccount("127.0.0.1", server.sockets[0].getsockname()[1], "a", "b", tls=False)
            await work(account, heard)
    finally:
        server.close()


def test_a_drip_holds_nothing_up() -> None:
    """A byte now and then is no silence, but a command has a deadline of its own."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: list[bytes]) -> None:
        while True:
            writer.write(b"*")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def work(account: MailAccount, heard: list[bytes]) -> None:
        session = await open_session(account, silence_seconds=5, command_seconds=0.4)
        began = asyncio.get_running_loop().time()
        with pytest.raises(ConnectionLost, match=r"more than 0\.4 s"):
            await session.run(b"UID FETCH 1 (FLAGS)")
        assert asyncio.get_running_loop().time() - began < 4

    asyncio.run(with_server(drip, work))


def test_a_long_answer_is_no_drip() -> None:
    """As long as enough of it comes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: list[bytes]) -> None:
        for _ in range(20):
            writer.write(b"* 1 FETCH (FLAGS ())\r\n" * 1000)
            await writer.drain()
            await asyncio.sleep(0.03)
        writer.write(b"A3 OK done\r\n")

    async def work(account: MailAccount, heard: list[bytes]) -> None:
        session = await open_session(account, silence_seconds=5, command_seconds=0.2)
        assert (await session.run(b"UID FETCH 1 (FLAGS)")).ok
        await session.close()

    asyncio.run(with_server(answer, work))


def test_an_idle_connection_says_something() -> None:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: list[bytes]) -> None:
        pass

    async def work(account: MailAccount, heard: list[bytes]) -> None:
        session = await open_session(account, silence_seconds=0.4, idle_seconds=0.2)
        while heard.count(b"NOOP") < 2:
            await asyncio.sleep(0.01)
        assert session.lost is None, "nobody waits: silence is no loss"
        await session.close()

    asyncio.run(with_server(nothing, work))


class Pipe(asyncio.Transport):
    """A transport to nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.aborted

    def close(self) -> None:
        self.aborted = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


answers = st.sampled_from(
    [
        b"* 3 EXISTS\r\n",
        b"* OK [UIDVALIDITY 5] x\r\n",
        b"+ go on\r\n",
        b"A1 OK done\r\n",
        b"A2 NO [LIMIT] no\r\n",
        b"* 1 FETCH (UID 7 FLAGS (\\Seen) BODY[] {5}\r\nhello)\r\n",
        b"* 2 FETCH (UID 8 BODY[] {600000}\r\n",
        b"* BAD Command!\r\n",
        b"* BYE too many\r\n",
        b"A9 OK nobody asked\r\n",
        b'* LIST (\\A) "/" {3}\r\na"b\r\n',
        b"* STATUS x (MESSAGES 1 UIDNEXT 99999999999999999999999 UIDVALIDITY 1)\r\n",
        b"* ESEARCH\r\n",
        b"\r\n",
        b" \r\n",
        b"* 1 FETCH (UID 99999999999999999999999999 RFC822.SIZE x)\r\n",
        b"* OK {99999999999}\r\n",
        b"* X {999999999999}\r\n",
    ]
)


@given(st.lists(st.one_of(answers, st.binary(max_size=80)), max_size=12), st.lists(st.integers(1, 300), max_size=10))
@settings(max_examples=150, deadline=None)
def test_nothing_a_server_says_hangs_or_crashes(said: list[bytes], cuts: list[int]) -> None:
    """Every command ends with an answer or with a lost connection, whatever comes, in whatever pieces."""

    async def work() -> None:
        session, pipe = Session(MailAccount("h", 1, "a", "b")), Pipe()
        session.connection_made(pipe)
        session.data_received(b"* OK hello\r\n")
        opening = session.open_folder("INBOX")
        commands = [opening, session.send(b"UID FETCH 1:9 (BODY.PEEK[])", on_fetch=lambda told, stream: True)]
        commands.append(session.send(b"APPEND x {3}", go=True))
        raw, place = b"".join(said), 0
        for cut in [*cuts, len(raw)]:
            if session.lost is None:
                session.data_received(raw[place : place + cut])
            place += cut
        session.connection_lost(None)
        for command in commands:
            try:
                done = await command.done
            except MailError:
                continue
            with contextlib.suppress(MailError):
                selected(done, "")
            status_of(done)
            for line in done.lines:
                listed(line)
        assert session.lost is not None
        assert pipe.aborted

    asyncio.run(work())


pieces = st.sampled_from(
    [
        b"UID 5",
        b"UID 123456",
        b"FLAGS ()",
        b"FLAGS (\\Seen $x)",
        b"flags (\\Seen)",
        b'INTERNALDATE " 4-Jan-2015 08:00:00 +0800"',
        b"RFC822.SIZE 9",
        b"MODSEQ (12)",
        b"FLAGS (a(b)",
        b'INTERNALDATE "a\\"b"',
        b"UID x",
        b"BODY[] NIL",
        b'BODY[] "x"',
        b"X[Y]",
    ]
)


@given(
    st.lists(pieces, max_size=6),
    st.sampled_from([b")", b"", b"))", b" )", b")x"]),
    st.booleans(),
    st.sampled_from([b")", b" UID 6)", b""]),
)
def test_the_quick_way_reads_what_the_thorough_one_reads(
    some: list[bytes], end: bytes, literal: bool, tail: bytes
) -> None:
    line = b"* 1 FETCH (" + b" ".join(some)
    parts: tuple[bytes | wire.Big, ...] = (line + end,)
    if literal:
        parts = (line + (b" " if some else b"") + b"BODY[] {3}", b"abc", tail)
    quick = wire.usual(parts)
    assert quick is None or quick == wire.read(parts)


def test_a_process_that_stood_still_does_not_take_that_for_silence(dovecot: Dovecot) -> None:
    """A starved machine, a suspended one: what came meanwhile is read before anybody gives up."""

    async def work() -> None:
        session = await open_session(dovecot.account(), silence_seconds=0.4, command_seconds=0.4)
        asked = session.send(b"NOOP")
        session._watch()
        time.sleep(1.0)
        session._watch()  # before the answer that lies there is read
        assert session.lost is None
        assert (await asked.done).ok
        await session.close()

    asyncio.run(work())


@pytest.mark.parametrize("last", [b"* BAD too much\r\n", b"* BYE later\r\n"])
def test_nothing_comes_on_a_lost_connection(last: bytes) -> None:
    """A mail that begins behind its last words would never end, and who sends it on would wait for ever."""

    async def work() -> None:
        session = Session(MailAccount("127.0.0.1", 1, "a", "b"))
        session.data_received(b"* OK hello\r\n")
        taken: list[object] = []

        def take(told: wire.Fetched, stream: object) -> bool:
            taken.append(stream)
            return True

        session.pending[b"A1"] = Command(b"A1", asyncio.get_running_loop().create_future())
        session._takers[b"A1"] = take
        session.data_received(last + b"* 1 FETCH (UID 7 BODY[] {900000}\r\nFrom")
        assert session.lost is not None
        assert not taken

    asyncio.run(work())
