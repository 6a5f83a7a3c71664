"""The manager's yes, end to end: asked, greyed, told, voided, run out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from bot.sandbox.player import text_of
from bot.wecom.cards import cut_on_screen
from bot.workdays import may_speak_at, workdays
from storage.models import Approval
from tests.journeys.backup_steps import ask, until
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, check, read_all

SHANGHAI = ZoneInfo("Asia/Shanghai")


def asked(bot: Bot, line: str = "backup ahing to support@ because he leaves") -> int:
    """A backup that waits for its owner, with the manager asked instead; the job's number."""
    job = ask(bot, line)
    until(bot, job, "waiting", "access")
    bot.say("mei", f"manager {job}")
    return job


def test_the_manager_says_yes_by_button(bot: Bot) -> None:
    """In his language; the card is greyed, the asker is told, and others had no say."""
    answer(bot, "ling", "我是谁")
    job = asked(bot)
    bot.hear("mei", "凌")
    text = text_of(bot.hear("ling", "审批 1"))  # the question is longer than a card shows
    assert "原因：he leaves" in text
    card = bot.hear("ling", "[同意] | [拒绝]")
    assert "原因: he leaves" in text_of(card)
    (until_,) = [row["value"] for row in card["card"]["rows"] if row["name"] == "截止"]
    shanghai = datetime.now(UTC).astimezone(SHANGHAI) + timedelta(days=7)
    assert until_.startswith((f"{shanghai:%Y-%m-%d %H}:", f"{shanghai - timedelta(minutes=5):%Y-%m-%d %H}:"))
    check(
        bot,
        "mei",
        ("approve 1", "Approval 1 is not yours to answer; it waits for 凌."),
        ("approvals", "Approval 1, asked by you: "),
    )
    check(bot, "calvin", ("approve 1", "There is no approval 1 for you."), ("reject 1 x", "There is no approval 1"))
    check(bot, "ling", ("审批", "请在 20"))
    read_all(bot, "mei")
    bot.press("ling", "approve:1")
    bot.hear("mei", "凌 said yes: ")
    bot.wait("the card is greyed", lambda: greyed(bot, "ling") == ["已同意"])
    bot.hear("ahing", "凌")  # the owner is told who allowed it
    check(bot, "ling", ("同意 1", "审批 1 已由 凌 同意，无需再处理。"), ("审批", "没有待您处理的审批"))
    assert "凌: said yes to approval 1" in answer(bot, "mei", "audit")
    until(bot, job, "waiting", "access")


def greyed(bot: Bot, member: str) -> list[str]:
    """What stands on the greyed approval cards of a member, oldest first."""
    shown = [each["card"] for each in bot.entries(member) if each.get("card")]
    return [each["replaced_text"] for each in shown if each["greyed"] and "1" in each["title"]]


@pytest.mark.parametrize("by", ["words", "button"])
def test_the_manager_says_no(bot: Bot, by: str) -> None:
    """A no wants a reason; by button the next message is it."""
    asked(bot)
    bot.hear("ling", "Approval 1")
    read_all(bot, "mei")
    if by == "button":
        bot.press("ling", "reject:1")
    else:
        bot.say("ling", "reject 1")
    bot.hear("ling", "Why not? Your next message is taken as the reason for rejecting approval 1.")
    bot.say("ling", "he is on holiday, ask him next week")
    bot.hear("ling", "Approval 1: rejected by 凌. Reason: he is on holiday")
    heard = text_of(bot.hear("mei", "凌 said no: "))
    assert heard.endswith("Reason: he is on holiday, ask him next week")
    bot.wait("the card is greyed", lambda: greyed(bot, "ling") == ["Rejected"])
    check(bot, "ling", ("approve 1", "凌 has said no to approval 1 already."))


def test_nobody_answers_for_a_week(bot: Bot) -> None:
    """Reminded when people work, with a new card before the old one is too old; at the end both are told."""
    asked(bot)
    bot.hear("ling", "[Approve] | [Reject] | [Ask]")
    reminders = 0
    while (due := reminder_of(bot)) < (ends := approval_of(bot).expires_at):
        assert may_speak_at(due, SHANGHAI, workdays()) == due
        forward(bot, due)
        bot.hear("ling", "Approval 1 still waits for you, asked by 美玲: ")
        reminders += 1
    assert "See below" in greyed(bot, "ling") or reminders < 4, "but for a week of holidays"
    read_all(bot, "mei")
    forward(bot, ends)
    bot.hear("mei", "ran out")  # the job, or its question: whichever the clock finds first
    bot.wait("the last one, too", lambda: greyed(bot, "ling")[-1:] in (["Ran out"], ["Withdrawn"]))
    assert "Approval 1" in answer(bot, "ling", "approve 1")


def approval_of(bot: Bot) -> Approval:
    """The first question as it stands."""
    with bot.store.begin() as tx:
        found: Approval = tx.approvals.get(1)
        return found


def reminder_of(bot: Bot) -> datetime:
    """When its next reminder is due."""
    due = approval_of(bot).remind_at
    assert due is not None
    return due


def forward(bot: Bot, moment: datetime) -> None:
    """The clock on to a moment that is still to come, and a little more than the minute until a sweep sees it."""
    bot.advance((moment - bot.sandbox.clock.now()).total_seconds() + 61)


def test_a_cancelled_job_needs_no_answer(bot: Bot) -> None:
    job = asked(bot)
    bot.hear("ling", "Approval 1")
    bot.say("mei", f"cancel {job}")
    bot.advance(61)
    bot.wait("the card is greyed", lambda: greyed(bot, "ling") == ["Withdrawn"])
    check(bot, "ling", ("approve 1", "Approval 1 is no longer needed"))


def test_a_request_nobody_can_answer_is_refused_at_once(bot: Bot) -> None:
    """The general manager has no manager, and no approver is configured."""
    job = ask(bot, "backup fang to support@ because she retires")
    until(bot, job, "waiting", "access")
    assert "This needs the manager of 方敏, and I can see none" in answer(bot, "mei", f"manager {job}", "This needs")
    assert "Nothing waits for you" in answer(bot, "mei", "approvals")


def test_no_card_is_cut_without_a_text(bot: Bot) -> None:
    """What a phone cuts off the card stands in the text before it."""
    reason = "he leaves at the end of the month and nobody else knows his customers by name"
    asked(bot, f"backup ahing to support@ because {reason}")
    text = text_of(bot.hear("ling", "Approval 1: "))
    assert reason in text
    assert "Type `approve 1`, or `reject 1` and why" in text
    sent = [each["body"]["template_card"] for each in bot.get("wire", kind="api", limit="100000")["entries"]
            if isinstance(each.get("body"), dict) and "template_card" in each["body"]]  # fmt: skip
    assert all(
        cut_on_screen(each) in ([], ["horizontal_content_list.value"], ["sub_title_text"]) for each in sent if each
    )
