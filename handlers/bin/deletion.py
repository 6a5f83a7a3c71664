"""
A public mailbox that was copied whole is deleted: agreed to by two, its copy compared once more, then done and seen.

Stages: start (what it is now), approval (another admin), access and check (is the copy still there?), delete, cleanup.
It lies in the recycle bin then, where the book counts its days.
"""

from __future__ import annotations

from typing import Any

from bot.context import Context
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import addresses
from handlers.approvals import approvals
from handlers.bin import conversion, into_bin
from handlers.copying import copying, verification
from handlers.copying.backup_access import get_access
from handlers.copying.backup_card import readers
from handlers.handovers import handovers
from handlers.handovers.handovers import Look
from storage.models import Approval, Job, JobState, Mailbox, MailboxKind

router = Router()
work = Work()

KIND = "deletion"
ACTION = "deletion"  # of the approval
POLICY = "delete_public_mailbox"


def whole(backup: Job) -> bool:
    """Whether a backup is complete and was compared."""
    outcome = backup.data.get("outcome") or {}
    return backup.state is JobState.DONE and outcome.get("complete") is True and outcome.get("verified") is True


def begin(ctx: Context, rescue: Job, backup: Job, reason: str) -> Job:
    """The deletion of the public mailbox that a rescue made; it looks before it asks anybody."""
    kept = {name: backup.data[name] for name in ("source", "target", "source_address", "target_address", "root")}
    job = ctx.tx.jobs.add(KIND, asked_by=ctx.require_admin(), params={"rescue": rescue.id, "backup": backup.id})
    ctx.tx.jobs.put(
        job, **kept, sides=["target"], reason=reason, asker_name=ctx.directory.name(ctx.sender),
        owner_was=rescue.data.get("owner_was"),
    )  # fmt: skip
    ctx.tx.audit.add(
        ctx.sender, "deletion.asked", str(kept["source_address"]), job=job.id, rescue=rescue.id, backup=backup.id
    )
    ctx.start(job)
    return job


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage. What was begun by API is seen through, whatever anybody wishes meanwhile."""
    stages: dict[str, copying.Stage] = {
        "start": look, "access": get_access, "check": compare, "delete": delete, "cleanup": clean_up,
    }  # fmt: skip
    if job.data.get("deleting"):
        stages[job.stage](job)
        return
    copying.one_turn(job, stages[job.stage])


def facts_of(source: Context | JobStep, job: Job) -> dict[str, Any]:
    """What two people agree to: which mailbox, used by whom, and which copy stays. No counts."""
    box = source.tx.mailboxes.get(int(job.data["source"]))
    return {
        "mailbox": box.address, "name": box.name, "readers": source.directory.readers(box), "state": state_of(box),
        "backup": job.params["backup"], "copy_in": job.data["target_address"],
    }  # fmt: skip


def state_of(box: Mailbox) -> str:
    """Whether it is the public mailbox of then."""
    return "public" if box.kind is MailboxKind.PUBLIC and box.ended_at is None else "gone"


def cannot_be(step: JobStep) -> Words | None:
    """Why it must not be deleted; None when it may."""
    job, address = step.job, step.job.data["source_address"]
    backup = step.tx.jobs.get(int(job.params["backup"]))
    if state_of(step.tx.mailboxes.get(int(job.data["source"]))) != "public":
        return say("deletion.not_public", address=address)
    if not whole(backup):
        return say("deletion.not_saved", address=address, backup=backup.id)
    others = step.tx.jobs.open_on([int(job.data["source"])], addresses=[address])
    if (other := next((each for each in others if each.id != job.id), None)) is not None:
        return say("deletion.busy", address=address, other=other.id)
    return None


def look(job: JobContext) -> None:
    """What it is now; what must not be is refused, and another admin is asked about the rest."""
    addresses.seen_public(job, str(job.data["source_address"]))  # the rows say what WeCom shows now
    with job.begin() as step:
        if (why := cannot_be(step)) is not None:
            copying.refuse(step, why)
            return
        ask(step)


def ask(step: JobStep) -> None:
    """The question to every other admin; the asker hears what it means."""
    job, data, settings = step.job, step.job.data, step.services.settings
    box, facts = step.tx.mailboxes.get(int(data["source"])), facts_of(step, step.job)
    requirement = step.services.policy.requirement(POLICY)
    try:
        may = approvals.who_may(requirement, step.directory, step.roles, asker=job.asked_by, owner=None, gains=[])
    except approvals.NobodyCanAnswer as nobody:
        copying.refuse(step, nobody.words)
        return
    named = [step.directory.name(each) for each in facts["readers"]]
    can_open = readers({
        "reader_names": named, "facts": {"target_kind": copying.kind_of(box)}, "target_address": box.address,
    })  # fmt: skip
    question = lines(
        *into_bin.question(step, address=box.address, name=box.name or box.address, readers=can_open),
        say("deletion.copy_is", target=data["target_address"], backup=job.params["backup"]),
    )
    approval, replies = approvals.ask(
        step.tx, action=ACTION, requirement=requirement, may=may, job_id=job.id, question=question, facts=facts,
        reason=str(data["reason"]), asked_by=job.asked_by, asked_by_name=str(data["asker_name"]), settings=settings,
        rows=[(say("deletion.row_copy"), str(data["target_address"]))],
    )  # fmt: skip
    step.put(facts=facts, reader_names=named, approval=approval.id)
    step.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)
    asked = [step.directory.name(userid) for userid in may.userids]
    told = say("backup.manager_asked", approvers=asked, number=job.id)
    step.say(*replies, Text(job.asked_by, lines(question, told)))


@approvals.facts_of(ACTION)
def facts_again(ctx: Context, approval: Approval) -> dict[str, Any]:
    """What the question showed, read again: if it changed, a yes to it is void."""
    return facts_of(ctx, ctx.tx.jobs.get(approval.job_id))


@approvals.decided(ACTION)
def decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes has the copy compared once more, a no ends it."""
    return approvals.go_on(ctx, approval, "access", approved_by=ctx.sender)


