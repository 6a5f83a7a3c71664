"""What would be copied, and what a person must know before he says yes. Reads both sides, changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.mail import wire
from bot.mail.account import MailAccount
from bot.mail.connection import Command
from bot.mail.crew import Side, with_patience
from bot.mail.guard import Told, refuse_same
from bot.mail.names import Folder, WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.outcome import Filter
from bot.mail.quirks import WINDOW_DAYS, dated_since, hides_folders, is_exmail, parse_internaldate
from bot.mail.session import SILENCE_SECONDS, Session, append_limit, both
from bot.mail.survey import Chosen, choose, list_mails, list_told
from bot.mail.told import Selected
from bot.mail.tree import Ground, lay_out, look_at
from bot.mail.work import never, unless

__all__ = ["Filter", "FolderPlan", "Note", "NoteKind", "Plan", "make_plan"]


@dataclass(frozen=True)
class FolderPlan:
    """A folder of the source and where it would go."""

    name: str  # display
    wire: str
    target: str  # display
    messages: int
    size_bytes: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class Plan:
    """Folders in the server's order; `target_size_bytes` is the target's own mail, None when it was not looked at."""

    folders: list[FolderPlan] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    target_size_bytes: int | None = None
    target_quota_bytes: int | None = None  # only when the server tells it (RFC 2087)

    @property
    def messages(self) -> int:
        return sum(each.messages for each in self.folders)

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.folders)

    @property
    def oldest(self) -> datetime | None:
        return min((each.oldest for each in self.folders if each.oldest), default=None)

    @property
    def newest(self) -> datetime | None:
        return max((each.newest for each in self.folders if each.newest), default=None)


async def make_plan(
    source: MailAccount,
    target: MailAccount | None,
    *,
    into: str,
    filter: Filter,
    now: datetime,
    exclude_roots: tuple[str, ...] = (),
    silence_seconds: float = SILENCE_SECONDS,
    give_up: Callable[[], bool] = never,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Plan:
    """
    Look at both sides and say what `copy_mail` with the same arguments would copy.

    A lost connection is replaced, a bounded number of times. Raises GivenUp when `give_up` says so, LoginRefused,
    NotReachable, ConnectionLost, SameMailbox, MailError.
    """
    sides = [Side(each, silence_seconds=silence_seconds) for each in (source, target) if each is not None]

    async def over(one: Session) -> Plan:
        if target is None:
            return await look(one, None, into, filter, now, exclude_roots)
        return await with_patience(sides[1], lambda two: look(one, two, into, filter, now, exclude_roots), pause=pause)

    try:
        await both(sides[0].first(), sides[-1].first())
        return await unless(give_up, with_patience(sides[0], over, pause=pause))
    finally:
        await asyncio.gather(*(each.close() for each in sides))


async def look(
    source: Session, target: Session | None, into: str, filter: Filter, now: datetime, exclude_roots: tuple[str, ...]
) -> Plan:
    """The plan, over sessions that are open already."""
    limit = append_limit(target) if target is not None else None
    counting = count(source, filter, exclude_roots, limit)
    target_size: int | None = None
    quota: int | None = None
    if target is None:
        counted = await counting
        ground = Ground([], next((each.delimiter for each in counted.folders if each.delimiter), "/"), "")
    else:
        counted, (ground, target_size, quota) = await both(counting, measure(target))
        await refuse_same(source, target, counted.told, ground.told)
    folders, chosen = counted.folders, counted.chosen
    notes = [Note(NoteKind.OWN_BACKUP, each.display) for each in chosen.own_backups]
    notes += [Note(NoteKind.FOLDER_UNKNOWN, name) for name in chosen.unknown]
    tree = lay_out(ground, chosen.folders, into, {})
    notes += tree.notes
    plans = []
    for folder in chosen.folders:
        seen, total = counted.opened[folder.wire], counted.sums[folder.wire]
        if isinstance(seen, str):
            notes.append(Note(NoteKind.FOLDER_UNREADABLE, folder.display, seen))
            continue
        branch = tree.branches[folder.wire]
        plans.append(
            FolderPlan(
                folder.display, folder.wire, branch.display, total.mails, total.size_bytes, total.oldest, total.newest
            )
        )
        if total.too_big:
            notes.append(Note(NoteKind.TOO_BIG, folder.display, str(total.too_big)))
        if total.deleted:
            notes.append(Note(NoteKind.DELETED_FLAG, folder.display, str(total.deleted)))
    plan = Plan(plans, notes, target_size, quota)
    exmail = is_exmail(source.greeting, source.account.host, folders)
    recent = plan.oldest > now - timedelta(days=WINDOW_DAYS) if plan.oldest is not None else exmail
    if filter.since is None and recent:  # no mail at all looks the same: there may be none of the last 30 days
        plan.notes.append(Note(NoteKind.WINDOW))
    if exmail and hides_folders(folders):
        plan.notes.append(Note(NoteKind.HIDDEN_FOLDERS))
    return plan


@dataclass
class Sum:
    """What a folder comes to."""

    mails: int = 0
    size_bytes: int = 0
    too_big: int = 0
    deleted: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    def add(self, mail: wire.Fetched, limit: int | None) -> None:
        size = mail.size_bytes or 0
        self.mails += 1
        self.size_bytes += size
        self.too_big += limit is not None and size > limit
        self.deleted += "\\deleted" in (mail.flags or "").casefold()
        moment = parse_internaldate(mail.internal_date or "")
        if moment is not None:
            self.oldest = min(self.oldest or moment, moment)
            self.newest = max(self.newest or moment, moment)


@dataclass(frozen=True)
class Counted:
    """What the source shows."""

    folders: list[Folder]
    chosen: Chosen
    told: Told
    opened: dict[WireName, Selected | str]
    sums: dict[WireName, Sum]


async def count(source: Session, filter: Filter, exclude_roots: tuple[str, ...], limit: int | None) -> Counted:
    """The source's folders, and what those that are meant come to."""
    folders, told = await list_told(source)
    chosen = choose(folders, filter.folders, filter.without_junk, exclude_roots)
    sums: dict[WireName, Sum] = {each.wire: Sum() for each in chosen.folders}

    def on_mail(name: WireName, mail: wire.Fetched) -> None:
        if dated_since(mail.internal_date or "", filter.since):
            sums[name].add(mail, limit)

    opened = await list_mails(source, {each.wire: told[each.wire] for each in chosen.folders}, on_mail)
    return Counted(folders, chosen, told, opened, sums)


async def measure(target: Session) -> tuple[Ground, int, int | None]:
    """The target's folders, the bytes of its own mail, its quota if it tells one."""
    asked = ask_quota(target)
    ground = await look_at(target, counted=True)
    total = 0

    def on_mail(_: WireName, mail: wire.Fetched) -> None:
        nonlocal total
        total += mail.size_bytes or 0

    selectable = {each.wire: ground.told[each.wire] for each in ground.folders if each.selectable}
    await list_mails(target, selectable, on_mail, items=b"UID RFC822.SIZE")
    return ground, total, await quota_of(asked)


def ask_quota(target: Session) -> Command | None:
    """Ask for the quota without waiting, if the server knows such a thing; `quota_of` reads the answer."""
    return target.send(b'GETQUOTAROOT "INBOX"', collect=True) if "QUOTA" in target.capabilities else None


async def quota_of(asked: Command | None) -> int | None:
    """The STORAGE limit in bytes (RFC 9208), None when the server tells none."""
    answer = await asked.done if asked is not None else None
    for line in answer.lines if answer is not None else ():
        match wire.values(line.parts):
            case [_, b"QUOTA", _, [b"STORAGE", _, bytes() as limit, *_]] if limit.isdigit():
                return int(limit) * 1024
    return None
