"""
`rescue ahing@ to support@ because …`: the mail of a mailbox that lies in the recycle bin, before it is deleted.

Nobody can log in to a mailbox in the bin, so there are two ways. The console's own 备份邮件 works once and cannot be
compared with its source: seen at the target it counts as partial, and the reminders go on. Or the mailbox is made a
public one in the console, then an ordinary backup copies and compares it: that may be complete, and ends the reminders.
Which way, and who agrees, stands in `rescue_choice`; what each way does in `rescue_once` and `rescue_public`.
Stages: start, shown (which way?), approval, then access, check and once; or convert and saving; cleanup.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from bot.context import Choose, Context, Missing
from bot.directory import Meant
from bot.errors import UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import addresses
from handlers.approvals import approvals
from handlers.bin import conversion, recycle_bin
from handlers.copying import copying
from handlers.copying.backup_access import get_access
from handlers.rescue import rescue_once, rescue_public
from handlers.rescue.rescue_choice import (
    CHOOSING,
    KIND,
    entry_of,
    facts_of,
    known_job,
    put_away,
    show,
    stop,
    who_may,
)
from handlers.rescue.rescue_public import ending_of
from storage.jobs import OPEN
from storage.models import (
    BinItem,
    BinState,
    Job,
    JobState,
)

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

SHOWN_FOR = timedelta(days=7)


# --- asking for it ---------------------------------------------------------------------------------------------------


@router.command(
    "rescue|save {source} [to|into {target}] [because {reason:text}]",
    "抢救|救出 {source} [到|给 {target}] [原因|因为 {reason:text}]",
    role="admin",
    topic="bin",
    example=("rescue ahing@ to support@ because his customers write there", "抢救 ahing@ 到 support@ 原因 客户邮件"),
)
def request_rescue(ctx: Context, source: str, target: str | None = None, reason: str | None = None) -> list[Reply]:
    """Save the mail of a mailbox in the recycle bin before it is deleted, in one of two ways."""
    item = in_bin(ctx, source) or recycle_bin.waiting_entry(ctx, source)
    if item.address is None:
        raise UserError(say("recycle_bin.left_address_unknown", number=item.id))
    return begin(ctx, item, target, reason)


def begin(ctx: Context, item: BinItem, target: str | None, reason: str | None) -> list[Reply]:
    """A rescue of an entry whose address is known; what is missing is asked for."""
    admin, address = ctx.require_admin(), str(item.address)
    if item.deletes_at <= ctx.now:
        raise UserError(say("recycle_bin.is_lost", what=address, moment=recycle_bin.moment_of(item), typed=address))
    if (under_way := ctx.tx.recycle_bin.rescues().get(item.id)) is not None:
        raise UserError(say("rescue.already_open", number=under_way.id, address=address))
    if target is None:
        words, offered = say("rescue.where_to", address=address), copying.targets(ctx, address)
        raise Choose("target", words, offered, command="request_rescue", known={"source": address, "reason": reason})
    wanted = ctx.directory.mailbox(target)
    if wanted.address == address:
        raise UserError(say("backup.same_mailbox", source=address, target=address))
    if not reason:
        words = say("rescue.why", address=address, target=str(wanted))
        raise Missing("reason", words, command="request_rescue", known={"source": address, "target": target})
    params = {
        "item": item.id, "target": {"address": wanted.address, "userid": wanted.userid},
        "reason": reason[: approvals.REASON_MAX],
    }  # fmt: skip
    job = ctx.tx.jobs.add(KIND, asked_by=admin, params=params)
    ctx.tx.jobs.put(
        job, item=item.id, reason=params["reason"], asker_name=ctx.directory.name(admin), source_address=address,
        source=item.mailbox_id, target_address=str(wanted), owner_was=item.owner, steps=[], handovers={},
    )  # fmt: skip
    ctx.tx.audit.add(admin, "rescue.asked", address, job=job.id, item=item.id, target=str(wanted), reason=reason)
    ctx.start(job)
    return [Text(admin, say("rescue.looking", address=address, target=str(wanted), number=job.id))]


def in_bin(ctx: Context, typed: str, meant: Meant | None = None) -> BinItem | None:
    """The entry that waits and is meant by an address, or by who had it."""
    word = typed.strip()
    if "@" in word and not word.startswith("@"):
        return ctx.tx.recycle_bin.waiting_at(ctx.directory.address(word))
    if meant is not None and meant.mailbox is None and meant.userid is not None:
        return ctx.tx.recycle_bin.waiting_left_by(meant.userid)
    return None


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage."""
    stages: dict[str, copying.Stage] = {
        "start": find_target,
        "access": get_access,
        "check": rescue_once.look if job.data.get("way") == "once" else conversion.prove,
        "once": rescue_once.once,
        "convert": rescue_public.convert,
        "saving": rescue_public.save,
        "cleanup": clean_up,
    }
    copying.one_turn(job, stages[job.stage])


