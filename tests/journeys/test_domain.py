"""A mail domain, from the question to the first mail, in both languages."""

from __future__ import annotations

import re

from bot.sandbox.player import text_of
from tests.journeys.conftest import Bot


def test_what_dns_says(bot: Bot) -> None:
    """A right domain, one whose mail goes elsewhere, one that does not exist; others than auditors are refused."""
    bot.say("mei", "domain corp.test")
    told = text_of(bot.hear("mei", "DNS at Aliyun DNS"))
    assert "✓ MX: mail for corp.test goes to" in told
    assert "Nothing here keeps mail for corp.test from arriving." in told

    bot.say("mei", "域名 newcorp.test")
    told = text_of(bot.hear("mei", "newcorp.test：DNS 在 阿里云解析 DNS"))
    assert "✗ 邮件投递到别的服务：mail.oldhost.test。" in told
    assert "7 天后" in told

    bot.say("mei", "domain nobody.test")
    assert "nobody.test does not exist" in text_of(bot.hear("mei", "nobody.test: I do not know who serves its DNS."))
    bot.say("mei", "域名 corp")
    bot.hear("mei", "“corp”不是域名")
    bot.say("calvin", "domain corp.test")
    bot.hear("calvin", "Only admins and auditors can see that")


def test_written_at_dnspod_and_put_back(bot: Bot) -> None:
    """In Chinese: a provider that wants a pause, a second press that does nothing, and the way back."""

    def zone() -> set[tuple[str, str, str, int | None]]:
        found = next(each for each in bot.state()["zones"] if each["name"] == "studio.test")
        return {(each["type"], each["host"], each["value"], each["priority"]) for each in found["records"]}

    def hand_over_key() -> None:
        bot.hear("mei", "/pages/")
        key, secret = bot.state()["dns_accounts"]["dnspod"]
        assert "密钥已收到" in bot.fill("mei", id=key, secret=secret)

    before = zone()
    bot.say("mei", "域名 配置 studio.test")
    number = re.search(r"任务 (\d+)", text_of(bot.hear("mei", "+ MX @ mxbiz1.qq.com (5)")))
    assert number is not None
    bot.say("mei", f"域名 写入 {number[1]}")
    hand_over_key()
    bot.say("mei", f"域名 写入 {number[1]}")
    bot.hear("mei", "不在等待此操作")
    bot.hear("mei", "已写入 腾讯云 DNSPod 并核对")
    assert {each[2] for each in zone() if each[0] == "MX"} == {"mxbiz1.qq.com", "mxbiz2.qq.com"}
    bot.say("mei", f"域名 撤销 {number[1]}")
    bot.hear("mei", f"这会恢复任务 {number[1]} 所做的更改")
    bot.press("mei", "domain_write:")
    hand_over_key()
    bot.hear("mei", "的记录已恢复原状")
    assert zone() == before
