"""What people read of features that have no other home: the audit's events, help, cards that fit a phone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import handlers
from bot.context import Context
from bot.grammar import Field
from bot.replies import Text
from bot.wecom.limits import SHOWN_CHARACTERS
from bot.words import LANGUAGES, Words, catalogue
from handlers import audit
from handlers.bin import recycle_bin
from handlers.copying.backup_card import preview_card
from handlers.guide import help
from storage.models import Job
from storage.store import Store

Speaking = Callable[..., Context]
ROOT = Path(__file__).parents[2]
FINISHED_BIN = {"assigned", "let_go", "lost", "safe"}
ANSWERS = {"approved", "rejected"}
CHOICES = {"leave", "assign", "delete"}
VALUES = {"bin.": FINISHED_BIN, "approval.": ANSWERS, "aftermath.": CHOICES}


def events() -> Iterator[str]:
    """Every event that the code adds to the audit; where a part is a value, one of what it can be."""
    for path in [*(ROOT / "handlers").rglob("*.py"), *(ROOT / "bot").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("audit.add") and len(node.args) > 1:
                what = node.args[1]
                if isinstance(what, ast.Constant):
                    yield str(what.value)
                elif isinstance(what, ast.JoinedStr) and isinstance(what.values[0], ast.Constant):
                    feature = str(what.values[0].value)
                    yield from (
                        feature + each
                        for each in {"bin.": FINISHED_BIN, "approval.": ANSWERS, "aftermath.": CHOICES}[feature]
                    )


def test_every_event_of_the_audit_has_its_sentence() -> None:
    found = set(events())
    assert len(found) > 50
    assert not {each for each in found if f"audit.{each.replace('.', '_')}" not in catalogue()}


def test_the_audit_is_told_in_sentences(store: Store, speaking: Speaking) -> None:
    """Who did what, in whose words it is asked; what has no sentence is shown as it is."""
    with store.begin() as tx:
        tx.audit.add("mei", "backup.asked", "ahing@corp.test", job=3)
        tx.audit.add("bot", "access.asked", "ahing@corp.test", job=3, member="ahing")
        tx.audit.add("ling", "approval.approved", "approval 4", job=3)
        tx.audit.add("wecom", "member.left", "tao")
        tx.audit.add("bot", "new.event", "thing 7")
    with store.begin() as tx:
        ctx = speaking(tx, "mei")
        (reply,) = audit.audit(ctx)
        assert isinstance(reply, Text)
        assert isinstance(reply.words, Words)
        english, chinese = (reply.words.text(each).split("\n") for each in LANGUAGES)
    assert english[0] == "03-02 17:00 美玲: asked for a backup of ahing@corp.test (job 3)"
    assert english[1] == "03-02 17:00 Bot: asked 阿兴 for access to ahing@corp.test (job 3)"
    assert chinese[1] == "03-02 17:00 机器人：请 阿兴 授权访问 ahing@corp.test（任务 3）"
    assert english[2] == "03-02 17:00 凌: said yes to approval 4 (job 3)"
    assert english[3] == "03-02 17:00 WeCom: says that 陈涛 has left"
    assert english[4] == "03-02 17:00 Bot: new.event thing 7"
    assert english[5] == "The record is unbroken."


def test_the_audit_names_who_has_another_userid_by_both(store: Store, speaking: Speaking) -> None:
    """The record keeps the userid of then; over two renames, and back again, it is told whose it is now."""
    with store.begin() as tx:
        tx.audit.add("ling", "approval.approved", "approval 4")
        for then, now in (("ling", "ling.z"), ("ling.z", "zhao.ling"), ("tao", "tao2"), ("tao2", "tao")):
            tx.members.renamed(then, now)
            tx.audit.add("wecom", "member.renamed", now, before=then)
        tx.audit.add("tao", "approval.approved", "approval 5")
    with store.begin() as tx:
        (reply,) = audit.audit(speaking(tx, "mei"))
        assert isinstance(reply, Text)
        assert isinstance(reply.words, Words)
        told = reply.words.text("en").split("\n")
        assert "凌 (zhao.ling, then ling): said yes to approval 4" in told[0]
        assert "陈涛: said yes to approval 5" in told[-2]
        assert "凌（zhao.ling，当时为 ling）" in reply.words.text("zh")


def test_every_value_of_a_command_has_a_name_in_both_languages(store: Store, speaking: Speaking) -> None:
    """`help backup` reads `备份 〈邮箱〉`, not `备份 SOURCE`."""
    with store.begin() as tx:
        ctx = speaking(tx, "mei")
        ctx.language = "zh"
        for command in handlers.router().commands:
            for pattern in command.patterns["zh"]:
                shown = help.usage(ctx, pattern)
                names = [each.name.upper() for each in pattern.elements if isinstance(each, Field) and not each.choices]
                assert not [each for each in names if each in shown], shown


def test_the_preview_fits_a_phone() -> None:
    """Its rows are cut at 26 characters, their names at 5: the largest of mailboxes, in both languages."""
    plan = {
        "mails": 499_999, "folders": 1_200, "size_bytes": 999_900_000_000, "mails_there": 1, "oldest": "2001-02-03",
        "target_bytes": 1_099_400_000_000, "quota_bytes": 1_099_500_000_000,
    }  # fmt: skip
    data = {"plan": plan, "source_address": "ahing@corp.test", "target_address": "support@corp.test"}
    job = Job(id=1234, asked_by="mei", data=data, params={})
    for language in LANGUAGES:
        for name, value in preview_card(job, 2).rows:
            shown = value.text(language) if isinstance(value, Words) else str(value)
            assert len(shown) <= SHOWN_CHARACTERS["horizontal_content_list.value"], shown
            assert (
                len(name.text(language) if isinstance(name, Words) else name)
                <= SHOWN_CHARACTERS["horizontal_content_list.keyname"]
            )


def test_days_in_the_bin_are_the_consoles(store: Store, speaking: Speaking) -> None:
    """Entered by hand, from 00:00: thirty days are not thirty-one; a date for what is not there says that it is new."""
    with store.begin() as tx:
        ctx = speaking(tx, "mei")
        today = ctx.now.date()
        recycle_bin.bin_add(ctx, "old@", today)
        (shown, *_) = recycle_bin.recycle_bin(ctx, "old@")
        assert isinstance(shown, Text)
        assert "I count 30 days." in str(shown.words)
        (reply,) = recycle_bin.bin_date(ctx, "slip@", today + timedelta(days=9))
        assert isinstance(reply, Text)
        assert "slip@corp.test was not in my book" in str(reply.words)
        (reply,) = recycle_bin.bin_date(ctx, "slip@", today + timedelta(days=10))
        assert isinstance(reply, Text)
        assert "was not in my book" not in str(reply.words)
