"""
A mailbox of any size that exists nowhere: an IMAP server whose mails are a function of their UID.

As a source it lists and gives INBOX; as a target it takes APPENDs below any folder and remembers of each mail only its
number, so that it can list and give it back. Enough of IMAP for our copier, no more; LITERAL+ is offered.
"""

from __future__ import annotations

import asyncio
import re
import sys
from array import array

CAPABILITIES = b"IMAP4rev1 NAMESPACE UIDPLUS LITERAL+"
COMMAND = re.compile(rb"(\S+) (UID )?(\S+) ?(.*)", re.DOTALL)
LITERAL = re.compile(rb"\{(\d+)\+?\}$")
NUMBER = re.compile(rb"Message-ID: <(\d+)@")
CHUNK_MAILS = 500


def mail(number: int) -> bytes:
    """The bytes of a mail."""
    return (
        b"From: a@example.com\r\nTo: b@example.com\r\nSubject: mail %d\r\nMessage-ID: <%d@example.com>\r\n\r\n"
        b"%b\r\n" % (number, number, b"." * (number % 97))
    )


def day(number: int) -> bytes:
    return b'"%02d-Jan-%04d 08:%02d:%02d +0800"' % (
        1 + number % 28,
        2009 + number % 17,
        number % 60,
        number // 60 % 60,
    )


def flags(number: int) -> bytes:
    return b"(\\Seen)" if number % 3 else b"()"


class Box:
    """What all connections see: folder -> the numbers of its mails, by UID from 1."""

    def __init__(self, count: int) -> None:
        self.folders: dict[bytes, array[int]] = {b"INBOX": array("I", range(1, count + 1))}


class Line:
    """One connection."""

    def __init__(self, box: Box, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.box, self.reader, self.writer = box, reader, writer
        self.open = array("I")

    async def serve(self) -> None:
        self.writer.write(b"* OK [CAPABILITY %b] ready\r\n" % CAPABILITIES)
        while line := await self.reader.readline():
            match = COMMAND.match(line.rstrip(b"\r\n"))
            assert match is not None, line
            tag, _, verb, rest = match.groups()
            text = await self.answer(verb.upper(), rest)
            self.writer.write(b"%b %b\r\n" % (tag, text))
            await self.writer.drain()
            if verb.upper() == b"LOGOUT":
                return

    async def answer(self, verb: bytes, rest: bytes) -> bytes:
        if verb == b"CAPABILITY":
            self.writer.write(b"* CAPABILITY %b\r\n" % CAPABILITIES)
        elif verb == b"NAMESPACE":
            self.writer.write(b'* NAMESPACE (("" "/")) NIL NIL\r\n')
        elif verb in (b"LIST", b"LSUB"):
            for name in sorted(self.box.folders):
                self.writer.write(b'* %b () "/" "%b"\r\n' % (verb, name))
        elif verb == b"CREATE":
            self.box.folders.setdefault(name_of(rest), array("I"))
        elif verb == b"STATUS":
            return self.status(rest)
        elif verb in (b"SELECT", b"EXAMINE"):
            return self.select(verb, rest)
        elif verb == b"FETCH":
            await self.fetch(rest)
        elif verb == b"APPEND":
            return await self.append(rest)
        return b"OK done"

    def status(self, rest: bytes) -> bytes:
        folder = self.box.folders.get(name_of(rest))
        if folder is None:
            return b"NO no such folder"
        numbers = {b"MESSAGES": len(folder), b"UIDNEXT": len(folder) + 1, b"UIDVALIDITY": 1, b"UNSEEN": 0, b"RECENT": 0}
        asked = rest[rest.rindex(b"(") + 1 : -1].split()
        values = b" ".join(b"%b %d" % (item, numbers[item]) for item in asked)
        self.writer.write(b'* STATUS "%b" (%b)\r\n' % (name_of(rest), values))
        return b"OK done"

    def select(self, verb: bytes, rest: bytes) -> bytes:
        folder = self.box.folders.get(name_of(rest))
        if folder is None:
            return b"NO [NONEXISTENT] no such folder"
        self.open = folder
        self.writer.write(
            b"* %d EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen)\r\n* OK [PERMANENTFLAGS (\\Seen \\*)] kept\r\n"
            b"* OK [UIDVALIDITY 1] valid\r\n* OK [UIDNEXT %d] next\r\n" % (len(folder), len(folder) + 1)
        )
        return b"OK [READ-ONLY] done" if verb == b"EXAMINE" else b"OK [READ-WRITE] done"

    async def fetch(self, rest: bytes) -> None:
        spans, _, items = rest.partition(b" ")
        bodies = b"BODY" in items
        last = len(self.open)
        for span in spans.split(b","):
            low, _, high = span.partition(b":")
            ends = sorted(last if end == b"*" else int(end) for end in (low, high or low))
            for uid in range(ends[0], min(ends[1], last) + 1):
                number = self.open[uid - 1]
                size = len(mail(number))
                head = b"* %d FETCH (UID %d FLAGS %b INTERNALDATE %b RFC822.SIZE %d" % (
                    uid,
                    uid,
                    flags(number),
                    day(number),
                    size,
                )
                self.writer.write(head + (b" BODY[] {%d}\r\n%b)\r\n" % (size, mail(number)) if bodies else b")\r\n"))
                if uid % CHUNK_MAILS == 0:
                    await self.writer.drain()

    async def append(self, rest: bytes) -> bytes:
        literal = LITERAL.search(rest)
        assert literal is not None, rest
        if not rest.endswith(b"+}"):
            self.writer.write(b"+ go\r\n")
        raw = await self.reader.readexactly(int(literal[1]))
        await self.reader.readline()
        number = NUMBER.search(raw)
        assert number is not None, raw
        folder = self.box.folders[name_of(rest)]
        folder.append(int(number[1]))
        return b"OK [APPENDUID 1 %d] stored" % len(folder)


def name_of(rest: bytes) -> bytes:
    """The folder a command's arguments begin with."""
    return rest[1 : rest.index(b'"', 1)] if rest.startswith(b'"') else rest.split(b" ", 1)[0]


async def main(count: int) -> None:
    """Print the port, and serve until killed."""
    box = Box(count)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await Line(box, reader, writer).serve()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
