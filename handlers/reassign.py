"""
`reassign ahing@ to calvin because …`: a mailbox with its history gets another owner, and nothing is lost unseen.

No API does it, so the console's steps are handovers. The job's stages, each of which may run twice: start (who has
what), shown (waits for the asker), approval (waits for the manager), prepare (a verified backup of what the new owner
loses, and his word that he knows), facts (read again), reclaim, assign, finish, cleanup. A mailbox in the recycle bin
needs no reclaim. What was done is kept step by step, so a failure can name it and `resume` goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import Context, Missing
from bot.directory import Directory
from bot.errors import UserError
from bot.policy import Approvers, Policy, Roles
from bot.replies import Button, Card, CardUpdate, Reply, Said, Text
from bot.router import Router
from bot.wecom import exmail
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import addresses, approvals, copying, handovers, recycle_bin
from handlers.approvals import as_json, from_json
from handlers.handovers import Check, Look, evidence, moment, owner_now
from storage.handovers import OPEN as STILL_OPEN
from storage.models import (
    Approval,
    ApprovalStatus,
    BinSource,
    BinState,
    Handover,
    HandoverState,
    Job,
    JobState,
    MailboxKind,
)

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

KIND = "reassign"
ACTION = "reassign"  # of the policy and of the approval
SHOWN_FOR = timedelta(days=7)
PREPARE_WITHIN = timedelta(days=14)
RECLAIM_WITHIN = timedelta(days=14)
ASSIGN_WITHIN = timedelta(days=14)  # if we do not know when the bin deletes it
STEPS = ("prepare", "facts", "reclaim", "assign", "finish")  # behind the manager's yes: here `resume` goes on
OPEN = (JobState.WAITING, JobState.DUE)
WAITING_MAX = 200


# --- asking for it ---------------------------------------------------------------------------------------------------


@router.command(
    "reassign {source} to {member} [because {reason:text}] [without {without:backup|saving}] [saved into {into}]",
    "转移|转交 {source} 给|到 {member} [原因|因为 {reason:text}] [不|不做 {without:备份|备份邮件}] [备份到 {into}]",
    role="admin",
    topic="reassign",
    example=("reassign ahing@ to calvin because he takes over", "转移 ahing@ 给 calvin 原因 接手客户"),
)
def request_reassign(
    ctx: Context,
    source: str,
    member: str,
    reason: str | None = None,
    without: str | None = None,
    into: str | None = None,
) -> list[Reply]:
    """Give a mailbox with its history to another member, once the manager agrees."""
    admin = ctx.require_admin()
    wanted = ctx.directory.mailbox(source)
    if wanted.mailbox is not None and wanted.mailbox.kind is MailboxKind.PUBLIC:
        raise UserError(say("reassign.public", address=wanted.mailbox.address))
    new_owner = ctx.directory.member(member)
    if new_owner.left_at is not None:
        raise UserError(say("reassign.new_owner_left", name=new_owner.name))
    saved_into = saving_place(ctx, into, str(wanted), new_owner.userid) if without is None else None
    if not reason:
        raise Missing("reason", say("reassign.why", source=str(wanted), name=new_owner.name))
    params = {
        "source": {"address": wanted.address, "userid": wanted.userid}, "new_owner": new_owner.userid,
        "reason": reason[: approvals.REASON_MAX], "without_backup": without is not None, "into": saved_into,
    }  # fmt: skip
    job = ctx.tx.jobs.add(KIND, asked_by=admin, params=params)
    ctx.tx.jobs.put(
        job, reason=params["reason"], asker_name=ctx.directory.name(admin), source_address=str(wanted),
        target_address=new_owner.name, new_name=new_owner.name, steps=[], handovers={},
    )  # fmt: skip
    ctx.tx.audit.add(admin, "reassign.asked", str(wanted), job=job.id, to=new_owner.userid, reason=params["reason"])
    ctx.start(job)
    return [Text(admin, say("reassign.looking", source=str(wanted), name=new_owner.name, number=job.id))]


def saving_place(ctx: Context, into: str | None, source: str, new_owner: str) -> str | None:
    """Where the displaced mailbox's mail is saved: a public mailbox, the archive first; None when none is known."""
    if into is not None:
        meant = ctx.directory.mailbox(into)
        if meant.userid is not None or meant.address is None or meant.address == source:
            raise UserError(say("reassign.not_public", address=str(meant)))
        return meant.address
    wanted = ctx.settings.exmail_archive_mailbox
    archive = [ctx.settings.address(wanted)] if wanted else []
    known = sorted((box.address for box in ctx.tx.mailboxes.public()), key=lambda each: each.partition("@")[0])
    known.sort(key=lambda each: not each.startswith("support@"))
    return next(iter([*archive, *known]), None)


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage. A wish to cancel is honoured between turns."""
    if job.stage not in ("finish", "cleanup"):  # once it is assigned there is nothing left to cancel
        with job.begin() as step:
            if step.job.cancel_asked_by is not None:
                end_with(step, "cancelled")
                return
    stages = {
        "start": find_both,
        "prepare": prepare,
        "facts": read_again,
        "reclaim": reclaim,
        "assign": assign,
        "finish": finish,
        "cleanup": clean_up,
    }
    stages[job.stage](job)


def end_with(step: JobStep, ending: str) -> None:
    """To the cleanup, and then to this ending."""
    step.put(ending=ending)
    step.go("cleanup")


def refuse(step: JobStep, why: Words) -> None:
    """It cannot be done as it was asked."""
    step.say(Text(step.job.asked_by, why))
    end_with(step, "refused")


def enter(step: JobStep, stage: str) -> None:
    """On to a stage from which `resume` can go on."""
    step.put(at_step=stage)
    step.go(stage)


def did(step: JobStep, words: Words) -> None:
    """Something is done that a failure has to name."""
    at = moment(step.now, step.services.settings.zone)
    step.put(steps=[*step.job.data["steps"], as_json(say("reassign.step_done", at=at, what=words))])


# --- who has what ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """The mailbox that gets another owner: a member's, or one in the recycle bin."""

    address: str
    owner: str | None
    living: bool
    box_id: int | None
    look: Look


