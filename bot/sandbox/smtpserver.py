"""A simulated Exmail SMTP server (aiosmtpd): logs in with client passwords, takes mail, delivers what is ours."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from bot.sandbox.callbacks import Callbacks
from bot.sandbox.mailserver import LOGIN_FAIL, Mailbox
from bot.sandbox.organisation import Organisation
from bot.sandbox.post import Bounced, boxes_of, deliver

SIZE_BYTES_MAX = 50 << 20
TIMEOUT_SECONDS = 60.0
HOSTNAME = "smtp.corp.test"

logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd warns of what it does itself


class SmtpServer:
    """Listens on loopback, in the sandbox's loop; mail is on the wire log, passwords are not."""

    def __init__(self, org: Organisation, callbacks: Callbacks) -> None:
        self.org, self.callbacks = org, callbacks
        self.port = 0
        self._listening: asyncio.Server | None = None
        self._deliveries: set[asyncio.Task[Any]] = set()

    async def start(self, *, host: str = "127.0.0.1") -> int:
        """Listen on any free port; the port."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: self._connection(loop), host, 0)
        self.port = int(self._listening.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Close the port; what was taken is delivered."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    def _connection(self, loop: asyncio.AbstractEventLoop) -> SMTP:
        return SMTP(
            self, hostname=HOSTNAME, ident="Exmail SMTP (sandbox)", loop=loop, authenticator=self._log_in,
            auth_require_tls=False, data_size_limit=SIZE_BYTES_MAX, timeout=TIMEOUT_SECONDS,
        )  # fmt: skip

    def _log_in(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any) -> AuthResult:
        """The full address of a mailbox whose IMAP/SMTP service is on, and one of its client passwords."""
        user, password = ("", "")
        if isinstance(login, LoginPassword):
            user, password = (each.decode("utf-8", "replace") for each in login)
        box = self.org.mail.mailbox(user)
        open_to = box is not None and box.open and box.address == user.lower() and password in box.passwords.values()
        self.org.record("smtp", user=user, step="login", answer=235 if open_to else 535)
        if not open_to or self.org.troubles.strikes("smtp_login_refused"):
            return AuthResult(success=False, handled=False, message=f"535 {LOGIN_FAIL}")
        return AuthResult(success=True, auth_data=user.lower())

    async def handle_MAIL(  # noqa: N802 -- aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """The sender must be who logged in."""
        if not session.authenticated:
            return "530 Authentication required"
        if address.lower() != session.auth_data:
            return "501 Mail from address must be same as authorization user"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Somebody of ours takes it, or it is for elsewhere."""
        try:
            boxes_of(self.org, address, str(envelope.mail_from))
        except Bounced as bounced:
            return str(bounced)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Taken: delivered right after, as a mail server does."""
        content, sender = envelope.content or b"", str(envelope.mail_from)
        raw = content.encode() if isinstance(content, str) else content
        boxes: list[Mailbox] = []
        try:
            for each in envelope.rcpt_tos:
                boxes += boxes_of(self.org, each, sender)
        except Bounced as bounced:
            return str(bounced)
        number = secrets.token_hex(6)
        self.org.record("smtp", user=sender, step="data", to=list(envelope.rcpt_tos), queued=number)
        if not self.org.troubles.strikes("mail_lost"):
            task = asyncio.create_task(deliver(self.org, self.callbacks, dict.fromkeys(boxes), raw))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)
        return f"250 OK: queued as {number}"
