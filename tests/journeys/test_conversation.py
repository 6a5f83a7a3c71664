"""People and mailboxes, asked about as people do: both languages, whatever they call each other."""

from __future__ import annotations

from bot.sandbox.player import text_of
from handlers.guide.help import SCREEN_LINES
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, check, enter, member, menu, read_all


def test_an_admin_asks_in_english(bot: Bot) -> None:
    """Who am I, my mailbox, everybody's; what cannot be answered says what to type instead."""
    assert answer(bot, "mei", "whoami") == (
        "You are 美玲 (mei). To me you are: admin, member.\n"
        "You can ask for backups, look at every mailbox and answer requests; `help` lists it all.\n"
        "Your manager is 方敏."
    )
    ahing = answer(bot, "mei", "mailbox ahing")
    for line in (
        "ahing@corp.test is the mailbox of 阿兴 (ahing).",
        "Opens these public mailboxes I can see: support@corp.test.",
        "How I know: a look-up at WeCom, ",
        "IMAP is switched off; a backup switches it on and off again.",
        "Unread mails: 26.",
    ):
        assert line in ahing
    bot.console("set_imap", address="ahing@corp.test", on=True)
    bot.console("receive_mail", address="ahing@corp.test", text="hello")
    again = answer(bot, "mei", "mailbox ahing")
    assert "IMAP is switched on." in again
    assert "Unread mails: 27." in again
    support = answer(bot, "mei", "mailbox support@")
    assert "support@corp.test is the public mailbox “客户支持”.\nIt can be opened by: 阿兴, 美玲.\n" in support
    assert "I can make client passwords for it" in support
    assert "I find nobody in WeCom who has sales@corp.test." in answer(bot, "mei", "mailbox sales@")

    bot.advance(60)  # WeCom takes 30 messages a minute for a member; the bot would wait for the next minute

    # every name of his, and every spelling of the command
    his = "calvin@corp.test is the mailbox of 卡尔文 (calvin)."
    check(
        bot,
        "mei",
        ("mailbox calvin", his),
        ("MAILBOX Calvin", his),
        ("  mailbox   calvin  ", his),
        ("mailbox 卡尔文", his),
        ("mailbox “卡尔文”", his),
        ('mailbox "calvin@corp.test"', his),
        ("mailbox calvin@", his),
        ("mailbox CALVIN@CORP.TEST", his),
        ("mailbox calvin＠", his),
        ("ｍａｉｌｂｏｘ ｃａｌｖｉｎ", his),
        ("please mailbox calvin", his),
        ("mailbox 客户支持", "support@corp.test is the public mailbox"),
        ("mailbox support", "support@corp.test is the public mailbox"),
        # nobody, nothing, almost
        ("mailbox clavin", "I know nobody called “clavin”. Nearest: 卡尔文 (calvin)"),
        ("mailbox zzzzzz", "I know nobody called “zzzzzz”. Type a userid, a name, or a whole address"),
        ("mailbox x@gmail.com", "x@gmail.com is not in corp.test"),
        ("mailbox 阿兴@", "“阿兴@” cannot be a mail address"),
        ("mailbox", "I expected a mailbox. For example: `mailbox ahing`"),
        ("mailbx ahing", "Did you mean `mailbox ahing`?"),
        ("approve", "the number of an approval"),
        ("approve soon", "`soon` is not the number of an approval"),
        ("approve 42", "There is no approval 42 for you. Type `approvals`"),
        ("job 99", "99"),
        ("sing a song", "I do not understand `sing a song`. Type `help`"),
        ("ahing left", "Perhaps one of these is what you need; put in your own names:\n· backup ahing to support@"),
    )


def test_a_member_asks(bot: Bot) -> None:
    """He sees his own mailbox and what he is asked; nothing of an admin's."""
    check(
        bot,
        "ahing",
        ("who am i", "You are 阿兴 (ahing). To me you are: member.\nYou can look at your own mailbox"),
        ("my mailbox", "ahing@corp.test is the mailbox of 阿兴 (ahing)."),
        ("mailbox calvin", "Only admins and auditors can see that. Admins: 美玲."),
        ("backup ahing to support@ because x", "Only an admin can do that. Admins: 美玲."),
        ("addresses import", "Only an admin can do that. Admins: 美玲."),
        ("audit", "Only admins and auditors can see that."),
        ("approvals", "Nothing waits for you"),
        ("我的邮箱", "ahing@corp.test 是 阿兴（ahing）的邮箱。"),
        ("我是谁", "您是 阿兴（ahing）。在我这里的身份：成员。"),
        ("备份ahing到support@原因x", "只有管理员可以这样做。管理员：美玲。"),
    )


