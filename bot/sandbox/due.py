"""
What is due next, with its reason: read from the bot's own rows and from the simulated console's recycle bin.

Nothing here decides when something happens: the rows say that. `everything` puts it into words; `behind` tells whether
the bot has still to do what its rows say is due, so that the clock can wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select

from bot.directory import Directory
from bot.dispatcher import roles
from bot.sandbox.organisation import BIN_DAYS
from bot.sandbox.people import BinItem as ConsoleItem
from bot.words import LANGUAGES, Words, from_json, lines, say
from bot.work import SweepStep
from bot.workdays import DAY, ON_ITS_OWN_DAY, REMIND_DAYS, last_day, workdays
from handlers import jobs
from handlers.approvals.approval_card import question_of
from handlers.approvals.approval_reminders import GREY_AFTER
from handlers.bin import recycle_bin
from handlers.copying import job_words
from handlers.handovers import handover_card, handovers
from handlers.rescue import bin_digest
from storage.approvals import CARD_ABOUT, EXPIRES_AFTER
from storage.links import LINK_LIFE
from storage.models import (
    Approval,
    ApprovalStatus,
    BinItem,
    BinState,
    Delivery,
    DeliveryState,
    Handover,
    InboxMessage,
    InboxState,
    Job,
    JobState,
    OneTimeLink,
    OverrideState,
)

if TYPE_CHECKING:
    from bot.app import Bot
    from storage.store import Transaction

KIND_MAX = 500  # rows of one kind that are looked at


class Kind(StrEnum):
    """What sort of thing happens."""

    REMINDER = "reminder"  # the bot reminds somebody of the bin
    LAST_WORD = "last_word"  # the bot says how an entry of the book ended
    DELETION = "deletion"  # the console deletes a mailbox, or the book counts so
    LOOK = "look"  # the bot looks whether a console step is done
    HANDOVER = "handover"  # a console step is reminded of, or runs out
    APPROVAL = "approval"
    JOB = "job"
    LINK = "link"
    MESSAGE = "message"


@dataclass(frozen=True)
class Due:
    """
    Something that comes by itself at a moment, or waits for a person without an end (`at` is None).

    `reminds`: the bot speaks to somebody to remind him. `stops`: a walk of the clock stops here, because what the bot
    then says or does would be another thing later.
    """

    at: datetime | None
    kind: Kind
    about: str  # such as "bin 3", "handover 7", or the console's address
    what: Words
    why: Words
    reminds: bool = False
    stops: bool = False

    def shown(self) -> dict[str, Any]:
        """As JSON, in both languages."""
        return {
            "at": None if self.at is None else self.at.isoformat(),
            "kind": str(self.kind),
            "about": self.about,
            "reminds": self.reminds,
            "what": {language: self.what.text(language) for language in LANGUAGES},
            "why": {language: self.why.text(language) for language in LANGUAGES},
        }


def everything(bot: Bot | None, console: Sequence[ConsoleItem]) -> list[Due]:
    """All that is to come, the next first, what has no moment last. `console` is what waits in the simulated bin."""
    found = [*deletions(console, {})]
    if bot is not None:
        with bot.store.begin() as tx:
            found = list(Reader(bot, tx, console).all())
    return sorted(found, key=lambda due: (due.at is None, due.at.timestamp() if due.at is not None else 0, due.about))


def behind(bot: Bot) -> bool:
    """Whether something is due now that the bot has not done yet, or is doing."""
    if bot.workflows.at_work():
        return True
    with bot.store.begin() as tx:
        now = tx.now
        waiting = (
            select(InboxMessage.id).where(InboxMessage.state == InboxState.NEW, InboxMessage.due_at <= now),
            select(Job.id).where(Job.state == JobState.DUE, Job.due_at <= now),
            select(Job.id).where(Job.state == JobState.WAITING, Job.expires_at <= now),
            select(BinItem.id).where(BinItem.next_at <= now),
            select(Approval.id).where(Approval.status == ApprovalStatus.PENDING, Approval.expires_at <= now),
        )
        return (
            any(tx.session.scalar(query.limit(1)) is not None for query in waiting)
            or bool(tx.deliveries.due(settled_seconds=0, count_max=1))
            or bool(tx.handovers.due(count_max=1))
            or bool(tx.approvals.to_remind())
            or bool(tx.approvals.with_old_cards(GREY_AFTER))
            or any(each.due_at <= now for each in tx.overrides.running())
        )


def deletions(console: Sequence[ConsoleItem], book: dict[str, BinItem]) -> Iterator[Due]:
    """What the simulated console deletes, and whether the bot's book knows."""
    for item in console:
        entry = book.get(item.address)
        why = say(f"sandbox.console_days_{item.source}", days=BIN_DAYS[item.source])
        if entry is None:
            known = say("sandbox.book_lacks")
        elif entry.deletes_at == item.deletes_at:
            known = say("sandbox.book_says")
        else:
            known = say("sandbox.book_says_other", moment=recycle_bin.moment_of(entry))
        what = say("sandbox.deletion", what=item.address)
        yield Due(item.deletes_at, Kind.DELETION, item.address, what, lines(why, known), stops=True)


