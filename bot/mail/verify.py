"""Whether the target holds what the ledger says, and the ledger what the source shows. Without SEARCH."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bot.mail import wire
from bot.mail.account import MailAccount, same_mailbox
from bot.mail.compare import Glance, Tally, TargetFolders
from bot.mail.crew import Side, with_patience
from bot.mail.digest import Content, digest_mails
from bot.mail.errors import CommandRefused, ConnectionLost
from bot.mail.ledger import FolderRecord, Ledger, LineState
from bot.mail.names import Folder, WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.outcome import Filter
from bot.mail.quirks import dated_since
from bot.mail.session import SILENCE_SECONDS, Session, both
from bot.mail.survey import PAGE_UIDS, choose, list_mails, list_told, statuses
from bot.mail.told import Selected, Status, folders_of
from bot.mail.work import ServerBusy, never, unless

EVERYTHING = Filter()
SMALL_BYTES = 8_000_000  # read back whole
DIFFERENCES_MAX = 50
SAMPLE = 20  # mails of a folder read back whole
WEIGHT_HELD_MAX = PAGE_UIDS  # asked for ahead, over all connections
FOLDER_WEIGHT = 200  # reading its sample back costs as much as listing so many mails


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
    late: int = 0  # of these, above the mark: somebody's own, or stored by a dead session after all looks

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
    unsettled: int = 0  # mails that landed after a dead session's last look, maybe: the copy is to look once more


async def verify_copy(
    source: MailAccount | None,
    target: MailAccount,
    *,
    ledger: Ledger,
    filter: Filter = EVERYTHING,
    exclude_roots: tuple[str, ...] = (),
    sample: int = SAMPLE,
    silence_seconds: float = SILENCE_SECONDS,
    give_up: Callable[[], bool] = never,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Verification:
    """
    Compare per folder: UID, size, flags, date of all; the bytes of a sample (of all when the copy is small).

    With `source` also whether the source shows anything (within `filter`) that was not copied; without it, months
    later, the target against the ledger. A lost connection is replaced, a bounded number of times.
    Raises GivenUp when `give_up` says so, LoginRefused, ConnectionLost, MailError.
    """
    sides = [Side(each, silence_seconds=silence_seconds) for each in (source, target) if each is not None]
    try:
        await both(sides[0].first(), sides[-1].first())
        check = Check(sides[0] if source else None, sides[-1], ledger, filter, sample, exclude_roots, pause)
        check.begin()
        try:
            return await unless(give_up, check.run())
        finally:
            check.stop()
    finally:
        await asyncio.gather(*(each.close() for each in sides))


def check_over(
    source: Side, target: Side, *, ledger: Ledger, filter: Filter, pause: Callable[[float], Awaitable[None]]
) -> Check:
    """The same over connections that are open already: `begin`, `run`, and `stop` whatever happened."""
    return Check(source, target, ledger, filter, SAMPLE, (), pause)


@dataclass
class Shown:
    """What the source shows; begun anew when the connection is lost on the way."""

    not_copied: dict[str, int] = field(default_factory=dict)  # by target folder
    newer: dict[str, int] = field(default_factory=dict)
    wrong: list[tuple[str, str]] = field(default_factory=list)  # folder for people, what is wrong
    notes: list[Note] = field(default_factory=list)
    left_out: frozenset[str] | None = None  # folders the filter does not mean


class Check:
    """One call of `verify_copy`."""

    def __init__(
        self,
        source: Side | None,
        target: Side,
        ledger: Ledger,
        filter: Filter,
        sample: int,
        exclude_roots: tuple[str, ...],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self.source, self.target, self.ledger, self.filter = source, target, ledger, filter
        self.exclude_roots, self.pause = exclude_roots, pause
        self.records = list(ledger.folders())
        self.folders = TargetFolders(ledger, self.records, sample)
        self.tallies: dict[WireName, Tally] = {}
        self.shown = Shown()
        self.notes: list[Note] = []
        self.delimiters: dict[str, str] = {"source": "/", "target": "/"}
        self._asked: asyncio.Task[dict[WireName, Status | None]] | None = None
        self._source_read: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Ask both sides what they have; what is under way on their connections is not waited for."""
        self._asked = asyncio.create_task(with_patience(self.target, self._ask_the_target, pause=self.pause))
        if self.source is not None:
            reading = with_patience(self.source, self._source_side, pause=self.pause)
            self._source_read = asyncio.create_task(reading)

    @property
    def _begun(self) -> list[asyncio.Task[Any]]:
        return [each for each in (self._asked, self._source_read) if each is not None]

    async def settled(self) -> None:
        """Nothing that `begin` has asked is under way any more; what went wrong with it `run` will say."""
        await asyncio.gather(*self._begun, return_exceptions=True)

    def stop(self) -> None:
        """Nobody waits for the rest."""
        for task in self._begun:
            if not task.cancel() and not task.cancelled():
                task.exception()  # nobody has to look

    async def run(self) -> Verification:
        """Compare; raises also what `begin` has met."""
        counts = {each.id: self.ledger.counts(each.id) for each in self.records}
        sizes = sum(each.get(LineState.STORED, (0, 0))[1] for each in counts.values())
        everything = sizes <= SMALL_BYTES
        works: list[Awaitable[None]] = [self._target_side(everything)]
        if self._source_read is not None:
            works.append(self._source_read)
        for failure in await asyncio.gather(*works, return_exceptions=True):
            if failure is not None:
                raise failure
        await self._ask_the_source()
        self._judge_dates()
        shown = self.shown
        checks = []
        for record in self.records:
            if not record.current:
                continue
            same = [counts[each.id] for each in self.records if each.target == record.target]
            tally = self.tallies[WireName(record.target)]
            checks.append(
                FolderCheck(
                    name=self._name(record.source, "source"),
                    target=self._name(record.target, "target"),
                    stored=sum(each.get(LineState.STORED, (0, 0))[0] for each in same),
                    found=tally.found,
                    hashed=tally.hashed,
                    missing=tally.missing,
                    different=tally.different,
                    not_copied=shown.not_copied.get(record.target, 0) + self._planned(record),
                    refused=sum(each.get(LineState.REFUSED, (0, 0))[0] for each in same),
                    newer=shown.newer.get(record.target, 0),
                    foreign=tally.foreign,
                    late=tally.late,
                )
            )
        wrong = [
            *((self._name(target, "target"), text) for target, tally in self.tallies.items() for text in tally.wrong),
            *shown.wrong,
        ]
        return Verification(
            ok=not wrong and all(each.ok for each in checks),
            folders=checks,
            differences=[f"{folder}: {text}" for folder, text in wrong[:DIFFERENCES_MAX]],
            refused=sum(each.refused for each in checks),
            hashed=sum(each.hashed for each in checks),
            notes=[*self.notes, *shown.notes],
            unsettled=sum(each.late for each in self.tallies.values()) if self.ledger.unclean else 0,
        )

    def _planned(self, record: FolderRecord) -> int:
        """Mails within the filter that still wait; those of a folder the source no longer shows wait as well."""
        if self.shown.left_out is not None and record.source in self.shown.left_out:
            return 0
        planned, after = 0, 0
        while page := self.ledger.lines(record.id, state=LineState.PLANNED, after=after, limit=PAGE_UIDS):
            planned += sum(dated_since(line.internal_date, self.filter.since) for line in page)
            after = page[-1].uid
        return planned

    def _name(self, wire_name: str, side: str) -> str:
        return Folder(WireName(wire_name), self.delimiters[side], frozenset()).display

    async def _ask_the_target(self, session: Session) -> dict[WireName, Status | None]:
        """What it tells of the folders in which we stored."""
        delimiter = session.send(b'LIST "" ""', collect=True)
        targets = dict.fromkeys(WireName(each.target) for each in self.records)
        told = await statuses(session, [Folder(each, "", frozenset()) for each in targets])
        folders = folders_of(await delimiter.done)
        self.delimiters["target"] = next((each.delimiter for each in folders if each.delimiter), "/")
        return told

    async def _target_side(self, everything: bool) -> None:
        """Every folder of the target, over all connections there are; one that is lost costs the folders it was at."""
        assert self._asked is not None  # noqa: S101 - `begin` comes first
        told = await self._asked
        weights = {name: FOLDER_WEIGHT + (each.messages if each is not None else 0) for name, each in told.items()}
        todo = deque(sorted(told, key=lambda name: -weights[name]))

        async def judge(session: Session, ahead: deque[Glance]) -> None:
            self.tallies[ahead[0].target] = await self.folders.judge(session, ahead[0], everything)
            ahead.popleft()

        async def compare(session: Session, share: float) -> None:
            ahead: deque[Glance] = deque()
            now: WireName | None = None
            try:
                while todo or ahead:
                    if todo and sum(weights[each.target] for each in ahead) < share:
                        now = todo.popleft()
                        begun = self.folders.ask(session, now, told[now], everything)
                        if isinstance(begun, Glance):
                            ahead.append(begun)
                        elif begun is not None:
                            self.tallies[now] = begun
                        else:  # by itself: others would have to wait in between
                            while ahead:
                                await judge(session, ahead)
                            self.tallies[now] = await self.folders.page_by_page(session, now, told[now], everything)
                        now = None
                    else:
                        await judge(session, ahead)
            except BaseException:
                todo.extendleft([*([now] if now is not None else []), *(each.target for each in ahead)])
                raise

        async def all_of_them(first: Session) -> None:
            while todo:  # a connection may be lost while another still works
                live = self.target.live or [first]
                share = min(sum(weights[name] for name in todo), WEIGHT_HELD_MAX) / len(live)
                works = (compare(each, share) for each in live)
                failures = [each for each in await asyncio.gather(*works, return_exceptions=True) if each is not None]
                others = [each for each in failures if not isinstance(each, ConnectionLost)]
                if others or (todo and not self.target.live):
                    raise (others or failures)[0]

        if todo:
            await with_patience(self.target, all_of_them, progress=lambda: len(todo), pause=self.pause)

    def _judge_dates(self) -> None:
        """All of them wrong is a server that keeps none, and a note; some of them is a difference."""
        wrong = sum(len(each.dates_wrong) for each in self.tallies.values())
        if wrong and wrong == sum(each.compared for each in self.tallies.values()):
            self.notes.append(Note(NoteKind.DATES_IGNORED))
        else:
            for tally in self.tallies.values():
                for line, what in tally.dates_wrong:
                    tally.differs(line, what)
        for target, tally in self.tallies.items():
            if tally.keywords_lost:
                lost = str(tally.keywords_lost)
                self.notes.append(Note(NoteKind.KEYWORDS_DROPPED, self._name(target, "target"), lost))

    async def _ask_the_source(self) -> None:
        """Mails the target has changed and of which the ledger has no identity: is the change one that adds only?"""
        for target, tally in self.tallies.items():
            contents: dict[tuple[int, int], Content] = {}
            for record in self.records:
                uids = sorted(line.uid for line, _ in tally.unsure if line.folder_id == record.id and not line.wrapped)
                if self.source is not None and record.current and uids:
                    read = functools.partial(self._read_source, record=record, uids=uids)
                    found = await with_patience(self.source, read, pause=self.pause)
                    contents |= {(record.id, uid): content for uid, content in found.items()}
            left = 0
            for line, identity in tally.unsure:
                content = contents.get((line.folder_id, line.uid))
                if content is None:
                    left += 1
                    continue
                tally.hashed += 1
                if content.identity != identity:
                    tally.differs(line, "other bytes")
            if left:
                self.notes.append(Note(NoteKind.NOT_COMPARED, self._name(target, "target"), str(left)))

    @staticmethod
    async def _read_source(source: Session, *, record: FolderRecord, uids: list[int]) -> dict[int, Content]:
        """What comes of these mails."""
        with contextlib.suppress(CommandRefused, ServerBusy):
            told = await source.examine(WireName(record.source))
            if told.uidvalidity == record.source_uidvalidity:
                return await digest_mails(source, uids)
        return {}

    async def _source_side(self, source: Session) -> None:
        """Does the source show anything that the ledger does not know as stored or refused?"""
        shown = self.shown = Shown()
        folders, told_of = await list_told(source)
        self.delimiters["source"] = next((each.delimiter for each in folders if each.delimiter), "/")
        chosen = choose(folders, self.filter.folders, self.filter.without_junk, self.exclude_roots)
        shown.left_out = frozenset(each.wire for each in folders) - {each.wire for each in chosen.folders}
        same = same_mailbox(source.account, self.target.account)
        ours = {each.target for each in self.records} if same else set()
        folders = [each for each in chosen.folders if each.wire not in ours]
        listing = Listing(self.ledger, self.filter, {each.source: each for each in self.records if each.current})
        items = b"UID" if self.filter.since is None else b"UID INTERNALDATE"
        told_of = {each.wire: told_of[each.wire] for each in folders}
        opened = await list_mails(source, told_of, listing.on_mail, items=items)
        fewer = [each.wire for each in folders if listing.lacks(each.wire, opened[each.wire])]
        if fewer:
            listing.begin_again(fewer)
            opened |= await list_mails(source, dict.fromkeys(fewer), listing.on_mail, items=items)
        for folder in folders:
            told, record = opened[folder.wire], listing.records.get(folder.wire)
            if isinstance(told, str):
                shown.wrong.append((folder.display, f"the source does not open it: {told}"))
            elif record is not None and told.uidvalidity != record.source_uidvalidity:
                shown.wrong.append((folder.display, "the source has renumbered the folder; run the copy once more"))
            elif record is None:
                if listing.counted[folder.wire]:
                    shown.wrong.append((folder.display, f"{listing.counted[folder.wire]} mails were not copied"))
            else:
                listing.judge(folder.wire)
            if lacking := listing.lacks(folder.wire, told):
                shown.notes.append(Note(NoteKind.FEWER_SHOWN, folder.display, str(lacking)))
                shown.wrong.append((folder.display, f"the source counts {lacking} more mails than it shows"))
        for name, record in listing.records.items():
            shown.not_copied[record.target] = len(listing.missed.get(name, ()))
            shown.newer[record.target] = len(listing.newer.get(name, ()))
        shown.wrong += [
            (self._name(name, "source"), f"source UID {uid} was not copied")
            for name, uids in listing.missed.items()
            for uid in sorted(uids)
        ]


