"""A newcomer finds, and an admin types, everything about addresses: the same story in English and in Chinese."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import func, select

from bot.sandbox.player import button_of
from storage.models import Job
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, calls, read_all
from tests.journeys.test_reassign import restart

JUN, LIJUN, TAO, CHENTAO = "jun@corp.test", "lijun@corp.test", "tao@corp.test", "chentao@corp.test"
MINUTE = 61  # in which a member hears at most 25 messages

ENGLISH = {
    "mailbox": "mailbox", "moved": "had the address lan@corp.test, and has wanglan@corp.test now",
    "is_same": "wanglan@corp.test is the mailbox that was lan@corp.test",
    "find": "help addresses", "found": "rename ahing@ to aheng@", "how": "help rename",
    "usage": "rename MAILBOX to MAILBOX",
    "clash": "rename jun@ to tao@", "which": "Which aliases does jun@corp.test have now?", "none": "none",
    "taken": "it belongs to 陈涛",
    "rename": "rename jun@ to lijun@", "shown": "gets the new address lijun@corp.test",
    "renamed": "jun@corp.test is lijun@corp.test now", "over": "does not wait for your yes",
    "member": "In WeCom, on the phone and on the computer, you need not do anything",
    "fixed": "rename tao@ to chentao@ with none", "console": "Change the address tao@corp.test to chentao@corp.test",
    "done": "done", "not_yet": "tao@corp.test belongs to 陈涛", "seen": "tao@corp.test is chentao@corp.test now",
    "aliases": "aliases chentao@", "listed": "1 of 5 possible aliases: tao@corp.test",
    "add": "alias add tt@ to 陈涛", "whole": "It will be: tao@corp.test, tt@corp.test", "yes": "confirm",
    "busy": "WeCom does not answer just now, or wants me to wait", "added": "the aliases of chentao@corp.test are",
    "undo": "undo", "no_program": "No program can change this address",
    "cancel": "cancel", "nothing": "nothing was changed",
    "step_back": "Change the address lijun@corp.test to jun@corp.test",
    "not_back_yet": "lijun@corp.test belongs to 李军",
    "back": "lijun@corp.test is jun@corp.test now",
    "reminder": "Does anybody still write there?",
    "group": 'group create all@ "Everybody" with dept:客服, 阿兴', "reaches": "will reach: 阿兴 (ahing@corp.test)",
    "made": "The mail group all@corp.test “Everybody” is made",
    "senders": "group senders all@ only calvin",
    "only": "Now these may send to all@corp.test: only 卡尔文 (calvin@corp.test)",
    "mail_group": "smtp test support@ to all@", "bounced": "but not all@corp.test as the receiver. It said: 550",
    "delete": "group delete all@", "deleted": "The mail group all@corp.test is deleted",
    "vip": "vip add dept:客服, ahing", "given": "These have the advanced functions now", "seats": "vip",
    "seated": "They are: 阿兴",
    "login": "help login", "webmail": "https://en.exmail.qq.com", "smtp": "help smtp",
    "servers": "smtp test support@ to mei@",
    "send": "smtp test support@ to mei@",
    "took": "took the mail from support@corp.test to mei@corp.test. It said: 250 OK",
    "arrived": "mei@corp.test had", "to_public": "smtp test support@ to support@",
    "told": "WeCom told me that support@corp.test got mail",
    "refused": "refuses the login of support@corp.test. It said: 535",
}  # fmt: skip
CHINESE = {
    "mailbox": "邮箱", "moved": "原来的地址是 lan@corp.test，现在是 wanglan@corp.test",
    "is_same": "wanglan@corp.test 就是原来的 lan@corp.test",
    "find": "帮助 邮箱地址", "found": "改名 ahing@ 为 aheng@", "how": "帮助 改名", "usage": "改名 〈邮箱〉",
    "clash": "改名 jun@ 为 tao@", "which": "jun@corp.test 现在有哪些别名", "none": "无", "taken": "它属于 陈涛",
    "rename": "改名 jun@ 为 lijun@", "shown": "将改用新地址 lijun@corp.test",
    "renamed": "jun@corp.test 已改为 lijun@corp.test", "over": "不在等待确认",
    "member": "手机和电脑上的企业微信无需任何操作",
    "fixed": "改名 tao@ 为 chentao@ 已有 无", "console": "把邮箱地址 tao@corp.test 改为 chentao@corp.test",
    "done": "完成", "not_yet": "tao@corp.test 属于 陈涛", "seen": "tao@corp.test 已改为 chentao@corp.test",
    "aliases": "查看别名 chentao@", "listed": "有 1 个别名（最多 5 个）：tao@corp.test",
    "add": "添加别名 tt@ 到 陈涛", "whole": "届时为：tao@corp.test、tt@corp.test", "yes": "确认",
    "busy": "企业微信暂时没有响应", "added": "chentao@corp.test 的别名为",
    "undo": "撤销", "no_program": "该地址已无法由程序修改", "cancel": "取消", "nothing": "未做任何改动",
    "step_back": "把邮箱地址 lijun@corp.test 改为 jun@corp.test",
    "not_back_yet": "lijun@corp.test 属于 李军",
    "back": "lijun@corp.test 已改为 jun@corp.test",
    "reminder": "还有人用旧地址写信吗",
    "group": "邮件群组 创建 all@ “全体” 成员 部门:客服、阿兴", "reaches": "邮件送达：阿兴 (ahing@corp.test)",
    "made": "邮件群组 all@corp.test“全体”已创建",
    "senders": "邮件群组 发件人 all@ 仅限 calvin",
    "only": "现在可向 all@corp.test 发信的人：仅限 卡尔文 (calvin@corp.test)",
    "mail_group": "测试发信 support@ 到 all@", "bounced": "但不接受收件人 all@corp.test。答复：550",
    "delete": "邮件群组 删除 all@", "deleted": "邮件群组 all@corp.test 已删除",
    "vip": "高级功能 添加 部门:客服、ahing", "given": "位成员已开通高级功能", "seats": "高级功能",
    "seated": "他们是：阿兴",
    "login": "帮助 登录", "webmail": "https://en.exmail.qq.com", "smtp": "帮助 客户端",
    "servers": "测试发信 support@ 到 mei@",
    "send": "测试发信 support@ 到 mei@", "took": "收下了从 support@corp.test 发给 mei@corp.test 的邮件。答复：250 OK",
    "arrived": "mei@corp.test 的未读邮件从", "to_public": "测试发信 support@ 到 support@",
    "told": "企业微信通知 support@corp.test 收到了邮件", "refused": "拒绝 support@corp.test 登录。答复：535",
}  # fmt: skip


def newest(bot: Bot, kind: str) -> int:
    """The number of the newest job of a kind."""
    with bot.store.begin() as tx:
        return tx.session.scalar(select(func.max(Job.id)).where(Job.kind == kind)) or 0


def step_of(bot: Bot, job: int) -> Any:
    """The newest console step of a job."""
    with bot.store.begin() as tx:
        return tx.handovers.of_job(job)[-1]


def of(bot: Bot, userid: str) -> Any:
    """A member as the organisation has him."""
    return bot.sandbox.organisation.members[userid]


def pressed_twice(bot: Bot, member: str, key: str) -> None:
    """A button pressed twice before the bot has answered."""
    entry = bot.card_with(member, key)
    button = button_of(entry, key)
    for _ in range(2):
        bot.post("click", member=member, task_id=entry["card"]["task_id"], key=button["key"], selected={})


def renames(bot: Bot) -> int:
    """How often WeCom was asked for another address."""
    return sum("biz_mail" in (each["request"] or {}) for each in calls(bot, "user/update"))


def says_done(bot: Bot, job: int, line: str, wanted: str) -> None:
    """Somebody says that the newest console step is done, more than a minute after it was looked at."""
    bot.wait("it was looked at once", lambda: step_of(bot, job).looked_at is not None)
    bot.advance(MINUTE)
    answer(bot, "mei", f"{line} {step_of(bot, job).id}", wanted)


@pytest.mark.parametrize("say", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_addresses_from_help_to_the_reminder(bot: Bot, say: dict[str, str]) -> None:
    """Renamed by the API through a crash and a lost answer, then in the console; aliases; undone; asked about later."""
    if say is CHINESE:
        answer(bot, "jun", "语言 中文")
    found_in_help(bot, say)
    by_the_api(bot, say)
    bot.advance(MINUTE)
    in_the_console(bot, say)
    bot.advance(MINUTE)
    one_alias_more(bot, say)
    bot.advance(MINUTE)
    undone(bot, say)
    bot.advance(MINUTE)
    renamed_without_me(bot, say)
    bot.advance(MINUTE)
    mails_by_smtp(bot, say)
    bot.advance(MINUTE)
    groups_and_seats(bot, say)
    bot.advance(95 * 24 * 3600)
    read_all(bot, "mei")
    bot.hear("mei", say["reminder"])
    with bot.store.begin() as tx:
        assert tx.audit.broken_at() is None


def found_in_help(bot: Bot, say: dict[str, str]) -> None:
    """Two messages at most."""
    assert say["found"] in answer(bot, "mei", say["find"], say["found"])
    answer(bot, "mei", say["how"], say["usage"])
    answer(bot, "jun", say["login"], say["webmail"])
    answer(bot, "mei", say["smtp"], say["servers"])


def by_the_api(bot: Bot, say: dict[str, str]) -> None:
    """Taken; then done, though the answer is lost, look-ups fail, the bot dies, and the button is pressed twice."""
    answer(bot, "mei", say["clash"], say["which"])
    answer(bot, "mei", say["none"], say["taken"])
    answer(bot, "mei", say["rename"], say["shown"])
    job = newest(bot, "rename")
    bot.trouble("answer_lost", times=1, path="user/update")
    bot.trouble("gateway_error", path="user/get_userid_by_email")
    bot.trouble("callback_twice")
    read_all(bot, "mei")
    pressed_twice(bot, "mei", f"confirm:{job}")
    bot.hear("mei", say["over"])
    bot.trouble("callback_twice", on=False)
    bot.wait("it waits for WeCom", lambda: state(bot, job)["failures"] > 0)
    bot.trouble("gateway_error", on=False)
    bot.advance(MINUTE)
    bot.wait("WeCom was asked", lambda: renames(bot) == 1)
    restart(bot)
    for _ in range(3):
        bot.advance(MINUTE)
    bot.hear("mei", say["renamed"])
    bot.hear("jun", say["member"])
    assert renames(bot) == 1
    assert (of(bot, "jun").address, of(bot, "jun").aliases) == (LIJUN, [JUN])


def state(bot: Bot, job: int) -> dict[str, Any]:
    """How a job stands."""
    with bot.store.begin() as tx:
        row = tx.session.get_one(Job, job)
        return {"stage": row.stage, "state": str(row.state), "failures": row.failures}


def in_the_console(bot: Bot, say: dict[str, str]) -> None:
    """60144: the exact values, not believed before it is seen."""
    answer(bot, "mei", say["fixed"])
    bot.press("mei", "confirm:")
    bot.hear("mei", say["console"])
    bot.hear("mei", "chentao")
    job = newest(bot, "rename")
    says_done(bot, job, say["done"], say["not_yet"])
    bot.console("rename", member="tao", new_address=CHENTAO)
    bot.advance(MINUTE)
    answer(bot, "mei", f"{say['done']} {step_of(bot, job).id}", say["seen"])


def one_alias_more(bot: Bot, say: dict[str, str]) -> None:
    """The list is known by now; WeCom wants to be asked later."""
    answer(bot, "mei", say["aliases"], say["listed"])
    told = answer(bot, "mei", say["add"], say["whole"])
    (number,) = re.findall(rf"{say['yes']} (\d+)", told)
    bot.trouble("rate_limited", times=1, path="user/update")
    answer(bot, "mei", f"{say['yes']} {number}", say["busy"])
    bot.advance(2 * MINUTE)
    bot.hear("mei", say["added"])
    assert of(bot, "tao").aliases == [TAO, "tt@corp.test"]


def undone(bot: Bot, say: dict[str, str]) -> None:
    """Back to the old address: shown and left as it is; then done in the console, seen, and told to the member."""
    with bot.store.begin() as tx:
        first = next(
            each.id for each in tx.session.scalars(select(Job).where(Job.kind == "rename")) if each.data.get("renamed")
        )
    answer(bot, "mei", f"{say['undo']} {first}", say["no_program"])
    answer(bot, "mei", f"{say['cancel']} {newest(bot, 'rename')}", say["nothing"])
    assert of(bot, "jun").address == LIJUN
    asked = renames(bot)
    answer(bot, "mei", f"{say['undo']} {first}", say["no_program"])
    job = newest(bot, "rename")
    answer(bot, "mei", f"{say['yes']} {job}", say["step_back"])
    says_done(bot, job, say["done"], say["not_back_yet"])
    member = of(bot, "jun")
    member.aliases = []  # the console takes an alias for an address once it is none any more
    bot.console("rename", member="jun", new_address=JUN)
    bot.advance(MINUTE)
    answer(bot, "mei", f"{say['done']} {step_of(bot, job).id}", say["back"])
    assert renames(bot) == asked, "no program may change it twice"
    with bot.store.begin() as tx:
        assert (tx.mailboxes.of("jun").address, tx.mailboxes.of("jun").aliases) == (JUN, [LIJUN])
    answer(bot, "mei", f"{say['undo']} {first}", JUN)


def renamed_without_me(bot: Bot, say: dict[str, str]) -> None:
    """The console renames a mailbox and nobody says so: seen by a look-up, asked about, the same from then on."""
    answer(bot, "mei", f"{say['mailbox']} lan@", "lan@corp.test")
    with bot.store.begin() as tx:
        was = tx.mailboxes.of("lan").id
    bot.console("rename", member="lan", new_address="wanglan@corp.test")
    answer(bot, "mei", f"{say['mailbox']} wanglan@", say["moved"])
    bot.press("mei", "moved_same:")
    bot.hear("mei", say["is_same"])
    with bot.store.begin() as tx:
        now = tx.mailboxes.of("lan")
        assert (now.id, now.address, now.aliases) == (was, "wanglan@corp.test", ["lan@corp.test"])


def mails_by_smtp(bot: Bot, say: dict[str, str]) -> None:
    """Through a real SMTP server: told in its words, seen to arrive, no password left; then its login refused."""
    answer(bot, "mei", say["send"], say["took"])
    bot.advance(MINUTE)
    bot.hear("mei", say["arrived"])
    answer(bot, "mei", say["to_public"])
    bot.hear("mei", say["told"])
    bot.trouble("smtp_login_refused", times=1)
    answer(bot, "mei", say["send"], say["refused"])
    bot.wait("no key is left", lambda: not any(each["passwords"] for each in bot.state()["public_mailboxes"]))
    assert bot.get("wire", kind="smtp")["entries"]


def confirmed(bot: Bot, line: str, shown: str, done: str, say: dict[str, str]) -> None:
    """A change: shown, agreed to in words, done."""
    told = answer(bot, "mei", line, shown)
    (number,) = re.findall(rf"{say['yes']} (\d+)", told)
    answer(bot, "mei", f"{say['yes']} {number}", done)


def groups_and_seats(bot: Bot, say: dict[str, str]) -> None:
    """A group: who may send to it as a mail server has it; deleted, though the answer is lost; seats."""
    org = bot.sandbox.organisation
    confirmed(bot, say["group"], say["reaches"], say["made"], say)
    confirmed(bot, say["senders"], "all@corp.test", say["only"], say)
    answer(bot, "mei", say["mail_group"], say["bounced"])
    bot.advance(MINUTE)
    bot.trouble("answer_lost", times=1, path="exmail/group/delete")
    confirmed(bot, say["delete"], "all@corp.test", say["busy"], say)
    bot.advance(3 * MINUTE)
    bot.hear("mei", say["deleted"])
    assert not org.groups
    confirmed(bot, say["vip"], "1 GB", say["given"], say)
    answer(bot, "mei", say["seats"], say["seated"])
    assert set(org.vip) == {"ahing", "lan", "tao"}
