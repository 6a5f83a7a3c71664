"""
Break-glass: `override 42 because …`, a super admin's yes in the place of those who were asked.

Everybody who is skipped is told at once, and for half an hour any admin can stop it; who was asked can still answer,
and his answer counts. Then the facts are read again, and the question is approved by the same statement that decides
every question, in the transaction of the sweep: twice is impossible, whatever crashes and however many replicas sweep.
It stays on a list until another admin has looked at it. It is never for oneself: not for one's own question, not where
one gains by it or can read the mailbox the mail goes to, and not where nobody can see who can.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy.exc import DBAPIError

from bot.context import Context, Missing
from bot.delivery import language_of
from bot.errors import UserError
from bot.policy import Role, why_no_override
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import SweepStep, Work
from bot.workdays import may_speak_at, workdays
from handlers.approvals.approval_card import headline, moment, question_of
from handlers.approvals.approval_times import next_morning
from handlers.approvals.approvals import REASON_MAX, involved, settle, still_open, told, void_if_changed
from storage.models import Approval, ApprovalStatus, Override, OverrideState
from storage.overrides import STOPPABLE_FOR

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

SHOWN_MAX = 20
REVIEW_REMINDERS_MAX = 5


# --- half an hour in which it can be stopped -------------------------------------------------------------------------


@router.command(
    "override {approval_id:int} [because {reason:text}]",
    "越权 {approval_id:int} [原因|因为 {reason:text}]",
    role="super_admin",
    topic="approvals",
    example=("override 42 because the manager is in hospital", "越权 42 原因 上级住院"),
)
def override(ctx: Context, approval_id: int, reason: str | None = None) -> list[Reply]:
    """In an emergency, say yes in the place of those who were asked; any admin can stop it for 30 minutes."""
    by = ctx.require(Role.SUPER_ADMIN)
    approval = still_open(ctx, involved(ctx, approval_id))
    why_not = why_no_override(by, asker=approval.asked_by, approvers=approval.approvers, gains=approval.gains)
    if why_not is not None:
        raise UserError(say(f"override.not_{why_not}", number=approval_id))
    if (earlier := ctx.tx.overrides.of(approval_id)) is not None:
        raise UserError(standing(ctx, earlier, approval))
    if approval.expires_at <= ctx.now + STOPPABLE_FOR:
        raise UserError(say("override.too_late", number=approval_id, until=moment(approval.expires_at, ctx.settings)))
    if not reason or not reason.strip():
        raise Missing("reason", say("override.why", number=approval_id))
    if (changed := void_if_changed(ctx, approval)) is not None:
        return changed
    row = ctx.tx.overrides.begin(approval_id, made_by=by, reason=reason.strip()[:REASON_MAX])
    skipped = ctx.directory.present(approval.approvers)
    ctx.tx.audit.add(
        by, "override.begun", f"approval {approval_id}", job=approval.job_id, reason=row.reason, skipped=skipped
    )
    return [*told_of_it(ctx, approval, row, skipped), Text(by, begun(ctx, approval, row, skipped))]


def told_of_it(ctx: Context, approval: Approval, row: Override, skipped: list[str]) -> list[Reply]:
    """Who is skipped and whose mailbox it is in words, every other admin with a button to stop it."""
    values = {
        "number": approval.id, "by": ctx.directory.name(row.made_by), "question": question_of(approval),
        "reason": row.reason, "at": moment(row.due_at, ctx.settings),
    }  # fmt: skip
    asked = [ctx.directory.name(each) for each in approval.approvers] or "-"
    admins = [each for each in ctx.directory.present(ctx.roles.admins) if each != row.made_by]
    owner = [approval.owner] if approval.owner is not None else []
    replies: list[Reply] = []
    for each in dict.fromkeys([*skipped, *admins, *ctx.directory.present([approval.asked_by, *owner])]):
        if each in skipped:
            replies.append(Text(each, say("override.to_skipped", **values)))
        elif each in admins:
            replies.append(Text(each, say("override.to_admin", approvers=asked, **values)))
        elif each != row.made_by:
            replies.append(Text(each, say("override.to_others", approvers=asked, **values)))
        if each in admins:
            replies.append(stop_card(ctx, each, approval, row))
    return replies


def begun(ctx: Context, approval: Approval, row: Override, skipped: list[str]) -> Words:
    """What who overrides is told."""
    named = [ctx.directory.name(each) for each in skipped] or "-"
    return say("override.begun", number=approval.id, approvers=named, at=moment(row.due_at, ctx.settings))


def about(row: Override) -> str:
    """What the cards of a break-glass are about."""
    return f"override-{row.approval_id}"


def stop_card(ctx: Context, to: str, approval: Approval, row: Override) -> Card:
    """The card with Stop."""
    return Card(
        to,
        about(row),
        say("override.card_title", number=approval.id),
        note=say("override.card_note"),
        rows=[
            (say("override.row_by"), ctx.directory.name(row.made_by)),
            (say("approvals.row_reason"), row.reason),
            (say("override.row_at"), moment(row.due_at, ctx.settings)),
        ],
        buttons=[Button(f"stop_override:{approval.id}", say("override.button_stop"), style=2)],
    )


def put_away(tx: Transaction, row: Override, done: Words) -> list[Reply]:
    """The admins' cards without their button."""
    title = say("override.card_title", number=row.approval_id)
    return [
        CardUpdate(each.task_id, Card(each.member, about(row), title, done=done))
        for each in tx.cards.open_about(about(row))
    ]


