"""A mailbox changes hands: asked, agreed to, saved first, done in the console, seen; and what may go wrong."""

from __future__ import annotations

import re
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bot.app import build
from bot.sandbox.player import text_of
from bot.sandbox.run import running
from storage.models import BinSource, Handover, HandoverState, Job
from tests.journeys.backup_steps import AHING, CALVIN, SUPPORT, copied, said_to
from tests.journeys.conftest import Bot

LOOK_AGAIN = 61  # seconds: console steps are looked at, and backups waited for, at most once a minute
A_MINUTE = 61  # a member hears at most 25 messages in one


def ask(bot: Bot, line: str, member: str = "mei") -> int:
    """Type a command that makes a change of owner; its number."""
    before = newest(bot)
    bot.say(member, line)
    bot.wait(f"a job for “{line}”", lambda: newest(bot) > before)
    return newest(bot)


def newest(bot: Bot) -> int:
    """The number of the newest change of owner."""
    with bot.store.begin() as tx:
        return tx.session.scalar(select(func.max(Job.id)).where(Job.kind == "reassign")) or 0


def row(bot: Bot, job: int) -> Job:
    """A job as it stands."""
    with bot.store.begin() as tx:
        found: Job = tx.session.get_one(Job, job)
        return found


def until(bot: Bot, job: int, state: str, stage: str) -> None:
    """Until a job stands so."""

    def stands() -> tuple[str, str]:
        found = row(bot, job)
        return str(found.state), str(found.stage)

    bot.wait(f"job {job} is {state} at {stage}, not {stands()}", lambda: stands() == (state, stage))


def ended(bot: Bot, job: int, ending: str) -> None:
    """Until a job has ended so."""
    bot.wait(
        f"job {job} ends as {ending}, not {row(bot, job).data.get('ending')} at {row(bot, job).stage}",
        lambda: row(bot, job).finished_at is not None and row(bot, job).data["ending"] == ending,
    )


def step_of(bot: Bot, job: int, stage: str) -> Handover:
    """The console step of a stage."""
    with bot.store.begin() as tx:
        found: Handover = tx.session.get_one(Handover, row(bot, job).data["handovers"][stage])
        return found


def restart(bot: Bot) -> None:
    """The bot stops and starts again; the organisation goes on meanwhile."""
    sandbox = bot.sandbox
    assert sandbox.bot is not None
    sandbox.bot.stop()
    sandbox.web.router.routes.pop()
    sandbox.bot = build(sandbox.bot_settings(), clock=sandbox.clock)
    sandbox.web.mount("/", sandbox.bot.web)
    sandbox.bot.start()


def agreed(bot: Bot, job: int) -> None:
    """Submitted, and ling says yes."""
    until(bot, job, "waiting", "shown")
    bot.say("mei", f"submit {job}")
    bot.press("ling", "approve:")
    until(bot, job, "waiting", "prepare")


def in_book(bot: Bot, address: str) -> Any:
    """What the book of the recycle bin says of an address."""
    with bot.store.begin() as tx:
        return tx.recycle_bin.waiting_at(address)