def compare(job: JobContext) -> None:
    """Everything the backup copied is still in its target, or nothing is deleted."""
    checked = verification.compared(job)
    if checked is None:
        return
    with job.begin() as step:
        data, backup = step.job.data, step.job.params["backup"]
        step.tx.audit.add("bot", "backup.verified", str(data["target_address"]), backup=backup, ok=checked.ok)
        if checked.ok:
            step.go("delete")
            return
        stop(step, say("deletion.copy_not_whole", target=data["target_address"], backup=backup))


def delete(job: JobContext) -> None:
    """The facts once more; then by API or in the console, and seen; then it is in the book."""
    begun = job.data.get("deleting") or job.data.get("handovers")
    if not begun:
        addresses.seen_public(job, str(job.data["source_address"]))
        with job.begin() as step:
            if not still_agreed(step):
                return
    try:
        seen = into_bin.delete_agreed(job, stage="delete")
    except into_bin.TooLate as late:
        with job.begin() as step:
            stop(step, late.words())
        return
    if seen is not None:
        with job.begin() as step:
            deleted(step, seen)
            copying.end_with(step, "done")


def still_agreed(step: JobStep) -> bool:
    """Whether it is as it was agreed to; else nothing is done, and both hear what changed."""
    before, now = step.job.data["facts"], facts_of(step, step.job)
    if (why := cannot_be(step)) is None and before == now:
        return True
    step.tx.audit.add("bot", "deletion.facts_changed", str(before["mailbox"]), job=step.job.id, before=before, now=now)
    stop(step, why or say("deletion.changed", address=before["mailbox"]))
    return False


def deleted(step: JobStep, seen: dict[str, Any]) -> None:
    """It is gone: both who wanted it hear of it."""
    words = into_bin.public_is_deleted(step, seen, owner=step.job.data.get("owner_was"), stage="delete")
    step.say(*(Text(each, words) for each in told_of(step)))


def told_of(step: JobStep) -> list[str]:
    """Who wanted it: the asker, and who said yes."""
    return [each for each in dict.fromkeys([step.job.asked_by, step.job.data.get("approved_by")]) if each is not None]


# --- the end ---------------------------------------------------------------------------------------------------------


def stop(step: JobStep, why: Words) -> None:
    """It cannot go on: why, and that the mailbox stays as it is."""
    words = say("deletion.stopped", number=step.job.id, address=step.job.data["source_address"], why=why)
    step.say(*(Text(each, words) for each in told_of(step)))
    copying.end_with(step, "failed")
    step.job.error = why.text("en")


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on."""
    conversion.failed(step, words, stop, finish)


def clean_up(job: JobContext) -> None:
    """A last look at what is perhaps deleted already, so that no mailbox lies in the bin unknown; no key is left."""
    seen = into_bin.last_look(job, "delete")
    conversion.clean_up(job, lambda step: finish(step, seen))


def finish(step: JobStep, seen: Look | None = None) -> None:
    """Nobody is asked for anything any more, and the job has its ending."""
    data, ending = step.job.data, str(step.job.data.get("ending") or "failed")
    if not data.get("gone") and (late := into_bin.done_all_the_same(step, "delete", seen)) is not None:
        deleted(step, late)
        ending = "done"
        step.put(ending=ending)
        step.job.error = None
    step.tx.approvals.void(step.job.id)
    step.say(*handovers.withdraw(step.tx, step.job.id))
    if ending in ("cancelled", "expired", "rejected"):
        words = say(f"deletion.ended_{ending}", number=step.job.id, address=data["source_address"])
        step.say(Text(step.job.asked_by, words))
    step.tx.audit.add("bot", "deletion.ended", str(data["source_address"]), job=step.job.id, ending=ending)
    step.tx.jobs.end_as(step.job, ending)


@work.sweep("deletion", conversion.WATCH_EVERY)
def watch(sweep: SweepStep) -> None:
    """Who waited too long, and what nobody may agree to any more."""
    tx = sweep.tx
    for job in tx.jobs.waiting_or_due(KIND):
        if job.state is not JobState.WAITING:
            continue
        if (ending := approvals.ran_out(tx, job)) is None:
            continue
        tx.jobs.put(job, ending=ending)
        tx.approvals.void(job.id)
        tx.jobs.wake(job, "cleanup")
        sweep.start(job)


def of_rescue(ctx: Context, rescue: int) -> Job | None:
    """The deletion that a rescue led to and that is under way."""
    return next((each for each in ctx.tx.jobs.waiting_or_due(KIND) if each.params["rescue"] == rescue), None)