def standing(ctx: Context, row: Override, approval: Approval) -> Words:
    """How a break-glass stands or ended."""
    values = {"number": approval.id, "by": ctx.directory.name(row.made_by)}
    if row.state is OverrideState.RUNNING:
        return say("override.running", **values, at=moment(row.due_at, ctx.settings))
    if row.state is OverrideState.STOPPED:
        return say("override.stopped_before", **values, admin=ctx.directory.name(str(row.stopped_by)))
    if row.state is OverrideState.DONE:
        return say("override.done", **values, reason=row.reason)
    return told(ctx, approval)


def known(ctx: Context, approval_id: int) -> tuple[Override, Approval]:
    """A break-glass and its question; UserError when there is none."""
    row = ctx.tx.overrides.of(approval_id)
    if row is None:
        raise UserError(say("override.unknown", number=approval_id))
    return row, ctx.tx.approvals.get(approval_id)


@router.command(
    "stop override {approval_id:int}",
    "停止越权 {approval_id:int}",
    role="admin",
    topic="approvals",
    example=("stop override 42", "停止越权 42"),
)
@router.action("stop_override", role="admin")
def stop_override(ctx: Context, approval_id: int) -> list[Reply]:
    """Stop a super admin's override before it takes effect; the question waits for who was asked."""
    admin = ctx.require_admin()
    row, approval = known(ctx, approval_id)
    if approval.status is not ApprovalStatus.PENDING:
        raise UserError(told(ctx, approval))
    stopped = ctx.tx.overrides.end(row.id, OverrideState.STOPPED, stopped_by=admin)
    if stopped is None:
        raise UserError(standing(ctx, ctx.tx.overrides.of(approval_id) or row, approval))
    ctx.tx.audit.add(admin, "override.stopped", f"approval {approval_id}", job=approval.job_id, of=row.made_by)
    words = say("override.stopped", number=approval_id, by=ctx.directory.name(row.made_by),
                admin=ctx.directory.name(admin))  # fmt: skip
    hear = [row.made_by, approval.asked_by, *approval.approvers, *([approval.owner] if approval.owner else [])]
    return [
        *put_away(ctx.tx, row, say("override.mark_stopped")),
        *(Text(each, words) for each in ctx.directory.present([admin, *hear])),
    ]


