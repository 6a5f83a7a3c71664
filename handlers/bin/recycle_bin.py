"""
The book of the recycle bin, so that nobody forgets what is deleted there for ever.

No API lists the bin. So an entry comes from a member who left, from what the bot or somebody here did, and by hand,
and says how we know. Its reminders (`bin_digest.py`) end only for a complete, verified backup, an assignment that a
look-up saw, or because a named admin lets it go.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from bot.context import Context
from bot.directory import Directory
from bot.errors import UserError
from bot.policy import Roles
from bot.replies import File, Reply, Text
from bot.router import Router
from bot.settings import Settings
from bot.words import Words, lines, say
from bot.work import Work
from bot.workdays import (
    DAY,
    Step,
    last_day,
    next_step,
    plan,
    workdays,
)
from handlers import addresses
from handlers.tables import table
from storage.answers import Seen
from storage.models import BinItem, BinSource, BinState, Job, Mailbox, Member

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

SHANGHAI = ZoneInfo("Asia/Shanghai")  # where Exmail counts its days
HELP_DAYS = 60  # what the console's help says of these; shown, never relied on
HELP_SOURCES = (BinSource.RECLAIMED, BinSource.REPLACED, BinSource.PUBLIC)
DUE_MAX = 20_000  # of one sweep; what is over waits for the next morning
DATE_DAYS_MAX = 366
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
        entered_at=entered_at, deletes_at=deletes_at or deletion_of(entered_at, days_kept(tx, source, settings)),
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


def days_kept(tx: Transaction, source: BinSource, settings: Settings) -> int:
    """How many days an entry lies there: fewer than assumed, where the console was seen to show fewer; never more."""
    seen = tx.answers.find(retention(source))
    days = int(seen.detail) if seen is not None and seen.detail.isdecimal() else settings.bot_bin_days
    return min(settings.bot_bin_days, max(1, days))


def retention(source: BinSource) -> str:
    """The question of how long the console keeps what came there in this way."""
    return f"retention:{source}"


def console_says(ctx: Context, item: BinItem) -> None:
    """
    The console's date for an entry whose moment of coming is known is an answer for all that come in that way.

    One by hand says nothing: nobody saw when it came.
    """
    if item.source is BinSource.BY_HAND:
        return
    days = days_in_bin(item)
    enough: Seen = "yes" if days >= ctx.settings.bot_bin_days else "no"
    ctx.tx.answers.saw(retention(item.source), enough, str(days))
    ctx.tx.answers.saw("retention", enough, f"{item.source}: {days}")
    if item.source is BinSource.PUBLIC:
        ctx.tx.answers.saw("public_bin", "yes", named(item))


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
    for member in gone:
        came_back(tx, member, since)
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


def came_back(tx: Transaction, member: Member, since: datetime) -> None:
    """
    Who leaves again had his mailbox back: it came out of the bin, so its days are counted anew.

    Only if it was seen to be his after it had come into the bin, and he may have left after that.
    """
    box = tx.mailboxes.of(member.userid)
    item = tx.recycle_bin.waiting_at(box.address) if box is not None else None
    if box is None or item is None or item.mailbox_id != box.id or box.confirmed_at is None:
        return
    if item.entered_at >= min(box.confirmed_at, since):
        return
    if tx.recycle_bin.close(item, BinState.ASSIGNED, by="bot", owner=member.userid, seen_by=box.source):
        tx.audit.add("bot", f"bin.{BinState.ASSIGNED}", named(item), item=item.id, **item.evidence)


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


def days_in_bin(item: BinItem) -> int:
    """How many days it lies there, as the console counts them."""
    return (item.deletes_at.astimezone(SHANGHAI).date() - item.entered_at.astimezone(SHANGHAI).date()).days


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


def rescue_words(job: Job, item: BinItem) -> Words:
    """That an entry is being rescued, and where that stands."""
    state = say(f"jobs.stage_{job.stage}")
    return say("recycle_bin.under_rescue", what=named(item), number=job.id, state=state)


def backup_words(tx: Transaction, item: BinItem) -> Words:
    """Which backups of it there are, as far as we know."""
    if (complete := tx.recycle_bin.complete_backups([item]).get(item.id)) is not None:
        return say("recycle_bin.backup_complete", job=complete)
    backups = tx.recycle_bin.backups_of(item.mailbox_id) if item.mailbox_id is not None else []
    once = next((job for job in tx.recycle_bin.rescues_of(item.id) if job.data.get("seen_once")), None)
    if once is not None:
        return say("recycle_bin.backup_by_console", job=once.id, target=once.data["target_address"])
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
        source_words(item, entered),
        say(f"recycle_bin.known_{item.known_from}", by=ctx.directory.name(item.added_by or "-")),
    ]
    if item.state is not BinState.WAITING:
        return [*found, closed_words(item, ctx.directory)]
    found.append(deleted_words(item, zone))
    if item.date_from is not None:
        found.append(say("recycle_bin.date_from", by=ctx.directory.name(item.date_from)))
    else:
        found.append(say("recycle_bin.date_counted", days=days_in_bin(item), number=item.id))
        seen = ctx.tx.answers.find(retention(item.source))
        if seen is not None:
            at = f"{seen.seen_at.astimezone(zone):%Y-%m-%d}"
            found.append(say("recycle_bin.console_showed", days=seen.detail, at=at))
        elif item.source in HELP_SOURCES:
            found.append(say("recycle_bin.help_says", days=HELP_DAYS))
    found.append(backup_words(ctx.tx, item))
    if (rescued := ctx.tx.recycle_bin.rescues().get(item.id)) is not None:
        found.append(rescue_words(rescued, item))
    step = next_step(steps_of(item, ctx.settings), ctx.now)
    if step is not None:
        found.append(say("recycle_bin.next_reminder", moment=f"{step.at.astimezone(zone):%Y-%m-%d %H:%M}"))
    if item.address is None:
        found.append(say("recycle_bin.left_address_unknown", number=item.id))
    return [*found, say("recycle_bin.what_to_do", what=called(item))]


def source_words(item: BinItem, day: str) -> Words:
    """How it came there; whose it was, if that is known."""
    owner = item.owner_name or item.owner
    if owner is None and item.source in (BinSource.BY_HAND, BinSource.PUBLIC):
        return say(f"recycle_bin.source_{item.source}_unknown", day=day)
    return say(f"recycle_bin.source_{item.source}", owner=owner or "?", day=day)


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
    deletes_at, known = midnight(until), "recycle_bin.dated"
    try:
        item = entry(ctx, address)
    except UserError:
        if "@" not in address:
            raise
        known = "recycle_bin.added_dated"
        item = by_hand(ctx, ctx.directory.address(address), admin, ctx.now, deletes_at)
    if item.state is not BinState.WAITING and (
        item.state not in (BinState.LOST, BinState.LET_GO) or not ctx.tx.recycle_bin.reopen(item)
    ):
        raise UserError(closed_words(item, ctx.directory))
    before = item.deletes_at
    item.deletes_at, item.date_from, item.told_at = deletes_at, admin, ctx.now
    console_says(ctx, item)
    schedule(item, ctx.now, ctx.settings)
    ctx.tx.audit.add(
        admin, "bin.date", named(item), item=item.id, before=before.isoformat(), after=deletes_at.isoformat()
    )
    return [Text(ctx.sender, lines(say(known, what=named(item)), deleted_words(item, ctx.settings.zone)))]


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


# --- the list as a file ----------------------------------------------------------------------------------------------


COLUMNS = (
    "Number 编号", "Mailbox 邮箱", "Owner 原所有者", "Last day 最后一天", "Deleted at 删除时间", "Days 剩余天数",
    "How it came 来源", "How we know 依据",
)  # fmt: skip


def file_of(member: str, items: Sequence[BinItem], now: datetime, zone: ZoneInfo) -> File:
    """Entries as xlsx."""
    today = now.astimezone(zone).date()
    rows = [
        (
            item.id, item.address or "?", item.owner_name or item.owner or "",
            f"{last_day(item.deletes_at, zone)}", moment_of(item), (last_day(item.deletes_at, zone) - today).days,
            str(item.source), item.known_from,
        )
        for item in items
    ]  # fmt: skip
    return table(member, f"recycle-bin-{today:%Y%m%d}", "Recycle bin 回收站", COLUMNS, rows)
