"""Nicknames: for everybody, refused where they could reach the wrong mailbox, gone with their member."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.context import Context
from bot.directory import Directory
from bot.errors import UserError
from bot.replies import File, Reply, Text
from bot.words import LANGUAGES, Words
from handlers.guide import nicknames
from storage.store import Store, Transaction
from tests.handlers.conftest import on_both

Speaking = Callable[..., Context]


def text(replies: list[Reply], language: str = "en") -> str:
    """What is said, as text."""
    words = [each.words for each in replies if isinstance(each, Text)]
    return "\n".join(
        each.text("zh" if language == "zh" else "en") if isinstance(each, Words) else each for each in words
    )


def seed(tx: Transaction) -> None:
    tx.mailboxes.member_has("calvin", "c.wang@corp.test", "look-up")
    tx.mailboxes.public_is(1, "support@corp.test", name="客户支持", aliases=["help@corp.test"], readers={})


@on_both
def test_a_nickname_is_understood_and_goes_with_its_member(store: Store, speaking: Speaking) -> None:
    """By its case-folded whole, its beginning and its pinyin; over a new userid; free again once he left."""
    with store.begin() as tx:
        said = text(nicknames.nickname(speaking(tx, "mei"), "ahing", "阿兴哥"))
        assert said == "From now on “阿兴哥” is 阿兴 (ahing), for everybody here. `forget 阿兴哥` ends that."
        nicknames.nickname(speaking(tx, "yan"), "凌", "Big  Boss")
    with store.begin() as tx:
        for typed, userid in (
            ("阿兴哥", "ahing"), ("@阿兴哥", "ahing"), ("axingge", "ahing"), ("big boss", "ling"), ("big", "ling"),
        ):  # fmt: skip
            assert Directory(tx, "corp.test", "mei").member(typed).userid == userid, typed
        assert text(nicknames.nicknames(speaking(tx, "mei"))) == "阿兴 (ahing): 阿兴哥\n凌 (ling): Big Boss"
        assert text(nicknames.nicknames(speaking(tx, "mei"), "big boss"), "zh") == "凌 (ling)：Big Boss"
        tx.members.renamed("ahing", "zhou.xing")
    with store.begin() as tx:
        member = Directory(tx, "corp.test").member("阿兴哥")
        assert member.userid == "zhou.xing"
        tx.members.left(member)
    with store.begin() as tx:
        with pytest.raises(UserError):
            Directory(tx, "corp.test").member("阿兴哥")
        assert text(nicknames.nicknames(speaking(tx, "mei"))) == "凌 (ling): Big Boss"
        nicknames.nickname(speaking(tx, "mei"), "calvin", "阿兴哥")  # nobody has it now
        assert Directory(tx, "corp.test").member("阿兴哥").userid == "calvin"
        assert text(nicknames.forget(speaking(tx, "mei"), "阿兴哥")) == "卡尔文 (calvin) is no longer called “阿兴哥”."
        with pytest.raises(UserError):
            nicknames.nickname(speaking(tx, "mei"), "zhou.xing", "老周")
    with store.begin() as tx:
        assert [(each.what, each.subject) for each in tx.audit.latest(9)] == [
            ("nickname.given", "阿兴哥"), ("nickname.given", "Big Boss"), ("nickname.given", "阿兴哥"),
            ("nickname.forgotten", "阿兴哥"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("王兰", "is what 王兰 (lan) is called"),
        ("LAN", "is what 王兰 (lan) is called"),
        ("阿兴", "阿兴 (ahing) is called “阿兴” already"),
        ("ahing", "is called “ahing” already"),
        ("support", "names the mailbox support@corp.test"),
        ("help", "names the mailbox support@corp.test"),
        ("客户支持", "names the mailbox support@corp.test"),
        ("c.wang", "names the mailbox c.wang@corp.test"),
        ("老板", "is a nickname of 方敏 (fang) already"),
        ("a@b", "cannot be a nickname"),
        ("“x”", "cannot be a nickname"),
        ("a, b", "cannot be a nickname"),
        ("42", "cannot be a nickname"),
        (" ", "cannot be a nickname"),
        ("x" * 33, "cannot be a nickname"),
    ],
)
def test_what_could_reach_the_wrong_mailbox_is_refused(store: Store, speaking: Speaking, name: str, why: str) -> None:
    with store.begin() as tx:
        seed(tx)
        nicknames.nickname(speaking(tx, "mei"), "fang", "老板")
        with pytest.raises(UserError) as caught:
            nicknames.nickname(speaking(tx, "mei"), "ahing", name)
        assert why in caught.value.words.text("en")
        assert caught.value.words.text("zh")
        assert [each.name for each in tx.names.nicknames()] == ["老板"]


def test_only_admins_give_and_take_nicknames(store: Store, speaking: Speaking) -> None:
    """They hold for everybody; what one person meant is his own to forget."""
    with store.begin() as tx:
        nicknames.nickname(speaking(tx, "mei"), "fang", "老板")
        for attempt in (
            lambda: nicknames.nickname(speaking(tx, "tao"), "tao", "老陈"),
            lambda: nicknames.forget(speaking(tx, "tao"), "老板"),
        ):
            with pytest.raises(UserError) as caught:
                attempt()
            assert "Only an admin can do that" in caught.value.words.text("en")
        tx.names.choose("tao", "老板", "lan")
        assert text(nicknames.forget(speaking(tx, "tao"), "老板")) == "I ask you again what you mean by “老板”."
        assert tx.names.nickname("老板") is not None


def test_a_name_that_somebody_gets_later_is_asked_about(store: Store, speaking: Speaking) -> None:
    """A new member is called as another is nicknamed: neither is taken for the other."""
    with store.begin() as tx:
        nicknames.nickname(speaking(tx, "mei"), "fang", "老板")
        tx.members.saw("boss", name="老板", departments=[1])
        with pytest.raises(Exception, match="老板"):
            Directory(tx, "corp.test", "mei").member("老板")


def test_many_are_a_file(store: Store, speaking: Speaking) -> None:
    with store.begin() as tx:
        assert "No nicknames yet" in text(nicknames.nicknames(speaking(tx, "mei")))
        for number in range(26):
            tx.names.call("ahing", f"老{number}号", by="mei")
        replies = nicknames.nicknames(speaking(tx, "mei"))
        assert [type(each) for each in replies] == [Text, File]
        for language in LANGUAGES:
            assert "26" in text(replies, language)
