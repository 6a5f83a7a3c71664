"""
The book of the recycle bin, and the reminders, so that nobody forgets what is deleted there for ever.

No API lists the bin. So an entry comes from a member who left, from what the bot or somebody here did, and by hand,
and says how we know. Reminders end only for a complete, verified backup, an assignment that a look-up saw, or because a
named admin lets it go. Who is reminded of what is worked out anew from the entry whenever its moment comes: after an
outage one message goes out, the right one.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import structlog
import xlsxwriter

from bot.context import Context
from bot.directory import ACTIVE, Directory
from bot.errors import UserError
from bot.policy import Roles
from bot.replies import Button, Card, CardUpdate, Choice, File, Reply, Text
from bot.router import Router
from bot.settings import Settings
from bot.wecom.errcodes import WeComError
from bot.words import Words, lines, say
from bot.work import JobContext, SweepStep, Work
from bot.workdays import (
    DAY,
    ON_ITS_OWN_DAY,
    ROOM_MIN,
    Step,
    last_day,
    may_speak_at,
    morning,
    next_step,
    plan,
    urgency,
    workdays,
)
from handlers import addresses
from storage.models import BinDigest, BinItem, BinSource, BinState, JobState, Mailbox, Member

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

SHANGHAI = ZoneInfo("Asia/Shanghai")  # where Exmail counts its days
HELP_DAYS = 60  # what the console's help says of these; shown, never relied on
HELP_SOURCES = (BinSource.RECLAIMED, BinSource.REPLACED, BinSource.PUBLIC)
MANAGER_AT, ADMINS_AT = 3, 1  # days before the last day
SWEEP_EVERY = timedelta(minutes=1)
DUE_MAX = 20_000  # of one sweep; what is over waits for the next morning
DATE_DAYS_MAX = 366
CHECK_AGAIN = timedelta(minutes=1)  # an answer that young is not asked for again
CARD_ITEMS_MAX = 10  # options of a selector
CARD_ROWS_MAX = 6
LISTED_MAX = 20
NAMED_MAX = 30


# --- coming into the book --------------------------------------------------------------------------------------------


def enter(
    tx: Transaction,
    settings: Settings,
    *,
    source: BinSource,
    known_from: str,
    box: Mailbox | None = None,
    address: str | None = None,
    owner: Member | None = None,
    added_by: str | None = None,
    entered_at: datetime | None = None,
    deletes_at: datetime | None = None,
) -> BinItem | None:
    """
    A mailbox came into the recycle bin, now or at `entered_at`; None when the book has it already.

    It is ended as a mailbox. `added_by` is the admin who looks after it; without one all admins do.
    """
    if box is not None:
        address = box.address
        owner = owner or (tx.members.find(box.owner) if box.owner is not None else None)
    entered_at = entered_at or tx.now
    managers = Directory(tx, settings.exmail_domain).managers(owner.userid) if owner is not None else []
    item = tx.recycle_bin.enter(
        address=address, mailbox_id=box.id if box is not None else None,
        owner=owner.userid if owner is not None else None, owner_name=owner.name if owner is not None else None,
        manager=next(iter(managers), None), source=source, known_from=known_from, added_by=added_by,
        entered_at=entered_at, deletes_at=deletes_at or deletion_of(entered_at, settings.bot_bin_days),
    )  # fmt: skip
    if item is None:
        return None
    if box is not None and box.ended_at is None:
        tx.mailboxes.ended(box)
    schedule(item, tx.now, settings)
    tx.audit.add(
        added_by or "bot", "bin.entered", address or str(item.owner), item=item.id, source=str(source),
        known_from=known_from, deletes_at=item.deletes_at.isoformat(),
    )  # fmt: skip
    return item


def deletion_of(entered_at: datetime, days: int) -> datetime:
    """When a mailbox that came into the bin then is deleted: 00:00 in Shanghai of that day, as the console counts."""
    return midnight(entered_at.astimezone(SHANGHAI).date() + days * DAY)


def midnight(day: date) -> datetime:
    """00:00 in Shanghai."""
    return datetime.combine(day, time(), SHANGHAI).astimezone(UTC)


def steps_of(item: BinItem, settings: Settings) -> tuple[Step, ...]:
    """When somebody is reminded of an entry."""
    return plan(item.deletes_at, settings.zone, workdays())


def schedule(item: BinItem, now: datetime, settings: Settings) -> None:
    """The next moment somebody is to be told something of an entry that waits."""
    step = next_step(steps_of(item, settings), now)
    moments = [item.deletes_at, item.again_at, step.at if step is not None else None]
    item.next_at = min((each for each in moments if each is not None and each > now), default=now)


@addresses.when_left
def members_left(tx: Transaction, roles: Roles, settings: Settings, gone: Sequence[Member], seen: str) -> list[Reply]:
    """
    Members are gone, and their mailboxes with them: the admins hear it once, in one message.

    Who vanished between two readings of the directory may have left at any moment since the first of them.
    """
    since = (tx.moments.last("directory") or tx.now) if seen == "directory" else tx.now
    entered = [
        item
        for member in gone
        if not tx.recycle_bin.left_by(member.userid)
        and (item := enter(
            tx, settings, source=BinSource.LEFT, known_from=seen, box=tx.mailboxes.of(member.userid), owner=member,
            entered_at=since,
        )) is not None
    ]  # fmt: skip
    if not entered:
        return []
    zone = settings.zone
    if len(entered) == 1:
        item = entered[0]
        left = say(f"recycle_bin.left_{seen}", name=str(item.owner_name))
        known = (
            say("recycle_bin.left_address_unknown", number=item.id)
            if item.address is None
            else say("recycle_bin.left_address", address=item.address)
        )
        words = lines(left, known, deleted_words(item, zone), say("recycle_bin.what_to_do", what=called(item)))
    else:
        left = say(f"recycle_bin.left_many_{seen}", count=len(entered))
        unknown = [str(item.id) for item in entered if item.address is None][:NAMED_MAX]
        parts = [line_of(item, tx.now, zone) for item in entered[:NAMED_MAX]]
        asked = [say("recycle_bin.addresses_unknown", numbers=unknown, first=unknown[0])] if unknown else []
        words = lines(left, *parts, *asked, say("recycle_bin.see_bin"))
    return [Text(admin, words) for admin in roles.admins]


# --- in words --------------------------------------------------------------------------------------------------------


def called(item: BinItem) -> str:
    """What an entry is called in a command."""
    return item.address or str(item.id)


def named(item: BinItem) -> str:
    """What an entry is called in a sentence."""
    return item.address or f"{item.owner_name} ({item.owner})"


def when_words(item: BinItem, now: datetime, zone: ZoneInfo) -> Words:
    """How far away the last day is."""
    days = (last_day(item.deletes_at, zone) - now.astimezone(zone).date()).days
    if days < 0:
        return say("recycle_bin.over")
    return (
        say(("recycle_bin.today", "recycle_bin.tomorrow")[days]) if days < 2 else say("recycle_bin.in_days", days=days)
    )


def deleted_words(item: BinItem, zone: ZoneInfo) -> Words:
    """When it is deleted, and which day is the last."""
    return say("recycle_bin.deleted_at", moment=moment_of(item), last=f"{last_day(item.deletes_at, zone)}")


def moment_of(item: BinItem) -> str:
    """The deletion as the console shows it."""
    return f"{item.deletes_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def line_of(item: BinItem, now: datetime, zone: ZoneInfo) -> Words:
    """An entry in one line."""
    return say(
        "recycle_bin.line", number=item.id, what=named(item), last=f"{last_day(item.deletes_at, zone)}",
        left=when_words(item, now, zone),
    )  # fmt: skip


def closed_words(item: BinItem, directory: Directory) -> Words:
    """What became of an entry that is closed."""
    day = f"{item.closed_at:%Y-%m-%d}" if item.closed_at is not None else "-"
    by = directory.name(item.closed_by) if item.closed_by is not None else "-"
    match item.state:
        case BinState.ASSIGNED:
            return say("recycle_bin.is_assigned", what=named(item), owner=new_owner(item, directory))
        case BinState.LET_GO:
            return say("recycle_bin.is_let_go", what=named(item), by=by, day=day)
        case BinState.SAFE:
            return say("recycle_bin.is_safe", what=named(item), job=item.evidence.get("job", "-"))
        case _:
            return say("recycle_bin.is_lost", what=named(item), moment=moment_of(item), typed=called(item))


def new_owner(item: BinItem, directory: Directory) -> str:
    """Who was seen to own it: by our own look-up, or by the check of a handover."""
    by_handover = item.evidence.get("seen")
    owner = item.evidence.get("owner") or (by_handover.get(item.address) if isinstance(by_handover, dict) else None)
    return directory.name(str(owner)) if owner is not None else str(item.evidence.get("public", "-"))


def backup_words(tx: Transaction, item: BinItem) -> Words:
    """Which backups of it there are, as far as we know."""
    backups = tx.recycle_bin.backups_of(item.mailbox_id) if item.mailbox_id is not None else []
    complete = next((job for job in backups if (job.data.get("outcome") or {}).get("complete") is True), None)
    if complete is not None:
        return say("recycle_bin.backup_complete", job=complete.id)
    return say("recycle_bin.backup_partial", job=backups[0].id) if backups else say("recycle_bin.backup_none")


# --- commands --------------------------------------------------------------------------------------------------------


def entry(ctx: Context, typed: str) -> BinItem:
    """The entry somebody means by its number, an address or the userid of who left; the one that waits comes first."""
    book, word = ctx.tx.recycle_bin, typed.strip().removeprefix("#")
    item: BinItem | None
    if word.isascii() and word.isdecimal() and len(word) < 10:
        item = book.find(int(word))
    else:
        address = ctx.directory.address(word if "@" in word else f"{word}@")
        past = [book.find(each.id) for each in book.known_at(address)[:1]]
        item = book.waiting_at(address) or book.waiting_of(word.partition("@")[0]) or next(iter(past), None)
    if item is None:
        raise UserError(say("recycle_bin.unknown", typed=typed))
    return item


def waiting_entry(ctx: Context, typed: str) -> BinItem:
    """The entry somebody means, which must still wait."""
    item = entry(ctx, typed)
    if item.state is not BinState.WAITING:
        raise UserError(closed_words(item, ctx.directory))
    return item


@router.command("bin [{address}]", "回收站 [{address}]", role="auditor", topic="bin", example=("bin", "回收站"))
def recycle_bin(ctx: Context, address: str | None = None) -> list[Reply]:
    """What lies in the recycle bin and until when, or all about one mailbox there."""
    if address is not None:
        return [Text(ctx.sender, lines(*about(ctx, entry(ctx, address))))]
    waiting = ctx.tx.recycle_bin.waiting(count_max=DUE_MAX)
    if not waiting:
        return [Text(ctx.sender, say("recycle_bin.empty"))]
    zone = ctx.settings.zone
    head = say("recycle_bin.heading", count=ctx.tx.recycle_bin.waiting_count())
    listed = [line_of(item, ctx.now, zone) for item in waiting[:LISTED_MAX]]
    if len(waiting) <= LISTED_MAX:
        return [Text(ctx.sender, lines(head, *listed, say("recycle_bin.commands")))]
    more = say("recycle_bin.rest_in_file", shown=LISTED_MAX)
    return [Text(ctx.sender, lines(head, *listed, more)), file_of(ctx.sender, waiting, ctx.now, zone)]


def about(ctx: Context, item: BinItem) -> list[Words]:
    """Everything about one entry."""
    zone = ctx.settings.zone
    entered = f"{item.entered_at.astimezone(zone):%Y-%m-%d}"
    found = [
        say("recycle_bin.about", number=item.id, what=named(item)),
        say(f"recycle_bin.source_{item.source}", owner=item.owner_name or item.owner or "-", day=entered),
        say(f"recycle_bin.known_{item.known_from}", by=ctx.directory.name(item.added_by or "-")),
    ]
    if item.state is not BinState.WAITING:
        return [*found, closed_words(item, ctx.directory)]
    found.append(deleted_words(item, zone))
    if item.date_from is not None:
        found.append(say("recycle_bin.date_from", by=ctx.directory.name(item.date_from)))
    else:
        found.append(say("recycle_bin.date_counted", days=(item.deletes_at - item.entered_at + DAY).days))
        if item.source in HELP_SOURCES:
            found.append(say("recycle_bin.help_says", days=HELP_DAYS))
    found.append(backup_words(ctx.tx, item))
    step = next_step(steps_of(item, ctx.settings), ctx.now)
    if step is not None:
        found.append(say("recycle_bin.next_reminder", moment=f"{step.at.astimezone(zone):%Y-%m-%d %H:%M}"))
    if item.address is None:
        found.append(say("recycle_bin.left_address_unknown", number=item.id))
    return [*found, say("recycle_bin.what_to_do", what=called(item))]


@router.command(
    "bin add {address} deleted {since:date}",
    "回收站 添加 {address} 删除于 {since:date}",
    role="admin",
    topic="bin",
    example=("bin add ahing@ deleted 2026-11-01", "回收站 添加 ahing@ 删除于 2026-11-01"),
)
def bin_add(ctx: Context, address: str, since: date) -> list[Reply]:
    """Put a mailbox into the book that was deleted without my seeing it."""
    admin = ctx.require_admin()
    address = ctx.directory.address(address)
    if since > ctx.now.astimezone(SHANGHAI).date():
        raise UserError(say("recycle_bin.in_future", day=f"{since}"))
    if (known := ctx.tx.recycle_bin.waiting_at(address)) is not None:
        raise UserError(say("recycle_bin.there_already", line=line_of(known, ctx.now, ctx.settings.zone), what=address))
    owner = living_owner(ctx, address)
    if owner is not None:
        raise UserError(say("recycle_bin.lives", address=address, owner=owner))
    entered_at = midnight(since)
    if deletion_of(entered_at, ctx.settings.bot_bin_days) <= ctx.now:
        raise UserError(say("recycle_bin.gone_already", what=address, days=ctx.settings.bot_bin_days))
    item = by_hand(ctx, address, admin, entered_at, None)
    return [Text(ctx.sender, lines(say("recycle_bin.added", what=address), deleted_words(item, ctx.settings.zone)))]


def living_owner(ctx: Context, address: str) -> str | None:
    """The name of an active member whose mailbox this is, as far as we know."""
    box = ctx.tx.mailboxes.at(address)
    member = ctx.tx.members.find(box.owner) if box is not None and box.owner is not None else None
    return member.name if member is not None and member.left_at is None else None


def by_hand(ctx: Context, address: str, admin: str, entered_at: datetime, deletes_at: datetime | None) -> BinItem:
    """A new entry that an admin types."""
    box = ctx.tx.mailboxes.at(address) or ctx.tx.mailboxes.last_at(address)
    mine = box is not None and box.address == address
    item = enter(
        ctx.tx, ctx.settings, source=BinSource.BY_HAND, known_from="typed", box=box if mine else None,
        address=address, added_by=admin, entered_at=entered_at, deletes_at=deletes_at,
    )  # fmt: skip
    if item is None:
        raise UserError(say("recycle_bin.busy", what=address))
    return item


@router.command(
    "bin date {address} {until:date}",
    "回收站 日期 {address} {until:date}",
    role="admin",
    topic="bin",
    example=("bin date ahing@ 2026-12-15", "回收站 日期 ahing@ 2026-12-15"),
)
def bin_date(ctx: Context, address: str, until: date) -> list[Reply]:
    """Tell me the day on which the console says that a mailbox is deleted."""
    admin = ctx.require_admin()
    today = ctx.now.astimezone(SHANGHAI).date()
    if not today < until <= today + DATE_DAYS_MAX * DAY:
        raise UserError(say("recycle_bin.date_wrong", day=f"{until}"))
    deletes_at = midnight(until)
    try:
        item = entry(ctx, address)
    except UserError:
        if "@" not in address:
            raise
        item = by_hand(ctx, ctx.directory.address(address), admin, ctx.now, deletes_at)
    if item.state is not BinState.WAITING and (
        item.state not in (BinState.LOST, BinState.LET_GO) or not ctx.tx.recycle_bin.reopen(item)
    ):
        raise UserError(closed_words(item, ctx.directory))
    before = item.deletes_at
    item.deletes_at, item.date_from, item.told_at = deletes_at, admin, ctx.now
    schedule(item, ctx.now, ctx.settings)
    ctx.tx.audit.add(
        admin, "bin.date", named(item), item=item.id, before=before.isoformat(), after=deletes_at.isoformat()
    )
    return [Text(ctx.sender, lines(say("recycle_bin.dated", what=named(item)), deleted_words(item, ctx.settings.zone)))]


@router.command(
    "bin let go {address}",
    "回收站 放弃 {address}",
    role="admin",
    topic="bin",
    example=("bin let go ahing@", "回收站 放弃 ahing@"),
)
def bin_let_go(ctx: Context, address: str) -> list[Reply]:
    """Nobody needs the mail of a mailbox in the bin: remind nobody of it any more."""
    admin = ctx.require_admin()
    return [Text(ctx.sender, let_go(ctx, waiting_entry(ctx, address), admin))]


def let_go(ctx: Context, item: BinItem, admin: str) -> Words:
    """Close an entry because an admin says so; UserError when somebody was faster."""
    if not ctx.tx.recycle_bin.close(item, BinState.LET_GO, by=admin):
        raise UserError(closed_words(item, ctx.directory))
    ctx.tx.audit.add(admin, "bin.let_go", named(item), item=item.id, deletes_at=item.deletes_at.isoformat())
    return say("recycle_bin.let_go", what=named(item), moment=moment_of(item), number=item.id)


@router.command(
    "bin done {address} assigned",
    "回收站 完成 {address} 已分配",
    role="admin",
    topic="bin",
    example=("bin done ahing@ assigned", "回收站 完成 ahing@ 已分配"),
)
def bin_done(ctx: Context, address: str) -> list[Reply]:
    """A mailbox of the bin was assigned to somebody: I look whether it is so, and stop reminding."""
    admin = ctx.require_admin()
    item = entry(ctx, address)
    if item.state not in (BinState.WAITING, BinState.LOST):
        raise UserError(closed_words(item, ctx.directory))
    if item.address is None:
        raise UserError(say("recycle_bin.left_address_unknown", number=item.id))
    ctx.start(ctx.tx.jobs.add("bin-check", asked_by=admin, params={"item": item.id, "address": item.address}))
    return []


@work.job("bin-check")
def check_assigned(job: JobContext) -> None:
    """Whose the address is now; only what is seen closes the entry. A "nobody" is no proof of anything."""
    address = str(job.params["address"])
    public: Mailbox | None = None
    try:
        owner = addresses.look_up(job, address, negative=CHECK_AGAIN)
        if owner is None:
            public = seen_public(job, address)
    except addresses.NoBudget:
        with job.begin() as step:
            step.say(Text(step.job.asked_by, say("addresses.no_budget", address=address)))
            step.tx.jobs.end(step.job, JobState.FAILED, error="no budget")
        return
    with job.begin() as step:
        asker = step.job.asked_by
        item = step.tx.recycle_bin.find(int(job.params["item"]))
        if item is not None:
            words = checked(step.tx, step.directory, item, asker, owner, public)
            step.say(Text(asker, words))
        step.tx.jobs.end(step.job, JobState.DONE)


def seen_public(job: JobContext, address: str) -> Mailbox | None:
    """The public mailbox it may have become, if the app can see it."""
    try:
        return addresses.find_public(job, address)
    except WeComError as error:
        log.warning("mail_api_refused", errcode=error.errcode)
        return None


def checked(
    tx: Transaction, directory: Directory, item: BinItem, asker: str, owner: str | None, public: Mailbox | None
) -> Words:
    """What a look-up means for an entry."""
    if owner is not None and owner != item.owner:
        seen: dict[str, object] = {"owner": owner}
    elif owner is None and public is not None and public.id != item.mailbox_id:
        seen = {"public": public.name or public.address}
    elif owner is not None:
        return say("recycle_bin.still_his", what=named(item), owner=directory.name(owner), typed=called(item))
    else:
        tx.audit.add(asker, "bin.not_assigned", named(item), item=item.id, seen="nobody")
        return say("recycle_bin.seen_by_nobody", what=named(item), moment=moment_of(item))
    evidence = {**seen, "seen_by": "look-up", "before": item.owner}
    if not tx.recycle_bin.close(
        item, BinState.ASSIGNED, by=asker, states=(BinState.WAITING, BinState.LOST), **evidence
    ):
        return closed_words(item, directory)
    tx.audit.add(asker, "bin.assigned", named(item), item=item.id, **evidence)
    return closed_words(item, directory)


@router.command(
    "bin address {number:int} {address}",
    "回收站 地址 {number:int} {address}",
    role="admin",
    topic="bin",
    example=("bin address 12 ahing@", "回收站 地址 12 ahing@"),
)
def bin_address(ctx: Context, number: int, address: str) -> list[Reply]:
    """Tell me whose address it was, of an entry whose address I never learnt."""
    admin = ctx.require_admin()
    item = waiting_entry(ctx, str(number))
    if item.address is not None:
        raise UserError(say("recycle_bin.address_is_known", number=item.id, address=item.address))
    address = ctx.directory.address(address)
    box = ctx.tx.mailboxes.last_at(address)
    mine = box is not None and item.owner is not None and box.owner == item.owner
    if not ctx.tx.recycle_bin.has_address(item, address, box.id if box is not None and mine else None):
        raise UserError(say("recycle_bin.busy", what=address))
    if box is not None and mine and box.ended_at is None:
        ctx.tx.mailboxes.ended(box)
    ctx.tx.audit.add(admin, "bin.address", address, item=item.id)
    told = say("recycle_bin.address_known", number=item.id, address=address)
    return [Text(ctx.sender, lines(told, deleted_words(item, ctx.settings.zone)))]


# --- reminders -------------------------------------------------------------------------------------------------------


@work.sweep("bin", SWEEP_EVERY)
def remind(sweep: SweepStep) -> None:
    """Tell whoever is to be told of what is due now; what is not due is not looked at."""
    due = sweep.tx.recycle_bin.take_due(count_max=DUE_MAX)
    if due:
        Morning(sweep, due).tell()


@dataclass
class Morning:
    """What is due at one moment, put together for each member who hears of it."""

    sweep: SweepStep
    due: Sequence[BinItem]
    items: dict[str, list[BinItem]] = field(default_factory=lambda: defaultdict(list))
    endings: dict[str, list[Words]] = field(default_factory=lambda: defaultdict(list))

    def tell(self) -> None:
        """Close what is over, remind of the rest, and say when each is due again."""
        self.close_what_is_over()
        waiting = [item for item in self.due if item.state is BinState.WAITING]
        for item in waiting:
            schedule(item, self.now, self.settings)
        reminded = [item for item in waiting if self.is_due(item) and self.is_time(item)]
        heard = {item.id: self.receivers(item, self.level(item)) for item in reminded}
        had = self.sweep.tx.recycle_bin.had_digest({each for all_ in heard.values() for each in all_}, self.day)
        for item in reminded:
            if had & set(heard[item.id]) and (later := self.tomorrow(item)) is not None:
                item.next_at = later
                continue
            for member in heard[item.id]:
                self.items[member].append(item)
            item.told_at = self.now
            if item.again_at is not None and item.again_at <= self.now:
                item.again_at, item.again_for = None, []
            schedule(item, self.now, self.settings)
        for item in self.due:
            if item.state is not BinState.WAITING:
                self.last_word(item)
        for member in sorted(self.items.keys() | self.endings.keys()):
            self.sweep.say(*self.digest(member))
        self.warn_of_missing_years()

    # what is known

    @property
    def now(self) -> datetime:
        return self.sweep.tx.now

    @property
    def settings(self) -> Settings:
        return self.sweep.services.settings

    @cached_property
    def directory(self) -> Directory:
        return Directory(self.sweep.tx, self.settings.exmail_domain)

    @cached_property
    def day(self) -> str:
        return f"{self.now.astimezone(self.settings.zone).date()}"

    def steps(self, item: BinItem) -> tuple[Step, ...]:
        return steps_of(item, self.settings)

    def level(self, item: BinItem) -> int | None:
        """How urgent it is now, as the days of the last reminder whose moment has come."""
        return urgency(self.steps(item), self.now)

    # what is over

    def close_what_is_over(self) -> None:
        """An entry ends with a complete backup, with another owner of the address, or with the deletion."""
        book = self.sweep.tx.recycle_bin
        waiting = [item for item in self.due if item.state is BinState.WAITING]
        backups = book.complete_backups({item.mailbox_id for item in waiting if item.mailbox_id is not None})
        owners = book.owners_since(waiting)
        for item in waiting:
            state, evidence = BinState.LOST, dict[str, Any]()
            if item.mailbox_id in backups:
                state, evidence = BinState.SAFE, {"job": backups[item.mailbox_id]}
            elif (box := owners.get(item.id)) is not None:
                seen = {"owner": box.owner} if box.owner is not None else {"public": box.name or box.address}
                state, evidence = BinState.ASSIGNED, {**seen, "seen_by": box.source}
            elif item.deletes_at > self.now:
                continue
            if book.close(item, state, by="bot", **evidence):
                self.sweep.tx.audit.add("bot", f"bin.{state}", named(item), item=item.id, **evidence)
                log.info("bin_closed", item=item.id, state=str(state))

    def last_word(self, item: BinItem) -> None:
        """How an entry ended, said in working hours."""
        speaks_at = may_speak_at(self.now, self.settings.zone, workdays())
        if speaks_at > self.now:
            item.next_at = speaks_at
            return
        for member in self.receivers(item, self.level(item)):
            self.endings[member].append(closed_words(item, self.directory))

    # who is told, and when

    def step_due(self, item: BinItem) -> bool:
        """Whether the moment of a reminder has come since somebody was last told."""
        return any(item.told_at < step.at <= self.now for step in self.steps(item))

    def is_due(self, item: BinItem) -> bool:
        """Whether there is anything to say; a new entry comes only to be scheduled."""
        return self.step_due(item) or (item.again_at is not None and item.again_at <= self.now)

    def is_time(self, item: BinItem) -> bool:
        """Whether it may be said now: in working hours, or when it would be too late by then."""
        level = self.level(item)
        any_day = level is not None and level <= ON_ITS_OWN_DAY
        speaks_at = may_speak_at(self.now, self.settings.zone, workdays(), any_day=any_day)
        if speaks_at <= self.now or speaks_at + ROOM_MIN > item.deletes_at:
            return True
        item.next_at = speaks_at
        return False

    def tomorrow(self, item: BinItem) -> datetime | None:
        """The next morning on which it may be said, unless that is too late."""
        day = self.now.astimezone(self.settings.zone).date() + DAY
        speaks_at = may_speak_at(morning(day, self.settings.zone), self.settings.zone, workdays())
        return speaks_at if speaks_at + ROOM_MIN <= item.deletes_at else None

    def receivers(self, item: BinItem, level: int | None) -> list[str]:
        """
        Who hears of it: the admin who looks after it, near the end his manager who had it, at last all admins.

        What nobody looks after is every admin's from the beginning. Between two reminders only who wanted to be told
        again.
        """
        if item.state is BinState.WAITING and not self.step_due(item):
            return list(item.again_for)
        found = self.keepers(item, level)
        if level is not None and level <= MANAGER_AT:
            found += self.managers(item)
        return list(dict.fromkeys([*found, *item.again_for]))

    def keepers(self, item: BinItem, level: int | None) -> list[str]:
        """The admins it belongs to."""
        admins = self.sweep.roles.admins
        alone = item.added_by in admins and (level is None or level > ADMINS_AT)
        return [str(item.added_by)] if alone else admins

    def managers(self, item: BinItem) -> list[str]:
        """The manager of who had it: as he was when it came into the bin, if he is still there."""
        if item.owner is None:
            return []
        known = self.sweep.tx.members.find(item.manager) if item.manager is not None else None
        if known is not None and known.left_at is None and known.status == ACTIVE:
            return [known.userid]
        return self.directory.managers(item.owner)[:1]

    # what is said

    def digest(self, member: str) -> list[Reply]:
        """A member's message of the day: how what is over ended, and what is deleted next."""
        tx, zone = self.sweep.tx, self.settings.zone
        replies: list[Reply] = []
        if ended := self.endings.get(member):
            replies.append(Text(member, lines(*ended)))
        items = sorted(self.items.get(member, []), key=lambda item: (item.deletes_at, item.id))
        if not items:
            return replies
        row = tx.recycle_bin.digest(member, self.day, [item.id for item in items])
        admin = member in self.sweep.roles.admins
        tx.audit.add("bot", "bin.reminded", member, items=[item.id for item in items], until=moment_of(items[0]))
        if admin and row is not None and len(items) <= CARD_ITEMS_MAX:
            return [*replies, card_of(row, items, self.now, zone)]
        listed = [line_of(item, self.now, zone) for item in items[:CARD_ITEMS_MAX]]
        head = say("recycle_bin.digest_text", count=len(items))
        todo = say("recycle_bin.commands") if admin else say("recycle_bin.ask_admin", admins=self.admin_names)
        if len(items) <= CARD_ITEMS_MAX:
            return [*replies, Text(member, lines(head, *listed, todo))]
        more = say("recycle_bin.rest_in_file", shown=CARD_ITEMS_MAX)
        return [*replies, Text(member, lines(head, *listed, more, todo)), file_of(member, items, self.now, zone)]

    @cached_property
    def admin_names(self) -> list[str]:
        return [self.directory.name(each) for each in self.sweep.roles.admins]

    def warn_of_missing_years(self) -> None:
        """Say once that the holidays of a year that matters now are not known."""
        today = self.now.astimezone(self.settings.zone).date()
        if may_speak_at(self.now, self.settings.zone, workdays()) > self.now:
            return
        for year in sorted({today.year, (today + 14 * DAY).year}):
            once = timedelta(days=400)
            if not workdays().knows(year) and self.sweep.tx.moments.first_within(f"holidays-{year}", once):
                log.warning("holidays_unknown", year=year)
                self.sweep.say(
                    *(Text(each, say("recycle_bin.holidays_unknown", year=year)) for each in self.sweep.roles.admins)
                )