# --- it takes effect -------------------------------------------------------------------------------------------------


@work.sweep("overrides", timedelta(minutes=1))
def take_effect(sweep: SweepStep) -> None:
    """What nobody stopped counts as a yes now; what was answered meanwhile is over."""
    for row in sweep.tx.overrides.running():
        before = len(sweep.starts)
        try:
            with sweep.tx.savepoint():
                one(sweep, row)
        except DBAPIError:
            raise  # the database is away or busy: the same again may succeed
        except Exception:  # a bug in what one yes does must not keep the others waiting
            del sweep.starts[before:]
            log.exception("override_failed", approval_id=row.approval_id)


def context_of(sweep: SweepStep, row: Override) -> Context:
    """As if who overrides had said it now."""
    tx, settings = sweep.tx, sweep.services.settings
    language = language_of(tx, row.made_by, settings)
    return Context(tx, row.made_by, language, settings, sweep.services.policy, sweep.roles)


def one(sweep: SweepStep, row: Override) -> None:
    """One that runs: locked in the order of every decision, the job, the question, then this."""
    tx, ctx = sweep.tx, context_of(sweep, row)
    tx.jobs.get(tx.approvals.get(row.approval_id).job_id)
    approval = tx.approvals.lock(row.approval_id)
    if approval is None:
        return
    if approval.status is not ApprovalStatus.PENDING or approval.expires_at <= tx.now:
        if tx.overrides.end(row.id, OverrideState.VOID) is not None:
            ended = say("override.ended_otherwise", number=approval.id, how=told(ctx, approval))
            sweep.say(*put_away(tx, row, say("override.mark_over")), Text(row.made_by, ended))
        return
    if row.due_at > tx.now:
        return
    ended_as = OverrideState.DONE if ctx.may(Role.SUPER_ADMIN) else OverrideState.VOID
    if tx.overrides.end(row.id, ended_as) is None:
        return  # stopped, or another replica was first
    if ended_as is OverrideState.VOID:
        sweep.say(*put_away(tx, row, say("override.mark_over")))
        sweep.say(Text(row.made_by, say("override.role_lost", number=approval.id)))
        return
    if (changed := void_if_changed(ctx, approval)) is not None:
        row.state = OverrideState.VOID
        sweep.say(*changed, *put_away(tx, row, say("override.mark_over")))
        return
    decided = tx.approvals.decide(approval.id, ApprovalStatus.APPROVED, by=row.made_by, reason=row.reason)
    if decided is None:
        raise RuntimeError("the question is locked and open, but cannot be decided")
    replies = [*settle(ctx, decided, "overridden"), *put_away(tx, row, say("override.mark_done"))]
    sweep.say(*replies, *took_effect(ctx, decided, row))
    sweep.starts += ctx.starts


def took_effect(ctx: Context, approval: Approval, row: Override) -> list[Reply]:
    """Who was skipped is told, and the other admins that one of them has to look at it."""
    values = {"number": approval.id, "by": ctx.directory.name(row.made_by), "question": headline(approval)}
    admins = [each for each in reviewers(ctx, approval, row) if each != approval.asked_by]
    skipped = [each for each in ctx.directory.present(approval.approvers) if each not in admins]
    review = say("override.please_review", reason=row.reason, **values)
    return [
        *(Text(each, review) for each in admins),
        *(Text(each, say("override.took_effect", **values)) for each in skipped),
    ]


REVIEW = "override-review:"  # with its number: when another admin was last reminded to look at it


