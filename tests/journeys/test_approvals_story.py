"""A question nobody answers at once: asked back, withdrawn, reminded of, passed on, overridden; in two languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bot.sandbox.player import text_of
from bot.sandbox.run import running
from storage.models import ApprovalStatus, JobState, OverrideState
from tests.journeys.backup_steps import ask, data, until
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, read_all
from tests.journeys.test_reassign import restart

SHANGHAI = ZoneInfo("Asia/Shanghai")
MONDAY = datetime(2026, 11, 30, 10, 0, tzinfo=SHANGHAI)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Bot]:
    """Monday at ten: mei and yan are admins, wei is a super admin who can read no public mailbox."""
    roles = {"bot_admins": ("mei", "yan"), "bot_super_admins": ("wei",)}
    with running(tmp_path / "data", begins=MONDAY, **roles) as sandbox, closing(Bot(sandbox)) as player:
        player.wait_ready()
        yield player


def forward(bot: Bot, **amount: float) -> None:
    """The clock on, and a minute more: that often sweeps look."""
    bot.advance(timedelta(**amount).total_seconds() + 61)


def check(bot: Bot, member: str, *said: tuple[str, str]) -> None:
    """Every line gets an answer that holds these words, whatever else comes meanwhile."""
    for line, wanted in said:
        answer(bot, member, line, wanted)


def marks(bot: Bot, member: str, number: int) -> list[str]:
    """What stands on a member's greyed cards of a question, oldest first."""
    shown = [each["card"] for each in bot.entries(member) if each.get("card")]
    return [each["replaced_text"] for each in shown if each["greyed"] and re.search(rf"\b{number}$", each["title"])]


def test_from_the_first_question_back_to_an_override_that_took_effect(office: Bot) -> None:
    """First in English, where the override is stopped; then in Chinese, where it takes effect through a restart."""
    bot = office
    for member in ("ling", "fang", "wei", "yan"):
        answer(bot, member, "language en")
    job = ask(bot, "backup ahing to support@ because he leaves")
    until(bot, job, "waiting", "access")
    bot.say("mei", f"manager {job}")

    # asked back by button, answered in the next message
    bot.press("ling", "ask_back:1")
    bot.hear("ling", "What would you like to know?")
    bot.say("ling", "why now, is he ill?")
    bot.hear("ling", "I passed that on to 美玲")
    heard = text_of(bot.hear("mei", "凌 asks about your approval 1"))
    assert "“why now, is he ill?” I pass your next message back" in heard
    bot.say("mei", "no, his last day is Friday")
    bot.hear("ling", "美玲 answers about approval 1: “no, his last day is Friday”")
    bot.hear("ling", "[Approve] | [Reject] | [Ask]")
    bot.wait("the first card points to the new one", lambda: marks(bot, "ling", 1) == ["See below"])
    assert "凌 asked: “why now, is he ill?”" in answer(bot, "mei", "approvals", "Approval 1")

    # withdrawn, and asked again
    bot.say("mei", "withdraw 1")
    bot.hear("mei", f"Job {job} still waits for 阿兴")
    bot.hear("ling", "美玲 withdrew approval 1")
    bot.wait("greyed", lambda: marks(bot, "ling", 1) == ["See below", "Withdrawn"])
    check(bot, "ling", ("approve 1", "美玲 withdrew it"))
    read_all(bot, "mei")
    bot.say("mei", f"manager {job}")
    bot.hear("mei", "凌")

    # nobody answers: reminded twice, then somebody else is asked
    read_all(bot, "ling")
    forward(bot, hours=1)
    bot.hear("ling", "Approval 2 still waits for you, asked by 美玲: ")
    forward(bot, hours=3)
    bot.hear("ling", "Approval 2 still waits for you")
    bot.hear("mei", "No answer yet from 凌 to approval 2")
    bot.press("mei", "ask_else:2", {"choice": ["fang"]})
    bot.hear("ling", "美玲 has asked 方敏 instead of you about approval 2")
    bot.hear("fang", "美玲 asks you instead of 凌 about approval 2")
    bot.hear("mei", "I asked 方敏 instead of 凌")
    bot.wait("both cards are put away", lambda: marks(bot, "ling", 2) == marks(bot, "mei", 2) == ["Passed on"])
    check(bot, "ling", ("approve 2", "Approval 2 is not yours to answer; it waits for 方敏."))

    # an override that somebody stops, and the right answer after it
    check(bot, "mei", ("override 2 because it is urgent", "super admin"))
    read_all(bot, "fang")
    bot.say("wei", "override 2")
    bot.hear("wei", "Your next message is taken as the reason for overriding approval 2")
    bot.say("wei", "fang is on a plane")
    bot.hear("wei", "Noted. Approval 2 counts as a yes at 2026-11-30 14:")
    bot.hear("fang", "魏强, a super admin, answers approval 2 in your place")
    bot.hear("ahing", "overrides approval 2")
    bot.hear("yan", "Reason: fang is on a plane")
    bot.press("yan", "stop_override:2")
    for member in ("wei", "mei", "fang"):
        bot.hear(member, "赵燕 stopped 魏强's override of approval 2")
    bot.wait("no admin can stop it twice", lambda: any("(Stopped)" in text_of(each) for each in bot.entries("yan")))
    check(bot, "wei", ("override 2 because again", "a question can be overridden only once"))
    forward(bot, minutes=31)
    read_all(bot, "mei")
    bot.press("fang", "approve:2")
    bot.hear("mei", "方敏 said yes: ")
    until(bot, job, "waiting", "access")
    assert data(bot, job)["by_manager"] == "fang"

    chinese(bot)
    withdrawn_with_its_job(bot)


