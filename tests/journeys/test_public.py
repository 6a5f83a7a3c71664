"""Public mailboxes, their passwords, who can open what, freezing: the same story in English and in Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from bot.sandbox.player import CSRF, text_of
from bot.sandbox.run import running
from handlers import changes
from storage.models import BinSource, Job, JobState, Secret
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, calls, read_all
from tests.journeys.test_reassign import restart

HELP, MORE, SUPPORT = "help@corp.test", "more@corp.test", "support@corp.test"
MINUTE = 61  # in which a member hears at most 25 messages
CREATE, UPDATE = "exmail/publicmail/create", "exmail/publicmail/update"

ENGLISH = {
    "topic": "help public", "found": 'public create support@ "Support"', "detail": "help public add",
    "usage": "public add MAILBOX PEOPLE", "people": "help people", "freezes": "freeze ahing@", "list": "public",
    "one_seen": "Public mailboxes that I see: 1", "only_own": "only public mailboxes that I made myself",
    "create": 'public create help@ "Help desk" for ahing, dept:Support, tag:客服值班',
    "asked": "I would make the public mailbox", "places": "I know of 1; a free plan has places for 3",
    "busy": "WeCom does not answer just now",
    "created": "help@corp.test “Help desk” is there (id 3); 3 people can open it",
    "twice": "does not wait for your yes", "full": 'public create more@ "More" for ahing', "no_place": "680046",
    "retry": "retry", "more_created": "more@corp.test “More” is there", "add": "public add help@ calvin",
    "yan_adds": "public add help@ wei", "confirm": "confirm", "ip": "60020", "waits": "wants me to wait",
    "added": "卡尔文 can open help@corp.test", "yan_added": "魏强 can open help@corp.test",
    "remove": "public remove help@ ahing", "removed": "阿兴 taken off the list of help@corp.test",
    "rename": 'public rename help@ "Service"', "renamed": "is called “Service” now",
    "alias": "public alias add help@ service@", "aliased": "are now: service@corp.test", "show": "public help@",
    "alias_off": "public alias remove help@ service@", "alias_gone": "are now: none",
    "shown": "Aliases (5 at most): service@corp.test", "hidden": "public adopt id 2",
    "unseen": "WeCom shows me no public mailbox with the number 2", "who": "who can open help@",
    "who_told": "by department 客服 (2 people), tag 客服值班 (2 people)", "what": "what can calvin open",
    "what_told": "Public mailbox help@corp.test “Service”", "find": "find service",
    "find_told": "alias service@corp.test of help@corp.test", "csv": "who can open help@ as csv",
    "new": 'password new help@ for "office printer"', "new_asked": "Whoever knows it can read and send all mail",
    "page": "/pages/", "was_shown": "was shown on your page just now", "passwords": "passwords help@",
    "listed": "never used", "revoke": "password revoke help@", "revoked": "is revoked",
    "freeze": "freeze ahing@ because his phone was stolen", "frozen": "ahing@corp.test is switched off",
    "creator": "freeze mei@ because x", "protected": "cannot be frozen", "unfreeze": "unfreeze ahing@",
    "open": "is switched on again", "imap": "imap ahing@ on", "imap_on": "IMAP and SMTP is on now",
    "disable": "public disable help@", "disabled": "help@corp.test is switched off", "enable": "public enable help@",
    "enabled": "help@corp.test is switched on again", "delete": "public delete help@ because nobody uses it",
    "delete_asked": "There is NO complete backup of its mail", "deleted": "is deleted and in the recycle bin",
    "bin": "bin help@", "help_says": "60 days", "yan_new": "password new more@ for scanner",
    "look_at": "Client passwords to look at (9)", "full_ones": "more@corp.test has 8 of 10",
    "never": "nobody has used it", "old": "days old", "left": "赵燕, who asked for it, has left",
}  # fmt: skip
CHINESE = {
    "topic": "帮助 公共邮箱", "found": "公共邮箱 创建 support@", "detail": "帮助 公共邮箱添加成员",
    "usage": "公共邮箱 添加成员 〈邮箱〉", "people": "帮助 成员与邮箱", "freezes": "冻结 ahing@", "list": "公共邮箱",
    "one_seen": "我能看到的公共邮箱：1 个", "only_own": "只向我显示由我创建的公共邮箱",
    "create": "公共邮箱 创建 help@ “帮助台” 成员 ahing、部门：客服、标签：客服值班", "asked": "将创建公共邮箱",
    "places": "已知 1 个；免费版有 3 个名额", "busy": "企业微信暂时没有响应",
    "created": "help@corp.test“帮助台”已创建（编号 3），3 人可以打开", "twice": "不在等待确认",
    "full": "公共邮箱 新建 more@ “更多” 成员 ahing", "no_place": "680046", "retry": "重试",
    "more_created": "more@corp.test“更多”已创建", "add": "公共邮箱 添加成员 help@ calvin",
    "yan_adds": "公共邮箱 添加成员 help@ 魏强", "confirm": "确认", "ip": "60020", "waits": "要求稍后再试",
    "added": "卡尔文 可以打开 help@corp.test", "yan_added": "魏强 可以打开 help@corp.test",
    "remove": "公共邮箱 移除成员 help@ 阿兴", "removed": "已从 help@corp.test 的名单中移除 阿兴",
    "rename": "公共邮箱 改名 help@ “客户服务”", "renamed": "现在名为“客户服务”",
    "alias": "公共邮箱 别名 添加 help@ service@", "aliased": "现在的别名：service@corp.test",
    "alias_off": "公共邮箱 别名 移除 help@ service@", "alias_gone": "现在的别名：无",
    "show": "公共邮箱 help@", "shown": "别名（最多 5 个）：service@corp.test", "hidden": "公共邮箱 认领 编号 2",
    "unseen": "没有向我显示编号为 2 的公共邮箱", "who": "谁能打开 help@",
    "who_told": "通过部门“客服”（2 人）、标签“客服值班”（2 人）", "what": "哪些邮箱 calvin 能打开",
    "what_told": "公共邮箱 help@corp.test“客户服务”", "find": "查找 service",
    "find_told": "别名 service@corp.test，属于 help@corp.test", "csv": "谁可以打开 help@ 导出 csv",
    "new": "客户端密码 新建 help@ 用于 办公室打印机", "new_asked": "可以收发该邮箱的全部邮件", "page": "/pages/",
    "was_shown": "刚刚已在您的页面上显示", "passwords": "客户端密码 help@", "listed": "从未使用",
    "revoke": "客户端密码 作废 help@", "revoked": "已作废", "freeze": "冻结 ahing@ 原因 手机被盗",
    "frozen": "ahing@corp.test 已停用", "creator": "冻结 mei@ 原因 试试", "protected": "不能冻结",
    "unfreeze": "解冻 ahing@", "open": "已重新启用", "imap": "imap ahing@ 打开",
    "imap_on": "“IMAP/SMTP 服务”现在为“开”", "disable": "公共邮箱 停用 help@", "disabled": "help@corp.test 已停用",
    "enable": "公共邮箱 启用 help@", "enabled": "help@corp.test 已重新启用",
    "delete": "公共邮箱 删除 help@ 原因 无人使用", "delete_asked": "没有完整备份", "deleted": "位于邮箱回收站",
    "bin": "回收站 help@", "help_says": "60 天", "yan_new": "客户端密码 新建 more@ 用于 扫描仪",
    "look_at": "需要留意的客户端专用密码（9 项）", "full_ones": "more@corp.test 已有 8 个", "never": "从未被使用",
    "old": "已有 9", "left": "申请人 赵燕 已离职",
}  # fmt: skip


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Bot]:
    """Two admins, mei and yan; mei is the organisation's creator."""
    with running(tmp_path / "data", bot_admins=("mei", "yan")) as sandbox, closing(Bot(sandbox)) as player:
        player.wait_ready()
        yield player


