"""
The zones of the simulated internet, and what resolvers remember of them.

Each zone lies at a provider; its records are what the provider's panel and API change. A resolver keeps an answer as
long as its TTL says, by the sandbox clock, so a change is seen late as it is outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

NEGATIVE_SECONDS = 600  # how long "there is none" is kept
ADDRESS = "127.0.0.1"  # of every name server
CHAIN_MAX = 8
MX = dns.rdatatype.MX
RESOLVERS = 3
NAME_SERVERS = {
    "aliyun": ("dns9.hichina.com", "dns10.hichina.com"),
    "godaddy": ("ns01.domaincontrol.com", "ns02.domaincontrol.com"),
    "dnspod": ("f1g1ns1.dnspod.net", "f1g1ns2.dnspod.net"),
    "cloudflare": ("ada.ns.cloudflare.com", "bob.ns.cloudflare.com"),
    "other": ("ns1.hosting.test", "ns2.hosting.test"),
}


@dataclass
class ZoneRecord:
    """A record as a provider keeps it; `host` is `@` for the zone itself."""

    id: str
    type: str
    host: str
    value: str
    ttl: int = 600
    priority: int | None = None

    def shown(self) -> dict[str, Any]:
        """For the page."""
        return {
            "id": self.id, "type": self.type, "host": self.host, "value": self.value, "ttl": self.ttl,
            "priority": self.priority,
        }  # fmt: skip


@dataclass
class Zone:
    """A domain at a provider."""

    name: str
    provider: str
    records: list[ZoneRecord] = field(default_factory=list)
    serial: int = 1

    @property
    def name_servers(self) -> tuple[str, ...]:
        """The servers its provider gives it."""
        return NAME_SERVERS[self.provider]


@dataclass(frozen=True)
class Result:
    """What a question is answered with."""

    rcode: dns.rcode.Rcode
    answer: tuple[dns.rrset.RRset, ...]
    authority: tuple[dns.rrset.RRset, ...]

    def seconds(self) -> int:
        """How long it may be kept."""
        return min([each.ttl for each in (*self.answer, *self.authority)], default=NEGATIVE_SECONDS)


class DnsWorld:
    """Every zone; the sandbox's event loop alone touches it. `changed` is told when a record is."""

    def __init__(self, now: Callable[[], datetime], changed: Callable[[], None]) -> None:
        self.now = now
        self._changed = changed
        self.zones: dict[str, Zone] = {}
        self.fixed: dict[str, Zone] = {}  # the rest of the internet: shown to nobody, changed by nobody
        self._next = 1
        self.resolvers = [Resolver(self) for _ in range(RESOLVERS)]
        self.build()

    def build(self) -> None:
        """As at the start."""
        self.zones, self.fixed = {}, {}
        for each in self.resolvers:
            each.forget()
        for provider, hosts in NAME_SERVERS.items():
            for host in hosts:
                parent = host.partition(".")[2]
                zone = self.fixed.setdefault(parent, Zone(parent, provider))
                self.put(zone, "A", host.removesuffix(f".{parent}"), ADDRESS, ttl=3600)
        qq = self.fixed["qq.com"] = Zone("qq.com", "other")
        self.put(qq, "TXT", "spf.mail", "v=spf1 ip4:203.205.128.0/17 ip4:113.96.0.0/12 ~all", ttl=3600)
        for host in ("mxbiz1", "mxbiz2"):
            self.put(qq, "A", host, "203.205.219.57", ttl=3600)
        corp = self.zone("corp.test", "aliyun")
        self.put(corp, "MX", "@", "mxbiz1.qq.com", priority=5)
        self.put(corp, "MX", "@", "mxbiz2.qq.com", priority=10)
        self.put(corp, "TXT", "@", "v=spf1 include:spf.mail.qq.com ~all")
        self.put(corp, "TXT", "_dmarc", "v=DMARC1; p=none")
        self.put(corp, "A", "www", "192.0.2.10")
        for name, provider, old in (
            ("newcorp.test", "aliyun", "mail.oldhost.test"),
            ("shop.test", "godaddy", "smtp.secureserver.net"),
            ("studio.test", "dnspod", "mx.studio-old.test"),
            ("club.test", "cloudflare", "route1.mx.cloudflare.net"),
        ):
            zone = self.zone(name, provider)
            self.put(zone, "MX", "@", old, priority=10, ttl=3600 if provider == "godaddy" else 600)
            self.put(zone, "TXT", "@", "v=spf1 a mx ~all")
            self.put(zone, "TXT", "@", "site-verification=4711")
            self.put(zone, "A", "@", "192.0.2.20")
            self.put(zone, "A", "www", "192.0.2.20")

    def ready_for_mail(self, domain: str) -> bool:
        """What the console looks at: Exmail's MX records, and no other."""
        found = self.resolve(domain.lower(), "MX").answer
        hosts = {str(record.exchange).rstrip(".").lower() for each in found for record in each if record.rdtype == MX}
        return bool(hosts) and hosts <= {"mxbiz1.qq.com", "mxbiz2.qq.com"}

    # --- changing

    def zone(self, name: str, provider: str) -> Zone:
        """A new zone, or the one there is."""
        return self.zones.setdefault(name, Zone(name, provider))

    def put(
        self, zone: Zone, kind: str, host: str, value: str, *, priority: int | None = None, ttl: int = 600
    ) -> ZoneRecord:
        """A new record, whatever is there."""
        record = ZoneRecord(f"{900_000_000_000 + self._next}", kind, host, value, ttl, priority)
        self._next += 1
        zone.records.append(record)
        self.touched(zone)
        return record

    def drop(self, zone: Zone, record: ZoneRecord) -> None:
        """A record less."""
        zone.records.remove(record)
        self.touched(zone)

    def touched(self, zone: Zone) -> None:
        """A zone changed."""
        zone.serial += 1
        self._changed()

    # --- answering

    def all_zones(self) -> Iterator[Zone]:
        """Zones of people, then the rest."""
        yield from self.zones.values()
        yield from self.fixed.values()

    def zone_for(self, name: str) -> Zone | None:
        """The closest zone above or at a name."""
        found = [each for each in self.all_zones() if name == each.name or name.endswith(f".{each.name}")]
        return max(found, key=lambda each: len(each.name), default=None)

    def resolve(self, name: str, kind: str) -> Result:
        """What the zone's own server says, CNAMEs followed."""
        answer: list[dns.rrset.RRset] = []
        at = name
        for _ in range(CHAIN_MAX):
            zone = self.zone_for(at)
            if zone is None:  # a top level, or a name that nobody has
                return self.outside(at, kind, tuple(answer))
            found = list(self.sets(zone, at, kind))
            if found:
                return Result(dns.rcode.NOERROR, (*answer, *found), ())
            links = list(self.sets(zone, at, "CNAME"))
            if not links:
                known = at == zone.name or any(self.sets(zone, at, None)) or self.lies_above(zone, at)
                code = dns.rcode.NOERROR if known or answer else dns.rcode.NXDOMAIN
                return Result(code, tuple(answer), (self.soa(zone.name, zone.serial),))
            answer += links
            at = str(links[0][0].target).lower().rstrip(".")
        return Result(dns.rcode.SERVFAIL, (), ())

    def outside(self, name: str, kind: str, answer: tuple[dns.rrset.RRset, ...]) -> Result:
        """The root and the top levels: they exist when a zone lies below."""
        top = name.rpartition(".")[2]
        tops = {each.name.rpartition(".")[2] for each in self.all_zones()}
        if name in tops or not name:
            soa = self.soa(name, 1)
            if kind == "SOA":
                return Result(dns.rcode.NOERROR, (soa,), ())
            if kind == "NS":
                servers = [f"{each}." for each in NAME_SERVERS["other"]]
                return Result(dns.rcode.NOERROR, (rrset(name, 3600, "NS", servers),), ())
            return Result(dns.rcode.NOERROR, answer, (soa,))
        return Result(dns.rcode.NXDOMAIN, answer, (self.soa(top if top in tops else "", 1),))

    def soa(self, name: str, serial: int) -> dns.rrset.RRset:
        """A zone's SOA."""
        return rrset(
            name, NEGATIVE_SECONDS, "SOA", [f"ns1.hosting.test. admin.hosting.test. {serial} 3600 600 86400 600"]
        )

    def lies_above(self, zone: Zone, name: str) -> bool:
        """Whether a name has no records, but names below it have."""
        return any(f"{each.host}.{zone.name}".endswith(f".{name}") for each in zone.records)

    def sets(self, zone: Zone, name: str, kind: str | None) -> Iterator[dns.rrset.RRset]:
        """The record sets of a name, of one type or all; a `*` stands in for names that nobody made."""
        if name == zone.name and kind in ("NS", None):
            yield rrset(name, 3600, "NS", [f"{each}." for each in zone.name_servers])
        if name == zone.name and kind in ("SOA", None):
            yield self.soa(name, zone.serial)
        host = "@" if name == zone.name else name.removesuffix(f".{zone.name}")
        held = [each for each in zone.records if each.host.lower() == host]
        if not held and host != "@":
            held = [each for each in zone.records if each.host == "*"]
        for each_kind in dict.fromkeys(each.type for each in held):
            if kind in (each_kind, None):
                same = [each for each in held if each.type == each_kind]
                yield rrset(name, min(each.ttl for each in same), each_kind, [data_of(each) for each in same])


