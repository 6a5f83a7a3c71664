"""What can be typed: on one screen, found by what it does, in the words of whoever asks; and what makes sense now."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

import handlers
from bot.context import Context
from bot.errors import UserError
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom.limits import TEXT_BYTES
from bot.words import LANGUAGES, Language, Words, catalogue
from handlers import possible
from handlers.guide import greeting, help, search
from storage.models import BinSource, JobState
from storage.store import Store, Transaction

Speaking = Callable[..., Context]
SCREEN_BYTES = 700  # what fifteen lines of thirty columns hold, and less than a third of a message


@cache
def everything() -> Router:
    """Every command, put together once: that takes a while."""
    return handlers.router()


def said(replies: list[Reply], language: Language = "en") -> str:
    """Everything that is said, as text."""
    texts = [each.words for each in replies if isinstance(each, Text)]
    return "\n".join(each.text(language) if isinstance(each, Words) else each for each in texts)


# --- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "roles",
    [
        {Role.SUPER_ADMIN: frozenset({"x"}), Role.ADMIN: frozenset({"x"})}, {Role.ADMIN: frozenset({"x"})},
        {Role.AUDITOR: frozenset({"x"})}, {Role.APPROVER: frozenset({"x"})}, {},
    ],
)  # fmt: skip
def test_help_fits_one_screen_of_a_phone(
    store: Store, speaking: Speaking, language: Language, roles: dict[Role, frozenset[str]]
) -> None:
    """Fifteen lines of 390 px, for every role; a long name does not matter; one message, far from WeCom's limit."""
    everything()
    with store.begin() as tx:
        tx.members.saw("x", name="欧阳慕容", departments=[1])
        (reply,) = help.help_(speaking(tx, "x", language=language, roles=roles))
        shown = said([reply], language)
        lines = shown.split("\n")
        assert sum(map(help.height, lines)) <= help.SCREEN_LINES == 15
        assert all(help.height(each) == 1 for each in lines[:-1]), "nothing is broken but the last sentence"
        assert len(shown.encode()) <= SCREEN_BYTES <= TEXT_BYTES


def test_a_line_is_as_high_as_it_is_on_a_phone() -> None:
    for text, lines in (("", 1), ("x" * 30, 1), ("x" * 31, 2), ("帮" * 15, 1), ("帮" * 15 + "x", 2), ("：" * 16, 2)):
        assert help.height(text) == lines, text


def test_every_command_is_found_in_two_messages(store: Store, speaking: Speaking) -> None:
    """`help`, and what it names for each topic, show an admin all there is; also one by one, by its first words."""
    commands = [each for each in everything().commands if each.topic != help.SMALL_TALK]
    with store.begin() as tx:
        for language in LANGUAGES:
            ctx = speaking(tx, "mei")
            ctx.language = language
            shown = "\n".join(str(each.words) for each in help.help_(ctx) if isinstance(each, Text))
            words = re.findall(r"`help ([^`]+)`" if language == "en" else "“帮助 ([^”]+)”", shown)
            for word in words:
                shown += "\n".join(str(each.words) for each in help.help_(ctx, word) if isinstance(each, Text))
            missing = [each.name for each in commands if each.example[language] not in shown]
            assert not missing, language
            for command in commands:
                lead = command.patterns[language][0].leads[0]
                told = "".join(str(each.words) for each in help.help_(ctx, lead) if isinstance(each, Text))
                assert command.example[language] in told, (language, lead)


