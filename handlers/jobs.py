"""What is under way: `jobs`, `job 12`, `cancel 12`, `retry 12`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.context import Context
from bot.errors import UserError
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, from_json, lines, say
from bot.work import Work
from handlers import changes
from handlers.backup import backup
from handlers.bin import convert, deletion
from handlers.copying import copying
from handlers.copying.copying import KIND, VERIFY_KIND
from handlers.copying.job_words import admin, line_of, state_of, waits_for
from handlers.domain import domain_setup
from handlers.reassign import kept_alias, reassign_card, reassign_steps
from handlers.rescue import aftermath, rescue, rescue_choice
from storage.jobs import OPEN
from storage.models import Job, JobState

router = Router()
work = Work()

WHOLE_KINDS = (
    KIND, VERIFY_KIND, reassign_steps.KIND, kept_alias.KIND, rescue_choice.KIND, convert.KIND, deletion.KIND,
    domain_setup.KIND,
)  # fmt: skip
BEFORE_START = ("start", "approval", "access", "preview", "ready")


def shown_kinds() -> tuple[str, ...]:
    """The kinds of jobs that people see."""
    return (*WHOLE_KINDS, *changes.kinds())


def asked_in(ctx: Context) -> set[int]:
    """The jobs in which the sender was asked for something: a page, an answer, a console step."""
    answers = {each.job_id for each in ctx.tx.approvals.waiting_for(ctx.sender)}
    steps = {each.job_id for each in ctx.tx.handovers.open_ones() if each.asked_of == ctx.sender}
    return ctx.tx.links.jobs_of(ctx.sender) | answers | steps


def sees_all(ctx: Context) -> bool:
    """Whether the sender sees everybody's jobs."""
    return ctx.may(Role.SUPER_ADMIN, Role.ADMIN, Role.AUDITOR)


