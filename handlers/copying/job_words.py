"""How a job stands, in words: where it is, whom it waits for, and what to type next. Rows in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from bot.context import Context
from bot.policy import Role
from bot.words import Words, from_json, say
from handlers.copying.access import page_for, refused_sides
from handlers.copying.copying import OPENING_KINDS, mintable, sides_of
from storage import handovers
from storage.jobs import OPEN
from storage.links import LINK_LIFE
from storage.models import Job, JobState, Mailbox

LATER = timedelta(minutes=1)  # due later than that: it waits for a moment, it is not at work


def state_of(job: Job) -> Words:
    """Where a job stands, in a few words."""
    if job.state in OPEN:
        return say(f"jobs.stage_{job.stage}")
    return say(f"jobs.ended_{job.data.get('ending', 'failed')}")


def line_of(job: Job) -> Words:
    """A job in one line."""
    if job.data.get("title"):  # a change, which has no target
        return say("jobs.line_of_change", number=job.id, what=from_json(job.data["title"]), state=state_of(job))
    return say(
        "jobs.line", number=job.id, what=say(f"jobs.kind_{job.kind}"), state=state_of(job),
        source=job.data.get("source_address", job.params.get("source", {}).get("address") or "?"),
        target=job.data.get("target_address", "?"),
    )  # fmt: skip


def waits_for(ctx: Context, job: Job) -> list[Words]:
    """Whom or what an open job waits for, and what to type: an admin's commands to admins only."""
    told = [*answers(ctx, job), *console_steps(ctx, job)]
    if job.kind in OPENING_KINDS and job.stage == "access":
        told += pages(ctx, job)
    elif job.state is JobState.WAITING:
        told += people(ctx, job)
    if job.state is JobState.DUE and job.due_at > ctx.now + LATER:
        told.append(say("jobs.waits_until", until=moment(ctx, job.due_at)))
    return told


def moment(ctx: Context, at: datetime) -> str:
    """A moment as people read it."""
    return f"{at.astimezone(ctx.settings.zone):%m-%d %H:%M}"


def admin(ctx: Context) -> bool:
    """Whether what only admins can type is of use to the sender."""
    return ctx.may(Role.SUPER_ADMIN, Role.ADMIN)


def answers(ctx: Context, job: Job) -> Iterator[Words]:
    """The questions that wait for somebody's yes."""
    for approval in ctx.tx.approvals.pending_of(job.id):
        if ctx.sender in approval.approvers:
            yield say("jobs.waits_your_answer", approval=approval.id)
        else:
            named = [ctx.directory.name(each) for each in approval.approvers]
            until = moment(ctx, approval.expires_at)
            yield say("jobs.waits_answer", approval=approval.id, approvers=named, until=until)


def console_steps(ctx: Context, job: Job) -> Iterator[Words]:
    """The open steps in the admin console."""
    for step in ctx.tx.handovers.of_job(job.id):
        if step.state in handovers.OPEN:
            yield say(
                "jobs.waits_handover", handover=step.id, title=from_json(step.title),
                name=ctx.directory.name(step.asked_of), until=moment(ctx, step.deadline_at),
            )  # fmt: skip


def pages(ctx: Context, job: Job) -> Iterator[Words]:
    """Who has to open which mailbox, and who refused."""
    refused, asked = refused_sides(job), page_for(ctx.tx, job)
    may_ask = admin(ctx) and not job.data.get("by_manager") and not ctx.tx.approvals.pending_of(job.id)
    for side in sides_of(job):
        box = ctx.tx.mailboxes.get(int(job.data[side]))
        if ctx.tx.passwords.find(job.id, side) is not None or (mintable(box) and side not in asked):
            continue
        if side in refused:
            if ctx.sender == refused[side]:
                yield say("jobs.refused_by_you", address=box.address, number=job.id)
            else:
                yield say("jobs.refused_by", name=ctx.directory.name(refused[side]), address=box.address)
            if admin(ctx) and box.owner is None:
                yield say("jobs.can_ask_another", number=job.id)
        elif side in asked:
            yield page(ctx, job, side, box, asked[side])
        elif job.state is JobState.WAITING:
            yield say("jobs.waits_new_page", address=box.address, number=job.id)
        if may_ask and side == "source" and box.owner is not None and ctx.sender != box.owner:
            yield say("jobs.can_ask_manager", number=job.id)


def page(ctx: Context, job: Job, side: str, box: Mailbox, member: str) -> Words:
    """Whom it waits for to open a mailbox, and whether he has a page that works."""
    link, refusal = ctx.tx.links.latest(job.id, side), ctx.tx.links.last_refusal(box.id)
    how, at = "_over", ctx.now
    if refusal is not None and refusal.refused_at is not None and refusal.refused_at + LINK_LIFE > ctx.now:
        how, at = "_refused", refusal.refused_at + LINK_LIFE
    elif link is not None and link.member == member and ctx.tx.links.alive(link):
        how, at = "", link.expires_at
    key = f"jobs.waits_your_page{how}" if member == ctx.sender else f"jobs.waits_page{how}"
    clock = f"{at.astimezone(ctx.settings.zone):%H:%M}"
    return say(key, address=box.address, number=job.id, name=ctx.directory.name(member), at=clock)


def people(ctx: Context, job: Job) -> Iterator[Words]:
    """What else somebody has to do: press Start, make room, submit, acknowledge, finish what comes before."""
    data, until = job.data, moment(ctx, job.expires_at) if job.expires_at is not None else "-"
    if job.stage == "confirm":
        yield say("jobs.waits_confirm", name=ctx.directory.name(job.asked_by), number=job.id, until=until)
    elif job.stage == "show":
        yield say("jobs.waits_show", name=ctx.directory.name(job.asked_by), number=job.id, until=until)
    elif job.stage == "ready":
        yield say("jobs.waits_start" if admin(ctx) else "jobs.waits_start_of_admin", number=job.id, until=until)
    elif job.stage == "full":
        key = "jobs.waits_room" if admin(ctx) else "jobs.waits_room_of_admin"
        yield say(key, number=job.id, target=data["target_address"], until=until)
    elif job.kind == "reassign" and job.stage == "shown" and job.asked_by == ctx.sender:
        yield say("jobs.waits_submit", number=job.id)
    elif job.kind == "reassign" and job.stage == "prepare":
        copied = ctx.tx.jobs.find(int(data["backup"])) if data.get("backup") is not None else None
        if copied is not None and copied.state in OPEN:
            yield say("jobs.waits_backup", backup=copied.id, address=data["displaced"], state=state_of(copied))
        if not data.get("acknowledged_by"):
            mine = ctx.sender == job.params["new_owner"]
            key = "jobs.waits_your_acknowledgement" if mine else "jobs.waits_acknowledgement"
            yield say(key, number=job.id, name=data["new_name"])