def find_target(job: JobContext) -> None:
    """Where it goes, and who could read it there; then the two ways are shown."""
    found = addresses.find_mailbox(job, **job.params["target"])
    with job.begin() as step:
        item, target = entry_of(step.tx, step.job.data), found.mailbox
        if target is None:
            assert found.problem is not None  # noqa: S101 (one of the two)
            copying.refuse(step, found.problem)
            return
        if item.state is not BinState.WAITING:
            copying.refuse(step, recycle_bin.closed_words(item, step.directory))
            return
        if target.address == item.address:
            copying.refuse(step, say("backup.same_mailbox", source=target.address, target=target.address))
            return
        facts = facts_of(step.directory.readers(target), item, target, None, step.job.asked_by)
        named = [step.directory.name(each) for each in facts["readers"]]
        step.put(target=target.id, target_address=target.address, facts=facts, reader_names=named, sides=["target"])
        try:
            who_may(step, step.job, item, facts)
        except approvals.NobodyCanAnswer as nobody:
            copying.refuse(step, nobody.words)
            return
        step.tx.jobs.wait(step.job, "shown", expires_at=step.now + SHOWN_FOR)
        show(step, item)


def details(job: Job) -> list[Words]:
    """What `job 12` says beside where it stands: which other way there is."""
    return [say("rescue.other_way", number=job.id)] if job.state in OPEN and job.stage in CHOOSING else []


def again(ctx: Context, job_id: int) -> list[Reply]:
    """`retry 12`: the same once more, with another number."""
    job = known_job(ctx, job_id)
    item = entry_of(ctx.tx, job.data)
    if job.state in OPEN or item.state is not BinState.WAITING:
        raise UserError(say("rescue.nothing_to_retry", number=job_id, address=job.data["source_address"]))
    return begin(ctx, item, str(job.data["target_address"]), str(job.data["reason"]))


# --- the end ---------------------------------------------------------------------------------------------------------


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on."""
    conversion.failed(step, words, stop, finish)


def clean_up(job: JobContext) -> None:
    """No key and no open console step is left behind; then it has its ending, and the book is told the truth."""
    conversion.clean_up(job, finish)


def finish(step: JobStep) -> None:
    """Nothing waits for anybody any more, the book is told the truth, and the job has its ending."""
    data, ending = step.job.data, str(step.job.data.get("ending") or "failed")
    conversion.nobody_waits(step)
    step.say(*put_away(step.tx, step.job, say(f"jobs.ended_{ending}")))
    end_child(step)
    item = entry_of(step.tx, data)
    if ending in ("cancelled", "expired", "rejected", "too_late", "over"):
        words = say(f"rescue.ended_{ending}", number=step.job.id, address=data["source_address"])
        still = [recycle_bin.deleted_words(item, step.services.settings.zone)]
        told = [words, *(still if item.state is BinState.WAITING and item.deletes_at > step.now else [])]
        step.say(Text(step.job.asked_by, lines(*told)))
    step.tx.audit.add("bot", "rescue.ended", str(data["source_address"]), job=step.job.id, ending=ending)
    good = ending in ("done", "partial")
    state = JobState.DONE if good else JobState.FAILED if ending == "failed" else JobState.CANCELLED
    step.tx.jobs.end(step.job, state, error=step.job.error)


def end_child(step: JobStep) -> None:
    """The backup of a rescue that is over ends with it; what it copied stays."""
    child_id = step.job.data.get("backup")
    child = step.tx.jobs.find(int(child_id)) if child_id is not None else None
    if child is None or child.state not in OPEN or child.stage == "cleanup":
        return
    child.cancel_asked_by = step.job.cancel_asked_by or step.job.asked_by
    if child.state is JobState.WAITING or child.due_at > step.now:
        step.tx.jobs.put(child, ending="cancelled")
        step.tx.approvals.void(child.id)
        step.tx.jobs.wake(child, "cleanup")
        step.start(child)


@work.sweep("rescue", conversion.WATCH_EVERY)
def watch(sweep: SweepStep) -> None:
    """What the waiting ones wait for: a backup that ended, a console step somebody says is done, the deletion."""
    for job in sweep.tx.jobs.waiting_or_due(KIND):
        if job.state is JobState.WAITING and (stage := next_stage(sweep.tx, job)) is not None:
            sweep.tx.jobs.wake(job, stage)
            sweep.start(job)


def next_stage(tx: Transaction, job: Job) -> str | None:
    """Where a waiting rescue goes now; None while it waits on."""
    data, item = job.data, entry_of(tx, job.data)
    ending = over(tx, job, item)
    if ending is not None:
        tx.jobs.put(job, ending=ending)
        tx.approvals.void(job.id)
        return "cleanup"
    if job.stage == "saving":
        child = tx.jobs.find(int(data["backup"]))
        over_now = child is not None and child.state not in OPEN
        return "saving" if child is not None and over_now and data.get("noted") != ending_of(child) else None
    if job.stage == "approval":
        return None
    stage = {"once": "once", "public": "convert"}.get(str(data.get("way")))
    return conversion.next_stage(tx, job, stage) if stage is not None else None


def over(tx: Transaction, job: Job, item: BinItem) -> str | None:
    """Why a rescue ends by itself: deleted, closed in the book by somebody, or waited for too long."""
    converted = bool(job.data.get("converted_at"))
    converted = converted or (job.data.get("way") == "public" and conversion.living(tx, item))
    if not converted and item.state is BinState.WAITING and item.deletes_at <= tx.now:
        return "too_late"
    if not converted and item.state is not BinState.WAITING:
        return "too_late" if item.state is BinState.LOST else "over"
    return approvals.ran_out(tx, job)