# --- the card of the day ---------------------------------------------------------------------------------------------


def card_of(digest: BinDigest, items: Sequence[BinItem], now: datetime, zone: ZoneInfo) -> Card:
    """What is deleted next, to choose from and to answer."""
    first = items[0]
    title = (
        say("recycle_bin.card_one", what=named(first))
        if len(items) == 1
        else say("recycle_bin.card_many", count=len(items))
    )
    return Card(
        digest.member,
        f"bin-{digest.id}",
        title,
        note=say("recycle_bin.card_note"),
        rows=[
            (say("recycle_bin.row", day=f"{last_day(item.deletes_at, zone):%m-%d}"), row_of(item, now, zone))
            for item in items[:CARD_ROWS_MAX]
        ],
        buttons=buttons_of(digest),
        choices=[Choice(str(item.id), label_of(item, zone)) for item in items],
        choices_title=say("recycle_bin.choose"),
    )


def buttons_of(digest: BinDigest) -> list[Button]:
    """What can be done with the chosen one."""
    return [
        Button(f"bin_let_go:{digest.id}", say("recycle_bin.button_let_go"), style=2),
        Button(f"bin_later:{digest.id}", say("recycle_bin.button_later")),
    ]


def row_of(item: BinItem, now: datetime, zone: ZoneInfo) -> Words:
    """An entry as a row of the card."""
    return say("recycle_bin.row_value", what=named(item), left=when_words(item, now, zone))


