"""
One mail by SMTP, step by step, and what the server said at each: for who wants to know whether it works.

Blocking, with a deadline for every command; TLS certificates are verified. Nothing is tried again.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

TIMEOUT_SECONDS = 20.0  # for each command
STARTTLS_PORT = 587
TEXT_SHOWN = 300  # characters of an answer

Step = Literal["connect", "login", "sender", "receiver", "mail"]
Trouble = Literal["name", "certificate", "silent", "cut", "no_login"]


@dataclass(frozen=True)
class SmtpAccount:
    """Where and as whom to send."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: bool = True


@dataclass(frozen=True)
class Sent:
    """How far it came: the step it stopped at (None: the server took it), the last answer, or the trouble there was."""

    stopped_at: Step | None
    code: int | None = None
    text: str = ""
    trouble: Trouble | None = None


class _Stopped(Exception):
    """The server says no."""

    def __init__(self, sent: Sent) -> None:
        super().__init__(sent.text)
        self.sent = sent


def send(account: SmtpAccount, receiver: str, raw: bytes) -> Sent:
    """Hand one mail to the server, as `account.user` to `receiver`; every ending is a value."""
    step: Step = "connect"
    connection: smtplib.SMTP | None = None
    try:
        connection = connect(account)
        step = "login"
        accepted(step, lambda: log_in(connection, account))
        step = "sender"
        accepted(step, lambda: connection.mail(account.user))
        step = "receiver"
        accepted(step, lambda: connection.rcpt(receiver))
        step = "mail"
        code, text = accepted(step, lambda: connection.data(raw))
        return Sent(None, code, text)
    except _Stopped as stopped:
        return stopped.sent
    except smtplib.SMTPResponseException as error:
        return Sent(step, error.smtp_code, readable(error.smtp_error))
    except (OSError, smtplib.SMTPException) as error:  # SMTPException is an OSError, but not for ever
        return Sent(step, None, f"{type(error).__name__}: {error}"[:TEXT_SHOWN], trouble_of(error))
    finally:
        if connection is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                connection.quit()
            connection.close()


def connect(account: SmtpAccount) -> smtplib.SMTP:
    """A connection that has said hello; raises what smtplib and ssl do."""
    local = account.user.partition("@")[2] or "localhost"
    context = ssl.create_default_context()
    if account.tls and account.port != STARTTLS_PORT:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            account.host, account.port, local_hostname=local, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        connection = smtplib.SMTP(account.host, account.port, local_hostname=local, timeout=TIMEOUT_SECONDS)
    try:
        connection.ehlo_or_helo_if_needed()
        if account.tls and account.port == STARTTLS_PORT:
            connection.starttls(context=context)
            connection.ehlo()
    except BaseException:
        connection.close()
        raise
    return connection


def log_in(connection: smtplib.SMTP, account: SmtpAccount) -> tuple[int, bytes]:
    """One try, by one mechanism: smtplib's own `login` would try the next, and refused logins are counted."""
    offered = connection.esmtp_features.get("auth", "").upper().split()
    connection.user, connection.password = account.user, account.password
    if "PLAIN" in offered:
        return connection.auth("PLAIN", connection.auth_plain)
    if "LOGIN" in offered:
        return connection.auth("LOGIN", connection.auth_login)
    raise smtplib.SMTPNotSupportedError("neither AUTH PLAIN nor AUTH LOGIN is offered")


def accepted(step: Step, command: Callable[[], tuple[int, bytes]]) -> tuple[int, str]:
    """The answer to a command, when it is a yes."""
    code, answer = command()
    if not 200 <= code < 300:
        raise _Stopped(Sent(step, code, readable(answer)))
    return code, readable(answer)


def readable(answer: bytes | str) -> str:
    """An answer as text, on one line."""
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return " ".join(text.split())[:TEXT_SHOWN]


def trouble_of(error: Exception) -> Trouble:
    """What a broken connection means for people."""
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "no_login"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate"
    if isinstance(error, socket.gaierror):
        return "name"
    late = isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)  # smtplib renames it
    return "silent" if late else "cut"
