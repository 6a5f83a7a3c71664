"""The records mail needs, as data, and how what a domain has is judged. No I/O: a reading comes in, findings go out."""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from bot.dns import spf
from bot.dns.lookup import Question, Reading
from bot.dns.names import full_name, host_in, is_within
from bot.dns.wire import Answer, Outcome

TXT_PART_BYTES_MAX = 255  # of one string of a TXT record (RFC 1035, 3.3.14)
ED25519_BYTES = 32
NULL_MX = "."  # the domain takes no mail (RFC 7505)
SELECTOR = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True)
class Record:
    """A record as a provider's form shows it: `host` is `@` for the zone itself; no dot ends a value."""

    type: str
    host: str
    value: str
    priority: int | None = None
    ttl: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The set it belongs to."""
        return self.type, self.host

    def same(self, other: Record) -> bool:
        """Whether they say the same, whatever their TTL."""
        return (self.key, self.value, self.priority) == (other.key, other.value, other.priority)

    def as_json(self) -> dict[str, Any]:
        """For a row."""
        return {
            "type": self.type, "host": self.host, "value": self.value, "priority": self.priority, "ttl": self.ttl,
        }  # fmt: skip

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Record:
        """As it was."""
        return Record(kept["type"], kept["host"], kept["value"], kept["priority"], kept["ttl"])


@dataclass(frozen=True)
class Mx:
    """Where mail goes."""

    priority: int
    host: str

    @staticmethod
    def parse(text: str) -> Mx:
        """`5 mxbiz1.qq.com`."""
        priority, _, host = text.partition(" ")
        return Mx(int(priority), host)


@dataclass(frozen=True)
class Wanted:
    """What a domain should have; `dkim` is the host below the domain, `x._domainkey`, with its value."""

    mx: tuple[Mx, ...]
    spf: str
    spf_also: tuple[str, ...] = ()
    spf_end: str = "~all"
    dmarc: str = "v=DMARC1; p=none"
    ttl: int = 600
    dkim: tuple[str, str] | None = None

    def with_changes(self, changes: Mapping[str, Any]) -> Wanted:
        """With what an admin has told instead: `mx`, `spf`, `dkim`, as JSON keeps them."""
        return Wanted(
            mx=tuple(Mx(int(each[0]), str(each[1])) for each in changes["mx"]) if changes.get("mx") else self.mx,
            spf=str(changes.get("spf") or self.spf),
            spf_also=() if changes.get("spf") else self.spf_also,
            spf_end=self.spf_end,
            dmarc=str(changes.get("dmarc") or self.dmarc),
            ttl=self.ttl,
            dkim=(str(changes["dkim"][0]), str(changes["dkim"][1])) if changes.get("dkim") else self.dkim,
        )


@cache
def standard() -> Wanted:
    """What Exmail's console shows everybody, as far as anybody has seen."""
    text = (resources.files("bot") / "data" / "mail_records.toml").read_text("utf-8")
    kept = tomllib.loads(text)
    mx = tuple(Mx(each["priority"], each["host"]) for each in kept["mx"])
    return Wanted(mx, kept["spf"], tuple(kept["spf_also"]), kept["spf_end"], kept["dmarc"], kept["ttl"])


# --- DKIM as it is pasted --------------------------------------------------------------------------------------------


class BadDkim(ValueError):
    """What was pasted is no DKIM record; the text is the last part of a catalogue key."""


