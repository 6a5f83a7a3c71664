"""Whether the target holds what the ledger says, and the ledger what the source shows. Without SEARCH."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from dataclasses import dataclass, field

from bot.mail import wire
from bot.mail.digest import Content, digest_mails
from bot.mail.errors import CommandRefused
from bot.mail.ledger import FolderRecord, Ledger, Line, LineState
from bot.mail.names import Folder, WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.plan import Filter
from bot.mail.quirks import dated_since, flag_set, parse_internaldate
from bot.mail.session import (
    SILENCE_SECONDS,
    MailAccount,
    Session,
    Status,
    both,
    folders_of,
    open_session,
    same_mailbox,
)
from bot.mail.survey import PAGE_UIDS, choose, list_mails, statuses
from bot.mail.work import ServerBusy

EVERYTHING = Filter()
SMALL_BYTES = 8_000_000  # read back whole
DIFFERENCES_MAX = 50
SAMPLE = 20  # mails of a folder read back whole


@dataclass(frozen=True)
class FolderCheck:
    """One folder, compared."""

    name: str  # display
    target: str  # display
    stored: int  # by the ledger
    found: int  # of these, in the target
    hashed: int  # of these, read back and compared byte for byte
    missing: int  # stored, not found
    different: int  # size, flags, date or bytes
    not_copied: int  # in the source, planned or unknown to the ledger
    refused: int
    newer: int  # came to the source after the copy listed it
    foreign: int  # in the target folder, not ours

    @property
    def ok(self) -> bool:
        return not (self.missing or self.different or self.not_copied)


@dataclass(frozen=True)
class Verification:
    """`ok`: both sides agree for everything not refused; `refused` mails are the caller's to weigh."""

    ok: bool
    folders: list[FolderCheck] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)  # at most DIFFERENCES_MAX, for people
    refused: int = 0
    hashed: int = 0
    notes: list[Note] = field(default_factory=list)


async def verify_copy(
    source: MailAccount | None,
    target: MailAccount,
    *,
    ledger: Ledger,
    filter: Filter = EVERYTHING,
    exclude_roots: tuple[str, ...] = (),
    sample: int = SAMPLE,
    silence_seconds: float = SILENCE_SECONDS,
) -> Verification:
    """
    Compare per folder: UID, size, flags, date of all; the bytes of a sample (of all when the copy is small).

    With `source` also whether the source shows anything (within `filter`) that was not copied; without it, months
    later, the target against the ledger. Raises LoginRefused, ConnectionLost, MailError.
    """
    sides: list[Session] = []

    async def enter(account: MailAccount | None) -> Session | None:
        if account is None:
            return None
        session = await open_session(account, silence_seconds=silence_seconds)
        sides.append(session)
        return session

    try:
        one, two = await both(enter(source), enter(target))
        assert two is not None  # noqa: S101 - there is always a target
        return await Check(one, [two], ledger, filter, sample, exclude_roots).run()
    finally:
        await asyncio.gather(*(each.close() for each in sides))


async def verify_over(source: Session, targets: list[Session], *, ledger: Ledger, filter: Filter) -> Verification:
    """The same over sessions that are open already. Raises ConnectionLost, MailError."""
    return await Check(source, targets, ledger, filter, SAMPLE, ()).run()


@dataclass
class Tally:
    """The numbers of one folder while they are counted."""

    found: int = 0
    hashed: int = 0
    missing: int = 0
    different: int = 0
    not_copied: int = 0
    newer: int = 0
    foreign: int = 0


