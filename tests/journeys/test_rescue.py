"""Somebody has left: his mail is saved out of the recycle bin, in either way, and the reminders know the difference."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from bot.sandbox.player import text_of
from storage.models import AuditEntry, BinItem, BinState, Handover, HandoverState, Job, Mailbox, MailboxKind
from tests.journeys.backup_steps import AHING, CALVIN, SUPPORT, box, copied, data, over, ready, said_to, tidy
from tests.journeys.backup_steps import until as stands_at
from tests.journeys.conftest import Bot
from tests.journeys.test_reassign import restart
from tests.journeys.test_recycle_bin import Starting, days, quiet, stands, starting, until

__all__ = ["starting"]

LOOK_AGAIN = 61  # seconds: a console step is looked at when asked, but at most once a minute; sweeps are as slow
QUARTER = 15 * 60 + 1


def newest(bot: Bot, kind: str = "rescue") -> int:
    """The number of the newest job of a kind."""
    with bot.store.begin() as tx:
        return tx.session.scalar(select(func.max(Job.id)).where(Job.kind == kind)) or 0


def leaves(bot: Bot, userid: str = "ahing") -> None:
    """A member whose address is known is deleted in the console."""
    bot.say("mei", f"mailbox {userid}")
    bot.hear("mei", f"{userid}@corp.test")
    bot.console("delete_member", member=userid)
    bot.wait("the book has it", lambda: waiting(bot, f"{userid}@corp.test") is not None)


def waiting(bot: Bot, address: str) -> Any:
    """The entry of an address that waits."""
    with bot.store.begin() as tx:
        return tx.recycle_bin.waiting_at(address)


def step_of(bot: Bot, job: int) -> Handover:
    """The newest console step of a job."""
    with bot.store.begin() as tx:
        found: Handover = tx.handovers.of_job(job)[-1]
        return found


def says_done(bot: Bot, job: int, line: str) -> None:
    """Somebody says that the newest step is done, more than a minute after it was first looked at."""
    bot.wait("it was looked at once", lambda: step_of(bot, job).looked_at is not None)
    bot.advance(LOOK_AGAIN)
    bot.say("mei", f"{line} {step_of(bot, job).id}")


def agreed(bot: Bot, job: int, stage: str) -> None:
    """Ling, whose member had the mailbox, says yes; the console is asked for."""
    stands_at(bot, job, "waiting", "approval")
    bot.press("ling", f"approve:{data(bot, job)['approval']}")
    stands_at(bot, job, "waiting", stage)


def nothing_left(bot: Bot) -> None:
    """No key, and no console step that anybody is still asked for."""
    tidy(bot)
    with bot.store.begin() as tx:
        assert not tx.handovers.open_ones()


def test_as_a_public_mailbox_to_the_end(starting: Starting) -> None:
    """What the console made is hidden from the app: a login proves it. Compared, safe; then nobody is reminded."""
    with starting("2026-11-02 10:00") as bot:
        leaves(bot)
        until(bot, "2026-11-18 09:00")
        bot.hear("mei", "Soon deleted: ahing@corp.test")
        bot.press("mei", "bin_rescue:")
        bot.hear("mei", "Into which mailbox is its mail to be saved?")
        bot.say("mei", SUPPORT)
        bot.hear("mei", "Why is the mail of ahing@corp.test to be saved")
        bot.say("mei", "his customers write there")
        told = text_of(bot.hear("mei", "There are two ways"))
        for wanted in ("works ONCE", "counts as partial", "2. As a public mailbox", "a free plan has 3"):
            assert wanted in told, told
        rescue = newest(bot)
        bot.press("mei", "rescue_way:")
        bot.hear("ling", "which was 阿兴's, is in the recycle bin")
        bot.say("mei", f"way {rescue} public")
        bot.hear("mei", "offers no choice now")  # it waits for the manager
        bot.say("mei", f"cancel {rescue}")
        bot.hear("mei", f"Rescue {rescue} of {AHING} is cancelled")
        bot.say("mei", f"backup ahing@ to {SUPPORT} because his customers write there")
        bot.hear("mei", "There are two ways")
        rescue = newest(bot)
        bot.say("mei", f"way {rescue} public")
        agreed(bot, rescue, "convert")
        bot.hear("mei", "转为公共邮箱")
        restart(bot)
        says_done(bot, rescue, "done")
        bot.hear("mei", "WeCom shows me no public mailbox")
        bot.advance(LOOK_AGAIN)
        bot.hear("mei", "/pages/")  # proof by login is asked for; the console refuses a password for the bin
        until(bot, "2026-11-25 09:00")
        reminded = text_of(bot.hear("mei", f"{AHING} is being rescued (job {rescue})"))
        assert "It is not safe yet" in reminded
        bot.console("convert_to_public", address=AHING, name="ahing", members=["mei"])
        bot.say("mei", f"link {rescue}")
        bot.hear("mei", "/pages/")
        bot.show_everything(AHING)
        bot.console("set_imap", address=AHING, on=True)
        bot.enter("mei", bot.client_password(AHING))
        bot.hear("mei", f"{AHING} is a public mailbox now")
        assert step_of(bot, rescue).state is HandoverState.DONE
        copy = newest(bot, "backup")
        ready(bot, copy)
        assert stands(bot, 1) is BinState.WAITING
        bot.press("mei", "start:")
        over(bot, copy)
        assert data(bot, copy)["outcome"]["complete"], data(bot, copy)["outcome"]
        assert copied(bot, AHING, SUPPORT)
        bot.advance(LOOK_AGAIN)
        bot.hear("mei", f"SAFE: everything {AHING} held is in {SUPPORT}")
        bot.wait("the rescue is over", lambda: data(bot, rescue).get("ending") == "done")
        assert stands(bot, 1) is BinState.SAFE
        with bot.store.begin() as tx:
            item = tx.session.get_one(BinItem, 1)
            assert item.evidence == {"job": copy, "rescue": rescue}
            mailbox = tx.session.get_one(Mailbox, item.mailbox_id)
            assert (mailbox.kind, mailbox.owner, mailbox.managed) == (MailboxKind.PUBLIC, None, False)
            assert tx.audit.broken_at() is None
        quiet(bot, "2026-12-01 09:00")
        quiet(bot, "2026-12-02 09:00")
        nothing_left(bot)
        assert days(bot, "mei") == ["2026-11-18", "2026-11-25"]
        given_on_and_called_off(bot, rescue)
        bot.say("mei", f"after {rescue} leave")
        bot.hear("mei", f"{AHING} stays a public mailbox.")
        assert data(bot, rescue)["after"] == {"choice": "leave", "by": "mei"}


def given_on_and_called_off(bot: Bot, rescue: int) -> None:
    """To Calvin instead, as any change of owner: shown, agreed to by the manager; called off, it stays public."""
    bot.say("mei", f"善后 {rescue} 分配 卡尔文")
    bot.hear("mei", "calvin@corp.test 将与 卡尔文 解绑")
    before = newest(bot, "reassign")
    bot.say("mei", f"取消 {before}")
    bot.hear("mei", f"邮箱转移 {before} 已取消")
    assert data(bot, before)["ending"] == "cancelled"
    bot.say("mei", f"after {rescue} assign calvin")
    told = text_of(bot.hear("mei", "calvin@corp.test leaves 卡尔文"))
    assert AHING in told
    bot.press("mei", "reassign_ask:")
    job = newest(bot, "reassign")
    assert data(bot, job)["facts"]["state"] == "public mailbox"
    bot.press("ling", "approve:")
    bot.wait("it is agreed to", lambda: data(bot, job).get("approved_by") == "ling")
    bot.say("mei", f"cancel {job}")
    bot.hear("mei", f"Change of owner {job} is cancelled")
    assert data(bot, job)["ending"] == "cancelled"
    assert any(each.address == AHING for each in bot.sandbox.organisation.public.values())
    nothing_left(bot)


def made_public(bot: Bot) -> None:
    """Calvin's mailbox, who stays: taken off him, made public, and proved by a login."""
    bot.say("mei", "转公共 calvin@ 原因 客户常写信到此")
    bot.hear("mei", "需要有空余的公共邮箱名额")
    job = newest(bot, "convert")
    agreed(bot, job, "reclaim")
    bot.hear(
        "calvin", "凌 has agreed that your mailbox calvin@corp.test becomes a public mailbox. Reason: 客户常写信到此"
    )
    bot.console("reclaim", member="calvin")
    says_done(bot, job, "完成")
    stands_at(bot, job, "waiting", "convert")
    assert waiting(bot, CALVIN).known_from == "convert"
    bot.console("convert_to_public", address=CALVIN, name="calvin", members=["mei"])
    says_done(bot, job, "完成")
    bot.hear("mei", "但它不显示在管理后台创建的邮箱")
    bot.advance(LOOK_AGAIN)
    bot.hear("mei", "/pages/")
    bot.enter("mei", bot.client_password(CALVIN))
    bot.hear("mei", f"{CALVIN} 已转为公共邮箱，邮件全部保留")
    bot.hear("calvin", "it is not yours any more")
    bot.wait("it is over", lambda: data(bot, job).get("ending") == "done")
    bot.wait("it left the bin", lambda: waiting(bot, CALVIN) is None)
    nothing_left(bot)


