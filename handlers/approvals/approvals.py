"""
Questions that need somebody's yes: the words, the answer, what is withdrawn and what runs out.

A feature opens a question with `ask` and says with `decided` what the answer does, with `withdrawn` what taking it back
does, with `facts_of` how the facts that were shown are read again. One statement decides, so of two people pressing at
once one wins and the other is told who. What a question looks like stands in `approval_card`, what is asked back in
`approval_talk`, who is reminded or asked instead in `approval_reminders`, break-glass in `override`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bot.context import Context, Missing
from bot.directory import Directory
from bot.errors import UserError
from bot.policy import Approvers, Requirement, Role, Roles, approvers
from bot.replies import Reply, Said, Text
from bot.router import Router
from bot.settings import Settings
from bot.words import Words, as_json, lines, say, stored
from bot.work import SweepStep, Work
from handlers.approvals.approval_card import (
    asker_of,
    closing,
    in_full,
    moment,
    question_for,
    question_of,
    talk_of,
    until,
    zone_of,
)
from handlers.approvals.approval_times import next_reminder
from handlers.approvals.facts import differences
from storage.approvals import fingerprint
from storage.models import Approval, ApprovalStatus, Job, JobState, OverrideState

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

Decided = Callable[[Context, Approval], list[Reply]]
Facts = Callable[[Context, Approval], Mapping[str, Any]]
Rows = Sequence[tuple[Words, Said]]
How = Literal["approved", "rejected", "overridden"]
F = TypeVar("F", bound=Decided)
G = TypeVar("G", bound=Facts)

REASON_MAX = 300

_DECIDED: dict[str, Decided] = {}
_WITHDRAWN: dict[str, Decided] = {}
_FACTS: dict[str, Facts] = {}


# --- what a feature says of its questions ----------------------------------------------------------------------------


class NobodyCanAnswer(UserError):
    """A request that nobody could approve is refused at once."""


def decided(action: str) -> Callable[[F], F]:
    """The function does what an approved or rejected question of this action means, in the same transaction."""

    def register(function: F) -> F:
        _DECIDED[action] = function
        return function

    return register


def withdrawn(action: str) -> Callable[[F], F]:
    """
    The function does what it means that who asked takes a question of this action back, in the same transaction.

    Without one the job behind it ends, as if it were cancelled.
    """

    def register(function: F) -> F:
        _WITHDRAWN[action] = function
        return function

    return register


def facts_of(action: str) -> Callable[[G], G]:
    """The function reads again what a question of this action showed; if it changed, a yes voids the question."""

    def register(function: G) -> G:
        _FACTS[action] = function
        return function

    return register


# --- asking ----------------------------------------------------------------------------------------------------------


def who_may(
    requirement: Requirement,
    directory: Directory,
    roles: Roles,
    *,
    asker: str,
    owner: str | None,
    gains: Sequence[str],
    gains_known: bool = True,
) -> Approvers:
    """
    Who may answer, of those who are there; NobodyCanAnswer says why nobody can, and whom to add.

    `gains_known` is false where somebody may gain whom nobody can see: then no break-glass is possible.
    """
    managers = directory.managers(owner) if owner is not None else []
    found = approvers(requirement, asker=asker, gains=gains, managers=managers, roles=roles)
    there = Approvers(
        tuple(directory.present(found.userids)), tuple(directory.present(found.ladder)), owner,
        tuple(gains) if gains_known else None,
    )  # fmt: skip
    if requirement is Requirement.CONFIRM:
        return found
    if there.userids:
        return there
    if requirement is Requirement.TWO:
        raise NobodyCanAnswer(say("approvals.nobody_two"))
    if owner is None:
        raise NobodyCanAnswer(say("approvals.nobody_public"))
    raise NobodyCanAnswer(say("approvals.nobody_manager", member=directory.name(owner)))


def ask(
    tx: Transaction,
    *,
    action: str,
    requirement: Requirement,
    may: Approvers,
    job_id: int,
    question: Words,
    facts: Mapping[str, Any],
    reason: str,
    asked_by: str,
    asked_by_name: str,
    settings: Settings | None = None,
    rows: Rows = (),
) -> tuple[Approval, list[Reply]]:
    """Open a question; the replies are a card to everybody who may answer, and in words what a card would cut."""
    kept = {**as_json(question), "asker": asked_by_name, "rows": [[as_json(name), stored(each)] for name, each in rows]}
    approval = tx.approvals.open(
        action=action, requirement=requirement, job_id=job_id, question=kept, facts=dict(facts),
        fingerprint=fingerprint(facts), reason=reason[:REASON_MAX], asked_by=asked_by, approvers=may.userids,
        owner=may.owner, gains=may.gains, remind_at=next_reminder(tx.now, 0, zone_of(settings)),
    )  # fmt: skip
    tx.audit.add(
        asked_by, "approval.asked", f"approval {approval.id}", action=action, job=job_id, approvers=list(may.userids)
    )
    replies: list[Reply] = []
    for userid in approval.approvers:
        replies += question_for(tx, approval, userid, settings)
    return approval, replies


# --- answering -------------------------------------------------------------------------------------------------------


def told(ctx: Context, approval: Approval) -> Words:
    """Who decided, or that it ran out."""
    by = ctx.directory.name(approval.decided_by) if approval.decided_by else ""
    if approval.status is ApprovalStatus.APPROVED:
        return say("approvals.already_approved", number=approval.id, by=by)
    if approval.status is ApprovalStatus.REJECTED:
        return say("approvals.already_rejected", number=approval.id, by=by)
    if approval.status is ApprovalStatus.VOID:
        if by:
            return say("approvals.withdrawn_by", number=approval.id, by=by)
        return say("approvals.withdrawn", number=approval.id)
    return say("approvals.ran_out", number=approval.id)


def involved(ctx: Context, approval_id: int) -> Approval:
    """
    The question, its row locked, if it is any of the sender's business. Strangers learn nothing of it.

    The row of its job is locked first, as by every turn of the job: two who wait for each other would never end.
    """
    found = ctx.tx.approvals.find(approval_id)
    if found is not None:
        ctx.tx.jobs.get(found.job_id)
    approval = ctx.tx.approvals.lock(approval_id) if found is not None else None
    known = approval is not None and (
        ctx.sender in (approval.asked_by, *approval.approvers, *approval.replaced)
        or ctx.may(Role.SUPER_ADMIN, Role.ADMIN, Role.AUDITOR)
    )
    if approval is None or not known:
        raise UserError(say("approvals.unknown", number=approval_id))
    return approval


def still_open(ctx: Context, approval: Approval) -> Approval:
    """The question, if nobody has answered it yet; UserError says who did, or that it ran out."""
    if approval.status is not ApprovalStatus.PENDING or approval.expires_at <= ctx.now:
        raise UserError(told(ctx, approval))
    return approval


def answerable(ctx: Context, approval_id: int) -> Approval:
    """The question, if the sender may answer it now; UserError otherwise."""
    approval = still_open(ctx, involved(ctx, approval_id))
    admin_wanted = approval.requirement == Requirement.TWO and not ctx.may(Role.SUPER_ADMIN, Role.ADMIN)
    if ctx.sender not in approval.approvers or admin_wanted:
        named = [ctx.directory.name(userid) for userid in approval.approvers if userid != ctx.sender]
        raise UserError(say("approvals.not_yours", number=approval_id, approvers=named))
    return approval


def asked_by_sender(ctx: Context, approval_id: int) -> Approval:
    """The question, if it is open and the sender asked it; UserError otherwise."""
    approval = still_open(ctx, involved(ctx, approval_id))
    if ctx.sender != approval.asked_by:
        raise UserError(
            say("approvals.not_your_question", number=approval_id, by=asker_of(approval), job=approval.job_id)
        )
    return approval


@router.command(
    "approve {approval_id:int}", "同意|批准 {approval_id:int}", topic="approvals", example=("approve 42", "同意 42")
)
@router.action("approve")
def approve(ctx: Context, approval_id: int) -> list[Reply]:
    """Say yes to a question."""
    if (changed := void_if_changed(ctx, answerable(ctx, approval_id))) is not None:
        return changed
    approval = ctx.tx.approvals.decide(approval_id, ApprovalStatus.APPROVED, by=ctx.sender)
    if approval is None:
        raise UserError(told(ctx, ctx.tx.approvals.get(approval_id)))
    return settle(ctx, approval, "approved")


@router.command(
    "reject {approval_id:int} [{reason:text}]",
    "reject {approval_id:int} because {reason:text}",
    "拒绝|驳回 {approval_id:int} [{reason:text}]",
    "拒绝|驳回 {approval_id:int} 原因|因为 {reason:text}",
    topic="approvals",
    example=("reject 42 too early", "拒绝 42 太早了"),
)
@router.action("reject")
def reject(ctx: Context, approval_id: int, reason: str | None = None) -> list[Reply]:
    """Say no to a question, with a reason."""
    answerable(ctx, approval_id)
    if not reason or not reason.strip():
        raise Missing("reason", say("approvals.why_not", number=approval_id))
    approval = ctx.tx.approvals.decide(
        approval_id, ApprovalStatus.REJECTED, by=ctx.sender, reason=reason.strip()[:REASON_MAX]
    )
    if approval is None:
        raise UserError(told(ctx, ctx.tx.approvals.get(approval_id)))
    return settle(ctx, approval, "rejected")


def void_if_changed(ctx: Context, approval: Approval) -> list[Reply] | None:
    """None while the facts are those that were shown; else the question is void, and everybody is told what changed."""
    if approval.action not in _FACTS:
        return None
    now = _FACTS[approval.action](ctx, approval)
    if fingerprint(now) == approval.fingerprint:
        return None
    if ctx.tx.approvals.void_one(approval.id) is None:
        raise UserError(told(ctx, ctx.tx.approvals.get(approval.id)))
    names = sorted(name for name in {*now, *approval.facts} if now.get(name) != approval.facts.get(name))
    before, after = ({name: facts.get(name) for name in names} for facts in (approval.facts, now))
    ctx.tx.audit.add("bot", "approval.void", f"approval {approval.id}", job=approval.job_id, before=before, after=after)
    changed = differences(ctx.tx, ctx.directory, before, after)
    words = say("approvals.facts_changed", number=approval.id, differences=changed)
    replies = closing(ctx.tx, approval, say("approvals.withdrawn", number=approval.id), pressed=ctx.task_id)
    return [*replies, *(Text(each, words) for each in dict.fromkeys([ctx.sender, approval.asked_by]))]


def settle(ctx: Context, approval: Approval, how: How) -> list[Reply]:
    """Write it down, redraw every card of the question, tell the asker, and do what it means."""
    by, question, why = ctx.directory.name(ctx.sender), question_of(approval), approval.answer_reason or ""
    ctx.tx.audit.add(
        ctx.sender, f"approval.{how}", f"approval {approval.id}", job=approval.job_id, reason=why,
    )  # fmt: skip
    if how == "approved":
        done = say("approvals.done_approved", number=approval.id, by=by)
        heard = say("approvals.told_approved", by=by, question=question)
    elif how == "rejected":
        done = say("approvals.done_rejected", number=approval.id, by=by, reason=why)
        heard = say("approvals.told_rejected", by=by, question=question, reason=why)
    else:
        done = say("override.done", number=approval.id, by=by, reason=why)
        heard = say("override.told_asker", number=approval.id, by=by, question=question, reason=why)
    otherwise = done if how != "overridden" else None  # who is skipped is told in any case
    replies = closing(ctx.tx, approval, otherwise, mark=how, by=by, pressed=ctx.task_id)
    if ctx.task_id is None:
        replies.append(Text(ctx.sender, done))
    if approval.asked_by != ctx.sender:
        replies.append(Text(approval.asked_by, heard))
    return replies + (_DECIDED[approval.action](ctx, approval) if approval.action in _DECIDED else [])


def go_on(ctx: Context, approval: Approval, stage: str, **kept: object) -> list[Reply]:
    """
    What most answers mean: after a yes the job goes on at `stage` and keeps what was learnt of it, after a no it ends.

    Nothing, when the job does not wait for the answer any more.
    """
    job = ctx.tx.jobs.get(approval.job_id)
    if job.state is not JobState.WAITING or job.stage != "approval":
        return []
    if approval.status is ApprovalStatus.APPROVED:
        ctx.tx.jobs.put(job, **kept)
        ctx.tx.jobs.wake(job, stage)
    else:
        ctx.tx.jobs.put(job, ending="rejected")
        ctx.tx.jobs.wake(job, "cleanup")
    ctx.start(job)
    return []


def ran_out(tx: Transaction, job: Job) -> str | None:
    """Why a job waits in vain: for too long (`expired`), or for an answer that nobody may give any more (`void`)."""
    if job.expires_at is not None and job.expires_at <= tx.now:
        return "expired"
    if job.stage == "approval" and tx.approvals.get(int(job.data["approval"])).status is ApprovalStatus.VOID:
        return "void"
    return None


# --- taking it back --------------------------------------------------------------------------------------------------


@router.command(
    "withdraw {approval_id:int}", "撤回 {approval_id:int}", topic="approvals", example=("withdraw 42", "撤回 42")
)
@router.action("withdraw")
def withdraw(ctx: Context, approval_id: int) -> list[Reply]:
    """Take back a question I asked."""
    approval = asked_by_sender(ctx, approval_id)
    if ctx.tx.approvals.void_one(approval_id, by=ctx.sender) is None:
        raise UserError(told(ctx, ctx.tx.approvals.get(approval_id)))
    ctx.tx.audit.add(ctx.sender, "approval.withdrawn", f"approval {approval_id}", job=approval.job_id)
    words = say("approvals.told_withdrawn", number=approval_id, by=asker_of(approval), question=question_of(approval))
    replies = closing(ctx.tx, approval, None, pressed=ctx.task_id)
    replies += [Text(each, words) for each in approval.approvers if each != ctx.sender]
    replies.append(Text(ctx.sender, say("approvals.done_withdrawn", number=approval_id)))
    return replies + _WITHDRAWN.get(approval.action, end_job)(ctx, approval)


def end_job(ctx: Context, approval: Approval) -> list[Reply]:
    """The job that waits for nothing but the question goes the way of a cancelled one: no key is left behind."""
    job = ctx.tx.jobs.get(approval.job_id)
    if job.state is JobState.WAITING:
        job.cancel_asked_by = ctx.sender
        ctx.tx.jobs.put(job, ending="cancelled")
        ctx.tx.jobs.wake(job, "cleanup")
        ctx.start(job)
    return []


# --- lists, and what runs out ----------------------------------------------------------------------------------------


@router.command("approvals", "审批|待审批", topic="approvals", example=("approvals", "审批"))
def approvals_list(ctx: Context) -> list[Reply]:
    """What waits for my answer, and what I asked."""
    mine = ctx.tx.approvals.waiting_for(ctx.sender)
    asked = [each for each in ctx.tx.approvals.asked_by(ctx.sender) if ctx.sender not in each.approvers]
    parts: list[Words] = [lines(in_full(each, ctx.settings), *overridden(ctx, each)) for each in mine]
    for approval in asked:
        named = [ctx.directory.name(userid) for userid in approval.approvers] or "-"
        shown_as = say(
            "approvals.asked", number=approval.id, question=question_of(approval), approvers=named,
            until=until(approval, ctx.settings),
        )  # fmt: skip
        parts.append(lines(shown_as, *talk_of(approval), *overridden(ctx, approval)))
    if not parts:
        return [Text(ctx.sender, say("approvals.none"))]
    spaced = [each for part in parts for each in ("", part)][1:]
    return [Text(ctx.sender, lines(*spaced))]


def overridden(ctx: Context, approval: Approval) -> list[Words]:
    """That a super admin answers in the place of those who were asked, if one does."""
    row = ctx.tx.overrides.of(approval.id)
    if row is None or row.state is not OverrideState.RUNNING:
        return []
    by, at = ctx.directory.name(row.made_by), moment(row.due_at, ctx.settings)
    return [say("override.running", number=approval.id, by=by, at=at)]


@work.sweep("approvals-expiry", timedelta(minutes=1))
def expire(sweep: SweepStep) -> None:
    """Questions that ran out: their cards are greyed, both sides are told."""
    tx, settings = sweep.tx, sweep.services.settings
    for approval in tx.approvals.expire():
        done = say("approvals.ran_out", number=approval.id)
        tx.audit.add("bot", "approval.expired", f"approval {approval.id}", job=approval.job_id)
        sweep.say(*closing(tx, approval, done, mark="expired"))
        unanswered = [userid for userid in approval.approvers if userid != approval.asked_by]
        named = [Directory(tx, settings.exmail_domain).name(userid) for userid in unanswered]
        asker = say(
            "approvals.asker_ran_out", number=approval.id, question=question_of(approval), approvers=named or "-"
        )
        sweep.say(Text(approval.asked_by, asker))
    for approval in tx.approvals.void_with_open_cards():
        sweep.say(*closing(tx, approval, say("approvals.withdrawn", number=approval.id)))
