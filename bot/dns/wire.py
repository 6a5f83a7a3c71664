"""One question to one name server: UDP, then TCP for what does not fit; bounded, and gentle with each server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdata import Rdata
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.TXT import TXT

TIMEOUT_SECONDS = 2.0
TRIES = 2
SILENT_MAX = 2  # questions that a server did not answer, then it is not asked any more in this errand
AT_ONCE_MAX = 4  # questions on their way to one server
GAP_SECONDS = 0.008  # between two questions to one server
PAYLOAD_BYTES = 1232  # dnsflagday.net/2020
CHAIN_MAX = 8  # CNAMEs followed within one answer
DNSSEC_CODES = frozenset(range(5, 13))  # extended errors that speak of DNSSEC (RFC 8914, 4.6 to 4.13)


class Outcome(StrEnum):
    """What became of a question."""

    FOUND = "found"
    NO_DATA = "no_data"  # the name is there, such a record is not
    NO_NAME = "no_name"  # NXDOMAIN
    REFERRAL = "referral"  # ask those
    FAILED = "failed"  # SERVFAIL, or nonsense
    REFUSED = "refused"
    LAME = "lame"  # asked as the zone's own server, it does not know the zone
    BOGUS = "bogus"  # a resolver says that DNSSEC does not hold
    TIMEOUT = "timeout"


ANSWERED = (Outcome.FOUND, Outcome.NO_DATA, Outcome.NO_NAME)


@dataclass(frozen=True, order=True)
class Server:
    """Where to ask."""

    address: str
    port: int = 53

    def __str__(self) -> str:
        return self.address if self.port == 53 else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """
    What a server said to one question.

    `values` are the records' texts: `5 mxbiz1.qq.com` for MX (a `.` as host stays), a TXT with its strings joined.
    `zone` is the owner of the SOA or of the delegation that came along, `glue` the addresses with a referral.
    """

    outcome: Outcome
    values: tuple[str, ...] = ()
    ttl: int | None = None  # of the records, or how long "there is none" may be kept
    alias: str | None = None  # the answer came through a CNAME
    zone: str | None = None
    glue: tuple[tuple[str, str], ...] = ()

    @property
    def answered(self) -> bool:
        """Whether the server said how things are, "there is none" included."""
        return self.outcome in ANSWERED


class Gate:
    """So many questions at once to one server, and a gap between their starts; `silent` questions in a row."""

    def __init__(self, at_once: int, gap_seconds: float) -> None:
        self._places = threading.BoundedSemaphore(at_once)
        self._gap = gap_seconds
        self._lock = threading.Lock()
        self._next = 0.0
        self.silent = 0

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Wait for a place and for the gap."""
        with self._places:
            with self._lock:
                now = time.monotonic()
                at = max(now, self._next)
                self._next = at + self._gap
            if at > now:
                time.sleep(at - now)
            yield


