"""
What a crash left unknown, found again by its bytes.

Every target UID at or above a folder's mark that no line of the ledger owns is one of three: the copy of a mail not
written down as stored (it is adopted), a second copy by a killed run (removed, or listed where there is any doubt),
or not ours (left alone). Twins, mails of equal bytes, are two lines and two copies: counts are matched, not sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.mail import wire
from bot.mail.digest import Content, digest_mails
from bot.mail.errors import CommandRefused, FolderRefused
from bot.mail.ledger import FolderRecord, Ledger, Line, LineState
from bot.mail.names import WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.quirks import Refused, flag_set, parse_internaldate, why_refused
from bot.mail.session import Selected, Session, Status, Stream, status_of
from bot.mail.survey import PAGE_UIDS, OnMail, list_mails
from bot.mail.work import Job, Renumbered, ServerBusy
from bot.mail.wrap import Wrapped, Wrapping

PROBED_MAILS = 8  # read again before a target is said to change bytes
HASHED_AHEAD = 256  # orphans looked at in one go


@dataclass
class Found:
    """What came of it."""

    adopted: int = 0
    removed: int = 0
    notes: list[Note] = field(default_factory=list)


class Reconciler:
    """Compares target folders with the ledger over two connections that nobody else uses meanwhile."""

    def __init__(self, source: Session, target: Session, ledger: Ledger, *, may_remove: bool) -> None:
        self.source = source
        self.target = target
        self.ledger = ledger
        self.may_remove = may_remove and "UIDPLUS" in target.capabilities
        self.found = Found()
        self._sent: dict[tuple[int, int], bytes] = {}  # SHA-256 of what is sent, where it had to be read

    async def reconcile(self, job: Job) -> None:
        """One folder. Raises Renumbered, ConnectionLost."""
        try:
            told = await self.target.select(job.target)
        except CommandRefused as error:
            raise Renumbered(error.text, mailbox=self.target.account.user) from None
        if told.uidvalidity != job.record.target_uidvalidity:
            raise Renumbered("the target folder has a new UIDVALIDITY", mailbox=self.target.account.user)
        mark = job.record.target_mark
        end = told.uidnext or await uidnext_of(self.target, job.target)
        for low in range(mark, max(end, mark + 1), PAGE_UIDS):
            await self._page(job, told, low, min(low + PAGE_UIDS, end) - 1)

    async def _page(self, job: Job, told: Selected, low: int, high: int) -> None:
        """The UIDs from `low` to `high`, so that a folder of any size needs no memory of its size."""
        owned = self.ledger.owned(job.target, low, high) | job.strangers
        orphans: dict[int, wire.Fetched] = {}

        def on_mail(_: WireName, mail: wire.Fetched) -> None:
            if mail.uid is not None and low <= mail.uid <= high and mail.uid not in owned:
                orphans[mail.uid] = mail

        status = Status(told.uidvalidity, high + 1, told.exists)
        await list_all(self.target, job.target, status, on_mail, first={job.target: low})
        if not orphans:
            return
        await self.target.select(job.target)
        uids = sorted(orphans)
        for start in range(0, len(uids), HASHED_AHEAD):
            await self._settle(job, {uid: orphans[uid] for uid in uids[start : start + HASHED_AHEAD]})

    async def _settle(self, job: Job, orphans: dict[int, wire.Fetched]) -> None:
        contents = await digest_mails(self.target, sorted(orphans))
        for uid, content in contents.items():
            same = await self._same(job, content)
            if not same:
                job.strangers.add(uid)
                continue
            open_lines = [line for line in same if line.state != LineState.STORED or line.target_uid is None]
            if open_lines:
                line = open_lines[0]
                sent = line.sha256 or self._sent.get((line.folder_id, line.uid), content.sha256)
                self.ledger.stored(
                    line.folder_id,
                    line.uid,
                    target_uid=uid,
                    sha256=content.sha256 if line.wrapped else sent,
                    size_bytes=None if line.wrapped or self.ledger.altered else content.size_bytes,
                    identity=content.identity if self.ledger.altered else None,
                    target_flags=None if flag_set(line.flags) == flag_set(content.flags) else content.flags,
                )
                self.ledger.flush()
                self.found.adopted += line.state != LineState.STORED
            elif not (await self._is_second_copy(job, uid, content, same) and await self._remove(uid)):
                job.strangers.add(uid)
                self.found.notes.append(Note(NoteKind.DOUBLE_LISTED, job.name, str(uid)))

    async def _same(self, job: Job, content: Content) -> list[Line]:
        """The lines of the folder that are this mail: stored ones without a place first, then the open ones."""
        lines = list(self.ledger.lines_of_size(job.target, content.size_bytes))
        same = await self._equal(job, [line for line in lines if not line.wrapped], content)
        same = same or await self._attached(job, content)
        if not same:
            same = await self._alike(job, content)
        return sorted(same, key=lambda line: (line.state != LineState.STORED or line.target_uid is not None, line.uid))

    async def _equal(self, job: Job, lines: Sequence[Line], content: Content) -> list[Line]:
        unknown = [line for line in lines if line.sha256 is None and line.folder_id == job.record.id]
        contents = await self._source_contents(job, unknown)
        same = [line for line in lines if line.sha256 == content.sha256]
        for line in unknown:
            there = contents.get(line.uid)
            if there is not None and content.sha256 in (there.sha256, there.munged):
                self._sent[line.folder_id, line.uid] = there.sha256
                same.append(line)
        return same

    async def _attached(self, job: Job, content: Content) -> list[Line]:
        """The mails that go as attachments and would make this one."""
        lines = self.ledger.wrapped(job.target)
        same = [line for line in lines if line.sha256 == content.sha256 and line.state == LineState.STORED]
        for line in lines:
            if line.state == LineState.STORED or line.folder_id != job.record.id:
                continue
            if Wrapping(line, line.size_bytes).size == content.size_bytes:
                await open_source(self.source, job.record)
                if await digest_wrapped(self.source, line, line.uid) == content.sha256:
                    same.append(line)
        return same

    async def _alike(self, job: Job, content: Content, *, stored_too: bool = False) -> list[Line]:
        """Equal but for what a server added: same date here and there, same identity."""
        moment = parse_internaldate(content.internal_date)
        state = None if stored_too else LineState.PLANNED
        lines = [
            line
            for line in (*self.ledger.unplaced(job.target), *self.ledger.lines(job.record.id, state=state))
            if parse_internaldate(line.internal_date) == moment
        ]
        unknown = [line for line in lines if line.identity is None and line.folder_id == job.record.id]
        contents = await self._source_contents(job, unknown)

        def of(line: Line) -> Content | None:
            return contents.get(line.uid) if line.folder_id == job.record.id else None

        # The very bytes first: the source may have told an untrue size, or not have answered a moment ago.
        exact = [line for line in lines if (line.sha256 or ((c := of(line)) and c.sha256)) == content.sha256]
        if exact:
            return exact
        same = [line for line in lines if (line.identity or ((c := of(line)) and c.identity)) == content.identity]
        if same and not self.ledger.altered:
            if not any(line.state == LineState.STORED for line in same) and await self._keeps_bytes(job):
                return []  # somebody else's: what we send stays as it is
            self.ledger.set_altered()
            self.found.notes.append(Note(NoteKind.BYTES_CHANGED))
        return same

    async def _keeps_bytes(self, job: Job) -> bool:
        """Are some mails that we know we stored in the folder still what was sent? False when there are none."""
        mark = job.record.target_mark
        owners = self.ledger.owners(job.target, mark, mark + PAGE_UIDS)
        some = sorted((uid for uid, line in owners.items() if line.sha256), key=lambda uid: owners[uid].size_bytes)
        contents = await digest_mails(self.target, sorted(some[:PROBED_MAILS]), identify=False)
        return bool(contents) and all(each.sha256 == owners[uid].sha256 for uid, each in contents.items())

    async def _source_contents(self, job: Job, lines: Sequence[Line]) -> dict[int, Content]:
        if not lines:
            return {}
        await open_source(self.source, job.record)
        return await digest_mails(self.source, sorted({line.uid for line in lines}))

    async def _is_second_copy(self, job: Job, uid: int, content: Content, same: list[Line]) -> bool:
        """
        Sure beyond doubt: above the mark, every byte, date and flag equal to mails whose recorded copies are all still
        there, which are read again to be certain.
        """
        if not self.may_remove or self.ledger.altered or uid < job.record.target_mark:
            return False
        uids = sorted({line.target_uid for line in same if line.target_uid not in (None, uid)})
        kept = await digest_mails(self.target, uids)
        # With a recorded copy missing this may be it.
        return 0 < len(kept) == len(same) and all(
            each.sha256 == content.sha256
            and parse_internaldate(each.internal_date) == parse_internaldate(content.internal_date)
            and flag_set(each.flags) == flag_set(content.flags)
            for each in kept.values()
        )

    async def _remove(self, uid: int) -> bool:
        """The only deletion there is: one UID, in our own folder (RFC 4315). False where the server refuses it."""
        if not (await self.target.send(b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % uid).done).ok:
            return False
        if not (await self.target.send(b"UID EXPUNGE %d" % uid).done).ok:
            await self.target.send(b"UID STORE %d -FLAGS.SILENT (\\Deleted)" % uid).done
            return False
        self.found.removed += 1
        return True

    async def rematch_target(self, job: Job, uidvalidity: int, uidnext: int | None) -> None:
        """The target folder has a new UIDVALIDITY: find what is stored there again, from the first UID on."""
        mails: dict[int, int] = {}

        def on_mail(_: WireName, mail: wire.Fetched) -> None:
            if mail.uid is not None:
                mails[mail.uid] = mail.size_bytes or 0

        told = await self.target.select(job.target)
        status = Status(told.uidvalidity, told.uidnext or 0, told.exists)
        await list_all(self.target, job.target, status, on_mail)
        await self.target.select(job.target)
        owned: dict[tuple[int, int], int] = {}
        uids = sorted(mails)
        for start in range(0, len(uids), HASHED_AHEAD):
            contents = await digest_mails(self.target, uids[start : start + HASHED_AHEAD], whole=True)
            for uid, content in contents.items():
                lines = [
                    line
                    for line in self.ledger.lines_of_size(job.target, content.size_bytes)
                    if (line.folder_id, line.uid) not in owned
                ]
                lines.sort(key=lambda line: line.state != LineState.STORED)
                same = await self._equal(job, [line for line in lines if not line.wrapped], content)
                same = same or [
                    line
                    for line in self.ledger.wrapped(job.target)
                    if line.sha256 == content.sha256 and (line.folder_id, line.uid) not in owned
                ]
                if not same and self.ledger.altered:
                    same = await self._alike(job, content, stored_too=True)
                for line in same:
                    if (line.folder_id, line.uid) not in owned:
                        owned[line.folder_id, line.uid] = uid
                        break
        mark = uidnext or max(mails, default=0) + 1
        self.ledger.rematched(job.target, target_uidvalidity=uidvalidity, target_mark=mark, owned=owned)
        self.ledger.flush(durable=True)

    async def renumber_source(self, job: Job, uidvalidity: int, uidnext: int) -> FolderRecord:
        """The source folder has a new UIDVALIDITY: recognise by date and every byte what was stored already."""
        mails: dict[int, object] = {}

        def on_mail(_: WireName, mail: wire.Fetched) -> None:
            if mail.uid is not None:
                mails[mail.uid] = parse_internaldate(mail.internal_date or "")

        told = await self.source.examine(job.source)
        status = Status(told.uidvalidity, told.uidnext or 0, told.exists)
        await list_all(self.source, job.source, status, on_mail)
        known: dict[tuple[object, bytes | None], list[int]] = {}
        attached: dict[object, list[Line]] = {}
        dates = set()
        for line in self.ledger.lines(job.record.id, state=LineState.STORED):
            date = parse_internaldate(line.internal_date)
            dates.add(date)
            if line.wrapped:
                attached.setdefault(date, []).append(line)
            else:
                known.setdefault((date, line.sha256), []).append(line.uid)
        doubtful = sorted(uid for uid, date in mails.items() if date in dates)
        await self.source.examine(job.source)
        moved: dict[int, int] = {}
        for start in range(0, len(doubtful), HASHED_AHEAD):
            contents = await digest_mails(self.source, doubtful[start : start + HASHED_AHEAD], whole=True)
            for uid, content in contents.items():
                moment = mails[uid]
                if old := known.get((moment, content.sha256)):
                    moved[old.pop(0)] = uid
                    continue
                for line in attached.get(moment, []):
                    if line.uid not in moved and await digest_wrapped(self.source, line, uid) == line.sha256:
                        moved[line.uid] = uid
                        break
        return self.ledger.renumbered(job.record.id, source_uidvalidity=uidvalidity, source_uidnext=uidnext, uids=moved)


async def digest_wrapped(source: Session, line: Line, uid: int) -> bytes | None:
    """The SHA-256 of the mail at `uid` of the open folder, wrapped as `line` says. Raises ServerBusy."""
    found: list[Wrapped] = []

    def take(told: wire.Fetched, stream: Stream | None) -> bool:
        if told.uid != uid or told.body is None or found:
            return False
        wrapped = Wrapped(line, stream.size if stream is not None else len(told.body))  # type: ignore[arg-type]
        found.append(wrapped)
        if stream is not None:
            stream.tap = wrapped.update
        elif isinstance(told.body, bytes):
            wrapped.update(told.body)
        return True

    done = await source.send(b"UID FETCH %d (UID BODY.PEEK[])" % uid, on_fetch=take).done
    if not found and not done.ok and why_refused(done.text) is Refused.BUSY:
        raise ServerBusy(done.text, mailbox=source.account.user)
    return found[0].sha256() if found else None


async def list_all(
    session: Session, name: WireName, status: Status, on_mail: OnMail, first: dict[WireName, int] | None = None
) -> None:
    """A listing that is whole. Raises ServerBusy, Renumbered: what was not told must not count as not there."""
    told = (await list_mails(session, {name: status}, on_mail, first=first))[name]
    if isinstance(told, str):
        kind = ServerBusy if why_refused(told) is Refused.BUSY else Renumbered
        raise kind(told, mailbox=session.account.user)


async def open_source(source: Session, record: FolderRecord) -> None:
    """Open for reading the very folder the record is about. Raises Renumbered."""
    try:
        told = await source.examine(record.source)
    except CommandRefused as error:
        raise Renumbered(error.text, mailbox=source.account.user) from None
    if told.uidvalidity != record.source_uidvalidity:
        raise Renumbered("the source folder has a new UIDVALIDITY", mailbox=source.account.user)


async def uidnext_of(target: Session, name: WireName) -> int:
    """For servers whose SELECT does not tell it. Raises FolderRefused: without it nothing can be resumed."""
    told = status_of(await target.ask_status(name).done)
    if told is None or told.uidnext <= 0:
        raise FolderRefused(name, "the server tells no UIDNEXT", mailbox=target.account.user)
    return told.uidnext
