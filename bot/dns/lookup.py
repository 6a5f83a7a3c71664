"""
What the world and a zone's own name servers say about a domain.

The servers are found from the parent, not believed from the zone: a domain that was moved to another provider still
answers at the old one. `read` asks each of them, and the resolvers, whose answers may be as old as a TTL.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TypeVar

from bot.dns.names import is_within, parent_of
from bot.dns.wire import Answer, Outcome, Server, Wire

RESOLVERS = ("223.5.5.5", "119.29.29.29", "1.1.1.1")  # Aliyun's, DNSPod's, Cloudflare's: two seen from China, one not
SERVERS_ASKED_MAX = 4  # of a zone's own
PARENTS_ASKED_MAX = 3
REFERRALS_MAX = 8
DOMAINS_AT_ONCE = 32
QUESTIONS_AT_ONCE = 8  # of one domain

T = TypeVar("T")
Question = tuple[str, str]  # name, type


@dataclass(frozen=True)
class NameServer:
    """A server of a zone, with the addresses it was found at."""

    host: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delegation:
    """Which zone a domain lies in, and the servers the zone's parent names for it."""

    domain: str
    zone: str
    outcome: Outcome  # FOUND, NO_NAME (the zone's servers do not know the domain), or why nothing is known
    servers: tuple[NameServer, ...] = ()
    parent: str | None = None  # the zone that said so; None: no parent could be asked, a resolver said it


@dataclass
class Reading:
    """Every answer, by server and question."""

    delegation: Delegation
    own: dict[str, dict[Question, Answer]] = field(default_factory=dict)  # by the server's name
    resolvers: dict[str, dict[Question, Answer]] = field(default_factory=dict)  # by address
    probe: str = ""  # a name that nobody made: what it answers is a wildcard's

    @property
    def domain(self) -> str:
        """The domain that was asked about."""
        return self.delegation.domain

    def answer(self, name: str, kind: str) -> Answer | None:
        """What the zone's own servers say, or where none can be reached, the resolvers; None when nobody answered."""
        for said in (*self.own.values(), *self.resolvers.values()):
            if (found := said.get((name, kind))) is not None and found.answered:
                return found
        return None

    def values(self, name: str, kind: str) -> tuple[str, ...]:
        """The records of a name."""
        found = self.answer(name, kind)
        return found.values if found is not None else ()

    def by_own(self) -> bool:
        """Whether any of the zone's own servers answered."""
        return any(each.answered for said in self.own.values() for each in said.values())