@dataclass
class Reader:
    """Reads the bot's rows in one transaction."""

    bot: Bot
    tx: Transaction
    console: Sequence[ConsoleItem]
    book: dict[str, BinItem] = field(default_factory=dict)

    def all(self) -> Iterator[Due]:
        """Everything, in no order."""
        yield from self.bin_entries()
        yield from deletions(self.console, self.book)
        yield from self.handovers()
        yield from self.approvals()
        yield from self.jobs()
        yield from self.links()
        yield from self.messages()

    @property
    def zone(self) -> ZoneInfo:
        return self.bot.settings.zone

    @cached_property
    def directory(self) -> Directory:
        return Directory(self.tx, self.bot.settings.exmail_domain)

    def names(self, userids: Sequence[str]) -> list[str]:
        return [self.directory.name(each) for each in userids]

    # the recycle bin

    def bin_entries(self) -> Iterator[Due]:
        """Reminders of what waits, the deletion as the book counts it, last words."""
        for item in self.tx.recycle_bin.waiting(count_max=KIND_MAX):
            if item.address is not None:
                self.book[item.address] = item
            yield from self.reminders(item)
            if all(each.address != item.address or each.deletes_at != item.deletes_at for each in self.console):
                yield self.book_deadline(item)
        over = select(BinItem).where(BinItem.state != BinState.WAITING, BinItem.next_at.is_not(None))
        for item in self.tx.session.scalars(over.order_by(BinItem.next_at).limit(KIND_MAX)):
            what = say("sandbox.bin_last_word", what=recycle_bin.named(item))
            why = say("sandbox.why_last_word")
            yield Due(item.next_at, Kind.LAST_WORD, f"bin {item.id}", what, why, reminds=True, stops=True)

    def reminders(self, item: BinItem) -> Iterator[Due]:
        """Each reminder of an entry that is still to come."""
        step = SweepStep(self.tx, self.bot.services, roles(self.tx, self.bot.settings))
        morning = bin_digest.Morning(step, [item])
        last = last_day(item.deletes_at, self.zone)
        reasons = why_reminded(last)
        for each in recycle_bin.steps_of(item, self.bot.settings):
            if each.at <= self.tx.now:
                continue
            told = morning.keepers(item, each.days)
            if each.days <= bin_digest.MANAGER_AT:
                told = list(dict.fromkeys([*told, *morning.managers(item)]))
            named, members = recycle_bin.named(item), self.names(told)
            what = say("sandbox.bin_reminder", what=named, members=members, last=f"{last}")
            because = lines(*reasons[each.at.astimezone(self.zone).date()])
            yield Due(each.at, Kind.REMINDER, f"bin {item.id}", what, because, reminds=True, stops=True)
        if item.again_at is not None and item.again_at > self.tx.now:
            what = say("sandbox.bin_again", what=recycle_bin.named(item), members=self.names(item.again_for))
            why = say("sandbox.why_again")
            yield Due(item.again_at, Kind.REMINDER, f"bin {item.id}", what, why, reminds=True, stops=True)

    def book_deadline(self, item: BinItem) -> Due:
        """The deletion as the bot counts it, where the console has another day or nothing."""
        if item.date_from is not None:
            why = say("sandbox.why_dated", by=self.directory.name(item.date_from))
        else:
            why = say("sandbox.why_counted", days=(item.deletes_at - item.entered_at + DAY).days)
        what = say("sandbox.book_deadline", what=recycle_bin.named(item))
        return Due(item.deletes_at, Kind.DELETION, f"bin {item.id}", what, why, stops=True)

    # console steps and questions

    def handovers(self) -> Iterator[Due]:
        """Looks, reminders and ends of console steps that wait."""
        for each in self.tx.handovers.open_ones()[:KIND_MAX]:
            yield from self.handover(each)

    def handover(self, handover: Handover) -> Iterator[Due]:
        """The next look, the next reminder, the end."""
        about, title = handover_card.about(handover).replace("-", " "), from_json(handover.title)
        poll = self.tx.session.get_one(Job, handover.check_job_id)
        if poll.state is JobState.DUE:
            look = say("sandbox.handover_look", number=handover.id, title=title)
            yield Due(poll.due_at, Kind.LOOK, about, look, say("sandbox.why_look", polls=handover.polls))
        if handover.remind_at < handover.deadline_at:
            name = self.directory.name(handover.asked_of)
            what = say("sandbox.handover_reminder", number=handover.id, name=name, title=title)
            why = say("sandbox.why_handover_reminder")
            yield Due(handover.remind_at, Kind.HANDOVER, about, what, why, reminds=True, stops=True)
        what = say("sandbox.handover_end", number=handover.id, title=title)
        why = say("sandbox.why_handover_end", job=handover.job_id)
        yield Due(handover.deadline_at, Kind.HANDOVER, about, what, why, stops=True)

    def approvals(self) -> Iterator[Due]:
        """Reminders, cards that grow too old, and the end of each question."""
        pending = select(Approval).where(Approval.status == ApprovalStatus.PENDING, Approval.expires_at > self.tx.now)
        for approval in self.tx.session.scalars(pending.order_by(Approval.expires_at).limit(KIND_MAX)):
            about = f"approval {approval.id}"
            if approval.remind_at is not None and approval.remind_at < approval.expires_at:
                what = say("sandbox.approval_reminder", number=approval.id, members=self.names(approval.approvers))
                why = say("sandbox.why_approval_reminder")
                yield Due(approval.remind_at, Kind.APPROVAL, about, what, why, reminds=True, stops=True)
            for card in self.tx.cards.open_about(f"{CARD_ABOUT}{approval.id}"):
                name, at = self.directory.name(card.member), card.created_at + GREY_AFTER
                what = say("sandbox.approval_greyed", number=approval.id, name=name)
                why = say("sandbox.why_approval_greyed")
                if at < approval.expires_at and approval.remind_at is not None and at < approval.remind_at:
                    yield Due(at, Kind.APPROVAL, about, what, why, stops=True)
            row = self.tx.overrides.of(approval.id)
            if row is not None and row.state is OverrideState.RUNNING:
                what = say("sandbox.override", number=approval.id, name=self.directory.name(row.made_by))
                yield Due(row.due_at, Kind.APPROVAL, about, what, say("sandbox.why_override"), stops=True)
            what = say("sandbox.approval_end", number=approval.id, question=question_of(approval))
            members = self.names(approval.approvers)
            why = say("sandbox.why_approval_end", days=EXPIRES_AFTER.days, members=members)
            yield Due(approval.expires_at, Kind.APPROVAL, about, what, why, stops=True)

    # jobs, pages, messages

    def jobs(self) -> Iterator[Due]:
        """Jobs that wait for somebody, and those that go on by themselves later."""
        waits = or_(Job.state == JobState.WAITING, (Job.state == JobState.DUE) & (Job.due_at > self.tx.now))
        shown = select(Job).where(waits, Job.kind != handovers.KIND)
        for job in self.tx.session.scalars(shown.order_by(Job.id).limit(KIND_MAX)):
            words, about = self.job(job), f"job {job.id}"
            if job.state is JobState.WAITING:
                why = say("sandbox.why_job_waits" if job.expires_at is not None else "sandbox.why_job_waits_on")
                what = say("sandbox.job_waits", job=words)
                yield Due(job.expires_at, Kind.JOB, about, what, why, stops=True)
            else:
                again = say("sandbox.why_job_again", error=job.error) if job.error else say("sandbox.why_job_later")
                yield Due(job.due_at, Kind.JOB, about, say("sandbox.job_goes_on", job=words), again)

    def job(self, job: Job) -> Words:
        """What to call a job."""
        if job.kind in jobs.shown_kinds():
            return job_words.line_of(job)
        return say("sandbox.job_other", number=job.id, kind=job.kind)

    def links(self) -> Iterator[Due]:
        """One-time pages that can still be used."""
        alive = select(OneTimeLink).where(OneTimeLink.spent_at.is_(None), OneTimeLink.expires_at > self.tx.now)
        for link in self.tx.session.scalars(alive.order_by(OneTimeLink.expires_at).limit(KIND_MAX)):
            what = say("sandbox.link_ends", name=self.directory.name(link.member), job=link.job_id)
            why = say("sandbox.why_link_ends", minutes=int(LINK_LIFE / timedelta(minutes=1)))
            yield Due(link.expires_at, Kind.LINK, f"job {link.job_id}", what, why)

    def messages(self) -> Iterator[Due]:
        """What waits because WeCom lets only so much through."""
        later = (
            select(Delivery.receiver, func.max(Delivery.due_at), func.count())
            .where(Delivery.state == DeliveryState.WAITING)
            .group_by(Delivery.receiver)
            .having(func.max(Delivery.due_at) > self.tx.now)
        )
        for receiver, at, count in self.tx.session.execute(later):
            what = say("sandbox.messages_wait", name=self.directory.name(receiver), count=count)
            yield Due(at, Kind.MESSAGE, f"messages {receiver}", what, say("sandbox.why_messages_wait"))