def test_an_admin_asks_in_chinese(bot: Bot) -> None:
    """Without spaces, with full-width punctuation; the same answers in Chinese."""
    calvin = "calvin@corp.test 是 卡尔文（calvin）的邮箱。"
    check(
        bot,
        "mei",
        ("我是谁", "您是 美玲（mei）。在我这里的身份：管理员、成员。"),
        ("邮箱calvin", calvin),
        ("邮箱卡尔文", calvin),
        ("邮箱：卡尔文。", calvin),
        ("邮箱「卡尔文」", calvin),
        ("请邮箱 calvin＠", calvin),
        ("邮箱 客户支持", "support@corp.test 是公共邮箱“客户支持”。\n可以打开的人：阿兴、美玲。"),
        ("邮箱sales@", "企业微信中查不到 sales@corp.test 的所有者。"),
        ("邮箱 卡而文", "没有找到“卡而文”。最接近的是：卡尔文 (calvin)。"),
        ("邮箱", "邮箱"),
        ("同意", "审批编号"),
        ("审批", "没有待您处理的审批"),
        ("唱首歌", "我不明白“唱首歌”。"),
        ("邮箱满了怎么办", "您要的也许是下面的指令"),
        ("审计", "还没有任何操作记录。\n审计记录完整。"),
    )
    assert "原因" in answer(bot, "mei", "备份ahing到support@")


def test_two_of_a_name_are_a_choice(bot: Bot) -> None:
    """
    A card with a selector: answered by a click, by a number, by the label, by the userid; anything else goes on.

    What was chosen is remembered for that admin and that word until he has it forgotten.
    """
    bot.console("add_member", member="ahing2", name="阿兴", department=3)
    bot.wait("the directory knows both", lambda: knows(bot, "ahing2"))
    first, second = "ahing@corp.test is the mailbox", "ahing2@corp.test is the mailbox"

    for typed, wanted in (("2", second), ("1", first), ("阿兴 (ahing2)", second), ("ahing", first)):
        read_all(bot, "mei")
        bot.say("mei", "mailbox 阿兴")
        card = bot.hear("mei", "Which “阿兴”?")
        assert [each["text"] for each in card["card"]["choices"][0]["options"]] == ["阿兴 (ahing)", "阿兴 (ahing2)"]
        assert "1. 阿兴 (ahing)\n2. 阿兴 (ahing2)" in text_of(bot.hear("mei", "Or type the number"))
        bot.say("mei", typed)
        assert "for you from now on; `forget 阿兴`" in text_of(bot.hear("mei", "“阿兴” is 阿兴 (ahing"))
        assert wanted in text_of(bot.hear("mei", "is the mailbox"))
        assert wanted in answer(bot, "mei", "mailbox @阿兴\u2005", "is the mailbox"), "asked once"
        assert "I ask you again" in answer(bot, "mei", "forget 阿兴")
        bot.advance(60)  # 30 messages a minute for a member

    bot.say("mei", "mailbox 阿兴")
    bot.hear("mei", "Or type the number")
    bot.press("mei", "choose", {"choice": ["ahing2"]})
    bot.hear("mei", second)
    assert "我会再问您" in answer(bot, "mei", "忘记阿兴")

    bot.say("mei", "mailbox 阿兴")
    bot.hear("mei", "Or type the number")
    bot.say("mei", "mailbox calvin")  # something else: the question is dropped
    bot.hear("mei", "calvin@corp.test is the mailbox")
    assert "I do not understand `2`" in answer(bot, "mei", "2")

    # the question runs out
    bot.say("mei", "mailbox 阿兴")
    bot.hear("mei", "Or type the number")
    bot.advance(16 * 60)
    assert "I do not understand `1`" in answer(bot, "mei", "1")
    bot.press("mei", "choose", {"choice": ["ahing"]})
    bot.hear("mei", "This choice has run out. Please type the command again.")

    # the one who is meant counts, whatever is typed for him; whom a word only fits is named before anything is done
    bot.advance(60)
    answer(bot, "mei", "mailbox 阿兴", "Or type the number")
    answer(bot, "mei", "ahing", first)
    names_in_both_languages(bot)


