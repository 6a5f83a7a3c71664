"""What a mail is, by its bytes, so that two copies of it can be told to be the same."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from dataclasses import dataclass

from bot.mail import wire
from bot.mail.quirks import Refused, why_refused
from bot.mail.session import Command, Session, Stream
from bot.mail.work import ServerBusy

HEADER_BYTES_MAX = 65_536
IDENTITY_HEADERS = (b"message-id", b"date", b"from", b"subject")
BATCH_MAILS = 32
BATCHES_AHEAD = 2


class Digest:
    """
    Two names of a mail: `sha256` of every byte, and `identity`, which survives a server that adds headers.

    The identity is Message-ID, Date, From and Subject with a hash of the body without its last line ends.
    """

    def __init__(self, *, identify: bool = True) -> None:
        """Without `identify` there is no identity, and half of the work."""
        self.size_bytes = 0
        self._identify = identify
        self._all = hashlib.sha256()
        self._body = hashlib.sha256()
        self._header: bytes | None = b""  # None once it is complete
        self._fields = b""
        self._tail = b""  # line ends that count only if more follows

    def update(self, data: bytes) -> None:
        self.size_bytes += len(data)
        self._all.update(data)
        if not self._identify:
            return
        if self._header is None:
            self._body_update(data)
            return
        self._header += data
        end = self._header.find(b"\r\n\r\n")
        if end >= 0 or len(self._header) > HEADER_BYTES_MAX:
            end = end if end >= 0 else HEADER_BYTES_MAX
            header, body = self._header[: end + 4], self._header[end + 4 :]
            self._fields, self._header = fields(header), None
            self._body_update(body)

    def _body_update(self, data: bytes) -> None:
        data = self._tail + data
        text = data.rstrip(b"\r\n")
        self._tail = data[len(text) :]
        self._body.update(text)

    @property
    def sha256(self) -> bytes:
        return self._all.digest()

    @property
    def identity(self) -> bytes:
        known = self._fields if self._header is None else fields(self._header)
        return hashlib.sha256(known + b"\0" + self._body.digest()).digest()


def fields(header: bytes) -> bytes:
    """The headers that identify, unfolded, in a fixed order."""
    found = []
    for name in IDENTITY_HEADERS:
        match = re.search(rb"(?im)^" + name + rb":[ \t]*(.*(?:\r?\n[ \t].*)*)", header)
        found.append(b" ".join(match[1].split()) if match else b"")
    return b"\0".join(found)


@dataclass(frozen=True)
class Content:
    """A mail read back."""

    size_bytes: int
    sha256: bytes
    identity: bytes
    internal_date: str
    flags: str


async def digest_mails(
    session: Session, uids: list[int], *, identify: bool = True, whole: bool = False
) -> dict[int, Content]:
    """
    Read these mails of the open folder and say what they are; what does not come is not in the result.

    Holds one mail at a time, a big one not at all. Raises ConnectionLost, and ServerBusy when a mail is refused for the
    moment; with `whole` whenever one is refused.
    """
    digests: dict[int, Digest] = {}
    told_of: dict[int, wire.Fetched] = {}
    wanted = set(uids)

    def take(told: wire.Fetched, stream: Stream | None) -> bool:
        if told.uid is None or told.uid not in wanted:
            return False
        known = told_of.setdefault(told.uid, told)  # a mail may come in several answers
        known.flags = known.flags if told.flags is None else told.flags
        known.internal_date = known.internal_date if told.internal_date is None else told.internal_date
        if told.body is None or told.uid in digests:
            return stream is None
        digest = digests[told.uid] = Digest(identify=identify)
        if stream is not None:
            stream.tap = digest.update
        elif isinstance(told.body, bytes):
            digest.update(told.body)
            told.body = None
        return True

    ahead: deque[tuple[list[int], Command]] = deque()
    refused: list[int] = []

    async def settle() -> None:
        some, command = ahead.popleft()
        if not (await command.done).ok:
            refused.extend(uid for uid in some if uid not in digests)

    def ask(some: list[int]) -> Command:
        return session.send(
            b"UID FETCH " + wire.uid_set(some) + b" (UID FLAGS INTERNALDATE BODY.PEEK[])", on_fetch=take
        )

    for start in range(0, len(uids), BATCH_MAILS):
        some = uids[start : start + BATCH_MAILS]
        ahead.append((some, ask(some)))
        if len(ahead) >= BATCHES_AHEAD:
            await settle()
    while ahead:
        await settle()
    for uid in refused:  # one mail that cannot be had must not hide the others, nor a busy server any
        done = await ask([uid]).done
        if uid not in digests and not done.ok and (whole or why_refused(done.text) is Refused.BUSY):
            raise ServerBusy(done.text, mailbox=session.account.user)
    return {
        uid: Content(
            digest.size_bytes,
            digest.sha256,
            digest.identity,
            told_of[uid].internal_date or "",
            told_of[uid].flags or "",
        )
        for uid, digest in digests.items()
    }