def newest(bot: Bot) -> int:
    """The number of the newest job that is a change."""
    with bot.store.begin() as tx:
        return tx.session.scalar(select(func.max(Job.id)).where(Job.kind.in_(changes.kinds()))) or 0


def state(bot: Bot, job: int) -> JobState:
    """Whether a job goes on, or how it ended."""
    with bot.store.begin() as tx:
        return tx.jobs.get(job).state


def box(bot: Bot, address: str = HELP) -> Any:
    """A public mailbox as WeCom has it."""
    return bot.sandbox.organisation.public_of_address(address)


def wrote(bot: Bot, path: str) -> int:
    """How often a call was made, refused or not."""
    return len(calls(bot, path))


@pytest.mark.parametrize("words", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_from_the_first_look_to_the_deletion(office: Bot, words: dict[str, str]) -> None:
    """A newcomer finds it in help; a crash in the middle, the same click twice, refusals and limits on the way."""
    bot, say = office, words.__getitem__

    def does(line: str, wanted: str, member: str = "mei") -> int:
        """A change, shown; the number of its job."""
        answer(bot, member, say(line) if line in words else line, say(wanted) if wanted in words else wanted)
        return newest(bot)

    def confirmed(line: str, wanted: str, member: str = "mei") -> None:
        """A change, shown and confirmed by the card."""
        before = newest(bot)
        read_all(bot, member)
        bot.say(member, say(line))
        bot.wait(f"a job for {say(line)}", lambda: newest(bot) > before)
        bot.press(member, f"confirm:{newest(bot)}")
        bot.hear(member, say(wanted))

    for line, wanted in (("topic", "found"), ("detail", "usage"), ("people", "freezes"), ("list", "one_seen")):
        does(line, wanted)
    answer(bot, "yan", say("list"), say("only_own"))
    making(bot, does, say)
    bot.advance(MINUTE)
    changing(bot, does, confirmed, say)
    bot.advance(MINUTE)
    for line, wanted in (
        ("show", "shown"),
        ("hidden", "unseen"),
        ("who", "who_told"),
        ("what", "what_told"),
        ("find", "find_told"),
    ):
        does(line, wanted, "yan")
    bot.say("yan", say("csv"))
    bot.wait("the list as CSV", lambda: any(each.get("file") for each in bot.entries("yan")))
    with_password(bot, does, confirmed, say)
    bot.advance(MINUTE)
    freezing(bot, confirmed, say)
    bot.advance(MINUTE)
    job = does("delete", "delete_asked")
    with bot.store.begin() as tx:
        approval = tx.jobs.get(job).data["approval"]
    bot.press("yan", f"approve:{approval}")
    bot.hear("mei", say("deleted"))
    bot.hear("yan", say("deleted"))
    does("bin", "help_says")
    with bot.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(HELP)
        assert item.source is BinSource.PUBLIC
        assert tx.session.scalar(select(func.count()).select_from(Secret)) == 0
        assert tx.audit.broken_at() is None
    months_later(bot, does, say)


def months_later(bot: Bot, does: Callable[..., int], say: Callable[[str], str]) -> None:
    """The monthly look at client passwords: never used, old, nearly too many, made for somebody who left."""
    does("yan_new", "new_asked", "yan")
    bot.press("yan", "confirm:")
    bot.hear("yan", say("page"))
    look_at_page(bot, "yan")
    bot.hear("yan", say("was_shown"))
    for number in range(7):
        bot.sandbox.organisation.mint(box(bot, MORE), f"p{number}", by_api=True)
    bot.console("delete_member", member="yan")
    bot.advance(95 * 24 * 3600)
    morning = bot.now().replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=1)
    while morning.weekday() >= 5:
        morning += timedelta(days=1)
    read_all(bot, "mei")
    bot.until(morning)
    told = text_of(bot.hear("mei", say("look_at")))
    for part in ("full_ones", "never", "old", "left"):
        assert say(part) in told, told
    assert sum(say("look_at") in text_of(each) for each in bot.entries("mei")) == 1


