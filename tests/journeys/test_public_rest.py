"""What the other stories of public mailboxes leave out, in one organisation: Mei types English, Yan Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.sandbox.people import MailGroup
from bot.sandbox.run import running
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, check, last_bytes, read_all

MINUTE = 61  # in which a member hears at most 25 messages
ADMINS = ("mei", "yan")
YES = {"mei": "confirm", "yan": "确认"}
BOXES = {"mei": "support@corp.test", "yan": "desk@corp.test"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Bot]:
    """Two admins; the app made two public mailboxes, of which one each is theirs here, and a group."""
    with running(tmp_path / "data", bot_admins=ADMINS) as sandbox, closing(Bot(sandbox)) as player:
        player.wait_ready()
        org = sandbox.organisation
        org.new_public("desk@corp.test", "前台", {"members": ["yan"]}, by_app=True)
        org.public_of_address("support@corp.test").aliases = ["service@corp.test"]
        fields = {"groupname": "Team", "email_list": {"list": ["lan@corp.test"]}, "allow_type": 0}
        org.groups["team@corp.test"] = MailGroup("team@corp.test", True, fields)
        yield player


def changed(bot: Bot, member: str, line: str, shown: str, done: str) -> str:
    """A change: shown, agreed to in words, done; what was said then."""
    told = answer(bot, member, line, shown)
    (number,) = re.findall(rf"{YES[member]} (\d+)", told)
    return answer(bot, member, f"{YES[member]} {number}", done)


def test_what_is_left_of_public_mailboxes_groups_seats_and_switches(office: Bot) -> None:
    """Noted by hand, too many aliases, what an address is, a group's life, a seat refused, secure login, unused."""
    told_of_by_hand(office)
    addresses_that_are_not_free(office)
    office.advance(MINUTE)
    a_member_s_aliases(office)
    office.advance(MINUTE)
    what_an_address_is(office)
    office.advance(MINUTE)
    a_group_changes(office)
    office.advance(MINUTE)
    seats_with_one_refused(office)
    office.advance(MINUTE)
    secure_login(office)
    asked_as_people_do(office)
    nobody_uses_it(office)
    with office.store.begin() as tx:
        assert tx.audit.broken_at() is None


def told_of_by_hand(bot: Bot) -> None:
    """One made in the console is not seen, is told of, and known from then on; not a member's, not by tag."""
    check(
        bot, "mei",
        ("public sales@", "WeCom shows me no public mailbox sales@corp.test"),
        ('public note sales@ "Sales" for tag:客服值班', "departments"),
        ('public note ahing@ "Ahing" for ling', "ahing@corp.test"),
        ('public note sales@ "Sales" for ling, calvin', "sales@corp.test is a public mailbox made in the console"),
        ("public sales@", "sales@corp.test"),
        ("what can ling open", "Public mailbox sales@corp.test “Sales”, as I was told"),
    )  # fmt: skip
    check(
        bot, "yan",
        ("公共邮箱 登记 sales@ “销售部” 成员 凌、部门：无此部门", "没有看到部门“无此部门”"),
        ("公共邮箱 登记 support@ “支持” 成员 凌", "已被占用：它是公共邮箱“客户支持”"),
        ("公共邮箱登记sales@“销售部”成员凌、部门：客服", "已登记：sales@corp.test 是在管理后台创建的公共邮箱"),
        ("公共邮箱 sales@", "销售部"), ("哪些邮箱 凌 能打开", "公共邮箱 sales@corp.test“销售部”（据告知）"),
    )  # fmt: skip


def addresses_that_are_not_free(bot: Bot) -> None:
    """Somebody's, and more than five: refused with who has it, or which there are; nothing is changed."""
    org = bot.sandbox.organisation
    six = [f"a{number}@" for number in range(6)]
    check(
        bot, "mei",
        ("public alias add support@ ahing@", "ahing@corp.test is taken: it belongs to 阿兴"),
        (f"public alias add support@ {', '.join(six)}", "can have 5 aliases. It has service@corp.test. Name fewer"),
        ("public alias remove support@ nobody@", "service@corp.test"),
        ("public create service@ Service for ahing", "it is an alias of support@corp.test"),
    )  # fmt: skip
    check(
        bot, "yan",
        ("公共邮箱 别名 添加 desk@ service@", "service@corp.test 已被占用"),
        (f"公共邮箱 别名 添加 desk@ {'、'.join(six)}", "最多 5 个别名"),
        ("公共邮箱 别名 移除 desk@ nobody@", "desk@corp.test"),
        ("公共邮箱 创建 team@ “团队” 成员 ahing", "它是邮件群组“Team”"),
    )  # fmt: skip
    assert [org.public_of_address(each).aliases for each in BOXES.values()] == [["service@corp.test"], []]


