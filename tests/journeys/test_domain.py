"""A mail domain, from the question to the first mail, in both languages."""

from __future__ import annotations

from bot.sandbox.player import text_of
from tests.journeys.conftest import Bot


def test_what_dns_says(bot: Bot) -> None:
    """A right domain, one whose mail goes elsewhere, one that does not exist; others than auditors are refused."""
    bot.say("mei", "domain corp.test")
    told = text_of(bot.hear("mei", "DNS at Aliyun DNS"))
    assert "✓ MX: mail for corp.test goes to" in told
    assert "Nothing here keeps mail for corp.test from arriving." in told

    bot.say("mei", "域名 newcorp.test")
    told = text_of(bot.hear("mei", "newcorp.test：DNS 在阿里云解析 DNS"))
    assert "✗ 邮件投递到别的服务：mail.oldhost.test。" in told
    assert "7 天后" in told

    bot.say("mei", "domain nobody.test")
    assert "nobody.test does not exist" in text_of(bot.hear("mei", "nobody.test: I do not know who serves its DNS."))
    bot.say("mei", "域名 corp")
    bot.hear("mei", "“corp”不是域名")
    bot.say("calvin", "domain corp.test")
    bot.hear("calvin", "Only admins and auditors can see that")
