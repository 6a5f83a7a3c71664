"""One mail by SMTP: taken and delivered, or the server's own words; no password where the certificate is another's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.mail import smtp
from bot.mail.smtp import SmtpAccount, send
from bot.sandbox.callbacks import Callbacks
from bot.sandbox.mailserver import LOGIN_FAIL, MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.people import MailGroup
from bot.sandbox.smtpserver import SmtpServer
from tests.sandbox.harness import FixedClock
from tests.servers.dovecot import write_certificate

SUPPORT, MEI = "support@corp.test", "mei@corp.test"
RAW = b"From: support@corp.test\r\nTo: mei@corp.test\r\nSubject: hello\r\n\r\n.begins with a dot\r\n"


class Office:
    """The simulated organisation with its SMTP server, in a loop of its own thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        clock: Any = FixedClock()
        self.org = Organisation(clock, MailServer(clock))
        self.heard: list[str] = []
        self.server = SmtpServer(self.org, Callbacks(self.org, self.callback, retry_delays=()))
        self.port = asyncio.run_coroutine_threadsafe(self.server.start(), self.loop).result(20)
        self.password = self.do(lambda: self.org.box(SUPPORT).mint()[1])

    async def callback(self, path: str, query: dict[str, str], body: bytes) -> int:
        self.heard.append(path)
        return 200

    def do(self, work: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(20)

    def stop(self) -> None:
        """Everything taken is delivered by then."""
        asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()

    def account(self, **change: Any) -> SmtpAccount:
        usual = {"host": "127.0.0.1", "port": self.port, "user": SUPPORT, "password": self.password, "tls": False}
        return SmtpAccount(**usual | change)

    def inbox(self, address: str) -> list[bytes]:
        return [each.raw for each in self.org.box(address).folders["INBOX"].messages.values()]


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    if not made.loop.is_closed():
        made.stop()


def test_taken_and_delivered_with_the_event_of_a_public_mailbox(office: Office) -> None:
    """To a member byte for byte, to a public mailbox with its event, to an alias, to everybody of a group."""
    everybody = {"groupname": "All", "email_list": {"list": ["lan@corp.test"]}, "department_list": {"list": [3]}}
    office.org.groups["all@corp.test"] = MailGroup("all@corp.test", True, everybody)
    office.org.members["yan"].aliases = ["accounts@corp.test"]
    office.org.sync("yan@corp.test")
    for to in (MEI, "sales@corp.test", "accounts@corp.test", "all@corp.test"):
        sent = send(office.account(), to, RAW)
        assert (sent.stopped_at, sent.code) == (None, 250)
        assert "queued as" in sent.text
    office.stop()
    for address in (MEI, "sales@corp.test", "yan@corp.test", "lan@corp.test", "wei@corp.test", "jun@corp.test"):
        assert office.inbox(address) == [RAW], address
    assert office.heard == ["/wecom/callback"]
    assert office.password not in str(list(office.org.wire))


@pytest.mark.parametrize(
    ("change", "step", "code", "text"),
    [
        ({"password": "x" * 16}, "login", 535, LOGIN_FAIL),
        ({"user": "nobody@corp.test"}, "login", 535, LOGIN_FAIL),
    ],
)
def test_what_the_server_refuses_is_told_in_its_words(
    office: Office, change: dict[str, Any], step: str, code: int, text: str
) -> None:
    sent = send(office.account(**change), MEI, RAW)
    assert (sent.stopped_at, sent.code, sent.text, sent.trouble) == (step, code, text, None)


def test_receivers_senders_and_switches(office: Office) -> None:
    """An unknown receiver, one whose mailbox is off, a group that takes nothing from us, a service switched off."""
    office.org.members["tao"].frozen = True
    office.org.sync("tao@corp.test")
    office.org.groups["board@corp.test"] = MailGroup(
        "board@corp.test", True,
        {"groupname": "Board", "email_list": {"list": ["fang@corp.test"]}, "allow_type": 3,
         "allow_emaillist": {"list": ["fang@corp.test"]}},
    )  # fmt: skip
    for to in ("nobody@corp.test", "tao@corp.test", "board@corp.test"):
        sent = send(office.account(), to, RAW)
        assert (sent.stopped_at, sent.code) == ("receiver", 550), to
    assert send(office.account(), "customer@elsewhere.test", RAW).stopped_at is None
    office.org.box(SUPPORT).imap_on = False
    assert send(office.account(), MEI, RAW).stopped_at == "login"
    assert office.inbox(MEI) == []


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server for one connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.close()
        thread.join(20)


def test_connections_that_come_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, silent, hung up, without a login, not found: each says what it is, none raises, none waits for ever."""
    monkeypatch.setattr(smtp, "TIMEOUT_SECONDS", 0.3)
    account = SmtpAccount("127.0.0.1", free_port(), SUPPORT, "p" * 16, False)
    assert send(account, MEI, RAW).trouble == "cut"
    done = threading.Event()
    with listening(lambda connection: bool(done.wait(5)) and None) as port:
        assert send(SmtpAccount("127.0.0.1", port, SUPPORT, "p", False), MEI, RAW).trouble == "silent"
        done.set()
    with listening(lambda connection: connection.sendall(b"421 Too busy\r\n")) as port:
        sent = send(SmtpAccount("127.0.0.1", port, SUPPORT, "p", False), MEI, RAW)
        assert (sent.stopped_at, sent.code, sent.text) == ("connect", 421, "Too busy")

    def no_login(connection: socket.socket) -> None:
        connection.sendall(b"220 hi\r\n")
        connection.recv(100)
        connection.sendall(b"250 hi\r\n")
        connection.recv(100)

    with listening(no_login) as port:
        assert send(SmtpAccount("127.0.0.1", port, SUPPORT, "p", False), MEI, RAW).trouble == "no_login"

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    assert send(account, MEI, RAW).trouble == "name"


@pytest.mark.parametrize("trusted", [False, True])
def test_a_password_goes_only_to_the_host_that_the_certificate_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    """With TLS from the first byte (465): an untrusted certificate ends it before the login."""
    write_certificate(tmp_path)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(b"220 hi\r\n")
            heard.append(secure.recv(200))
            secure.sendall(b"250-hi\r\n250 AUTH PLAIN\r\n")
            heard.append(secure.recv(200))
            secure.sendall(b"535 no\r\n")
            heard.append(secure.recv(200))

    if trusted:
        ours = ssl.create_default_context(cafile=str(cert))
        monkeypatch.setattr(ssl, "create_default_context", lambda: ours)
    with listening(serve) as port:
        sent = send(SmtpAccount("127.0.0.1", port, SUPPORT, "p" * 16, True), MEI, RAW)
    if trusted:
        assert (sent.stopped_at, sent.code) == ("login", 535)
        assert b"AUTH PLAIN" in heard[1]
    else:
        assert (sent.stopped_at, sent.trouble, heard) == ("connect", "certificate", [])
