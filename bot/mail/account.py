"""Where a mailbox is, how to get in, and whether two of them are one."""

from __future__ import annotations

import functools
import ssl
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


def same_mailbox(source: MailAccount, target: MailAccount) -> bool:
    """As far as the accounts tell: aliases are the caller's to know."""
    return (source.host.casefold(), source.port, source.user.casefold()) == (
        target.host.casefold(),
        target.port,
        target.user.casefold(),
    )


@functools.lru_cache(maxsize=16)
def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Certificates are read once, not for every connection: that takes longer than the handshake."""
    return ssl.create_default_context(cafile=ca_file)
