"""Who serves a zone, by the names of its servers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from bot.dns.names import is_within


class Provider(StrEnum):
    """A DNS provider whose forms, and perhaps whose API, we know."""

    GODADDY = "godaddy"
    ALIYUN = "aliyun"
    DNSPOD = "dnspod"
    CLOUDFLARE = "cloudflare"
    OTHER = "other"


WITH_API = frozenset({Provider.GODADDY, Provider.ALIYUN, Provider.DNSPOD})

SUFFIXES: dict[str, Provider] = {
    "domaincontrol.com": Provider.GODADDY,
    "hichina.com": Provider.ALIYUN,
    "alidns.com": Provider.ALIYUN,
    "dnspod.net": Provider.DNSPOD,
    **{f"dnsv{number}.com": Provider.DNSPOD for number in range(1, 6)},
    "ns.cloudflare.com": Provider.CLOUDFLARE,
}


def provider_of(host: str) -> Provider:
    """Whose name server this is."""
    return next((provider for suffix, provider in SUFFIXES.items() if is_within(host, suffix)), Provider.OTHER)


def provider_of_all(hosts: Iterable[str]) -> Provider | None:
    """Whose they all are; None when several providers serve the zone, or nobody."""
    found = {provider_of(each) for each in hosts}
    return found.pop() if len(found) == 1 else None
