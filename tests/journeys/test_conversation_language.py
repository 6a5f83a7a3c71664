"""Everybody is answered in the language he types in, and told of in the language he last used."""

from __future__ import annotations

from pathlib import Path

from bot.sandbox.player import text_of
from bot.sandbox.run import running
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, check, last_bytes, member


def test_the_language_is_taken_from_what_is_typed(tmp_path: Path) -> None:
    """Of the command, not of the names in it; remembered over a restart."""
    with running(tmp_path / "data") as sandbox:
        bot = Bot(sandbox)
        bot.wait_ready()
        check(
            bot,
            "mei",
            ("mailbox 卡尔文", "is the mailbox of 卡尔文"),  # an English line with a Chinese name
            ("邮箱 calvin", "的邮箱。"),
            ("42", "我不明白“42”。"),  # nothing to tell the language by
            ("hello there", "`hello` is all I need"),
            ("你好", "您好。我负责管理企业邮箱"),
            ("language en", "From now on I speak English with you."),
            ("7", "I do not understand `7`."),
            ("语言 中文", "从现在起我用中文和您交流。"),
            ("language zh", "从现在起我用中文和您交流。"),
            ("7", "我不明白“7”。"),
            ("language klingon", "klingon"),
        )
        answer(bot, "mei", "语言 中文")
        bot.close()
    with running(tmp_path / "data") as sandbox:
        bot = Bot(sandbox)
        bot.wait_ready()
        again = member(bot, "mei")
        assert again is not None
        assert again.language == "zh"
        assert "我不明白“7”。" in answer(bot, "mei", "7")
        # an answer to a question is no change of language, whatever letters it has
        bot.say("mei", "备份 calvin 到 support@")
        bot.hear("mei", "原因")
        bot.say("mei", "moving on")
        heard = text_of(bot.hear("mei", "support@corp.test"))
        assert "正在" in heard or "任务" in heard, heard
        bot.close()


def test_others_are_told_in_their_language(bot: Bot) -> None:
    """An English admin asks, a Chinese member reads it in Chinese, and neither sees the other's."""
    answer(bot, "ahing", "我是谁")
    answer(bot, "mei", "whoami")
    bot.say("mei", "backup ahing to support@ because he leaves")
    bot.hear("mei", "I asked 阿兴 for access")
    asked = text_of(bot.hear("ahing", "/pages/"))
    assert "he leaves" in asked  # the reason stays as it was typed
    assert any("\u4e00" <= each <= "\u9fff" for each in asked.replace("阿兴", "").replace("美玲", ""))
    assert "wants" not in asked
    assert "asks" not in asked


def test_an_admin_has_the_set_up_looked_at(bot: Bot) -> None:
    """In either language: only what is not fine, with its remedy; a page that proves the trusted domain; a file."""
    assert "Only an admin can do that." in answer(bot, "ahing", "doctor")
    assert "Note: BOT_SUPER_ADMINS is empty" in answer(bot, "mei", "doctor", "to be looked at")
    heard = text_of(bot.hear("mei", "/pages/"))
    assert "Open this page once, here in WeCom" in heard
    _, _, text = bot.open("mei")
    assert "the trusted domain is right" in text
    assert "已使用" in bot.open("mei")[2] or "used" in bot.open("mei")[2]

    assert bot.console("verify_callbacks") == {"app": None, "contacts": None}
    bot.trouble("mail_not_allowed")
    assert "正在检查" in answer(bot, "mei", "体检 报告")
    heard = text_of(bot.hear("mei", "项有错误"))
    assert heard.startswith("1 项有错误，3 项需要留意，")
    assert "错误：应用无权调用邮件接口（48002）。请添加：「协作 > 邮件 > 可调用应用」。" in heard
    bot.hear("mei", "doctor.txt")
    _, report = last_bytes(bot, "mei")
    assert b"page_opened" in report
    assert b"WECOM_APP_SECRET: set" in report
    assert bot.sandbox.organisation.app_secret.encode() not in report