def test_ahing_becomes_calvins_while_the_bot_restarts(bot: Bot) -> None:
    """Rejected, asked again, agreed, saved, said but not done, done; a restart at every wait."""
    first = ask(bot, "reassign ahing@ to calvin because he takes over")
    told = bot.hear("mei", "is deleted for ever on")["text"]
    for wanted in (f"{AHING} goes from 阿兴 to 卡尔文", f"{CALVIN} leaves 卡尔文", "60 days", SUPPORT, "unread mails"):
        assert wanted in told
    bot.press("mei", "reassign_ask:")
    bot.press("ling", "reject:")
    bot.hear("ling", "Why not?")
    bot.say("ling", "not this week")
    bot.hear("mei", "Reason: not this week")
    ended(bot, first, "rejected")
    assert not row(bot, first).data["handovers"]

    job = ask(bot, "reassign ahing@ to calvin because he takes over next week")
    until(bot, job, "waiting", "shown")
    bot.press("mei", "reassign_alias:")
    bot.hear("mei", f"I will ask you and make it an alias of {AHING}")
    bot.say("mei", f"keep alias {job}")
    bot.hear("mei", f"type `keep alias {job}`")
    agreed(bot, job)
    restart(bot)
    bot.hear("mei", "First calvin@corp.test is backed up to support@corp.test")
    bot.say("mei", f"acknowledge {job} for calvin")
    bot.hear("mei", "I know no job")
    bot.say("ling", f"acknowledge {job}")
    bot.hear("ling", f"acknowledge {job} for calvin")
    bot.press("calvin", "reassign_ack:")
    bot.hear("mei", "卡尔文 knows of it")
    assert not row(bot, job).data["handovers"], "nothing is done in the console before the backup is verified"

    bot.hear("calvin", "/pages/")
    bot.show_everything(CALVIN)
    bot.enter("calvin", bot.client_password(CALVIN))
    bot.press("mei", "start:")
    bot.hear("mei", f"mails of {CALVIN} are now in {SUPPORT}")
    backup = row(bot, job).data["backup"]
    bot.wait("the backup is over", lambda: row(bot, backup).finished_at is not None)
    bot.advance(LOOK_AGAIN)
    bot.hear("mei", f"(job {backup}): change of owner {job} goes on")
    until(bot, job, "waiting", "reclaim")
    assert copied(bot, CALVIN, SUPPORT)
    bot.hear("ahing", f"Your mailbox {AHING} goes to 卡尔文")

    reclaim = step_of(bot, job, "reclaim")
    assert bot.hear("mei", "回收邮箱")["text"]
    assert bot.hear("mei", AHING)["text"] == AHING
    restart(bot)
    bot.advance(LOOK_AGAIN)
    bot.say("mei", f"done {reclaim.id}")
    bot.hear("mei", "but I cannot see it yet")
    assert f"{AHING} belongs to 阿兴" in said_to(bot, "mei")[-1]
    assert step_of(bot, job, "reclaim").state is HandoverState.CONTRADICTED
    bot.say("mei", "handovers")
    bot.hear("mei", f"{reclaim.id}: Take {AHING} off 阿兴")
    (shown,) = bot.get("steps")["steps"]  # as the page's console shows it, with the order that does it
    assert (shown["id"], shown["asked_of"], shown["contradicted"]) == (reclaim.id, "mei", True)
    assert shown["order"] == {"action": "reclaim", "member": "ahing"}
    bot.console(**shown["order"])
    restart(bot)
    bot.advance(15 * 60 + 1)  # nobody presses anything: it is found by itself
    until(bot, job, "waiting", "assign")
    reclaim = step_of(bot, job, "reclaim")
    assert reclaim.before is not None
    assert reclaim.after is not None
    assert (reclaim.before["detail"], reclaim.after["detail"][AHING]) == ({AHING: "ahing"}, None)
    assert in_book(bot, AHING).source is BinSource.RECLAIMED
    bot.say("mei", f"job {job}")
    bot.hear("mei", "was taken off 阿兴")

    (shown,) = bot.get("steps")["steps"]
    assert shown["order"] == {"action": "assign", "address": AHING, "member": "calvin"}
    bot.console(**shown["order"])
    restart(bot)
    bot.advance(LOOK_AGAIN)
    bot.press("mei", "handover_check:")
    ended(bot, job, "done")
    assign = step_of(bot, job, "assign")
    assert assign.after is not None
    assert assign.after["detail"][AHING] == "calvin"
    assert in_book(bot, AHING) is None
    assert in_book(bot, CALVIN).source is BinSource.REPLACED
    bot.hear("calvin", f"{AHING} is yours now")
    bot.hear("ahing", f"{AHING} now belongs to 卡尔文")
    for member in ("mei", "ling", "calvin"):
        assert any(CALVIN in each and "deleted for ever on" in each for each in said_to(bot, member)[-2:]), member
    with bot.store.begin() as tx:
        assert tx.audit.broken_at() is None
        assert tx.mailboxes.of("calvin").address == AHING
        assert tx.mailboxes.of("ahing") is None
        done = [each.what for each in tx.audit.entries() if each.what in ("handover.done", "reassign.done")]
    assert done == ["handover.done", "handover.done", "reassign.done"]


