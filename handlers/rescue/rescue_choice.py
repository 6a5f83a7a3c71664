"""
Which way a mailbox in the bin is rescued, and who agrees: both ways shown, one chosen, somebody's yes, read again.

What a yes is about is read anew before anything is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bot.context import Context
from bot.errors import UserError
from bot.policy import Approvers, Requirement
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.words import Words, from_json, lines, say
from bot.work import JobStep, Work
from handlers.approvals import approvals
from handlers.bin import conversion, recycle_bin
from handlers.copying import copying
from handlers.copying.backup_card import readers
from handlers.handovers import handovers
from storage.models import (
    Approval,
    BinItem,
    BinSource,
    BinState,
    Handover,
    Job,
    JobState,
    Mailbox,
)

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

KIND = "rescue"
ACTION = "rescue"  # of the approval
WAYS = {"console": "once", "后台": "once", "public": "public", "公共邮箱": "public"}
CHOOSING = ("shown", "access", "once", "convert")  # here another way can be chosen
HURRY = timedelta(days=1)  # nearer to the deletion than that, the console's copy may come too late


def entry_of(tx: Transaction, data: Mapping[str, Any]) -> BinItem:
    """The entry of the book that is rescued."""
    item = conversion.entry_of(tx, data)
    assert item is not None  # noqa: S101 (entries are never deleted)
    return item


def known_job(ctx: Context, job_id: int) -> Job:
    """A rescue; UserError otherwise."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    return job


# --- what people agree to -------------------------------------------------------------------------------------------


def facts_of(can_read: list[str], item: BinItem, target: Mailbox, way: str | None, asker: str) -> dict[str, Any]:
    """What people agree to: whose mail, into which mailbox, read by whom, and who opens the mailbox itself for it."""
    return {
        "source": item.address, "owner": item.owner, "state": "recycle bin", "target": target.address,
        "target_kind": copying.kind_of(target), "readers": can_read, "way": way,
        "opener": asker if way == "public" else None,
    }  # fmt: skip


