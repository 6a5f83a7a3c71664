"""`domain corp.com`: what people read."""

from __future__ import annotations

import pytest

from bot.dns.lookup import Delegation, NameServer, Reading
from bot.dns.records import judge, standard
from bot.dns.wire import Answer, Outcome
from bot.errors import UserError
from bot.words import lines
from handlers.domain import domain


def reading_of(
    name: str = "corp.com", zone: str = "corp.com", hosts: tuple[str, ...] = ("dns9.hichina.com",), **values: list[str]
) -> Reading:
    """A reading in which the zone's own server said these."""
    servers = tuple(NameServer(each, ("127.0.0.1",)) for each in hosts)
    reading = Reading(Delegation(name, zone, Outcome.FOUND, servers, "com"), probe=f"probe.{name}")
    asked = {"mx": (name, "MX"), "txt": (name, "TXT"), "dmarc": (f"_dmarc.{name}", "TXT")}
    said = {
        question: Answer(Outcome.FOUND, tuple(values[key]), 600) if key in values else Answer(Outcome.NO_DATA, ttl=600)
        for key, question in asked.items()
    }
    reading.own = dict.fromkeys(hosts, said)
    return reading


RIGHT = {
    "mx": ["5 mxbiz1.qq.com", "10 mxbiz2.qq.com"],
    "txt": ["v=spf1 include:spf.mail.qq.com ~all"],
    "dmarc": ["v=DMARC1; p=none"],
}


def told(reading: Reading, language: str = "en") -> str:
    """The whole answer."""
    findings = judge(reading, standard(), lambda name: ["v=spf1 ~all"])
    return lines(*domain.told(reading, findings)).text(language)  # type: ignore[arg-type]


def test_a_right_domain_in_both_languages() -> None:
    """Who serves it, what works, and no trap where there is none."""
    english = told(reading_of(**RIGHT))
    assert english.startswith(
        "corp.com: DNS at Aliyun DNS (dns9.hichina.com)\nWhat works:\n✓ MX: mail for corp.com goes"
    )
    assert "Nothing here keeps mail for corp.com from arriving." in english
    assert "7 days" not in english
    assert "没有发现妨碍 corp.com 收信的问题。" in told(reading_of(**RIGHT), "zh")


def test_what_breaks_comes_first_and_the_trap_is_named() -> None:
    """A domain whose mail goes elsewhere: the other tenant's mail would be lost."""
    english = told(reading_of(mx=["10 mail.old.example"]))
    assert english.index("What breaks mail:\n✗ Mail goes to another service: mail.old.example.") < english.index(
        "Advice:"
    )
    assert "7 days later that company's mail on corp.com is deleted" in english
    assert "7 天后" in told(reading_of(mx=["10 mail.old.example"]), "zh")


@pytest.mark.parametrize(
    ("hosts", "shown"),
    [
        (("ns01.domaincontrol.com",), "DNS at GoDaddy"),
        (("vip1.alidns.com", "vip2.alidns.com"), "DNS at Aliyun DNS"),
        (("f1g1ns1.dnspod.net",), "DNS at DNSPod"),
        (("ada.ns.cloudflare.com",), "DNS at Cloudflare"),
        (("ns1.hosting.test",), "DNS at another provider"),
        (("dns9.hichina.com", "ns1.hosting.test"), "several DNS providers at once"),
    ],
)
def test_the_provider_comes_from_the_name_servers(hosts: tuple[str, ...], shown: str) -> None:
    """Where the domain was bought does not matter."""
    assert shown in told(reading_of(hosts=hosts, **RIGHT))


def test_a_subdomain_says_where_its_records_are_made() -> None:
    """And an internationalised one is written as people write it."""
    reading = reading_of("mail.xn--fsqu00a.com", "xn--fsqu00a.com", **RIGHT)
    assert "It is part of the zone 例子.com: the records are made there." in told(reading)


def test_what_is_no_domain_is_refused_at_once() -> None:
    """Nobody is asked."""
    with pytest.raises(UserError, match=r"domain\.bad_name"):
        domain.meant("corp")