class Refused(Exception):
    """It cannot be; the words say why."""

    def __init__(self, words: Words) -> None:
        super().__init__(words.key)
        self.words = words


def find_both(job: JobContext) -> None:
    """Who has what now; what cannot be is refused, the rest is shown before anybody is asked."""
    try:
        source = find_source(job)
        displaced, target_look = find_displaced(job)
    except Refused as refused:
        with job.begin() as step:
            refuse(step, refused.words)
        return
    except addresses.NoBudget as error:
        with job.begin() as step:
            refuse(step, say("addresses.no_budget", address=str(error)))
        return
    new_owner = str(job.params["new_owner"])
    unread = {
        "source": unread_of(job, source.owner if source.living else None),
        "target": unread_of(job, new_owner if displaced is not None else None),
    }
    with job.begin() as step:
        if (why := cannot_be(step, source, displaced)) is not None:
            refuse(step, why)
            return
        box = step.tx.mailboxes.at(displaced) if displaced is not None else None
        owner_name = step.directory.name(source.owner) if source.owner else "?"
        saved = displaced is not None and not job.params["without_backup"]
        now = step.now
        step.put(
            source=source.box_id, target=box.id if box is not None else None, source_address=source.address,
            owner=source.owner, owner_name=owner_name, living=source.living, displaced=displaced,
            into=job.params["into"] if saved else None, unread=unread,
            facts=facts_of(source.address, source.owner, source.living, new_owner, displaced),
            before={
                "source": evidence(now, source.look), "target": evidence(now, target_look) if target_look else None
            },
            deletes_on=day(recycle_bin.deletion_of(now, step.services.settings.bot_bin_days)),
        )  # fmt: skip
        step.tx.audit.add("bot", "reassign.found", source.address, job=job.job_id, facts=step.job.data["facts"])
        step.tx.jobs.wait(step.job, "shown", expires_at=now + SHOWN_FOR)
        show(step)


def find_source(job: JobContext) -> Source:
    """The mailbox to be given away. Raises Refused, NoBudget, WeComError, NetworkError."""
    typed, userid = job.params["source"]["address"], job.params["source"]["userid"]
    domain = job.services.settings.exmail_domain
    with job.services.store.begin() as tx:
        own = tx.mailboxes.of(userid) if typed is None and userid is not None else None
        waiting = tx.recycle_bin.waiting_of(userid) if typed is None and userid is not None else None
    known = own.address if own is not None else waiting.address if waiting is not None else None
    address = str(typed or known or f"{userid}@{domain}")
    if public_one(job, address):
        raise Refused(say("reassign.public", address=address))
    owner = addresses.look_up(job, address)
    if owner is not None:
        with job.services.store.begin() as tx:
            box = tx.mailboxes.of(owner)
        saw = say("handovers.saw_owner", address=address, owner=handovers.name_of(job, owner))
        return Source(address, owner, True, box.id if box is not None else None, Look(True, saw, {address: owner}))
    look = Look(None, say("handovers.saw_nobody", address=address), {address: None})
    with job.services.store.begin() as tx:
        item, former = tx.recycle_bin.waiting_at(address), tx.mailboxes.last_at(address)
        if former is not None and former.kind is MailboxKind.MEMBER:
            return Source(
                address, item.owner if item is not None and item.owner else former.owner, False, former.id, look
            )
        if item is not None:
            return Source(address, item.owner, False, item.mailbox_id, look)
    raise Refused(say("reassign.unknown", address=address))


def public_one(job: JobContext, address: str) -> bool:
    """Whether the app can see a public mailbox there; what WeCom refuses to show is taken for none."""
    try:
        return addresses.find_public(job, address) is not None
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        return False