def test_what_cannot_be_is_refused_at_once(bot: Bot) -> None:
    """Strangers, nobody who could agree, the same owner, unknown and public mailboxes, no place to save."""
    bot.say("calvin", "reassign ahing@ to calvin because I want it")
    bot.hear("calvin", "Only an admin")
    for line, heard in (
        ("reassign fang to calvin because x", "This needs the manager of 方敏, and I can see none"),
        ("reassign ling to fang because x", "This needs the manager of 凌, and I can see none"),
        ("reassign calvin@ to calvin because x", f"{CALVIN} already belongs to 卡尔文"),
        ("reassign nobody@ to calvin because x", "I know no mailbox nobody@corp.test"),
        ("reassign support@ to calvin because x", "support@corp.test is a public mailbox"),
        ("reassign ahing@ to calvin because x, saved into ling@", "ling@corp.test is not a public mailbox"),
        ("reassign ahing@ to zzzzzz because x", "zzzzzz"),
        ("转移 calvin@ 给 calvin 原因 测试", f"{CALVIN} 已经属于 卡尔文"),
    ):
        bot.say("mei", line)
        bot.hear("mei", heard)
    bot.say("mei", "reassign ahing@ to calvin")
    bot.hear("mei", "Why is ahing@corp.test to be given to 卡尔文?")
    bot.say("mei", "he takes over")
    bot.hear("mei", "is deleted for ever on")
    open_one = newest(bot)
    bot.say("mei", "reassign ahing@ to tao because x")
    bot.hear("mei", f"Job {open_one} is giving away the same mailbox")
    bot.say("mei", f"submit {open_one}")
    bot.hear("ling", "because: he takes over")
    bot.say("mei", f"cancel {open_one}")
    bot.hear("mei", f"Change of owner {open_one} is cancelled")
    ended(bot, open_one, "cancelled")
    bot.say("mei", f"resume {open_one}")
    bot.hear("mei", "cannot be resumed")
    with bot.store.begin() as tx:
        assert tx.approvals.waiting_for("ling") == []
    bot.advance(A_MINUTE)
    bot.console("reclaim", member="tao")  # he has no mailbox: that is believed only in words
    bot.say("mei", "reassign ahing@ to tao because x")
    bot.hear("mei", "I do not know which mailbox 陈涛 has now")
    bot.say("mei", "reassign ahing@ to tao because he takes over without backup")
    bot.hear("mei", "I know of no mailbox that 陈涛 has now")


def test_one_in_the_bin_without_a_backup_in_chinese(bot: Bot) -> None:
    """Somebody has left: one console step; the manager answers for the new owner, and a late step is named."""
    bot.say("mei", "mailbox ahing@")
    bot.hear("mei", AHING)
    bot.console("delete_member", member="ahing")
    bot.wait("the book has it", lambda: in_book(bot, AHING) is not None)
    bot.say("mei", "转移 ahing@ 给 calvin 原因 阿兴离职 不备份 保留别名")
    told = bot.hear("mei", "被永久删除")["text"]
    assert "回收站中的 ahing@corp.test（原属 阿兴）" in told
    assert "不做备份：届时邮件将丢失" in told
    job = newest(bot)
    bot.press("mei", "reassign_ask:")
    assert "WITHOUT a backup" in text_of(bot.hear("ling", "Approval"))
    bot.press("ling", "approve:")
    until(bot, job, "waiting", "prepare")
    bot.say("ling", f"知悉 {job} 代 calvin")
    bot.hear("mei", "凌 确认 卡尔文 已知悉")
    until(bot, job, "waiting", "assign")
    assert row(bot, job).data.get("backup") is None
    step = step_of(bot, job, "assign")
    deadline = in_book(bot, AHING).deletes_at
    assert step.deadline_at == deadline

    bot.console("assign", address=AHING, member="calvin")
    bot.advance(LOOK_AGAIN)
    bot.say("mei", f"完成 {step.id}")
    bot.hear("mei", f"待办 {step.id} 已完成")
    ended(bot, job, "done")
    wish = bot.hear("mei", "没有备份")["text"]
    assert in_book(bot, CALVIN).owner == "calvin"
    assert "届时我会询问是否设为别名" in wish
    number = int(re.search(r"输入“别名 (\d+)”", wish)[1])  # type: ignore[index]

    bot.say("mei", f"别名 {number} 保留 sales.old@")  # before its time: the address is taken, and that is said
    bot.hear("mei", "企业微信暂不接受 calvin@corp.test 作为别名")
    bot.say("mei", f"任务 {number}")
    bot.hear("mei", "正在向企业微信申请")
    bot.advance((in_book(bot, CALVIN).deletes_at - bot.sandbox.clock.now()).total_seconds() + 11 * 3600)
    bot.hear("mei", "企业微信已接受")
    member = bot.sandbox.organisation.member("calvin")
    assert member is not None
    assert member.aliases == [CALVIN, "sales.old@corp.test"]
    until(bot, number, "done", "cleanup")


