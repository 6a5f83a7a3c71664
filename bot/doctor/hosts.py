"""The mail hosts and the DNS servers: name, port, certificate, greeting, what they can."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from bot.dns.lookup import RESOLVERS, server_of
from bot.dns.wire import Answer, Outcome, Wire
from bot.doctor.findings import Finding, ok, warning, wrong
from bot.mail.smtp import STARTTLS_PORT
from bot.settings import Settings
from bot.words import Words, say

TIMEOUT_SECONDS = 8.0
LINES_MAX = 50
LINE_BYTES_MAX = 4096
CERTIFICATE_DAYS_LOW = 14
DAY_SECONDS = 86400
NEEDED = "IMAP4REV1"


@dataclass(frozen=True)
class Spoken:
    """A mail server's first words, and what it says it can."""

    greeting: str
    can: tuple[str, ...]
    certificate_days: float | None  # left


class NoTalk(Exception):
    """It is not there, or not what it should be."""

    def __init__(self, words: Words) -> None:
        super().__init__(words.key)
        self.words = words


def imap(settings: Settings) -> Iterator[Finding]:
    """Where mail is read and stored."""
    host, port = settings.exmail_imap_host, settings.exmail_imap_port
    try:
        told = spoken(
            host, port, tls=settings.exmail_imap_tls, ask=b"d1 CAPABILITY\r\n", end=b"d1 ", bye=b"d2 LOGOUT\r\n"
        )
        if not told.greeting.startswith(("* OK", "* PREAUTH")):
            raise NoTalk(say("doctor.greeting_other"))
    except NoTalk as error:
        yield wrong("doctor.imap_wrong", host=host, port=port, why=error.words)
        return
    can = [each.upper() for each in told.can]
    if NEEDED not in can:
        yield wrong("doctor.imap_too_old", host=host)
    else:
        yield ok("doctor.imap_fine", host=host, port=port, can=shown(can))
    yield from certificate(host, told)


def smtp(settings: Settings) -> Iterator[Finding]:
    """Where mail is sent by programs; backups do without it."""
    host, port = settings.exmail_smtp_host, settings.exmail_smtp_port
    try:
        tls = settings.exmail_smtp_tls and port != STARTTLS_PORT  # there it begins in the clear
        told = spoken(host, port, tls=tls, ask=b"EHLO doctor\r\n", end=b"250 ", bye=b"QUIT\r\n")
        if not told.greeting.startswith("220"):
            raise NoTalk(say("doctor.greeting_other"))
    except NoTalk as error:
        yield warning("doctor.smtp_wrong", host=host, port=port, why=error.words)
        return
    yield ok("doctor.smtp_fine", host=host, port=port)
    yield from certificate(host, told)


def certificate(host: str, told: Spoken) -> Iterator[Finding]:
    """A certificate that is about to run out."""
    if told.certificate_days is not None and told.certificate_days < CERTIFICATE_DAYS_LOW:
        yield warning("doctor.certificate_soon", host=host, days=int(told.certificate_days))


def spoken(host: str, port: int, *, tls: bool, ask: bytes, end: bytes, bye: bytes) -> Spoken:
    """Connect, read the greeting, ask one thing, say goodbye. Raises NoTalk."""
    try:
        with closing(connected(host, port, tls)) as wire, wire.makefile("rb") as lines:
            days = days_left(wire)
            greeting = lines.readline(LINE_BYTES_MAX).decode("latin-1").strip()
            if not greeting:
                raise NoTalk(say("doctor.greeting_none"))
            wire.sendall(ask)
            answer = []
            for _ in range(LINES_MAX):
                line = lines.readline(LINE_BYTES_MAX)
                answer.append(line.decode("latin-1").strip())
                if not line or line.startswith(end):
                    break
            wire.sendall(bye)
    except (TimeoutError, OSError) as error:
        raise NoTalk(say("doctor.greeting_none")) from error
    words = [word for line in answer if line.startswith("* CAPABILITY") for word in line.split()[2:]]
    return Spoken(greeting, tuple(words), days)


def connected(host: str, port: int, tls: bool) -> socket.socket:
    """A connection, with the certificate checked if it is to be encrypted. Raises NoTalk."""
    try:
        plain = socket.create_connection((host, port), timeout=TIMEOUT_SECONDS)
    except socket.gaierror:
        raise NoTalk(say("doctor.host_unknown", host=host)) from None
    except OSError as error:
        raise NoTalk(say("doctor.port_refused", host=host, port=port, why=type(error).__name__)) from None
    if not tls:
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise NoTalk(say("doctor.certificate_refused", host=host, why=error.verify_message)) from None
    except OSError:
        plain.close()
        raise NoTalk(say("doctor.no_tls", host=host, port=port)) from None


def days_left(wire: socket.socket) -> float | None:
    """How long the certificate is still good; None without one."""
    ends = (wire.getpeercert() or {}).get("notAfter") if isinstance(wire, ssl.SSLSocket) else None
    if not isinstance(ends, str):
        return None
    return (ssl.cert_time_to_seconds(ends) - time.time()) / DAY_SECONDS


def shown(can: list[str]) -> list[str]:
    """What of a server's abilities the copy makes use of."""
    used = ("UIDPLUS", "LITERAL+", "LITERAL-", "MULTIAPPEND", "MOVE", "ID", "NAMESPACE", "XLIST", "QUOTA")
    return [NEEDED, *(each for each in used if each in can)]


def dns(settings: Settings) -> Iterator[Finding]:
    """Whether each resolver answers at all; what it says of the domain is another command's business."""
    silent = []
    servers = settings.bot_dns_servers or RESOLVERS
    for server in servers:
        try:
            answer = Wire().ask(server_of(server), settings.exmail_domain, "MX", recurse=True)
        except ValueError:  # no address
            answer = Answer(Outcome.TIMEOUT)
        if answer.outcome is Outcome.TIMEOUT:
            silent.append(server)
        elif not answer.answered:
            yield warning("doctor.dns_refuses", server=server, domain=settings.exmail_domain, outcome=answer.outcome)
        else:
            yield ok("doctor.dns_fine", server=server)
    enough = not settings.bot_dns_servers and len(silent) < len(RESOLVERS)  # of those that nobody chose one will do
    for server in silent:
        yield warning("doctor.dns_one_silent", server=server) if enough else wrong("doctor.dns_silent", server=server)
