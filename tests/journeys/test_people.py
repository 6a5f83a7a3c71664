"""Who is who changes while the bot works: joined, left, vanished, renamed; exports dropped into the chat."""

from __future__ import annotations

import io
from pathlib import Path

from openpyxl import Workbook

from bot.sandbox.player import text_of
from bot.sandbox.run import running
from storage.models import MailboxKind
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, check, drop, member, read_all

HEADER = ["姓名", "帐号", "部门", "个人邮箱", "企业邮箱"]


def test_the_directory_follows(bot: Bot) -> None:
    """Events bring a new reading; who left is kept, who vanished is found, and an address changes hands."""
    bot.console("add_member", member="nina", name="妮娜", department=2, leader="ling")
    bot.wait("Nina is known", lambda: (found := member(bot, "nina")) is not None and found.name == "妮娜")
    assert "nina@corp.test is the mailbox of 妮娜" in answer(bot, "mei", "mailbox 妮娜", "nina@")
    bot.console("update_member", member="nina", name="妮可", department=3)
    bot.wait("the new name", lambda: (found := member(bot, "nina")) is not None and found.name == "妮可")

    # somebody leaves: known with all that was known of him, the admins hear of the mailbox once
    read_all(bot, "mei")
    bot.console("delete_member", member="nina")
    heard = text_of(bot.hear("mei", "妮可 has left the directory."))
    assert "nina@corp.test" in heard
    assert "recycle bin" in heard
    left = member(bot, "nina")
    assert left is not None
    assert left.left_at is not None
    assert (left.name, left.departments, left.direct_leader) == ("妮可", [3], "ling")
    assert "I know nobody called “妮可”" in answer(bot, "mei", "mailbox 妮可", "妮可")
    assert "it may be in the recycle bin" in answer(bot, "mei", "mailbox nina", "妮可 (nina) has left")

    # somebody vanishes without an event: the next reading finds it
    bot.trouble("callback_lost")
    bot.console("delete_member", member="tao")
    bot.trouble("callback_lost", False)
    read_all(bot, "mei")
    bot.advance(24 * 3600)
    bot.hear("mei", "陈涛 is no longer in the directory I can see.")
    bot.wait("the reading is over", lambda: not busy(bot))
    assert [each for each in bot.entries("mei") if "陈涛" in text_of(each)][1:] == []

    # the address gets another owner: another mailbox, never mixed with the former owner's
    with bot.store.begin() as tx:
        former = tx.mailboxes.last_at("nina@corp.test").id
    bot.console("assign", address="nina@corp.test", member="yan")
    bot.advance(3601)  # a "nobody" is kept for an hour
    assert "nina@corp.test is the mailbox of 赵燕 (yan)." in answer(bot, "mei", "mailbox nina@", "nina@")
    with bot.store.begin() as tx:
        now = tx.mailboxes.at("nina@corp.test")
        assert now.id != former
        assert now.kind is MailboxKind.MEMBER
    assert "nina@corp.test is the mailbox of 赵燕" in answer(bot, "yan", "my mailbox", "yan")

    # readers of a public mailbox change in the console
    bot.console("set_public_users", address="support@corp.test", members=["mei"], tags=[3], departments=[3])
    support = answer(bot, "mei", "mailbox support@", "support@")
    assert "It can be opened by: 李军, 王兰, 美玲, 魏强." in support


def busy(bot: Bot) -> bool:
    with bot.store.begin() as tx:
        return bool(tx.jobs.running("directory"))


def test_roles_come_from_tags(tmp_path: Path) -> None:
    """BOT_ROLE_TAGS; who gets the tag is an admin from the next reading on, and who loses it is none."""
    with running(tmp_path / "data", bot_role_tags={"admin": 1, "approver": 2, "auditor": 3}) as sandbox:
        bot = Bot(sandbox)
        bot.wait_ready()
        assert "auditor" in answer(bot, "tao", "whoami")  # by the tag
        assert "auditor" in answer(bot, "lan", "whoami")  # by the department in the tag
        assert "approver" in answer(bot, "wei", "whoami")
        check(bot, "tao", ("mailbox ahing", "ahing@corp.test"), ("backup ahing to support@ because x", "Only an admin"))
        assert "Only an admin" in answer(bot, "yan", "addresses import")
        bot.console("set_tag", tag=1, members=["mei", "yan"])
        bot.wait("the tag was read", lambda: tagged(bot) == {"mei", "yan"})
        assert "drop the file" in answer(bot, "yan", "addresses import")
        # a tag that cannot be read leaves the roles as they were, and the directory is read all the same
        sandbox.organisation.tags.pop(1)
        bot.console("update_member", member="calvin", name="卡尔")
        bot.wait("the name was read", lambda: (found := member(bot, "calvin")) is not None and found.name == "卡尔")
        assert tagged(bot) == {"mei", "yan"}
        bot.close()