def visible(ctx: Context, job_id: int) -> Job:
    """The job, if the sender may see it: his own, one about him or that asks him something, or any for an admin."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind not in shown_kinds():
        raise UserError(say("jobs.unknown", number=job_id))
    about_him = ctx.sender in (job.asked_by, job.data.get("owner"), job.params.get("new_owner"))
    if not (about_him or sees_all(ctx) or job.id in asked_in(ctx)):
        raise UserError(say("jobs.unknown", number=job_id))
    return job


@router.command("jobs", "任务|任务列表", topic="jobs", example=("jobs", "任务"))
def jobs_list(ctx: Context) -> list[Reply]:
    """What is under way, and what ended last."""
    if sees_all(ctx):
        found = ctx.tx.jobs.recent(shown_kinds())
    else:
        found = ctx.tx.jobs.recent(shown_kinds(), of=ctx.sender, also=asked_in(ctx))
    if not found:
        return [Text(ctx.sender, say("jobs.none" if admin(ctx) else "jobs.none_of_yours"))]
    return [Text(ctx.sender, lines(*(line_of(job) for job in found), say("jobs.more", first=found[0].id)))]


@router.command("job {job_id:int}", "任务 {job_id:int}", topic="jobs", example=("job 12", "任务 12"))
def job_details(ctx: Context, job_id: int) -> list[Reply]:
    """How one job stands, and what can be done about it."""
    job = visible(ctx, job_id)
    outcome = job.data.get("outcome")
    told = [line_of(job)]
    if job.data.get("reason"):
        told.append(say("jobs.reason", asker=ctx.directory.name(job.asked_by), reason=str(job.data["reason"])))
    if outcome:
        key = "jobs.outcome_complete" if outcome["complete"] else "jobs.outcome_partial"
        told.append(say(key, copied=outcome["copied"], refused=outcome["refused"]))
    elif progress := job.data.get("progress"):
        told.append(say("jobs.progress", done=progress["done"], left=progress["left"]))
    if job.kind == reassign_steps.KIND:
        told += reassign_card.details(job)
    if job.kind == rescue_choice.KIND:
        told += [*rescue.details(job), *aftermath.details(ctx.tx, job)]
    told += trouble_of(ctx, job)
    if job.state in OPEN:
        told += waits_for(ctx, job)
        if may_cancel(ctx, job):
            told.append(say("jobs.can_cancel", number=job.id))
    elif admin(ctx):
        if job.state is not JobState.DONE or (outcome and not is_whole(job, outcome)):
            told.append(say("jobs.can_retry", number=job.id))
        if job.state is JobState.DONE and outcome:
            told.append(say("jobs.can_verify", number=job.id))
    return [Text(ctx.sender, lines(*told))]


def is_whole(job: Job, outcome: Mapping[str, Any]) -> bool:
    """Whether a backup leaves nothing to try again; one that rescues a mailbox only when it is complete."""
    if job.data.get("rescue") is not None:
        return bool(outcome.get("complete"))
    return bool(outcome.get("verified") and not outcome.get("refused"))


def trouble_of(ctx: Context, job: Job) -> list[Words]:
    """Why it stopped or does not get on; an error that has no sentence is for admins only."""
    why = job.data.get("why") or (job.data.get("trouble") or {}).get("why")
    if why is not None:
        return [say("jobs.why", why=from_json(why))]
    return [say("jobs.error", error=job.error)] if job.error and admin(ctx) else []


def may_cancel(ctx: Context, job: Job) -> bool:
    """An admin may always; the owner of the mailbox until its mail is being copied."""
    if ctx.may(Role.SUPER_ADMIN, Role.ADMIN):
        return True
    return job.kind == KIND and job.data.get("owner") == ctx.sender and job.stage in BEFORE_START


@router.command("cancel {job_id:int}", "取消 {job_id:int}", topic="jobs", example=("cancel 12", "取消 12"))
@router.action("cancel")
def cancel(ctx: Context, job_id: int) -> list[Reply]:
    """End a job; what was copied stays, no key is left behind."""
    job = visible(ctx, job_id)
    if job.state in OPEN and not may_cancel(ctx, job):
        ctx.require_admin()
    if job.state not in OPEN or job.stage == "cleanup":
        raise UserError(say("jobs.over", number=job_id, state=state_of(job)))
    ctx.tx.audit.add(ctx.sender, "job.cancelled", str(job.data.get("source_address", "")), job=job.id)
    job.cancel_asked_by = ctx.sender
    if job.state is JobState.WAITING or job.due_at > ctx.now:  # nothing is under way that could hear of it
        ctx.tx.jobs.put(job, ending="cancelled")
        ctx.tx.approvals.void(job.id)
        ctx.tx.jobs.wake(job, "cleanup")
        ctx.start(job)
    return [Text(ctx.sender, say("jobs.cancelling", number=job.id))]


@router.command("retry {job_id:int}", "重试 {job_id:int}", role="admin", topic="jobs", example=("retry 12", "重试 12"))
def retry(ctx: Context, job_id: int) -> list[Reply]:
    """Go on with a job that stopped; only what is missing is copied."""
    job = visible(ctx, job_id)
    if job.state is JobState.WAITING and job.stage == "full":
        return backup.start(ctx, job_id, "anyway")
    if job.kind == reassign_steps.KIND:
        return reassign_steps.resume(ctx, job_id)
    if job.kind == kept_alias.KIND:
        return kept_alias.add_alias(ctx, job_id)
    if job.kind == rescue_choice.KIND:
        return rescue.again(ctx, job_id)
    if job.kind == deletion.KIND:
        return aftermath.after_delete(ctx, int(job.params["rescue"]))
    if job.kind in changes.kinds():
        return changes.again(ctx, job)
    if job.kind == domain_setup.KIND:
        return domain_setup.again(ctx, job)
    if job.kind == convert.KIND:
        return convert.request_convert(
            ctx, str(job.params["address"]), job.data.get("public_name"), job.params["reason"]
        )
    outcome = job.data.get("outcome") or {}
    if job.state in OPEN or (job.state is JobState.DONE and (job.kind != KIND or is_whole(job, outcome))):
        raise UserError(say("jobs.nothing_to_retry", number=job_id, state=state_of(job)))
    ctx.tx.audit.add(ctx.sender, "job.retried", str(job.data.get("source_address", "")), job=job.id)
    copying.begin_again(ctx, job, wrap=False)
    return [Text(ctx.sender, say("jobs.retrying", number=job.id))]