# What people type after `help`, and the command they look for; the first found is that one.
SEARCHES = {
    "leaver": "request_backup",
    "someone quit": "request_backup",
    "copy mail": "request_backup",
    "离职": "request_backup",
    "离职员工": "request_backup",
    "归档": "request_backup",
    "transfer": "request_reassign",
    "hand over": "request_reassign",
    "移交": "request_reassign",
    "接手": "request_reassign",
    "password": "help_login",
    "forgot my password": "help_login",
    "登录": "help_login",
    "怎么登录": "help_login",
    "app password": "passwords",
    "printer": "password_new",
    "打印机": "password_new",
    "授权码": "password_new",
    "leaked": "password_revoke",
    "撤销密码": "password_revoke",
    "forward": "aliases_of",
    "forwarding": "aliases_of",
    "转发": "aliases_of",
    "second address": "aliases_of",
    "撤销": "undo",
    "改回": "undo",
    "revert": "undo",
    "take back": "withdraw",
    "撤销申请": "withdraw",
    "delete mailbox": "public_delete",
    "how do I delete a mailbox?": "public_delete",
    "删除邮箱": "public_delete",
    "怎么删邮箱": "public_delete",
    "deleted mailboxes": "recycle_bin",
    "已删除": "recycle_bin",
    "restore": "request_rescue",
    "找回": "request_rescue",
    "lost phone": "freeze",
    "手机丢了": "freeze",
    "block": "freeze",
    "解锁": "unfreeze",
    "change address": "request_rename",
    "改邮箱地址": "request_rename",
    "更名": "request_rename",
    "new mailbox": "public_create",
    "新建邮箱": "public_create",
    "give access": "public_add",
    "权限": "public_add",
    "mailing list": "group_show",
    "send to everybody": "group_create",
    "群发": "group_show",
    "outlook": "imap",
    "foxmail": "imap",
    "端口": "help_smtp",
    "who has access": "who_can_open",
    "谁能看": "who_can_open",
    "emergency": "override",
    "紧急": "override",
    "上级休假": "ask_someone_else",
    "yes": "approve",
    "批准": "approve",
    "deny": "reject",
    "驳回": "reject",
    "progress": "jobs_list",
    "进度": "jobs_list",
    "stop": "cancel",
    "中止": "cancel",
    "what waits for me": "approvals_list",
    "待审批": "approvals_list",
    "dns": "domain",
    "spf": "domain",
    "收不到邮件": "domain",
    "new domain": "domain_setup",
    "接入域名": "domain_setup",
    "what happened": "audit",
    "日志": "audit",
    "broken": "doctor",
    "60020": "doctor",
    "诊断": "doctor",
    "english": "set_language",
    "外号": "nickname",
    "known as": "nickname",
    "todo": "handovers_list",
    "i have done it": "say_done",
    "premium": "seats_show",
    "test mail": "smtp_test",
    "发不出去": "smtp_test",
    "怎么办": "possible",
    "spreadsheet": "import_addresses",
    "bakcup": "request_backup",
    "passwrod": "help_login",
}


@pytest.mark.parametrize(("word", "wanted"), SEARCHES.items())
def test_a_command_is_found_by_what_it_does(word: str, wanted: str) -> None:
    """Within the few that are shown; and no search shows so many that nobody reads them."""
    found = [each.name for each in search.search(everything().commands, word)]
    assert wanted in found, f"{word}: {found}"
    assert len(found) <= search.FOUND_MAX


@pytest.mark.parametrize("word", ["", "?", "天气", "xyzzy", "sing a song", "的", "😀", "x" * 500, "唱歌" * 100])
def test_what_no_command_does_finds_none(word: str) -> None:
    assert search.search(everything().commands, word) == []


def test_the_words_are_those_of_commands() -> None:
    """Every command has some, and nobody else: after a new command, bot/data/help_words.toml."""
    known = {each.name for each in everything().commands if each.topic != help.SMALL_TALK}
    assert set(search.what_people_say()) == known
    for words in search.what_people_say().values():
        assert any(each.isascii() and each.strip() for each in words.split(","))
        assert not words.isascii(), words


def test_help_shows_what_it_found_or_says_what_is_near(store: Store, speaking: Speaking) -> None:
    """Whoever asks, sees only what he may type."""
    everything()
    with store.begin() as tx:
        admin, member = speaking(tx, "mei"), speaking(tx, "ahing", language="zh")
        assert "backup ahing to support@" in said(help.help_(admin, "leaver"))
        assert "reassign ahing@" in said(help.help_(admin, "leaver"))
        assert "帮助 登录" in said(help.help_(member, "密码"), "zh")
        assert "客户端密码" not in said(help.help_(member, "密码"), "zh")
        with pytest.raises(UserError) as caught:
            help.help_(admin, "天气")
        assert "nothing about “天气”" in caught.value.words.text("en")


