"""
The last look at what doctor prints: no secret of the settings in it, in whatever form a server gave it back.

No check prints a secret; but WeCom's texts, an exception or a proxy's page may hold what was sent to them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bot.settings import Settings

HIDDEN = "***"
SHORT = 6  # shorter ones would hide words that are none
NAMED = re.compile(
    r"""((?:access_token|corpsecret|app_secret|auth_code|password|ticket|suite_ticket)["']?\s*[=:]\s*["']?)[^\s"'&,;)]+"""
)


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """The text without any form of the secrets, and without what is called a token or a password in it."""
    forms = {form for secret in secrets if len(secret) >= SHORT for form in forms_of(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return NAMED.sub(rf"\1{HIDDEN}", text)


def secrets_of(settings: Settings) -> Iterator[str]:
    """Every secret the settings hold: the fields that are kept secret, each key of a list, the database's password."""
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
            yield from value.get_secret_value().replace(",", " ").split()
    try:
        yield make_url(settings.database_url).password or ""
    except ArgumentError:
        yield settings.database_url


def forms_of(secret: str) -> Iterator[str]:
    """As it is, as a URL has it, in Base64 (wherever it begins in what was encoded), in hex, and backwards."""
    yield from (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), secret[::-1])
    raw = secret.encode()
    yield from (raw.hex(), raw.hex().upper())
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"\0" * shift + raw).decode().rstrip("=")
            # what does not depend on the bytes before and after it
            yield whole[(0, 2, 3)[shift] : len(whole) - (1 if (shift + len(raw)) % 3 else 0)]
