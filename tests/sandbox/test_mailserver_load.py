"""The simulated mail server shares its loop with web pages: much mail must not hold the others up."""

from __future__ import annotations

import asyncio
from typing import cast

from bot.sandbox.mail.connection import serve
from bot.sandbox.mail.session import Session
from bot.sandbox.mail.stream import Inbound, Outbound
from bot.sandbox.mailserver import MailServer
from tests.sandbox.harness import ADDRESS, MAIL, NOW, FixedClock

MAILS = 5_000
TICKS_MIN = 5


class Sink:
    """A writer that takes everything at once, so that nothing but the server itself can give way to others."""

    def __init__(self) -> None:
        self.size = 0
        self.largest = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.largest = max(self.largest, len(data))

    async def drain(self) -> None:
        pass


def session_of(raws: list[bytes], commands: str) -> tuple[Session, Sink]:
    """A session with everything the client will ever say already there."""
    server = MailServer(FixedClock())
    box = server.add(ADDRESS)
    for raw in raws:
        box.put("INBOX", raw, NOW)
    reader = asyncio.StreamReader()
    reader.feed_data(f"A LOGIN {ADDRESS} {box.mint()[1]}\r\nB EXAMINE INBOX\r\n{commands}\r\nZ LOGOUT\r\n".encode())
    sink = Sink()
    return Session(server, Inbound(reader), Outbound(cast(asyncio.StreamWriter, sink))), sink


async def ticks_during(raws: list[bytes], commands: str) -> tuple[int, Sink]:
    """How often another task of the loop had its turn while commands were answered."""
    session, sink = session_of(raws, commands)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await serve(session)
    ticking.cancel()
    return ticks, sink


def test_a_listing_of_five_thousand_gives_way() -> None:
    command = "C UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"
    ticks, sink = asyncio.run(ticks_during([MAIL] * MAILS, command))
    assert sink.size > MAILS * 60
    assert ticks >= TICKS_MIN


def test_storing_and_searching_five_thousand_gives_way() -> None:
    commands = "C SELECT INBOX\r\nD UID STORE 1:* +FLAGS (Work)\r\nE UID SEARCH ALL"
    ticks, sink = asyncio.run(ticks_during([MAIL] * MAILS, commands))
    assert sink.size > MAILS * 30
    assert ticks >= TICKS_MIN


def test_a_large_body_leaves_in_pieces() -> None:
    _, sink = asyncio.run(ticks_during([b"x" * 8_000_000], "C UID FETCH 1 (BODY.PEEK[])"))
    assert sink.size > 8_000_000
    assert sink.largest <= 256 * 1024