# --- the greeting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("ahing left", "backup ahing to support@"), ("forward ahing's mail to calvin", "backup ahing to support@"),
        ("calvin lost his phone", "freeze ahing@"), ("阿兴离职了", "备份 ahing 到 support@"),
        ("邮箱满了怎么办", "备份 ahing 到 support@"), ("sing a song", None), ("唱首歌", None), ("7", None),
    ],
)  # fmt: skip
def test_who_asks_in_other_words_is_shown_what_comes_near(
    store: Store, speaking: Speaking, line: str, first: str | None
) -> None:
    """Whoever it is about; only what the sender may type; and nothing when nothing comes near."""
    everything()
    language: Language = "en" if line.isascii() else "zh"
    with store.begin() as tx:
        told = said(help.perhaps(speaking(tx, "mei", language=language), line), language)
        assert told.partition("\n· ")[2].startswith(first) if first is not None else told == ""
        assert told.count("\n· ") <= help.PERHAPS_MAX
        for_a_member = said(help.perhaps(speaking(tx, "calvin", language=language), line), language)
        assert "support@" not in for_a_member
        if line.startswith("邮箱满了"):
            assert for_a_member.endswith("· 我的邮箱")


def test_everybody_is_greeted_by_what_he_is_here_for(store: Store, speaking: Speaking) -> None:
    """Short, with things to type that work; whoever leads somebody is told what he will be asked."""
    router = everything()
    said_to = {}
    with store.begin() as tx:
        for who, roles in (("mei", {}), ("tao", {Role.AUDITOR: frozenset({"tao"})}), ("ling", {}), ("ahing", {})):
            for language in LANGUAGES:
                ctx = speaking(tx, who, roles=roles, language=language)
                text = greeting.greeting(ctx, "阿兴").text(language)
                said_to[who, language] = text
                assert sum(map(help.height, text.split("\n"))) <= 10
                for line in re.findall("`([^`]+)`" if language == "en" else "“([^”]+)”", text):
                    assert router.dispatch_line(line).language == language, line
    assert "backup ahing" in said_to["mei", "en"]
    assert "`audit`" in said_to["tao", "en"]
    assert "`approvals`" in said_to["ling", "en"]
    assert "“帮助 登录”" in said_to["ahing", "zh"]
    assert len(set(said_to.values())) == 8


def test_every_entry_of_the_menu_does_what_its_words_do() -> None:
    """Three groups of at most five; what it is called fits."""
    router = everything()
    assert len(greeting.MENU) <= 3
    for name, entries in greeting.MENU:
        assert len(entries) <= 5
        assert all(len(catalogue()[name][each].encode()) <= 16 for each in LANGUAGES)
        for label, key in entries:
            assert router.menu_for(key)
            assert all(len(catalogue()[label][each].encode()) <= 40 for each in LANGUAGES)


# --- what can you do with … ------------------------------------------------------------------------------------------


