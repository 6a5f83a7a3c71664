"""One folder of the target, as it is, against what the ledger says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.mail import wire
from bot.mail.digest import BATCH_MAILS, Content, Reading, digest_mails
from bot.mail.ledger import FolderRecord, Ledger, Line, LineState
from bot.mail.names import WireName
from bot.mail.quirks import flag_set, parse_internaldate
from bot.mail.session import Session
from bot.mail.survey import LISTING, PAGE_UIDS, Pages, list_mails
from bot.mail.told import Status
from bot.mail.work import ServerBusy

READ_AHEAD_MAX = 256  # mails read back that are asked for at once


@dataclass
class Tally:
    """What one folder of the target comes to; begun anew when the connection is lost on the way."""

    found: int = 0
    hashed: int = 0
    missing: int = 0
    different: int = 0
    foreign: int = 0
    late: int = 0
    compared: int = 0
    keywords_lost: int = 0
    wrong: list[str] = field(default_factory=list)
    dates_wrong: list[tuple[Line, str]] = field(default_factory=list)
    unsure: list[tuple[Line, bytes]] = field(default_factory=list)  # other bytes, and no identity to compare

    def differs(self, line: Line, what: str) -> None:
        self.different += 1
        self.wrong.append(f"UID {line.target_uid} (source {line.uid}): {what}")


@dataclass
class Glance:
    """A folder of one page, asked for in one go."""

    target: WireName
    status: Status
    owners: Mapping[int, Line]
    picked: list[Line]
    page: dict[int, wire.Fetched]
    pages: Pages
    reading: Reading


class TargetFolders:
    """Compares folder by folder; each begins anew when the connection is lost on the way."""

    def __init__(self, ledger: Ledger, records: Sequence[FolderRecord], sample: int) -> None:
        self.ledger, self.records, self.sample = ledger, records, sample

    def ask(self, session: Session, target: WireName, status: Status | None, everything: bool) -> Glance | Tally | None:
        """
        A folder of one page asked for with all that is to be read back of it, in one go; its tally when there is
        nothing to ask, None when it is too much for one go.

        What is to be read back is chosen by the ledger alone, so that the listing need not be waited for.
        """
        records = [each for each in self.records if each.target == target]
        if status is None or status.uidvalidity != records[0].target_uidvalidity:
            if status is not None:
                return self._renumbered(target)
            tally = Tally(missing=self._stored(target))
            if tally.missing:
                tally.wrong.append("the folder cannot be opened in the target")
            return tally
        if status.uidnext > PAGE_UIDS or session.in_turn:
            return None
        owners = self.ledger.owners(target, 1, max(status.uidnext, 2) - 1)
        known = [line for line in owners.values() if line.sha256 is not None]
        picked = known if everything else self._pick(known)
        if len(picked) > READ_AHEAD_MAX:
            return None
        page: dict[int, wire.Fetched] = {}

        def on_mail(_: WireName, mail: wire.Fetched) -> None:
            if mail.uid is not None:
                page[mail.uid] = mail

        opening = session.open_folder(target)
        pages = Pages(session, target, opening, status, on_mail, LISTING)
        reading = Reading(session, identify=self.ledger.altered, opening=opening)
        uids = sorted(line.target_uid for line in picked if line.target_uid is not None)
        for start in range(0, len(uids), BATCH_MAILS):
            reading.ask(uids[start : start + BATCH_MAILS])
        return Glance(target, status, owners, picked, page, pages, reading)

    def _renumbered(self, target: WireName) -> Tally:
        """Of a folder with a new UIDVALIDITY nothing we know of its UIDs is true."""
        return Tally(
            missing=self._stored(target), wrong=["the target has renumbered the folder; run the copy once more"]
        )

    def _stored(self, target: WireName) -> int:
        """So many, by the ledger."""
        records = (each for each in self.records if each.target == target)
        return sum(self.ledger.counts(each.id).get(LineState.STORED, (0, 0))[0] for each in records)

    async def judge(self, session: Session, glance: Glance, everything: bool) -> Tally:
        """What became of a folder that was asked for in one go; where a part did not come, all is asked for again."""
        told = await glance.pages.settled()
        await glance.reading.settle()
        if isinstance(told, str) or glance.pages.sizeless or glance.reading.refused:
            return await self.page_by_page(session, glance.target, glance.status, everything)
        if told.uidvalidity != glance.status.uidvalidity:  # since it was asked for its numbers
            return self._renumbered(glance.target)
        tally = Tally()
        self._compare_page(tally, glance.target, glance.page, glance.owners)
        self._count_the_rest(tally, glance.target)
        there = [line for line in glance.picked if line.target_uid in glance.page]
        self._compare_contents(tally, there, await glance.reading.found())
        return tally

    async def page_by_page(self, session: Session, target: WireName, status: Status | None, everything: bool) -> Tally:
        """One folder of the target against the ledger's stored lines, however many they are."""
        assert status is not None  # noqa: S101 - then there is nothing to ask
        tally = Tally()
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
                tally.wrong.append(f"the target does not list it: {told}")
            elif told.uidvalidity != status.uidvalidity:
                return self._renumbered(target)
            picked += self._compare_page(tally, target, page, self.ledger.owners(target, low, high))
            if not everything:
                picked = self._pick(picked)
        self._count_the_rest(tally, target)
        await self._read_back(session, picked, tally)
        return tally

    def _compare_page(
        self, tally: Tally, target: WireName, page: Mapping[int, wire.Fetched], owners: Mapping[int, Line]
    ) -> list[Line]:
        """What is listed against what the ledger owns there; gives the lines whose bytes can be compared."""
        mark = min(each.target_mark for each in self.records if each.target == target)
        found = []
        for uid, line in owners.items():
            mail = page.get(uid)
            if mail is None:
                tally.missing += 1
                tally.wrong.append(f"UID {uid} (source {line.uid}) is not there")
                continue
            tally.found += 1
            self._compare(tally, line, mail)
            if line.sha256 is not None:
                found.append(line)
        foreign = page.keys() - owners.keys()
        tally.foreign += len(foreign)
        tally.late += sum(uid >= mark for uid in foreign)
        return found

    def _count_the_rest(self, tally: Tally, target: WireName) -> None:
        """Stored lines that no listing could show."""
        lost = self.ledger.unplaced(target)
        tally.missing += len(lost)
        for line in lost:
            tally.wrong.append(f"source UID {line.uid}: its copy was not found")
        beyond = self._stored(target) - tally.found - tally.missing
        if beyond > 0:  # at UIDs the folder no longer has, or two at one UID
            tally.missing += beyond
            tally.wrong.append(f"{beyond} more mails are not there")

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

    def _compare(self, tally: Tally, line: Line, mail: wire.Fetched) -> None:
        if not self.ledger.altered and not line.wrapped and mail.size_bytes != line.size_bytes:
            tally.differs(line, f"{mail.size_bytes} bytes instead of {line.size_bytes}")
        wanted = flag_set(line.flags if line.target_flags is None else line.target_flags)
        there = flag_set(mail.flags or "")
        system = {flag for flag in wanted ^ there if flag.startswith("\\")}
        if system - ({"\\seen"} & there):  # somebody may have read it in the target since
            tally.differs(line, f"flags ({' '.join(sorted(there))}) instead of ({' '.join(sorted(wanted))})")
        elif wanted - there:
            tally.keywords_lost += 1
        tally.compared += 1
        if mail.internal_date == line.internal_date:
            return
        moment = parse_internaldate(line.internal_date)
        if moment is not None and parse_internaldate(mail.internal_date or "") != moment:
            tally.dates_wrong.append((line, f"date {mail.internal_date} instead of {line.internal_date}"))

    async def _read_back(self, session: Session, lines: list[Line], tally: Tally) -> None:
        """Are the bytes the ledger's?"""
        by_uid = {line.target_uid: line for line in lines if line.target_uid is not None}
        uids = sorted(by_uid)
        for start in range(0, len(uids), READ_AHEAD_MAX):
            some = uids[start : start + READ_AHEAD_MAX]
            try:
                contents = await digest_mails(session, some, identify=self.ledger.altered)
            except ServerBusy:
                contents = {}  # each then says that it could not be read
            self._compare_contents(tally, [by_uid[uid] for uid in some], contents)

    def _compare_contents(self, tally: Tally, lines: list[Line], contents: Mapping[int, Content]) -> None:
        """What was read back against the ledger's hashes."""
        for line in lines:
            content = None if line.target_uid is None else contents.get(line.target_uid)
            if content is None:
                tally.differs(line, "could not be read back")
                continue
            same = content.sha256 == line.sha256
            if not same and self.ledger.altered and line.identity is None:
                tally.unsure.append((line, content.identity))
                continue
            tally.hashed += 1
            if not same and (not self.ledger.altered or line.identity != content.identity):
                tally.differs(line, "other bytes")