def names_in_both_languages(bot: Bot) -> None:
    """Pinyin, initials, nicknames, whom one mentions; a nickname that is taken is refused, one that is over is gone."""
    lan = "lan@corp.test"
    check(
        bot,
        "mei",
        ("mailbox wanglan", f"{lan} is the mailbox of 王兰 (lan)."),
        ("邮箱wl", f"{lan} 是 王兰（lan）的邮箱。"),
        ("邮箱 @王兰\u2005", f"{lan} 是 王兰（lan）的邮箱。"),
        ("mailbox wanglna", "I know nobody called “wanglna”. Nearest: 王兰 (lan)"),
        ("lan is also 兰姐", "From now on “兰姐” is 王兰 (lan), for everybody here."),
        ("@凌\u2005也叫 Big Boss", "以后“Big Boss”就是指 凌 (ling)，对所有人有效。"),
        ("lan is also 阿兴", "“阿兴” is what 阿兴 (ahing) is called"),
        ("tao 也叫 support", "“support”是邮箱 support@corp.test 的名称"),
        ("邮箱 兰姐", f"{lan} 是 王兰（lan）的邮箱。"),
        ("昵称", "王兰 (lan)：兰姐\n凌 (ling)：Big Boss"),
    )
    bot.advance(60)
    assert "I take “chentao” for 陈涛 (tao)." in answer(bot, "mei", "freeze chentao because x", "I take")
    assert "tao@corp.test" in text_of(bot.hear("mei", "confirm"))
    bot.console("delete_member", member="lan")
    bot.wait("she has left", lambda: (gone := member(bot, "lan")) is not None and gone.left_at is not None)
    for line, wanted in (
        ("mailbox 兰姐", "I know nobody called “兰姐”"),
        ("nicknames", "凌 (ling): Big Boss"),
        ("忘记Big Boss", "凌 (ling) 不再叫“Big Boss”。"),
    ):
        answer(bot, "mei", line, wanted)
    check(bot, "tao", ("tao is also 老陈", "Only an admin can do that. Admins: 美玲."))
    audited = answer(bot, "mei", "audit 9", "the nickname")
    assert "gave 王兰 the nickname “兰姐”" in audited
    assert "took the nickname “Big Boss” from 凌" in audited


def knows(bot: Bot, userid: str) -> bool:
    """Whether the directory was read with this member in it."""
    with bot.store.begin() as tx:
        found = tx.members.find(userid)
        return found is not None and bool(found.departments) and not tx.jobs.running("directory")


def test_help_is_made_from_what_one_may_do(bot: Bot) -> None:
    """One screen for everybody; a word finds what it means; for members without what only admins can do."""
    admins = ("backup ahing", "addresses import", "mailbox ahing", "retry 12", "manager 12", "audit")
    member = answer(bot, "ahing", "help", "Topics")
    assert member.startswith("Hello 阿兴. Topics:\n`help backup`: copy mail\n· link 12\n")
    assert "\n· my mailbox\n" in member
    for command in admins:
        assert f"\n· {command}" not in member, command
    admin = answer(bot, "mei", "what can you do", "Topics")
    for topic, command in zip(("backup", "people", "people", "jobs", "backup", "more"), admins, strict=True):
        assert f"`help {topic}`" in admin
        answer(bot, "mei", f"help {topic}", command)
    assert len(answer(bot, "mei", "帮助", "主题").split("\n")) <= SCREEN_LINES
    check(
        bot,
        "mei",
        ("help backup", "· backup MAILBOX [to MAILBOX] [because REASON] [since DATE]"),
        ("帮助 备份", "· 备份 〈邮箱〉 [到 〈目标邮箱〉] [原因 〈原因〉]"),
        ("help BACKUP", "For example: backup ahing to support@ because he leaves"),
        ("help approve", "For example: approve 42"),
        ("help bakcup", "For example: backup ahing to support@ because he leaves"),
        ("help leaver", "reassign ahing@ to calvin"),
        ("帮助 离职", "备份 ahing 到 support@"),
        ("help xyzzy", "I have nothing about “xyzzy”."),
        ("帮助备份", "例如：备份 ahing 到 support@ 原因 离职"),
    )
    bot.advance(60)  # 30 messages a minute for a member
    check(
        bot,
        "mei",
        ("帮助 审批", "例如：同意 42"),
        ("帮助 天气", "没有关于“天气”的帮助。"),
        ("what can you do with axing", "The mailbox of 阿兴 (ahing), whose address I have not looked up yet."),
        ("你能对support@做什么", "support@corp.test，公共邮箱。您可以输入：\n· 公共邮箱 support@\n· 谁能打开 support@"),
    )
    answer(bot, "mei", "mailbox ahing", "is the mailbox")
    answer(
        bot,
        "mei",
        "what can you do with axing",
        "ahing@corp.test, the mailbox of 阿兴 (ahing). You can type:\n· backup ahing@",
    )
    bot.console("delete_member", member="calvin")
    bot.wait("he is in the bin", lambda: in_bin(bot, "calvin"))
    for line, wanted in (
        ("what can you do with calvin", "· rescue 1 to support@"),
        ("你能对calvin做什么", "· 抢救 1 到 support@"),
    ):
        heard = answer(bot, "mei", line, wanted)
        assert "calvin" in heard  # whose address nobody has looked up: it goes by its number in the book
        assert "freeze" not in heard
    check(
        bot,
        "ahing",
        ("help retry", "I have nothing about “retry”"),
        ("help mailbox", "my mailbox"),
        ("what can you do with 阿兴", "· my mailbox\n· help login"),
        ("你能对美玲做什么", "您只能查询自己的邮箱"),
    )


