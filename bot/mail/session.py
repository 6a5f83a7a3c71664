"""A logged-in IMAP connection over asyncio: transport, deadlines, commands in flight."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class MailAccount:
    """Where a mailbox is and how to get in."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: bool = True
    ca_file: str | None = None