def find_displaced(job: JobContext) -> tuple[str | None, Look | None]:
    """
    The mailbox the new owner has now and would lose. Raises Refused when we cannot know, NoBudget.

    An app made after June 2022 cannot read a member's address: "none" is believed only from the admin's own words.
    """
    new_owner, domain = str(job.params["new_owner"]), job.services.settings.exmail_domain
    with job.services.store.begin() as tx:
        own = tx.mailboxes.of(new_owner)
    address = own.address if own is not None else f"{new_owner}@{domain}"
    owner = addresses.look_up(job, address)
    name = handovers.name_of(job, new_owner)
    if owner == new_owner:
        saw = say("handovers.saw_owner", address=address, owner=name)
        return address, Look(True, saw, {address: new_owner})
    if not job.params["without_backup"]:
        raise Refused(say("reassign.displaced_unknown", name=name, tried=address))
    return None, None


def unread_of(job: JobContext, userid: str | None) -> int | None:
    """How many unread mails a member has; None when nobody has it or WeCom does not tell."""
    if userid is None:
        return None
    try:
        return exmail.mail_get_newcount(job.client, userid)
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        log.warning("unread_refused", errcode=error.errcode)
        return None


def cannot_be(step: JobStep, source: Source, displaced: str | None) -> Words | None:
    """Why it is refused at once; None when it may be asked for."""
    params = step.job.params
    new_owner = str(params["new_owner"])
    name = step.directory.name(new_owner)
    if source.living and source.owner == new_owner:
        return say("reassign.same_owner", address=source.address, name=name)
    if displaced is not None and not params["without_backup"] and not params["into"]:
        return say("reassign.nowhere_to_save", displaced=displaced)
    for other in step.tx.jobs.waiting_or_due(KIND):
        if other.id != step.job.id and (
            other.data.get("source_address") == source.address or other.params["new_owner"] == new_owner
        ):
            return say("reassign.already_open", number=other.id)
    try:
        who_may(step.services.policy, step.directory, step.roles, step.job.asked_by, source.owner, new_owner)
    except approvals.NobodyCanAnswer as error:
        return error.words if source.owner is not None else say("reassign.owner_unknown", address=source.address)
    return None


def who_may(
    policy: Policy, directory: Directory, roles: Roles, asker: str, owner: str | None, new_owner: str
) -> Approvers:
    """Who may say yes: the manager of the present or former owner, never the asker or who gains by it."""
    requirement = policy.requirement(ACTION)
    return approvals.who_may(requirement, directory, roles, asker=asker, owner=owner, gains=[new_owner])


def facts_of(address: str, owner: str | None, living: bool, new_owner: str, displaced: str | None) -> dict[str, Any]:
    """What people agree to. No counts."""
    return {
        "mailbox": address, "owner": owner, "state": "in use" if living else "recycle bin", "new_owner": new_owner,
        "displaced": displaced,
    }  # fmt: skip


# --- shown before anybody is asked -----------------------------------------------------------------------------------


def show(step: JobStep) -> None:
    """All of it in words, then the card with Ask."""
    data, job = step.job.data, step.job
    told: list[Words] = [what(data), lost(data)]
    for side, address in (("source", data["source_address"]), ("target", data["displaced"])):
        if (count := data["unread"][side]) is not None:
            told.append(say("reassign.unread", address=address, count=count))
    boxes = [each for each in (data["source"], data["target"]) if each is not None]
    for other in step.tx.jobs.open_on(boxes):
        if other.id != job.id:
            told.append(say("reassign.open_job", number=other.id))
    if not data["living"]:
        told.append(say("reassign.taken_for_binned", address=data["source_address"], owner=data["owner_name"]))
    told.append(say("reassign.how_to_ask", number=job.id))
    step.say(Text(job.asked_by, lines(*told)), shown_card(job))


def what(data: Mapping[str, Any]) -> Words:
    """What would change hands, in one sentence."""
    key = "reassign.what" if data["living"] else "reassign.what_binned"
    return say(key, address=data["source_address"], owner=data["owner_name"], name=data["new_name"])


def lost(data: Mapping[str, Any]) -> Words:
    """What the new owner loses, until when it can be saved, and where its mail goes before."""
    displaced = data["displaced"]
    if displaced is None:
        return say("reassign.nothing_lost", name=data["new_name"])
    values = {"displaced": displaced, "name": data["new_name"], "date": data["deletes_on"]}
    if data["into"] is None:
        return say("reassign.lost_without_backup", **values)
    return say("reassign.lost", **values, into=data["into"])


def card_rows(data: Mapping[str, Any]) -> list[tuple[Words, Said]]:
    """The rows that every card of a reassign has."""
    rows: list[tuple[Words, Said]] = [
        (say("reassign.row_from"), data["owner_name"] if data["living"] else say("reassign.from_bin")),
        (say("reassign.row_to"), str(data["new_name"])),
    ]
    if data["displaced"] is not None:
        rows.append((say("reassign.row_lost"), str(data["displaced"])))
    return rows


def about(job_id: int) -> str:
    """What the cards of a reassign are about."""
    return f"job-{job_id}"


