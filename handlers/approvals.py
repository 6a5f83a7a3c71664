"""
Questions that need somebody's yes: the card, the words, the answer, and what runs out.

A feature opens a question with `ask` and says with `decided` what the answer does, with `facts_of` how the facts that
were shown are read again. One statement decides, so of two people pressing at once one wins and the other is told who.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from bot.context import Context, Missing
from bot.delivery import rendered
from bot.directory import Directory
from bot.errors import UserError
from bot.policy import Approvers, Requirement, Role, Roles, approvers
from bot.replies import Button, Card, CardUpdate, Reply, Said, Text
from bot.router import Router
from bot.settings import Settings
from bot.wecom.cards import cut_on_screen
from bot.words import LANGUAGES, Lines, Words, lines, say
from bot.work import SweepStep, Work
from storage.approvals import CARD_ABOUT
from storage.models import Approval, ApprovalStatus

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

Decided = Callable[[Context, Approval], list[Reply]]
Facts = Callable[[Context, Approval], Mapping[str, Any]]
Rows = Sequence[tuple[Words, Said]]
F = TypeVar("F", bound=Decided)
G = TypeVar("G", bound=Facts)

RESEND_AFTER = timedelta(hours=60)  # a card can be redrawn for 72 hours; a waiting one is sent again before
EXTRA_ROWS_MAX = 3  # of six: the asker, the reason and the end are always shown
REASON_MAX = 300

_DECIDED: dict[str, Decided] = {}
_FACTS: dict[str, Facts] = {}


class NobodyCanAnswer(UserError):
    """A request that nobody could approve is refused at once."""


def decided(action: str) -> Callable[[F], F]:
    """The function does what an approved or rejected question of this action means, in the same transaction."""

    def register(function: F) -> F:
        _DECIDED[action] = function
        return function

    return register


def facts_of(action: str) -> Callable[[G], G]:
    """The function reads again what a question of this action showed; if it changed, a yes voids the question."""

    def register(function: G) -> G:
        _FACTS[action] = function
        return function

    return register


def fingerprint(facts: Mapping[str, Any]) -> str:
    """What was shown, as a hash: at execution the facts are read again and must hash alike."""
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def who_may(
    requirement: Requirement, directory: Directory, roles: Roles, *, asker: str, owner: str | None, gains: Sequence[str]
) -> Approvers:
    """Who may answer, of those who are there; NobodyCanAnswer says why nobody can, and whom to add."""
    managers = directory.managers(owner) if owner is not None else []
    found = approvers(requirement, asker=asker, gains=gains, managers=managers, roles=roles)
    there = Approvers(tuple(directory.present(found.userids)), tuple(directory.present(found.ladder)))
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
    )  # fmt: skip
    tx.audit.add(
        asked_by, "approval.asked", f"approval {approval.id}", action=action, job=job_id, approvers=list(may.userids)
    )
    replies: list[Reply] = []
    for userid in approval.approvers:
        replies += question_for(tx, approval, userid, settings)
    return approval, replies


def question_for(tx: Transaction, approval: Approval, userid: str, settings: Settings | None) -> list[Reply]:
    """The card of one approver; before it, whatever his phone would cut off the card."""
    card = question_card(approval, userid, settings)
    cut = any(cut_on_screen(rendered(card, about(approval), language)) for language in LANGUAGES)
    return [Text(userid, in_full(approval, settings)), card] if cut else [card]


def question_card(approval: Approval, userid: str, settings: Settings | None) -> Card:
    """The card of one approver."""
    return Card(
        userid,
        about(approval),
        say("approvals.card_title", number=approval.id),
        note=question_of(approval),
        rows=[
            *extra_rows(approval),
            (say("approvals.row_asker"), asker_of(approval)),
            (say("approvals.row_reason"), approval.reason),
            (say("approvals.row_expires"), moment(approval, settings)),
        ],
        buttons=[
            Button(f"approve:{approval.id}", say("approvals.approve")),
            Button(f"reject:{approval.id}", say("approvals.reject"), style=2),
        ],
    )


def in_full(approval: Approval, settings: Settings | None) -> Words:
    """A question in words, with all that the card may cut, and how to answer it."""
    asked = say(
        "approvals.in_full", number=approval.id, question=question_of(approval), by=asker_of(approval),
        reason=approval.reason,
    )  # fmt: skip
    named = [say("approvals.row_in_full", name=name, value=value) for name, value in extra_rows(approval)]
    return lines(asked, *named, say("approvals.how_to_answer", number=approval.id, until=moment(approval, settings)))


def about(approval: Approval) -> str:
    """What the cards of a question are about."""
    return f"{CARD_ABOUT}{approval.id}"


def moment(approval: Approval, settings: Settings | None) -> str:
    """When a question ends, by the clock on the wall."""
    zone = settings.zone if settings is not None else ZoneInfo(str(Settings.model_fields["bot_time_zone"].default))
    return approval.expires_at.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def question_of(approval: Approval) -> Words:
    """The question, in whatever language."""
    return from_json(approval.question)


def asker_of(approval: Approval) -> str:
    """The name of who asked, as it was then."""
    return str(approval.question.get("asker") or approval.asked_by)


def extra_rows(approval: Approval) -> list[tuple[Words, Said]]:
    """The rows of the card that the feature gave."""
    found = []
    for name, value in approval.question.get("rows", [])[:EXTRA_ROWS_MAX]:
        found.append((from_json(name), restored(value)))
    return found


def as_json(words: Words) -> dict[str, Any]:
    """A sentence as JSON, with the sentences inside it."""
    if isinstance(words, Lines):
        return {"lines": [stored(each) for each in words.parts]}
    return {"key": words.key, "values": {name: stored(each) for name, each in words.values.items()}}


def from_json(kept: Mapping[str, Any]) -> Words:
    """The sentence that `as_json` wrote down."""
    if "lines" in kept:
        return lines(*(restored(each) for each in kept["lines"]))
    return say(kept["key"], **{name: restored(each) for name, each in kept["values"].items()})


def stored(value: object) -> Any:
    """A value of a sentence as JSON."""
    if isinstance(value, Words):
        return as_json(value)
    return [stored(each) for each in value] if isinstance(value, (list, tuple)) else value


def restored(value: Any) -> Any:
    """A value of a sentence as it was."""
    if isinstance(value, dict):
        return from_json(value)
    return [restored(each) for each in value] if isinstance(value, list) else value


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
    """The question, if the sender may answer it now; UserError otherwise. Strangers learn nothing of it."""
    approval = ctx.tx.approvals.find(approval_id)
    involved = approval is not None and (
        ctx.sender in approval.approvers
        or ctx.sender == approval.asked_by
        or ctx.may(Role.SUPER_ADMIN, Role.ADMIN, Role.AUDITOR)
    )
    if approval is None or not involved:
        raise UserError(say("approvals.unknown", number=approval_id))
    if approval.status is not ApprovalStatus.PENDING or approval.expires_at <= ctx.now:
        raise UserError(told(ctx, approval))
    admin_wanted = approval.requirement == Requirement.TWO and not ctx.may(Role.SUPER_ADMIN, Role.ADMIN)
    if ctx.sender not in approval.approvers or admin_wanted:
        named = [ctx.directory.name(userid) for userid in approval.approvers if userid != ctx.sender]
        raise UserError(say("approvals.not_yours", number=approval_id, approvers=named))
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
    return settle(ctx, approval)


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
    return settle(ctx, approval)


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
    differences = [
        say("approvals.difference", name=name, before=shown(before[name]), after=shown(after[name])) for name in names
    ]
    words = say("approvals.facts_changed", number=approval.id, differences=differences)
    replies = closing(ctx.tx, approval, say("approvals.withdrawn", number=approval.id))
    return [*replies, *(Text(each, words) for each in dict.fromkeys([ctx.sender, approval.asked_by]))]


def shown(fact: object) -> object:
    """A fact as people read it."""
    return fact if fact not in (None, [], "") else "-"


def settle(ctx: Context, approval: Approval) -> list[Reply]:
    """Write it down, redraw every card of the question, tell the asker, and do what it means."""
    yes = approval.status is ApprovalStatus.APPROVED
    by, question, why = ctx.directory.name(ctx.sender), question_of(approval), approval.answer_reason or ""
    ctx.tx.audit.add(
        ctx.sender,
        "approval.approved" if yes else "approval.rejected",
        f"approval {approval.id}",
        job=approval.job_id,
        reason=why,
    )
    if yes:
        done = say("approvals.done_approved", number=approval.id, by=by)
        heard = say("approvals.told_approved", by=by, question=question)
    else:
        done = say("approvals.done_rejected", number=approval.id, by=by, reason=why)
        heard = say("approvals.told_rejected", by=by, question=question, reason=why)
    replies = closing(ctx.tx, approval, done, mark="approved" if yes else "rejected", by=by)
    if ctx.task_id is None:
        replies.append(Text(ctx.sender, done))
    if approval.asked_by != ctx.sender:
        replies.append(Text(approval.asked_by, heard))
    return replies + (_DECIDED[approval.action](ctx, approval) if approval.action in _DECIDED else [])


def closing(
    tx: Transaction, approval: Approval, done: Words, *, mark: str = "withdrawn", by: str | None = None
) -> list[Reply]:
    """Every card of a question greyed, with a short `mark` on it; who has none that can be redrawn is told `done`."""
    rows: list[tuple[Words, Said]] = []
    if by is not None:
        rows.append((say("approvals.row_by"), by))
    if approval.answer_reason:
        rows.append((say("approvals.row_reason"), approval.answer_reason))
    title, marked = say("approvals.card_title", number=approval.id), say(f"approvals.mark_{mark}")
    replies: list[Reply] = []
    for card in tx.cards.open_about(about(approval)):
        redrawn = Card(card.member, about(approval), title, note=question_of(approval), rows=rows, done=marked)
        replies.append(CardUpdate(card.task_id, redrawn, otherwise=done))
    return replies


@router.command("approvals", "审批|待审批", topic="approvals", example=("approvals", "审批"))
def approvals_list(ctx: Context) -> list[Reply]:
    """What waits for my answer, and what I asked."""
    mine = ctx.tx.approvals.waiting_for(ctx.sender)
    asked = [each for each in ctx.tx.approvals.asked_by(ctx.sender) if ctx.sender not in each.approvers]
    parts: list[Words] = [in_full(approval, ctx.settings) for approval in mine]
    for approval in asked:
        named = [ctx.directory.name(userid) for userid in approval.approvers]
        until = moment(approval, ctx.settings)
        parts.append(
            say(
                "approvals.asked", number=approval.id, question=question_of(approval), approvers=named, until=until,
            )
        )  # fmt: skip
    if not parts:
        return [Text(ctx.sender, say("approvals.none"))]
    spaced = [each for part in parts for each in ("", part)][1:]
    return [Text(ctx.sender, lines(*spaced))]


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
        asker = say("approvals.asker_ran_out", number=approval.id, question=question_of(approval), approvers=named)
        sweep.say(Text(approval.asked_by, asker))
    for approval in tx.approvals.void_with_open_cards():
        sweep.say(*closing(tx, approval, say("approvals.withdrawn", number=approval.id)))
    for approval in tx.approvals.cards_older_than(RESEND_AFTER):
        again = say("approvals.sent_again")
        for card in tx.cards.open_about(about(approval)):
            old = Card(card.member, about(approval), say("approvals.card_title", number=approval.id), done=again)
            sweep.say(CardUpdate(card.task_id, old))
            sweep.say(*question_for(tx, approval, card.member, settings))
