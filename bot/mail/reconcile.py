"""
What a crash left unknown, found again by its bytes.

Every target UID at or above a folder's mark that no line of the ledger owns is one of three: the copy of a mail not
written down as stored (it is adopted), a second copy by a killed run (removed, or listed where there is any doubt),
or not ours (left alone). Twins, mails of equal bytes, are two lines and two copies: counts are matched, not sets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.mail import wire
from bot.mail.digest import Content, digest_mails
from bot.mail.errors import CommandRefused, FolderRefused
from bot.mail.ledger import FolderRecord, Ledger, Line, LineState
from bot.mail.likeness import Key, Likeness, digest_wrapped, is_open, key_of
from bot.mail.names import WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.quirks import Refused, flag_set, parse_internaldate, why_refused
from bot.mail.session import Session
from bot.mail.survey import PAGE_UIDS, OnMail, list_mails
from bot.mail.told import Selected, Status, status_of
from bot.mail.work import Job, Renumbered, ServerBusy

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

    async def reconcile(self, job: Job) -> None:
        """One folder. Raises Renumbered, ConnectionLost."""
        try:
            told = await self.target.select(job.target)
        except CommandRefused as error:
            raise Renumbered(error.text, mailbox=self.target.account.user) from None
        if told.uidvalidity != job.record.target_uidvalidity:
            raise Renumbered("the target folder has a new UIDVALIDITY", mailbox=self.target.account.user)
        mark = min(job.record.target_mark, job.look_from or job.record.target_mark)
        end = told.uidnext or await uidnext_of(self.target, job.target)
        likeness = Likeness(self.source, self.target, self.ledger, job)
        try:
            for low in range(mark, max(end, mark + 1), PAGE_UIDS):
                await self._page(likeness, told, low, min(low + PAGE_UIDS, end) - 1)
        finally:
            self.found.notes += likeness.notes

    async def _page(self, likeness: Likeness, told: Selected, low: int, high: int) -> None:
        """The UIDs from `low` to `high`, so that a folder of any size needs no memory of its size."""
        job = likeness.job
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
            await self._settle(likeness, uids[start : start + HASHED_AHEAD])

    async def _settle(self, likeness: Likeness, orphans: list[int]) -> None:
        job = likeness.job
        for uid, content in (await digest_mails(self.target, orphans)).items():
            same = await likeness.same(content)
            if not same:
                job.strangers.add(uid)
            elif is_open(same[0]):
                self._adopt(likeness, same[0], uid, content)
                self.ledger.flush()
            elif not (await self._is_second_copy(job, uid, content, same) and await self._remove(uid)):
                job.strangers.add(uid)
                self.found.notes.append(Note(NoteKind.DOUBLE_LISTED, job.name, str(uid)))

    def _adopt(self, likeness: Likeness, line: Line, uid: int, content: Content) -> None:
        """It is there: stored, by the bytes of what was sent, whatever the target has made of them."""
        sent = likeness.sent(line) or content
        sha256 = line.sha256 or sent.sha256
        size = None if line.wrapped or (self.ledger.altered and sent is content) else sent.size_bytes
        self.ledger.stored(
            line.folder_id,
            line.uid,
            target_uid=uid,
            sha256=content.sha256 if line.wrapped else sha256,
            size_bytes=size,
            identity=content.identity if self.ledger.altered or line.wrapped else None,
            target_flags=None if flag_set(line.flags) == flag_set(content.flags) else content.flags,
        )
        likeness.adopted(line)
        self.found.adopted += line.state != LineState.STORED

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
        """
        The target folder has a new UIDVALIDITY: find what is stored there again, from the first UID on.

        The source's mail must be in the ledger: what a killed run stored last has no other line to be known by.
        """
        mails: set[int] = set()

        def on_mail(_: WireName, mail: wire.Fetched) -> None:
            if mail.uid is not None:
                mails.add(mail.uid)

        told = await self.target.select(job.target)
        status = Status(told.uidvalidity, told.uidnext or 0, told.exists)
        await list_all(self.target, job.target, status, on_mail)
        await self.target.select(job.target)
        likeness = Likeness(self.source, self.target, self.ledger, job)
        owned: dict[Key, int] = {}
        uids = sorted(mails)
        for start in range(0, len(uids), HASHED_AHEAD):
            contents = await digest_mails(self.target, uids[start : start + HASHED_AHEAD], whole=True)
            for uid, content in contents.items():
                same = await likeness.equal(content, but=owned) or await likeness.attached(content, but=owned)
                if not same and self.ledger.altered:
                    same = await likeness.alike(content, stored_too=True, but=owned)
                same = same or await likeness.munged(content, placed=False, but=owned)
                if not same:
                    continue
                line = min(same, key=lambda line: (line.state != LineState.STORED, line.uid))
                owned[key_of(line)] = uid
                if line.state != LineState.STORED or line.sha256 is None:
                    # Before the whole is written down: should we die in between, it is matched again like the others.
                    self._adopt(likeness, line, uid, content)
        mark = uidnext or max(mails, default=0) + 1
        self.ledger.rematched(job.target, target_uidvalidity=uidvalidity, target_mark=mark, owned=owned)
        self.ledger.flush(durable=True)
        job.look_from = 1

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
        attached: dict[tuple[object, int], list[Line]] = {}
        dates = set()
        for line in self.ledger.lines(job.record.id, state=LineState.STORED):
            date = parse_internaldate(line.internal_date)
            dates.add(date)
            if line.wrapped:
                attached.setdefault((date, line.size_bytes), []).append(line)
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
                for line in attached.get((moment, content.size_bytes), []):
                    if line.uid in moved:
                        continue
                    sent = await digest_wrapped(self.source, line, uid)
                    if sent is not None and sent.is_named(line.sha256, line.identity):
                        moved[line.uid] = uid
                        break
        return self.ledger.renumbered(job.record.id, source_uidvalidity=uidvalidity, source_uidnext=uidnext, uids=moved)


async def list_all(
    session: Session, name: WireName, status: Status, on_mail: OnMail, first: dict[WireName, int] | None = None
) -> None:
    """A listing that is whole. Raises ServerBusy, Renumbered: what was not told must not count as not there."""
    told = (await list_mails(session, {name: status}, on_mail, first=first))[name]
    if isinstance(told, str):
        kind = ServerBusy if why_refused(told) is Refused.BUSY else Renumbered
        raise kind(told, mailbox=session.account.user)


async def uidnext_of(target: Session, name: WireName) -> int:
    """For servers whose SELECT does not tell it. Raises FolderRefused: without it nothing can be resumed."""
    told = status_of(await target.ask_status(name).done)
    if told is None or told.uidnext <= 0:
        raise FolderRefused(name, "the server tells no UIDNEXT", mailbox=target.account.user)
    return told.uidnext
