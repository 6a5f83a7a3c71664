"""
The address a renamed mailbox had before: an alias, one of five, that keeps a name from being used anew.

A job sleeps for 90 days, then asks whether it may go; it goes by `alias remove`, or stays for another 90 days.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bot.context import Context
from bot.errors import UserError
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers.address import aliases
from handlers.handovers.handover_card import day
from handlers.handovers.handovers import at_work
from storage.models import Job, JobState, Mailbox

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

KIND = "old_address"
REMIND_AFTER = timedelta(days=90)


def remind_later(step: JobStep, address: str, mailbox_id: int) -> datetime:
    """Ask in 90 days whether the old address is still needed; the day, one when people are at work."""
    for other in step.tx.jobs.waiting_or_due(KIND):
        if (other.params["address"], other.params["mailbox"]) == (address, mailbox_id):
            step.tx.jobs.end(other, JobState.CANCELLED)
    until = at_work(step.now + REMIND_AFTER, step.services.settings.zone)
    params = {"address": address, "mailbox": mailbox_id}
    job = step.tx.jobs.add(KIND, asked_by=step.job.asked_by, params=params, stage="wait")
    job.due_at = until
    return until


def still_kept(tx: Transaction, job: Job | JobContext) -> Mailbox | None:
    """The mailbox, if the address is still an alias of it."""
    box = tx.mailboxes.get(int(job.params["mailbox"]))
    return box if box.ended_at is None and job.params["address"] in box.aliases else None


@work.job(KIND)
def ask(job: JobContext) -> None:
    """The day has come: who renamed it is asked, or the admins when he is none any more."""
    with job.begin() as step:
        box = still_kept(step.tx, job)
        if box is None:
            step.tx.jobs.end(step.job, JobState.DONE)
            return
        address, zone = str(job.params["address"]), step.services.settings.zone
        asker, admins = step.job.asked_by, step.roles.admins
        words = say("old_address.reminder", address=address, mailbox=box.address, date=day(step.job.created_at, zone))
        how = say("old_address.how", address=address)
        for to in [asker] if asker in admins else admins:
            step.say(Text(to, lines(words, how)), card_of(step.job, to, box))
        step.tx.jobs.wait(step.job, "asked", expires_at=None)


def about(job: Job) -> str:
    """What the cards are about."""
    return f"old-address-{job.id}"


def card_of(job: Job, to: str, box: Mailbox, *, done: Words | None = None) -> Card:
    """The card with its two buttons."""
    return Card(
        to,
        about(job),
        say("old_address.card_title"),
        note=say("old_address.card_note", address=job.params["address"], mailbox=box.address),
        buttons=[
            Button(f"old_address_drop:{job.id}", say("old_address.button_drop"), style=2),
            Button(f"old_address_keep:{job.id}", say("old_address.button_keep")),
        ],
        done=done,
    )


def asked(ctx: Context, job_id: int) -> tuple[Job, Mailbox]:
    """The question of a card, if it is still one."""
    job = ctx.tx.jobs.find(job_id)
    box = still_kept(ctx.tx, job) if job is not None and job.kind == KIND else None
    if job is None or box is None or job.state is not JobState.WAITING:
        raise UserError(say("old_address.over"))
    return job, box


@router.action("old_address_drop", role="admin")
def drop(ctx: Context, job_id: int) -> list[Reply]:
    """Take the old address off, once that was confirmed."""
    job, box = asked(ctx, job_id)
    replies = put_away(ctx, job, box, say("old_address.mark_drop"))
    ctx.tx.jobs.end(job, JobState.DONE)
    return [*replies, *aliases.remove_address(ctx, str(job.params["address"]), box.address)]


@router.action("old_address_keep", role="admin")
def keep(ctx: Context, job_id: int) -> list[Reply]:
    """Ask again in 90 days."""
    job, box = asked(ctx, job_id)
    until = at_work(ctx.now + REMIND_AFTER, ctx.settings.zone)
    ctx.tx.jobs.wake(job, "wait", due_at=until)
    told = say("old_address.kept", address=job.params["address"], date=day(until, ctx.settings.zone))
    return [*put_away(ctx, job, box, say("old_address.mark_keep")), Text(ctx.sender, told)]


def put_away(ctx: Context, job: Job, box: Mailbox, done: Words) -> list[Reply]:
    """Every open card greyed."""
    return [
        CardUpdate(each.task_id, card_of(job, each.member, box, done=done))
        for each in ctx.tx.cards.open_about(about(job))
    ]