def covers(agreed: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a yes to some facts is one to these: the console's own copy lets nobody into the mailbox itself."""
    if now["way"] == "once":
        agreed = {**agreed, "way": "once", "opener": None}
    return dict(agreed) == dict(now)


def requirement_of(source: Context | JobStep, item: BinItem) -> Requirement:
    """Whose yes it needs: of a member's mailbox the manager's, for the member is not there to be asked."""
    policy = source.policy if isinstance(source, Context) else source.services.policy
    if item.source is not BinSource.PUBLIC:
        return policy.requirement("backup_member_without_owner")
    wanted = policy.requirement("backup_public")
    return wanted if wanted is Requirement.CONFIRM else Requirement.TWO


def who_may(source: Context | JobStep, job: Job, item: BinItem, facts: Mapping[str, Any]) -> Approvers:
    """Who may say yes: the manager of who had it, never the asker or who can read the target; NobodyCanAnswer."""
    return approvals.who_may(
        requirement_of(source, item), source.directory, source.roles, asker=job.asked_by, owner=item.owner,
        gains=facts["readers"], gains_known=copying.readers_known(facts),
    )  # fmt: skip


# --- the two ways, shown ---------------------------------------------------------------------------------------------


def show(step: JobStep, item: BinItem) -> None:
    """Both ways, what each needs and costs, and who could read it; then the card to choose from."""
    data, zone = step.job.data, step.services.settings.zone
    number, address, target = step.job.id, str(item.address), str(data["target_address"])
    told: list[Words] = [say("rescue.what", address=address, target=target)]
    told.append(recycle_bin.deleted_words(item, zone))
    if item.deletes_at - step.now < HURRY:
        told.append(say("rescue.hurry", moment=recycle_bin.moment_of(item)))
    told.append(say("rescue.way_console", address=address, target=target, number=number))
    if (used := once_used(step.tx, item)) is not None:
        told.append(say("rescue.console_used", number=used.id))
    if conversion.trial(address):
        told.append(say("conversion.trial", address=address))
    else:
        told.append(say("rescue.way_public", address=address, target=target, number=number))
        told.append(conversion.needs(step.tx))
    told.append(say("rescue.can_read", readers=readers(data)))
    step.say(Text(step.job.asked_by, lines(*told)), ways_card(step.job, item))


def about(job_id: int) -> str:
    """What the cards of a rescue are about."""
    return f"job-{job_id}"


def ways_card(job: Job, item: BinItem) -> Card:
    """The card with a button for each way."""
    buttons = [Button(f"rescue_way:{job.id}:console", say("rescue.button_console"))]
    if not conversion.trial(str(item.address)):
        buttons.append(Button(f"rescue_way:{job.id}:public", say("rescue.button_public")))
    return Card(
        job.asked_by,
        about(job.id),
        say("rescue.card_title", number=job.id),
        note=say("rescue.card_note", address=item.address),
        rows=[
            (say("rescue.row_into"), str(job.data["target_address"])),
            (say("rescue.row_deleted"), recycle_bin.moment_of(item)),
        ],
        buttons=[*buttons, Button(f"cancel:{job.id}", say("jobs.button_cancel"), style=2)],
    )


def put_away(tx: Transaction, job: Job, done: Words) -> list[Reply]:
    """Every open card of the job greyed."""
    title = say("rescue.card_title", number=job.id)
    return [
        CardUpdate(each.task_id, Card(each.member, about(job.id), title, done=done))
        for each in tx.cards.open_about(about(job.id))
    ]


def once_used(tx: Transaction, item: BinItem) -> Job | None:
    """The rescue that used up the console's one copy of this mailbox, as far as we saw."""
    return next((each for each in tx.recycle_bin.rescues_of(item.id) if each.data.get("seen_once")), None)


def copying_into(tx: Transaction, job: Job) -> Job | None:
    """Another rescue that waits for the console's copy into the same target: nobody could tell their mails apart."""
    return next(
        (
            each for each in tx.jobs.waiting_or_due(KIND)
            if each.id != job.id and each.data.get("way") == "once" and each.data.get("target") == job.data["target"]
        ),
        None,
    )  # fmt: skip


# --- one is chosen ----------------------------------------------------------------------------------------------------


@router.command(
    "way {job_id:int} {way:console|public}", "方式 {job_id:int} {way:后台|公共邮箱}", role="admin", topic="bin",
    example=("way 12 public", "方式 12 公共邮箱"),
)  # fmt: skip
@router.action("rescue_way", role="admin")
def choose_way(ctx: Context, job_id: int, way: str) -> list[Reply]:
    """Choose how a mailbox in the bin is rescued: the console's own copy, or as a public mailbox."""
    job, chosen = known_job(ctx, job_id), WAYS.get(way)
    if chosen is None or job.state is not JobState.WAITING or job.stage not in CHOOSING:
        raise UserError(say("rescue.no_choice", number=job_id, state=say(f"jobs.stage_{job.stage}")))
    item = entry_of(ctx.tx, job.data)
    if item.state is not BinState.WAITING or item.deletes_at <= ctx.now:
        raise UserError(recycle_bin.closed_words(item, ctx.directory))
    if chosen == job.data.get("way"):
        raise UserError(say("rescue.way_already", number=job_id))
    if chosen == "public" and conversion.trial(str(item.address)):
        raise UserError(say("conversion.trial", address=item.address))
    if chosen == "once" and (other := copying_into(ctx.tx, job)) is not None:
        raise UserError(say("rescue.once_at_target", number=other.id, target=job.data["target_address"]))
    used = once_used(ctx.tx, item) if chosen == "once" else None
    warned = [Text(ctx.sender, say("rescue.console_used", number=used.id))] if used is not None else []
    replies = warned + put_away(ctx.tx, job, say("rescue.mark_chosen")) + handovers.withdraw(ctx.tx, job.id)
    ctx.tx.links.end(job.id)
    sides = ["target"] if chosen == "once" else ["source"]
    ctx.tx.jobs.put(
        job, way=chosen, handovers={}, sides=sides, opener=None, proof_for=None, refused_sides={}, untold=[]
    )
    ctx.tx.audit.add(ctx.sender, "rescue.way", str(item.address), job=job.id, way=chosen)
    if job.data.get("approved_by") and covers(job.data["facts"], facts_now(ctx, job)):
        go_on(ctx, job)
        return replies
    if requirement_of(ctx, item) is Requirement.CONFIRM:  # it needs no more than the asker's own press
        ctx.tx.jobs.put(job, approved_by=ctx.sender, facts=facts_now(ctx, job))
        go_on(ctx, job)
        return replies
    return replies + ask_manager(ctx, job, item)


def go_on(ctx: Context, job: Job) -> None:
    """The chosen way begins, or goes on."""
    ctx.tx.jobs.wake(job, stage_of_way(job))
    ctx.start(job)


def stage_of_way(job: Job) -> str:
    """Where the chosen way goes on."""
    if job.data["way"] == "once":
        return "access"
    return "saving" if job.data.get("converted_at") else "convert"


# --- somebody's yes --------------------------------------------------------------------------------------------------


def ask_manager(source: Context | JobStep, job: Job, item: BinItem) -> list[Reply]:
    """Whoever must agree is asked, and the job waits; NobodyCanAnswer."""
    settings = source.settings if isinstance(source, Context) else source.services.settings
    requirement, facts = requirement_of(source, item), facts_now(source, job)
    may = who_may(source, job, item, facts)
    named = [source.directory.name(each) for each in facts["readers"]]
    asker = str(job.data["asker_name"])
    question = say(
        "rescue.question_public_by_now" if job.data.get("converted_at") else "rescue.question",
        owner=item.owner_name or item.owner or "?", address=item.address, target=facts["target"],
        readers=readers({**job.data, "reader_names": named, "facts": facts}), moment=recycle_bin.moment_of(item),
        way=say(f"rescue.question_way_{facts['way']}", address=item.address, asker=asker),
    )  # fmt: skip
    approval, replies = approvals.ask(
        source.tx, action=ACTION, requirement=requirement, may=may, job_id=job.id, question=question, facts=facts,
        reason=str(job.data["reason"]), asked_by=job.asked_by, asked_by_name=asker, settings=settings,
    )  # fmt: skip
    source.tx.jobs.put(job, approval=approval.id, approved_by=None, reader_names=named)
    source.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)
    asked = [source.directory.name(userid) for userid in may.userids]
    told = source.sender if isinstance(source, Context) else job.asked_by
    return [*replies, Text(told, say("backup.manager_asked", approvers=asked, number=job.id))]


