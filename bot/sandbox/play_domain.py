"""The play `domain`: newcorp.test from a wrong MX to its first mail, through Aliyun; then shop.test, by hand."""

from __future__ import annotations

import re
from typing import Any

from bot.sandbox.player import Player, must, text_of

NEW, SHOP = "newcorp.test", "shop.test"
RIGHT = {("MX", "@", "mxbiz1.qq.com", 5), ("MX", "@", "mxbiz2.qq.com", 10)}
LOOK_AGAIN_SECONDS = 61


def domain(player: Player) -> None:
    """Read, planned, written, watched, verified, proved; then a refused key, and every field by hand."""
    print("--- what is wrong with newcorp.test ---")
    player.say("mei", f"domain {NEW}")
    told = text_of(player.hear("mei", "DNS at Aliyun DNS"))
    must("✗ Mail goes to another service: mail.oldhost.test." in told and "7 days later" in told, told)
    before = records(player, NEW)

    print("\n--- planned, and written with a key of the account at Aliyun ---")
    player.say("mei", f"domain setup {NEW}")
    shown = text_of(player.hear("mei", "+ MX @ mxbiz1.qq.com (5)"))
    must("− MX @ mail.oldhost.test (10)" in shown and "include:spf.mail.qq.com" in shown, shown)
    must(records(player, NEW) == before, "something was written before anybody agreed")
    player.press("mei", "domain_write:")
    player.hear("mei", "/pages/")
    key, secret = player.state()["dns_accounts"]["aliyun"]
    player.fill("mei", id=key, secret=secret)
    player.hear("mei", "are written at Aliyun DNS and read back")
    now = records(player, NEW)
    must({each for each in now if each[0] == "MX"} == RIGHT, str(now))
    must(len([each for each in now if each[2].startswith("v=spf1")]) == 1, "SPF was doubled")
    must(others(now) == others(before), "another record was touched")

    print("\n--- watched: its own servers first, the world when the old TTL is over ---")
    player.hear("mei", "its own name servers have the new records")
    player.advance(11 * 60)
    player.hear("mei", f"{NEW}: green")

    print("\n--- a public mailbox for the proof takes a place: only after a yes ---")
    asked = text_of(player.hear("mei", f"so I would make probe@{NEW}"))
    must("a free plan has places for" in asked, asked)
    must(
        not any(each["address"] == f"probe@{NEW}" for each in player.state()["public_mailboxes"]), "it was made unasked"
    )
    player.say("mei", "confirm " + number_of(asked, r"confirm (\d+)"))

    print("\n--- the console verifies, which is seen by what WeCom then allows ---")
    step = number_of(text_of(player.hear("mei", "Have the console verify newcorp.test")), r"Console step (\d+)")
    player.advance(LOOK_AGAIN_SECONDS)
    player.say("mei", f"done {step}")
    player.hear("mei", f"WeCom does not know {NEW} as yours yet")
    player.console("verify_domain", domain=NEW)
    player.advance(LOOK_AGAIN_SECONDS)
    player.say("mei", f"done {step}")
    player.hear("mei", "Now the proof")
    player.advance(90)
    player.console("receive_mail", address=f"probe@{NEW}", text="hello", subject="first mail")
    told = text_of(player.hear("mei", f"{NEW} is connected"))
    must(re.search(r"arrived, [12] min \d+ s after", told) is not None, told)

    print("\n--- shop.test at GoDaddy, in Chinese: the key is refused, every field comes by hand ---")
    player.say("mei", f"域名 配置 {SHOP}")
    player.hear("mei", "~ TXT @ v=spf1 a mx include:spf.mail.qq.com ~all")
    player.press("mei", "domain_write:")
    player.hear("mei", "/pages/")
    key, secret = player.state()["dns_accounts"]["godaddy"]
    player.fill("mei", id=key, secret=secret)
    player.hear("mei", "GoDaddy不对此账号开放 API")
    player.hear("mei", "My Products（我的产品）")
    typed = []
    for label, value in (
        ("Type（类型）MX · Name（名称）@ · Priority（优先级）5", "mxbiz1.qq.com"),
        ("Type（类型）MX · Name（名称）@ · Priority（优先级）10", "mxbiz2.qq.com"),
        ("Type（类型）TXT · Name（名称）@", "v=spf1 a mx include:spf.mail.qq.com ~all"),
        ("Type（类型）TXT · Name（名称）_dmarc", "v=DMARC1; p=none"),
    ):
        fields = text_of(player.hear("mei", label))
        must(text_of(player.hear("mei", value)) == value, f"the value of {fields} did not come alone")
        typed.append((fields, value))
    enter_by_hand(player, typed)
    player.advance(LOOK_AGAIN_SECONDS)
    player.hear("mei", "它自己的域名服务器已更新")
    player.advance(3601)
    player.hear("mei", f"{SHOP}：全部正确")
    must({each for each in records(player, SHOP) if each[0] == "MX"} == RIGHT, "shop.test is not right")
    print("  [checked] both domains are right in DNS, nothing else was touched, the first mail arrived")


def enter_by_hand(player: Player, typed: list[tuple[str, str]]) -> None:
    """What a person does in the provider's panel, by the fields as they were told."""
    for each in zone(player, SHOP)["records"]:
        if each["type"] == "MX" or each["value"].startswith("v=spf1"):
            player.console("dns_remove", domain=SHOP, record=each["id"])
    for fields, value in typed:
        host = number_of(fields, r"Name（名称）(\S+)")
        kind, priority = number_of(fields, r"Type（类型）(\S+)"), re.search(r"Priority（优先级）(\d+)", fields)
        player.console(
            "dns_add", domain=SHOP, record_type=kind, host=host, text=value,
            priority=int(priority[1]) if priority else None,
        )  # fmt: skip


def zone(player: Player, name: str) -> Any:
    """A zone as its provider's panel shows it."""
    return next(each for each in player.state()["zones"] if each["name"] == name)


def records(player: Player, name: str) -> set[tuple[str, str, str, int | None]]:
    """The records of a zone."""
    return {(each["type"], each["host"], each["value"], each["priority"]) for each in zone(player, name)["records"]}


def others(found: set[tuple[str, str, str, int | None]]) -> set[tuple[str, str, str, int | None]]:
    """What has nothing to do with mail."""
    return {each for each in found if each[0] != "MX" and not each[2].lower().startswith(("v=spf1", "v=dmarc1"))}


def number_of(text: str, pattern: str) -> str:
    """What a pattern finds in a text."""
    found = re.search(pattern, text)
    must(found is not None, text)
    assert found is not None  # noqa: S101 - must saw to it
    return found[1]