def label_of(item: BinItem, zone: ZoneInfo) -> str:
    """An entry as an option: 16 characters are shown."""
    name = item.address.partition("@")[0] + "@" if item.address is not None else f"{item.owner}"
    return f"{name} {last_day(item.deletes_at, zone):%m-%d}"


@router.action("bin_let_go", role="admin")
def let_go_chosen(ctx: Context, digest_id: int) -> list[Reply]:
    """Let the chosen one go."""
    admin = ctx.require_admin()
    return answered(ctx, digest_id, lambda item: let_go(ctx, item, admin))


@router.action("bin_later", role="admin")
def later_chosen(ctx: Context, digest_id: int) -> list[Reply]:
    """Tell me of the chosen one again tomorrow."""
    return answered(ctx, digest_id, lambda item: put_off(ctx, item))


def put_off(ctx: Context, item: BinItem) -> Words:
    """The sender is told again on the next working morning; the other reminders stay as they are."""
    zone = ctx.settings.zone
    level = urgency(steps_of(item, ctx.settings), ctx.now)
    tomorrow = morning(ctx.now.astimezone(zone).date() + DAY, zone)
    any_day = level is not None and level <= ON_ITS_OWN_DAY
    again_at = may_speak_at(tomorrow, zone, workdays(), any_day=any_day)
    if again_at + ROOM_MIN > item.deletes_at:
        raise UserError(say("recycle_bin.no_tomorrow", what=named(item), moment=moment_of(item)))
    item.again_at = min(again_at, item.again_at or again_at)
    item.again_for = sorted({*item.again_for, ctx.sender})
    schedule(item, ctx.now, ctx.settings)
    ctx.tx.audit.add(ctx.sender, "bin.later", named(item), item=item.id, until=again_at.isoformat())
    return say("recycle_bin.later", what=named(item), moment=f"{again_at.astimezone(zone):%Y-%m-%d %H:%M}")


