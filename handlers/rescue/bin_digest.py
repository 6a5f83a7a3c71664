"""
The reminders of the recycle bin: one digest a person a day, and what can be done from its card.

Who is reminded of what is worked out anew from an entry whenever its moment comes: after an outage one message goes
out, the right one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from bot.context import Context, Missing
from bot.directory import ACTIVE, Directory
from bot.errors import UserError
from bot.replies import Button, Card, CardUpdate, Choice, Reply, Text
from bot.router import Router
from bot.settings import Settings
from bot.words import Words, lines, say
from bot.work import SweepStep, Work
from bot.workdays import (
    DAY,
    ON_ITS_OWN_DAY,
    ROOM_MIN,
    Step,
    last_day,
    may_speak_at,
    morning,
    urgency,
    workdays,
)
from handlers.bin.recycle_bin import (
    DUE_MAX,
    closed_words,
    file_of,
    let_go,
    line_of,
    moment_of,
    named,
    rescue_words,
    schedule,
    steps_of,
    when_words,
)
from handlers.rescue import rescue
from storage.models import BinDigest, BinItem, BinState, Job

log = structlog.get_logger()
router = Router()
work = Work()

MANAGER_AT, ADMINS_AT = 3, 1  # days before the last day
SWEEP_EVERY = timedelta(minutes=1)
CARD_ITEMS_MAX = 10  # options of a selector
CARD_ROWS_MAX = 6


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
                item.next_at = min(later, item.next_at or later)  # a reminder of a day between comes on its day
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
    def rescues(self) -> dict[int, Job]:
        """What is being rescued now, by the entry's id."""
        return self.sweep.tx.recycle_bin.rescues()

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
        backups = book.complete_backups(waiting)
        owners = book.owners_since(waiting)
        for item in waiting:
            rescued = self.rescues.get(item.id)
            converted = rescued is not None and bool(rescued.data.get("converted_at"))
            state, evidence = BinState.LOST, dict[str, Any]()
            if item.id in backups:
                state, evidence = BinState.SAFE, {"job": backups[item.id]}
            elif (box := owners.get(item.id)) is not None and (
                rescued is None or box.owner is not None or item.deletes_at <= self.now
            ):
                seen = {"owner": box.owner} if box.owner is not None else {"public": box.name or box.address}
                state, evidence = BinState.ASSIGNED, {**seen, "seen_by": box.source}
            elif item.deletes_at > self.now:
                continue
            elif converted:  # it left the bin in time; only the copy is not complete
                state, evidence = BinState.ASSIGNED, {"public": item.address, "seen_by": "rescue"}
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
            self.endings[member].append(self.ending_for(member, item))

    def ending_for(self, member: str, item: BinItem) -> Words:
        """How an entry ended; who is no admin is told whom to tell, not what to type."""
        if item.state is BinState.LOST and member not in self.sweep.roles.admins:
            moment = moment_of(item)
            return say("recycle_bin.is_lost_for_manager", what=named(item), moment=moment, admins=self.admin_names)
        return closed_words(item, self.directory)

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
        stand = [rescue_words(self.rescues[item.id], item) for item in items if item.id in self.rescues]
        if stand:
            replies.append(Text(member, lines(*stand[:CARD_ITEMS_MAX])))
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
        Button(f"bin_rescue:{digest.id}", say("recycle_bin.button_rescue")),
        Button(f"bin_reassign:{digest.id}", say("recycle_bin.button_reassign")),
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


@router.action("bin_rescue", role="admin")
def rescue_chosen(ctx: Context, digest_id: int) -> list[Reply]:
    """Back up the chosen one: the same as `rescue`, which asks for what it misses."""
    item = chosen_item(ctx, digest_id)
    return rescue.begin(ctx, with_address(item), None, None)


@router.action("bin_reassign", role="admin")
def reassign_chosen(ctx: Context, digest_id: int) -> list[Reply]:
    """Give the chosen one to a member: to whom, and then the same as `reassign`."""
    address = str(with_address(chosen_item(ctx, digest_id)).address)
    words = say("recycle_bin.to_whom", address=address)
    raise Missing("member", words, command="request_reassign", known={"source": address})


def with_address(item: BinItem) -> BinItem:
    """An entry that waits and whose address is known; UserError otherwise."""
    if item.address is None:
        raise UserError(say("recycle_bin.left_address_unknown", number=item.id))
    return item


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


def the_digest(ctx: Context, digest_id: int) -> BinDigest:
    """The sender's digest; UserError when it is not his."""
    digest = ctx.tx.recycle_bin.digest_of(digest_id)
    if digest is None or digest.member != ctx.sender:
        raise UserError(say("recycle_bin.choice_gone"))
    return digest


def chosen_of(ctx: Context, digest_id: int) -> BinItem:
    """The entry that was chosen on the card, or the only one left."""
    left = [str(each) for each in the_digest(ctx, digest_id).items]
    chosen = next((each for options in ctx.selected.values() for each in options), None)
    if chosen is None and len(left) == 1:
        chosen = left[0]
    if chosen is None or chosen not in left:
        raise UserError(say("recycle_bin.choice_gone"))
    item = ctx.tx.recycle_bin.find(int(chosen))
    assert item is not None  # noqa: S101 (entries are never deleted)
    return item


def chosen_item(ctx: Context, digest_id: int) -> BinItem:
    """The chosen entry, which must still wait."""
    item = chosen_of(ctx, digest_id)
    if item.state is not BinState.WAITING:
        raise UserError(closed_words(item, ctx.directory))
    return item


def answered(ctx: Context, digest_id: int, act: Callable[[BinItem], Words]) -> list[Reply]:
    """Do it with the chosen entry, say so, and redraw the card with those that are left."""
    digest, item = the_digest(ctx, digest_id), chosen_of(ctx, digest_id)
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