class Wire:
    """
    Asks; every wait is bounded by `timeout_seconds` times `tries`.

    Made for one errand: a server that was silent twice in it counts as dead, so that no errand waits for it for long.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        tries: int = TRIES,
        at_once: int = AT_ONCE_MAX,
        gap_seconds: float = GAP_SECONDS,
    ) -> None:
        self._timeout = timeout_seconds
        self._tries = tries
        self._at_once, self._gap_seconds = at_once, gap_seconds
        self._gates: dict[str, Gate] = {}
        self._lock = threading.Lock()

    def gate(self, server: Server) -> Gate:
        """The gate of a server; by its address, whatever the port."""
        with self._lock:
            return self._gates.setdefault(str(server), Gate(self._at_once, self._gap_seconds))

    def ask(self, server: Server, name: str, kind: str, *, recurse: bool) -> Answer:
        """
        Ask a resolver (`recurse`), or a zone's own server.

        A resolver that fails is asked once more with checking disabled: if that works, DNSSEC is what fails.
        """
        flags = dns.flags.RD if recurse else 0
        message = self._exchange(server, name, kind, flags)
        if message is None:
            return Answer(Outcome.TIMEOUT)
        if recurse and message.rcode() == dns.rcode.SERVFAIL:
            if speaks_of_dnssec(message):
                return Answer(Outcome.BOGUS)
            unchecked = self._exchange(server, name, kind, flags | dns.flags.CD)
            if unchecked is not None and unchecked.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return Answer(Outcome.BOGUS)
        return read(message, name, kind, recurse=recurse)

    def _exchange(self, server: Server, name: str, kind: str, flags: int) -> dns.message.Message | None:
        gate, edns = self.gate(server), True
        for _ in range(self._tries):
            if gate.silent >= SILENT_MAX:
                return None
            query = dns.message.make_query(
                name or ".", kind, use_edns=0 if edns else -1, payload=PAYLOAD_BYTES if edns else None, flags=flags
            )
            with gate.passed():
                answer = self._once(query, server)
            gate.silent = gate.silent + 1 if answer is None else 0
            if answer is None:
                continue
            if edns and answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
                edns = False  # a server older than EDNS
                continue
            return answer
        return None

    def _once(self, query: dns.message.Message, server: Server) -> dns.message.Message | None:
        try:
            return dns.query.udp(
                query, server.address, self._timeout, server.port, ignore_unexpected=True, ignore_errors=True,
                raise_on_truncation=True,
            )  # fmt: skip
        except dns.message.Truncated:
            pass
        except (dns.exception.DNSException, OSError, ValueError):
            return None
        try:
            return dns.query.tcp(query, server.address, self._timeout, server.port)
        except (dns.exception.DNSException, OSError, EOFError, ValueError):
            return None


def speaks_of_dnssec(message: dns.message.Message) -> bool:
    """Whether a resolver says why it failed, and that it is DNSSEC."""
    return any(isinstance(each, dns.edns.EDEOption) and int(each.code) in DNSSEC_CODES for each in message.options)


def read(message: dns.message.Message, name: str, kind: str, *, recurse: bool) -> Answer:
    """A message as an answer."""
    code = message.rcode()
    own = bool(message.flags & dns.flags.AA)
    soa = next((each for each in message.authority if each.rdtype == dns.rdatatype.SOA), None)
    if code == dns.rcode.REFUSED:
        return Answer(Outcome.REFUSED)
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Answer(Outcome.FAILED)
    found, alias = in_answer(message, name, kind)
    if found is not None and (own or recurse):
        return Answer(Outcome.FOUND, texts(found), int(found.ttl), alias, zone=text_of(found.name))
    if not own and not recurse:
        return referral(message, name)
    outcome = Outcome.NO_NAME if code == dns.rcode.NXDOMAIN and alias is None else Outcome.NO_DATA
    if soa is None:
        return Answer(outcome, alias=alias)
    return Answer(outcome, ttl=min(int(soa.ttl), int(soa[0].minimum)), alias=alias, zone=text_of(soa.name))


def referral(message: dns.message.Message, name: str) -> Answer:
    """Who to ask instead; a server that sends upwards, or says nothing of use, is lame."""
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.NS and rrset.name != dns.name.root:
            glue = tuple(
                (text_of(each.name), str(record))
                for each in message.additional
                if each.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
                for record in each
            )
            return Answer(Outcome.REFERRAL, texts(rrset), int(rrset.ttl), zone=text_of(rrset.name), glue=glue)
    return Answer(Outcome.LAME)


def in_answer(message: dns.message.Message, name: str, kind: str) -> tuple[dns.rrset.RRset | None, str | None]:
    """The records asked for, followed through CNAMEs, and where these lead."""
    at = dns.name.from_text(name or ".")
    wanted, alias = dns.rdatatype.from_text(kind), None
    for _ in range(CHAIN_MAX):
        sets = [each for each in message.answer if each.name == at]
        found = next((each for each in sets if each.rdtype == wanted), None)
        if found is not None:
            return found, alias
        link = next((each for each in sets if each.rdtype == dns.rdatatype.CNAME), None)
        if link is None:
            break
        at = link[0].target
        alias = text_of(at)
    return None, alias


def texts(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    """The records of a set as texts, in a fixed order."""
    return tuple(sorted(value_of(each) for each in rrset))


def value_of(record: Rdata) -> str:
    """One record as people write it."""
    if isinstance(record, MX):
        return f"{record.preference} {text_of(record.exchange)}"
    if isinstance(record, TXT):
        return b"".join(record.strings).decode("utf-8", "replace")
    if isinstance(record, (CNAME, NS)):
        return text_of(record.target)
    return str(record.to_text())


def text_of(name: dns.name.Name) -> str:
    """A name in lower case without its last dot; the root stays a dot."""
    return "." if name == dns.name.root else str(name.to_text(omit_final_dot=True)).lower()