def tagged(bot: Bot) -> set[str]:
    """Who is an admin by his tag."""
    with bot.store.begin() as tx:
        found: set[str] = tx.members.tagged(1)
        return found


def export(rows: list[list[str]]) -> bytes:
    """The console's export: a title above the header."""
    book = Workbook()
    assert book.active is not None
    for row in [["成员导出表"], [], HEADER, *rows]:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_an_export_is_dropped_into_the_chat(bot: Bot) -> None:
    """Each address is looked up; only what WeCom confirms is kept; the budget holds, and tomorrow it goes on."""
    org = bot.sandbox.organisation
    calvin = org.member("calvin")
    assert calvin is not None
    org.rename(calvin, "c.wang@corp.test")  # not to be guessed from the userid
    assert "I do not know the mail address of calvin" in answer(bot, "mei", "mailbox calvin", "calvin")
    assert "drop the file (.xlsx or .csv) into this chat" in answer(bot, "mei", "addresses import", "drop")

    people = [["卡尔文", "calvin", "销售", "c@personal.test", "C.Wang@corp.test"],
              ["阿兴", "ahing", "销售", "a@personal.test", "ahing@corp.test"],
              ["?", "?", "", "", "sales@corp.test"]]  # fmt: skip
    drop(bot, "mei", "成员.xlsx", export(people))
    bot.hear("mei", "Reading 成员.xlsx …")
    heard = text_of(bot.hear("mei", "addresses confirmed."))
    assert heard.startswith("2 of 3 addresses confirmed.")
    assert "do not know whose they are (public mailboxes and groups are among them): sales@corp.test" in heard
    assert "c.wang@corp.test is the mailbox of 卡尔文" in answer(bot, "mei", "mailbox calvin", "c.wang@")
    assert "c.wang@corp.test is the mailbox of 卡尔文" in answer(bot, "calvin", "my mailbox", "c.wang@")

    # others, other files
    drop(bot, "ahing", "成员.xlsx", export(people))
    bot.hear("ahing", "Only an admin can do that. Admins: 美玲.")
    for name, content, said in (
        ("photo.png", b"\x89PNG...", "“photo.png” is neither"),
        ("a.xlsx", b"PK not really", "it is damaged, or protected by a password."),
        ("a.csv", "姓名,部门\n阿兴,销售\n".encode("gb18030"), "no column holds mail addresses."),
        ("a.csv", b"x@elsewhere.test,y@elsewhere.test\n", "but none in corp.test."),
    ):
        drop(bot, "mei", name, content)
        assert said in text_of(bot.hear("mei", said))

    # more wrong ones than a day's budget: stops before WeCom blocks, goes on tomorrow behind them
    wrong = [["?", "?", "", "", f"gone{number}@corp.test"] for number in range(50)]
    last = [["李军", "jun", "", "", "jun@corp.test"]]
    file = "\n".join(",".join(row) for row in [HEADER, *wrong, *last]).encode("gb18030")
    drop(bot, "mei", "all.csv", file)
    bot.hear("mei", "I found 51 addresses and look them up now.")
    stopped = text_of(bot.hear("mei", "I stopped with"))
    assert "I stopped with 13 addresses left" in stopped  # sales@ and calvin@ found nobody before
    assert "I cannot look up gone49@corp.test today" in answer(bot, "mei", "mailbox gone49@", "gone49@")
    bot.advance(25 * 3600)
    drop(bot, "mei", "all.csv", file)
    assert text_of(bot.hear("mei", "addresses confirmed")).startswith("1 of 51 addresses confirmed.")

    # WeCom's own block: known for what it is, and not asked again
    with bot.store.begin() as tx:
        for number in range(25):
            tx.mailboxes.looked_up(f"else{number}@corp.test", None)
    org.lookups_blocked_until = org.now().replace(year=org.now().year + 1)
    assert "I cannot look up tao@corp.test today" in answer(bot, "mei", "mailbox tao@", "tao@")
    with bot.store.begin() as tx:
        assert tx.moments.last("look-ups-blocked") is not None
        assert tx.audit.broken_at() is None