def shown_card(job: Job) -> Card:
    """The card with Ask and Cancel."""
    data = job.data
    rows = card_rows(data)
    if data["displaced"] is not None:
        rows.append((say("reassign.row_dies"), str(data["deletes_on"])))
        rows.append((say("reassign.row_saved"), str(data["into"]) if data["into"] else say("reassign.not_saved")))
    return Card(
        job.asked_by,
        about(job.id),
        say("reassign.card_title", number=job.id),
        note=say("reassign.card_note", address=data["source_address"], name=data["new_name"]),
        rows=rows,
        buttons=[
            Button(f"reassign_ask:{job.id}", say("reassign.button_ask")),
            Button(f"cancel:{job.id}", say("jobs.button_cancel"), style=2),
        ],
    )


def put_away(tx: Transaction, job: Job, done: Words, *, member: str | None = None) -> list[Reply]:
    """Every open card of the job (of one member) greyed."""
    title = say("reassign.card_title", number=job.id)
    return [
        CardUpdate(each.task_id, Card(each.member, about(job.id), title, done=done))
        for each in tx.cards.open_about(about(job.id), member)
    ]


# --- the manager's yes -----------------------------------------------------------------------------------------------


def known_job(ctx: Context, job_id: int) -> Job:
    """A reassign; UserError otherwise."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    return job


@router.command(
    "submit {job_id:int}", "提交 {job_id:int}", role="admin", topic="reassign", example=("submit 12", "提交 12")
)
@router.action("reassign_ask", role="admin")
def submit(ctx: Context, job_id: int) -> list[Reply]:
    """Ask the manager for a change of owner that was shown."""
    job = known_job(ctx, job_id)
    if job.state is not JobState.WAITING or job.stage != "shown":
        raise UserError(say("reassign.not_shown", number=job_id))
    data = job.data
    facts = rows_now(ctx.tx, job)
    if facts != data["facts"]:
        ctx.tx.jobs.wake(job, "start")  # somebody changed it meanwhile: look again, show again
        ctx.start(job)
        return [*put_away(ctx.tx, job, say("reassign.looking_again")), Text(ctx.sender, say("reassign.looking_again"))]
    new_owner = str(job.params["new_owner"])
    may = who_may(ctx.policy, ctx.directory, ctx.roles, job.asked_by, data["owner"], new_owner)
    approval, replies = approvals.ask(
        ctx.tx, action=ACTION, requirement=ctx.policy.requirement(ACTION), may=may, job_id=job.id,
        question=lines(what(data), lost(data)), facts=facts, reason=str(data["reason"]), asked_by=job.asked_by,
        asked_by_name=str(data["asker_name"]), settings=ctx.settings, rows=card_rows(data),
    )  # fmt: skip
    ctx.tx.jobs.put(job, approval=approval.id)
    ctx.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)
    named = [ctx.directory.name(userid) for userid in may.userids]
    told = say("reassign.manager_asked", approvers=named, number=job.id, approval=approval.id)
    return [*put_away(ctx.tx, job, say("reassign.mark_asked")), *replies, Text(ctx.sender, told)]


def rows_now(tx: Transaction, job: Job) -> dict[str, Any]:
    """What was shown, as far as rows tell now; the job looks again before anything is done."""
    facts, new_owner = job.data["facts"], str(job.params["new_owner"])
    address = str(facts["mailbox"])
    box, own = tx.mailboxes.at(address), tx.mailboxes.of(new_owner)
    living = box is not None and box.owner is not None
    owner = box.owner if box is not None and living else facts["owner"]
    return facts_of(address, owner, living, new_owner, own.address if own is not None else None)


@approvals.facts_of(ACTION)
def facts_again(ctx: Context, approval: Approval) -> dict[str, Any]:
    """What the question showed, read again: if it changed, a yes to it is void."""
    return rows_now(ctx.tx, ctx.tx.jobs.get(approval.job_id))


@approvals.decided(ACTION)
def manager_decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes begins the preparations, a no ends it."""
    job = ctx.tx.jobs.get(approval.job_id)
    if job.state is not JobState.WAITING or job.stage != "approval":
        return []
    if approval.status is not ApprovalStatus.APPROVED:
        ctx.tx.jobs.put(job, ending="rejected")
        ctx.tx.jobs.wake(job, "cleanup")
    else:
        ctx.tx.jobs.put(job, approved_by=ctx.sender, at_step="prepare")
        ctx.tx.jobs.wake(job, "prepare")
    ctx.start(job)
    return []


# --- the backup of what is displaced, and the new owner's word -------------------------------------------------------


def prepare(job: JobContext) -> None:
    """Waits for a verified backup of the displaced mailbox and for the new owner to acknowledge, in any order."""
    with job.begin() as step:
        data = step.job.data
        if not data.get("approved_noted"):
            by = step.directory.name(str(data["approved_by"]))
            did(step, say("reassign.did_approve", name=by, number=data["approval"]))
            step.put(approved_noted=True)
        if not data.get("acknowledged_by") and not data.get("acknowledgement_asked"):
            step.put(acknowledgement_asked=True)
            step.say(*ask_new_owner(step))
        if data["into"] is not None and data.get("backup") is None:
            step.put(backup=start_backup(step))
        saved = saved_now(step)
        if saved is None:
            return
        if saved and step.job.data.get("acknowledged_by"):
            enter(step, "facts")
        else:
            step.tx.jobs.wait(step.job, "prepare", expires_at=step.now + PREPARE_WITHIN)


