"""
Questions that need somebody's yes: the card, the words, the answer, and what runs out.

A feature opens a question with `ask` and says with `decided` what the answer does. One statement decides, so of two
people pressing at once one wins and the other is told who did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from bot.context import Context, Missing
from bot.directory import Directory
from bot.errors import UserError
from bot.policy import Approvers, Requirement, Roles, approvers
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.words import Words, say
from bot.work import SweepStep, Work
from storage.models import Approval, ApprovalStatus

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

Decided = Callable[[Context, Approval], list[Reply]]
F = TypeVar("F", bound=Decided)

_DECIDED: dict[str, Decided] = {}


class NobodyCanAnswer(UserError):
    """A request that nobody could approve is refused at once."""


def decided(action: str) -> Callable[[F], F]:
    """The function does what an approved or rejected question of this action means, in the same transaction."""

    def register(function: F) -> F:
        _DECIDED[action] = function
        return function

    return register


def fingerprint(facts: Mapping[str, Any]) -> str:
    """What was shown, as a hash: at execution the facts are read again and must hash alike."""
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def who_may(
    requirement: Requirement, directory: Directory, roles: Roles, *, asker: str, owner: str | None, gains: Sequence[str]
) -> Approvers:
    """Who may answer; NobodyCanAnswer says why nobody can, and whom to add."""
    managers = directory.managers(owner) if owner is not None else []
    found = approvers(requirement, asker=asker, gains=gains, managers=managers, roles=roles)
    if found.userids:
        return found
    if requirement is Requirement.TWO:
        raise NobodyCanAnswer(say("approvals.nobody_two"))
    raise NobodyCanAnswer(say("approvals.nobody_manager", member=directory.name(owner) if owner else "?"))


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
    rows: Sequence[tuple[Words, Words | str]] = (),
) -> tuple[Approval, list[Reply]]:
    """Open a question; the replies are a card to everybody who may answer."""
    approval = tx.approvals.open(
        action=action, requirement=requirement, job_id=job_id,
        question=as_json(question), facts=dict(facts),
        fingerprint=fingerprint(facts), reason=reason, asked_by=asked_by, approvers=may.userids,
    )  # fmt: skip
    tx.audit.add(
        asked_by, "approval.asked", f"approval {approval.id}", action=action, job=job_id, approvers=list(may.userids)
    )
    replies: list[Reply] = [question_card(approval, userid, asked_by_name, rows) for userid in approval.approvers]
    return approval, replies


def question_card(
    approval: Approval, userid: str, asked_by_name: str, rows: Sequence[tuple[Words, Words | str]] = ()
) -> Card:
    """The card of one approver."""
    return Card(
        userid,
        about(approval),
        say("approvals.card_title", number=approval.id),
        note=question_of(approval),
        rows=[
            *rows[:3],
            (say("approvals.row_asker"), asked_by_name),
            (say("approvals.row_reason"), approval.reason),
            (say("approvals.row_expires"), approval.expires_at.strftime("%Y-%m-%d %H:%M UTC")),
        ],
        buttons=[
            Button(f"approve:{approval.id}", say("approvals.approve")),
            Button(f"reject:{approval.id}", say("approvals.reject"), style=2),
        ],
    )


def about(approval: Approval) -> str:
    """What the cards of a question are about."""
    return f"approval-{approval.id}"


def question_of(approval: Approval) -> Words:
    """The question, in whatever language."""
    return from_json(approval.question)


def as_json(words: Words) -> dict[str, Any]:
    """A sentence as JSON, with the sentences inside it."""
    return {
        "key": words.key,
        "values": {name: as_json(each) if isinstance(each, Words) else each for name, each in words.values.items()},
    }


def from_json(stored: Mapping[str, Any]) -> Words:
    """The sentence that `as_json` wrote down."""
    values = stored["values"].items()
    return say(stored["key"], **{name: from_json(each) if isinstance(each, dict) else each for name, each in values})


def told(ctx: Context, approval: Approval) -> Words:
    """Who decided, or that it ran out."""
    by = ctx.directory.name(approval.decided_by) if approval.decided_by else ""
    if approval.status is ApprovalStatus.APPROVED:
        return say("approvals.already_approved", number=approval.id, by=by)
    if approval.status is ApprovalStatus.REJECTED:
        return say("approvals.already_rejected", number=approval.id, by=by)
    if approval.status is ApprovalStatus.VOID:
        return say("approvals.withdrawn", number=approval.id)
    return say("approvals.ran_out", number=approval.id)


def answerable(ctx: Context, approval_id: int) -> Approval:
    """The question, if the sender may answer it now; UserError otherwise."""
    approval = ctx.tx.approvals.find(approval_id)
    if approval is None:
        raise UserError(say("approvals.unknown", number=approval_id))
    if ctx.sender not in approval.approvers:
        named = [ctx.directory.name(userid) for userid in approval.approvers]
        raise UserError(say("approvals.not_yours", number=approval_id, approvers=named))
    if approval.status is not ApprovalStatus.PENDING or approval.expires_at <= ctx.now:
        raise UserError(told(ctx, approval))
    return approval


@router.command(
    "approve {approval_id:int}", "同意|批准 {approval_id:int}", topic="approvals", example=("approve 42", "同意 42")
)
@router.action("approve")
def approve(ctx: Context, approval_id: int) -> list[Reply]:
    """Say yes to a question."""
    answerable(ctx, approval_id)
    approval = ctx.tx.approvals.decide(approval_id, ApprovalStatus.APPROVED, by=ctx.sender)
    if approval is None:
        raise UserError(told(ctx, ctx.tx.approvals.get(approval_id)))
    return settle(ctx, approval, say("approvals.done_approved", by=ctx.directory.name(ctx.sender)))


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
    if not reason:
        raise Missing("reason", say("approvals.why_not", number=approval_id))
    approval = ctx.tx.approvals.decide(approval_id, ApprovalStatus.REJECTED, by=ctx.sender, reason=reason)
    if approval is None:
        raise UserError(told(ctx, ctx.tx.approvals.get(approval_id)))
    return settle(ctx, approval, say("approvals.done_rejected", by=ctx.directory.name(ctx.sender), reason=reason))


def settle(ctx: Context, approval: Approval, done: Words) -> list[Reply]:
    """Write it down, redraw every card of the question, tell the asker, and do what it means."""
    verdict = "approved" if approval.status is ApprovalStatus.APPROVED else "rejected"
    ctx.tx.audit.add(
        ctx.sender,
        f"approval.{verdict}",
        f"approval {approval.id}",
        job=approval.job_id,
        reason=approval.answer_reason or "",
    )
    replies = closing(ctx.tx, approval, done, ctx.sender if ctx.task_id is None else None)
    by, question = ctx.directory.name(ctx.sender), question_of(approval)
    if approval.asked_by != ctx.sender:
        if approval.status is ApprovalStatus.APPROVED:
            replies.append(Text(approval.asked_by, say("approvals.told_approved", by=by, question=question)))
        else:
            why = approval.answer_reason or ""
            replies.append(
                Text(approval.asked_by, say("approvals.told_rejected", by=by, question=question, reason=why))
            )
    return replies + _DECIDED[approval.action](ctx, approval)


def closing(tx: Transaction, approval: Approval, done: Words, in_words: str | None = None) -> list[Reply]:
    """Every card of a question greyed; who answered in words is told in words."""
    replies: list[Reply] = []
    for card in tx.cards.open_about(about(approval)):
        title = say("approvals.card_title", number=approval.id)
        redrawn = Card(card.member, about(approval), title, note=question_of(approval), done=done)
        replies.append(CardUpdate(card.task_id, redrawn, otherwise=done))
    if in_words is not None:
        replies.append(Text(in_words, done))
    return replies


@router.command("approvals", "审批|待审批", topic="approvals", example=("approvals", "审批"))
def approvals_list(ctx: Context) -> list[Reply]:
    """What waits for my answer, and what I asked."""
    mine = ctx.tx.approvals.waiting_for(ctx.sender)
    asked = ctx.tx.approvals.asked_by(ctx.sender)
    if not mine and not asked:
        return [Text(ctx.sender, say("approvals.none"))]
    replies: list[Reply] = []
    for approval in mine:
        asker = ctx.directory.name(approval.asked_by)
        replies.append(
            Text(ctx.sender, say("approvals.waiting", number=approval.id, question=question_of(approval), by=asker))
        )
    for approval in asked:
        named = [ctx.directory.name(userid) for userid in approval.approvers]
        question = question_of(approval)
        replies.append(Text(ctx.sender, say("approvals.asked", number=approval.id, question=question, approvers=named)))
    return replies


@work.sweep("approvals-expiry", timedelta(minutes=1))
def expire(sweep: SweepStep) -> None:
    """Questions that ran out: their cards are greyed, both sides are told."""
    for approval in sweep.tx.approvals.expire():
        done = say("approvals.ran_out", number=approval.id)
        sweep.tx.audit.add("bot", "approval.expired", f"approval {approval.id}", job=approval.job_id)
        sweep.say(*closing(sweep.tx, approval, done), Text(approval.asked_by, done))