def a_member_s_aliases(bot: Bot) -> None:
    """Told by hand what there is, one too many, one taken away: WeCom gets the whole list, so none of it is lost."""
    org = bot.sandbox.organisation
    org.members["ahing"].aliases = [f"a{number}@corp.test" for number in range(5)]
    org.members["calvin"].aliases = [f"c{number}@corp.test" for number in range(5)]
    a, c = (", ".join(each.aliases) for each in (org.members["ahing"], org.members["calvin"]))
    check(
        bot, "mei",
        ("aliases ahing@", "I do not know which aliases ahing@corp.test has"),
        (f"aliases ahing@ are {a}, a5@", "at most 5 aliases"), ("aliases ahing@ are support@", "support@corp.test"),
        (f"aliases ahing@ are {a}", "Noted: the aliases of ahing@corp.test are"),
        ("alias add more@ to ahing@", "has 5 aliases already, more are not possible"),
        ("alias remove nobody@", "I know no mailbox with the alias"), ("aliases support@", "1 of 5 possible aliases"),
    )  # fmt: skip
    told = changed(
        bot, "mei", "alias remove a1@", "It will be: a0@corp.test, a2@", "a1@corp.test is no longer an alias"
    )
    assert "a4@corp.test" in told
    check(
        bot, "yan",
        ("查看别名 calvin@", "我不知道 calvin@corp.test 有哪些别名"),
        (f"登记别名 calvin@ 为 {c}、c5@", "最多 5 个别名"),
        (f"登记别名 calvin@ 为 {c}", "已登记：calvin@corp.test 的别名为"),
        ("添加别名 more@ 到 calvin@", "已有 5 个别名，不能再加"), ("删除别名 nobody@", "我不知道哪个邮箱有别名"),
    )  # fmt: skip
    changed(bot, "yan", "删除别名 c0@", "届时为：c1@corp.test、c2@", "c0@corp.test 不再是 calvin@corp.test 的别名")
    check(
        bot, "yan", ("查看别名 calvin@", "有 4 个别名（最多 5 个）"), ("添加别名 ahing@ 到 calvin@", "ahing@corp.test")
    )
    assert [len(org.members[each].aliases) for each in ("ahing", "calvin")] == [4, 4]


def what_an_address_is(bot: Bot) -> None:
    """Free, held by the bin, a member's, a group's, an alias, public; a part of a name; as a file of any length."""
    answer(bot, "mei", "mailbox jun@", "jun@corp.test")
    bot.console("delete_member", member="jun")
    bot.hear("mei", "jun@corp.test")
    check(
        bot, "mei",
        ("find brand.new@", "As far as I see, brand.new@corp.test is free"),
        ("find jun@", "jun@corp.test is held by the recycle bin until"),
        ("find ahing@", "ahing@corp.test is taken: it belongs to 阿兴"),
        ("find team@", "it is the mail group “Team”"),
        ("find service@", "it is an alias of support@corp.test"), ("find support@", "it is the public mailbox"),
        ("find tea", "mail group team@corp.test “Team”"), ("find zzz", "I find nothing with “zzz”"),
    )  # fmt: skip
    check(
        bot, "yan",
        ("查找 全新@", "全新"), ("查找 brand.new@", "据我所见，brand.new@corp.test 可以使用"),
        ("查找 jun@", "jun@corp.test 被邮箱回收站占用，直到"), ("查找 team@", "它是邮件群组“Team”"),
        ("查找 service@", "它是 support@corp.test 的别名"), ("查找阿兴", "成员 阿兴（ahing）"),
    )  # fmt: skip
    for member, line in (("mei", "find s as csv"), ("yan", "查找 s 导出 csv")):
        answer(bot, member, line)
        bot.wait("the file", lambda member=member: any(each.get("file") for each in bot.entries(member)))
        name, content = last_bytes(bot, member)
        assert name == "found.csv"
        assert "Public mailbox 公共邮箱,support@corp.test" in content.decode("utf-8-sig")


def a_group_changes(bot: Bot) -> None:
    """Made, added to, taken from, who may send; what changes nothing and what leaves nobody is said so."""
    org = bot.sandbox.organisation
    changed(bot, "mei", 'group create all@ "Everybody" with 阿兴', "will reach: 阿兴", "“Everybody” is made")
    changed(bot, "mei", "group add all@ calvin, dept:客服", "will also reach: 卡尔文", "reaches these now, too: 卡尔文")
    check(bot, "mei", ("group add all@ calvin", "all@corp.test reaches 卡尔文"))
    changed(bot, "mei", "group remove all@ ahing", "no longer reach: 阿兴", "no longer reaches: 阿兴")
    changed(bot, "mei", "group senders all@ members", "", "Now these may send to all@corp.test")
    check(
        bot, "mei", ("group remove all@ lan", "all@corp.test does not name 王兰"),
        ("group remove all@ calvin, dept:客服", "would have nobody left"), ("group nowhere@", "nowhere@corp.test"),
        ("group all@", "卡尔文"),
    )  # fmt: skip
    changed(bot, "yan", "邮件群组 创建 quan@ “全体” 成员 阿兴", "邮件送达：阿兴", "已创建")
    changed(
        bot, "yan", "邮件群组 添加成员 quan@ 卡尔文、标签：客服值班", "将同时送达：卡尔文", "、标签“客服值班”（2 人）"
    )
    changed(bot, "yan", "邮件群组移除成员 quan@ 阿兴", "将不再送达：阿兴", "不再送达：阿兴")
    changed(bot, "yan", "邮件群组 发件人 quan@ 任何人", "quan@corp.test", "现在可向 quan@corp.test 发信的人")
    check(bot, "yan", ("邮件群组 移除成员 quan@ 阿兴", "没有直接列出 阿兴"), ("群组 quan@", "卡尔文"))
    kinds = [org.groups[each].fields["allow_type"] for each in ("all@corp.test", "quan@corp.test")]
    members = [org.groups[each].fields["email_list"]["list"] for each in ("all@corp.test", "quan@corp.test")]
    assert (members, kinds) == ([["calvin@corp.test"]] * 2, [2, 1])