def start_backup(step: JobStep) -> int:
    """The backup of the displaced mailbox, an ordinary job; one that is under way already is waited for."""
    data, job = step.job.data, step.job
    into = step.directory.mailbox(str(data["into"]))
    ids = (data["target"], into.mailbox.id if into.mailbox is not None else None)
    for other in step.tx.jobs.open_on([data["target"]], kind=copying.KIND):
        if copying.pair(other) == ids:
            return other.id
    reason = say("reassign.backup_reason", number=job.id, address=data["source_address"], reason=data["reason"])
    why = reason.text(step.services.settings.bot_language)
    started = copying.add_job(
        step.tx, asked_by=job.asked_by, asker_name=str(data["asker_name"]), reason=why, reassign=job.id,
        source={"address": data["displaced"], "userid": str(job.params["new_owner"])},
        target={"address": into.address, "userid": None},
    )  # fmt: skip
    step.start(started)
    words = say(
        "reassign.backup_started", displaced=data["displaced"], into=data["into"], backup=started.id, number=job.id
    )
    step.say(Text(job.asked_by, words))
    return started.id


def saved_now(step: JobStep) -> bool | None:
    """Whether the displaced mailbox is saved, or nothing is to be; None when its backup ended badly: told, stopped."""
    backup_id = step.job.data.get("backup")
    if backup_id is None or step.job.data.get("backup_noted"):
        return True
    done = step.tx.jobs.get(int(backup_id))
    if done.state in OPEN:
        return False
    outcome = done.data.get("outcome") or {}
    if done.state is not JobState.DONE or not outcome.get("verified"):
        fail(step, say("reassign.backup_failed", backup=done.id, displaced=step.job.data["displaced"]))
        return None
    step.put(backup_noted=True)
    words = say("reassign.did_backup", displaced=step.job.data["displaced"], into=step.job.data["into"], backup=done.id)
    did(step, words)
    return True


def ask_new_owner(step: JobStep) -> list[Reply]:
    """What he gets and loses, in words and as a card with Acknowledge."""
    data, to = step.job.data, str(step.job.params["new_owner"])
    by = step.directory.name(str(data["approved_by"]))
    told = say(
        "reassign.to_new_owner", what=what(data), lost=lost(data), by=by, reason=data["reason"], number=step.job.id
    )
    card = Card(
        to,
        about(step.job.id),
        say("reassign.card_title", number=step.job.id),
        note=say("reassign.card_note", address=data["source_address"], name=data["new_name"]),
        rows=card_rows(data),
        buttons=[Button(f"reassign_ack:{step.job.id}", say("reassign.button_ack"))],
    )
    return [Text(to, told), card]


@router.command(
    "acknowledge {job_id:int} [for {member}]", "知悉 {job_id:int} [代 {member}]", topic="reassign",
    example=("acknowledge 12", "知悉 12"),
)  # fmt: skip
@router.action("reassign_ack")
def acknowledge(ctx: Context, job_id: int, member: str | None = None) -> list[Reply]:
    """Say that I know what I get and what I lose; a manager can say it for a member by name."""
    job = ctx.tx.jobs.find(job_id)
    new_owner = str(job.params["new_owner"]) if job is not None and job.kind == KIND else None
    managers = ctx.directory.managers(new_owner) if new_owner is not None else []
    by_manager = job is not None and ctx.sender in (*managers, job.data.get("approved_by"))
    if job is None or new_owner is None or not (ctx.sender == new_owner or by_manager):
        raise UserError(say("jobs.unknown", number=job_id))
    name = str(job.data["new_name"])
    if ctx.sender != new_owner:
        if ctx.sender == job.asked_by:
            raise UserError(say("reassign.not_the_asker", name=name, number=job_id))
        if member is None or ctx.directory.member(member).userid != new_owner:
            raise UserError(say("reassign.by_name", name=name, userid=new_owner, number=job_id))
    if job.data.get("acknowledged_by"):
        raise UserError(say("reassign.acknowledged_already", name=name, number=job_id))
    if job.state is not JobState.WAITING or job.stage != "prepare":
        raise UserError(say("reassign.nothing_to_acknowledge", number=job_id))
    ctx.tx.jobs.put(job, acknowledged_by=ctx.sender)
    who = ctx.directory.name(ctx.sender)
    own = ctx.sender == new_owner
    note = say("reassign.did_know", name=name) if own else say("reassign.did_acknowledge", name=who, member=name)
    at = moment(ctx.now, ctx.settings.zone)
    ctx.tx.jobs.put(job, steps=[*job.data["steps"], as_json(say("reassign.step_done", at=at, what=note))])
    ctx.tx.audit.add(ctx.sender, "reassign.acknowledged", str(job.data["source_address"]), job=job.id, of=new_owner)
    ctx.tx.jobs.wake(job, "prepare")
    ctx.start(job)
    replies = put_away(ctx.tx, job, say("reassign.mark_acknowledged"), member=new_owner)
    if ctx.task_id is None:
        replies.append(Text(ctx.sender, say("reassign.thanks", number=job_id)))
    return [*replies, Text(job.asked_by, say("reassign.told_acknowledged", what=note, number=job_id))]