def organisation(tx: Transaction) -> dict[str, Any]:
    """A mailbox in each state there is."""
    for userid in ("mei", "ahing", "calvin", "tao"):
        tx.mailboxes.member_has(userid, f"{userid}@corp.test", "look-up")
    tx.mailboxes.public_is(1, "support@corp.test", name="客户支持", readers={}, aliases=[])
    tx.mailboxes.public_is(2, "off@corp.test", name="Off", readers={}, aliases=[])
    tx.mailboxes.told_of("sales@corp.test", name="Sales", readers={})
    job = tx.jobs.add("freeze", asked_by="mei", params={}, state=JobState.DONE)
    tx.freezes.begin(job_id=job.id, address="tao@corp.test", userid="tao", public_id=None, reason="x", by="mei")
    tx.freezes.begin(job_id=job.id, address="off@corp.test", userid=None, public_id=2, reason="x", by="mei")
    lan, solo = tx.members.find("lan"), tx.members.find("solo")
    assert lan is not None
    assert solo is not None
    tx.members.left(lan)
    tx.members.left(solo)
    tx.recycle_bin.enter(
        address="lan@corp.test", mailbox_id=None, owner="lan", owner_name="王兰", manager="ling",
        source=BinSource.LEFT, known_from="callback", added_by=None, entered_at=tx.now,
        deletes_at=tx.now + timedelta(days=30),
    )  # fmt: skip
    tx.recycle_bin.enter(
        address=None, mailbox_id=None, owner="fang", owner_name="方敏", manager=None, source=BinSource.LEFT,
        known_from="callback", added_by=None, entered_at=tx.now, deletes_at=tx.now + timedelta(days=30),
    )  # fmt: skip
    return {
        "fang": "binned_unknown",
        "ahing": "active", "tao@": "frozen", "solo": "left", "lan": "binned", "lan@": "binned", "support@": "public",
        "off@": "disabled", "sales@": "told", "nobody@": "unseen", "阿兴": "active", "axing": "active",
    }  # fmt: skip


def test_what_makes_sense_for_a_mailbox_now(store: Store, speaking: Speaking) -> None:
    """In each state its own commands, each a line that is understood as that command, with this mailbox in it."""
    router = everything()
    with store.begin() as tx:
        states = organisation(tx)
        for language in LANGUAGES:
            for typed, state in states.items():
                (reply,) = possible.possible(speaking(tx, "mei", language=language), typed)
                text = said([reply], language)
                typed_lines = [each.removeprefix("· ") for each in text.split("\n") if each.startswith("· ")]
                matches = [router.dispatch_line(each) for each in typed_lines]
                assert tuple(each.command.name for each in matches if each.command) == possible.COMMANDS[state], typed
                assert {each.language for each in matches} - {None} <= {"en", "zh"}
                assert len(text.split("\n")) <= help.SCREEN_LINES, typed
                if state == "binned_unknown":
                    continue  # by its number in the book
                local = {"ahing": "ahing", "阿兴": "ahing", "axing": "ahing"}.get(typed, typed.rstrip("@"))
                assert all(local in each for each in typed_lines), typed
    assert set(possible.COMMANDS) - set(states.values()) == {"own"}


def test_what_is_under_way_comes_first_and_roles_see_theirs(store: Store, speaking: Speaking) -> None:
    """An open job with what it waits for; an auditor sees what only looks; a member his own, and nobody else's."""
    everything()
    with store.begin() as tx:
        organisation(tx)
        box = tx.mailboxes.at("ahing@corp.test")
        assert box is not None
        params = {"source": {"address": "ahing@corp.test", "userid": "ahing"}, "reason": "x"}
        job = tx.jobs.add("backup", asked_by="mei", params=params, stage="ready", state=JobState.WAITING)
        tx.jobs.put(job, source=box.id, source_address="ahing@corp.test", target_address="support@corp.test")
        text = said(possible.possible(speaking(tx, "mei"), "ahing"))
        assert text.index(f"{job.id}: ") < text.index("· backup ahing@")
        assert f"`start {job.id}`" in text
        assert f"{job.id}: " not in said(possible.possible(speaking(tx, "mei"), "calvin"))
        auditor = speaking(tx, "yan", roles={Role.ADMIN: frozenset(), Role.AUDITOR: frozenset({"yan"})})
        seen = said(possible.possible(auditor, "ahing"))
        assert "· what can ahing open" in seen
        assert "freeze" not in seen
        own = said(possible.possible(speaking(tx, "ahing", language="zh"), "阿兴"), "zh")
        assert "· 我的邮箱" in own
        assert "冻结" not in own
        with pytest.raises(UserError) as caught:
            possible.possible(speaking(tx, "ahing"), "calvin")
        assert "your own mailbox" in caught.value.words.text("en")
