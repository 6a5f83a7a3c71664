"""
A member has another address than I knew, and nothing of ours did that: is it the same mailbox under another name?

The console renames a mailbox, or gives its member another one, and then the one he had lies in the recycle bin; a
look-up tells only whose an address is. So the admins are asked. Renamed: our row goes on under the new address, with
its backups and aliases. Another one, or no answer in three days: the old one is written into the book, so that nobody
forgets it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from bot.context import Context
from bot.errors import UserError
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import addresses
from handlers.address import alias_list, old_address, rename
from handlers.bin import convert, recycle_bin
from handlers.handovers.handover_card import day
from handlers.reassign import reassign_steps
from handlers.rescue import rescue_choice
from storage.models import BinSource, Job, JobState, Mailbox

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

KIND = "moved_address"
ANSWER_WITHIN = timedelta(days=3)  # the book counts thirty, and a card lives as long
SEEN_AT_MOST = timedelta(days=14)  # when it moved nobody knows; the reminders must not begin when all is over
OURS = (rename.KIND, reassign_steps.KIND, convert.KIND, rescue_choice.KIND)  # these see to it themselves


# --- noticed ---------------------------------------------------------------------------------------------------------


@addresses.when_moved
def moved(tx: Transaction, start: Callable[[Job], None], old: Mailbox, new: Mailbox) -> None:
    """A member was seen to have another mailbox; asked about unless a job of ours does it or the book has it."""
    for job in tx.jobs.waiting_or_due(KIND):
        if int(job.params["old"]) == new.id:  # it was a moment only: he has his mailbox again
            tx.jobs.put(job, new=None)
            tx.jobs.wake(job, "again")
            start(job)
            return
        if job.params["owner"] == old.owner and job.data.get("new") == old.id:  # moved on before anybody answered
            tx.jobs.put(job, new=new.id)
            tx.jobs.wake(job, "start")
            start(job)
            return
    if tx.recycle_bin.waiting_at(old.address) is not None or by_us(tx, old, new):
        return
    job = tx.jobs.add(KIND, asked_by="bot", params={"old": old.id, "owner": old.owner})
    tx.jobs.put(job, new=new.id, source_address=old.address)
    start(job)


def by_us(tx: Transaction, old: Mailbox, new: Mailbox) -> bool:
    """Whether an open job of ours moves one of the two, or gives the member another mailbox."""
    for kind in OURS:
        for job in tx.jobs.waiting_or_due(kind):
            source = job.params.get("source")
            named = {
                job.params.get("address"), job.params.get("target"), job.data.get("source_address"),
                job.data.get("displaced"), source.get("address") if isinstance(source, dict) else None,
            }  # fmt: skip
            if named & {old.address, new.address} or job.params.get("new_owner") == old.owner:
                return True
    return False


# --- asked -----------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage."""
    with job.begin() as step:
        {"start": ask, "same": same, "other": other, "again": over}[step.job.stage](step)


def both(tx: Transaction, job: Job) -> tuple[Mailbox, Mailbox]:
    """What he had, and what he has."""
    return tx.mailboxes.get(int(job.params["old"])), tx.mailboxes.get(int(job.data["new"]))


def ask(step: JobStep) -> None:
    """Every admin: in words, and on a card."""
    old, new = both(step.tx, step.job)
    name, number = step.directory.name(str(old.owner)), step.job.id
    settings = step.services.settings
    until = day(step.now + ANSWER_WITHIN, settings.zone)
    told = lines(
        say("moved_address.question", owner=name, old=old.address, new=new.address),
        say("moved_address.same", number=number, old=old.address),
        say("moved_address.other", number=number, old=old.address, days=settings.bot_bin_days),
        say("moved_address.unanswered", old=old.address, date=until),
    )
    step.say(*put_away(step.tx, step.job, say("moved_address.mark_over")))
    for admin in step.roles.admins:
        step.say(Text(admin, told), card_of(step.job, admin, old, new))
    step.tx.audit.add("bot", "mailbox.moved", new.address, job=number, former=old.address, owner=old.owner)
    step.tx.jobs.wait(step.job, "asked", expires_at=step.now + ANSWER_WITHIN)


def about(job: Job) -> str:
    """What the cards are about."""
    return f"moved-address-{job.id}"


def card_of(job: Job, to: str, old: Mailbox, new: Mailbox, *, done: Words | None = None) -> Card:
    """The card with its two buttons."""
    return Card(
        to,
        about(job),
        say("moved_address.card_title"),
        note=say("moved_address.card_note", old=old.address, new=new.address),
        buttons=[
            Button(f"moved_same:{job.id}", say("moved_address.button_same")),
            Button(f"moved_other:{job.id}", say("moved_address.button_other")),
        ],
        done=done,
    )