def in_bin(bot: Bot, userid: str) -> bool:
    """Whether a member's mailbox is in the book."""
    with bot.store.begin() as tx:
        return tx.recycle_bin.waiting_left_by(userid) is not None


def test_the_menu_and_the_greeting(bot: Bot) -> None:
    """The menu does what words do; who opens the chat is greeted once, by what he is here for; later he says hello."""
    bot.wait("the menu is set", lambda: len(bot.state()["menu"]) == 3)
    menu(bot, "ahing", "my_mailbox", "ahing@corp.test is the mailbox")
    menu(bot, "ahing", "help", "Topics")
    menu(bot, "ahing", "jobs", "")
    menu(bot, "ahing", "approvals", "Nothing waits for you")
    menu(bot, "ahing", "bin", "Only admins and auditors can see that.")
    menu(bot, "ahing", "help_login", "https://en.exmail.qq.com")
    for who, first in (
        ("ahing", "· `my mailbox`: what I know about yours\n· `help login`"),
        ("ling", "I ask you here.\n· `approvals`"),
        ("mei", "· `backup ahing to support@ because he leaves`\n· `bin`"),
    ):
        read_all(bot, who)
        enter(bot, who)
        assert first in text_of(bot.hear(who, "I look after"))
    count = len(bot.entries("ahing"))
    enter(bot, "ahing")
    bot.advance(30 * 24 * 3600)
    enter(bot, "ahing")
    assert "You are" in answer(bot, "ahing", "whoami")
    assert not [each for each in bot.entries("ahing")[count:] if "I look after" in text_of(each)]
    answer(bot, "ahing", "语言 中文", "我用中文和您交流")
    menu(bot, "ahing", "hello", "· “帮助 登录”：怎么打开邮箱")
    assert "要备份或转移您下属的邮箱时" in answer(bot, "ling", "你好")


def test_a_password_in_the_chat_is_taken_out(bot: Bot) -> None:
    """Blacked out where we keep it, and the sender is told to revoke it; ordinary words of 16 letters are not."""
    for typed, told in (
        ("abcdEFGHijklMNOP", "That looked like a password."),
        ("the password is hunter2hunter", "That looked like a password."),
        ("密码：abcd1234efgh", "这看起来像是密码。"),
        ("here: qWertYuiopAsdfGh thanks", "That looked like a password."),
    ):
        assert told in answer(bot, "ahing", typed)
    with bot.store.begin() as tx:
        kept = repr([row.fields for row in tx.session.query(inbox()).all()])
        audited = [entry.what for entry in tx.audit.latest(50)]
        assert tx.audit.broken_at() is None
    for secret in ("abcdEFGHijklMNOP", "hunter2", "abcd1234efgh", "qWertYuiop"):
        assert secret not in kept
    assert audited.count("password.pasted") == 4
    assert "I do not understand" in answer(bot, "ahing", "our responsibilities and characterization")


def inbox() -> type:
    """The table of accepted callbacks."""
    from storage.models import InboxMessage

    return InboxMessage
