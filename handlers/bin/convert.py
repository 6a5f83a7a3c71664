"""
`convert ahing@ because …`: a mailbox becomes a public one, with all its mail.

No API does it. A living member's mailbox is taken off him first (回收邮箱, from then on it lies in the bin), then the
console makes it public (`conversion.py`). Stages: start, approval (his manager's), reclaim, convert, cleanup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot.context import Context, Missing
from bot.errors import UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, from_json, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import addresses
from handlers.approvals import approvals
from handlers.bin import conversion, into_bin, recycle_bin
from handlers.copying import copying
from handlers.copying.backup_access import get_access
from handlers.handovers import handovers
from handlers.handovers.handovers import Look, evidence, owner_now
from storage.handovers import OPEN as STILL_OPEN
from storage.models import (
    Approval,
    BinItem,
    BinSource,
    BinState,
    HandoverState,
    Job,
    JobState,
    MailboxKind,
)

if TYPE_CHECKING:
    pass

router = Router()
work = Work()

KIND = "convert"
ACTION = "convert"  # of the approval
POLICY = "reassign"  # it takes a mailbox from its owner as a change of owner does


# --- asking for it ---------------------------------------------------------------------------------------------------


@router.command(
    "convert|publicize {source} [called {name}] [because {reason:text}]",
    "转公共|转为公共邮箱 {source} [名称 {name}] [原因|因为 {reason:text}]",
    role="admin",
    topic="reassign",
    example=("convert ahing@ because customers write there", "转公共 ahing@ 原因 客户常写信到此"),
)
def request_convert(ctx: Context, source: str, name: str | None = None, reason: str | None = None) -> list[Reply]:
    """Turn a member's mailbox, or one in the recycle bin, into a public one with all its mail."""
    admin, meant = ctx.require_admin(), ctx.directory.mailbox(source)
    if meant.mailbox is not None and meant.mailbox.kind is MailboxKind.PUBLIC:
        raise UserError(say("convert.public_already", address=meant.mailbox.address))
    address = meant.address or f"{meant.userid}@{ctx.settings.exmail_domain}"
    if conversion.trial(address):
        raise UserError(say("conversion.trial", address=address))
    if (item := ctx.tx.recycle_bin.waiting_at(address)) is not None:
        if (under_way := ctx.tx.recycle_bin.rescues().get(item.id)) is not None:
            raise UserError(say("rescue.already_open", number=under_way.id, address=address))
    elif any(each.data.get("source_address") == address for each in ctx.tx.jobs.waiting_or_due(KIND)):
        raise UserError(say("convert.already_open", address=address))
    if not reason:
        words = say("convert.why", address=address)
        raise Missing("reason", words, command="request_convert", known={"source": source, "name": name})
    reason = reason[: approvals.REASON_MAX]
    job = ctx.tx.jobs.add(KIND, asked_by=admin, params={"address": address, "reason": reason})
    ctx.tx.jobs.put(
        job, reason=reason, asker_name=ctx.directory.name(admin), source_address=address, handovers={},
        public_name=name, target_address=say("convert.as_public").text(ctx.language),
    )  # fmt: skip
    ctx.tx.audit.add(admin, "convert.asked", address, job=job.id, reason=reason)
    ctx.start(job)
    return [Text(admin, say("convert.looking", address=address, number=job.id))]