def look_at_page(bot: Bot, member: str) -> tuple[str, str]:
    """The password that the newest page shows, once; and what the page says when it is asked again."""
    browser, url, text = bot.open(member)
    token = CSRF.search(text)
    assert token is not None
    assert "<code>" not in text
    _, shown = browser.post(url, {"csrf": token[1]})
    found = re.search(r"<code>([A-Za-z]{16})</code>", shown)
    assert found is not None, shown
    return found[1], browser.post(url, {"csrf": token[1]})[1]


def making(bot: Bot, does: Callable[..., int], say: Callable[[str], str]) -> None:
    """The answer of the creation is lost, the bot restarts: one mailbox. Then the plan is full; seats are bought."""
    job = does("create", "asked")
    assert say("places") in "".join(text_of(each) for each in bot.entries("mei"))
    bot.trouble("answer_lost", times=1, path=CREATE)
    task = bot.press("mei", f"confirm:{job}")
    bot.post("click", member="mei", task_id=task, key=f"confirm:{job}", selected={})  # the same click twice
    bot.hear("mei", say("busy"))
    restart(bot)
    bot.advance(MINUTE)
    bot.hear("mei", say("created"))
    assert wrote(bot, CREATE) == 1
    assert (box(bot).members, box(bot).departments, box(bot).tags) == (["ahing"], [5], [3])
    does(f"{say('confirm')} {job}", "twice")
    job = does("full", f"{say('confirm')} ")
    does(f"{say('confirm')} {job}", "no_place")
    bot.wait("the end of what was refused", lambda: state(bot, job) is JobState.FAILED)
    bot.console("buy_seats", count=2)
    job = does(f"{say('retry')} {job}", f"{say('confirm')} ")
    does(f"{say('confirm')} {job}", "more_created")


