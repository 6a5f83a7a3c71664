"""WeCom refuses: admins hear what to mend, members hear that the admins know, and what heals by itself does."""

from __future__ import annotations

from bot.sandbox.player import text_of
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import answer, read_all

LOOK_UP, OPTIONS = "user/get_userid_by_email", "exmail/useroption/get"


def test_while_wecom_refuses(bot: Bot) -> None:
    """The address to allow is shown to an admin, never to a member."""
    bot.trouble("ip_not_trusted", path=LOOK_UP)
    heard = answer(bot, "mei", "mailbox ahing", "60020")
    assert "203.0.113.9" in heard
    assert "企业可信IP" in heard
    read_all(bot, "mei")
    heard = answer(bot, "calvin", "my mailbox", "the admins")
    assert "and they know" in heard
    assert "203.0.113.9" not in heard
    assert "203.0.113.9" in text_of(bot.hear("mei", "I could not answer 卡尔文"))
    bot.trouble("ip_not_trusted", False)

    bot.trouble("mail_not_allowed")
    heard = answer(bot, "mei", "mailbox ahing", "ahing@corp.test is the mailbox")
    assert "I could not read IMAP and unread mail: The secret may not do this (48002)." in heard
    assert "可调用应用" in heard
    member = answer(bot, "ahing", "my mailbox", "ahing@corp.test")
    assert "I could not read IMAP and unread mail just now." in member
    assert "48002" not in member
    assert "I may not see everything: The secret may not do this (48002)." in answer(
        bot, "mei", "mailbox sales@", "sales@"
    )
    bot.trouble("mail_not_allowed", False)

    bot.trouble("tokens_expired")
    assert "IMAP is switched" in answer(bot, "mei", "mailbox ahing", "ahing@corp.test is the mailbox")

    bot.trouble("rate_limited", path=LOOK_UP, times=1)
    assert "I will keep trying" in answer(bot, "mei", "mailbox ahing", "busy or cannot be reached")
    bot.advance(70)
    bot.hear("mei", "ahing@corp.test is the mailbox")