def renamed(bot: Bot, address: str, *, seen: bool) -> None:
    """Calvin gets another address, and the bot has seen that, or not."""
    bot.console("rename", member="calvin", new_address=address)
    if seen:
        bot.say("mei", f"mailbox {address}")
        bot.hear("mei", f"{address} is the mailbox of 卡尔文")


def test_changed_facts_late_steps_and_going_on(bot: Bot) -> None:
    """What was agreed to is read again; a step done too late is named with what was done, and `resume` goes on."""
    line = "reassign ahing@ to calvin because he takes over without backup"
    job = ask(bot, line)
    until(bot, job, "waiting", "shown")
    bot.say("mei", f"submit {job}")
    bot.card_with("ling", "approve:")
    renamed(bot, "calvin2@corp.test", seen=True)
    bot.press("ling", "approve:")
    bot.hear("ling", "is void, because what it showed has changed")
    bot.advance(LOOK_AGAIN)
    ended(bot, job, "void")

    job = ask(bot, line)
    agreed(bot, job)
    renamed(bot, "calvin3@corp.test", seen=False)
    bot.press("calvin", "reassign_ack:")
    told = bot.hear("mei", f"Change of owner {job} is void")["text"]
    assert "the mailbox displaced was calvin2@corp.test, is now -" in told
    ended(bot, job, "void")
    assert not row(bot, job).data["handovers"]

    renamed(bot, "calvin4@corp.test", seen=True)
    job = ask(bot, line)
    agreed(bot, job)
    bot.press("calvin", "reassign_ack:")
    until(bot, job, "waiting", "reclaim")
    bot.advance(15 * 24 * 3600)
    bot.hear("mei", f"Change of owner {job} stopped at “waits for the console: take the mailbox off its owner”")
    stopped = said_to(bot, "mei")
    assert any("卡尔文 knows of it" in each and "agreed (approval" in each for each in stopped[-3:]), stopped[-3:]
    ended(bot, job, "failed")
    bot.say("mei", f"resume {job}")
    until(bot, job, "waiting", "reclaim")
    bot.console("reclaim", member="ahing")
    bot.advance(LOOK_AGAIN)
    bot.press("mei", "handover_done:")
    until(bot, job, "waiting", "assign")
    bot.say("mei", f"cancel {job}")
    told = bot.hear("mei", f"Change of owner {job} is cancelled")["text"]
    assert re.search(rf"{AHING} is in the recycle bin and is deleted for ever on 20\d\d-\d\d-\d\d, unless", told)
    bot.say("mei", f"resume {job}")
    until(bot, job, "waiting", "assign")
    bot.console("assign", address=AHING, member="calvin")
    bot.advance(LOOK_AGAIN)
    bot.press("mei", "handover_check:")
    ended(bot, job, "done")