def again(ctx: Context, job: Job) -> list[Reply]:
    """`retry 12`: the same once more, with another number."""
    if job.state in (JobState.WAITING, JobState.DUE, JobState.DONE):
        raise UserError(say("convert.nothing_to_retry", number=job.id))
    return request_convert(ctx, str(job.params["address"]), job.data.get("public_name"), str(job.params["reason"]))


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage."""
    stages: dict[str, copying.Stage] = {
        "start": find, "reclaim": reclaim, "convert": convert, "access": get_access, "check": conversion.prove,
        "cleanup": clean_up,
    }  # fmt: skip
    copying.one_turn(job, stages[job.stage])


def find(job: JobContext) -> None:
    """Whose it is now; what cannot be is refused, the manager is asked about the rest."""
    address = str(job.params["address"])
    with job.services.store.begin() as tx:
        binned = tx.recycle_bin.waiting_at(address) is not None
    try:
        public = addresses.seen_public(job, address) is not None
        owner = None if binned or public else owner_now(job, address)
    except addresses.NoBudget:
        with job.begin() as step:
            copying.refuse(step, say("addresses.no_budget", address=address))
        return
    with job.begin() as step:
        item = step.tx.recycle_bin.waiting_at(address)
        if public or (owner is None and item is None):
            copying.refuse(step, say("convert.public_already" if public else "reassign.unknown", address=address))
            return
        facts = facts_of(address, owner, item, step.job.asked_by)
        box = step.tx.mailboxes.at(address)
        had = owner or (item.owner if item is not None else None)
        step.put(
            facts=facts, owner=owner, owner_name=step.directory.name(had) if had is not None else "?",
            item=item.id if item is not None else None, box=box.id if box is not None else None,
            seen_at=step.now.isoformat(),
        )  # fmt: skip
        ask_manager(step, had)


def facts_of(address: str, owner: str | None, item: BinItem | None, asker: str) -> dict[str, Any]:
    """What people agree to, and who will be able to open it."""
    had = owner if item is None else item.owner
    return {
        "mailbox": address, "owner": had, "state": "in use" if item is None else "recycle bin", "opener": asker,
    }  # fmt: skip


def ask_manager(step: JobStep, had: str | None) -> None:
    """What it means for whom, to the asker; the question to the manager of who has or had it."""
    data, job = step.job.data, step.job
    try:
        requirement = step.services.policy.requirement(POLICY)
        may = approvals.who_may(
            requirement, step.directory, step.roles, asker=job.asked_by, owner=had, gains=[job.asked_by]
        )
    except approvals.NobodyCanAnswer as nobody:
        copying.refuse(step, nobody.words)
        return
    key = "convert.question" if data["owner"] is not None else "convert.question_binned"
    question = say(key, address=data["source_address"], owner=data["owner_name"], asker=str(data["asker_name"]))
    approval, replies = approvals.ask(
        step.tx, action=ACTION, requirement=requirement, may=may, job_id=job.id, question=question,
        facts=data["facts"], reason=str(data["reason"]), asked_by=job.asked_by,
        asked_by_name=str(data["asker_name"]), settings=step.services.settings,
    )  # fmt: skip
    step.put(approval=approval.id)
    step.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)
    named = [step.directory.name(userid) for userid in may.userids]
    told = say("backup.manager_asked", approvers=named, number=job.id)
    step.say(*replies, Text(job.asked_by, lines(question, conversion.needs(step.tx), told)))


@approvals.facts_of(ACTION)
def facts_again(ctx: Context, approval: Approval) -> dict[str, Any]:
    """What the question showed, as rows tell it now; whose it is is looked up before anything is done."""
    job = ctx.tx.jobs.get(approval.job_id)
    address = str(job.params["address"])
    item, box = ctx.tx.recycle_bin.waiting_at(address), ctx.tx.mailboxes.at(address)
    owner = box.owner if box is not None and box.owner is not None else job.data["owner"]
    return facts_of(address, owner, item, job.asked_by)


@approvals.decided(ACTION)
def manager_decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes begins it, a no ends it."""
    stage = "convert" if ctx.tx.jobs.get(approval.job_id).data["owner"] is None else "reclaim"
    return approvals.go_on(ctx, approval, stage, approved_by=ctx.sender)


# --- the console's steps ---------------------------------------------------------------------------------------------


def reclaim(job: JobContext) -> None:
    """回收邮箱: it leaves its owner, who stays; from then on it lies in the bin and its days are counted."""
    address, owner = str(job.data["source_address"]), str(job.data["owner"])
    asked = job.data["handovers"].get("reclaim") is not None
    now = owner if asked else owner_now(job, address)
    with job.begin() as step:
        data, handover = step.job.data, handovers.of_stage(step, "reclaim")
        if handover is None and now != owner:
            found = step.directory.name(now) if now is not None else "-"
            stop(step, say("convert.owner_changed", address=address, before=data["owner_name"], after=found))
        elif handover is None:
            ask_to_reclaim(step, address, owner)
        elif handover.state is HandoverState.DONE:
            item = into_bin.into_book(
                step, address=address, mailbox_id=data["box"], owner=owner, source=BinSource.RECLAIMED,
                since=into_bin.last_seen(handover, str(data["seen_at"])),
            )  # fmt: skip
            step.put(item=item.id)
            step.go("convert")
        elif handover.state in STILL_OPEN:
            step.tx.jobs.wait(step.job, "reclaim", expires_at=None)
        else:
            stop(step, say("convert.not_done", title=from_json(handover.title)))