def rrset(name: str, ttl: int, kind: str, values: list[str]) -> dns.rrset.RRset:
    """A set of records."""
    return dns.rrset.from_text_list(f"{name}." if name else ".", ttl, "IN", kind, values)


def data_of(record: ZoneRecord) -> str:
    """A record's data as a zone file has it."""
    if record.type == "MX":
        return f"{record.priority or 0} {record.value.rstrip('.')}."
    if record.type == "CNAME":
        return f"{record.value.rstrip('.')}."
    if record.type == "TXT":
        raw = record.value.encode()
        parts = [raw[at : at + 255] for at in range(0, len(raw), 255)] or [b""]
        return " ".join('"' + "".join(escaped(byte) for byte in part) + '"' for part in parts)
    return record.value


def escaped(byte: int) -> str:
    """A byte inside the quotes of a zone file."""
    if byte in (0x22, 0x5C):
        return f"\\{chr(byte)}"
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03}"


class Resolver:
    """A resolver that remembers, by the sandbox clock."""

    def __init__(self, world: DnsWorld) -> None:
        self._world = world
        self._kept: dict[tuple[str, str], tuple[Result, datetime]] = {}

    def forget(self) -> None:
        """An empty memory."""
        self._kept.clear()

    def resolve(self, name: str, kind: str) -> Result:
        """What it remembers, with the time that is left, or what the zone's own server says."""
        now = self._world.now()
        kept, until = self._kept.get((name, kind), (None, now))
        if kept is None or until <= now:
            kept = self._world.resolve(name, kind)
            until = now + timedelta(seconds=kept.seconds())
            self._kept[name, kind] = kept, until
        left = max(1, int((until - now).total_seconds()))
        return Result(kept.rcode, aged(kept.answer, left), aged(kept.authority, left))


def aged(sets: tuple[dns.rrset.RRset, ...], left: int) -> tuple[dns.rrset.RRset, ...]:
    """Sets with no more time than is left."""
    out = []
    for each in sets:
        out.append(dns.rrset.from_rdata_list(each.name, min(each.ttl, left), list(each)))
    return tuple(out)
