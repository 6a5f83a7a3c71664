"""
A simulated Exmail IMAP server inside the process: the public face of `bot.sandbox.mail`.

It shows Exmail's greeting, capabilities, folders and habits, and every fault of `FAULTS` at the turn of a switch. It
lives in one asyncio loop; mailboxes are read and changed there without IMAP.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from types import TracebackType

from bot.clock import Clock, SystemClock
from bot.sandbox.mail.boxes import GIB, INBOX, ROOT, SYSTEM_FOLDERS, TROUBLES, Folder, Mailbox, Message, OnLine
from bot.sandbox.mail.connection import serve
from bot.sandbox.mail.faults import FACE, FAULTS, NUMBERS, Faults
from bot.sandbox.mail.session import LOGIN_FAIL, Session
from bot.sandbox.mail.stream import Inbound, Outbound

__all__ = [
    "FACE",
    "FAULTS",
    "INBOX",
    "LOGIN_FAIL",
    "NUMBERS",
    "ROOT",
    "SYSTEM_FOLDERS",
    "TROUBLES",
    "Faults",
    "Folder",
    "MailServer",
    "Mailbox",
    "Message",
]

BACKLOG = 200


class MailServer:
    """The server and its mailboxes; `faults` strike every mailbox that does not say otherwise itself."""

    def __init__(self, clock: Clock | None = None, *, on_line: OnLine | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.on_line = on_line
        self.faults = Faults(FACE)
        self.mailboxes: dict[str, Mailbox] = {}
        self.port = 0
        self.listening: asyncio.Server | None = None
        self.live: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    # mailboxes

    def add(self, address: str, *, quota_bytes: int = GIB) -> Mailbox:
        """A new mailbox with the system folders and no client password; ValueError when the address is taken."""
        return self.restore(Mailbox(address.lower(), self.clock, quota_bytes))

    def mailbox(self, address: str) -> Mailbox | None:
        """The mailbox of an address or an alias, in any case."""
        address = address.lower()
        if address in self.mailboxes:
            return self.mailboxes[address]
        return next((box for box in self.mailboxes.values() if address in box.aliases), None)

    def rename(self, old: str, new: str) -> Mailbox:
        """The mailbox under its new address, mail and passwords kept; KeyError, or ValueError when `new` is taken."""
        box = self.mailboxes[old.lower()]
        new = new.lower()
        taken = self.mailbox(new)
        if taken is not None and taken is not box:
            raise ValueError(f"{new} is taken")
        del self.mailboxes[box.address]
        box.aliases.discard(new)
        box.address = new
        self.mailboxes[new] = box
        return box

    def remove(self, address: str) -> Mailbox:
        """Take a mailbox away (its sessions end at their next command); it can be given to `restore`. KeyError."""
        box = self.mailboxes.pop(address.lower())
        box.removed = True
        return box

    def restore(self, box: Mailbox) -> Mailbox:
        """Bring a removed mailbox back, with all it holds; ValueError when its address is taken meanwhile."""
        if self.mailbox(box.address) is not None:
            raise ValueError(f"{box.address} is taken")
        box.removed = False
        self.mailboxes[box.address] = box
        return box

    # the server

    async def start(self, port: int = 0, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> int:
        """Listen, by default on loopback and any free port; the port."""
        self.listening = await asyncio.start_server(self.connected, host, port, ssl=tls, backlog=BACKLOG)
        self.port = int(self.listening.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Close the port and every connection; mailboxes stay as they are."""
        if self.listening is None:
            return
        self.listening.close()
        self.cut()
        await asyncio.gather(*self.live, return_exceptions=True)
        await self.listening.wait_closed()
        self.listening = None

    def cut(self) -> None:
        """Cut every connection now, as a network would."""
        for task, writer in self.live.items():
            task.cancel()
            writer.transport.abort()

    async def __aenter__(self) -> MailServer:
        await self.start(self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- start_server runs this in a task
        self.live[task] = writer
        raw = writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await serve(Session(self, Inbound(reader), Outbound(writer)))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            del self.live[task]
