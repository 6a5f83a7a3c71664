"""What is under way: `jobs`, `job 12`, `cancel 12`, `retry 12`."""

from __future__ import annotations

from bot.context import Context
from bot.errors import UserError
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, say
from bot.work import Work
from handlers import backup, kept_alias, reassign_card, reassign_steps, rescue
from handlers.copying import KIND, VERIFY_KIND
from storage.models import Job, JobState

router = Router()
work = Work()

SHOWN_KINDS = (KIND, VERIFY_KIND, reassign_steps.KIND, kept_alias.KIND, rescue.KIND)
OPEN = (JobState.WAITING, JobState.DUE)
BEFORE_START = ("start", "approval", "access", "preview", "ready")


def visible(ctx: Context, job_id: int) -> Job:
    """The job, if the sender may see it: his own, one about his mailbox, or any for an admin."""
    job = ctx.tx.jobs.find(job_id)
    mine = job is not None and ctx.sender in (job.asked_by, job.data.get("owner"))
    if job is None or job.kind not in SHOWN_KINDS or not (mine or ctx.may(Role.SUPER_ADMIN, Role.ADMIN, Role.AUDITOR)):
        raise UserError(say("jobs.unknown", number=job_id))
    return job


def state_of(job: Job) -> Words:
    """Where a job stands, in a few words."""
    if job.state in OPEN:
        return say(f"jobs.stage_{job.stage}")
    return say(f"jobs.ended_{job.data.get('ending', 'failed')}")


def line_of(job: Job) -> Words:
    """A job in one line."""
    return say(
        "jobs.line", number=job.id, what=say(f"jobs.kind_{job.kind}"), state=state_of(job),
        source=job.data.get("source_address", job.params.get("source", {}).get("address") or "?"),
        target=job.data.get("target_address", "?"),
    )  # fmt: skip


@router.command("jobs", "任务|任务列表", topic="jobs", example=("jobs", "任务"))
def jobs_list(ctx: Context) -> list[Reply]:
    """What is under way, and what ended last."""
    mine = None if ctx.may(Role.SUPER_ADMIN, Role.ADMIN, Role.AUDITOR) else ctx.sender
    found = ctx.tx.jobs.recent(SHOWN_KINDS, asked_by=mine)
    if not found:
        return [Text(ctx.sender, say("jobs.none"))]
    return [Text(ctx.sender, "\n".join(line_of(job).text(ctx.language) for job in found))]


@router.command("job {job_id:int}", "任务 {job_id:int}", topic="jobs", example=("job 12", "任务 12"))
def job_details(ctx: Context, job_id: int) -> list[Reply]:
    """How one job stands, and what can be done about it."""
    job = visible(ctx, job_id)
    lines = [line_of(job)]
    if job.data.get("reason"):
        lines.append(say("jobs.reason", asker=str(job.data["asker_name"]), reason=str(job.data["reason"])))
    if progress := job.data.get("progress"):
        lines.append(say("jobs.progress", done=progress["done"], left=progress["left"]))
    if outcome := job.data.get("outcome"):
        key = "jobs.outcome_complete" if outcome["complete"] else "jobs.outcome_partial"
        lines.append(say(key, copied=outcome["copied"], refused=outcome["refused"]))
    if job.kind == reassign_steps.KIND:
        lines += reassign_card.details(job)
    if job.error:
        lines.append(say("jobs.error", error=job.error))
    if job.state in OPEN:
        if may_cancel(ctx, job):
            lines.append(say("jobs.can_cancel", number=job.id))
        return [Text(ctx.sender, "\n".join(line.text(ctx.language) for line in lines))]
    if not ctx.may(Role.SUPER_ADMIN, Role.ADMIN):
        return [Text(ctx.sender, "\n".join(line.text(ctx.language) for line in lines))]
    if job.state is not JobState.DONE or (outcome and not (outcome["verified"] and not outcome["refused"])):
        lines.append(say("jobs.can_retry", number=job.id))
    if job.state is JobState.DONE and outcome:
        lines.append(say("jobs.can_verify", number=job.id))
    return [Text(ctx.sender, "\n".join(line.text(ctx.language) for line in lines))]


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
    if job.kind == rescue.KIND:
        return rescue.again(ctx, job_id)
    outcome = job.data.get("outcome") or {}
    whole = job.kind != KIND or (outcome.get("verified") and not outcome.get("refused"))
    if job.state in OPEN or (job.state is JobState.DONE and whole):
        raise UserError(say("jobs.nothing_to_retry", number=job_id, state=state_of(job)))
    ctx.tx.audit.add(ctx.sender, "job.retried", str(job.data.get("source_address", "")), job=job.id)
    job.cancel_asked_by, job.finished_at = None, None
    ctx.tx.jobs.put(
        job,
        ending=None,
        asked_of=None,
        refused_sides={},
        untold=[],
        by_manager=None,
        opener=None,
        outcome=None,
        trouble=None,
    )
    ctx.tx.jobs.wake(job, "start")
    ctx.start(job)
    return [Text(ctx.sender, say("jobs.retrying", number=job.id))]
