"""The simulated mail server in a loop of its own thread, and a client that speaks plain bytes."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bot.sandbox.mailserver import Mailbox, MailServer

T = TypeVar("T")
WAIT_SECONDS = 20
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
MAIL = (
    b"From: Mei <mei@corp.test>\r\nTo: ahing@corp.test\r\nSubject: Lunch\r\nMessage-ID: <1@corp.test>\r\n\r\nNoon?\r\n"
)
ADDRESS = "ahing@corp.test"


class FixedClock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment

    def advance(self, **units: float) -> None:
        self.moment += timedelta(**units)


class Served:
    """A running server with one mailbox and a client password; its state is touched in its loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.clock = FixedClock()
        self.lines: list[tuple[str, str, str]] = []
        self.server = MailServer(self.clock, on_line=lambda *line: self.lines.append(line))
        self.box = self.server.add(ADDRESS)
        self.password = self.box.mint()[1]

    @property
    def port(self) -> int:
        return self.server.port

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_SECONDS)

    def do(self, work: Callable[[], T]) -> T:
        """Call `work` in the server's loop."""

        async def call() -> T:
            return work()

        return self.run(call())

    def put(self, *raws: bytes, folder: str = "INBOX", days_ago: float = 0, flags: tuple[str, ...] = ()) -> list[int]:
        when = self.clock.now() - timedelta(days=days_ago)
        return self.do(lambda: [self.box.put(folder, raw, when, flags) for raw in raws])

    def client(self, *, log_in: bool = True, box: Mailbox | None = None) -> RawClient:
        client = RawClient(self.port)
        if log_in:
            address = (box or self.box).address
            password = self.password if box is None else next(iter(box.passwords.values()))
            assert client.do(f"LOGIN {address} {password}")[-1].startswith("OK")
        return client


class RawClient:
    """A socket; `do` sends one command and gives the answer's lines, the last without its tag."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        self.file = self.socket.makefile("rb")
        self.count = 0
        self.greeting = self.line()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: str | bytes) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def line(self) -> str:
        """The next line without its end, literals inside written out; "" when the server has hung up."""
        line = self.file.readline()
        while found := re.search(rb"\{(\d+)\}\r\n$", line):
            line += self.file.read(int(found.group(1))) + self.file.readline()
        return line.decode("latin-1").removesuffix("\r\n")

    def answer(self, tag: str) -> list[str]:
        """Lines up to the tagged one; the last is what follows the tag, or "" when the line was cut."""
        lines: list[str] = []
        while True:
            line = self.line()
            if not line or line.startswith(tag + " "):
                return [*lines, line.removeprefix(tag + " ")]
            lines.append(line)

    def do(self, command: str | bytes) -> list[str]:
        self.count += 1
        tag = f"T{self.count}"
        self.send(f"{tag} ".encode() + (command.encode() if isinstance(command, str) else command) + b"\r\n")
        return self.answer(tag)

    def append(self, folder: str, raw: bytes, extra: str = "") -> str:
        """APPEND with a synchronising literal; the tagged answer."""
        self.count += 1
        tag = f"T{self.count}"
        self.send(f'{tag} APPEND "{folder}" {extra}{{{len(raw)}}}\r\n')
        line = self.line()
        if not line.startswith("+"):
            return line.removeprefix(tag + " ")
        self.send(raw + b"\r\n")
        return self.answer(tag)[-1]

    def is_cut(self) -> bool:
        """Whether the server has closed the line and nothing more is to come."""
        try:
            return self.file.read(1) == b""
        except ConnectionError:
            return True

    def is_silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for a while and the line stays open."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(WAIT_SECONDS)
        return False


@contextmanager
def serving() -> Iterator[Served]:
    """A server for clients that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    served = Served(loop)
    try:
        served.run(served.server.start())
        yield served
        served.run(served.server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAIT_SECONDS)
        loop.close()