def put_away(tx: Transaction, job: Job, done: Words) -> list[Reply]:
    """Every open card greyed."""
    title = say("moved_address.card_title")
    return [
        CardUpdate(each.task_id, Card(each.member, about(job), title, done=done))
        for each in tx.cards.open_about(about(job))
    ]


# --- answered --------------------------------------------------------------------------------------------------------


@router.command(
    "same mailbox {job_id:int}", "同一邮箱 {job_id:int}", role="admin", topic="addresses",
    example=("same mailbox 12", "同一邮箱 12"),
)  # fmt: skip
@router.action("moved_same", role="admin")
def answer_same(ctx: Context, job_id: int) -> list[Reply]:
    """A member's new address is the same mailbox, renamed in the console: its backups and aliases go on."""
    return answered(ctx, job_id, "same")


@router.command(
    "other mailbox {job_id:int}", "另一邮箱 {job_id:int}", role="admin", topic="addresses",
    example=("other mailbox 12", "另一邮箱 12"),
)  # fmt: skip
@router.action("moved_other", role="admin")
def answer_other(ctx: Context, job_id: int) -> list[Reply]:
    """A member's new address is another mailbox: the one he had lies in the recycle bin."""
    return answered(ctx, job_id, "other")


def answered(ctx: Context, job_id: int, answer: str) -> list[Reply]:
    """An admin's word; UserError for who comes too late."""
    admin, job = ctx.require_admin(), ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    if job.state is not JobState.WAITING:
        raise UserError(say("moved_address.over", number=job_id))
    ctx.tx.jobs.put(job, by=admin)
    ctx.tx.jobs.wake(job, answer)
    ctx.start(job)
    return put_away(ctx.tx, job, say(f"moved_address.mark_{answer}"))


def same(step: JobStep) -> None:
    """Our row goes on under the new address; what was made of the new one meanwhile never was."""
    old, new = both(step.tx, step.job)
    former, address = old.address, new.address
    known = alias_list.known(old)
    step.tx.mailboxes.renamed(old, address)
    if known:  # the console keeps the former address as an alias
        step.tx.mailboxes.aliases_are(old, old.aliases)
    until = old_address.remind_later(step, former, old.id)
    step.tx.audit.add(by(step), "mailbox.same", address, job=step.job.id, former=former, owner=old.owner)
    words = say(
        "moved_address.is_same", old=former, new=address, date=day(until, step.services.settings.zone)
    )  # fmt: skip
    finish(step, words)


def other(step: JobStep) -> None:
    """What he had lies in the recycle bin: into the book, as from when it was last seen to be his."""
    old, new = both(step.tx, step.job)
    since = max(old.confirmed_at or step.now, step.job.created_at - SEEN_AT_MOST)
    admin = by(step) if step.job.data.get("by") else None
    item = recycle_bin.enter(
        step.tx, step.services.settings, source=BinSource.REPLACED, known_from="moved", box=old, added_by=admin,
        entered_at=min(since, step.job.created_at),
    ) or step.tx.recycle_bin.waiting_at(old.address)  # fmt: skip
    told = [say("moved_address.is_other" if admin else "moved_address.taken_as_other", old=old.address)]
    if item is not None:
        told.append(recycle_bin.deleted_words(item, step.services.settings.zone))
        told.append(say("moved_address.what_to_do", old=old.address))
    step.tx.audit.add(by(step), "mailbox.other", new.address, job=step.job.id, former=old.address, owner=old.owner)
    finish(step, lines(*told))


def by(step: JobStep) -> str:
    """Who answered."""
    return str(step.job.data.get("by") or "bot")


def over(step: JobStep) -> None:
    """He has the mailbox again that he had: nothing is to be answered any more."""
    old = step.tx.mailboxes.get(int(step.job.params["old"]))
    finish(step, say("moved_address.again", owner=step.directory.name(str(old.owner)), old=old.address))


def finish(step: JobStep, words: Words) -> None:
    """All who were asked hear what came of it."""
    step.say(*put_away(step.tx, step.job, say("moved_address.mark_over")))
    step.say(*(Text(admin, words) for admin in step.roles.admins))
    step.tx.jobs.end(step.job, JobState.DONE)


@work.sweep("moved-address", timedelta(minutes=10))
def unanswered(sweep: SweepStep) -> None:
    """Nobody has answered: what may lie in the bin is not forgotten."""
    for job in sweep.tx.jobs.waiting_or_due(KIND):
        if job.state is JobState.WAITING and job.expires_at is not None and job.expires_at <= sweep.tx.now:
            sweep.tx.jobs.wake(job, "other")
            sweep.start(job)