def changing(bot: Bot, does: Callable[..., int], confirmed: Callable[..., None], say: Callable[[str], str]) -> None:
    """Refused for the address of the caller, told to wait, and two admins at once: both changes are there."""
    bot.trouble("ip_not_trusted", path=UPDATE)
    confirmed("add", "ip")
    bot.trouble("ip_not_trusted", on=False)
    bot.trouble("rate_limited", times=1, path=UPDATE)
    confirmed("add", "waits")
    mine = newest(bot)
    confirmed("yan_adds", "yan_added", "yan")
    bot.advance(MINUTE + 5)
    bot.hear("mei", say("added"))
    assert set(box(bot).members) == {"ahing", "calvin", "wei"}, f"job {mine} read the list anew"
    confirmed("remove", "removed")
    confirmed("rename", "renamed")
    confirmed("alias", "aliased")
    assert (set(box(bot).members), box(bot).aliases) == ({"calvin", "wei"}, ["service@corp.test"])
    confirmed("alias_off", "alias_gone")
    assert box(bot).aliases == []
    confirmed("alias", "aliased")


def with_password(
    bot: Bot, does: Callable[..., int], confirmed: Callable[..., None], say: Callable[[str], str]
) -> None:
    """Shown on the page, once; it opens the mailbox, and stands nowhere else; then revoked."""
    does("new", "new_asked")
    bot.press("mei", "confirm:")
    bot.hear("mei", say("page"))
    shown, again = look_at_page(bot, "mei")
    bot.hear("mei", say("was_shown"))
    (password,) = box(bot).passwords
    assert bot.sandbox.organisation.box(HELP).passwords[password.id] == shown
    assert shown not in again
    assert shown not in "".join(text_of(each) for member in ("mei", "yan") for each in bot.entries(member))
    for file in bot.sandbox.folder.rglob("*.sqlite*"):
        assert shown.encode() not in file.read_bytes(), file.name
    does("passwords", "listed")
    does(f"{say('revoke')} {password.id}", f"{say('confirm')} ")
    bot.press("mei", "confirm:")
    bot.hear("mei", say("revoked"))
    assert box(bot).passwords == []


def freezing(bot: Bot, confirmed: Callable[..., None], say: Callable[[str], str]) -> None:
    """Off and on again; never the creator's; switches; a public one."""
    ahing = bot.sandbox.organisation.member("ahing")
    assert ahing is not None
    confirmed("freeze", "frozen")
    assert ahing.frozen
    confirmed("creator", "protected", "yan")
    confirmed("unfreeze", "open")
    assert not ahing.frozen
    confirmed("imap", "imap_on")
    assert bot.sandbox.organisation.box("ahing@corp.test").imap_on
    confirmed("disable", "disabled", "yan")
    assert box(bot).frozen
    confirmed("enable", "enabled", "yan")
