"""A small internet on loopback: name servers at 127.0.0.x that serve zones, resolvers, and what can go wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zone

from bot.dns.lookup import Lookup
from bot.dns.wire import Wire

RESOLVERS = ("127.0.0.91", "127.0.0.92", "127.0.0.93")
Answerer = Callable[[dns.message.Message, bool], dns.message.Message | None]


@dataclass
class NameServer:
    """Serves zones; `silent` and `refuses` are what it does wrong, `cut` sends everything over TCP."""

    address: str
    zones: dict[dns.name.Name, dns.zone.Zone] = field(default_factory=dict)
    silent: bool = False
    refuses: bool = False
    cut: bool = False
    aliases: dict[str, str] = field(default_factory=dict)  # a CNAME beside other records, which some providers allow
    asked: list[tuple[str, str, bool]] = field(default_factory=list)  # name, type, over TCP

    def serve(self, origin: str, text: str) -> None:
        zone = dns.zone.from_text(text, dns.name.from_text(origin), relativize=False, check_origin=False)
        self.zones[dns.name.from_text(origin)] = zone

    def answer(self, query: dns.message.Message, stream: bool) -> dns.message.Message | None:
        question = query.question[0]
        self.asked.append((question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype), stream))
        if self.silent:
            return None
        reply = dns.message.make_response(query)
        zone = self.zone_of(question.name)
        if self.refuses or zone is None:
            reply.set_rcode(dns.rcode.REFUSED)
            return reply
        if self.cut and not stream:
            reply.flags |= dns.flags.TC
            return reply
        if (alias := self.aliases.get(question.name.to_text().lower())) is not None:
            reply.flags |= dns.flags.AA
            reply.answer.append(dns.rrset.from_text(question.name, 600, "IN", "CNAME", alias))
            return reply
        fill(reply, zone, question.name, question.rdtype)
        return reply

    def zone_of(self, name: dns.name.Name) -> dns.zone.Zone | None:
        found = [each for each in self.zones if name.is_subdomain(each)]
        return self.zones[max(found, key=len)] if found else None


def fill(reply: dns.message.Message, zone: dns.zone.Zone, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
    """What a zone says to a question: its records, a referral, or that there is none."""
    origin = zone.origin
    assert origin is not None
    at = name
    while at != origin and at.is_subdomain(origin):
        cut = zone.get_rdataset(at, dns.rdatatype.NS)
        if cut is not None:
            reply.authority.append(dns.rrset.from_rdata_list(at, cut.ttl, list(cut)))
            for record in cut:
                glue = zone.get_rdataset(record.target, dns.rdatatype.A) if record.target.is_subdomain(origin) else None
                if glue is not None:
                    reply.additional.append(dns.rrset.from_rdata_list(record.target, glue.ttl, list(glue)))
            return
        at = at.parent()
    reply.flags |= dns.flags.AA
    node = zone.get_node(name) or zone.get_node(dns.name.from_text("*", None) + name.parent())
    for each in (kind, dns.rdatatype.CNAME):
        found = node.get_rdataset(zone.rdclass, each) if node is not None else None
        if found is not None:
            reply.answer.append(dns.rrset.from_rdata_list(name, found.ttl, list(found)))
            return
    if node is None and not any(each.is_subdomain(name) for each in zone.nodes):
        reply.set_rcode(dns.rcode.NXDOMAIN)
    soa = zone.get_rdataset(origin, dns.rdatatype.SOA)
    assert soa is not None
    reply.authority.append(dns.rrset.from_rdata_list(origin, soa.ttl, list(soa)))


class Net:
    """Servers at one port. A resolver answers with what the deepest zone says that any living server serves."""

    def __init__(self) -> None:
        self.servers: dict[str, NameServer] = {}
        self.bogus: set[str] = set()  # domains whose DNSSEC does not hold
        self.failing: set[str] = set()  # domains that resolvers answer SERVFAIL
        self.old: dict[tuple[str, str], list[str]] = {}  # what resolvers still remember
        self.silent_resolvers: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self.port = free_port()
        for address in RESOLVERS:
            self._listen(address, lambda query, stream, address=address: self.resolved(address, query))

    def server(self, address: str) -> NameServer:
        made = self.servers[address] = NameServer(address)
        self._listen(address, made.answer)
        return made

    def lookup(self, *, timeout_seconds: float = 0.3) -> Lookup:
        resolvers = [f"{each}:{self.port}" for each in RESOLVERS]
        return Lookup(resolvers, port=self.port, wire=Wire(timeout_seconds=timeout_seconds))

    def resolved(self, address: str, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        reply = dns.message.make_response(query, recursion_available=True)
        if address in self.silent_resolvers:
            return None
        within = lambda domains: any(name == each or name.endswith(f".{each}") for each in domains)  # noqa: E731
        if within(self.failing) or (within(self.bogus) and not query.flags & dns.flags.CD):
            reply.set_rcode(dns.rcode.SERVFAIL)
            return reply
        kind = dns.rdatatype.to_text(question.rdtype)
        if (name, kind) in self.old:
            reply.answer.append(dns.rrset.from_text_list(question.name, 1800, "IN", kind, self.old[name, kind]))
            return reply
        zones = [
            zone
            for server in self.servers.values()
            if not server.silent and not server.refuses and (zone := server.zone_of(question.name)) is not None
        ]
        if not zones:
            reply.set_rcode(dns.rcode.SERVFAIL)
            return reply
        fill(reply, max(zones, key=lambda each: len(each.origin or ())), question.name, question.rdtype)
        if not reply.flags & dns.flags.AA:  # delegated to servers that do not serve it
            reply = dns.message.make_response(query, recursion_available=True)
            reply.set_rcode(dns.rcode.SERVFAIL)
        reply.flags &= ~dns.flags.AA
        return reply

    def _listen(self, address: str, answer: Answerer) -> None:
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        datagram.bind((address, self.port))
        stream.bind((address, self.port))
        stream.listen(16)
        for each in (datagram, stream):
            each.settimeout(0.1)
        for run in (lambda: self._datagrams(datagram, answer), lambda: self._streams(stream, answer)):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _datagrams(self, listening: socket.socket, answer: Answerer) -> None:
        with listening:
            while not self._over.is_set():
                try:
                    data, peer = listening.recvfrom(4096)
                except TimeoutError:
                    continue
                query = dns.message.from_wire(data)
                reply = answer(query, False)
                if reply is not None:
                    listening.sendto(reply.to_wire(), peer)

    def _streams(self, listening: socket.socket, answer: Answerer) -> None:
        with listening:
            while not self._over.is_set():
                try:
                    peer, _ = listening.accept()
                except TimeoutError:
                    continue
                with peer:
                    size = int.from_bytes(peer.recv(2), "big")
                    reply = answer(dns.message.from_wire(peer.recv(size)), True)
                    if reply is not None:
                        wire = reply.to_wire(max_size=65535)
                        peer.sendall(len(wire).to_bytes(2, "big") + wire)

    def close(self) -> None:
        self._over.set()
        for each in self._threads:
            each.join(2)


def free_port() -> int:
    """A port that is free for UDP and TCP at every address we use."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running() -> Iterator[Net]:
    """A net with the root, `com`, and `hosting.test`, where most name servers live."""
    net = Net()
    try:
        yield net
    finally:
        net.close()