# --- the console's steps ---------------------------------------------------------------------------------------------


def read_again(job: JobContext) -> None:
    """The facts again, now by look-up: on a difference nothing is done."""
    data = job.data
    address, displaced, new_owner = str(data["source_address"]), data["displaced"], str(job.params["new_owner"])
    try:
        owner = owner_now(job, address)
        has = owner_now(job, str(displaced)) if displaced is not None else None
    except addresses.NoBudget:
        with job.begin() as step:
            step.go("facts", due_at=step.now + handovers.UPSTREAM_AGAIN)
        return
    living = owner is not None
    kept = displaced if displaced is not None and has == new_owner else None
    now = facts_of(address, owner if living else data["owner"], living, new_owner, kept)
    looks = {
        "source": seen(job, address, owner),
        "target": seen(job, str(displaced), has) if displaced is not None else None,
    }
    with job.begin() as step:
        if now != data["facts"]:
            void(step, now)
            return
        step.put(before={side: evidence(step.now, look) if look is not None else None for side, look in looks.items()})
        enter(step, "reclaim" if living else "assign")


def seen(job: JobContext, address: str, owner: str | None) -> Look:
    """A look-up as evidence."""
    if owner is None:
        return Look(None, say("handovers.saw_nobody", address=address), {address: None})
    saw = say("handovers.saw_owner", address=address, owner=handovers.name_of(job, owner))
    return Look(True, saw, {address: owner})


def void(step: JobStep, now: dict[str, Any]) -> None:
    """What was agreed to is not so any more: the difference is shown, nothing is done."""
    before = step.job.data["facts"]
    names = [name for name in before if before[name] != now[name]]
    differences = [
        say(
            "approvals.difference",
            name=say(f"reassign.fact_{name}"),
            before=before[name] or "-",
            after=now[name] or "-",
        )
        for name in names
    ]
    step.tx.audit.add("bot", "reassign.facts_changed", str(before["mailbox"]), job=step.job.id, before=before, now=now)
    words = say("reassign.facts_changed", number=step.job.id, differences=differences)
    told = dict.fromkeys([step.job.asked_by, str(step.job.data["approved_by"])])
    step.say(*(Text(each, words) for each in told))
    end_with(step, "void")


def current(step: JobStep, stage: str) -> Handover | None:
    """The handover of a stage, if it was asked for."""
    handover_id = step.job.data["handovers"].get(stage)
    return step.tx.handovers.get(int(handover_id)) if handover_id is not None else None


def asked(step: JobStep, stage: str, handover: Handover) -> None:
    """Remember the handover of a stage."""
    step.put(handovers={**step.job.data["handovers"], stage: handover.id})


def still_open(step: JobStep, stage: str, handover: Handover) -> bool:
    """Whether a handover is not done: then the job waits on, or it was too late and that is said."""
    if handover.state is HandoverState.DONE:
        return False
    if handover.state in STILL_OPEN:
        step.tx.jobs.wait(step.job, stage, expires_at=None)
    else:
        fail(step, say("reassign.too_late", title=from_json(handover.title), handover=handover.id))
    return True


def reclaim(job: JobContext) -> None:
    """回收邮箱: the mailbox leaves its owner, who stays; from then on it lies in the bin and its days are counted."""
    with job.begin() as step:
        data = step.job.data
        address, owner = str(data["source_address"]), str(data["owner"])
        handover = current(step, "reclaim")
        if handover is None:
            words = say(
                "reassign.to_owner", address=address, name=data["new_name"], reason=data["reason"],
                by=step.directory.name(str(data["approved_by"])),
            )  # fmt: skip
            step.say(Text(owner, words))
            handover = handovers.ask_for(
                step,
                title=say("reassign.reclaim_title", address=address, owner=data["owner_name"]),
                why=say("reassign.reclaim_why", number=job.job_id, name=data["new_name"]),
                how=[
                    say("reassign.path"),
                    say("reassign.reclaim_how", owner=data["owner_name"]),
                    say("reassign.no_delete"),
                ],
                values=[address],
                check=Check("owner_is_not", {"address": address, "userid": owner}),
                deadline_at=step.now + RECLAIM_WITHIN,
                stage="reclaim",
                seen_before=data["before"]["source"],
            )
            asked(step, "reclaim", handover)
            return
        if still_open(step, "reclaim", handover):
            return
        last_seen = datetime.fromisoformat((handover.before or data["before"]["source"])["at"])
        deletes_at = into_book(
            step, address=address, mailbox_id=data["source"], owner=owner, source=BinSource.RECLAIMED, since=last_seen
        )
        step.put(source_deletes_at=deletes_at.isoformat())
        did(step, say("reassign.did_reclaim", address=address, owner=data["owner_name"], handover=handover.id))
        step.say(Text(step.job.asked_by, say("reassign.half", address=address, date=day(deletes_at))))
        enter(step, "assign")


