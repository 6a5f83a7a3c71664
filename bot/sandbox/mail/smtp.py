"""A greeting where Exmail's SMTP would be: it says what it can and takes no mail."""

from __future__ import annotations

import asyncio
import contextlib

HOST = "127.0.0.1"
WORDS = (b"AUTH LOGIN PLAIN", b"SIZE 73400320", b"8BITMIME")
SECONDS = 30.0


class SmtpGreeting:
    """Listens on loopback, on any free port."""

    def __init__(self) -> None:
        self.port = 0
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._listening = await asyncio.start_server(self._talk, HOST, 0)
        self.port = int(self._listening.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.LimitOverrunError, ValueError):
            writer.write(b"220 smtp.qq.com Esmtp QQ QMail Server\r\n")
            async with asyncio.timeout(SECONDS):
                while line := (await reader.readline()).strip().upper():
                    if line.startswith(b"EHLO"):
                        writer.write(b"".join(b"250-%s\r\n" % each for each in WORDS[:-1]) + b"250 %s\r\n" % WORDS[-1])
                    elif line.startswith(b"QUIT"):
                        writer.write(b"221 Bye\r\n")
                        break
                    else:
                        writer.write(b"502 Error: not here\r\n")
        writer.close()
