"""Everybody is answered in the language he types in, and told of in the language he last used."""

from __future__ import annotations

from pathlib import Path

from bot.sandbox.player import text_of
from bot.sandbox.run import running
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, check, member


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
            ("7", "I do not know `7`."),
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