class Cached:
    """What several domains need is asked once, also when they need it at the same moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[object, Future[object]] = {}

    def get(self, key: object, make: Callable[[], T]) -> T:
        """The value under the key, made by whoever comes first."""
        with self._lock:
            kept = self._kept.get(key)
            mine = kept is None
            if kept is None:
                kept = self._kept[key] = Future()
        if mine:
            try:
                kept.set_result(make())
            except BaseException as error:
                kept.set_exception(error)
                with self._lock:
                    self._kept.pop(key, None)
                raise
        return kept.result()  # type: ignore[return-value]


class Lookup:
    """
    Asks about domains. Made anew for each errand: what it learned about parents and hosts is kept as long as it lives.

    `resolvers` are addresses, with `:port` if need be; `port` is where name servers listen.
    """

    def __init__(self, resolvers: Sequence[str] = (), *, port: int = 53, wire: Wire | None = None) -> None:
        self.resolvers = [server_of(each) for each in (resolvers or RESOLVERS)]
        self._port = port
        self._wire = wire or Wire()
        self._cached = Cached()

    def ask_resolvers(self, name: str, kind: str) -> Answer:
        """What the first resolver that answers says; kept."""
        return self._cached.get((name, kind), lambda: self._asked_resolvers(name, kind))

    def _asked_resolvers(self, name: str, kind: str) -> Answer:
        first = zlib.crc32(name.encode()) % len(self.resolvers)
        answer = Answer(Outcome.TIMEOUT)
        for server in (*self.resolvers[first:], *self.resolvers[:first]):
            answer = self._wire.ask(server, name, kind, recurse=True)
            if answer.answered:
                return answer
        return answer

    def texts(self, name: str) -> Answer:
        """The TXT records of any name: SPF includes."""
        return self.ask_resolvers(name, "TXT")

    # --- whose it is

    def delegation(self, domain: str) -> Delegation:
        """Which zone a domain lies in and who serves it: the closest zone above is asked, then those it names."""
        return self._cached.get(("delegation", domain), lambda: self._delegation(domain))

    def _delegation(self, domain: str) -> Delegation:
        above = self.zone_above(domain)
        if above is None:
            return self.told_by_resolvers(domain)
        if above.outcome is Outcome.NO_NAME:
            return Delegation(domain, above.zone, Outcome.NO_NAME, above.servers, above.parent)
        for _ in range(REFERRALS_MAX):
            answer = self.ask_zone(above, domain, "NS")
            if answer.outcome is Outcome.REFERRAL and answer.zone is not None and is_below(answer.zone, above.zone):
                servers = self.name_servers(answer.values, answer.glue)
                below = Delegation(domain, answer.zone, Outcome.FOUND, servers, above.zone)
                if answer.zone == domain:
                    return below
                above = below
            elif answer.outcome is Outcome.FOUND and answer.zone == domain:  # one server for the parent and the zone
                return Delegation(domain, domain, Outcome.FOUND, self.name_servers(answer.values), above.zone)
            elif answer.outcome in (Outcome.NO_DATA, Outcome.FOUND, Outcome.NO_NAME):
                outcome = Outcome.NO_NAME if answer.outcome is Outcome.NO_NAME else Outcome.FOUND
                return Delegation(domain, above.zone, outcome, above.servers, above.parent)
            else:
                break
        return self.told_by_resolvers(domain)

    def zone_above(self, domain: str) -> Delegation | None:
        """The zone to ask first: a top level's as resolvers know it, anything below found from its own parent."""
        parent = parent_of(domain)
        if not parent_of(parent):
            return self.zone_of(parent)
        above = self.delegation(parent)
        return above if above.outcome in (Outcome.FOUND, Outcome.NO_NAME) else None

    def told_by_resolvers(self, domain: str) -> Delegation:
        """No parent answers here (a network that lets only resolvers through): what these know of the zone."""
        soa = self.ask_resolvers(domain, "SOA")
        if soa.zone is None or not soa.answered:
            return Delegation(domain, domain, soa.outcome)
        hosts = self.ask_resolvers(soa.zone, "NS")
        outcome = Outcome.NO_NAME if soa.outcome is Outcome.NO_NAME else Outcome.FOUND
        return Delegation(domain, soa.zone, outcome, self.name_servers(hosts.values))

    def zone_of(self, name: str) -> Delegation | None:
        """The zone that holds a name, with its servers, as resolvers know it; None when they do not answer."""
        return self._cached.get(("zone", name), lambda: self._zone_of(name))

    def _zone_of(self, name: str) -> Delegation | None:
        at = name
        while True:
            soa = self.ask_resolvers(at, "SOA")
            if soa.answered and soa.zone is not None and is_within(at, root_as_empty(soa.zone)):
                zone = root_as_empty(soa.zone)
                servers = self.name_servers(self.ask_resolvers(zone, "NS").values)
                return Delegation(name, zone, Outcome.FOUND, servers) if servers else None
            if not at:
                return None
            at = parent_of(at)

    def name_servers(self, hosts: Iterable[str], glue: Iterable[tuple[str, str]] = ()) -> tuple[NameServer, ...]:
        """Servers with their addresses: the glue's, else the resolvers'."""
        given: dict[str, list[str]] = {}
        for host, address in glue:
            given.setdefault(host, []).append(address)
        return tuple(NameServer(host, tuple(given.get(host) or self.addresses(host))) for host in sorted(hosts))

    def addresses(self, host: str) -> tuple[str, ...]:
        """A host's addresses, IPv4 first: many an office has no other."""
        return self.ask_resolvers(host, "A").values or self.ask_resolvers(host, "AAAA").values

    def ask_zone(self, zone: Delegation, name: str, kind: str) -> Answer:
        """The first of a zone's servers that answers; which one is asked first depends on the name, to spread it."""
        servers = [address for each in zone.servers for address in each.addresses[:1]]
        answer = Answer(Outcome.TIMEOUT)
        if not servers:
            return answer
        first = zlib.crc32(name.encode()) % len(servers)
        for address in (servers[first:] + servers[:first])[:PARENTS_ASKED_MAX]:
            answer = self._wire.ask(Server(address, self._port), name, kind, recurse=False)
            if answer.answered or answer.outcome is Outcome.REFERRAL:
                return answer
        return answer

    # --- what it says

    def read(self, domain: str, *, also: Sequence[Question] = ()) -> Reading:
        """
        Everything mail needs to know of a domain, from its own servers and from the resolvers; `also` more questions.

        Of each own server the records that decide about mail, of the first that answers the rest.
        """
        delegation = self.delegation(domain)
        reading = Reading(delegation, probe=f"mail-probe-{token_hex(4)}.{domain}")
        everywhere: list[Question] = [(domain, "MX"), (domain, "TXT"), *also]
        once: list[Question] = [
            (f"_dmarc.{domain}", "TXT"),
            (domain, "CNAME"),
            (reading.probe, "MX"),
        ]
        with ThreadPoolExecutor(QUESTIONS_AT_ONCE) as pool:
            own = [each for each in delegation.servers if each.addresses][:SERVERS_ASKED_MAX]
            asked_own = {each.host: pool.submit(self.ask_all, self.at(each), everywhere) for each in own}
            asked_resolvers = {
                str(each): pool.submit(self.ask_all, each, everywhere, recurse=True) for each in self.resolvers
            }
            reading.own = {host: dict(each.result()) for host, each in asked_own.items()}
            reading.resolvers = {address: dict(each.result()) for address, each in asked_resolvers.items()}
        living = [each for each in own if any(said.answered for said in reading.own[each.host].values())]
        if living:
            first = living[zlib.crc32(domain.encode()) % len(living)]
            reading.own[first.host] |= self.ask_all(self.at(first), once)
        else:
            reading.resolvers[str(self.resolvers[0])] |= {each: self.ask_resolvers(*each) for each in once}
        return reading

    def at(self, server: NameServer) -> Server:
        """Where to ask a zone's own server."""
        return Server(server.addresses[0], self._port)

    def ask_all(
        self, server: Server, questions: Iterable[Question], *, recurse: bool = False
    ) -> Mapping[Question, Answer]:
        """Questions to one server, one after the other; one that is silent is not asked the rest."""
        answers: dict[Question, Answer] = {}
        silent = False
        for name, kind in questions:
            answer = Answer(Outcome.TIMEOUT) if silent else self._wire.ask(server, name, kind, recurse=recurse)
            if not recurse and answer.outcome in (Outcome.REFERRAL, Outcome.REFUSED, Outcome.FAILED):
                answer = Answer(Outcome.LAME)
            answers[name, kind] = answer
            silent = silent or answer.outcome is Outcome.TIMEOUT
        return answers

    def read_many(
        self, domains: Sequence[str], also: Mapping[str, Sequence[Question]] | None = None
    ) -> Iterable[Reading]:
        """Many domains at once, with more questions for some; no server is asked more than its gate lets through."""
        more = also or {}
        with ThreadPoolExecutor(DOMAINS_AT_ONCE) as pool:
            yield from pool.map(lambda each: self.read(each, also=more.get(each, ())), domains)


def server_of(text: str) -> Server:
    """`223.5.5.5`, `127.0.0.1:5353`, `[::1]:5353`, `::1`; ValueError for a port that is none."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return Server(address, int(port.removeprefix(":") or 53))
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return Server(address, int(port))
    return Server(text)


def root_as_empty(zone: str) -> str:
    """The root as the empty name."""
    return "" if zone == "." else zone


def is_below(zone: str, above: str) -> bool:
    """Whether a zone lies truly below another."""
    return zone != above and is_within(zone, above)