def test_two_managers_answer_in_the_same_instant_on_postgresql(tmp_path: Path, postgres: str) -> None:
    """Both press at once, through the front door: one has decided, the other is told who; then it runs to its end."""
    settings = {"bot_database_url": postgres, "bot_approvers": ("wei", "lan")}
    with running(tmp_path / "data", **settings) as sandbox, closing(Bot(sandbox)) as bot:
        bot.wait_ready()
        bot.say("mei", "backup calvin@ to support@ because it is under way")
        bot.hear("mei", "calvin@corp.test")
        job = ask(bot, "reassign fang@ to calvin because nobody is above her")
        told = bot.hear("mei", "goes from 方敏 to 卡尔文")["text"]
        assert "Under way already: job" in told
        assert f"backup of {CALVIN} (waits for access)" in told
        bot.press("mei", "reassign_ask:")
        cards = {member: bot.card_with(member, "approve:") for member in ("wei", "lan")}
        key = next(each["key"] for each in cards["wei"]["card"]["buttons"] if each["key"].startswith("approve:"))
        together = threading.Barrier(2)

        def press(member: str) -> None:
            together.wait(20)
            bot.post("click", member=member, task_id=cards[member]["card"]["task_id"], key=key)

        pressing = [threading.Thread(target=press, args=(member,)) for member in cards]
        for each in pressing:
            each.start()
        for each in pressing:
            each.join(30)
        until(bot, job, "waiting", "prepare")
        by = row(bot, job).data["approved_by"]
        other = "lan" if by == "wei" else "wei"
        name = {"wei": "魏强", "lan": "王兰"}[by]
        bot.wait(
            "the other hears who decided", lambda: any(f"{name} has said yes" in each for each in said_to(bot, other))
        )
        with bot.store.begin() as tx:
            assert [each.who for each in tx.audit.entries() if each.what == "approval.approved"] == [by]
            assert len(tx.jobs.recent(["backup"])) == 1, "the one that was under way is waited for"
        assert len(said_to(bot, "calvin")) == len(set(said_to(bot, "calvin")))

        bot.press("calvin", "reassign_ack:")
        bot.hear("calvin", "/pages/")
        bot.show_everything(CALVIN)
        bot.enter("calvin", bot.client_password(CALVIN))
        bot.press("mei", "start:")
        bot.hear("mei", f"mails of {CALVIN} are now in {SUPPORT}")
        backup = row(bot, job).data["backup"]
        bot.wait("the backup is over", lambda: row(bot, backup).finished_at is not None)
        bot.advance(LOOK_AGAIN)
        until(bot, job, "waiting", "reclaim")
        bot.console("reclaim", member="fang")
        bot.advance(LOOK_AGAIN)
        bot.press("mei", "handover_done:")
        until(bot, job, "waiting", "assign")
        bot.console("assign", address="fang@corp.test", member="calvin")
        bot.advance(LOOK_AGAIN)
        bot.press("mei", "handover_check:")
        ended(bot, job, "done")
        with bot.store.begin() as tx:
            assert tx.audit.broken_at() is None
            assert tx.mailboxes.of("calvin").address == "fang@corp.test"
        assert in_book(bot, CALVIN).source is BinSource.REPLACED


def test_a_backup_that_fails_stops_it_before_anything(bot: Bot) -> None:
    """Calvin's mail is not saved, so nothing is taken off anybody; `resume` begins another backup."""
    job = ask(bot, "reassign ahing@ to calvin because he takes over")
    agreed(bot, job)
    bot.press("calvin", "reassign_ack:")
    bot.wait("its backup is there", lambda: row(bot, job).data.get("backup") is not None)
    backup = row(bot, job).data["backup"]
    bot.say("mei", f"cancel {backup}")
    bot.wait("the backup is over", lambda: row(bot, backup).finished_at is not None)
    bot.advance(LOOK_AGAIN)
    bot.hear("mei", f"the backup of {CALVIN} (job {backup}) did not end verified")
    ended(bot, job, "failed")
    assert not row(bot, job).data["handovers"]
    bot.say("mei", f"resume {job}")
    bot.wait("another backup", lambda: (row(bot, job).data.get("backup") or backup) > backup)
    assert row(bot, job).data["acknowledged_by"] == "calvin", "he need not say it twice"