def assign(job: JobContext) -> None:
    """分配给成员: the mailbox in the bin becomes the new owner's; the one he had goes there."""
    with job.begin() as step:
        data, params = step.job.data, step.job.params
        address, displaced = str(data["source_address"]), data["displaced"]
        handover = current(step, "assign")
        if handover is None:
            item = step.tx.recycle_bin.waiting_at(address)
            deadline = item.deletes_at if item is not None else step.now + ASSIGN_WITHIN
            values = [address, str(data["new_name"])]
            handover = handovers.ask_for(
                step,
                title=say("reassign.assign_title", address=address, name=data["new_name"]),
                why=say("reassign.assign_why", number=job.job_id, lost=lost(data)),
                how=[say("reassign.bin_path"), say("reassign.assign_how", address=address, name=data["new_name"])],
                values=values,
                check=Check("owner_is", {"address": address, "userid": params["new_owner"], "instead_of": displaced}),
                deadline_at=max(deadline, step.now + timedelta(hours=1)),
                stage="assign",
                seen_before=data["before"]["target"],
            )
            asked(step, "assign", handover)
            return
        if still_open(step, "assign", handover):
            return
        did(step, say("reassign.did_assign", address=address, name=data["new_name"], handover=handover.id))
        out_of_book(step, address, by=step.job.asked_by, handover=handover)
        if displaced is not None:
            last_seen = datetime.fromisoformat((handover.before or data["before"]["target"])["at"])
            deletes_at = into_book(
                step, address=str(displaced), mailbox_id=data["target"], owner=str(params["new_owner"]),
                source=BinSource.REPLACED, since=last_seen,
            )  # fmt: skip
            step.put(deletes_on=day(deletes_at))
        enter(step, "finish")


def day(at: datetime) -> str:
    """A day by the console's calendar."""
    return f"{at.astimezone(recycle_bin.SHANGHAI):%Y-%m-%d}"


def into_book(
    step: JobStep, *, address: str, mailbox_id: int | None, owner: str, source: BinSource, since: datetime
) -> datetime:
    """An entry of the recycle bin's book, from when it was last seen elsewhere; when it is deleted there."""
    settings = step.services.settings
    box = step.tx.mailboxes.get(mailbox_id) if mailbox_id is not None else None
    item = recycle_bin.enter(
        step.tx, settings, source=source, known_from=KIND, box=box, address=address,
        owner=step.tx.members.find(owner), added_by=step.job.asked_by, entered_at=since,
    ) or step.tx.recycle_bin.waiting_at(address)  # fmt: skip
    return item.deletes_at if item is not None else recycle_bin.deletion_of(since, settings.bot_bin_days)


def out_of_book(step: JobStep, address: str, *, by: str, handover: Handover) -> None:
    """The mailbox left the bin: it was seen to be somebody's."""
    item = step.tx.recycle_bin.waiting_at(address)
    if item is not None:
        step.tx.recycle_bin.close(item, BinState.ASSIGNED, by=by, seen=handover.after, handover=handover.id)


def finish(job: JobContext) -> None:
    """Everybody is told what is whose now, and what to do next."""
    with job.begin() as step:
        data = step.job.data
        address, displaced = str(data["source_address"]), data["displaced"]
        new_owner, asker = str(job.params["new_owner"]), step.job.asked_by
        welcome: list[Words] = [
            say("reassign.welcome", address=address),
            say("reassign.log_in", address=address),
            say("reassign.renew"),
        ]
        if displaced is not None:
            welcome.append(gone(data))
        step.say(Text(new_owner, lines(*welcome)))
        report = [say("reassign.done", address=address, name=data["new_name"], number=job.job_id)]
        report += [from_json(each) for each in data["steps"]]
        if displaced is not None:
            report.append(gone(data))
        told = dict.fromkeys([asker, str(data["approved_by"])])
        step.say(*(Text(each, lines(*report)) for each in told if each != new_owner))
        if data["living"] and data["owner"] not in told:
            step.say(Text(str(data["owner"]), say("reassign.owner_done", address=address, name=data["new_name"])))
        step.tx.audit.add(
            "bot", "reassign.done", address, job=job.job_id, before=data["facts"]["owner"], after=new_owner,
            displaced=displaced, handovers=data["handovers"], backup=data.get("backup"),
        )  # fmt: skip
        end_with(step, "done")


def gone(data: Mapping[str, Any]) -> Words:
    """Where the displaced mailbox lies now, until when, and where its mail is saved."""
    values = {"displaced": data["displaced"], "date": data["deletes_on"]}
    if data["into"] is None:
        return say("reassign.gone_unsaved", **values)
    return say("reassign.gone_saved", **values, into=data["into"])


# --- when it stops ---------------------------------------------------------------------------------------------------


