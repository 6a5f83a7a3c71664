"""
Which mail of the ledger a mail of the target is, by its bytes; and where the target changes those, by what is left.

However many mails there are of either, each mail of the source is read once and each line of the ledger met a bounded
number of times: lines are found by size or by date, never by walking through all of them for each mail.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from bot.mail import wire
from bot.mail.digest import Content, digest_mails
from bot.mail.errors import CommandRefused
from bot.mail.ledger import FolderRecord, Ledger, Line, LineState
from bot.mail.names import WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.quirks import Refused, parse_internaldate, why_refused
from bot.mail.session import Session
from bot.mail.stream import Stream
from bot.mail.survey import PAGE_UIDS
from bot.mail.work import Job, Renumbered, ServerBusy
from bot.mail.wrap import Way, Wrapped

PROBED_MAILS = 8  # read again before a target is said to change bytes
LINES_READ = 2_000  # at once
READ_AT_ONCE = 256  # mails of the source
HELD_CONTENTS_MAX = 20_000
CLUSTER_LINES = 64  # of one moment; more are found by what they are
UNDATED = -(2**62)

Key = tuple[int, int]  # folder id, UID


class Likeness:
    """Of one folder of the target, over two connections that nobody else uses meanwhile."""

    def __init__(self, source: Session, target: Session, ledger: Ledger, job: Job) -> None:
        self.source, self.target, self.ledger, self.job = source, target, ledger, job
        self.notes: list[Note] = []
        self._contents: dict[Key, Content] = {}
        self._wrapped: dict[Key, Attachment] = {}  # what would be sent
        self._moments: Moments | None = None
        self._clusters: dict[int, Cluster] = {}
        self._attachments: list[Line] | None = None

    async def same(self, content: Content) -> list[Line]:
        """The lines that are this mail: stored ones without a place first, then the open ones, then all others."""
        same = await self.equal(content) or await self.attached(content) or await self.alike(content)
        same = same or await self.munged(content)
        if not same and self.ledger.altered:  # another copy of one that has its place, or of one that was refused
            same = await self.alike(content, stored_too=True)
        return sorted(same, key=lambda line: (not is_open(line), line.state != LineState.STORED, line.uid))

    async def equal(self, content: Content, *, but: Collection[Key] = ()) -> list[Line]:
        """Those of these very bytes. Lines of which the bytes are not known are read only where they may matter."""
        target, size = self.job.target, content.size_bytes
        known = [line for line in self.ledger.equal_lines(target, size, content.sha256) if not line.wrapped]
        known = [line for line in known if key_of(line) not in but]
        if any(is_open(line) for line in known):
            return known
        unread = [line for line in self.ledger.unread_lines(target, size) if not line.wrapped]
        contents = await self.read(line for line in unread if key_of(line) not in but)
        return known + [
            line
            for line in unread
            if (there := contents.get(key_of(line))) and content.sha256 in (there.sha256, there.munged)
        ]

    async def attached(self, content: Content, *, but: Collection[Key] = ()) -> list[Line]:
        """The mails that go as attachments and would make this one."""
        if self._attachments is None:
            self._attachments = list(self.ledger.wrapped(self.job.target))
        same = []
        for line in self._attachments:
            if key_of(line) in but:
                continue
            if line.state == LineState.STORED:
                found = content.sha256 == line.sha256 or content.identity == line.identity
            else:
                sent = await self._as_attachment(line)
                found = sent is not None and sent.is_named(content.sha256, content.identity)
            if found:
                same.append(line)
        return same

    async def _as_attachment(self, line: Line) -> Attachment | None:
        key = key_of(line)
        if key not in self._wrapped and self._may_read(line):
            await open_source(self.source, self.job.record)
            found = await digest_wrapped(self.source, line, line.uid)
            if found is not None:
                self._wrapped[key] = found
        return self._wrapped.get(key)

    async def alike(self, content: Content, *, stored_too: bool = False, but: Collection[Key] = ()) -> list[Line]:
        """Equal but for what a server added: same date here and there, same identity."""
        lines = [
            line
            for line in await self._dated(content)
            if key_of(line) not in but
            and (stored_too or is_open(line))
            and (line.folder_id == self.job.record.id or line.state == LineState.STORED)
            and (stored_too or line.state in (LineState.PLANNED, LineState.STORED))
        ]
        contents = await self.read(line for line in lines if line.identity is None)

        def of(line: Line) -> Content | None:
            return contents.get(key_of(line))

        # The very bytes first: the source may have told an untrue size, or not have answered a moment ago.
        exact = [line for line in lines if (line.sha256 or ((c := of(line)) and c.sha256)) == content.sha256]
        if exact:
            return exact
        same = [line for line in lines if (line.identity or ((c := of(line)) and c.identity)) == content.identity]
        if same and not self.ledger.altered:
            if not any(line.state == LineState.STORED for line in same) and await self._keeps_bytes():
                return []  # somebody else's: what we send stays as it is
            self.ledger.set_altered()
            self.notes.append(Note(NoteKind.BYTES_CHANGED))
        return same

    async def munged(self, content: Content, *, placed: bool = True, but: Collection[Key] = ()) -> list[Line]:
        """
        The stored mails that this may be a copy of, though it is not what was sent but what the target has made of it.

        One that is `placed` is known by its copy, read back; another by what Cyrus makes of a header.
        """
        lines = [
            line
            for line in await self._dated(content)
            if line.state == LineState.STORED and not line.wrapped and key_of(line) not in but
            if self.ledger.altered or line.size_bytes == content.size_bytes
        ][:CLUSTER_LINES]
        lost = [line for line in lines if line.target_uid is None or not placed]
        contents = await self.read(lost)
        same = [line for line in lost if (c := contents.get(key_of(line))) and content.sha256 == c.munged]
        if same or not placed:
            return same
        places = {line.target_uid: line for line in lines if line.target_uid is not None}
        copies = await digest_mails(self.target, sorted(places), identify=False)
        return [places[uid] for uid, copy in copies.items() if copy.sha256 == content.sha256]

    def sent(self, line: Line) -> Content | None:
        """What was read of a line's mail in the source, if it had to be."""
        return self._contents.get(key_of(line))

    def adopted(self, line: Line) -> None:
        """What is known of the line has changed."""
        if line.wrapped:
            self._attachments = None

    async def _keeps_bytes(self) -> bool:
        """Are some mails that we know we stored in the folder still what was sent? False when there are none."""
        mark = self.job.record.target_mark
        owners = self.ledger.owners(self.job.target, mark, mark + PAGE_UIDS)
        some = sorted((uid for uid, line in owners.items() if line.sha256), key=lambda uid: owners[uid].size_bytes)
        contents = await digest_mails(self.target, sorted(some[:PROBED_MAILS]), identify=False)
        return bool(contents) and all(each.sha256 == owners[uid].sha256 for uid, each in contents.items())

    def _may_read(self, line: Line) -> bool:
        return line.folder_id == self.job.record.id

    async def read(self, lines: Iterable[Line]) -> dict[Key, Content]:
        """What the source gives of these mails, each read once."""
        wanted = {key_of(line): line.uid for line in lines if self._may_read(line)}
        if len(self._contents) > HELD_CONTENTS_MAX:
            self._contents.clear()
        lacking = sorted(uid for key, uid in wanted.items() if key not in self._contents)
        if lacking:
            await open_source(self.source, self.job.record)
        for start in range(0, len(lacking), READ_AT_ONCE):
            contents = await digest_mails(self.source, lacking[start : start + READ_AT_ONCE])
            self._contents.update(((self.job.record.id, uid), each) for uid, each in contents.items())
        return {key: self._contents[key] for key in wanted if key in self._contents}

    async def _dated(self, content: Content) -> list[Line]:
        """The lines of the mail's moment, of many only those that may be it."""
        if self._moments is None:
            self._moments = Moments(self.ledger, self.job.target)
        moment = moment_of(content.internal_date)
        keys: Sequence[Key] = self._moments.at(moment)
        if len(keys) > CLUSTER_LINES:
            if moment not in self._clusters:
                self._clusters[moment] = await self._clustered(keys)
            keys = self._clusters[moment].candidates(content)
        return [line for key in keys if (line := self._line(key)) is not None]

    def _line(self, key: Key) -> Line | None:
        found = self.ledger.lines(key[0], after=key[1] - 1, limit=1)
        return found[0] if found and found[0].uid == key[1] else None

    async def _clustered(self, keys: Sequence[Key]) -> Cluster:
        cluster = Cluster()
        for start in range(0, len(keys), READ_AT_ONCE):
            lines = [line for key in keys[start : start + READ_AT_ONCE] if (line := self._line(key)) is not None]
            contents = await self.read(line for line in lines if line.identity is None and is_open(line))
            for line in lines:
                cluster.add(line, contents.get(key_of(line)))
        return cluster