def answered(ctx: Context, digest_id: int, act: Callable[[BinItem], Words]) -> list[Reply]:
    """Do it with the chosen entry, say so, and redraw the card with those that are left."""
    digest = ctx.tx.recycle_bin.digest_of(digest_id)
    if digest is None or digest.member != ctx.sender:
        raise UserError(say("recycle_bin.choice_gone"))
    left = [str(each) for each in digest.items]
    chosen = next((each for options in ctx.selected.values() for each in options), None)
    if chosen is None and len(left) == 1:
        chosen = left[0]
    if chosen is None or chosen not in left:
        raise UserError(say("recycle_bin.choice_gone"))
    item = ctx.tx.recycle_bin.find(int(chosen))
    assert item is not None  # noqa: S101 (entries are never deleted)
    words = act(item) if item.state is BinState.WAITING else closed_words(item, ctx.directory)
    digest.items = [each for each in digest.items if each != item.id]
    ctx.tx.session.flush()
    items = ctx.tx.recycle_bin.still_waiting(digest.items)
    if items:
        card = card_of(digest, items, ctx.now, ctx.settings.zone)
    else:
        done = say("recycle_bin.card_done")
        card = Card(ctx.sender, f"bin-{digest.id}", done, done=done)
    return [Text(ctx.sender, words), *([CardUpdate(ctx.task_id, card)] if ctx.task_id is not None else [])]


# --- the list as a file ----------------------------------------------------------------------------------------------


COLUMNS = (
    "Number 编号", "Mailbox 邮箱", "Owner 原所有者", "Last day 最后一天", "Deleted at 删除时间", "Days 剩余天数",
    "How it came 来源", "How we know 依据",
)  # fmt: skip


def file_of(member: str, items: Sequence[BinItem], now: datetime, zone: ZoneInfo) -> File:
    """Entries as xlsx."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(
        buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    ) as book:
        sheet = book.add_worksheet("Recycle bin 回收站")
        sheet.write_row(0, 0, COLUMNS, book.add_format({"bold": True}))
        for row, item in enumerate(items, 1):
            last = last_day(item.deletes_at, zone)
            days = (last - now.astimezone(zone).date()).days
            sheet.write_row(
                row,
                0,
                (
                    item.id,
                    item.address or "?",
                    item.owner_name or item.owner or "",
                    f"{last}",
                    moment_of(item),
                    days,
                    str(item.source),
                    item.known_from,
                ),
            )
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(COLUMNS) - 1, 22)
    return File(member, f"recycle-bin-{now.astimezone(zone):%Y%m%d}.xlsx", buffer.getvalue())