def facts_now(source: Context | JobStep, job: Job) -> dict[str, Any]:
    """What a yes is about, as rows tell it now."""
    item, target = entry_of(source.tx, job.data), source.tx.mailboxes.get(int(job.data["target"]))
    facts = facts_of(source.directory.readers(target), item, target, job.data.get("way"), job.asked_by)
    as_agreed = item.state is BinState.WAITING or job.data.get("converted_at")  # the latter is what was agreed to
    return facts if as_agreed else {**facts, "state": str(item.state)}


def still_agreed(step: JobStep, item: BinItem) -> bool:
    """Whether it is now as people agreed to it; else they are asked again before anything more is done."""
    job, agreed, now = step.job, step.job.data["facts"], facts_now(step, step.job)
    if covers(agreed, now):
        return True
    step.tx.audit.add("bot", "rescue.facts_changed", str(item.address), job=job.id, before=agreed, now=now)
    named = [step.directory.name(each) for each in now["readers"]]
    can_read = readers({**job.data, "reader_names": named, "facts": now})
    words = say("rescue.facts_changed", number=job.id, address=item.address, target=now["target"], readers=can_read)
    step.say(Text(job.asked_by, words))
    if requirement_of(step, item) is Requirement.CONFIRM:  # he is told, and what comes next is his own press
        step.put(facts=now, reader_names=named)
        return True
    try:
        step.say(*ask_manager(step, job, item))
    except approvals.NobodyCanAnswer as nobody:
        stop(step, nobody.words)
    return False


@approvals.facts_of(ACTION)
def facts_again(ctx: Context, approval: Approval) -> dict[str, Any]:
    """What the question showed, read again: if it changed, a yes to it is void."""
    return facts_now(ctx, ctx.tx.jobs.get(approval.job_id))


@approvals.decided(ACTION)
def manager_decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes begins the chosen way, a no ends it."""
    stage = stage_of_way(ctx.tx.jobs.get(approval.job_id))
    return approvals.go_on(ctx, approval, stage, approved_by=ctx.sender, facts=approval.facts)


# --- it cannot go on --------------------------------------------------------------------------------------------------


def stop(step: JobStep, why: Words) -> None:
    """It cannot go on: why, and that the mailbox still waits to be deleted."""
    words = say("rescue.stopped", number=step.job.id, address=step.job.data["source_address"], why=why)
    step.say(Text(step.job.asked_by, words))
    copying.end_with(step, "failed")
    step.job.error = why.text("en")


def not_in_time(step: JobStep, item: BinItem, handover: Handover) -> None:
    """A console step was not seen to be done before its deadline, which is perhaps the deletion itself."""
    if item.state is BinState.LOST or item.deletes_at <= step.now:
        copying.end_with(step, "too_late")
        return
    stop(step, say("rescue.not_done", title=from_json(handover.title), number=item.id))