class Moments:
    """Where the lines of a moment are; 32 bytes for each, so that half a million take no memory to speak of."""

    def __init__(self, ledger: Ledger, target: WireName) -> None:
        self._moments, self._folders, self._uids = array("q"), array("q"), array("q")
        for record in ledger.folders():
            after = 0
            while record.target == target and (page := ledger.lines(record.id, after=after, limit=LINES_READ)):
                self._moments.extend(moment_of(line.internal_date) for line in page)
                self._folders.extend(line.folder_id for line in page)
                self._uids.extend(line.uid for line in page)
                after = page[-1].uid
        self._order = array("q", sorted(range(len(self._uids)), key=self._moments.__getitem__))

    def at(self, moment: int) -> list[Key]:
        """The lines' keys."""
        low = bisect_left(self._order, moment, key=self._moments.__getitem__)
        high = bisect_right(self._order, moment, key=self._moments.__getitem__)
        return [(self._folders[place], self._uids[place]) for place in self._order[low:high]]


class Cluster:
    """Many lines of one moment, by their hashes and by their size."""

    def __init__(self) -> None:
        self._keys: dict[bytes | int, list[Key]] = {}

    def add(self, line: Line, content: Content | None) -> None:
        names: set[bytes | int | None] = {line.sha256, line.identity, line.size_bytes}
        if content is not None:
            names |= {content.sha256, content.identity}
        for name in names - {None}:
            some = self._keys.setdefault(name, [])  # type: ignore[arg-type]
            if isinstance(name, bytes) or len(some) < CLUSTER_LINES:
                some.append(key_of(line))

    def candidates(self, content: Content) -> list[Key]:
        """The lines that may be this mail."""
        names = (content.sha256, content.identity, content.size_bytes)
        return list(dict.fromkeys(key for name in names for key in self._keys.get(name, ())))