def fail(step: JobStep, why: Words) -> None:
    """It stops: which step, why, what was done already, and how to go on."""
    data, number = step.job.data, step.job.id
    words = say("reassign.failed", number=number, step=say(f"jobs.stage_{step.job.stage}"), why=why)
    step.say(*(Text(each, lines(words, *so_far(data))) for each in told_of_failure(step)))
    if data.get("approved_by"):
        step.say(Text(step.job.asked_by, say("reassign.how_to_resume", number=number)))
    step.tx.audit.add(
        "bot", "reassign.failed", str(data["source_address"]), job=number, stage=step.job.stage, why=why.text("en")
    )
    end_with(step, "failed")
    step.job.error = why.text("en")


def told_of_failure(step: JobStep) -> list[str]:
    """The asker; all admins, when a mailbox already lies in the bin."""
    admins = step.roles.admins if step.job.data.get("source_deletes_at") else []
    return list(dict.fromkeys([step.job.asked_by, *admins]))


def so_far(data: Mapping[str, Any]) -> list[Words]:
    """What was done before it stopped, and what that leaves in the bin."""
    steps = [from_json(each) for each in data.get("steps", [])]
    told = [say("reassign.so_far"), *steps] if steps else [say("reassign.nothing_done")]
    if data.get("source_deletes_at") and data.get("at_step") != "finish":
        date = day(datetime.fromisoformat(data["source_deletes_at"]))
        told.append(say("reassign.lies_in_bin", address=data["source_address"], date=date))
    return told


def details(job: Job) -> list[Words]:
    """What `job 12` says of it beside where it stands: the steps done, and which mailbox lies in the bin."""
    return so_far(job.data) if job.data.get("steps") else []


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on: in its cleanup it just ends."""
    if step.job.stage == "cleanup":
        step.tx.jobs.end(step.job, JobState.FAILED, error=words.text("en"))
        return
    fail(step, words)


def clean_up(job: JobContext) -> None:
    """Nobody is asked for anything any more; then the job has its ending."""
    with job.begin() as step:
        data = step.job.data
        ending = str(data.get("ending", "failed"))
        step.tx.approvals.void(step.job.id)
        step.say(*handovers.withdraw(step.tx, step.job.id))
        step.say(*put_away(step.tx, step.job, say(f"jobs.ended_{ending}")))
        if ending in ("cancelled", "expired"):
            words = say(f"reassign.ended_{ending}", number=job.job_id)
            step.say(*(Text(each, lines(words, *so_far(data))) for each in told_of_failure(step)))
        state = {"done": JobState.DONE, "failed": JobState.FAILED}.get(ending, JobState.CANCELLED)
        step.tx.audit.add("bot", "reassign.ended", str(data["source_address"]), job=job.job_id, ending=ending)
        step.tx.jobs.end(step.job, state, error=step.job.error)


@router.command(
    "resume {job_id:int}", "恢复|继续 {job_id:int}", role="admin", topic="reassign", example=("resume 12", "恢复 12")
)
def resume(ctx: Context, job_id: int) -> list[Reply]:
    """Go on with a change of owner that stopped, at the step where it did."""
    job = known_job(ctx, job_id)
    data = job.data
    stopped = job.state in (JobState.FAILED, JobState.CANCELLED) and data.get("ending") in (
        "failed", "expired", "cancelled"
    )  # fmt: skip
    if not stopped or data.get("at_step") not in STEPS or not data.get("approved_by"):
        raise UserError(say("reassign.nothing_to_resume", number=job_id))
    at_step = str(data["at_step"])
    job.cancel_asked_by, job.finished_at = None, None
    backup_id = data.get("backup") if data.get("backup_noted") else None
    handed = {stage: number for stage, number in data["handovers"].items() if stage != at_step}
    ctx.tx.jobs.put(job, ending=None, backup=backup_id, acknowledgement_asked=False, handovers=handed)
    ctx.tx.audit.add(ctx.sender, "reassign.resumed", str(data["source_address"]), job=job.id, at=at_step)
    ctx.tx.jobs.wake(job, at_step)
    ctx.start(job)
    return [Text(ctx.sender, say("reassign.resuming", number=job_id, step=say(f"jobs.stage_{at_step}")))]


@work.sweep("reassign", timedelta(minutes=1))
def watch(sweep: SweepStep) -> None:
    """What the waiting ones wait for: a backup that ended, a question that is void, or too long."""
    tx = sweep.tx
    for job in tx.jobs.waiting_or_due(KIND):
        if job.state is not JobState.WAITING:
            continue
        ended = False
        if job.stage == "prepare":
            copied = tx.jobs.find(int(job.data["backup"])) if job.data.get("backup") is not None else None
            ended = copied is not None and copied.state not in OPEN and not job.data.get("backup_noted")
        if job.expires_at is not None and job.expires_at <= tx.now:
            tx.jobs.put(job, ending="expired")
            tx.jobs.wake(job, "cleanup")
        elif job.stage == "approval" and tx.approvals.get(int(job.data["approval"])).status is ApprovalStatus.VOID:
            tx.jobs.put(job, ending="void")
            tx.jobs.wake(job, "cleanup")
        elif ended:
            tx.jobs.wake(job, "prepare")
        else:
            continue
        sweep.start(job)
