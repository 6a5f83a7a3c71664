"""The simulated mail server shares its loop with web pages: much mail must not hold the others up."""

from __future__ import annotations

import asyncio

from bot.sandbox.mailserver import MailServer
from tests.sandbox.harness import ADDRESS, MAIL, NOW, FixedClock

MAILS = 5_000
BIG_BYTES = 8_000_000


async def ticks_during(command: str, raws: list[bytes]) -> tuple[int, int]:
    """How often another task of the loop had its turn while a command was answered, and the answer's bytes."""
    server = MailServer(FixedClock())
    box = server.add(ADDRESS)
    password = box.mint()[1]
    for raw in raws:
        box.put("INBOX", raw, NOW)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"A LOGIN {ADDRESS} {password}\r\nB EXAMINE INBOX\r\n".encode())
        await reader.readuntil(b"B OK [READ-ONLY] EXAMINE complete\r\n")
        writer.write(f"C {command}\r\n".encode())
        ticking = asyncio.create_task(tick())
        size = 0
        tail = b""
        while not tail.endswith(b"C OK FETCH completed\r\n"):
            data = await asyncio.wait_for(reader.read(1 << 20), 20)
            assert data
            size += len(data)
            tail = (tail + data)[-100:]
        ticking.cancel()
        writer.close()
        await writer.wait_closed()
    return ticks, size


def test_a_listing_of_five_thousand_gives_way() -> None:
    ticks, size = asyncio.run(ticks_during("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", [MAIL] * MAILS))
    assert size > MAILS * 60
    assert ticks > 10


def test_a_large_body_gives_way() -> None:
    ticks, size = asyncio.run(ticks_during("UID FETCH 1 (BODY.PEEK[])", [b"x" * BIG_BYTES]))
    assert size > BIG_BYTES
    assert ticks > 10
