"""What a mail is, by its bytes, so that two copies of it can be told to be the same."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from typing import NamedTuple

from bot.mail import wire
from bot.mail.connection import Command
from bot.mail.quirks import Refused, why_refused
from bot.mail.session import Session
from bot.mail.stream import Stream
from bot.mail.work import ServerBusy

HEADER_BYTES_MAX = 65_536
IDENTITY_HEADERS = (b"message-id", b"date", b"from", b"subject")
BATCH_MAILS = 32
BATCHES_AHEAD = 8


EXPLANATION = "X-Exmail-Bot-Explanation"  # in a mail of ours: so many bytes of its body are words to a person
EXPLANATION_BYTES = re.compile(rb"(?im)^" + EXPLANATION.encode() + rb": (\d{1,4})\r?$")
EIGHT_BIT = re.compile(rb"[\x80-\xff]")
NOTHING = hashlib.sha256()


class Digest:
    """
    Two names of a mail: `sha256` of every byte, and `identity`, which survives a server that adds headers.

    The identity is Message-ID, Date, From and Subject with a hash of the body without its last line ends, and without
    the words with which a mail of ours begins (`wrap.py`): these may be said otherwise one day. A mail whose header is
    not ASCII has a third name: `munged`, the `sha256` of what Cyrus makes of it.
    """

    def __init__(self, *, identify: bool = True) -> None:
        """Without `identify` there is no identity, and half of the work."""
        self.size_bytes = 0
        self._identify = identify
        self._all = hashlib.sha256()
        self._body = hashlib.sha256() if identify else NOTHING
        self._munged = NOTHING  # an X for every 8-bit byte of the header
        self._header: bytes | None = b""  # None once it is complete
        self._fields = b""
        self._tail = b""  # line ends that count only if more follows
        self._words_left = 0  # bytes of the body that explain

    def update(self, data: bytes) -> None:
        self.size_bytes += len(data)
        self._all.update(data)
        if not self._identify:
            return
        if self._header is None:
            if self._munged is not NOTHING:
                self._munged.update(data)
            self._body_update(data)
            return
        self._header += data
        end = self._header.find(b"\r\n\r\n")
        if end >= 0 or len(self._header) > HEADER_BYTES_MAX:
            end = end if end >= 0 else HEADER_BYTES_MAX
            header, body = self._header[: end + 4], self._header[end + 4 :]
            self._fields, self._header = fields(header), None
            if not header.isascii():
                self._munged = hashlib.sha256(EIGHT_BIT.sub(b"X", header) + body)
            if (words := EXPLANATION_BYTES.search(header)) is not None:
                self._words_left = int(words[1])
            self._body_update(body)

    def _body_update(self, data: bytes) -> None:
        if self._words_left:
            words = data[: self._words_left]
            self._words_left -= len(words)
            data = data[len(words) :]
        data = self._tail + data
        text = data.rstrip(b"\r\n")
        self._tail = data[len(text) :]
        self._body.update(text)

    @property
    def sha256(self) -> bytes:
        return self._all.digest()

    @property
    def munged(self) -> bytes | None:
        return None if self._munged is NOTHING else self._munged.digest()

    @property
    def identity(self) -> bytes:
        if not self._identify:
            return b""
        known = self._fields if self._header is None else fields(self._header)
        return hashlib.sha256(known + b"\0" + self._body.digest()).digest()


def fields(header: bytes) -> bytes:
    """The headers that identify, unfolded, in a fixed order."""
    found = []
    for name in IDENTITY_HEADERS:
        match = re.search(rb"(?im)^" + name + rb":[ \t]*(.*(?:\r?\n[ \t].*)*)", header)
        found.append(b" ".join(match[1].split()) if match else b"")
    return b"\0".join(found)


class Content(NamedTuple):
    """A mail read back."""

    size_bytes: int
    sha256: bytes
    identity: bytes
    internal_date: str
    flags: str
    munged: bytes | None = None


async def digest_mails(
    session: Session, uids: list[int], *, identify: bool = True, whole: bool = False
) -> dict[int, Content]:
    """
    Read these mails of the open folder and say what they are; what does not come is not in the result.

    Holds one mail at a time, a big one not at all. Raises ConnectionLost, and ServerBusy when a mail is refused for the
    moment; with `whole` whenever one is refused.
    """
    reading = Reading(session, identify=identify)
    for start in range(0, len(uids), BATCH_MAILS):
        reading.ask(uids[start : start + BATCH_MAILS])
        await reading.settle(at_most=BATCHES_AHEAD - 1)
    await reading.settle()
    return await reading.found(whole=whole)


class Reading:
    """Mails on their way, hashed as they come. With `opening` they are of the folder which that command opens."""

    def __init__(self, session: Session, *, identify: bool, opening: Command | None = None) -> None:
        self._session, self._identify, self._opening = session, identify, opening
        self._wanted: set[int] = set()
        self._digests: dict[int, Digest] = {}
        self._told: dict[int, wire.Fetched] = {}
        self._ahead: deque[tuple[list[int], Command]] = deque()
        self._refused: list[int] = []

    def ask(self, uids: list[int]) -> Command:
        """Ask for so many that the command line stays short; not waited for."""
        self._wanted.update(uids)
        line = b"UID FETCH " + wire.uid_set(uids) + b" (UID FLAGS INTERNALDATE BODY.PEEK[])"
        command = self._session.send(line, on_fetch=self._take)
        self._ahead.append((uids, command))
        return command

    def _take(self, told: wire.Fetched, stream: Stream | None) -> bool:
        if self._opening is not None and not self._opening.ok:
            return False
        if told.uid is None or told.uid not in self._wanted:
            return False
        known = self._told.setdefault(told.uid, told)  # a mail may come in several answers
        known.flags = known.flags if told.flags is None else told.flags
        known.internal_date = known.internal_date if told.internal_date is None else told.internal_date
        if told.body is None or told.uid in self._digests:
            return stream is None
        digest = self._digests[told.uid] = Digest(identify=self._identify)
        if stream is not None:
            stream.tap = digest.update
        elif isinstance(told.body, bytes):
            digest.update(told.body)
            told.body = None
        return True

    async def settle(self, *, at_most: int = 0) -> None:
        """Wait until no more than so many commands are unanswered."""
        while len(self._ahead) > at_most:
            uids, command = self._ahead.popleft()
            if not (await command.done).ok:
                self._refused += [uid for uid in uids if uid not in self._digests]

    @property
    def refused(self) -> bool:
        """Some of them were not given."""
        return bool(self._refused)

    async def found(self, *, whole: bool = False) -> dict[int, Content]:
        """What came, once all is settled; what was refused is asked for by itself, in the folder that is open now."""
        for uid in self._refused:  # one mail that cannot be had must not hide the others, nor a busy server any
            done = await self.ask([uid]).done
            if uid not in self._digests and not done.ok and (whole or why_refused(done.text) is Refused.BUSY):
                raise ServerBusy(done.text, mailbox=self._session.account.user)
        return {
            uid: Content(
                digest.size_bytes,
                digest.sha256,
                digest.identity,
                self._told[uid].internal_date or "",
                self._told[uid].flags or "",
                digest.munged,
            )
            for uid, digest in self._digests.items()
        }