def pasted_dkim(domain: str, host: str, value: str) -> tuple[str, str]:
    """
    Host and value as the console shows them: a whole name is cut, wrapped lines are joined, quotes taken off.

    Raises BadDkim: not a DKIM host, not a DKIM value, no key, a key that is none.
    """
    host = host.strip().strip("\"'“”").rstrip(".").lower()
    if is_within(host, domain) and host != domain:
        host = host_in(host, domain)
    selector, mark, rest = host.partition("._domainkey")
    if not mark or rest or not SELECTOR.fullmatch(selector):
        raise BadDkim("host")
    bare = re.sub(r"\s+", "", re.sub(r"[\"“”']", "", value).replace("；", ";"))
    tags = dkim_tags(bare)
    if tags.get("v", "DKIM1").upper() != "DKIM1" or "p" not in tags:
        raise BadDkim("value")
    if not tags["p"]:
        raise BadDkim("revoked")
    if key_bytes(tags["p"]) is None:
        raise BadDkim("key")
    return host, "; ".join(f"{name}={each}" for name, each in tags.items())


def dkim_tags(value: str) -> dict[str, str]:
    """`v=DKIM1; k=rsa; p=…` as its tags, in order."""
    pairs = [each.partition("=") for each in value.split(";") if "=" in each]
    return {name.strip().lower(): text.strip() for name, _, text in pairs}


def key_bytes(text: str) -> bytes | None:
    """A public key's bytes; None when it was cut or is no key."""
    bare = re.sub(r"\s+", "", text)
    try:
        key = base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if der_length(key) == len(key) else None


def der_length(key: bytes) -> int:
    """How long a key says it is, its head included: a DER sequence (RSA), or 32 bytes (Ed25519, RFC 8463)."""
    if len(key) < 4 or key[0] != 0x30:
        return ED25519_BYTES
    if key[1] < 0x80:
        return 2 + key[1]
    size = key[1] & 0x7F
    return 2 + size + int.from_bytes(key[2 : 2 + size], "big")


def txt_parts(value: str) -> list[str]:
    """A TXT value in strings of at most 255 bytes, never cut inside a character."""
    parts, part = [], ""
    for char in value:
        if len((part + char).encode()) > TXT_PART_BYTES_MAX:
            parts.append(part)
            part = ""
        part += char
    return [*parts, part]


def same_dkim(one: str, other: str) -> bool:
    """Whether two values say the same; blanks between tags do not count."""
    left, right = dkim_tags(one), dkim_tags(other)
    left.setdefault("k", "rsa")
    right.setdefault("k", "rsa")
    return {**left, "p": re.sub(r"\s+", "", left.get("p", ""))} == {
        **right, "p": re.sub(r"\s+", "", right.get("p", "")),
    }  # fmt: skip


# --- judging ---------------------------------------------------------------------------------------------------------


class Level(StrEnum):
    """How bad it is."""

    WORKS = "works"
    BREAKS = "breaks"
    ADVICE = "advice"


@dataclass(frozen=True)
class Finding:
    """One thing found: its catalogue key (`dns.<key>`) and its values."""

    level: Level
    key: str
    values: Mapping[str, Any]