def seats_with_one_refused(bot: Bot) -> None:
    """Two lose their seats, one of whom WeCom refuses: both are named for what became of them."""
    org = bot.sandbox.organisation
    org.vip = ["calvin", "tao", "lan", "wei"]
    org.members["tao"].address, org.members["wei"].address = None, None
    said = changed(bot, "mei", "vip remove calvin, tao", "Now 4 have them, then 2", "taken back from these (1): 卡尔文")
    assert "WeCom refused these (1) without a reason: 陈涛" in said
    said = changed(bot, "yan", "高级功能 收回 王兰、魏强", "目前 3 位，之后 1 位", "已收回 1 位成员的高级功能：王兰")
    assert "企业微信拒绝了 1 位（未说明原因）：魏强" in said
    assert org.vip == ["tao", "wei"]
    check(bot, "mei", ("vip", "They are: 陈涛, 魏强"), ("vip remove calvin", "There is nothing to do"))
    answer(bot, "yan", "高级功能 导出 csv")
    bot.wait("the file", lambda: last_bytes(bot, "yan")[0].startswith("advanced-seats-"))


def secure_login(bot: Bot) -> None:
    """As it is, on, on again, off; a public mailbox has no such switch."""
    ahing = "ahing@corp.test"
    check(bot, "mei", ("secure login ahing@", "forced secure login"))
    changed(bot, "mei", "secure login ahing@ on", "client password", f"{ahing}: forced secure login is on now")
    check(bot, "mei", ("secure login ahing@ on", ahing), ("secure login support@ on", "support@corp.test"))
    changed(bot, "yan", "安全登录 阿兴 关闭", "成员可自行关闭安全登录", "“强制安全登录”现在为“关”")
    check(bot, "yan", ("安全登录 ahing@", "强制安全登录"), ("安全登录 support@ 打开", "support@corp.test"))


def asked_as_people_do(bot: Bot) -> None:
    """How to log in, mail programs, the two kinds compared: hosts of both sides of the border, and what to do first."""
    hosts = ("imap.exmail.qq.com", "smtp.exmail.qq.com", "hwimap.exmail.qq.com", "hwsmtp.exmail.qq.com", "993", "465")
    for line in ("how do I log in", "help login", "SMTP", "help smtp"):
        told = answer(bot, "calvin", line)
        assert not [each for each in ("https://en.exmail.qq.com/", "WeCom", *hosts) if each not in told], line
    assert "开启IMAP/SMTP服务" in told
    assert "outside mainland China" in told
    for line in ("怎么登录邮箱", "帮助 登录", "SMTP 怎么设置", "帮助 客户端"):
        told = answer(bot, "ling", line)
        assert not [each for each in ("https://en.exmail.qq.com/", "企业微信", "海外", *hosts) if each not in told], (
            line
        )
    check(bot, "calvin", ("personal and public compared", "3 on the free plan"), ("help personal", "by two admins"))
    check(bot, "ling", ("个人邮箱和公共邮箱的区别", "免费版 3 个"), ("帮助 对比", "需两位管理员同意"))


def nobody_uses_it(bot: Bot) -> None:
    """A month without mail and login: it looks unused, on the list and by itself; mail comes, and it does not."""
    check(bot, "mei", ("public", "support@corp.test"))
    bot.advance(31 * 24 * 3600)
    for member in ADMINS:
        read_all(bot, member)
    check(
        bot, "mei", ("public", "Looks unused for 30 days: support@corp.test, desk@corp.test"),
        ("public support@", "It looks unused: no mail and no login with a client password in 30 days"),
    )  # fmt: skip
    check(bot, "yan", ("公共邮箱", "30 天以来似乎没有人在用"), ("公共邮箱 desk@", "看起来没有人在用"))
    bot.console("receive_mail", address="support@corp.test", text="hello", sender="wang@elsewhere.test")
    bot.wait("WeCom told of it", lambda: "unused: no mail" not in answer(bot, "mei", "public support@"))
    check(bot, "mei", ("public", "Looks unused for 30 days: desk@corp.test"))