def why_reminded(last: date) -> dict[date, list[Words]]:
    """For each day on which there is a reminder of a last day, which ones fall on it and why there."""
    days, found, moved = workdays(), dict[date, list[Words]](), dict[tuple[date, str], list[Words]]()
    for before in REMIND_DAYS:
        own = last - before * DAY
        when = when_words(before)
        works = days.at_or_before(own)
        off = "holiday" if days.is_holiday(own) else "weekend"
        if works == own:
            found.setdefault(own, []).append(say("sandbox.on_its_day", when=when))
            continue
        moved.setdefault((works, off), []).append(say("sandbox.which_own", when=when, own=f"{own}"))
        if before <= ON_ITS_OWN_DAY:
            found.setdefault(own, []).append(say(f"sandbox.although_{off}", when=when))
    for (day, off), which in moved.items():
        found.setdefault(day, []).append(say(f"sandbox.moved_{off}", which=which))
    for day, reasons in found.items():
        if not days.knows(day.year):
            reasons.append(say("sandbox.year_unknown", year=day.year))
    return found


def when_words(before: int) -> Words:
    """How far before the last day a reminder is meant to come."""
    if before == 0:
        return say("sandbox.last_morning")
    return say("sandbox.day_before") if before == 1 else say("sandbox.days_before", days=before)