def test_by_the_consoles_own_copy_on_the_last_days(starting: Starting) -> None:
    """Once only, and partial: it is seen to arrive, but the reminders go on until somebody lets it go. In Chinese."""
    with starting("2026-11-02 10:00") as bot:
        leaves(bot)
        until(bot, "2026-12-01 09:00")  # the last morning
        bot.say("mei", "抢救 ahing@ 到 support@ 原因 客户邮件")
        told = text_of(bot.hear("mei", "有两种方式"))
        assert "距离 2026-12-02 00:00 时间很少" in told
        rescue = newest(bot)
        bot.press("mei", "rescue_way:")
        agreed(bot, rescue, "once")
        bot.hear("mei", "“备份邮件”")
        step = step_of(bot, rescue)
        assert step.deadline_at == waiting(bot, AHING).deletes_at
        bot.wait("it was looked at once", lambda: step_of(bot, rescue).looked_at is not None)
        tidy(bot)  # no minted key waits for a person
        says_done(bot, rescue, "完成")
        bot.hear("mei", "没有新邮件")
        bot.wait("it is contradicted", lambda: step_of(bot, rescue).state is HandoverState.CONTRADICTED)
        mails = sum(len(each.messages) for each in box(bot, AHING).folders.values())
        bot.console("backup_once", address=AHING, target=SUPPORT)
        restart(bot)
        says_done(bot, rescue, "完成")
        bot.hear("mei", f"新增 {mails} 封邮件")
        bot.advance(QUARTER)
        bot.hear("mei", f"{AHING} 的 {mails} 封邮件已到达 {SUPPORT}")
        assert "部分备份" in said_to(bot, "mei")[-1]
        bot.wait("the rescue is over", lambda: data(bot, rescue).get("ending") == "partial")
        assert stands(bot, 1) is BinState.WAITING, "a copy nobody could compare is not safe"
        nothing_left(bot)
        bot.say("mei", "回收站 ahing@")
        bot.hear("mei", f"管理后台已将它备份到 {SUPPORT}")
        bot.say("mei", "抢救 ahing@ 到 support@ 原因 再来一次")
        assert f"已在任务 {rescue} 中用过" in text_of(bot.hear("mei", "有两种方式"))
        second = newest(bot)
        bot.say("mei", f"方式 {second} 公共邮箱")
        agreed(bot, second, "convert")
        until(bot, "2026-12-02 00:00")
        bot.advance(LOOK_AGAIN)
        bot.hear("mei", f"抢救 {second} 来不及了")
        bot.wait("the entry is closed", lambda: stands(bot, 1) is BinState.LOST)
        nothing_left(bot)
        made_public(bot)
        with bot.store.begin() as tx:
            what = set(tx.session.scalars(select(AuditEntry.what)))
            assert {"rescue.asked", "rescue.way", "rescue.once_seen", "rescue.ended"} <= what
            assert tx.audit.broken_at() is None