class Listing:
    """The source's mails against the ledger, page by page, so that a folder of any size needs no memory of its size."""

    def __init__(self, ledger: Ledger, filter: Filter, records: dict[str, FolderRecord]) -> None:
        self.ledger, self.filter, self.records = ledger, filter, records
        self.counted: Counter[str] = Counter()  # those the filter means
        self.missed: dict[str, set[int]] = {}
        self.newer: dict[str, set[int]] = {}  # came after the copy had listed the folder
        self._told: Counter[str] = Counter()
        self._seen: dict[str, list[int]] = {}
        self._gone: dict[int, frozenset[int]] = {}

    def on_mail(self, name: WireName, mail: wire.Fetched) -> None:
        self._told[name] += 1
        if mail.uid is None or not dated_since(mail.internal_date or "", self.filter.since):
            return
        self.counted[name] += 1
        if name in self.records:
            seen = self._seen.setdefault(name, [])
            seen.append(mail.uid)
            if len(seen) >= PAGE_UIDS:
                self.judge(name)

    def lacks(self, name: str, told: Selected | str) -> int:
        """How many more mails the folder says to have than were told of."""
        return 0 if isinstance(told, str) else max(0, told.exists - self._told[name])

    def begin_again(self, names: list[WireName]) -> None:
        """These are listed once more."""
        for name in names:
            self.judge(name)
            self._told[name] = self.counted[name] = 0

    def judge(self, name: str) -> None:
        record, uids = self.records.get(name), self._seen.pop(name, [])
        if record is None or not uids:
            return
        known = self.ledger.known(record.id, min(uids), max(uids)) - self.gone(record.id)
        unknown = set(uids) - known
        self.missed.setdefault(name, set()).update(uid for uid in unknown if uid < record.source_uidnext)
        self.newer.setdefault(name, set()).update(uid for uid in unknown if uid >= record.source_uidnext)

    def gone(self, folder_id: int) -> frozenset[int]:
        """Called gone by the copy: what is listed now was not."""
        if folder_id not in self._gone:
            lines = self.ledger.lines(folder_id, state=LineState.GONE)
            self._gone[folder_id] = frozenset(line.uid for line in lines)
        return self._gone[folder_id]