@work.sweep("overrides-review", timedelta(minutes=10))
def remind_to_review(sweep: SweepStep) -> None:
    """Every working morning, five times at most, until another admin has looked at it."""
    tx, zone = sweep.tx, sweep.services.settings.zone
    if may_speak_at(tx.now, zone, workdays()) > tx.now:
        return
    for row in tx.overrides.to_review():
        if row.state is not OverrideState.DONE or row.ended_at is None:
            continue
        mornings = mornings_after(row.ended_at, zone)
        due = [each for each in mornings if each <= tx.now]
        told_at = tx.moments.last(f"{REVIEW}{row.id}")
        if not due or (told_at is not None and told_at >= due[-1]):
            continue
        tx.moments.happened(f"{REVIEW}{row.id}")
        ctx = context_of(sweep, row)
        approval = tx.approvals.get(row.approval_id)
        key = "override.review_last" if len(due) == REVIEW_REMINDERS_MAX else "override.review_again"
        words = say(
            key, number=approval.id, by=ctx.directory.name(row.made_by), question=headline(approval),
            reason=row.reason,
        )  # fmt: skip
        sweep.say(*(Text(each, words) for each in reviewers(ctx, approval, row)))


def mornings_after(moment: datetime, zone: ZoneInfo) -> list[datetime]:
    """The working mornings on which somebody is reminded."""
    found: list[datetime] = []
    for _ in range(REVIEW_REMINDERS_MAX):
        found.append(next_morning(found[-1] if found else moment, zone))
    return found


# --- somebody else looks at it ---------------------------------------------------------------------------------------


def reviewers(ctx: Context, approval: Approval, row: Override) -> list[str]:
    """Who may tick it off: an admin who had no part in it; who asked only where there is no other."""
    others = [each for each in ctx.directory.present(ctx.roles.admins) if each != row.made_by]
    return [each for each in others if each != approval.asked_by] or others


@router.command(
    "overrides", "越权记录|越权列表", role="auditor", topic="approvals", example=("overrides", "越权记录")
)  # fmt: skip
def overrides_list(ctx: Context) -> list[Reply]:
    """Overrides that can still be stopped, and those that nobody has looked at yet."""
    found = list(ctx.tx.overrides.to_review())
    if not found:
        return [Text(ctx.sender, say("override.none"))]
    parts: list[Words] = []
    for row in found[:SHOWN_MAX]:
        approval = ctx.tx.approvals.get(row.approval_id)
        values = {
            "number": approval.id, "by": ctx.directory.name(row.made_by), "question": headline(approval),
            "reason": row.reason,
        }  # fmt: skip
        if row.state is OverrideState.RUNNING:
            parts.append(say("override.line_running", **values, at=moment(row.due_at, ctx.settings)))
        else:
            parts.append(say("override.line_review", **values, at=moment(row.ended_at or row.due_at, ctx.settings)))
    if len(found) > SHOWN_MAX:
        parts.append(say("override.more", count=len(found) - SHOWN_MAX))
    return [Text(ctx.sender, lines(*parts))]


@router.command(
    "reviewed {approval_id:int}",
    "已复核|复核 {approval_id:int}",
    role="admin",
    topic="approvals",
    example=("reviewed 42", "已复核 42"),
)
def reviewed(ctx: Context, approval_id: int) -> list[Reply]:
    """Say that I have looked at another admin's override; it leaves the list."""
    admin = ctx.require_admin()
    row, approval = known(ctx, approval_id)
    if row.state is not OverrideState.DONE:
        raise UserError(standing(ctx, row, approval))
    if admin not in reviewers(ctx, approval, row):
        named = [ctx.directory.name(each) for each in reviewers(ctx, approval, row)] or "-"
        raise UserError(say("override.not_reviewer", number=approval_id, admins=named))
    if ctx.tx.overrides.review(row.id, admin) is None:
        by = ctx.directory.name(str((ctx.tx.overrides.of(approval_id) or row).reviewed_by))
        raise UserError(say("override.reviewed_before", number=approval_id, by=by))
    ctx.tx.audit.add(admin, "override.reviewed", f"approval {approval_id}", job=approval.job_id, of=row.made_by)
    words = say("override.reviewed", number=approval_id, by=ctx.directory.name(admin))
    return [Text(each, words) for each in dict.fromkeys([admin, row.made_by])]