@dataclass
class Judge:
    """Judges one reading."""

    reading: Reading
    wanted: Wanted
    fetch: spf.Fetch
    findings: list[Finding]

    def say(self, level: Level, key: str, **values: Any) -> None:
        """One more finding."""
        self.findings.append(Finding(level, key, {"domain": self.reading.domain, **values}))

    def all(self) -> list[Finding]:
        """Everything, what breaks mail first found first."""
        if not self.reachable():
            return self.findings
        self.servers()
        self.apex()
        self.mx()
        self.spf()
        self.dkim()
        self.dmarc()
        self.world()
        return self.findings

    # the zone itself

    def reachable(self) -> bool:
        """Whether there is anything to judge."""
        reading, found = self.reading, self.reading.delegation
        bogus = [name for name, said in reading.resolvers.items() if Outcome.BOGUS in outcomes(said)]
        if bogus:
            self.say(Level.BREAKS, "bogus", resolvers=bogus)
        answer = reading.answer(reading.domain, "MX")
        if answer is not None:
            if answer.outcome is Outcome.NO_NAME:
                self.say(Level.BREAKS, "no_name", zone=found.zone or ".")
            return answer.outcome is not Outcome.NO_NAME
        if found.servers:
            lame = any(Outcome.LAME in outcomes(said) for said in reading.own.values())
            hosts = [each.host for each in found.servers]
            self.say(Level.BREAKS, "all_lame" if lame else "all_silent", servers=hosts)
        elif not bogus:
            self.say(Level.BREAKS, "nobody_answers")
        return False

    def servers(self) -> None:
        """Servers of the zone that do not serve it, or that disagree."""
        reading, domain = self.reading, self.reading.domain
        if not reading.by_own():
            self.say(Level.ADVICE, "only_resolvers")
            return
        lame, silent = [], []
        for host, said in reading.own.items():
            if Outcome.LAME in outcomes(said):
                lame.append(host)
            elif outcomes(said) == {Outcome.TIMEOUT}:
                silent.append(host)
        lost = [each.host for each in reading.delegation.servers if not each.addresses]
        if lame:
            self.say(Level.BREAKS, "some_lame", servers=lame)
        if lost:
            self.say(Level.BREAKS, "no_address", servers=lost)
        if silent:
            self.say(Level.ADVICE, "some_silent", servers=silent)
        for kind in ("MX", "TXT"):
            values = {
                each.values for said in reading.own.values() if (each := said.get((domain, kind))) and each.answered
            }
            if len(values) > 1:
                self.say(Level.BREAKS, "servers_differ", kind=kind)

    def apex(self) -> None:
        """A CNAME beside MX: which of them counts is a matter of luck."""
        answer = self.reading.answer(self.reading.domain, "CNAME")
        if answer is not None and answer.outcome is Outcome.FOUND:
            self.say(Level.BREAKS, "apex_cname", target=answer.values[0])

    # receiving

    def mx(self) -> None:
        """Where mail for the domain goes."""
        domain = self.reading.domain
        found = [Mx.parse(each) for each in self.reading.values(domain, "MX")]
        wanted = {each.host: each for each in self.wanted.mx}
        names = [f"{each.host} ({each.priority})" for each in self.wanted.mx]
        if not found:
            self.say(Level.BREAKS, "mx_none", wanted=names)
        elif any(each.host == NULL_MX for each in found):
            self.say(Level.BREAKS, "mx_null")
        else:
            ours = [each for each in found if each.host in wanted]
            foreign = [each.host for each in found if each.host not in wanted]
            appended = [each for each in foreign if each.removesuffix(f".{domain}") in wanted]
            missing = [each.host for each in self.wanted.mx if each.host not in {mine.host for mine in ours}]
            wrong = [each for each in ours if each.priority != wanted[each.host].priority]
            if appended:
                self.say(
                    Level.BREAKS,
                    "mx_appended",
                    hosts=appended,
                    meant=[each.removesuffix(f".{domain}") for each in appended],
                )
            if others := [each for each in foreign if each not in appended]:
                self.say(Level.BREAKS, "mx_left_over" if ours else "mx_foreign", hosts=others)
            if ours and missing:
                self.say(Level.ADVICE, "mx_missing", hosts=missing)
            for each in wrong:
                self.say(
                    Level.ADVICE,
                    "mx_priority",
                    host=each.host,
                    priority=each.priority,
                    wanted=wanted[each.host].priority,
                )
            if ours and not foreign and not missing and not wrong:
                self.say(Level.WORKS, "mx_right", hosts=[f"{each.host} ({each.priority})" for each in found])
        wild = self.reading.answer(self.reading.probe, "MX")
        if wild is not None and wild.outcome is Outcome.FOUND:
            self.say(Level.ADVICE, "mx_wildcard", hosts=[Mx.parse(each).host for each in wild.values])

    # sending

    def spf(self) -> None:
        """Who may send for the domain."""
        domain = self.reading.domain
        found = spf.spf_of(self.reading.values(domain, "TXT"))
        if self.reading.answer(domain, "TXT") is None:
            self.say(Level.ADVICE, "txt_silent")
            return
        if not found:
            self.say(Level.BREAKS, "spf_none", include=self.wanted.spf)
            return
        if len(found) > 1:
            self.say(Level.BREAKS, "spf_two", count=len(found))
            return
        record, right = found[0], True
        if not spf.includes(record) & {self.wanted.spf, *self.wanted.spf_also}:
            self.say(Level.BREAKS, "spf_lacks", include=self.wanted.spf)
            right = False
        counted = spf.count(record, self.fetch)
        if counted.too_many:
            self.say(Level.BREAKS, "spf_too_many", count=counted.look_ups)
            right = False
        if counted.dead:
            self.say(Level.BREAKS, "spf_dead", names=list(counted.dead))
            right = False
        end = spf.end_of(record)
        if end in ("+all", "all"):
            self.say(Level.ADVICE, "spf_everybody")
        elif end is None and "redirect=" not in record.lower():
            self.say(Level.ADVICE, "spf_open")
        if right:
            self.say(Level.WORKS, "spf_right", record=record)

    def dkim(self) -> None:
        """The signature's key: where it is cannot be guessed, so only an admin knows."""
        if self.wanted.dkim is None:
            self.say(Level.ADVICE, "dkim_unknown")
            return
        host, value = self.wanted.dkim
        found = [each for each in self.reading.values(full_name(host, self.reading.domain), "TXT") if "p=" in each]
        if not found:
            self.say(Level.ADVICE, "dkim_none", host=host)
        elif len(found) > 1:
            self.say(Level.BREAKS, "dkim_two", host=host)
        elif same_dkim(found[0], value):
            self.say(Level.WORKS, "dkim_right", host=host)
        else:
            self.say(Level.BREAKS, "dkim_other", host=host)

    def dmarc(self) -> None:
        """What receivers are asked to do with what is not signed."""
        texts = self.reading.values(f"_dmarc.{self.reading.domain}", "TXT")
        found = [each for each in texts if each.lower().replace(" ", "").startswith("v=dmarc1")]
        if not found:
            self.say(Level.ADVICE, "dmarc_none", value=self.wanted.dmarc)
        elif len(found) > 1:
            self.say(Level.ADVICE, "dmarc_two")
        else:
            self.say(Level.WORKS, "dmarc_right", policy=dkim_tags(found[0]).get("p", "?"))

    # who sees it already

    def world(self) -> None:
        """Resolvers that still know something else, and how long that lasts at worst."""
        domain = self.reading.domain
        if not self.reading.by_own():
            return
        old, silent = 0, []
        for name, said in self.reading.resolvers.items():
            for kind in ("MX", "TXT"):
                answer, own = said.get((domain, kind)), self.reading.answer(domain, kind)
                if answer is None or own is None:
                    continue
                if not answer.answered:
                    silent.append(name)
                elif answer.values != own.values:
                    old = max(old, answer.ttl or 0, 1)
        if silent and not any(each.key == "bogus" for each in self.findings):
            self.say(Level.ADVICE, "resolvers_fail", resolvers=sorted(set(silent)))
        if old:
            self.say(Level.ADVICE, "resolvers_old", minutes=max(1, -(-old // 60)))


def outcomes(said: Mapping[Question, Answer]) -> set[Outcome]:
    """What became of the questions to one server."""
    return {each.outcome for each in said.values()}


def judge(reading: Reading, wanted: Wanted, fetch: spf.Fetch) -> list[Finding]:
    """What works, what breaks mail, and what is advice, in this order of reading."""
    return Judge(reading, wanted, fetch, []).all()


def worst_ttl(reading: Reading, questions: Sequence[tuple[str, str]]) -> int:
    """How long the world may still see what it was told of these, in seconds, at worst."""
    found = [answer.ttl or 0 for each in questions if (answer := reading.answer(*each)) is not None]
    return max(found, default=0)