class Check:
    """One call of `verify_copy`."""

    def __init__(
        self,
        source: Session | None,
        targets: list[Session],
        ledger: Ledger,
        filter: Filter,
        sample: int,
        exclude_roots: tuple[str, ...],
    ) -> None:
        self.source, self.target, self.targets, self.ledger, self.filter = source, targets[0], targets, ledger, filter
        self.sample, self.exclude_roots = sample, exclude_roots
        self.records = list(ledger.folders())
        self.tallies = {each.target: Tally() for each in self.records}
        self.wrong: list[tuple[str, str]] = []  # folder, what is wrong
        self.notes: list[Note] = []
        self.left_out: frozenset[str] | None = None  # source folders the filter does not mean
        self.compared = 0
        self.dates_wrong: list[tuple[WireName, Line, str]] = []
        self.keywords_lost: dict[WireName, int] = {}
        self.unsure: list[tuple[WireName, Line, bytes]] = []  # other bytes, and no identity to compare
        self.delimiters: dict[str, str] = {"source": "/", "target": "/"}

    async def run(self) -> Verification:
        counts = {each.id: self.ledger.counts(each.id) for each in self.records}
        sizes = sum(each.get(LineState.STORED, (0, 0))[1] for each in counts.values())
        everything = sizes <= SMALL_BYTES
        targets = list(dict.fromkeys(WireName(each.target) for each in self.records))
        delimiter = self.target.send(b'LIST "" ""', collect=True)
        told = await statuses(self.target, [Folder(each, "", frozenset()) for each in targets])
        self.delimiters["target"] = next(
            (each.delimiter for each in folders_of(await delimiter.done) if each.delimiter), "/"
        )
        todo = iter(targets)

        async def compare(session: Session) -> None:
            for target in todo:
                await self._target_folder(session, target, told[target], everything)

        works = [compare(each) for each in self.targets]
        if self.source is not None:
            works.append(self._source_side(self.source))
        for failure in await asyncio.gather(*works, return_exceptions=True):
            if failure is not None:
                raise failure
        await self._ask_the_source()
        self._judge_dates()
        checks = []
        for record in self.records:
            if not record.current:
                continue
            same = [counts[each.id] for each in self.records if each.target == record.target]
            tally = self.tallies[record.target]
            checks.append(
                FolderCheck(
                    name=self._name(record.source, "source"),
                    target=self._name(record.target, "target"),
                    stored=sum(each.get(LineState.STORED, (0, 0))[0] for each in same),
                    found=tally.found,
                    hashed=tally.hashed,
                    missing=tally.missing,
                    different=tally.different,
                    not_copied=tally.not_copied + self._planned(record),
                    refused=sum(each.get(LineState.REFUSED, (0, 0))[0] for each in same),
                    newer=tally.newer,
                    foreign=tally.foreign,
                )
            )
        return Verification(
            ok=not self.wrong and all(each.ok for each in checks),
            folders=checks,
            differences=[f"{folder}: {text}" for folder, text in self.wrong[:DIFFERENCES_MAX]],
            refused=sum(each.refused for each in checks),
            hashed=sum(each.hashed for each in checks),
            notes=self.notes,
        )

    def _planned(self, record: FolderRecord) -> int:
        """Mails within the filter that still wait; those of a folder the source no longer shows wait as well."""
        if self.left_out is not None and record.source in self.left_out:
            return 0
        planned, after = 0, 0
        while page := self.ledger.lines(record.id, state=LineState.PLANNED, after=after, limit=PAGE_UIDS):
            planned += sum(dated_since(line.internal_date, self.filter.since) for line in page)
            after = page[-1].uid
        return planned

    def _name(self, wire_name: str, side: str) -> str:
        return Folder(WireName(wire_name), self.delimiters[side], frozenset()).display

    def _differs(self, target: WireName, line: Line, what: str) -> None:
        self.tallies[target].different += 1
        self.wrong.append((self._name(target, "target"), f"UID {line.target_uid} (source {line.uid}): {what}"))

    async def _target_folder(self, session: Session, target: WireName, status: Status | None, everything: bool) -> None:
        """One folder of the target against the ledger's stored lines, page by page."""
        tally = self.tallies[target]
        record = next(each for each in self.records if each.target == target)
        stored = sum(
            self.ledger.counts(each.id).get(LineState.STORED, (0, 0))[0]
            for each in self.records
            if each.target == target
        )
        if status is None:
            if stored:
                tally.missing = stored
                self.wrong.append((self._name(target, "target"), "the folder cannot be opened in the target"))
            return
        if status.uidvalidity != record.target_uidvalidity:
            tally.missing = stored
            self.wrong.append(
                (self._name(target, "target"), "the target has renumbered the folder; run the copy once more")
            )
            return
        picked: list[Line] = []
        page: dict[int, wire.Fetched] = {}
        for low in range(1, max(status.uidnext, 2), PAGE_UIDS):
            high = min(low + PAGE_UIDS, max(status.uidnext, 2)) - 1
            page.clear()

            def on_mail(_: WireName, mail: wire.Fetched, page: dict[int, wire.Fetched] = page) -> None:
                if mail.uid is not None:
                    page[mail.uid] = mail

            some = Status(status.uidvalidity, high + 1, status.messages)
            told = (await list_mails(session, {target: some}, on_mail, first={target: low}))[target]
            if isinstance(told, str):
                self.wrong.append((self._name(target, "target"), f"the target does not list it: {told}"))
            owners = self.ledger.owners(target, low, high)
            for uid, line in owners.items():
                mail = page.get(uid)
                if mail is None:
                    tally.missing += 1
                    self.wrong.append((self._name(target, "target"), f"UID {uid} (source {line.uid}) is not there"))
                    continue
                tally.found += 1
                self._compare(target, line, mail)
                if line.sha256 is not None:
                    picked.append(line)
            tally.foreign += len(page.keys() - owners.keys())
            if not everything:
                picked = self._pick(picked)
        lost = self.ledger.unplaced(target)
        tally.missing += len(lost)
        for line in lost:
            self.wrong.append((self._name(target, "target"), f"source UID {line.uid}: its copy was not found"))
        if (beyond := stored - tally.found - tally.missing) > 0:  # at UIDs the folder no longer has, or two at one UID
            tally.missing += beyond
            self.wrong.append((self._name(target, "target"), f"{beyond} more mails are not there"))
        await self._read_back(session, target, picked)

    def _pick(self, lines: list[Line]) -> list[Line]:
        """The largest, the oldest, the newest, and some by chance."""
        if len(lines) <= self.sample:
            return lines
        import random  # here: small copies are read back whole

        ends = {lines[0].uid: lines[0], lines[-1].uid: lines[-1]}
        largest = max(lines, key=lambda line: line.size_bytes)
        ends[largest.uid] = largest
        rest = [line for line in lines if line.uid not in ends]
        return [*ends.values(), *random.sample(rest, max(0, min(len(rest), self.sample - len(ends))))]

    def _compare(self, target: WireName, line: Line, mail: wire.Fetched) -> None:
        if not self.ledger.altered and not line.wrapped and mail.size_bytes != line.size_bytes:
            self._differs(target, line, f"{mail.size_bytes} bytes instead of {line.size_bytes}")
        wanted = flag_set(line.flags if line.target_flags is None else line.target_flags)
        there = flag_set(mail.flags or "")
        system = {flag for flag in wanted ^ there if flag.startswith("\\")}
        if system - ({"\\seen"} & there):  # somebody may have read it in the target since
            self._differs(target, line, f"flags ({' '.join(sorted(there))}) instead of ({' '.join(sorted(wanted))})")
        elif wanted - there:
            self.keywords_lost[target] = self.keywords_lost.get(target, 0) + 1
        self.compared += 1
        if mail.internal_date == line.internal_date:
            return
        moment = parse_internaldate(line.internal_date)
        if moment is not None and parse_internaldate(mail.internal_date or "") != moment:
            self.dates_wrong.append((target, line, f"date {mail.internal_date} instead of {line.internal_date}"))

    def _judge_dates(self) -> None:
        """All of them wrong is a server that keeps none, and a note; some of them is a difference."""
        if self.dates_wrong and len(self.dates_wrong) == self.compared:
            self.notes.append(Note(NoteKind.DATES_IGNORED))
        else:
            for target, line, what in self.dates_wrong:
                self._differs(target, line, what)
        for target, number in self.keywords_lost.items():
            self.notes.append(Note(NoteKind.KEYWORDS_DROPPED, self._name(target, "target"), str(number)))

    async def _read_back(self, session: Session, target: WireName, lines: list[Line]) -> None:
        """Are the bytes the ledger's?"""
        if not lines:
            return
        by_uid = {line.target_uid: line for line in lines if line.target_uid is not None}
        uids = sorted(by_uid)
        for start in range(0, len(uids), 256):
            try:
                contents = await digest_mails(session, uids[start : start + 256], identify=self.ledger.altered)
            except ServerBusy:
                contents = {}  # each then says that it could not be read
            for uid in uids[start : start + 256]:
                line, content = by_uid[uid], contents.get(uid)
                if content is None:
                    self._differs(target, line, "could not be read back")
                    continue
                same = content.sha256 == line.sha256
                if not same and self.ledger.altered and line.identity is None:
                    self.unsure.append((target, line, content.identity))
                    continue
                self.tallies[target].hashed += 1
                if not same and (not self.ledger.altered or line.identity != content.identity):
                    self._differs(target, line, "other bytes")

    async def _ask_the_source(self) -> None:
        """Mails the target has changed and of which the ledger has no identity: is the change one that adds only?"""
        left: dict[WireName, int] = {}
        by_folder: dict[int, list[tuple[WireName, Line, bytes]]] = {}
        for each in self.unsure:
            by_folder.setdefault(each[1].folder_id, []).append(each)
        for folder_id, some in by_folder.items():
            record = next(each for each in self.records if each.id == folder_id)
            contents: dict[int, Content] = {}
            uids = sorted(line.uid for _, line, _ in some if not line.wrapped)
            if self.source is not None and record.current and uids:
                with contextlib.suppress(CommandRefused, ServerBusy):
                    told = await self.source.examine(WireName(record.source))
                    if told.uidvalidity == record.source_uidvalidity:
                        contents = await digest_mails(self.source, uids)
            for target, line, identity in some:
                content = contents.get(line.uid)
                if content is None or line.wrapped:
                    left[target] = left.get(target, 0) + 1
                    continue
                self.tallies[target].hashed += 1
                if content.identity != identity:
                    self._differs(target, line, "other bytes")
        for target, number in left.items():
            self.notes.append(Note(NoteKind.NOT_COMPARED, self._name(target, "target"), str(number)))

    async def _source_side(self, source: Session) -> None:
        """Does the source show anything that the ledger does not know as stored or refused?"""
        folders = await source.list_folders()
        self.delimiters["source"] = next((each.delimiter for each in folders if each.delimiter), "/")
        chosen = choose(folders, self.filter.folders, self.filter.without_junk, self.exclude_roots)
        self.left_out = frozenset(each.wire for each in folders) - {each.wire for each in chosen.folders}
        ours = {each.target for each in self.records} if same_mailbox(source.account, self.target.account) else set()
        folders = [each for each in chosen.folders if each.wire not in ours]
        records = {each.source: each for each in self.records if each.current}
        seen: dict[WireName, list[int]] = {each.wire: [] for each in folders}
        unknown: dict[WireName, int] = {}

        @functools.cache
        def gone(folder_id: int) -> frozenset[int]:
            """Called gone by the copy: what is listed now was not."""
            return frozenset(line.uid for line in self.ledger.lines(folder_id, state=LineState.GONE))

        def judge(name: WireName) -> None:
            record, uids = records.get(name), seen[name]
            if record is None or not uids:
                return
            tally = self.tallies[record.target]
            known = self.ledger.known(record.id, min(uids), max(uids)) - gone(record.id)
            for uid in uids:
                if uid in known:
                    continue
                if uid >= record.source_uidnext:
                    tally.newer += 1
                else:
                    tally.not_copied += 1
                    self.wrong.append((self._name(name, "source"), f"source UID {uid} was not copied"))
            uids.clear()

        def on_mail(name: WireName, mail: wire.Fetched) -> None:
            if mail.uid is None or not dated_since(mail.internal_date or "", self.filter.since):
                return
            if name not in records:
                unknown[name] = unknown.get(name, 0) + 1
                return
            seen[name].append(mail.uid)
            if len(seen[name]) >= PAGE_UIDS:
                judge(name)

        opened = await list_mails(source, await statuses(source, folders), on_mail)
        for folder in folders:
            told = opened[folder.wire]
            record = records.get(folder.wire)
            if isinstance(told, str):
                self.wrong.append((folder.display, f"the source does not open it: {told}"))
            elif record is not None and told.uidvalidity != record.source_uidvalidity:
                self.wrong.append((folder.display, "the source has renumbered the folder; run the copy once more"))
            elif folder.wire in unknown:
                self.wrong.append((folder.display, f"{unknown[folder.wire]} mails were not copied"))
            else:
                judge(folder.wire)