def chinese(bot: Bot) -> None:
    """The same in Chinese words, to the end that nobody stops."""
    for member in ("ling", "fang", "wei", "yan", "mei"):
        answer(bot, member, "语言 中文")
    job = ask(bot, "备份 calvin 到 support@ 原因 离职")
    until(bot, job, "waiting", "access")
    bot.say("mei", f"找上级 {job}")
    bot.hear("mei", "已请 凌 审批")
    bot.hear("ling", "[询问]")
    check(bot, "ling", ("询问 3 为什么是现在？", "已转告 美玲"))
    bot.hear("mei", "凌 就您的申请（审批 3：")
    check(bot, "mei", ("回答 3 他周五离职", "已把您的答复转给 凌"))
    bot.hear("ling", "美玲 就审批 3 答复：“他周五离职”")
    check(bot, "mei", ("撤回 3", "审批 3 已撤回"))
    bot.hear("ling", "美玲 撤回了审批 3")
    check(bot, "mei", (f"找上级 {job}", "已请 凌 审批"))
    bot.say("mei", "换人审批 4")
    bot.hear("mei", "1. 方敏")
    bot.say("mei", "1")
    bot.hear("fang", "美玲 请您代替 凌 答复审批 4")
    bot.hear("mei", "审批 4 已改请 方敏 代替 凌 答复")

    bot.say("wei", "越权 4 原因 方总住院")
    bot.hear("wei", "已记录")
    bot.hear("fang", "超级管理员 魏强 代您答复审批 4")
    check(bot, "yan", ("越权记录", "魏强 越权同意，将于"))
    forward(bot, minutes=20)
    restart(bot)
    with bot.store.begin() as tx:
        assert tx.approvals.get(4).status is ApprovalStatus.PENDING
    for member in ("mei", "fang", "yan", "wei"):
        read_all(bot, member)
    forward(bot, minutes=10)
    bot.hear("mei", "魏强 越权同意了审批 4，期间无人阻止")
    bot.hear("fang", "魏强 对审批 4 的越权同意已生效")
    bot.hear("calvin", "魏强")  # whose mailbox it is
    bot.wait("greyed", lambda: marks(bot, "fang", 4) == ["已越权同意"])
    until(bot, job, "waiting", "access")
    assert data(bot, job)["by_manager"] == "wei"
    check(
        bot,
        "wei",
        ("复核 4", "审批 4 的越权同意须由未参与的管理员复核：赵燕"),
        ("同意 4", "审批 4 已由 魏强 同意"),
    )
    check(bot, "yan", ("越权记录", "复核后请输入“已复核 4”"), ("已复核 4", "已从列表移除"), ("越权记录", "没有进行中"))
    with bot.store.begin() as tx:
        whats = [each.what for each in tx.audit.entries() if each.subject == "approval 4"]
        row = tx.overrides.of(4)
        assert row is not None
        assert (row.state, row.reviewed_by) == (OverrideState.DONE, "yan")
        assert tx.audit.broken_at() is None
    assert whats == [
        "approval.asked", "approval.replaced", "override.begun", "approval.overridden", "override.reviewed",
    ]  # fmt: skip


def withdrawn_with_its_job(bot: Bot) -> None:
    """A change of owner waits for nothing but its question: taken back, it ends as a cancelled one does."""
    read_all(bot, "mei")
    bot.say("mei", "转移 jun@ 给 tao 原因 接手客户")
    bot.press("mei", "reassign_ask:")
    bot.hear("wei", "[同意] | [拒绝] | [询问]")  # jun's manager
    check(bot, "mei", ("撤回 5", "审批 5 已撤回"))
    bot.hear("wei", "美玲 撤回了审批 5")

    def ended() -> bool:
        with bot.store.begin() as tx:
            job = tx.jobs.get(tx.approvals.get(5).job_id)
            return job.state is JobState.CANCELLED and job.data["ending"] == "cancelled"

    bot.wait("the change of owner is over", ended)
