"""
An approver who does not answer: reminded in working hours, and replaced by the next in line if who asked wants it.

One sweep reminds. Its row says when the next reminder is due, so a restart forgets none and of several replicas one
speaks. A card that would be too old to be redrawn before the next reminder is sent anew with this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bot.context import Choose, Context
from bot.directory import Directory
from bot.errors import UserError
from bot.policy import Requirement, Roles, approvers
from bot.replies import Button, Card, Choice, Reply, Text
from bot.router import Router
from bot.settings import Settings
from bot.words import say
from bot.work import SweepStep, Work
from bot.workdays import may_speak_at, workdays
from handlers import addresses
from handlers.approvals import approvals
from handlers.approvals.approval_card import (
    about,
    about_asker,
    asker_of,
    greyed,
    headline,
    question_card,
    question_for,
    until,
)
from handlers.approvals.approval_times import next_reminder
from storage.models import Approval, JobState, Member

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

RESEND_AFTER = timedelta(hours=60)  # a card can be redrawn for 72 hours
GREY_AFTER = timedelta(hours=70)  # over a weekend or a holiday, when nobody is to be disturbed by a new one
OFFER_AFTER = 2  # reminders
CHOICES_MAX = 10


# --- reminders -------------------------------------------------------------------------------------------------------


@work.sweep("approvals-reminders", timedelta(minutes=1))
def remind(sweep: SweepStep) -> None:
    """Who has not answered is reminded; cards that nobody could grey any more are put away before."""
    tx, settings = sweep.tx, sweep.services.settings
    for approval in tx.approvals.to_remind():
        speaks_at = may_speak_at(tx.now, settings.zone, workdays())
        if speaks_at > tx.now:  # the bot was away when it was due
            approval.remind_at = speaks_at
            continue
        approval.reminders += 1
        approval.remind_at = next_at = next_reminder(tx.now, approval.reminders, settings.zone)
        fresh_from = next_at - RESEND_AFTER
        for userid in approval.approvers:
            sweep.say(
                *reminder(tx, approval, userid, settings, anew=not has_card_since(tx, approval, userid, fresh_from))
            )
        if approval.reminders == OFFER_AFTER:
            sweep.say(*offer(tx, sweep.roles, settings, approval))
    for approval in tx.approvals.with_old_cards(GREY_AFTER):
        old = [card for card in tx.cards.open_about(about(approval)) if card.created_at <= tx.now - GREY_AFTER]
        note = say("approvals.card_sleeps", number=approval.id)
        sweep.say(*greyed(approval, old, "sleeping", note=note))


def has_card_since(tx: Transaction, approval: Approval, userid: str, since: datetime) -> bool:
    """Whether an approver has a card that can still be redrawn when the next reminder comes."""
    return any(card.created_at > since for card in tx.cards.open_about(about(approval), userid))


def reminder(tx: Transaction, approval: Approval, userid: str, settings: Settings, *, anew: bool) -> list[Reply]:
    """One short message, and a new card if the old one grows too old."""
    words = say(
        "approvals.reminder", number=approval.id, by=asker_of(approval), question=headline(approval),
        until=until(approval, settings),
    )  # fmt: skip
    if not anew:
        return [Text(userid, words)]
    old = greyed(approval, tx.cards.open_about(about(approval), userid), "again")
    return [*old, Text(userid, words), question_card(approval, userid, settings)]


# --- somebody else ---------------------------------------------------------------------------------------------------


def next_in_line(directory: Directory, roles: Roles, approval: Approval) -> list[str]:
    """Who could be asked instead, nearest first; only managers have somebody above them."""
    if approval.requirement != Requirement.MANAGER:
        return []
    managers = directory.managers(approval.owner) if approval.owner is not None else []
    found = approvers(
        Requirement.MANAGER, asker=approval.asked_by, gains=approval.gains or (), managers=managers, roles=roles
    )
    asked = {*approval.approvers, *approval.replaced}
    return [each for each in directory.present([*found.userids, *found.ladder]) if each not in asked][:CHOICES_MAX]


def offer(tx: Transaction, roles: Roles, settings: Settings, approval: Approval) -> list[Reply]:
    """Who asked may choose somebody else; where nobody is left he is told that."""
    directory = Directory(tx, settings.exmail_domain)
    line, number = next_in_line(directory, roles, approval), approval.id
    values = {"number": number, "question": headline(approval)}
    if approval.approvers:
        key = "approvals.no_answer_yet" if line else "approvals.no_answer_yet_nobody"
        words = say(key, **values, approvers=[directory.name(each) for each in approval.approvers])
    else:
        words = say("approvals.approver_left" if line else "approvals.approver_left_nobody", **values)
    if not line:
        return [Text(approval.asked_by, words)]
    card = Card(
        approval.asked_by,
        about_asker(approval),
        say("approvals.card_title", number=number),
        note=say("approvals.choose_instead"),
        buttons=[
            Button(f"ask_else:{number}", say("approvals.button_instead")),
            Button(f"withdraw:{number}", say("approvals.button_withdraw"), style=2),
        ],
        choices=[Choice(each, directory.name(each)) for each in line],
        choices_title=say("approvals.choose_whom"),
    )
    old = greyed(approval, tx.cards.open_about(about_asker(approval)), "again")
    return [*old, Text(approval.asked_by, words), card]


@router.command(
    "ask someone|somebody else {approval_id:int} [{member}]",
    "换人审批 {approval_id:int} [{member}]",
    topic="approvals",
    example=("ask someone else 42", "换人审批 42"),
)
@router.action("ask_else")
def ask_someone_else(ctx: Context, approval_id: int, member: str | None = None) -> list[Reply]:
    """Have somebody else answer my question: the next manager up, where the first does not answer."""
    approval = approvals.asked_by_sender(ctx, approval_id)
    line = next_in_line(ctx.directory, ctx.roles, approval)
    if not line:
        raise UserError(say("approvals.nobody_else", number=approval_id))
    selected = next((each for options in ctx.selected.values() for each in options), None)
    if member is None and selected is None:
        choices = [(each, ctx.directory.name(each)) for each in line]
        raise Choose("member", say("approvals.whom_instead", number=approval_id), choices)
    chosen = selected or ctx.directory.member(str(member)).userid
    if chosen not in line:
        named = [ctx.directory.name(each) for each in line]
        raise UserError(
            say("approvals.not_in_line", number=approval_id, name=ctx.directory.name(chosen), members=named)
        )
    return replaced(ctx, approval, chosen)


def replaced(ctx: Context, approval: Approval, chosen: str) -> list[Reply]:
    """Another approver: both are told, the card moves from one to the other."""
    before, name = list(approval.approvers), ctx.directory.name(chosen)
    ctx.tx.approvals.ask_instead(approval, [chosen], remind_at=next_reminder(ctx.now, 0, ctx.settings.zone))
    longer(ctx.tx, approval)
    ctx.tx.audit.add(
        ctx.sender, "approval.replaced", f"approval {approval.id}", job=approval.job_id, before=before, after=[chosen]
    )
    by = asker_of(approval)
    told = say("approvals.replaced", number=approval.id, by=by, name=name, question=headline(approval))
    replies = greyed(approval, ctx.tx.cards.open_about(about(approval)), "replaced")
    replies += greyed(approval, ctx.tx.cards.open_about(about_asker(approval)), "replaced")
    replies += [Text(each, told) for each in ctx.directory.present(before)]
    named = [ctx.directory.name(each) for each in before] or "-"
    replies.append(Text(chosen, say("approvals.instead_of", number=approval.id, by=by, approvers=named)))
    replies += question_for(ctx.tx, approval, chosen, ctx.settings)
    return [*replies, Text(ctx.sender, say("approvals.asked_instead", number=approval.id, name=name, approvers=named))]


def longer(tx: Transaction, approval: Approval) -> None:
    """The job behind a question waits as long as the question does; a minted key keeps its own, shorter time."""
    job = tx.jobs.get(approval.job_id)
    if job.state is JobState.WAITING and job.expires_at is not None and not tx.passwords.minted_for(job.id):
        job.expires_at = max(job.expires_at, approval.expires_at)


@addresses.when_left
def approvers_left(tx: Transaction, roles: Roles, settings: Settings, gone: Sequence[Member], seen: str) -> list[Reply]:
    """Whoever left answers nothing: who asked may choose the next in line at once, or hears that nobody is left."""
    left = [each.userid for each in gone]
    replies: list[Reply] = []
    for approval in tx.approvals.waiting_for_one_of(left):
        before = list(approval.approvers)
        tx.approvals.take_out(approval, left)
        tx.audit.add(
            "bot", "approval.approver_left", f"approval {approval.id}", job=approval.job_id, before=before,
            after=approval.approvers,
        )  # fmt: skip
        for userid in left:
            for card in tx.cards.open_about(about(approval), userid):
                tx.cards.close(card)  # nobody looks at it any more
        if not approval.approvers:
            replies += offer(tx, roles, settings, approval)
    return replies