def ask_to_reclaim(step: JobStep, address: str, owner: str) -> None:
    """The owner is told, and the handover asked for."""
    data = step.job.data
    by = step.directory.name(str(data["approved_by"]))
    step.say(Text(owner, say("convert.to_owner", address=address, reason=data["reason"], by=by)))
    saw = say("handovers.saw_owner", address=address, owner=data["owner_name"])
    into_bin.ask_to_reclaim(
        step, address=address, owner=owner, owner_name=str(data["owner_name"]),
        why=say("convert.reclaim_why", number=step.job.id),
        seen_before=evidence(step.now, Look(False, saw, {address: owner})),
    )  # fmt: skip


def convert(job: JobContext) -> None:
    """转为公共邮箱, seen by the mail API or by a login."""
    with job.begin() as step:
        data, item = step.job.data, conversion.entry_of(step.tx, step.job.data)
        handover = handovers.of_stage(step, "convert")
        if handover is None:
            conversion.ask_for_it(step, item, say("convert.convert_why", number=step.job.id))
            return
        done = conversion.is_done(step, item, handover)
        if done is None:
            stop(step, say("convert.not_done", title=from_json(handover.title)))
        elif done:
            conversion.became_public(step, item, handover)
            words = say("convert.done", address=data["source_address"], number=step.job.id)
            told = dict.fromkeys([step.job.asked_by, str(data["approved_by"])])
            step.say(*(Text(each, words) for each in told))
            if data["owner"] is not None:
                step.say(Text(str(data["owner"]), say("convert.owner_done", address=data["source_address"])))
            copying.end_with(step, "done")


# --- the end ---------------------------------------------------------------------------------------------------------


def stop(step: JobStep, why: Words) -> None:
    """It cannot go on: why, and what that leaves in the bin."""
    told = [say("convert.stopped", number=step.job.id, address=step.job.data["source_address"], why=why)]
    told += left_in_bin(step)
    step.say(Text(step.job.asked_by, lines(*told)))
    copying.end_with(step, "failed")
    step.job.error = why.text("en")


def left_in_bin(step: JobStep) -> list[Words]:
    """Until when the mailbox lies in the bin, if it does."""
    item = conversion.entry_of(step.tx, step.job.data)
    if item is None or item.state is not BinState.WAITING or step.job.data.get("converted_at"):
        return []
    return [recycle_bin.deleted_words(item, step.services.settings.zone)]


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on."""
    conversion.failed(step, words, stop, finish)


def clean_up(job: JobContext) -> None:
    """No key and no open console step is left behind; the book says that it left the bin, if it was seen."""
    conversion.clean_up(job, finish)


def finish(step: JobStep) -> None:
    """Nothing waits for anybody any more, the book is told the truth, and the job has its ending."""
    data, ending = step.job.data, str(step.job.data.get("ending") or "failed")
    conversion.nobody_waits(step)
    if ending in ("cancelled", "expired", "rejected", "too_late"):
        words = say(f"convert.ended_{ending}", number=step.job.id, address=data["source_address"])
        step.say(Text(step.job.asked_by, lines(words, *left_in_bin(step))))
    step.tx.audit.add("bot", "convert.ended", str(data["source_address"]), job=step.job.id, ending=ending)
    step.tx.jobs.end_as(step.job, ending)


@work.sweep("convert", conversion.WATCH_EVERY)
def watch(sweep: SweepStep) -> None:
    """What the waiting ones wait for: somebody who says that it is done, the deletion, or too long."""
    tx = sweep.tx
    for job in tx.jobs.waiting_or_due(KIND):
        if job.state is not JobState.WAITING:
            continue
        item, stage = (
            conversion.entry_of(tx, job.data),
            conversion.next_stage(tx, job, job.stage if job.stage != "access" else "convert"),
        )
        over = item is not None and item.state is BinState.WAITING and item.deletes_at <= tx.now
        if over and not conversion.living(tx, item):
            ending: str | None = "too_late"
        else:
            ending = approvals.ran_out(tx, job)
        if ending is not None:
            tx.jobs.put(job, ending=ending)
            tx.approvals.void(job.id)
            stage = "cleanup"
        if stage is not None:
            tx.jobs.wake(job, stage)
            sweep.start(job)
