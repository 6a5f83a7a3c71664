"""
After a rescue: what becomes of the public mailbox that was made for it, once its copy is complete.

It takes a slot and receives mail. It is left as it is, given to a member (by `reassign`, with a deletion in between,
for only what lies in the bin can be assigned), or deleted (`deletion`, two admins).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.context import Context, Missing
from bot.errors import UserError
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobStep, Work
from handlers.bin import deletion
from handlers.reassign import reassign
from handlers.rescue.rescue_choice import KIND, entry_of, known_job
from storage.jobs import OPEN
from storage.models import Job, Mailbox, MailboxKind

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()


# --- asked ------------------------------------------------------------------------------------------------------------


def offer(step: JobStep) -> list[Reply]:
    """What can become of it, in words and as a card."""
    job = step.job
    return [Text(job.asked_by, choices(job)), card_of(job)]


def choices(job: Job) -> Words:
    """The three choices, with what to type."""
    values = {"address": job.data["source_address"], "number": job.id}
    return lines(
        say("aftermath.what_now", **values), say("aftermath.can_leave", **values),
        say("aftermath.can_assign", **values), say("aftermath.can_delete", **values),
    )  # fmt: skip


def about(job_id: int) -> str:
    """What the card is about."""
    return f"after-{job_id}"


def card_of(job: Job) -> Card:
    """The card with a button for each choice."""
    return Card(
        job.asked_by,
        about(job.id),
        say("aftermath.card_title", number=job.id),
        note=say("aftermath.card_note", address=job.data["source_address"]),
        rows=[(say("aftermath.row_copy"), str(job.data["target_address"]))],
        buttons=[
            Button(f"after_leave:{job.id}", say("aftermath.button_leave")),
            Button(f"after_assign:{job.id}", say("aftermath.button_assign")),
            Button(f"after_delete:{job.id}", say("aftermath.button_delete"), style=2),
        ],
    )


def put_away(tx: Transaction, job: Job, done: Words) -> list[Reply]:
    """Every open card greyed."""
    title = say("aftermath.card_title", number=job.id)
    return [
        CardUpdate(each.task_id, Card(each.member, about(job.id), title, done=done))
        for each in tx.cards.open_about(about(job.id))
    ]


def details(tx: Transaction, job: Job) -> list[Words]:
    """What `job 12` says of it: that it is still to be decided."""
    if job.kind != KIND or job.state in OPEN or not job.data.get("outcome"):
        return []
    undecided = job.data.get("ending") == "done" and not job.data.get("after") and made_public(tx, job) is not None
    return [choices(job)] if undecided else []


# --- chosen -----------------------------------------------------------------------------------------------------------


def made_public(tx: Transaction, job: Job) -> Mailbox | None:
    """The public mailbox that a rescue made, while it is one."""
    box = tx.mailboxes.get(int(job.data["source"])) if job.data.get("converted_at") else None
    return box if box is not None and box.kind is MailboxKind.PUBLIC and box.ended_at is None else None


def decidable(ctx: Context, job_id: int) -> tuple[Job, Job, Mailbox]:
    """A rescue that is over, its backup and its public mailbox; UserError while anything is under way."""
    job = known_job(ctx, job_id)
    address = job.data["source_address"]
    if job.state in OPEN or job.data.get("ending") != "done":
        raise UserError(say("aftermath.not_safe_yet", number=job_id, address=address))
    if (box := made_public(ctx.tx, job)) is None:
        raise UserError(say("aftermath.not_public", address=address))
    backup = ctx.tx.jobs.get(int(job.data["backup"]))
    others = ctx.tx.jobs.open_on([box.id], addresses=[str(address)])
    if others:
        raise UserError(say("aftermath.under_way", address=address, other=others[0].id))
    return job, backup, box


def decided(ctx: Context, job: Job, choice: str) -> list[Reply]:
    """Write the choice down, and grey the card."""
    ctx.tx.jobs.put(job, after={"choice": choice, "by": ctx.sender})
    ctx.tx.audit.add(ctx.sender, f"aftermath.{choice}", str(job.data["source_address"]), job=job.id)
    return put_away(ctx.tx, job, say(f"aftermath.mark_{choice}"))


@router.command(
    "after {job_id:int} leave", "善后 {job_id:int} 保留", role="admin", topic="bin",
    example=("after 12 leave", "善后 12 保留"),
)  # fmt: skip
@router.action("after_leave", role="admin")
def after_leave(ctx: Context, job_id: int) -> list[Reply]:
    """After a rescue: the mailbox stays a public one."""
    job, _, box = decidable(ctx, job_id)
    told = Text(ctx.sender, say("aftermath.left", address=box.address, number=job_id))
    return [*decided(ctx, job, "leave"), told]


@router.command(
    "after {job_id:int} assign [to] {member}", "善后 {job_id:int} 分配 [给] {member}", role="admin", topic="bin",
    example=("after 12 assign calvin", "善后 12 分配 calvin"),
)  # fmt: skip
@router.action("after_assign", role="admin")
def after_assign(ctx: Context, job_id: int, member: str | None = None) -> list[Reply]:
    """After a rescue: the mailbox is given to a member, once the manager of who had it agrees."""
    job, backup, box = decidable(ctx, job_id)
    if member is None:
        words = say("recycle_bin.to_whom", address=box.address)
        raise Missing("member", words, command="after_assign", known={"job_id": job_id})
    still_whole(backup, box)
    new_owner = ctx.directory.member(member)
    owner = entry_of(ctx.tx, job.data).owner
    replies = reassign.give_public(ctx, box, owner, new_owner, reason_of(ctx, job))
    return [*decided(ctx, job, "assign"), *replies]


@router.command(
    "after {job_id:int} delete", "善后 {job_id:int} 删除", role="admin", topic="bin",
    example=("after 12 delete", "善后 12 删除"),
)  # fmt: skip
@router.action("after_delete", role="admin")
def after_delete(ctx: Context, job_id: int) -> list[Reply]:
    """After a rescue: the public mailbox is deleted, once another admin agrees and its copy was compared again."""
    job, backup, box = decidable(ctx, job_id)
    still_whole(backup, box)
    begun = deletion.begin(ctx, job, backup, reason_of(ctx, job))
    return [
        *decided(ctx, job, "delete"), Text(ctx.sender, say("deletion.looking", address=box.address, number=begun.id))
    ]  # fmt: skip


def reason_of(ctx: Context, job: Job) -> str:
    """The reason that people are shown: what the rescue was for."""
    return say("aftermath.reason", number=job.id, reason=job.data["reason"]).text(ctx.language)


def still_whole(backup: Job, box: Mailbox) -> None:
    """UserError unless its copy is complete and was compared."""
    if not deletion.whole(backup) or backup.data.get("source") != box.id:
        raise UserError(say("deletion.not_saved", address=box.address, backup=backup.id))