def key_of(line: Line) -> Key:
    return line.folder_id, line.uid


def is_open(line: Line) -> bool:
    """No mail of the target is known to be its copy."""
    return line.state != LineState.STORED or line.target_uid is None


def moment_of(internal_date: str) -> int:
    moment: datetime | None = parse_internaldate(internal_date)
    return UNDATED if moment is None else int(moment.timestamp())


class Attachment(NamedTuple):
    """The names of a mail of ours around one of the source."""

    identity: bytes
    sha256s: frozenset[bytes]  # as it is wrapped now, and as it was in the ways of before

    def is_named(self, sha256: bytes | None, identity: bytes | None) -> bool:
        """Every byte is equal, or every byte but the words to a person."""
        return sha256 in self.sha256s or identity == self.identity


async def digest_wrapped(source: Session, line: Line, uid: int) -> Attachment | None:
    """The mail at `uid` of the open folder, wrapped as `line` says. Raises ServerBusy."""
    found: list[Wrapped] = []

    def update(chunk: bytes) -> None:
        for each in found:
            each.update(chunk)

    def take(told: wire.Fetched, stream: Stream | None) -> bool:
        if told.uid != uid or told.body is None or found:
            return False
        size = stream.size if stream is not None else len(told.body)  # type: ignore[arg-type]
        found.extend(Wrapped(line, size, way) for way in Way)
        if stream is not None:
            stream.tap = update
        elif isinstance(told.body, bytes):
            update(told.body)
        return True

    done = await source.send(b"UID FETCH %d (UID BODY.PEEK[])" % uid, on_fetch=take).done
    if not found and not done.ok and why_refused(done.text) is Refused.BUSY:
        raise ServerBusy(done.text, mailbox=source.account.user)
    if not found:
        return None
    digests = [each.finish() for each in found]
    return Attachment(digests[0].identity, frozenset(each.sha256 for each in digests))


async def open_source(source: Session, record: FolderRecord) -> None:
    """Open for reading the very folder the record is about. Raises Renumbered."""
    try:
        told = await source.examine(record.source)
    except CommandRefused as error:
        raise Renumbered(error.text, mailbox=source.account.user) from None
    if told.uidvalidity != record.source_uidvalidity:
        raise Renumbered("the source folder has a new UIDVALIDITY", mailbox=source.account.user)
